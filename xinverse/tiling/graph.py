"""The lazy way: two layers of tasks on the blocks of dask arrays.

The first layer solves a tile from the blocks that it reads; the second blends
each block of the output from the tiles that reach into it. A tile is one task
and an output block another, whatever the halo; map_overlap would need some 25
per block for a three-dimensional halo, and could not blend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from xinverse.tiling.axis import AxisPlan
from xinverse.tiling.blend import Region, contributions
from xinverse.tiling.eager import Solve
from xinverse.tiling.plan import Index, Plan

__all__ = ["solve_lazily"]


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
        Dask or numpy arrays ``(*extra, t, y, x)`` and maps ``(y, x)``. The output
        has the chunks of ``"y"``, one where it is in memory.
    outputs : int
        How many fields a solve returns.
    dtype : dtype
        Of the result.
    token : object
        What the solve depends on, for names that are equal when results are.

    Returns
    -------
    list of dask.array.Array
        One per output.
    """
    y = inputs["y"]
    if not isinstance(y, da.Array):  # in memory, and a mask or another field is not
        y = da.from_array(y, chunks=-1)
    # Fields take the chunks of the observations, so that a tile reads the same blocks of each.
    sources = {name: _as_dask(array, y) for name, array in sorted({**inputs, "y": y}.items())}
    roles = [(name, array.name) for name, array in sources.items()]
    name = "xinverse-" + tokenize(token, plan, outputs, dtype.str, roles)
    solved = "solve-" + name
    tasks: dict[Any, Any] = {"how-" + name: solve, "plan-" + name: plan}
    blocks = {role: _Blocks(array, plan) for role, array in sources.items()}
    for index in plan.indices():
        cuts = {role: block.cuts(index) for role, block in blocks.items()}
        for extra in product(*(range(len(c)) for c in y.chunks[:-3])):
            tasks[(solved, *extra, *index)] = (
                _solve_tile,
                "how-" + name,
                "plan-" + name,
                _Reading(index, cuts),
                [block.keys(index, extra) for block in blocks.values()],
            )
    arrays: list[Any] = list(sources.values())  # dask's collection protocol carries no types
    first = HighLevelGraph.from_collections(solved, tasks, dependencies=arrays)
    return [_blend_layer(plan, first, solved, name, k, y, dtype) for k in range(outputs)]


def _as_dask(array: Any, y: da.Array) -> da.Array:
    """A map in its own blocks, a field in those of the observations."""
    if isinstance(array, da.Array):
        return array if array.ndim == 2 else array.rechunk(y.chunks)
    return da.from_array(array, chunks=-1 if array.ndim == 2 else y.chunks)


@dataclass(frozen=True, eq=False)
class _Reading:
    """What a tile takes of its blocks: an object, so that dask looks for no keys in it.

    Attributes
    ----------
    index : tuple of int
        Position of the tile in the plan.
    cuts : dict of str to list
        For each input and along each of its axes, the cells to take of its blocks laid
        end to end: two ends, or an array of numbers where the tile wraps.
    """

    index: Index
    cuts: dict[str, list[Any]]


class _Blocks:
    """The blocks of one array, and how the tiles of a plan read them."""

    def __init__(self, array: da.Array, plan: Plan) -> None:
        self.name = array.name
        self.first = 3 - min(array.ndim, 3)
        axes = zip(plan.axes[self.first :], array.chunks[-3:], strict=True)
        self.along = [_axis_reading(axis, chunks) for axis, chunks in axes]

    def cuts(self, index: Index) -> list[Any]:
        """Cells to take along each axis."""
        return [axis[k][0] for axis, k in zip(self.along, index[self.first :], strict=True)]

    def keys(self, index: Index, extra: tuple[int, ...]) -> list[Any]:
        """Keys of the blocks, nested as they lie."""
        numbers = [axis[k][1] for axis, k in zip(self.along, index[self.first :], strict=True)]
        return _nest(numbers, (self.name, *(extra if self.first == 0 else ())))


