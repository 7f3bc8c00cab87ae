"""What every verb does first: read the labels, find the land, choose method and tiles."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xinverse.errors import (
    AxesError,
    DataError,
    OptionError,
    TileError,
    UnitsError,
    UnknownNameError,
)
from xinverse.fields.axes import find_axes
from xinverse.fields.field import Field, to_field
from xinverse.fields.grid import Grid, make_grid
from xinverse.fields.land import find_sea
from xinverse.fields.units import conversion, same_units
from xinverse.methods.base import Method
from xinverse.methods.registry import find
from xinverse.options import get_option
from xinverse.tiling.plan import Plan, plan

if TYPE_CHECKING:
    from xinverse.weights import WeightsRef

__all__ = ["Job", "plan_for", "prepare", "variables_to_fill"]


@dataclass(frozen=True, eq=False)
class Job:
    """One variable to fill, understood and checked, nothing computed.

    Attributes
    ----------
    field : Field
        The variable in canonical order.
    sea : array or None
        Boolean map ``(y, x)``, True where the field is wanted.
    inputs : dict of str to array
        Variables that options named, in the order of the field.
    method, options, weights
        How it is filled.
    plan : Plan
        The tiles.
    """

    field: Field
    sea: Any
    inputs: dict[str, Any]
    method: Method[Any]
    options: Any
    weights: WeightsRef | None
    plan: Plan


def prepare(
    da: xr.DataArray,
    ds: xr.Dataset,
    method: str,
    *,
    weights: str | os.PathLike[str] | None,
    mask: Any,
    dims: Mapping[str, Hashable] | None,
    tile: Any,
    options: Mapping[str, Any],
) -> Job:
    """Understand and check one variable.

    Parameters
    ----------
    da : DataArray
        The variable.
    ds : Dataset
        Where it came from, which may hold a mask and the variables that options name.
    method, weights, mask, dims, tile, options
        As in `xinverse.interpolate`.
    """
    chosen = find(method)
    axes = find_axes(da, dims)
    grid = make_grid(da, axes)
    field = to_field(da, axes, grid)
    sea, _ = find_sea(da, ds, axes, mask)
    numbers, inputs = _split(chosen, options, field, ds)
    settled = chosen.options(numbers)
    reference = _weights(chosen, weights)
    if reference is not None:
        reference.card.check(grid, field.template)
    _check_units(da, chosen, chosen.units(settled))
    chosen.check(grid, settled, reference)
    cells = plan_for(chosen, grid, settled, reference, tile)
    wet = None if sea is None else sea.transpose(axes.y, axes.x).data
    return Job(field, wet, inputs, chosen, settled, reference, cells)


def _weights(method: Method[Any], weights: str | os.PathLike[str] | None) -> WeightsRef | None:
    if method.learned:
        from xinverse.weights import describe

        return describe(weights, method.name)
    if weights is not None:
        raise OptionError(f"method={method.name!r} learns nothing and takes no weights=.")
    return None


def _check_units(da: xr.DataArray, method: Method[Any], expected: str | None) -> None:
    """Refuse a variable in other units than a method computes in."""
    found = da.attrs.get("units")
    if expected is None or (found is not None and same_units(str(found), expected)):
        return
    if found is None:
        raise UnitsError(
            f"{da.name!r} does not say its units, and method={method.name!r} computes in "
            f"{expected!r}: state them, .assign_attrs(units={expected!r})."
        )
    change = conversion(str(found), expected)
    how = f"multiply it first, {da.name} {change}, and" if change else "convert it first, and"
    raise UnitsError(
        f"{da.name!r} is in {str(found)!r}, and method={method.name!r} computes in "
        f"{expected!r}: {how} state .assign_attrs(units={expected!r})."
    )


def _split(
    method: Method[Any], options: Mapping[str, Any], field: Field, ds: xr.Dataset
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options that are numbers, and those that are variables."""
    numbers, inputs = {}, {}
    for name, given in options.items():
        value = _named(given, ds) if name in method.field_options else given
        if isinstance(value, xr.DataArray):
            if name not in method.field_options:
                raise OptionError(
                    f"{name} is a variable, and method={method.name!r} expects a number there. "
                    f"It takes a variable as {', '.join(method.field_options)}."
                )
            inputs[name] = _aligned(name, value, field)
        elif isinstance(value, np.ndarray) and value.ndim:
            raise OptionError(
                f"{name} is an array without labels. Give a number, or an xarray.DataArray "
                f"on the dimensions {field.dims}."
            )
        elif name in method.field_options and not _is_number(value):
            raise OptionError(
                f"{name}={value!r}: expected a finite number, an xarray.DataArray, or the name "
                "of a variable of the dataset."
            )
        else:
            numbers[name] = value
    return numbers, inputs


