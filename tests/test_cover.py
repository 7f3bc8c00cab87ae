"""Which cells of a source a tile reads: those that overlap it, counted one by one."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinverse.local_grid import cell_edges
from xinverse.tiling.cover import Cover, cover

Edges = list[tuple[Fraction, Fraction]]


def overlapping(state: Edges, source: Edges, period: Fraction | None = None) -> list[set[int]]:
    """For each cell of the state, the source's cells that share a length with it."""
    turns = range(-3, 4) if period is not None else (0,)
    shifts = [turn * (period or 0) for turn in turns]
    return [
        {
            j
            for j, (low, high) in enumerate(source)
            if any(low + s < end and high + s > begin for s in shifts)
        }
        for begin, end in state
    ]


def regular(count: int, width: Fraction, first: Fraction, descending: bool) -> Edges:
    edges = [(first + k * width, first + (k + 1) * width) for k in range(count)]
    return edges[::-1] if descending else edges


def irregular(widths: list[int], first: Fraction, descending: bool) -> Edges:
    """The cells of centres whose distances are given, in eighths: edges lie halfway."""
    centres = [first]
    for width in widths:
        centres.append(centres[-1] + Fraction(width, 8))
    bounds = [(a + b) / 2 for a, b in pairwise(centres)]
    bounds = [2 * centres[0] - bounds[0], *bounds, 2 * centres[-1] - bounds[-1]]
    edges = list(pairwise(bounds))
    return edges[::-1] if descending else edges


def middles(edges: Edges) -> np.ndarray:
    return np.array([float(begin + end) / 2 for begin, end in edges])


def check_every_run(found: Cover, expected: list[set[int]], starts: range, size: int) -> None:
    for start in starts:
        stop = size if not found.periodic else start + size
        for length in range(1, stop - start + 1):
            cells = found.read(start, length)
            wanted = set().union(*(expected[k % size] for k in range(start, start + length)))
            assert set(cells.tolist()) == wanted
            steps = np.diff(cells) % found.source_size
            assert (steps == 1 % found.source_size).all()


widths = st.integers(1, 24).map(lambda n: Fraction(n, 4))
offsets = st.integers(-80, 80).map(lambda n: Fraction(n, 8))


@given(
    width=widths,
    offset=offsets,
    sizes=st.tuples(st.integers(2, 12), st.integers(2, 12)),
    descending=st.tuples(st.booleans(), st.booleans()),
)
def test_a_run_of_cells_reads_what_overlaps_it(width, offset, sizes, descending):
    """Any ratio of the cells, whole or not; the grids may lie apart."""
    state = regular(sizes[0], Fraction(1), Fraction(0), descending[0])
    source = regular(sizes[1], width, offset, descending[1])
    found = cover(middles(state), middles(source))
    assert (found.size, found.source_size, found.periodic) == (*sizes, False)
    check_every_run(found, overlapping(state, source), range(sizes[0]), sizes[0])


@given(
    steps=st.tuples(
        st.lists(st.integers(1, 9), min_size=1, max_size=9),
        st.lists(st.integers(1, 30), min_size=1, max_size=9),
    ),
    offset=offsets,
    descending=st.tuples(st.booleans(), st.booleans()),
)
def test_the_spacing_may_vary(steps, offset, descending):
    axes, cells = [], []
    for widths_, first, down in zip(steps, (Fraction(0), offset), descending, strict=True):
        centres = float(first) + np.cumsum([0, *widths_]) / 8
        axes.append(centres[::-1] if down else centres)
        cells.append(irregular(widths_, first, down))
        edges = [float(cells[-1][0][down]), *(float(cell[not down]) for cell in cells[-1])]
        np.testing.assert_array_equal(cell_edges(centres), edges[::-1] if down else edges)
    found = cover(*axes)
    size = len(axes[0])
    check_every_run(found, overlapping(*cells), range(size), size)


CIRCLE = Fraction(360)


@given(
    counts=st.tuples(st.integers(3, 12), st.sampled_from([3, 4, 5, 6, 8, 9, 12, 24, 36])),
    starts=st.tuples(st.sampled_from([-180, 0, 20]), st.sampled_from([-180, -90, 0, 15])),
    descending=st.tuples(st.booleans(), st.booleans()),
)
def test_tiles_wrap_round_the_globe(counts, starts, descending):
    """0 to 360 degrees against -180 to 180, and tiles that go over either edge."""
    state, source = (
        regular(n, CIRCLE / n, Fraction(s), d)
        for n, s, d in zip(counts, starts, descending, strict=True)
    )
    found = cover(middles(state), middles(source), period=360.0, wraps=True)
    assert found.periodic
    expected = overlapping(state, source, CIRCLE)
    check_every_run(found, expected, range(-counts[0], counts[0] + 1), counts[0])


@given(
    first=st.integers(-360, 330).map(Fraction),
    cells=st.integers(2, 20),
    count=st.sampled_from([4, 8, 24, 36]),
    start=st.sampled_from([-180, 0]),
    descending=st.tuples(st.booleans(), st.booleans()),
)
def test_a_region_reads_over_the_edge_of_a_globe(first, cells, count, start, descending):
    state = regular(cells, Fraction(5, 2), first, descending[0])
    source = regular(count, CIRCLE / count, Fraction(start), descending[1])
    found = cover(middles(state), middles(source), period=360.0)
    assert not found.periodic
    check_every_run(found, overlapping(state, source, CIRCLE), range(cells), cells)


@pytest.mark.parametrize("ratio", [2, 3, 5])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_edges_that_agree_but_for_rounding_are_one(ratio, dtype):
    """A tile of whole source cells reads these alone, though coordinates are rounded."""
    fine = (30 + 0.1 * (np.arange(20 * ratio) + 0.5) / ratio).astype(dtype)
    coarse = (30 + 0.1 * (np.arange(20) + 0.5)).astype(dtype)
    found = cover(fine.astype("f8"), coarse.astype("f8"))
    for first in range(20):
        for last in range(first + 1, 21):
            cells = found.read(first * ratio, (last - first) * ratio)
            np.testing.assert_array_equal(cells, np.arange(first, last))


def test_tiles_beyond_the_source_read_nothing():
    found = cover(np.arange(20.0), 2 * np.arange(3.0) + 8)  # from 7 to 13
    assert found.read(0, 7).size == 0
    assert found.read(14, 6).size == 0
    np.testing.assert_array_equal(found.read(0, 8), [0])
    np.testing.assert_array_equal(found.read(0, 20), [0, 1, 2])
    np.testing.assert_array_equal(found.read(12, 8), [2])
    backward = cover(np.arange(20.0)[::-1], 2 * np.arange(3.0) + 8)
    assert backward.read(0, 6).size == 0
    np.testing.assert_array_equal(backward.read(0, 8), [2])


def test_a_tile_longer_than_the_globe_reads_its_ends_twice():
    found = cover(np.arange(0.0, 360, 30), np.arange(-165.0, 180, 60), period=360, wraps=True)
    cells = found.read(-4, 20)
    assert cells.size > found.source_size
    np.testing.assert_array_equal(np.diff(cells) % 6, 1)


def test_a_tile_of_the_globe_that_wraps_reads_a_region():
    """A source that does not go round the globe, under tiles that do."""
    found = cover(np.arange(5.0, 360, 10), np.arange(3.0, 60, 6), wraps=True)
    np.testing.assert_array_equal(found.read(0, 6), np.arange(10))
    np.testing.assert_array_equal(found.read(-2, 4), np.arange(4))
    np.testing.assert_array_equal(found.read(34, 4), np.arange(4))
    assert found.read(10, 20).size == 0
