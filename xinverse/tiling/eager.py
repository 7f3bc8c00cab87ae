"""Tiles solved one after the other, for arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from xinverse.tiling.blend import axis_shares, joined
from xinverse.tiling.cover import Cover
from xinverse.tiling.plan import Plan, Tile

__all__ = ["Covers", "Outputs", "Solve", "cut", "solve_eagerly"]

Solve = Callable[[Tile, Mapping[Any, Any]], Mapping[Any, Any]]
Covers = tuple[Cover | None, Cover | None, Cover | None]
# For each output, the lengths of its leading axes (members) and its dtype.
Outputs = Mapping[Any, tuple[tuple[int, ...], np.dtype[Any]]]


def cut(array: Any, tile: Tile, covers: Covers | None = None) -> Any:
    """The tile's part of an array ``(..., t, y, x)``, or of a map ``(y, x)``.

    Parameters
    ----------
    array : array
        On the cells of the plan, or of another grid.
    tile : Tile
        Which part.
    covers : tuple of Cover, optional
        For an array on another grid: along (time, y, x), which cells belong to the tile's.
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
        if last - first + 1 == len(cells):  # a view, where the tile does not wrap
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
    """Solve every tile and blend.

    Parameters
    ----------
    plan : Plan
        The tiles.
    solve : callable
        From a tile and its inputs to its kept part, ``(*lead, *extra, t, y, x)`` for
        each output.
    inputs : dict
        Arrays ``(*extra, t, y, x)`` and maps ``(y, x)``.
    outputs : dict
        For each output its leading lengths and its dtype.
    like : array, shape (*extra, t, y, x) in its leading axes
        Gives the extra dimensions, and the kind of array (cupy in, cupy out).
    covers : dict, optional
        For inputs on another grid than the plan's.
    progress : bool
        Show a bar.

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
