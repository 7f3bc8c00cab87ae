"""Solve tiles one by one, for arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xinverse.tiling.blend import axis_shares, joined
from xinverse.tiling.cover import Cover
from xinverse.tiling.plan import Plan, Tile

if TYPE_CHECKING:
    from xinverse.tiling.regions import Regions

__all__ = ["Covers", "Outputs", "Solve", "cut", "each_region", "solve_eagerly"]

Solve = Callable[[Tile, Mapping[Any, Any]], Mapping[Any, Any]]
Covers = tuple[Cover | None, Cover | None, Cover | None]
# For each output, the lengths of its leading axes (such as members) and its dtype.
Outputs = Mapping[Any, tuple[tuple[int, ...], np.dtype[Any]]]


def cut(array: Any, tile: Tile, covers: Covers | None = None) -> Any:
    """Cut a tile from an array ``(..., t, y, x)`` or a map ``(y, x)``.

    Parameters
    ----------
    array : array
        On the plan's grid, or on another.
    tile : Tile
        The tile.
    covers : tuple of Cover, optional
        For an array on another grid: its cells for those of the tile, along (time, y, x).
    """
    read = list(tile.read)
    for axis, one in enumerate(covers or ()):
        if one is not None:
            read[axis] = one.read(tile.start[axis], len(tile.read[axis]))
    read = read[3 - min(array.ndim, 3) :]
    for axis, cells in enumerate(read, start=array.ndim - len(read)):
        before = (slice(None),) * axis
        if not len(cells):
            array = array[(*before, slice(0, 0))]
            continue
        first, last = int(cells[0]), int(cells[-1])
        if last - first + 1 == len(cells):  # a view, if the tile does not wrap
            array = array[(*before, slice(first, last + 1))]
        else:
            array = array[(*before, cells)]
    return array


def solve_eagerly(
    plan: Plan,
    solve: Solve,
    inputs: Mapping[Any, Any],
    outputs: Outputs,
    like: Any,
    *,
    covers: Mapping[Any, Covers] | None = None,
    progress: bool = False,
) -> dict[Hashable, Any]:
    """Solve every tile and blend the results.

    Parameters
    ----------
    plan : Plan
        The tiles.
    solve : callable
        Takes a tile and its inputs, and returns the kept part of each output,
        ``(*lead, *extra, t, y, x)``.
    inputs : dict
        Arrays ``(*extra, t, y, x)`` and maps ``(y, x)``.
    outputs : dict
        Leading lengths and dtype of each output.
    like : array, shape (*extra, t, y, x) in its leading axes
        Sets the extra dimensions, and the array type (cupy in, cupy out).
    covers : dict, optional
        For inputs on other grids than the plan's.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict of array, each ``(*lead, *extra, t, y, x)``
    """
    from tqdm import tqdm

    covers = covers or {}
    along = [axis_shares(axis, 0, axis.size) for axis in plan.axes]
    shape = (*like.shape[:-3], *(axis.size for axis in plan.axes))
    out = {
        key: np.zeros_like(like, dtype=dtype, shape=(*lead, *shape))
        for key, (lead, dtype) in outputs.items()
    }
    for tile in tqdm(plan.tiles(), total=plan.size, unit="tile", disable=not progress):
        parts = {role: cut(array, tile, covers.get(role)) for role, array in inputs.items()}
        kept = solve(tile, parts)
        for into, of, weights in joined(along, tile.index):
            for key, array in out.items():
                share = np.asarray(weights, like=kept[key]) * kept[key][(..., *of)]
                array[(..., *into)] += share.astype(array.dtype)
    return out


def each_region(
    regions: Regions,
    estimate: Callable[[Tile, Mapping[Any, Any]], Any],
    inputs: Mapping[Any, Any],
) -> Any:
    """Estimate something of every region from its sample.

    Parameters
    ----------
    regions : Regions
        The regions.
    estimate : callable
        Takes the sample of a region, as a tile, and its inputs; returns
        ``(*extra, count, 1, 1)``.
    inputs : dict
        Arrays ``(*extra, t, y, x)`` and maps ``(y, x)``.

    Returns
    -------
    ndarray, shape (*extra, count, rows, columns)
    """
    rows, columns = regions.counts
    found = []
    for i in range(rows):
        tiles = [regions.tile(i, j) for j in range(columns)]
        parts = [{r: cut(a, tile) for r, a in inputs.items()} for tile in tiles]
        row = [estimate(tile, part) for tile, part in zip(tiles, parts, strict=True)]
        found.append(np.concatenate(row, axis=-1))
    return np.concatenate(found, axis=-2)
