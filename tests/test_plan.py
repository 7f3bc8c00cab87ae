"""The plan: pure geometry."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes
from hypothesis import assume, event, given
from hypothesis import strategies as st

import xinverse
from xinverse.errors import TileError
from xinverse.fields.grid import Grid
from xinverse.methods.oi import OptimalInterpolation
from xinverse.methods.problem import Layout, Source
from xinverse.methods.registry import find
from xinverse.tiling import Plan, plan
from xinverse.tiling.axis import AxisPlan
from xinverse.verbs.tiles import plan_for


@st.composite
def axis_plans(draw: st.DrawFn, longest: int = 60) -> AxisPlan:
    """One axis of a plan, as `plan` makes it: often of one tile, often wrapping."""
    size = draw(st.integers(1, longest))
    periodic = draw(st.booleans())
    core = draw(st.integers(1, size))
    halo = draw(st.integers(0, size if periodic else 2 * size))
    return plan((1, 1, size), (1, 1, core), (0, 0, halo), periodic=periodic).axes[2]


@given(axis=axis_plans())
def test_the_cores_part_an_axis(axis):
    assert axis.edges[0] == 0
    assert axis.edges[-1] == axis.size
    lengths = [end - begin for begin, end in pairwise(axis.edges)]
    assert len(lengths) == axis.count
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= axis.core


@given(axis=axis_plans())
def test_all_tiles_have_one_length_and_lie_on_the_axis(axis):
    for k in range(axis.count):
        cells = axis.read(k)
        assert len(cells) == axis.length
        assert cells.min() >= 0
        assert cells.max() < axis.size
        steps = np.diff(cells)
        assert ((steps == 1) | (axis.periodic & (steps == 1 - axis.size))).all()


@given(axis=axis_plans())
def test_a_core_has_its_halo_but_for_the_edges_of_the_grid(axis):
    for k in range(axis.count):
        wanted = np.arange(axis.edges[k] - axis.halo, axis.edges[k + 1] + axis.halo)
        if axis.periodic:
            wanted = wanted % axis.size
        else:
            wanted = wanted[(wanted >= 0) & (wanted < axis.size)]
        assert set(wanted) <= set(axis.read(k))
        if axis.periodic:
            assert axis.read(k)[0] == (axis.edges[k] - axis.halo) % axis.size


@given(axis=axis_plans())
def test_what_is_kept_is_the_core_with_its_ramps(axis):
    assert 0 <= axis.ramp <= axis.halo // 2
    for k in range(axis.count):
        keep, cells = axis.keep(k), axis.read(k)
        assert 0 <= keep.start < keep.stop <= axis.length
        kept = cells[keep]
        core = np.arange(axis.edges[k], axis.edges[k + 1])
        assert set(core) <= set(kept)
        inner = [e for e in (axis.edges[k], axis.edges[k + 1]) if 0 < e < axis.size]
        ramps = 2 if axis.periodic else len(inner)
        assert len(kept) == len(core) + ramps * axis.ramp


@given(axis=axis_plans(), ends=st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_the_overlapping_tiles_are_all_that_keep_a_cell(axis, ends):
    begin, end = sorted(ends)
    assume(begin < end <= axis.size)
    found = [[] for _ in range(begin, end)]
    for k, first, last, offset in axis.overlapping(begin, end):
        for cell in range(first, last):
            found[cell - begin].append((k, cell + offset))
    expected = [[] for _ in range(begin, end)]
    for k in range(axis.count):
        for position, cell in enumerate(axis.read(k)[axis.keep(k)]):
            if begin <= cell < end:
                expected[cell - begin].append((k, position))
    assert [sorted(one) for one in found] == [sorted(one) for one in expected]


def test_edge_tiles_are_shifted_inward():
    axis = AxisPlan(size=100, count=4, halo=10)
    assert [axis.start(k) for k in range(4)] == [0, 15, 40, 55]
    assert axis.length == 45
    assert [axis.keep(k).start for k in range(4)] == [0, 5, 5, 15]


def test_the_halo_wraps():
    axis = AxisPlan(size=36, count=3, halo=3, periodic=True)
    np.testing.assert_array_equal(axis.read(0)[:5], [33, 34, 35, 0, 1])
    np.testing.assert_array_equal(axis.read(2)[-4:], [35, 0, 1, 2])


def test_one_tile_round_the_globe_reads_its_ends_twice():
    axis = plan((1, 1, 12), (1, 1, 12), (0, 0, 4), periodic=True).axes[2]
    assert (axis.count, axis.length) == (1, 20)
    np.testing.assert_array_equal(axis.read(0), np.arange(-4, 16) % 12)


def test_a_tile_that_would_cover_the_axis_is_the_only_one_and_has_no_halo():
    axes = plan((10, 10, 10), (10, 4, 4), (3, 3, 2)).axes
    assert [(a.count, a.halo, a.length) for a in axes] == [(1, 0, 10), (1, 0, 10), (3, 2, 8)]


def test_a_plan_counts_its_tiles():
    cut = plan((60, 100, 90), (20, 50, 30), (5, 10, 10), periodic=True)
    assert cut.counts == (3, 2, 3)
    assert cut.size == 18
    assert cut.shape == (30, 70, 50)
    assert cut.overhead == pytest.approx(18 * 30 * 70 * 50 / (60 * 100 * 90))
    tiles = list(cut.tiles())
    assert [t.index for t in tiles] == list(cut.indices())
    assert {tuple(len(r) for r in t.read) for t in tiles} == {cut.shape}


def test_its_text_tells_everything():
    text = repr(
        plan((60, 100, 90), (20, 50, 30), (5, 10, 10), periodic=True, reason="as asked")
    )
    assert "18 tiles" in text
    assert "time      60 cells = 3 x core 20 + halo 5 (tile 30, ramp 2)" in text
    assert "ramp 5, wraps)" in text
    assert "solves 3.50 cells for each cell" in text
    assert "as asked" in text


def test_misfit_is_one_where_tiles_and_chunks_line_up():
    lined_up = plan((40, 60, 60), (10, 20, 20), (0, 0, 0))
    assert lined_up.misfit(((10,) * 4, (20,) * 3, (20,) * 3)) == 1
    assert lined_up.misfit(((20,) * 2, (20,) * 3, (20,) * 3)) == 2  # each chunk feeds two tiles
    with_halo = plan((40, 60, 60), (10, 20, 20), (2, 0, 0))
    assert with_halo.misfit(((10,) * 4, (20,) * 3, (20,) * 3)) == (2 + 3 + 3 + 2) / 4


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (((10, 10, 10), (0, 5, 5), (1, 1, 1)), "Along time: core 0.*at least 1"),
        (((10, 10, 10), (5, 5, 5), (1, -1, 1)), "Along y: core 5, halo -1.*at least 0"),
        (((10, 0, 10), (5, 5, 5), (1, 1, 1)), "axis 0"),
        (((10, 10, 10), (5, 5, 5), (1, 1, 11)), "halo along x, 11 cells, is longer.*10"),
    ],
)
def test_an_impossible_plan_is_refused(arguments, text):
    with pytest.raises(TileError, match=text):
        plan(*arguments, periodic=True)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Grids of every size and place, of which nothing but the numbers exist."""
    nt, ny, nx = (draw(st.integers(2, 3000)) for _ in range(3))
    geographic = draw(st.booleans())
    step = draw(st.sampled_from([0.01, 0.05, 0.25, 1.0]))
    if not geographic:
        return Grid(np.arange(nt), 10 * np.arange(ny), 10 * np.arange(nx), False, False)
    ny = min(ny, int(140 / step))
    periodic = draw(st.booleans())
    nx = round(360 / step) if periodic else min(nx, round(300 / step))
    south = draw(st.floats(-75, 75 - (ny - 1) * step))
    return Grid(
        np.arange(nt), south + step * np.arange(ny), step * np.arange(nx), True, periodic
    )


