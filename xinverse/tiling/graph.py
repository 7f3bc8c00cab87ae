"""Solve tiles lazily: two layers of tasks on the blocks of dask arrays.

The first layer solves each tile from the blocks that it reads. The second blends each
block of the output from the tiles that overlap it. There is one task per tile and one
per output block, whatever the halo; map_overlap would need about 25 per block for a
three-dimensional halo, and could not blend.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.task_spec import List, Task, TaskRef

from xinverse.tiling.axis import AxisPlan
from xinverse.tiling.blend import Region, contributions
from xinverse.tiling.cover import Cover
from xinverse.tiling.eager import Covers, Outputs, Solve
from xinverse.tiling.moments import block_sums, from_sums, sample_cells
from xinverse.tiling.plan import Index, Plan, Tile
from xinverse.tiling.regions import Regions

__all__ = ["lazy_moments", "lazy_regions", "solve_lazily"]


def solve_lazily(
    plan: Plan,
    solve: Solve,
    inputs: Mapping[Any, Any],
    outputs: Outputs,
    like: Any,
    *,
    token: Any,
    covers: Mapping[Any, Covers] | None = None,
) -> dict[Hashable, da.Array]:
    """Build the graph that solves and blends the tiles; nothing is computed.

    Parameters
    ----------
    plan : Plan
        The tiles.
    solve : callable
        Takes a tile and its inputs, and returns the kept part of each output,
        ``(*lead, *extra, t, y, x)``.
    inputs : dict
        Dask or numpy arrays ``(*extra, t, y, x)`` and maps ``(y, x)``.
    outputs : dict
        Leading lengths and dtype of each output.
    like : array, shape (*extra, t, y, x)
        Sets the array type and the chunks of the outputs (one chunk if it is in memory).
    token : object
        Everything that the result depends on besides the inputs, for the names of tasks.
    covers : dict, optional
        For inputs on other grids than the plan's.

    Returns
    -------
    dict of dask.array.Array, each ``(*lead, *extra, t, y, x)``
    """
    covers = covers or {}
    if not isinstance(like, da.Array):  # in memory, while other inputs are lazy
        like = da.from_array(like, chunks=-1)
    # Fields take the chunks of the first, so that a tile reads the same blocks of each.
    sources = {
        role: _as_dask(array, None if role in covers else like)
        for role, array in sorted(inputs.items())
    }
    kinds = [(key, lead, dtype.str) for key, (lead, dtype) in outputs.items()]
    roles = [(role, array.name) for role, array in sources.items()]
    name = "xinverse-" + tokenize(token, plan, kinds, roles, like.chunks)
    solved = "solve-" + name
    # As separate tasks, solver and plan are sent to a worker once and not with each tile.
    shared: dict[Any, Any] = {
        "how-" + name: Task("how-" + name, _same, _Held(solve)),
        "plan-" + name: Task("plan-" + name, _same, _Held(plan)),
    }
    how, tiles = TaskRef("how-" + name), TaskRef("plan-" + name)
    tasks = dict(shared)
    blocks = {r: _Blocks(array, plan, covers.get(r)) for r, array in sources.items()}
    for index in plan.indices():
        reading = _Reading(index, {role: block.cuts(index) for role, block in blocks.items()})
        for extra in product(*(range(len(c)) for c in like.chunks[:-3])):
            key = (solved, *extra, *index)
            keys = List(*(block.references(index, extra) for block in blocks.values()))
            tasks[key] = Task(key, _solve_tile, how, tiles, reading, keys)
    arrays: list[Any] = list(sources.values())  # dask's collection protocol has no types
    first = HighLevelGraph.from_collections(solved, tasks, dependencies=arrays)
    return {
        key: _blend_layer(plan, first, name, key, lead, like, dtype)
        for key, (lead, dtype) in outputs.items()
    }


def lazy_moments(array: da.Array) -> da.Array:
    """As `field_moments`: a task for each block that the sample reads, and one more.

    Parameters
    ----------
    array : dask.array.Array, shape (*extra, nt, ny, nx)
        NaN in the gaps.

    Returns
    -------
    dask.array.Array, shape (*extra, 1, 1, 2)
    """
    cells = sample_cells(array.shape)
    name = "moments-" + tokenize(array.name, cells)
    held = [_held_by(c, lengths) for c, lengths in zip(cells, array.chunks[-3:], strict=True)]
    tasks: dict[Any, Any] = {}
    for extra in product(*(range(len(c)) for c in array.chunks[:-3])):
        parts = []
        for (k, t), (j, y), (i, x) in product(*held):
            part: Any = ("sums-" + name, *extra, k, j, i)
            block: Any = (array.name, *extra, k, j, i)
            tasks[part] = Task(part, _sums, TaskRef(block), _Held((t, y, x)))
            parts.append(TaskRef(part))
        key: Any = (name, *extra, 0, 0, 0)
        tasks[key] = Task(key, from_sums, List(*parts))
    dependencies: list[Any] = [array]
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=dependencies)
    chunks = (*array.chunks[:-3], (1,), (1,), (2,))
    meta = np.empty((0,) * array.ndim)
    return da.Array(graph, name, chunks=chunks, dtype=np.float64, meta=meta)


def lazy_regions(
    regions: Regions,
    estimate: Callable[[Tile, Mapping[Any, Any]], Any],
    inputs: Mapping[Any, Any],
    count: int,
    *,
    token: Any,
) -> da.Array:
    """As `xinverse.tiling.eager.each_region`: one task for each region.

    Parameters
    ----------
    regions : Regions
        The regions.
    estimate : callable
        Takes the sample of a region, as a tile, and its inputs.
    inputs : dict
        Dask or numpy arrays ``(*extra, t, y, x)`` and maps ``(y, x)``.
    count : int
        Numbers per region.
    token : object
        Everything that the estimates depend on besides the inputs.

    Returns
    -------
    dask.array.Array, shape (*extra, count, rows, columns)
    """
    like = next(array for array in inputs.values() if array.ndim >= 3)
    if not isinstance(like, da.Array):  # in memory, while a mask is lazy
        like = da.from_array(like, chunks=-1)
    sources = {role: _as_dask(array, like) for role, array in sorted(inputs.items())}
    name = "regions-" + tokenize(token, [(role, a.name) for role, a in sources.items()])
    how = "how-" + name
    tasks: dict[Any, Any] = {how: Task(how, _same, _Held(estimate))}
    rows, columns = regions.counts
    for i, j in product(range(rows), range(columns)):
        tile = regions.tile(i, j)
        along = {role: _region_reading(tile, a) for role, a in sources.items()}
        reading = _Reading(
            tile.index, {r: [cuts for cuts, _ in one] for r, one in along.items()}
        )
        for extra in product(*(range(len(c)) for c in like.chunks[:-3])):
            keys = List(
                *(
                    _references(array, [used for _, used in along[role]], extra)
                    for role, array in sources.items()
                )
            )
            key = (name, *extra, 0, i, j)
            tasks[key] = Task(key, _estimate_region, TaskRef(how), _Held(tile), reading, keys)
    dependencies: list[Any] = list(sources.values())
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=dependencies)
    chunks = (*like.chunks[:-3], (count,), (1,) * rows, (1,) * columns)
    meta = np.empty((0,) * like.ndim)
    return da.Array(graph, name, chunks=chunks, dtype=np.float64, meta=meta)


def _region_reading(tile: Tile, array: da.Array) -> list[tuple[list[Any], list[int]]]:
    count = min(array.ndim, 3)
    pairs = zip(tile.read[3 - count :], array.chunks[-count:], strict=True)
    return [_reading(cells, np.cumsum([0, *lengths])) for cells, lengths in pairs]


def _references(array: da.Array, used: list[list[int]], extra: tuple[int, ...]) -> List:
    """References to blocks, time slowest; a map has no extra dimensions."""
    of = extra if array.ndim >= 3 else ()
    return List(*(TaskRef((array.name, *of, *at)) for at in product(*used)))


def _estimate_region(estimate: Any, tile: _Held, reading: _Reading, blocks: list[Any]) -> Any:
    return estimate(tile.held, reading.inputs(blocks))


def _held_by(cells: np.ndarray, lengths: tuple[int, ...]) -> list[tuple[int, np.ndarray]]:
    """For each block along an axis that holds some of the cells, where in it they are."""
    edges = np.cumsum([0, *lengths])
    owner = np.searchsorted(edges, cells, side="right") - 1
    return [(int(k), cells[owner == k] - edges[k]) for k in np.unique(owner)]


@dataclass(frozen=True, eq=False)
class _Held:
    """An object that dask does not search for keys."""

    held: Any


def _sums(block: Any, cells: _Held) -> Any:
    return block_sums(block, cells.held)


def _same(one: _Held) -> Any:
    return one.held


def _as_dask(array: Any, like: da.Array | None) -> da.Array:
    """Return a map, or a field on another grid, in its own blocks; others in ``like``'s."""
    own = array.ndim == 2 or like is None
    if isinstance(array, da.Array):
        return array if own else array.rechunk(like.chunks)  # type: ignore[union-attr]
    return da.from_array(array, chunks=-1 if own else like.chunks)  # type: ignore[union-attr]


