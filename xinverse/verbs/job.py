"""From labels to numbers: what a verb chose, understood and checked, nothing computed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from xinverse.errors import DataError, GridError, OptionError, UnitsError
from xinverse.fields.axes import find_axes
from xinverse.fields.coordinates import FULL_CIRCLE
from xinverse.fields.field import Field, to_field
from xinverse.fields.grid import Grid, make_grid
from xinverse.fields.land import find_sea
from xinverse.fields.units import conversion, same_units
from xinverse.fields.values import in_units_of, unpacked
from xinverse.methods.base import Method
from xinverse.methods.problem import Layout, OperatorSpec, Source
from xinverse.methods.tile_task import Role
from xinverse.tiling.cover import cover
from xinverse.tiling.eager import Covers
from xinverse.tiling.moments import field_moments
from xinverse.tiling.plan import Plan
from xinverse.verbs.call import Call
from xinverse.verbs.tiles import plan_for

__all__ = ["Job", "Observation", "prepare"]

# Cells of two grids whose centres agree to this share of a spacing are the same cells.
SAME_CELLS = 1e-3


@dataclass(frozen=True, eq=False)
class Observation:
    """A source with its labels, as a verb chooses it.

    Attributes
    ----------
    of : hashable
        Name of the wanted variable that it observes.
    data : DataArray
        The observations, NaN in the gaps, on a grid of their own or the state's.
    operator : OperatorSpec, optional
        How they see the state. Default: as it is, or as means over their own cells if
        these are larger than the state's.
    """

    of: Hashable
    data: xr.DataArray
    operator: OperatorSpec | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be solved, in numbers, and the labels that the results get back.

    Attributes
    ----------
    states : dict of str to Field
        The wanted variables, on the grid of the state.
    fields : list of Field
        The sources.
    inputs : dict
        Arrays by role, as `TileTask` takes them.
    covers : dict
        Of the sources on their own grids, which cells a tile reads.
    layout : Layout
        Grids and sources, without values.
    plan : Plan
        The tiles.
    """

    states: dict[str, Field]
    fields: list[Field]
    inputs: dict[Role, Any]
    covers: dict[str, Covers]
    layout: Layout
    plan: Plan

    @property
    def field(self) -> Field:
        """The only wanted variable."""
        (only,) = self.states.values()
        return only

    @property
    def sea(self) -> Any:
        """Boolean map of the sea, ``(y, x)``; None if all cells are wanted."""
        return self.inputs.get(("sea", ""))


def prepare(
    call: Call,
    ds: xr.Dataset,
    wanted: Sequence[xr.DataArray],
    observations: Sequence[Observation],
) -> Job:
    """Understand and check one problem.

    Parameters
    ----------
    call : Call
        Method and common keywords.
    ds : Dataset
        May hold a mask.
    wanted : sequence of DataArray
        Templates on the grid of the state: name, coordinates, attributes and chunks of
        each result.
    observations : sequence of Observation
        What observes them.

    Raises
    ------
    AxesError, GridError, MaskError, DataError, UnitsError, WeightsError, TileError
        The labels are not what the method needs.
    """
    method = call.method
    axes = find_axes(wanted[0], call.dims)
    grid = make_grid(wanted[0], axes)
    states: dict[str, Field] = {}
    names: dict[Hashable, str] = {}
    for template in wanted:
        _check_same_grid(wanted[0], template)
        name = "field" if template.name is None else str(template.name)
        names[template.name] = name
        states[name] = to_field(template, axes, grid)
    first = next(iter(states.values()))
    inputs: dict[Role, Any] = {}
    fields: list[Field] = []
    sources: list[Source] = []
    covers: dict[str, Covers] = {}
    for number, seen in enumerate(observations):
        key, state = str(number), states[names[seen.of]]
        field = _source_field(call, seen, wanted, state)
        own = field.grid is not grid
        spec = seen.operator
        if own:
            covers[key] = _covers(state, field)
            spec = spec or OperatorSpec("area-mean")
        sources.append(Source(names[seen.of], field.grid, operator=spec, own_grid=own))
        fields.append(field)
        inputs["values", key] = field.data
        if "noise" in call.companions:
            noise = call.companions["noise"]
            inputs["noise", key] = _aligned("noise", noise, field, logs=bool(call.transform))
        if "background" in method.companions and "background" not in call.companions:
            role = ("overall", names[seen.of])
            inputs.setdefault(role, _moments(field.data))
    for companion in sorted({"background", "withheld"} & set(call.companions)):
        for name, state in states.items():
            inputs[companion, name] = _aligned(companion, call.companions[companion], state)
    sea, _ = find_sea(wanted[0], ds, axes, call.mask)
    if sea is not None:
        inputs["sea", ""] = sea.transpose(axes.y, axes.x).data
    layout = Layout(tuple(states), grid, tuple(sources))
    if method.learned:
        method.weights.card.check(grid, first.template)  # type: ignore[attr-defined]  # learned
    for state in states.values():
        _check_units(state.template, method)
    method.check(layout)
    tiles = plan_for(method, layout, call.tile, call.limit)
    return Job(states, fields, inputs, covers, layout, tiles)