@given(
    grid=grids(),
    length_scale=st.floats(20, 400),
    time_scale=st.floats(1, 30),
    budget=st.sampled_from([2**26, 2**28, 2**30, 2**33]),
)
def test_the_automatic_tile_is_within_the_memory_budget_or_refused(
    grid, length_scale, time_scale, budget
):
    method = find("oi").made({"length_scale": length_scale, "time_scale": time_scale})
    layout = Layout(("sla",), grid, (Source("sla", grid),))
    with xinverse.set_options(memory_budget=budget):
        try:
            cut = plan_for(method, layout)
        except TileError:
            event("refused")
            return
    assert isinstance(cut, Plan)
    assert np.prod(cut.shape) * OptimalInterpolation.bytes_per_cell <= budget
    assert cut.reason.startswith("auto: ")
    wide = length_scale / max(grid.spacing_km)
    for axis in cut.axes[1:]:
        assert axis.halo >= min(1, wide) or axis.length == axis.size


def sea_level(shape: tuple[int, int, int], chunks: tuple[int, int, int] | None) -> xr.DataArray:
    import dask.array as da

    nt, ny, nx = shape
    values = np.full(shape, np.nan, "f4") if chunks is None else da.zeros(shape, chunks=chunks)
    time = np.datetime64("2020-01-01", "ns") + np.arange(nt) * np.timedelta64(1, "D")
    coords = {"time": time, "lat": 30 + 0.25 * np.arange(ny), "lon": 0.25 * np.arange(nx)}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), name="sla")


