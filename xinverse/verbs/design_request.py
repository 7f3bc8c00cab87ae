"""From labels to numbers: what a sampling design is asked."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields
from math import floor
from typing import Any

import numpy as np
import xarray as xr

from xinverse.checks import check_choice, check_count, check_mapping, check_number, is_number
from xinverse.errors import AxesError, GridError, MaskError, OptionError, UnknownNameError
from xinverse.fields.axes import Axes, find_axes
from xinverse.fields.field import unpacked
from xinverse.fields.grid import Grid, make_grid
from xinverse.fields.land import find_sea
from xinverse.sampling.options import PriorOptions
from xinverse.sampling.problem import Constraints, Platforms, SamplingProblem
from xinverse.sampling.statistics import anomalies_of, field_prior, sampled_windows

__all__ = ["Wishes", "request"]

# Stations without other observations are designed for so many times, which stand for all.
STATION_TIMES = 10


@dataclass(frozen=True, eq=False)
class Wishes:
    """Keywords of `xinverse.design_sampling`, as given.

    Attributes
    ----------
    budget, placement, archive, existing, forbidden, cost, spacing, platforms, tracks, even
        As there.
    """

    budget: Any
    placement: str
    archive: Any
    existing: Any
    forbidden: Any
    cost: Any
    spacing: float
    platforms: Any
    tracks: Any
    even: bool


def request(
    da: xr.DataArray,
    ds: xr.Dataset,
    wishes: Wishes,
    mask: Any,
    dims: Mapping[str, Hashable] | None,
    options: Mapping[str, Any],
) -> tuple[SamplingProblem, xr.DataArray, Axes]:
    """Understand and check one problem, and read a bounded sample of the field.

    Parameters
    ----------
    da : DataArray
        The field.
    ds : Dataset
        May hold a mask and the variables that keywords name.
    wishes : Wishes
        Keywords.
    mask, dims
        As in `xinverse.interpolate`.
    options : mapping
        Of the prior.

    Returns
    -------
    problem : SamplingProblem
        In numbers.
    template : DataArray
        The field on (time, y, x) at the times that the design serves; not read.
    axes : Axes
        Its axes.
    """
    check_choice("placement", wishes.placement, ("fixed", "daily"))
    check_number("spacing", wishes.spacing, least=0)
    axes = find_axes(da, dims)
    field = _canonical(unpacked(da), axes)
    fixed = wishes.placement == "fixed"
    if fixed and (wishes.platforms is not None or wishes.tracks is not None):
        what = "platforms" if wishes.platforms is not None else "tracks"
        raise OptionError(f"{what}= needs placement='daily': a place in time.")
    template = field
    if fixed and wishes.existing is None:
        template = field.isel({axes.time: slice(STATION_TIMES)})
    grid = make_grid(template, axes)
    archive = _archive(wishes.archive, field, axes)
    sample = _sample(archive, grid)
    found, _ = find_sea(da, ds, axes, mask)
    sea = (
        np.isfinite(sample).any((0, 1))
        if found is None
        else np.asarray(found.transpose(axes.y, axes.x).to_numpy(), dtype=bool)
    )
    if not sea.any():
        raise MaskError(f"{da.name!r} has no sea: all its cells are NaN. Give mask=.")
    windows = anomalies_of(sample, sea)
    prior = field_prior(windows, grid, sea, PriorOptions(**options))
    existing = None
    if wishes.existing is not None:
        existing = _existing(wishes.existing, ds, da.name, template, prior.noise)
    shape = (1 if fixed else grid.time.size, *sea.shape)
    allowed = np.broadcast_to(sea, shape).copy()
    forbidden = _on_grid("forbidden", wishes.forbidden, ds, template, axes, fixed=fixed)
    if forbidden is not None:
        allowed &= ~_as_switch("forbidden", forbidden)
    if existing is not None and not fixed:
        allowed &= np.isnan(existing)
    tracks = _tracks(wishes.tracks, template)
    cost = _cost(wishes, tracks, ds, template, axes, allowed)
    platforms = _platforms(wishes.platforms, grid)
    budget = _budget(wishes, platforms, len(tracks), int(sea.sum()) * shape[0], grid)
    constraints = Constraints(
        budget=budget,
        allowed=allowed,
        cost=cost,
        spacing=float(wishes.spacing),
        even=wishes.even and not fixed and not tracks,
        platforms=platforms,
        tracks=tracks,
    )
    problem = SamplingProblem(grid, fixed, sea, prior, constraints, windows, existing)
    return problem, template, axes


def prior_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the prior, and the others.

    Parameters
    ----------
    options : mapping
        Both.
    """
    names = {f.name for f in fields(PriorOptions)}
    of_prior = {name: value for name, value in options.items() if name in names}
    return of_prior, {name: value for name, value in options.items() if name not in names}


