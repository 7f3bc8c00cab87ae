"""Check a field against a model card: variable, units, space, time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from math import isnan
from typing import TYPE_CHECKING, Any, Protocol

from xinverse.errors import UnitsError, WeightsError
from xinverse.fields.units import conversion, same_units

if TYPE_CHECKING:
    from xinverse.fields.grid import Grid
    from xinverse.weights.card import ModelCard

__all__ = ["Labelled", "check_space", "check_time", "check_units", "check_variable"]

TIME_STEP_TOLERANCE = 0.10
ROUND_OFF = 1e-6


class Labelled(Protocol):
    """The attributes of a field that the card reads, as of an ``xarray.DataArray``."""

    @property
    def name(self) -> Hashable | None:
        """The variable's name."""

    @property
    def attrs(self) -> Mapping[Any, Any]:
        """The variable's attributes, such as ``standard_name`` and ``units``."""


def check_variable(card: ModelCard, da: Labelled) -> None:
    """Check that the weights were trained for the variable.

    Parameters
    ----------
    card : ModelCard
        The card of the weights.
    da : xarray.DataArray
        The field; only its ``name`` and ``attrs`` are read.

    Raises
    ------
    WeightsError
        If its standard name (its name, without one) is not on the card.
    """
    standard_name = da.attrs.get("standard_name")
    found = da.name if standard_name is None else standard_name
    if str(found).casefold() in {v.casefold() for v in card.variables}:
        return
    label = "name" if standard_name is None else "standard_name"
    raise WeightsError(
        f"The weights {card.name!r} were trained for {', '.join(card.variables)}; the "
        f"variable {da.name!r} has the {label} {found!r}. If it is that quantity, set "
        'attrs["standard_name"] to one of these names (or rename a variable that has no '
        "standard_name). Otherwise pass weights trained for it, or a method that needs "
        'none, such as method="oi".'
    )


def check_units(card: ModelCard, da: Labelled) -> None:
    """Check that the units are those of the card.

    Parameters
    ----------
    card : ModelCard
        The card of the weights.
    da : xarray.DataArray
        The field; only its ``name`` and ``attrs`` are read.

    Raises
    ------
    UnitsError
        If units are missing or differ.
    """
    found = da.attrs.get("units")
    if found is None:
        raise UnitsError(
            f"The variable {da.name!r} has no units; the weights {card.name!r} were "
            f'trained in {card.units!r}. Set attrs["units"] = {card.units!r} if the values '
            "are in these units, or convert them first."
        )
    if same_units(str(found), card.units):
        return
    factor = conversion(str(found), card.units)
    how = f"Convert: {da.name} {factor}, then" if factor else "Convert the values, then"
    raise UnitsError(
        f"The variable {da.name!r} is in {found!r}; the weights {card.name!r} were trained "
        f'in {card.units!r}. {how} set attrs["units"] = {card.units!r}.'
    )


def check_space(card: ModelCard, grid: Grid) -> None:
    """Check that the grid is regular, with a spacing within the range of the card.

    Parameters
    ----------
    card : ModelCard
        The card of the weights.
    grid : xinverse.fields.grid.Grid
        The field's grid.

    Raises
    ------
    WeightsError
        If the spacing varies or is out of range.
    """
    low, high = card.grid_spacing_km
    if not grid.regular_space:
        raise WeightsError(
            f"The weights {card.name!r} are convolutions, which need regular spacing in y and "
            f"x; this grid is irregular. Interpolate to a regular grid of {low:g} to "
            f'{high:g} km first, or use method="oi".'
        )
    dy, dx = grid.spacing_km
    slack = ROUND_OFF * high
    # In this form, NaN (the spacing of a single point) fails too.
    if not all(low - slack <= spacing <= high + slack for spacing in (dy, dx)):
        raise WeightsError(
            f"The weights {card.name!r} were trained on grid spacings of {low:g} to {high:g} "
            f"km; this grid has dy = {dy:.4g} km and dx = {dx:.4g} km. Interpolate to a "
            "grid within this range, pass weights trained at this resolution, or use "
            'method="oi".'
        )


def check_time(card: ModelCard, grid: Grid) -> None:
    """Check that the time step is regular and within 10 % of that of the card.

    Parameters
    ----------
    card : ModelCard
        The card of the weights.
    grid : xinverse.fields.grid.Grid
        The field's grid.

    Raises
    ------
    WeightsError
        If the time step varies or differs.
    """
    expected = card.time_step_days
    if not grid.regular_time:
        raise WeightsError(
            f"The weights {card.name!r} need a regular time step of {expected:g} days; the "
            "time steps of this grid differ. Resample in time first, for example "
            f'.resample(time="{_frequency(expected)}").mean(), or use method="oi".'
        )
    found = grid.time_step  # NaN for a single date, which fails the comparison
    if not abs(found - expected) <= TIME_STEP_TOLERANCE * expected:
        raise WeightsError(
            f"The weights {card.name!r} were trained on a time step of {expected:g} days "
            f"(within {TIME_STEP_TOLERANCE:.0%}); this grid has "
            f"{'a single date' if isnan(found) else f'{found:.4g} days'}. "
            "Resample in time first, pass weights trained at this "
            'time step, or use method="oi".'
        )


def _frequency(days: float) -> str:
    return f"{days:g}D" if days == int(days) else f"{days * 24:g}h"