@given(chunks=st.tuples(st.integers(1, 200), st.integers(1, 120), st.integers(1, 300)))
def test_the_automatic_tile_never_depends_on_chunks(chunks):
    shape = (200, 120, 300)
    with raise_if_dask_computes(), xinverse.set_options(memory_budget="64 MiB"):
        expected = xinverse.plan_tiles(sea_level(shape, None))
        chunked = xinverse.plan_tiles(sea_level(shape, chunks))
    assert expected.size > 1
    assert chunked.axes == expected.axes


def test_the_plan_says_what_misfit_costs():
    shape = (200, 120, 300)
    whole = xinverse.plan_tiles(sea_level(shape, shape), tile={"time": 200, "y": 120})
    assert "each chunk is read by 1.0 tiles on average" in repr(whole)
    cut = xinverse.plan_tiles(sea_level(shape, shape), tile={"time": 50, "y": 120})
    assert cut.axes[0].count == 4
    assert "each chunk is read by 4.0 tiles on average" in repr(cut)
    assert "read by" not in repr(xinverse.plan_tiles(sea_level(shape, None)))


def test_the_plan_says_which_chunks_are_read_less_often():
    shape, asked = (200, 120, 300), {"tile": {"time": 50, "y": 20, "x": 30}, "time_scale": 5}
    daily = xinverse.plan_tiles(sea_level(shape, (1, 120, 300)), **asked)
    # All 60 tiles in space read a day, and 4 tiles of 70 days cover the 200 days 1.4 times.
    assert "each chunk is read by 84.0 tiles on average" in repr(daily)
    better = "if rechunked: obj.chunk({'time': 50, 'lat': 20, 'lon': 30})"
    assert better in repr(daily)
    rechunked = xinverse.plan_tiles(sea_level(shape, (50, 20, 30)), **asked)
    fewer = rechunked.reason.split("read by ")[1].split()[0]
    assert f"and by {fewer} {better}" in repr(daily)
    assert float(fewer) < 42
    assert "rechunked" not in repr(rechunked)


def test_thirty_years_of_the_globe_solve_each_cell_less_than_two_and_a_half_times():
    y, x = -89.875 + 0.25 * np.arange(720), 0.125 + 0.25 * np.arange(1440)
    grid = Grid(np.arange(10957), y, x, True, True)
    cut = plan_for(find("oi").made({}), Layout(("sla",), grid, (Source("sla", grid),)))
    assert cut.axes[2].periodic
    assert cut.overhead < 2.5


def _image(ny: int, nx: int) -> Layout:
    y, x = 32.35 + 0.0075 * np.arange(ny), -121.4 + 0.0075 * np.arange(nx)
    grid = Grid(np.zeros(1), y, x, True, False)
    return Layout(("chl",), grid, (Source("chl", grid),))


def test_a_large_image_is_cut_where_small_tiles_cost_less():
    method = find("oi").made({"length_scale": 10.0, "time_scale": 3.0})
    large = plan_for(method, _image(321, 580))
    assert large.counts[0] == 1
    assert 20 < large.size < 60
    assert "cost less to solve" in repr(large)
    assert plan_for(method, _image(64, 64)).size == 1
    assert plan_for(method, _image(128, 128)).size == 1


def test_cost_decides_only_for_methods_whose_cost_per_cell_grows():
    method = find("tikhonov").made({"length_scale": 10.0, "time_scale": 3.0})
    assert method.cost_growth == 0
    assert plan_for(method, _image(321, 580)).size == 1


def test_a_plan_may_be_given_and_part_of_it_too():
    data = sea_level((20, 40, 60), None)
    cut = xinverse.plan_tiles(data, tile={"x": 20, "y": 30}, length_scale=30)
    assert cut.counts == (1, 2, 3)
    assert xinverse.plan_tiles(data, tile=cut) == cut
    assert cut.axes[1].halo == 3  # two scales of 30 km, at 27.8 km a cell
