"""Nature runs of any length, streamed to a Zarr store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any, overload

import numpy as np
import xarray as xr

from xinverse._version import __version__
from xinverse.errors import OptionError
from xinverse.files import ZARR, check_target, whole_or_not_at_all, without_zarr_warnings
from xinverse.osse.nature import Ocean, daily_heights, label_heights

__all__ = ["simulate"]


@overload
def simulate(
    oceans: Ocean,
    store: str | os.PathLike[str],
    *,
    days: int = 300,
    spinup: int = 600,
    size: int = 96,
    seed: int = 0,
    step: float = 4320.0,
    block: int = 10,
    overwrite: bool = False,
    progress: bool = True,
) -> xr.Dataset: ...
@overload
def simulate(
    oceans: Sequence[Ocean],
    store: str | os.PathLike[str],
    *,
    days: int = 300,
    spinup: int = 600,
    size: int = 96,
    seed: int = 0,
    step: float = 4320.0,
    block: int = 10,
    overwrite: bool = False,
    progress: bool = True,
) -> list[xr.Dataset]: ...
def simulate(
    oceans: Ocean | Sequence[Ocean],
    store: str | os.PathLike[str],
    *,
    days: int = 300,
    spinup: int = 600,
    size: int = 96,
    seed: int = 0,
    step: float = 4320.0,
    block: int = 10,
    overwrite: bool = False,
    progress: bool = True,
) -> xr.Dataset | list[xr.Dataset]:
    r"""Simulate oceans into a Zarr store, block by block.

    The model has two quasi-geostrophic layers
    (:class:`xinverse.dynamics.quasi_geostrophic.TwoLayerQG`). Memory holds one block of days.
    The store is written under a temporary name and renamed when it is complete.

    If the grid spacing :math:`\Delta` does not resolve the deformation radius :math:`R_d`, the
    simulation uses a finer grid, and the height of a cell is the mean over

    .. math:: m^2, \qquad m = \lceil 1.4 \, \Delta / R_d \rceil,

    cells of the simulation. For example, a grid of 24 km with a radius of 30 km is simulated
    at 12 km, which costs four to eight times as much.

    Parameters
    ----------
    oceans : Ocean or sequence of Ocean
        One box each, such as from :func:`draw_ocean`. Those of equal refinement :math:`m` are
        integrated as one batch.
    store : path
        Ends in ``.zarr``. One ocean is written to its root, a sequence to the groups
        ``ocean_0``, ``ocean_1`` ...
    days : int, default 300
        Length of the run, in days.
    spinup : int, default 600
        Days to discard before it.
    size : int, default 96
        Cells along each side of the doubly periodic box, after averaging.
    seed : int, default 0
        Seed of the initial potential vorticity of the first ocean; each further one adds 1000.
    step : float, default 4320
        Longest time step, in seconds; it is shortened as the flow speeds up.
    block : int, default 10
        Days in memory and in a chunk.
    overwrite : bool, default False
        Replace an existing store.
    progress : bool, default True
        Show a progress bar.

    Returns
    -------
    xarray.Dataset or list of xarray.Dataset
        Opened lazily: daily ``ssh`` in metres on (time, latitude, longitude), with the
        parameters as attributes. A list for a sequence of oceans.

    Raises
    ------
    OptionError
        A number is out of range, there is no ocean, or `store` does not end in ``.zarr``.
    FileExistsError
        `store` exists, and `overwrite` is false.
    FloatingPointError
        The flow becomes too fast for the time step within a day; nothing is written.
    """
    listed = [oceans] if isinstance(oceans, Ocean) else list(oceans)
    path = Path(store)
    _check(listed, path, days=days, spinup=spinup, size=size, step=step, block=block)
    check_target(path, overwrite=overwrite)
    groups = [None] if isinstance(oceans, Ocean) else [f"ocean_{i}" for i in range(len(listed))]
    with whole_or_not_at_all(path, overwrite=overwrite) as whole:
        for refinement in sorted({ocean.refinement for ocean in listed}):
            batch = [i for i, ocean in enumerate(listed) if ocean.refinement == refinement]
            heights = daily_heights(
                [listed[i] for i in batch],
                [seed + 1000 * i for i in batch],
                days=days,
                spinup=spinup,
                size=size,
                step=step,
                refinement=refinement,
                progress=progress,
            )
            for first, stack in _blocks(heights, block):
                for number, i in enumerate(batch):
                    run = label_heights(stack[:, number], listed[i], first).to_dataset()
                    run.attrs = _about(listed[i], seed + 1000 * i, spinup)
                    _append(run, whole, groups[i], new=first == 0, block=block)
    opened = [xr.open_zarr(path, group=group) for group in groups]
    return opened[0] if isinstance(oceans, Ocean) else opened


def _check(oceans: list[Ocean], store: Path, **numbers: float) -> None:
    if not oceans:
        raise OptionError("There is no ocean to simulate. Give an Ocean or a list of them.")
    for ocean in oceans:
        if not isinstance(ocean, Ocean):
            raise OptionError(
                f"Got a {type(ocean).__name__}. Expected an Ocean, such as draw_ocean(seed)."
            )
    if store.suffix != ZARR:
        raise OptionError(f"The name of the Zarr store, {store.name!r}, must end in .zarr.")
    least = {"days": 1, "spinup": 0, "size": 8, "block": 1}
    for name, value in numbers.items():
        if name in least:
            if not (isinstance(value, int | np.integer) and value >= least[name]):
                raise OptionError(
                    f"{name} is {value!r}. Expected a whole number of {least[name]} or more."
                )
        elif not 0 < value < inf:
            raise OptionError(f"{name} is {value!r}. Expected seconds above 0.")


def _blocks(heights: Iterator[Any], length: int) -> Iterator[tuple[int, Any]]:
    """Stack days into blocks, each with the number of its first day."""
    first, kept = 0, []
    for height in heights:
        kept.append(height)
        if len(kept) == length:
            yield first, np.stack(kept)
            first, kept = first + length, []
    if kept:
        yield first, np.stack(kept)


def _append(run: xr.Dataset, store: Path, group: str | None, *, new: bool, block: int) -> None:
    with without_zarr_warnings():
        if not new:
            run.to_zarr(store, group=group, mode="a", append_dim="time")
            return
        encoding = {
            "ssh": {"chunks": (block, run.sizes["latitude"], run.sizes["longitude"])},
            # One chunk for years, since each opening reads all dates.
            "time": {
                "units": "days since 2000-01-01",
                "calendar": "proleptic_gregorian",
                "dtype": "int64",
                "chunks": (4096,),
            },
        }
        run.to_zarr(store, group=group, mode="a", encoding=encoding)


def _about(ocean: Ocean, seed: int, spinup: int) -> dict[str, Any]:
    return {
        "Conventions": "CF-1.11",
        "title": "Sea surface height of two-layer quasi-geostrophic turbulence",
        "source": f"xinverse {__version__}, two-layer quasi-geostrophic model, doubly periodic",
        "comment": (
            f"seed {seed}; day 0 follows {spinup} days of spin-up; simulated on a grid of "
            f"{ocean.spacing_km / ocean.refinement:g} km, averaged over {ocean.refinement} x "
            f"{ocean.refinement} cells"
        ),
    }
