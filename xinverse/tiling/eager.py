"""Tiles solved one after the other, for arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xinverse.tiling.blend import axis_shares, joined
from xinverse.tiling.plan import Plan, Tile

__all__ = ["cut", "solve_eagerly"]

Solve = Callable[[Tile, Mapping[str, Any]], Any]


def cut(array: Any, tile: Tile) -> Any:
    """The tile's part of an array ``(..., t, y, x)``, or of a map ``(y, x)``."""
    read = tile.read[3 - min(array.ndim, 3) :]
    for axis, cells in enumerate(read, start=array.ndim - len(read)):
        before = (slice(None),) * axis
        first, last = int(cells[0]), int(cells[-1])
        if last - first + 1 == len(cells):  # a view, where the tile does not wrap
            array = array[(*before, slice(first, last + 1))]
        else:
            array = array[(*before, cells)]
    return array


def solve_eagerly(
    plan: Plan,
    solve: Solve,
    inputs: Mapping[str, Any],
    outputs: int,
    dtype: np.dtype[Any],
    *,
    progress: bool = False,
) -> Any:
    """Solve every tile and blend.

    Parameters
    ----------
    plan : Plan
        The tiles.
    solve : callable
        From a tile and its inputs to its kept part ``(outputs, *extra, t, y, x)``.
    inputs : dict
        Arrays ``(*extra, t, y, x)`` and maps ``(y, x)``, with one called ``"y"``.
    outputs : int
        How many fields a solve returns.
    dtype : dtype
        Of the result.
    progress : bool
        Show a bar.

    Returns
    -------
    array, shape (outputs, *extra, t, y, x)
    """
    from tqdm import tqdm

    y = inputs["y"]
    along = [axis_shares(axis, 0, axis.size) for axis in plan.axes]
    # Like the input, so that cupy in is cupy out.
    out = np.zeros_like(y, dtype=dtype, shape=(outputs, *y.shape))
    for tile in tqdm(plan.tiles(), total=plan.size, unit="tile", disable=not progress):
        kept = solve(tile, {name: cut(array, tile) for name, array in inputs.items()})
        for into, of, weights in joined(along, tile.index):
            share = np.asarray(weights, like=kept) * kept[(..., *of)]
            out[(..., *into)] += share.astype(out.dtype)
    return out