@dataclass(frozen=True, eq=False)
class _Reading:
    """What a tile reads from its blocks.

    Attributes
    ----------
    index : tuple of int
        Position of the tile in the plan.
    cuts : dict to list
        For each input and axis, the range to read from each block, as two ends.
    """

    index: Index
    cuts: dict[Any, list[list[Any]]]

    def inputs(self, blocks: list[Any]) -> dict[Any, Any]:
        """The inputs of the tile, from the blocks of each."""
        pairs = zip(self.cuts.items(), blocks, strict=True)
        return {role: _join(found, cuts) for (role, cuts), found in pairs}


class _Blocks:
    """The blocks of one array, and how the tiles of a plan read them."""

    def __init__(self, array: da.Array, plan: Plan, covers: Covers | None) -> None:
        self.array = array
        self.first = 3 - min(array.ndim, 3)
        self.shared: dict[Any, List] = {}
        ways = (covers or (None, None, None))[self.first :]
        axes = zip(plan.axes[self.first :], array.chunks[-3:], ways, strict=True)
        self.along = [_axis_reading(axis, lengths, way) for axis, lengths, way in axes]

    def cuts(self, index: Index) -> list[list[Any]]:
        """Ranges to read from each block along each axis."""
        return [axis[k][0] for axis, k in zip(self.along, index[self.first :], strict=True)]

    def references(self, index: Index, extra: tuple[int, ...]) -> List:
        """References to the blocks, time slowest.

        Tiles that read the same blocks share one list: with chunks of one day of the
        globe, all tiles of the same days do.
        """
        numbers = [axis[k][1] for axis, k in zip(self.along, index[self.first :], strict=True)]
        read = (extra, *map(tuple, numbers))
        if read not in self.shared:
            self.shared[read] = _references(self.array, numbers, extra)
        return self.shared[read]


