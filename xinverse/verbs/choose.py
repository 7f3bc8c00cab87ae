"""Which variables of a dataset a verb acts on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xinverse.errors import AxesError, OptionError, UnknownNameError
from xinverse.fields.axes import Axes, find_axes
from xinverse.fields.land import find_sea
from xinverse.fields.values import holds_a_field, refuse_fill_values, unpacked

__all__ = [
    "chosen_variables",
    "names_together",
    "variables_to_fill",
    "variables_with_gaps",
]


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


def variables_with_gaps(
    ds: xr.Dataset,
    dims: Mapping[str, Hashable] | None,
    options: Mapping[str, Any],
    mask: Any = None,
    *,
    read: bool = False,
) -> list[Hashable]:
    """The fields of a dataset that have gaps on the sea, or its only field.

    A complete field, such as a solar zenith angle or another analysis, has nothing to fill.
    Of lazy fields this is unknown until they are read, and reading all of a field before its
    first tile is solved would cost its memory. So several lazy fields are an error, and the
    same variables are filled as of the fields in memory.

    Parameters
    ----------
    ds : Dataset
        Its fields.
    dims, options
        As of `variables_to_fill`.
    mask : DataArray, array or str, optional
        As of `xinverse.interpolate`.
    read : bool
        Read lazy fields, block by block.

    Raises
    ------
    OptionError
        There are several fields, and some are lazy, or none has a gap.
    DataError
        A field has fill values in place of NaN.
    """
    names = variables_to_fill(ds, dims, options)
    if len(names) == 1:
        return names
    axes = find_axes(ds, dims)
    gaps = {name: _has_gaps(ds[name], ds, axes, mask) for name in names}
    lazy = [name for name, found in gaps.items() if found.chunks is not None]
    listed = ", ".join(map(repr, names))
    if lazy and not read:
        raise OptionError(
            f"The dataset has the fields {listed}, and whether the lazy ones have gaps is "
            f"unknown before they are read. Name those to fill, such as "
            f"variables={lazy[:1]!r}, or load the dataset: ds.load()."
        )
    found = xr.Dataset({str(k): v for k, v in enumerate(gaps.values())}).compute()
    chosen = [name for k, name in enumerate(names) if bool(found[str(k)])]
    if not chosen:
        raise OptionError(
            f"None of the fields {listed} has a gap on the sea. Name those to analyse all the "
            f"same, such as variables={names[:1]!r}."
        )
    return chosen


def _has_gaps(da: xr.DataArray, ds: xr.Dataset, axes: Axes, mask: Any) -> xr.DataArray:
    """Whether a field has a gap on the sea; lazy if field or mask is."""
    values = unpacked(da)
    if isinstance(values.data, np.ndarray):
        refuse_fill_values(values.data, f"The variable {da.name!r}")
    sea, _ = find_sea(da, ds, axes, mask)
    gaps = values.isnull() if sea is None else values.isnull() & sea.drop_vars(sea.coords)
    return gaps.any().drop_vars(gaps.coords, errors="ignore")


def _ancillary(variable: xr.Variable) -> list[str]:
    return str(variable.attrs.get("ancillary_variables", "")).split()
