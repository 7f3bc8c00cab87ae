"""The lazy way: two layers of tasks on the blocks of dask arrays.

The first layer solves a tile from the blocks that it reads; the second blends
each block of the output from the tiles that reach into it. A tile is one task
and an output block another, whatever the halo; map_overlap would need some 25
per block for a three-dimensional halo, and could not blend.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from xinverse.tiling.blend import contributions
from xinverse.tiling.eager import Solve
from xinverse.tiling.plan import Index, Plan, Tile

__all__ = ["solve_lazily"]

Chunks = tuple[tuple[int, ...], ...]


def solve_lazily(
    plan: Plan,
    solve: Solve,
    inputs: Mapping[str, Any],
    outputs: int,
    dtype: np.dtype[Any],
    token: Any,
) -> list[da.Array]:
    """Build the graph that solves every tile and blends; nothing is computed.

    Parameters
    ----------
    plan : Plan
        The tiles.
    solve : callable
        From a tile and its inputs to its kept part ``(outputs, *extra, t, y, x)``.
    inputs : dict
        Dask or numpy arrays ``(*extra, t, y, x)`` and maps ``(y, x)``; ``"y"``
        is a dask array, whose chunks the output has.
    outputs : int
        How many fields a solve returns.
    dtype : dtype
        Of the result.
    token : object
        What the solve depends on, for names that are equal when results are.

    Returns
    -------
    list of dask.array.Array
        One per output, with the chunks of ``inputs["y"]``.
    """
    y = inputs["y"]
    # Fields take the chunks of the observations, so that a tile reads the same blocks of each.
    sources = {
        name: array if array.ndim == 2 else da.asarray(array).rechunk(y.chunks)
        for name, array in inputs.items()
        if name != "y"
    }
    sources["y"] = y
    sources = {n: a if isinstance(a, da.Array) else da.from_array(a, chunks=-1) for n, a in sources.items()}
    name = "xinverse-" + tokenize(token, plan, outputs, dtype.str, *(a.name for a in sources.values()))
    solved = "solve-" + name
    tasks: dict[Hashable, Any] = {"how-" + name: solve, "plan-" + name: plan}
    blocks = {n: _Blocks(a) for n, a in sources.items()}
    extra = [range(len(c)) for c in y.chunks[:-3]]
    for tile in plan.tiles():
        for e in product(*extra):
            parts = {n: b.reading(tile, e) for n, b in blocks.items()}
            tasks[(solved, *e, *tile.index)] = (
                _solve_tile,
                "how-" + name,
                "plan-" + name,
                tile.index,
                list(parts),
                [cut for cut, _ in parts.values()],
                [keys for _, keys in parts.values()],
            )
    first = HighLevelGraph.from_collections(solved, tasks, dependencies=list(sources.values()))
    return [_blend_layer(plan, first, solved, name, k, y, dtype) for k in range(outputs)]


class _Blocks:
    """The blocks of one array, and how a tile reads them."""

    def __init__(self, array: da.Array) -> None:
        self.name = array.name
        self.axes = min(array.ndim, 3)
        self.edges = [np.cumsum([0, *c]) for c in array.chunks[-self.axes :]]

    def reading(self, tile: Tile, extra: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
        """Local cells to take along each axis, and the nested keys of the blocks."""
        cuts, numbers = [], []
        for cells, edges in zip(tile.read[3 - self.axes :], self.edges, strict=True):
            owner = np.searchsorted(edges, cells, side="right") - 1
            used = np.unique(owner)
            # Where the blocks that are used stand when they are laid end to end.
            shift = np.concatenate([[0], np.cumsum(np.diff(edges)[used])])[:-1]
            local = cells - edges[owner] + shift[np.searchsorted(used, owner)]
            contiguous = len(local) == local[-1] - local[0] + 1 and local[0] <= local[-1]
            cuts.append((int(local[0]), int(local[-1]) + 1) if contiguous else local)
            numbers.append([int(u) for u in used])
        lead = extra if self.axes == 3 else ()
        if self.axes == 3:
            keys: list[Any] = [
                [[(self.name, *lead, i, j, k) for k in numbers[2]] for j in numbers[1]]
                for i in numbers[0]
            ]
        else:
            keys = [[(self.name, j, k) for k in numbers[1]] for j in numbers[0]]
        return cuts, keys


def _join(keys: list[Any], cuts: list[Any]) -> Any:
    """Lay blocks end to end and take the tile's cells."""
    array = _concatenate(keys, len(cuts))
    for axis, cells in enumerate(cuts, start=array.ndim - len(cuts)):
        wanted = slice(*cells) if isinstance(cells, tuple) else cells
        array = array[(*(slice(None),) * axis, wanted)]
    return array


def _concatenate(nested: Any, depth: int) -> Any:
    if depth == 0:
        return nested
    parts = [_concatenate(part, depth - 1) for part in nested]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-depth)


def _solve_tile(
    solve: Callable[..., Any],
    plan: Plan,
    index: Index,
    names: list[str],
    cuts: list[Any],
    blocks: list[Any],
) -> Any:
    inputs = {n: _join(b, c) for n, b, c in zip(names, blocks, cuts, strict=True)}
    return solve(plan.tile(index), inputs)


def _blend_layer(
    plan: Plan,
    first: HighLevelGraph,
    solved: str,
    name: str,
    output: int,
    like: da.Array,
    dtype: np.dtype[Any],
) -> da.Array:
    blended = f"blend-{output}-{name}"
    edges = [np.cumsum([0, *c]) for c in like.chunks[-3:]]
    tasks: dict[Hashable, Any] = {}
    spatial = [range(len(c)) for c in like.chunks[-3:]]
    for block in product(*spatial):
        region = tuple((int(e[b]), int(e[b + 1])) for e, b in zip(edges, block, strict=True))
        tiles = sorted({index for index, *_ in contributions(plan, region)})  # type: ignore[arg-type]  # three
        for e in product(*(range(len(c)) for c in like.chunks[:-3])):
            tasks[(blended, *e, *block)] = (
                _blend_block,
                "plan-" + name,
                region,
                output,
                dtype.str,
                tiles,
                [(solved, *e, *index) for index in tiles],
            )
    layers = dict(first.layers)
    dependencies = dict(first.dependencies)
    layers[blended], dependencies[blended] = tasks, {solved}  # type: ignore[assignment]  # as dask does
    graph = HighLevelGraph(layers, dependencies)
    return da.Array(graph, blended, chunks=like.chunks, dtype=dtype, meta=like._meta.astype(dtype))


def _blend_block(
    plan: Plan, region: Any, output: int, dtype: str, indices: list[Index], tiles: list[Any]
) -> Any:
    kept = {tuple(index): tile[output] for index, tile in zip(indices, tiles, strict=True)}
    shape = tuple(last - first for first, last in region)
    extra = tiles[0].shape[1:-3]
    out = np.zeros_like(tiles[0], dtype=dtype, shape=(*extra, *shape))
    for index, into, of, weights in contributions(plan, region):
        share = np.asarray(weights, like=out) * kept[index][(..., *of)]
        out[(..., *into)] += share.astype(out.dtype)
    return out