def _axis_reading(
    axis: AxisPlan, lengths: tuple[int, ...], way: Cover | None
) -> list[tuple[list[Any], list[int]]]:
    """For each tile of an axis, the ranges to read and their blocks, in the tile's order."""
    edges = np.cumsum([0, *lengths])
    readings: list[tuple[list[Any], list[int]]] = []
    for k in range(axis.count):
        cells = axis.read(k) if way is None else way.read(axis.start(k), axis.length)
        readings.append(_reading(cells, edges))
    return readings


def _reading(cells: np.ndarray, edges: np.ndarray) -> tuple[list[Any], list[int]]:
    """The ranges of some cells along an axis, and their blocks."""
    owner = np.searchsorted(edges, cells, side="right") - 1
    # A tile that wraps may read a block twice.
    breaks = np.flatnonzero(np.diff(cells) != 1) + 1
    parts = np.unique(np.concatenate([[0], breaks, np.flatnonzero(np.diff(owner)) + 1]))
    cuts: list[Any] = []
    used: list[int] = []
    for begin, end in pairwise([*parts.tolist(), len(cells)]):
        if begin == end:  # no cell of the source in the tile: read an empty range
            cuts.append((0, 0))
            used.append(0)
            continue
        block = int(owner[begin])
        first = int(cells[begin]) - int(edges[block])
        cuts.append((first, first + end - begin))
        used.append(block)
    return cuts, used