def _moments(array: Any) -> Any:
    """Mean and variance of a field, lazy if it is."""
    if hasattr(array, "__dask_graph__"):
        from xinverse.tiling.graph import lazy_moments

        return lazy_moments(array)
    return field_moments(array)


def _source_field(
    call: Call, seen: Observation, wanted: Sequence[xr.DataArray], state: Field
) -> Field:
    """A source in canonical order, on the state's grid object if the cells are the same."""
    if any(seen.data is template for template in wanted):
        return state
    axes = find_axes(seen.data, call.dims)
    grid = make_grid(seen.data, axes)
    field = to_field(seen.data, axes, grid)
    if _same_cells(grid, state.grid):
        return replace(field, grid=state.grid)
    if not np.array_equal(grid.time, state.grid.time):
        raise GridError(
            f"The times of {seen.data.name!r} are not those of the grid that is wanted: "
            f"{grid.time.size} times to day {grid.time[-1]:g}, and {state.grid.time.size} to "
            f"day {state.grid.time[-1]:g}. Give both the same times (reindex)."
        )
    return field


def _same_cells(one: Grid, other: Grid) -> bool:
    if one.shape != other.shape or one.geographic != other.geographic:
        return False
    axes = ((one.time, other.time), (one.y, other.y), (one.x, other.x))
    return all(
        np.allclose(a, b, rtol=0, atol=SAME_CELLS * float(np.abs(np.diff(b)).min(initial=1.0)))
        for a, b in axes
    )


def _covers(state: Field, field: Field) -> Covers:
    """Which cells of a source a tile of the state reads, along each axis."""
    here, there = state.grid, field.grid
    if here.geographic != there.geographic:
        raise GridError(
            f"{field.name!r} and the grid that is wanted must both be in degrees, or both in a "
            "length."
        )
    if here.periodic and not there.periodic:
        raise GridError(
            f"The grid that is wanted goes round the globe, and {field.name!r} does not. "
            "Select its region of the grid first."
        )
    period = FULL_CIRCLE if there.periodic else None
    x = there.x
    if here.geographic:  # the same turn round the globe
        apart = 0.5 * (here.x[0] + here.x[-1] - x[0] - x[-1])
        x = x + FULL_CIRCLE * round(apart / FULL_CIRCLE)
    along_x = cover(here.x, x, period=period, wraps=here.periodic)
    return None, cover(here.y, there.y), along_x


def _check_same_grid(first: xr.DataArray, other: xr.DataArray) -> None:
    if other is first:
        return
    try:
        xr.align(first, other, join="exact", copy=False)
    except ValueError as error:
        raise GridError(
            f"{first.name!r} and {other.name!r} are to be solved together, and their "
            f"coordinates differ: {error}. Interpolate one to the other first (interp_like)."
        ) from error
    if first.dims != other.dims:
        raise GridError(
            f"{first.name!r} has the dimensions {first.dims} and {other.name!r} {other.dims}: "
            "expected the same. Transpose or select first."
        )


def _check_units(da: xr.DataArray, method: Method) -> None:
    """Require the units that a method computes in."""
    found, expected = da.attrs.get("units"), method.units
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


def _aligned(name: str, value: xr.DataArray, field: Field, *, logs: bool = False) -> Any:
    """A variable that an option named, on the field's own dimensions."""
    template, value = field.template, unpacked(value)
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
    if name == "withheld":
        if value.dtype != bool:
            raise DataError(
                f"withheld: {value.name!r} holds {value.dtype}, booleans expected: True where "
                "an observation is withheld."
            )
        value = value.astype("i1")
    if value.dtype.kind not in "fiu":
        raise DataError(f"{name}: {value.name!r} holds {value.dtype}, numbers expected.")
    if not (logs and name == "noise"):  # the noise of a logarithm has no units
        value = in_units_of(value, template, name, deviation=name == "noise")
    sizes = {d: template.sizes[d] for d in field.dims}
    missing = {d: n for d, n in sizes.items() if d not in value.dims}
    return value.astype(field.data.dtype).expand_dims(missing).transpose(*field.dims).data