def _canonical(da: xr.DataArray, axes: Axes) -> xr.DataArray:
    others = [d for d in da.dims if d not in (axes.time, axes.y, axes.x)]
    if others:
        raise AxesError(
            f"{da.name!r} has the dimensions {da.dims}. A design is for one field on time, y "
            f"and x: select along {others} with .isel first."
        )
    missing = [d for d in (axes.time, axes.y, axes.x) if d not in da.dims]
    if missing:
        raise AxesError(f"{da.name!r} has the dimensions {da.dims}, without {missing}.")
    return da.transpose(axes.time, axes.y, axes.x)


def _archive(given: Any, field: xr.DataArray, axes: Axes) -> xr.DataArray:
    """The series whose statistics count, on the same cells."""
    if given is None:
        return field
    if isinstance(given, xr.Dataset):
        if field.name not in given.data_vars:
            raise UnknownNameError("variable", field.name, map(str, given.data_vars))
        given = given[field.name]
    if not isinstance(given, xr.DataArray):
        raise OptionError(
            f"archive is a {type(given).__name__}: expected a DataArray or Dataset of maps."
        )
    archive = _canonical(unpacked(given), find_axes(given))
    for name in (axes.y, axes.x):
        if name not in archive.dims or not _same(archive[name], field[name]):
            raise GridError(
                f"archive has other cells along {name!r} than {field.name!r}. Interpolate it "
                "to them first (interp_like)."
            )
    return archive


def _same(one: xr.DataArray, other: xr.DataArray) -> bool:
    return one.size == other.size and bool(np.allclose(one, other, rtol=0, atol=1e-6))


def _sample(archive: xr.DataArray, grid: Grid) -> np.ndarray:
    """Windows of consecutive times, ``(n, times, ny, nx)``: all that is read of the field."""
    times, ny, nx = archive.shape
    windows = sampled_windows(times, grid.time.size, ny * nx)
    index = np.concatenate([np.arange(w.start, w.stop) for w in windows])
    values = archive.isel({archive.dims[0]: index}).to_numpy()
    kind = values.dtype if values.dtype.kind == "f" else np.dtype("float64")
    return values.astype(kind, copy=False).reshape(len(windows), -1, ny, nx)


def _named(value: Any, ds: xr.Dataset) -> Any:
    if not isinstance(value, str):
        return value
    if value not in ds.variables:
        raise UnknownNameError("variable", value, [str(v) for v in ds.variables])
    return ds[value]


def _on_grid(
    name: str, value: Any, ds: xr.Dataset, template: xr.DataArray, axes: Axes, *, fixed: bool
) -> np.ndarray | None:
    """A variable on (y, x) or (time, y, x) as an array in the shape of the design."""
    if value is None:
        return None
    value = _named(value, ds)
    if not isinstance(value, xr.DataArray):
        raise OptionError(f"{name} is a {type(value).__name__}: expected a labelled DataArray.")
    if fixed and axes.time in value.dims:
        raise OptionError(
            f"{name} varies in time, and stations are fixed: reduce it first, for instance "
            f"{name}.any({str(axes.time)!r}), or use placement='daily'."
        )
    array = _aligned(name, value, template.isel({axes.time: 0}) if fixed else template)
    return np.asarray(array.to_numpy()).reshape(
        (1, *array.shape) if array.ndim == 2 else array.shape
    )