def _join(blocks: list[Any], cuts: list[list[Any]]) -> Any:
    """Cut each block and concatenate the parts, along the last axis first.

    Blocks are cut first: concatenating whole blocks took six times as long and twice the
    memory for chunks of one day of the globe.
    """
    parts = [
        block[(..., *(slice(first, last) for first, last in ranges))]
        for block, ranges in zip(blocks, product(*cuts), strict=True)
    ]
    for axis, along in enumerate(reversed(cuts), start=1):
        if (n := len(along)) > 1:
            rows = (parts[i : i + n] for i in range(0, len(parts), n))
            parts = [np.concatenate(row, axis=-axis) for row in rows]
    return parts[0]


def _solve_tile(solve: Solve, plan: Plan, reading: _Reading, blocks: list[Any]) -> Any:
    return solve(plan.tile(reading.index), reading.inputs(blocks))


def _blend_layer(
    plan: Plan,
    first: HighLevelGraph,
    name: str,
    key: Any,
    lead: tuple[int, ...],
    like: da.Array,
    dtype: np.dtype[Any],
) -> da.Array:
    """The output of one key, with one chunk per element of its leading axes."""
    solved, blended = "solve-" + name, "-".join(("blend", *map(str, key), name))
    ends = [_ends(lengths) for lengths in like.chunks[-3:]]
    reaching = [
        [sorted({k for k, *_ in axis.overlapping(*block)}) for block in blocks]
        for axis, blocks in zip(plan.axes, ends, strict=True)
    ]
    whole = (*((1,) * n for n in lead), *like.chunks)
    tasks: dict[Any, Any] = {}
    # Blocks that the same tiles overlap share one list of them: there may be 10,000 blocks
    # of one day, and 256 tiles for each.
    shared: dict[Any, tuple[list[Index], List]] = {}
    for block in product(*(range(len(c)) for c in whole)):
        member, extra, (i, j, k) = block[: len(lead)], block[len(lead) : -3], block[-3:]
        over = (extra, tuple(reaching[0][i]), tuple(reaching[1][j]), tuple(reaching[2][k]))
        if over not in shared:
            indices = list(product(*over[1:]))
            references = (TaskRef((solved, *extra, *index)) for index in indices)
            shared[over] = indices, List(*references)
        tiles, kept = shared[over]
        lengths = tuple(c[b] for c, b in zip(whole, block[:-3], strict=False))
        region = (ends[0][i], ends[1][j], ends[2][k])
        blending = _Blending(key, member, region, lengths, dtype.str, tiles)
        at = (blended, *block)
        tasks[at] = Task(at, _blend_block, TaskRef("plan-" + name), blending, kept)
    layers = dict(first.layers)
    dependencies = dict(first.dependencies)
    layers[blended], dependencies[blended] = tasks, {solved}  # type: ignore[assignment]  # as dask does
    graph = HighLevelGraph(layers, dependencies)
    meta = np.zeros_like(like._meta, shape=(0,) * len(whole), dtype=dtype)
    return da.Array(graph, blended, chunks=whole, dtype=dtype, meta=meta)


def _ends(lengths: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(pairwise(np.cumsum([0, *lengths]).tolist()))


@dataclass(frozen=True, eq=False)
class _Blending:
    """Blend of one output block: its place and its tiles.

    Attributes
    ----------
    key : tuple
        Key of the output.
    member : tuple of int
        Position along the leading axes.
    region : tuple of (int, int)
        First and last-plus-one cell along (time, y, x).
    lengths : tuple of int
        Lengths of the block along the leading and extra dimensions.
    dtype : str
        Dtype of the result.
    tiles : list of tuple of int
        Positions in the plan.
    """

    key: Any
    member: tuple[int, ...]
    region: Region
    lengths: tuple[int, ...]
    dtype: str
    tiles: list[Index]


def _blend_block(plan: Plan, blending: _Blending, tiles: list[Any]) -> Any:
    shape = (*blending.lengths, *(last - first for first, last in blending.region))
    if not tiles:  # an empty chunk
        return np.zeros(shape, blending.dtype)
    pick = tuple(slice(k, k + 1) for k in blending.member)
    found = [tile[blending.key][pick] for tile in tiles]
    kept = dict(zip(blending.tiles, found, strict=True))
    out = np.zeros_like(found[0], dtype=blending.dtype, shape=shape)
    for index, into, of, weights in contributions(plan, blending.region):
        share = np.asarray(weights, like=out) * kept[index][(..., *of)]
        out[(..., *into)] += share.astype(out.dtype)
    return out
