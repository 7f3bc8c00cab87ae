"""The graph: the numbers of the eager way, few tasks, and names that tell results apart."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes
from hypothesis import event, given, settings
from hypothesis import strategies as st
from strategies import Layout, build

from xinverse.errors import DataError
from xinverse.tiling import Plan, plan
from xinverse.tiling.cover import cover
from xinverse.tiling.eager import solve_eagerly
from xinverse.tiling.graph import solve_lazily

SHAPE = (6, 10, 14)
TILES = plan(SHAPE, (3, 5, 7), (1, 2, 3))
OPTIONS = {"tile": TILES, "length_scale": 60, "time_scale": 2, "background": 0.0}
DIMS = ("time", "lat", "lon")


def sea_level(**layout) -> xr.DataArray:
    return build(Layout(shape=SHAPE, **layout))


def beside(data: xr.DataArray) -> dict[str, xr.DataArray]:
    """A mask, a noise and a background for a field."""
    rng = np.random.default_rng(1)
    noise = xr.zeros_like(data.compute()) + rng.uniform(1, 4, data.shape)
    land = rng.random(SHAPE[1:]) < 0.2
    mask = xr.DataArray(~land, {d: data[d] for d in DIMS[1:]}, DIMS[1:])
    return {"mask": mask, "noise": noise, "background": 10 * np.sin(noise)}


def assert_equal(result: xr.DataArray, expected: xr.DataArray) -> None:
    """To 1e-5 of the standard deviation."""
    result, expected = result.compute(), expected.compute()
    np.testing.assert_array_equal(result.isnull(), expected.isnull())
    assert float(abs(result - expected).max()) <= 1e-5 * float(expected.std())


lengths = {d: st.integers(1, n) for d, n in zip(DIMS, SHAPE, strict=True)}
chunkings = st.fixed_dictionaries(lengths)


@cache
def everything_eagerly() -> xr.Dataset:
    return sea_level().inverse.interpolate(error=True, members=1, **OPTIONS)


@given(chunks=chunkings)
@settings(max_examples=6)
def test_any_chunking_gives_the_numbers_of_the_eager_way(chunks):
    data, expected = sea_level(), everything_eagerly()
    with raise_if_dask_computes():
        result = data.chunk(chunks).inverse.interpolate(error=True, members=1, **OPTIONS)
    for name in expected:
        assert_equal(result[name], expected[name])
    assert result.sla.chunks == data.chunk(chunks).chunks


@given(chunks=st.lists(chunkings, min_size=4, max_size=4), lazy=st.lists(st.booleans()))
@settings(max_examples=10)
def test_a_lazy_mask_noise_and_background_do_too(chunks, lazy):
    data = sea_level()
    others = beside(data)
    expected = data.inverse.interpolate(**OPTIONS | others)
    which = [True, *lazy, True, True, True][:4]
    obj, *rest = (
        one.chunk({d: n for d, n in lengths.items() if d in one.dims}) if on else one
        for one, lengths, on in zip((data, *others.values()), chunks, which, strict=True)
    )
    with raise_if_dask_computes():
        result = obj.inverse.interpolate(**OPTIONS | dict(zip(others, rest, strict=True)))
    assert_equal(result, expected)
    assert result.chunks == obj.chunks


@pytest.mark.parametrize("lazy", ["mask", "noise", "background"])
def test_one_lazy_input_is_enough_to_be_lazy(lazy):
    data = sea_level()
    others = beside(data)
    expected = data.inverse.interpolate(**OPTIONS | others)
    others[lazy] = others[lazy].chunk({"lat": 3})
    with raise_if_dask_computes():
        result = data.inverse.interpolate(**OPTIONS | others)
    assert result.chunks is not None
    assert_equal(result, expected)


def test_chunks_of_no_length_are_no_harm():
    data = sea_level()
    lazy = data.copy(data=da.from_array(data.values, chunks=((0, 4, 0, 2), (10, 0), (7, 7))))
    expected = data.inverse.interpolate(**OPTIONS)
    result = lazy.inverse.interpolate(**OPTIONS)
    assert result.chunks == lazy.chunks
    assert_equal(result, expected)


@pytest.mark.parametrize("extra", [("depth",), ("depth", "member")])
def test_extra_dimensions_are_looped_over_lazily(extra):
    data = sea_level(extra=extra, order=("time", *extra, "lat", "lon"))
    lazy = data.chunk({"time": 4, "depth": 1, "lat": 3, "lon": 14})
    with raise_if_dask_computes():
        result = lazy.inverse.interpolate(**OPTIONS)
    assert result.chunks == lazy.chunks
    assert_equal(result, data.inverse.interpolate(**OPTIONS))


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_the_scheduler_does_not_matter(scheduler):
    data = sea_level()
    expected = data.inverse.interpolate(**OPTIONS)
    with dask.config.set(scheduler=scheduler, num_workers=3):
        result = data.chunk({"time": 2, "lat": 5}).inverse.interpolate(**OPTIONS).compute()
    np.testing.assert_array_equal(result, expected)


def test_keys_of_the_users_own_graph_are_not_taken_for_words_of_ours():
    # A key that is called as an input is, or that looks as two cells do.
    data = sea_level()
    graph = {("y", 0, 0, 0): data.values, "y": 1, "mean": 2, (0, 4): 3, "<f8": 4}
    lazy = da.Array(graph, "y", chunks=tuple((n,) for n in SHAPE), dtype="f8")
    result = data.copy(data=lazy).inverse.interpolate(**OPTIONS)
    np.testing.assert_array_equal(result, data.inverse.interpolate(**OPTIONS))


def big(
    counts: tuple[int, int, int], core: int = 8, **chunks: int
) -> tuple[xr.DataArray, Plan]:
    """A lazy field of nothing, and a plan for it with so many tiles of some cells."""
    shape = tuple(n * core for n in counts)
    along = {"time": core, "lat": core, "lon": core} | chunks
    values = da.zeros(shape, chunks=tuple(along.values()), dtype="f4")
    coords = {
        "time": np.datetime64("2000-01-01", "ns")
        + np.arange(shape[0]) * np.timedelta64(1, "D"),
        "lat": ("lat", 1.0 * np.arange(shape[1]), {"units": "km"}),
        "lon": ("lon", 1.0 * np.arange(shape[2]), {"units": "km"}),
    }
    return xr.DataArray(values, coords, DIMS), plan(shape, (8, 8, 8), (2, 2, 2))


def tasks(obj: xr.DataArray | xr.Dataset) -> int:
    """Tasks, without those of the sample that tiles without observations need."""
    return sum("moments-" not in str(key) for key in dict(obj.__dask_graph__()))


def sampling(obj: xr.DataArray | xr.Dataset) -> int:
    """Tasks of the sample: those that read a block, and one."""
    return sum("moments-" in str(key) for key in dict(obj.__dask_graph__()))


# Nothing is left to estimate, which takes tasks of its own.
KNOWN = {"length_scale": 100.0, "time_scale": 10.0, "variance": 1.0}


@pytest.mark.parametrize("chunks", [{}, {"time": 16}, {"lat": 5, "lon": 11}, {"time": 3}])
@pytest.mark.parametrize("given", ["mean", "mean and error", "mask and noise"])
def test_there_are_at_most_four_tasks_per_tile_or_chunk(chunks, given):
    data, tiles = big((5, 6, 7), **chunks)
    more = {
        "mean": {"noise": 0.1},
        "mean and error": {"noise": 0.1, "error": True},
        "mask and noise": {"noise": data + 1, "mask": np.ones(data.shape[1:], bool)},
    }[given]
    result = data.inverse.interpolate(tile=tiles, **KNOWN, **more)
    blocks = int(np.prod(data.data.numblocks))
    own = tasks(more["noise"]) - tasks(data) if "mask" in more else 0  # made by the test
    constants = 3
    assert tasks(result) - own <= 4 * max(tiles.size, blocks) + constants
    if given == "mean":
        assert tasks(result) == tiles.size + 2 * blocks + 2
    assert sampling(result) <= blocks + 1


def calls(work: Callable[[], object]) -> int:
    """Function calls that some work makes: its cost, on any machine and however busy it is."""
    number = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return number


@pytest.mark.parametrize(
    ("counts", "tenth"),
    [
        ((25, 20, 20), (25, 10, 4)),
        ((10_000, 1, 1), (1_000, 1, 1)),
        ((1, 100, 100), (1, 40, 25)),
    ],
)
def test_the_cost_of_ten_thousand_tiles_grows_with_their_number(counts, tenth):
    """A tile takes 40 to 170 calls, about 0.1 ms, among a thousand and among ten thousand."""

    def build(counts: tuple[int, int, int]) -> tuple[xr.DataArray, Plan]:
        data, _ = big(counts)
        tiles = plan(data.shape, (8, 8, 8), (2, 2, 2))
        with raise_if_dask_computes():
            return data.inverse.interpolate(tile=tiles, **KNOWN, noise=0.1), tiles

    result, tiles = build(counts)
    assert tiles.size == 10_000
    assert tasks(result) == 3 * tiles.size + 2
    assert sampling(result) < 300  # however many blocks there are
    many, few = (calls(lambda n=n: build(n)) for n in (counts, tenth))
    assert many < 600 * tiles.size
    assert many < 15 * few


def test_the_same_call_has_the_same_name():
    data = sea_level().chunk({"time": 3})
    names = {data.inverse.interpolate(**OPTIONS).data.name for _ in range(2)}
    again = sea_level().chunk({"time": 3}).inverse.interpolate(**OPTIONS)
    assert names == {again.data.name}


def test_another_call_has_another_name():
    data = sea_level().chunk({"time": 3})
    others = beside(data)
    calls = [
        {},
        {"length_scale": 61},
        {"covariance": "matern32"},
        {"noise": 3},
        {"noise": others["noise"]},
        {"background": others["noise"]},  # the same field in another role
        {"background": others["background"]},
        {"mask": others["mask"]},
        {"mask": ~others["mask"]},
        {"error": True},
        {"members": 1},  # two outputs as well
        {"members": 1, "seed": 1},
        {"keep_observed": True},
        {"tile": plan(SHAPE, (6, 5, 7), (1, 2, 3))},
    ]
    names = []
    for call in calls:
        result = data.inverse.interpolate(**OPTIONS | call)
        last = result if isinstance(result, xr.DataArray) else list(result.values())[-1]
        names.append(last.data.name)
    names.append((data + 1).inverse.interpolate(**OPTIONS).data.name)
    moved = data.assign_coords(lat=data.lat + 1)
    names.append(moved.inverse.interpolate(**OPTIONS).data.name)
    assert len(set(names)) == len(names)


def test_what_is_wrong_with_the_values_is_said_when_they_are_computed():
    data = sea_level()
    infinite = data.where(data.time != data.time[3], np.inf).chunk({"time": 2})
    empty = data.where(False).chunk({"time": 2})
    with raise_if_dask_computes():
        infinite = infinite.inverse.interpolate(**OPTIONS)
        empty = empty.inverse.interpolate(**OPTIONS | {"background": None})
    with pytest.raises(DataError, match=r"variable 'sla', days .* has infinite values: \d+"):
        infinite.compute()
    with pytest.raises(DataError, match="Nothing is observed in variable 'sla', days "):
        empty.compute()


def test_the_two_layers_are_what_they_say():
    """On the cells' own numbers, a tile gets its cells and the output its blocks."""
    cells = np.arange(np.prod(SHAPE), dtype="f8").reshape(1, *SHAPE)
    tiles = plan(SHAPE, (3, 5, 5), (1, 2, 4), periodic=True)
    asked = []

    def solve(tile, inputs):
        np.testing.assert_array_equal(inputs["y"][0], cells[0][np.ix_(*tile.read)])
        np.testing.assert_array_equal(inputs["sea"], cells[0, 0][np.ix_(*tile.read[1:])])
        asked.append(tile.index)
        kept = inputs["y"][(..., *tile.keep)]
        return {"same": kept, "both": np.stack([kept, -kept])}

    y = da.from_array(cells, chunks=(1, 4, 3, 5))
    sea = da.from_array(cells[0, 0], chunks=(4, 9))
    outputs = {"same": ((), y.dtype), "both": ((2,), np.dtype("f4"))}
    inputs = {"y": y, "sea": sea}
    found = solve_lazily(tiles, solve, inputs, outputs, y, token="numbers")
    assert found["same"].chunks == y.chunks
    assert found["both"].chunks == ((1, 1), *y.chunks)
    assert found["both"].dtype == "f4"
    with dask.config.set(scheduler="synchronous"):
        same, both = dask.compute(found["same"], found["both"])
    np.testing.assert_allclose(same, cells, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(both.dtype, np.dtype("f4"))
    np.testing.assert_allclose(both, [cells, -cells], rtol=1e-6, atol=1e-9)
    assert sorted(asked) == list(tiles.indices())


# Inputs on another grid, and blocks that are cut first -------------------------------------


@st.composite
def problems(draw: st.DrawFn) -> tuple[Plan, dict[str, tuple[tuple[int, ...], ...]]]:
    """A plan of any kind, and chunks for a field, a map and a field on a coarser grid."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 8)), draw(st.sampled_from([6, 12])))
    periodic = draw(st.booleans())
    core = tuple(draw(st.integers(1, n)) for n in shape)
    halo = tuple(draw(st.integers(0, n)) for n in shape)

    def chunks(lengths: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        found = []
        for n in lengths:
            ends = sorted(draw(st.sets(st.integers(0, n), max_size=3)) | {0, n})
            found.append(tuple(b - a for a, b in pairwise(ends)) or (0,))
        return tuple(found)

    coarse = (shape[0], 3, 4)
    return plan(shape, core, halo, periodic=periodic), {
        "field": chunks(shape),
        "map": chunks(shape[1:]),
        "coarse": chunks(coarse),
    }


@given(problem=problems())
@settings(max_examples=60)
def test_blocks_that_are_cut_first_give_what_joined_blocks_do(problem):
    """Tiles that wrap, and one tile round the globe that reads its ends twice."""
    tiles, chunks = problem
    shape = tuple(axis.size for axis in tiles.axes)
    cells = np.arange(2.0 * np.prod(shape)).reshape(2, *shape)

    def solve(tile, inputs):
        expected = cells[(slice(0, 1), *np.ix_(*tile.read))]
        if inputs["field"][0, 0, 0, 0] >= cells[1].min():
            expected = expected + cells[1].min()
        np.testing.assert_array_equal(inputs["field"], expected)
        np.testing.assert_array_equal(inputs["map"], cells[0, 0][np.ix_(*tile.read[1:])])
        return {"same": inputs["field"][(..., *tile.keep)]}

    field = da.from_array(cells, chunks=((1, 1), *chunks["field"]))
    inputs = {"field": field, "map": da.from_array(cells[0, 0], chunks=chunks["map"])}
    outputs = {"same": ((), field.dtype)}
    found = solve_lazily(tiles, solve, inputs, outputs, field, token="cells")["same"]
    assert found.chunks == field.chunks
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(found.compute(), cells, rtol=0, atol=1e-9)


@given(problem=problems(), apart=st.sampled_from([0.0, 0.4, 1.0, 20.0]), lazy=st.booleans())
@settings(max_examples=60)
def test_an_input_on_another_grid_gives_the_numbers_of_the_eager_way(problem, apart, lazy):
    """The grids may lie beside each other; then a tile gets an input without a cell."""
    tiles, chunks = problem
    shape = tuple(axis.size for axis in tiles.axes)
    (nt, ny, nx), periodic = shape, tiles.axes[2].periodic
    rng = np.random.default_rng(0)
    field, coarse = rng.normal(size=shape), rng.normal(size=(nt, 3, 4))
    y, x = np.arange(max(ny, 2)) + 0.5, 360 / nx * (np.arange(nx) + 0.5)
    ways = (
        None,
        cover(y, apart * ny + max(ny, 2) / 3 * (np.arange(3) + 0.5)),
        cover(x, 90 * (np.arange(4) + 0.5) - 180, period=360.0, wraps=periodic),
    )
    read = []

    def solve(tile, inputs):
        along = [
            way.read(start, len(cells))
            for way, start, cells in zip(ways[1:], tile.start[1:], tile.read[1:], strict=True)
        ]
        expected = coarse[np.ix_(tile.read[0], *along)]
        np.testing.assert_array_equal(inputs["coarse"], expected)
        read.append(expected.size)
        kept = inputs["field"][tile.keep]
        return {"sum": kept + 3 * inputs["coarse"].sum()}

    inputs, covers = {"field": field, "coarse": coarse}, {"coarse": ways}
    outputs = {"sum": ((), field.dtype)}
    expected = solve_eagerly(tiles, solve, inputs, outputs, field, covers=covers)["sum"]
    event(f"tiles without a cell: {0 in read}")
    like = da.from_array(field, chunks=chunks["field"])
    given_ = {"field": like, "coarse": da.from_array(coarse, chunks=chunks["coarse"])}
    given_ = given_ if lazy else {"field": like, "coarse": coarse}
    found = solve_lazily(tiles, solve, given_, outputs, like, token="two", covers=covers)["sum"]
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(found.compute(), expected, rtol=0, atol=1e-9)


# Members -----------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [(), ("depth",)])
def test_members_are_one_array_and_those_of_the_eager_way(extra):
    data = sea_level(extra=extra, order=("time", *extra, "lat", "lon"))
    asked = OPTIONS | {"members": 3, "noise": 2.0, "error": True}
    expected = data.inverse.interpolate(**asked).sla_members
    lazy = data.chunk({"time": 4, "lat": 3, "lon": 14, **dict.fromkeys(extra, 1)})
    with raise_if_dask_computes():
        found = lazy.inverse.interpolate(**asked).sla_members
    assert found.dims == expected.dims == ("member", *data.dims)
    assert found.chunks == ((1, 1, 1), *lazy.chunks)
    assert found.dtype == expected.dtype == data.dtype
    assert_equal(found, expected)
    assert_equal(found.isel(member=1), expected.isel(member=1))
    assert float(abs(expected[0] - expected[1]).max()) > 0.1 * float(expected.std())
