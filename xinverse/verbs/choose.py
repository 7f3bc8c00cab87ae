"""Which variables of a dataset a verb acts on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import xarray as xr

from xinverse.errors import AxesError, OptionError, UnknownNameError
from xinverse.fields.axes import find_axes
from xinverse.fields.values import holds_a_field

__all__ = ["chosen_variables", "names_together", "variables_to_fill"]


def chosen_variables(
    obj: xr.Dataset | xr.DataArray, variables: str | Sequence[str] | None
) -> list[Hashable] | None:
    """The variables that a user named, checked; None if none was.

    Parameters
    ----------
    obj : Dataset or DataArray
        What a verb acts on.
    variables : str or sequence of str, optional
        Names.

    Raises
    ------
    OptionError, UnknownNameError
        An array has no variables to choose from; a name is not in the dataset.
    """
    if variables is None:
        return None
    if not isinstance(obj, xr.Dataset):
        raise OptionError(
            f"variables={variables!r} chooses from a dataset, and this is a "
            f"{type(obj).__name__}: leave it out."
        )
    names = [variables] if isinstance(variables, str) else list(variables)
    for name in names:
        if name not in obj.data_vars:
            raise UnknownNameError("variable", name, map(str, obj.data_vars))
    if not names or len(set(names)) < len(names):
        raise OptionError(f"variables={variables!r}: expected names, each once.")
    return list(names)


def names_together(
    obj: xr.Dataset | xr.DataArray,
    names: Sequence[Hashable] | None,
    dims: Mapping[str, Hashable] | None,
    options: Mapping[str, Any],
) -> list[Hashable]:
    """The variables that are solved as one problem.

    Parameters
    ----------
    obj : Dataset or DataArray
        What the verb acts on.
    names : sequence of hashable, optional
        The user's choice. Default: every field.
    dims, options
        As of `variables_to_fill`.

    Raises
    ------
    OptionError
        There is one variable only.
    """
    if not isinstance(obj, xr.Dataset):
        raise OptionError("together=True solves several variables: give a dataset.")
    chosen = variables_to_fill(obj, dims, options) if names is None else list(names)
    if len(chosen) < 2:
        raise OptionError(
            f"together=True solves several variables, and there is {chosen[0]!r} alone. Name "
            "two or more in variables=."
        )
    return chosen


def variables_to_fill(
    ds: xr.Dataset, dims: Mapping[str, Hashable] | None, options: Mapping[str, Any]
) -> list[Hashable]:
    """The variables of a dataset that are fields on (time, y, x).

    Left out are whole numbers that are not packed (counts, flags), what CF
    marks as being about another variable (``standard_error``,
    ``number_of_observations``, ``status_flag``, ``ancillary_variables``), and
    what an option names.
    """
    axes = find_axes(ds, dims)
    needed = {axes.time, axes.y, axes.x}
    about = {n for v in ds.variables.values() for n in _ancillary(v)}
    about |= {str(getattr(value, "name", value)) for value in options.values()}
    names = [
        name
        for name, variable in ds.data_vars.items()
        if needed <= set(variable.dims) and name not in about and holds_a_field(variable)
    ]
    if not names:
        raise AxesError(
            f"No variable of the dataset is a field on {axes.time!r}, {axes.y!r} and "
            f"{axes.x!r}; its variables are {list(ds.data_vars)}. Select one as a DataArray "
            "to fill it whatever it is."
        )
    return names


def _ancillary(variable: xr.Variable) -> list[str]:
    return str(variable.attrs.get("ancillary_variables", "")).split()
