"""What a training reads: labelled fields as regions, their background made once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

from xinverse.errors import DataError, GridError, OptionError
from xinverse.fields.alignment import check_units
from xinverse.fields.axes import find_axes
from xinverse.files import open_lazily, write
from xinverse.methods.learned import normalisation
from xinverse.tiling.patches import Box, Reader, Region
from xinverse.verbs.call import Call
from xinverse.verbs.interpolate import interpolate
from xinverse.verbs.job import Job, Observation, prepare

__all__ = ["make_region", "shifted"]

IN_MEMORY = 256 * 2**20  # bytes of a field above which its background goes to disk
DAYS_LOOKED_AT = 60  # for level, scale and what stands for the data
TOLERANCE = 1e-5  # of the optimal interpolation, as learned methods solve it
BLOCK = (3, 12, 12)  # cells along (time, y, x) that are withheld together


def shifted(
    truth: xr.DataArray | None,
    seen: xr.DataArray,
    shift: int,
    shifts: int,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.DataArray:
    """The truth seen through gaps and errors of other dates, the same distance apart."""
    if truth is None or not shift:
        return seen
    time = find_axes(seen, dims).time
    truth, seen = _lazy(truth), _lazy(seen)
    moved = shift * seen.sizes[time] // (shifts + 1)
    errors = (seen - truth).roll({time: moved}, roll_coords=False)
    return (truth + errors).rename(seen.name).assign_attrs(seen.attrs)


def make_region(
    truth: xr.DataArray | None,
    seen: xr.DataArray,
    background: xr.DataArray | None,
    *,
    scales: Mapping[str, Any],
    mask: Any,
    dims: Mapping[str, Hashable] | None,
    hide: float,
    seed: int,
    validation: float,
    store: Path,
    progress: bool,
) -> tuple[Job, Region, str]:
    """One field to learn from, nothing of it read but some days."""
    given, seen = seen, _lazy(seen)
    ds = seen.coords.to_dataset()
    options = {**scales, "tolerance": TOLERANCE}
    call = Call.of("train", ds, "oi", options, mask=mask, dims=dims)
    job = prepare(call, ds, [seen], [Observation(seen.name, seen)])
    field = job.field
    if field.extra:
        raise OptionError(
            f"{seen.name!r} has the dimensions {field.extra} beside time, y and x. Give one "
            "field for each of their elements, in a list."
        )
    if not field.grid.regular_space or not field.grid.regular_time:
        raise GridError(
            f"{seen.name!r} is not on a regular grid, which the convolutions of learned "
            "methods need. Interpolate it to one first."
        )
    seen = field.template
    for what, other in (("truth", truth), ("background", background)):
        if other is not None:
            check_units(seen, other)
            _check_grid(what, seen, other)
    kept, hidden = seen, None
    if hide:
        hidden = _hidden(seen, field.dims, hide, seed)
        kept = seen.where(~hidden)
    first = background
    if first is None:
        first = _interpolated(kept, mask, dims, scales, store, progress)
    elif first.chunks is not None:
        given_first = first
        first = _stored(lambda: given_first, store, progress)
    # As a tile is solved: with y and x ascending.
    turn = {
        d: slice(None, None, -1)
        for d, c in ((field.axes.y, field.grid.y), (field.axes.x, field.grid.x))
        if c[0] > c[-1]
    }
    # As it was given, a store is read without dask; packed values have to be unpacked first.
    plain = given.dtype.kind == "f" and given.attrs == seen.attrs
    y = given if plain else seen
    parts = {"y": y, "truth": truth, "background": first, "withheld": hidden}
    read = {
        what: _reader(da.isel(turn), field.dims) for what, da in parts.items() if da is not None
    }
    days = np.unique(np.linspace(0, field.grid.shape[0] - 1, DAYS_LOOKED_AT).astype(int))
    sample = y.transpose(*field.dims).isel({field.axes.time: days}).to_numpy()
    sea = (
        np.ones(field.grid.shape[1:], bool)
        if job.sea is None
        else np.asarray(job.sea).astype(bool)
    )
    turned = sea[tuple(turn.get(d, slice(None)) for d in field.dims[1:])]
    whole = slice(None)
    level, scale, noise = normalisation(
        sample, field.grid.cut(days, whole, whole), sea, scales["noise"]
    )
    token = hashlib.sha256(sample.tobytes())
    for coordinate in (field.grid.time, field.grid.y, field.grid.x):
        token.update(coordinate.tobytes())
    token.update(np.packbits(sea).tobytes())
    first_days = {
        what: other.transpose(*field.dims).isel({field.axes.time: days[:1]}).to_numpy()
        for what, other in (("truth", truth), ("background", background))
        if other is not None
    }
    for what, day in first_days.items():
        token.update(what.encode() + day.tobytes())
    if truth is not None and not np.isfinite(first_days["truth"][:, sea]).any():
        raise DataError(
            f"The truth {truth.name!r} is NaN everywhere in the sea on its first day. Give "
            "complete fields, or leave truth= out to learn from observations alone."
        )
    shape = field.grid.shape
    region = Region(
        shape=shape,
        y=read["y"],
        truth=read.get("truth", read["y"]),
        background=read["background"],
        withheld=read.get("withheld"),
        sea=turned,
        level=level,
        scale=scale,
        noise=noise,
        split=shape[0] - round(validation * shape[0]),
    )
    return job, region, token.hexdigest()[:16]


def _lazy(da: xr.DataArray) -> xr.DataArray:
    """With dask, where the whole would take too much memory."""
    return da.chunk("auto") if da.chunks is None and da.nbytes > IN_MEMORY else da


def _reader(da: xr.DataArray, dims: Sequence[Hashable]) -> Reader:
    """Reads boxes: from memory, from dask, or straight from a store that was opened so."""
    variable = da.variable.transpose(*dims)

    def read(box: Box) -> np.ndarray:
        return variable[box].to_numpy()

    return read


def _hidden(
    seen: xr.DataArray, dims: Sequence[Hashable], share: float, seed: int
) -> xr.DataArray:
    """Which blocks of cells are withheld, as lazy as the field."""
    rng = np.random.default_rng((seed, 2))
    sizes = [seen.sizes[d] for d in dims]
    blocks = xr.DataArray(
        rng.random([-(-n // b) for n, b in zip(sizes, BLOCK, strict=True)]) < share,
        dims=cast(Any, list(dims)),
    )
    if seen.chunks is not None:
        blocks = blocks.chunk()
    index = {
        d: xr.DataArray(np.arange(n) // b, dims=cast(Any, d))
        for d, n, b in zip(dims, sizes, BLOCK, strict=True)
    }
    whole: xr.DataArray = blocks.isel(index).assign_coords({d: seen[d] for d in dims})
    return whole.chunk(seen.chunksizes) if seen.chunks is not None else whole


def _interpolated(
    kept: xr.DataArray,
    mask: Any,
    dims: Mapping[str, Hashable] | None,
    scales: Mapping[str, Any],
    store: Path,
    progress: bool,
) -> xr.DataArray:
    options: dict[str, Any] = {**scales, "mask": mask, "dims": dims, "tolerance": TOLERANCE}

    def fill(**shown: bool) -> xr.DataArray:
        # One variable in, no error asked for.
        return cast(xr.DataArray, interpolate(kept, "oi", **options, **shown))

    if kept.chunks is None:
        return fill(progress=progress)
    return _stored(fill, store, progress)


def _stored(
    background: Callable[[], xr.DataArray], store: Path, progress: bool
) -> xr.DataArray:
    if not store.exists():
        write(background().rename("background").to_dataset(), store, progress=progress)
    return open_lazily(store)["background"]


def _check_grid(what: str, seen: xr.DataArray, other: xr.DataArray) -> None:
    if set(other.dims) != set(seen.dims):
        raise GridError(
            f"The {what} has the dimensions {other.dims} and the observations {seen.dims}: "
            "expected the same ones."
        )
    try:
        xr.align(seen, other, join="exact", copy=False)
    except ValueError as error:
        raise GridError(
            f"The {what} is not on the coordinates of the observations: {error}. Interpolate "
            "one to the other first (interp_like)."
        ) from error
