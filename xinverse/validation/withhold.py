"""Choose the groups of observations of one labelled field that are withheld together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xinverse.checks import check_mapping, check_number
from xinverse.errors import OptionError
from xinverse.fields.grid import Grid
from xinverse.validation.passes import are_thin, pass_keys
from xinverse.withholding import block_keys

__all__ = ["Groups", "groups_of"]

_PARTS = 4  # at least so many blocks along each axis of the field
_SPARSE = 0.2  # share of the cells seen on a date, below which all of a block is one date's


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of observations.

    Parameters
    ----------
    keys : ndarray of uint64, shape (nt, ny, nx)
        Equal in one group.
    words : str
        What a group is.
    """

    keys: NDArray[np.uint64]
    words: str


def groups_of(
    observed: NDArray[np.bool_],
    grid: Grid,
    *,
    block: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Groups:
    """Divide observations into groups: passes of tracks, or blocks in space and time.

    Parameters
    ----------
    observed : ndarray of bool, shape (nt, ny, nx)
        Where there are observations.
    grid : Grid
        Positions of the cells.
    block : mapping, optional
        Size of the blocks, ``{"days": ..., "km": ...}``. Default: passes for tracks; else
        blocks like the gaps.
    seed : int
        Selects the groups.

    Raises
    ------
    OptionError
        `block` is not such a mapping.
    """
    days = np.floor(grid.time).astype(np.int64)
    cells = (days, np.arange(grid.y.size), np.arange(grid.x.size))
    period = grid.x.size if grid.periodic else None
    dy, dx = grid.spacing_km
    if block is None and are_thin(observed):
        return Groups(pass_keys(observed, seed=seed), "passes")
    if block is None:
        long, wide = _like_gaps(observed, grid)
    else:
        check_mapping("block", block)
        if set(block) != {"days", "km"}:
            raise OptionError(f"block={dict(block)!r}: expected {{'days': ..., 'km': ...}}.")
        for name, value in block.items():
            check_number(f"block {name}", value, above=0)
        long, wide = float(block["days"]), float(block["km"])
    size = (max(round(long), 1), max(round(wide / dy), 1), max(round(wide / dx), 1))
    keys = block_keys(cells, size, seed=seed, period=period)
    return Groups(keys, f"blocks of {size[0]} days and {wide:.0f} km")


def _like_gaps(observed: NDArray[np.bool_], grid: Grid) -> tuple[float, float]:
    """Length in days and width in km of blocks that are as far from data as the gaps are.

    The mean distance to the edge is a sixth of the width in a square block, and a quarter of
    the length in time.
    """
    from scipy.ndimage import distance_transform_edt

    dy, dx = grid.spacing_km
    span = min(dy * grid.y.size, dx * grid.x.size)
    step = grid.time_step if grid.time.size > 1 else 1.0
    seen = np.asarray(observed.any(axis=0))
    dates = np.flatnonzero(observed.any(axis=(1, 2)))
    apart = [
        distance_transform_edt(~observed[t], sampling=(dy, dx))[seen & ~observed[t]]
        for t in dates
    ]
    away = np.concatenate(apart) if apart else np.zeros(0)
    width = 6 * float(away.mean()) if away.size else 0.0
    width = float(np.clip(width, 3 * max(dy, dx), max(span / _PARTS, dy, dx)))
    if observed[dates][:, seen].mean() < _SPARSE:
        return step, width
    length = 4 * step * _steps_to_data(observed, seen)
    return float(np.clip(length, step, max(grid.time.size // _PARTS, 1) * step)), width


def _steps_to_data(observed: NDArray[np.bool_], seen: NDArray[np.bool_]) -> float:
    """Mean number of time steps from a gap to an observation of its cell."""
    series = observed[:, seen]
    number: NDArray[Any] = np.arange(len(series))[:, None]
    before = np.maximum.accumulate(np.where(series, number, -(10**9)), axis=0)
    after = np.minimum.accumulate(np.where(series, number, 10**9)[::-1], axis=0)[::-1]
    steps = np.minimum(number - before, after - number)[~series]
    return float(steps.mean()) if steps.size else 0.0