def _aligned(name: str, value: xr.DataArray, template: xr.DataArray) -> xr.DataArray:
    """A variable on the dimensions of the template that it has, in their order."""
    unknown = [d for d in value.dims if d not in template.dims]
    if unknown:
        raise OptionError(
            f"{name} has the dimensions {unknown}, which the field with {template.dims} lacks."
        )
    indexed = {d: template[d] for d in value.dims if d in template.coords and d in value.coords}
    try:
        value = value.reindex(indexed, method=None, copy=False)
        xr.align(value, template.isel(), join="exact", copy=False)
    except ValueError as error:
        raise GridError(f"{name} is on other cells than the field: {error}.") from error
    return value.transpose(*[d for d in template.dims if d in value.dims])


def _as_switch(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype != bool:
        numbers = np.unique(values[np.isfinite(values)]) if values.dtype.kind == "f" else values
        if values.dtype.kind not in "fiu" or not np.isin(numbers, (0, 1)).all():
            raise OptionError(f"{name} holds other values than True and False, or 1 and 0.")
        values = np.nan_to_num(values) == 1
    return values


def _existing(
    given: Any, ds: xr.Dataset, var: Hashable, template: xr.DataArray, noise: float
) -> np.ndarray:
    """Noise of the observations that are made anyway, NaN where there is none."""
    level: Any = None
    if isinstance(given, xr.Dataset):
        level = given.get(f"{var}_noise")
        given = given.get(var, given)
    found = _named(given, ds)
    if not isinstance(found, xr.DataArray):
        raise OptionError(
            f"existing is a {type(found).__name__}: expected observations with gaps, such as "
            "those of xinverse.osse.observe, or a DataArray of booleans."
        )
    values = np.asarray(_aligned("existing", found, template).to_numpy())
    seen = np.isfinite(values) if values.dtype.kind == "f" else values != 0
    if values.ndim == 2:
        seen = np.broadcast_to(seen, template.shape)
    if not seen.any():
        raise OptionError("existing holds no observation: leave it out.")
    deviation = np.full(template.shape, noise)
    if level is not None:
        own = np.asarray(_aligned("existing noise", level, template).to_numpy())
        deviation = np.where(np.isfinite(own) & (own > 0), own, noise)
    return np.where(seen, deviation, np.nan)


def _tracks(given: Any, template: xr.DataArray) -> dict[str, np.ndarray]:
    """Candidate tracks by name."""
    if given is None:
        return {}
    if isinstance(given, xr.DataArray):
        others = [d for d in given.dims if d not in template.dims]
        if len(others) != 1:
            raise OptionError(
                f"tracks has the dimensions {given.dims}: expected those of the field and one "
                "more, along which the tracks lie."
            )
        labels = given[others[0]].values if others[0] in given.coords else range(len(given))
        given = {
            str(label): given.isel({others[0]: k}, drop=True) for k, label in enumerate(labels)
        }
    check_mapping("tracks", given)
    found = {}
    for name, track in given.items():
        values = np.asarray(_aligned(f"track {name!r}", track, template).to_numpy())
        seen = np.isfinite(values) if values.dtype.kind == "f" else values != 0
        found[str(name)] = np.broadcast_to(seen, template.shape)
    return found


def _cost(
    wishes: Wishes,
    tracks: Mapping[str, np.ndarray],
    ds: xr.Dataset,
    template: xr.DataArray,
    axes: Axes,
    allowed: np.ndarray,
) -> np.ndarray | None:
    """Cost of each place or track."""
    if wishes.cost is None:
        return None
    if tracks:
        check_mapping("cost", wishes.cost)
        missing = sorted(set(tracks) - set(map(str, wishes.cost)))
        if missing:
            raise OptionError(f"cost has no entry for the tracks {missing}.")
        for name in tracks:
            check_number(f"cost[{name!r}]", wishes.cost[name], above=0)
        return np.array([float(wishes.cost[name]) for name in tracks])
    fixed = wishes.placement == "fixed"
    cost = _on_grid("cost", wishes.cost, ds, template, axes, fixed=fixed)
    full = np.broadcast_to(np.asarray(cost, dtype=np.float64), allowed.shape)
    wrong = allowed & ~(np.isfinite(full) & (full > 0))
    if wrong.any():
        raise OptionError(
            f"cost is not a number above 0 at {int(wrong.sum())} allowed places. Forbid them, "
            "or give them a cost."
        )
    return np.where(allowed, full, 1.0)


def _platforms(given: Any, grid: Grid) -> Platforms | None:
    if given is None:
        return None
    check_mapping("platforms", given)
    unknown = sorted(set(given) - {"number", "speed", "start"})
    missing = sorted({"number", "speed"} - set(given))
    if unknown or missing:
        raise OptionError(
            f"platforms has the entries {sorted(given)}: expected number, speed (km a day) "
            "and, if they are given, start positions as (y, x)."
        )
    check_count("platforms['number']", given["number"])
    check_number("platforms['speed']", given["speed"], least=0)
    start = given.get("start")
    if start is None:
        return Platforms(int(given["number"]), float(given["speed"]))
    if len(start) != given["number"]:
        raise OptionError(
            f"platforms has {len(start)} start positions for {given['number']} platforms: "
            "expected one for each."
        )
    cells = [(_cell("y", y, grid.y), _cell("x", x, grid.x, grid.geographic)) for y, x in start]
    return Platforms(int(given["number"]), float(given["speed"]), cells)


def _cell(name: str, value: float, axis: np.ndarray, turns: bool = False) -> int:
    """The cell nearest to a coordinate."""
    apart = np.abs(axis - value)
    if turns:
        apart = np.abs((axis - value + 180) % 360 - 180)
    step = np.abs(np.diff(axis)).max()
    if apart.min() > step:
        raise OptionError(
            f"A platform starts at {name}={value:g}, outside the grid from {axis.min():g} to "
            f"{axis.max():g}, {apart.min():g} away."
        )
    return int(apart.argmin())


def _budget(
    wishes: Wishes, platforms: Platforms | None, tracks: int, cells: int, grid: Grid
) -> float:
    """The budget in places, or in cost."""
    budget = wishes.budget
    if platforms is not None:
        makes = platforms.number * grid.time.size
        if wishes.cost is None and budget is not None and budget != makes:
            words = "more" if budget < makes else "fewer"
            raise OptionError(
                f"budget={budget!r}: {platforms.number} platforms at {grid.time.size} times "
                f"make {makes} observations, {abs(makes - budget):g} {words}. Leave it out."
            )
        if budget is None:
            return float(makes)
    if budget is None:
        raise OptionError("budget= is missing: a number of cells, a share of them or a cost.")
    if wishes.cost is not None:
        check_number("budget", budget, above=0)
        return float(budget)
    whole = isinstance(budget, int | np.integer) and not isinstance(budget, bool)
    if whole:
        check_count("budget", budget)
        return float(budget)
    if tracks or not is_number(budget) or not 0 < budget <= 1:
        what = "a number of tracks" if tracks else "a number of cells, or a share from 0 to 1"
        raise OptionError(f"budget={budget!r}: expected {what}.")
    number = floor(budget * cells + 1e-9)
    if number < 1:
        raise OptionError(
            f"budget={budget!r} is {budget * cells:.2g} of the {cells} cells of the sea: "
            f"expected one cell at least, a share of {1 / cells:.2g}."
        )
    return float(number)