def _named(value: Any, ds: xr.Dataset) -> Any:
    """The variable of that name, where a name was given."""
    if not isinstance(value, str):
        return value
    if value not in ds.variables:
        known = [name for name in ds.variables if isinstance(name, str)]
        raise UnknownNameError("variable", value, known)
    return ds[value]


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return value is None or (number and bool(np.isfinite(value)))


def _aligned(name: str, value: xr.DataArray, field: Field) -> Any:
    """A variable that an option named, on the field's own dimensions."""
    template = field.template
    unknown = [d for d in value.dims if d not in template.dims]
    if unknown:
        raise OptionError(
            f"{name}: the variable {value.name!r} has the dimensions {unknown}, which "
            f"{template.name!r} with {template.dims} has not."
        )
    try:
        _, value = xr.align(template, value, join="exact", copy=False)
    except ValueError as error:
        raise OptionError(
            f"{name}: the coordinates of {value.name!r} are not those of {template.name!r}. "
            "Interpolate it to them first (interp_like)."
        ) from error
    if value.dtype.kind not in "fiu":
        raise DataError(f"{name}: {value.name!r} holds {value.dtype}, numbers expected.")
    sizes = {d: template.sizes[d] for d in field.dims}
    missing = {d: n for d, n in sizes.items() if d not in value.dims}
    return value.astype(field.data.dtype).expand_dims(missing).transpose(*field.dims).data


def plan_for(
    method: Method[Any],
    grid: Grid,
    options: Any,
    weights: WeightsRef | None,
    tile: Any = "auto",
) -> Plan:
    """The tiles of a method on a grid: a function of these alone, never of chunks.

    Parameters
    ----------
    method : Method
        Says which core and halo it wants.
    grid : Grid
        The grid.
    options, weights
        Of the method.
    tile : "auto", Plan, or mapping of "time", "y", "x" to int
        ``"auto"`` fits the option ``memory_budget``; a mapping sets the longest
        core along some axes; a plan is taken as it is.

    Raises
    ------
    TileError
        If the tile was not understood, or needs more than the memory budget.
    """
    budget = get_option("memory_budget")
    if isinstance(tile, Plan):
        sizes = tuple(a.size for a in tile.axes)
        if sizes != grid.shape:
            raise TileError(
                f"The plan is for a grid of {sizes} cells along (time, y, x); this one has "
                f"{grid.shape}. Make one for it with xinverse.plan_tiles."
            )
        if tile.axes[2].periodic and not grid.periodic:
            raise TileError(
                "The plan wraps along x, and this grid does not go round the globe. Make a "
                "plan for it with xinverse.plan_tiles."
            )
        return _within(budget, tile, method)
    wanted = method.footprint(grid, options, weights, budget)
    core = list(wanted.core)
    reason = f"auto: {wanted.reason}"
    if not isinstance(tile, str) or tile != "auto":
        roles = ("time", "y", "x")
        if not isinstance(tile, Mapping) or not set(tile) <= set(roles):
            raise TileError(
                f"tile={tile!r}: expected 'auto', a Plan, or cells of the core along some of "
                "'time', 'y' and 'x', such as {'time': 30, 'y': 128, 'x': 128}."
            )
        for role, cells in tile.items():
            if isinstance(cells, bool) or not isinstance(cells, int | np.integer) or cells < 1:
                raise TileError(
                    f"tile[{role!r}]={cells!r}: expected a number of cells above 0."
                )
            core[roles.index(role)] = min(int(cells), grid.shape[roles.index(role)])
        reason = "core as given"
    longest = (core[0], core[1], core[2])
    tiles = plan(grid.shape, longest, wanted.halo, periodic=grid.periodic, reason=reason)
    return _within(budget, tiles, method)


def _within(budget: float, tiles: Plan, method: Method[Any]) -> Plan:
    """The plan, if one of its tiles fits the memory budget."""
    needed = float(np.prod(tiles.shape)) * method.bytes_per_cell
    if needed > budget:
        t, y, x = tiles.shape
        halo = tuple(axis.halo for axis in tiles.axes)
        raise TileError(
            f"A tile of {t} x {y} x {x} cells (time, y, x), its halo of {halo} on each side "
            f"included, would take about {needed / 2**20:.3g} MiB, and the memory budget is "
            f"{budget / 2**20:.3g} MiB. Give shorter tile= or scales, or raise the budget: "
            f"xinverse.set_options(memory_budget='{np.ceil(needed / 2**30):.0f} GiB')."
        )
    return tiles


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
        if needed <= set(variable.dims) and name not in about and _is_field(variable)
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


def _is_field(variable: xr.DataArray) -> bool:
    modifier = str(variable.attrs.get("standard_name", "")).split()[1:]
    packed = "scale_factor" in variable.attrs or "add_offset" in variable.attrs
    return not modifier and (
        variable.dtype.kind == "f" or (variable.dtype.kind in "iu" and packed)
    )
