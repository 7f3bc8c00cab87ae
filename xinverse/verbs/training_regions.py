"""Regions that training patches are read from: labelled fields, and backgrounds made once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import xarray as xr

from xinverse.errors import DataError, GridError, OptionError
from xinverse.fields.axes import find_axes
from xinverse.fields.field import Field
from xinverse.fields.values import in_units_of, refuse_unusable, unpacked
from xinverse.files import open_lazily, write
from xinverse.methods.learned import normalisation
from xinverse.recipe import Recipe
from xinverse.tiling.patches import Box, Reader, Region
from xinverse.verbs.call import Call
from xinverse.verbs.interpolate import interpolate
from xinverse.verbs.job import Job, Observation, prepare
from xinverse.verbs.training_fields import TrainingFields

__all__ = ["Example", "alike", "make_example", "make_examples", "shifted"]

IN_MEMORY = 256 * 2**20  # bytes of a field above which its background goes to disk
SAMPLED_DAYS = 60  # for level and scale, and for the hash of the data
TOLERANCE = 1e-5  # of the optimal interpolation, as learned methods solve it
BLOCK = (3, 12, 12)  # cells along (time, y, x) that are withheld together


class Example(NamedTuple):
    """One field to learn from.

    Attributes
    ----------
    field : Field
        Labels and grid of the observations.
    region : Region
        Reads patches of it.
    token : str
        Hash of some of the data, by which a checkpoint recognises them.
    """

    field: Field
    region: Region
    token: str


def make_examples(
    fields: TrainingFields, recipe: Recipe, cache: Path, *, progress: bool
) -> list[Example]:
    """Prepare every field, once for each shift of the gaps.

    Parameters
    ----------
    fields : TrainingFields
        The fields.
    recipe : Recipe
        With its loss.
    cache : Path
        Where the backgrounds of lazy fields are stored.
    progress : bool
        Show bars.
    """
    examples = []
    for number, one in enumerate(map(alike, fields.each())):
        for shift in range(one.mask_shifts + 1):
            examples.append(
                make_example(
                    shifted(one, shift),
                    recipe,
                    seed=recipe.seed + number,
                    store=cache / f"background-{number}-{shift}.zarr",
                    progress=progress,
                )
            )
    return examples


def alike(fields: TrainingFields) -> TrainingFields:
    """Unpack one field, with truth and background in the units of the observations.

    Parameters
    ----------
    fields : TrainingFields
        One field.

    Raises
    ------
    UnitsError
        No conversion is known.
    """
    (given,) = cast(Any, fields.observations)
    seen = unpacked(given)
    others: dict[str, Any] = {}
    for what in ("truth", "background"):
        for other in getattr(fields, what) or ():
            as_it_is = unpacked(other)
            changed = in_units_of(_lazy(as_it_is), seen, what)
            # A store in the right units is read directly and not through dask.
            others[what] = as_it_is if changed.attrs == as_it_is.attrs else changed
    return replace(fields, observations=seen, **others)


def shifted(fields: TrainingFields, shift: int) -> TrainingFields:
    """Observe a truth with the gaps and errors of other dates.

    Parameters
    ----------
    fields : TrainingFields
        One field.
    shift : int
        Which of the ``mask_shifts``, evenly spaced over the series; 0 for none.
    """
    if fields.truth is None or not shift:
        return fields
    (truth,), (seen,) = cast(Any, (fields.truth, fields.observations))
    time = find_axes(seen, fields.dims).time
    truth, seen = _lazy(truth), _lazy(seen)
    moved = shift * seen.sizes[time] // (fields.mask_shifts + 1)
    errors = (seen - truth).roll({time: moved}, roll_coords=False)
    observations = (truth + errors).rename(seen.name).assign_attrs(seen.attrs)
    return replace(fields, observations=observations, background=None)


def make_example(
    fields: TrainingFields, recipe: Recipe, *, seed: int, store: Path, progress: bool
) -> Example:
    """Prepare one field; only a sample of its days is read.

    Parameters
    ----------
    fields : TrainingFields
        One field.
    recipe : Recipe
        With its loss.
    seed : int
        Seed of the withheld blocks.
    store : Path
        Where its background is stored if the field is lazy.
    progress : bool
        Show bars.

    Raises
    ------
    AxesError, GridError, MaskError, DataError, UnitsError, OptionError
        The labels or the values are not what training needs.
    """
    (given,) = cast(Any, fields.observations)
    truth = None if fields.truth is None else cast(Any, fields.truth)[0]
    background: Any = None if fields.background is None else cast(Any, fields.background)[0]
    noise_field = fields.noise if isinstance(fields.noise, xr.DataArray) else None
    # As weights that do not adapt to the noise will be used: without estimates.
    fixed = {"variance": None, "covariance": "gaussian", "temporal": "gaussian"}
    options: dict[str, Any] = {**recipe.scales, **fixed, "tolerance": TOLERANCE}
    if noise_field is None:
        options["noise"] = fields.noise
    job = _prepared(_lazy(given), fields, options)
    field, seen = job.field, job.field.template
    others = {"truth": truth, "background": background, "noise": noise_field}
    for what, other in others.items():
        if other is not None:
            _check_grid(what, seen, other)
    kept, hidden = seen, None
    if recipe.loss == "self-supervised":
        hidden = _hidden(seen, field.dims, fields.withheld, seed)
        kept = seen.where(~hidden)
    first = background
    if first is None:
        options |= {"mask": fields.mask, "dims": fields.dims, "noise": fields.noise}
        first = _interpolated(kept, options, store, progress)
    elif first.chunks is not None:
        first = _stored(lambda: background, store, progress)
    # With y and x ascending, as a tile is solved.
    turn = {
        d: slice(None, None, -1)
        for d, c in ((field.axes.y, field.grid.y), (field.axes.x, field.grid.x))
        if c[0] > c[-1]
    }
    # Without decoding, a store is read directly and not through dask.
    plain = given.dtype.kind == "f" and given.attrs == seen.attrs
    y = given if plain else seen
    parts = {
        "y": y,
        "truth": truth,
        "background": first,
        "withheld": hidden,
        "noise": noise_field,
    }
    read = {
        what: _reader(da.isel(turn), field.dims) for what, da in parts.items() if da is not None
    }
    times = field.grid.shape[0]
    days = np.unique(np.linspace(0, times - 1, SAMPLED_DAYS).astype(int))
    sample = y.transpose(*field.dims).isel({field.axes.time: days}).to_numpy()
    refuse_unusable(sample, f"The observations {given.name!r}")
    sea = (
        np.ones(field.grid.shape[1:], bool)
        if job.sea is None
        else np.asarray(job.sea).astype(bool)
    )
    noise_option: Any = fields.noise
    if noise_field is not None:
        some = noise_field.transpose(*field.dims).isel({field.axes.time: days})
        noise_option = some.to_numpy()
    whole = slice(None)
    level, scale, noise = normalisation(
        sample, field.grid.cut(days, whole, whole), sea, noise_option
    )
    first_days = {
        what: other.transpose(*field.dims).isel({field.axes.time: days[:1]}).to_numpy()
        for what, other in others.items()
        if other is not None
    }
    for what, day in first_days.items():
        refuse_unusable(day, f"The first day of the {what}")
    if truth is not None and not np.isfinite(first_days["truth"][:, sea]).any():
        raise DataError(
            f"The truth {truth.name!r} is NaN everywhere in the sea on its first day. Give "
            "complete fields, or leave truth= out to learn from observations alone."
        )
    region = Region(
        shape=field.grid.shape,
        y=read["y"],
        truth=read.get("truth", read["y"]),
        background=read["background"],
        withheld=read.get("withheld"),
        sea=sea[tuple(turn.get(d, slice(None)) for d in field.dims[1:])],
        level=level,
        scale=scale,
        noise=read.get("noise", noise),
        split=times - round(fields.validation * times),
    )
    return Example(field, region, _token(field, sample, sea, first_days))


def _prepared(seen: xr.DataArray, fields: TrainingFields, options: Mapping[str, Any]) -> Job:
    """Find axes, grid and mask, and require a regular grid without other dimensions."""
    ds = seen.coords.to_dataset()
    call = Call.of("train", ds, "oi", options, mask=fields.mask, dims=fields.dims)
    job = prepare(call, ds, [seen], [Observation(seen.name, seen)])
    field = job.field
    if field.extra:
        raise OptionError(
            f"{seen.name!r} has the dimensions {field.extra} besides time, y and x. Give one "
            "field for each of their elements, in a list."
        )
    if not field.grid.regular_space or not field.grid.regular_time:
        raise GridError(
            f"{seen.name!r} is not on a regular grid, which the convolutions of learned "
            "methods need. Interpolate it to one first."
        )
    return job


def _token(
    field: Field, sample: np.ndarray, sea: np.ndarray, first_days: Mapping[str, np.ndarray]
) -> str:
    token = hashlib.sha256(sample.tobytes())
    for coordinate in (field.grid.time, field.grid.y, field.grid.x):
        token.update(coordinate.tobytes())
    token.update(np.packbits(sea).tobytes())
    for what, day in first_days.items():
        token.update(what.encode() + day.tobytes())
    return token.hexdigest()[:16]


def _lazy(da: xr.DataArray) -> xr.DataArray:
    """Chunk a field that would take too much memory."""
    return da.chunk("auto") if da.chunks is None and da.nbytes > IN_MEMORY else da


def _reader(da: xr.DataArray, dims: Sequence[Hashable]) -> Reader:
    """Read boxes from memory, through dask, or directly from an open store."""
    variable = da.variable.transpose(*dims)

    def read(box: Box) -> np.ndarray:
        return variable[box].to_numpy()

    return read


def _hidden(
    seen: xr.DataArray, dims: Sequence[Hashable], share: float, seed: int
) -> xr.DataArray:
    """Blocks of cells that are withheld; lazy if the field is."""
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
    kept: xr.DataArray, options: Mapping[str, Any], store: Path, progress: bool
) -> xr.DataArray:
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
            "expected the same. Transpose or select first."
        )
    try:
        xr.align(seen, other, join="exact", copy=False)
    except ValueError as error:
        raise GridError(
            f"The {what} is not on the coordinates of the observations: {error}. Interpolate "
            "one to the other first (interp_like)."
        ) from error