def _nest(numbers: Sequence[list[int]], key: tuple[Any, ...]) -> Any:
    if not numbers:
        return key
    return [_nest(numbers[1:], (*key, number)) for number in numbers[0]]


def _axis_reading(axis: AxisPlan, chunks: tuple[int, ...]) -> list[tuple[Any, list[int]]]:
    """For each tile of an axis, the cells to take and the numbers of its blocks."""
    edges = np.cumsum([0, *chunks])
    readings: list[tuple[Any, list[int]]] = []
    for k in range(axis.count):
        cells = axis.read(k)
        owner = np.searchsorted(edges, cells, side="right") - 1
        used = np.unique(owner)
        # Where the blocks that are used stand when they are laid end to end.
        shift = np.concatenate([[0], np.cumsum(np.diff(edges)[used])])[:-1]
        local = cells - edges[owner] + shift[np.searchsorted(used, owner)]
        first, last = int(local[0]), int(local[-1])
        contiguous = last - first + 1 == len(local)
        readings.append(((first, last + 1) if contiguous else local, used.tolist()))
    return readings


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
    solve: Callable[..., Any], plan: Plan, reading: _Reading, blocks: list[Any]
) -> Any:
    pairs = zip(reading.cuts.items(), blocks, strict=True)
    inputs = {role: _join(keys, cuts) for (role, cuts), keys in pairs}
    return solve(plan.tile(reading.index), inputs)


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
    ends = [_ends(chunks) for chunks in like.chunks[-3:]]
    reaching = [
        [sorted({k for k, *_ in axis.overlapping(*block)}) for block in blocks]
        for axis, blocks in zip(plan.axes, ends, strict=True)
    ]
    tasks: dict[Any, Any] = {}
    for block in product(*(range(len(c)) for c in like.chunks)):
        extra, (i, j, k) = block[:-3], block[-3:]
        tiles = list(product(reaching[0][i], reaching[1][j], reaching[2][k]))
        region = (ends[0][i], ends[1][j], ends[2][k])
        lead = tuple(c[b] for c, b in zip(like.chunks, extra, strict=False))
        tasks[(blended, *block)] = (
            _blend_block,
            "plan-" + name,
            _Blending(region, lead, output, dtype.str, tiles),
            [(solved, *extra, *index) for index in tiles],
        )
    layers = dict(first.layers)
    dependencies = dict(first.dependencies)
    layers[blended], dependencies[blended] = tasks, {solved}  # type: ignore[assignment]  # as dask does
    graph = HighLevelGraph(layers, dependencies)
    return da.Array(
        graph, blended, chunks=like.chunks, dtype=dtype, meta=like._meta.astype(dtype)
    )


def _ends(chunks: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(pairwise(np.cumsum([0, *chunks]).tolist()))


@dataclass(frozen=True, eq=False)
class _Blending:
    """Which block of the output is blended, and from which tiles.

    Attributes
    ----------
    region : tuple of (int, int)
        First and last-plus-one cell along (time, y, x).
    lead : tuple of int
        Lengths of the block along the extra dimensions.
    output : int
        Which of the fields that a solve returns.
    dtype : str
        Of the result.
    tiles : list of tuple of int
        Positions in the plan.
    """

    region: Region
    lead: tuple[int, ...]
    output: int
    dtype: str
    tiles: list[Index]


def _blend_block(plan: Plan, blending: _Blending, tiles: list[Any]) -> Any:
    shape = (*blending.lead, *(last - first for first, last in blending.region))
    if not tiles:  # a chunk of no length
        return np.zeros(shape, blending.dtype)
    kept = {i: tile[blending.output] for i, tile in zip(blending.tiles, tiles, strict=True)}
    out = np.zeros_like(tiles[0], dtype=blending.dtype, shape=shape)
    for index, into, of, weights in contributions(plan, blending.region):
        share = np.asarray(weights, like=out) * kept[index][(..., *of)]
        out[(..., *into)] += share.astype(out.dtype)
    return out
