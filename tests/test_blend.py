"""The blend: a partition of unity, whatever the plan and the region."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinverse.tiling.blend import axis_shares, axis_weights, contributions
from xinverse.tiling.eager import cut, solve_eagerly
from xinverse.tiling.plan import Plan, plan


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans of every kind: one tile or many, long halos, wrapping or not."""
    shape = tuple(draw(st.integers(1, n)) for n in (6, 12, 24))
    periodic = draw(st.booleans())
    core = tuple(draw(st.integers(1, n)) for n in shape)
    halo = tuple(draw(st.integers(0, n)) for n in shape)
    return plan(shape, core, halo, periodic=periodic)


def sizes(cut: Plan) -> tuple[int, ...]:
    return tuple(axis.size for axis in cut.axes)


@given(cut=plans(), data=st.data())
def test_weights_are_a_partition_of_unity_over_any_region(cut, data):
    region = []
    for size in sizes(cut):
        begin = data.draw(st.integers(0, size - 1))
        region.append((begin, data.draw(st.integers(begin + 1, size))))
    total = np.zeros([end - begin for begin, end in region])
    for _, into, _, weights in contributions(cut, tuple(region)):
        assert weights.min() >= 0
        total[into] += weights
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-12)


@given(cut=plans())
def test_each_share_comes_from_the_cell_that_it_goes_to(cut):
    whole = tuple((0, size) for size in sizes(cut))
    number = np.arange(np.prod(sizes(cut))).reshape(sizes(cut))
    for index, into, of, _ in contributions(cut, whole):
        tile = cut.tile(index)
        kept = number[np.ix_(*tile.read)][tile.keep]
        np.testing.assert_array_equal(kept[of], number[into])


@given(cut=plans())
def test_tiles_that_agree_are_joined_to_what_they_agree_on(cut):
    field = np.random.default_rng(0).normal(size=(2, *sizes(cut)))

    def solve(tile, inputs):
        kept = inputs["y"][(..., *tile.keep)]
        return {"once": kept, "twice": np.stack([kept, 2 * kept])}

    outputs = {"once": ((), field.dtype), "twice": ((2,), np.dtype("f4"))}
    joined = solve_eagerly(cut, solve, {"y": field}, outputs, field)
    assert list(joined) == ["once", "twice"]
    assert [array.dtype for array in joined.values()] == ["f8", "f4"]
    np.testing.assert_allclose(joined["once"], field, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        joined["twice"], np.stack([field, 2 * field]), rtol=1e-5, atol=1e-5
    )


def test_a_tile_counts_fully_in_its_core_and_half_at_its_edge():
    axis = plan((1, 1, 60), (1, 1, 20), (0, 0, 8)).axes[2]
    weights = axis_weights(axis, 1)
    assert len(weights) == 20 + 2 * 4
    assert (weights[8:-8] == 1).all()
    np.testing.assert_allclose(weights[:8] + weights[7::-1], 1, atol=1e-15)
    assert (np.diff(weights[:8]) > 0).all()
    np.testing.assert_array_equal(weights, weights[::-1])


def test_tiles_beyond_reach_give_nothing():
    axis = plan((1, 1, 60), (1, 1, 20), (0, 0, 8)).axes[2]
    assert list(axis_shares(axis, 4, 16)) == [0]
    assert list(axis_shares(axis, 15, 25)) == [0, 1]
    assert list(axis_shares(axis, 24, 36)) == [1]


def test_the_one_tile_round_the_globe_meets_itself():
    axis = plan((1, 1, 12), (1, 1, 12), (0, 0, 4), periodic=True).axes[2]
    shares = axis_shares(axis, 0, 12)
    total = np.zeros(12)
    for into, _, weights in shares[0]:
        total[into] += weights
    assert len(shares[0]) == 3
    np.testing.assert_allclose(total, 1, atol=1e-15)


@pytest.mark.parametrize("periodic", [False, True])
def test_a_tile_is_a_view_where_it_does_not_wrap(periodic):
    cells = np.arange(2 * 3 * 12).reshape(2, 3, 12)
    cuts = plan((2, 3, 12), (2, 3, 4), (0, 0, 1), periodic=periodic)
    for tile in cuts.tiles():
        part, area = cut(cells, tile), cut(cells[0], tile)
        np.testing.assert_array_equal(part, cells[np.ix_(*tile.read)])
        np.testing.assert_array_equal(area, part[0])
        wraps = tile.read[2][0] > tile.read[2][-1]
        assert np.shares_memory(part, cells) != wraps
