"""Check that a field is what weights were trained for: variable, units, space, time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any, Protocol

from xinverse.errors import UnitsError, WeightsError
from xinverse.fields.units import conversion, same_units

if TYPE_CHECKING:
    from xinverse.fields.grid import Grid

__all__ = ["Labelled", "check_space", "check_time", "check_units", "check_variable"]

TIME_STEP_TOLERANCE = 0.10
ROUND_OFF = 1e-6


class Labelled(Protocol):
    """What is read of a field; an ``xarray.DataArray`` is one."""

    @property
    def name(self) -> Hashable | None:
        """The variable's name."""

    @property
    def attrs(self) -> Mapping[Any, Any]:
        """The variable's attributes, with ``standard_name`` and ``units``."""


def check_variable(weights: str, variables: Sequence[str], da: Labelled) -> None:
    """Require a variable that the weights were trained for.

    Parameters
    ----------
    weights : str
        Name of the weights, for the error.
    variables : sequence of str
        Standard names and names that they accept.
    da : xarray.DataArray
        The field; only its ``name`` and ``attrs`` are read.

    Raises
    ------
    WeightsError
        Its standard name (or, if it has none, its name) is not among them.
    """
    standard_name = da.attrs.get("standard_name")
    found = da.name if standard_name is None else standard_name
    if str(found).casefold() in {v.casefold() for v in variables}:
        return
    label = "name" if standard_name is None else "standard_name"
    raise WeightsError(
        f"The weights {weights!r} were trained for {', '.join(variables)}; the "
        f"variable {da.name!r} has the {label} {found!r}. If it is that quantity, set "
        'attrs["standard_name"] to one of these names (or rename the variable if it '
        "has no standard_name). Otherwise pass weights trained for it, or use a method "
        'without weights, such as method="oi".'
    )


def check_units(weights: str, units: str, da: Labelled) -> None:
    """Require the units that the weights were trained in.

    Parameters
    ----------
    weights : str
        Name of the weights, for the error.
    units : str
        Their units.
    da : xarray.DataArray
        The field; only its ``name`` and ``attrs`` are read.

    Raises
    ------
    UnitsError
        The units are missing or different.
    """
    found = da.attrs.get("units")
    if found is None:
        raise UnitsError(
            f"The variable {da.name!r} has no units; the weights {weights!r} were "
            f'trained in {units!r}. Set attrs["units"] = {units!r} if the values '
            "are in these units, or convert them first."
        )
    if same_units(str(found), units):
        return
    factor = conversion(str(found), units)
    how = f"Convert: {da.name} {factor}, then" if factor else "Convert the values, then"
    raise UnitsError(
        f"The variable {da.name!r} is in {found!r}; the weights {weights!r} were trained "
        f'in {units!r}. {how} set attrs["units"] = {units!r}.'
    )


def check_space(weights: str, spacing_km: tuple[float, float], grid: Grid) -> None:
    """Require an evenly spaced grid, with the spacings of the training.

    Parameters
    ----------
    weights : str
        Name of the weights, for the error.
    spacing_km : (float, float)
        Smallest and largest spacing.
    grid : xinverse.fields.grid.Grid
        The field's grid.

    Raises
    ------
    WeightsError
        The spacing varies, or is outside the range.
    """
    low, high = spacing_km
    if not grid.regular_space:
        raise WeightsError(
            f"The weights {weights!r} are convolutions, which need evenly spaced y and x; "
            f"those of this grid are not. Interpolate to a regular grid of {low:g} to "
            f'{high:g} km first, or use method="oi".'
        )
    dy, dx = grid.spacing_km
    slack = ROUND_OFF * high
    # Written so that a spacing which is NaN (a single point) fails too.
    if not all(low - slack <= spacing <= high + slack for spacing in (dy, dx)):
        raise WeightsError(
            f"The weights {weights!r} were trained on grid spacings of {low:g} to {high:g} "
            f"km; this grid has dy = {dy:.4g} km and dx = {dx:.4g} km. Interpolate to a "
            "grid within this range, pass weights trained at this resolution, or use "
            'method="oi".'
        )


def check_time(weights: str, step_days: float, grid: Grid) -> None:
    """Require a regular time step, that of the training.

    Parameters
    ----------
    weights : str
        Name of the weights, for the error.
    step_days : float
        Their time step.
    grid : xinverse.fields.grid.Grid
        The field's grid.

    Raises
    ------
    WeightsError
        The time step varies, or is another one. A single date has none.
    """
    if not grid.regular_time:
        raise WeightsError(
            f"The weights {weights!r} need a regular time step of {step_days:g} days; the "
            "time steps of this grid differ. Resample in time first, for example "
            f'.resample(time="{_frequency(step_days)}").mean(), or use method="oi".'
        )
    found = grid.time_step
    if isnan(found):  # a single date has no step
        return
    if not abs(found - step_days) <= TIME_STEP_TOLERANCE * step_days:
        raise WeightsError(
            f"The weights {weights!r} were trained on a time step of {step_days:g} days "
            f"(within {TIME_STEP_TOLERANCE:.0%}); this grid has {found:.4g} days. "
            "Resample in time first, pass weights trained at this "
            'time step, or use method="oi".'
        )


def _frequency(days: float) -> str:
    return f"{days:g}D" if days == int(days) else f"{days * 24:g}h"
