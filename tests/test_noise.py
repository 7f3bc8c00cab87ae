"""White noise that belongs to a cell: standard normal, independent, the same in every tile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from xinverse.priors.noise import white_noise

BOX = [np.arange(12), np.arange(100, 140), np.arange(1000, 1050)]
NONE = (0, 0, 0)


def test_it_is_standard_normal():
    noise = white_noise(0, 0, BOX, NONE).ravel()
    n = noise.size
    assert noise.dtype == np.float64
    assert abs(noise.mean()) < 4 / np.sqrt(n)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(stats.skew(noise)) < 4 * np.sqrt(6 / n)
    assert abs(stats.kurtosis(noise)) < 4 * np.sqrt(24 / n)
    assert stats.kstest(noise, "norm").pvalue > 0.01
    assert np.unique(noise).size == n


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("lag", [1, 2, 7])
def test_neighbours_are_independent(axis, lag):
    noise = np.moveaxis(white_noise(3, 1, BOX, NONE), axis, 0)
    a, b = noise[lag:].ravel(), noise[:-lag].ravel()
    assert abs((a * b).mean()) < 4 / np.sqrt(a.size)
    # ... and so are their sizes, which a product alone would not tell.
    assert abs(np.corrcoef(a**2, b**2)[0, 1]) < 4 / np.sqrt(a.size)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"seed": 0, "member": 0}, {"seed": 1, "member": 0}),
        ({"seed": 0, "member": 0}, {"seed": 0, "member": 1}),
        ({"seed": 0, "member": 1}, {"seed": 1, "member": 0}),
        ({"seed": 0, "member": 0}, {"seed": 0, "member": 0, "stream": 1}),
        ({"seed": 0, "member": 1}, {"seed": 0, "member": 0, "stream": 1}),
        ({"seed": 7, "member": 3}, {"seed": -7, "member": 3}),
    ],
)
def test_fields_of_another_seed_member_or_stream_are_independent(one, other):
    a, b = (white_noise(cells=BOX, margins=NONE, **key) for key in (one, other))
    assert abs((a * b).mean()) < 4 / np.sqrt(a.size)
    assert not np.isin(a, b).any()


def test_it_is_a_function_of_its_arguments():
    np.testing.assert_array_equal(
        white_noise(5, 2, BOX, (1, 2, 3)), white_noise(5, 2, BOX, (1, 2, 3))
    )


def test_axes_are_told_apart():
    """Cell (1, 2, 3) is not cell (3, 2, 1)."""
    cells = [np.arange(6)] * 3
    noise = white_noise(0, 0, cells, NONE)
    assert np.unique(noise).size == noise.size
    assert abs(np.corrcoef(noise.ravel(), noise.transpose(2, 1, 0).ravel())[0, 1]) < 0.3


@given(
    start=st.tuples(*[st.integers(-5, 5)] * 3),
    other=st.tuples(*[st.integers(-5, 5)] * 3),
    margins=st.tuples(*[st.integers(0, 4)] * 3),
)
def test_boxes_that_overlap_draw_the_same(start, other, margins):
    whole = [np.arange(-12, 20)] * 3
    everything = white_noise(1, 1, whole, NONE)
    for corner in (start, other):
        cells = [np.arange(s, s + 4) for s in corner]
        noise = white_noise(1, 1, cells, margins)
        cut = tuple(
            slice(s - m + 12, s + 4 + m + 12) for s, m in zip(corner, margins, strict=True)
        )
        np.testing.assert_array_equal(noise, everything[cut])


@pytest.mark.parametrize("margin", [0, 1, 5])
def test_round_the_globe_it_comes_back(margin):
    """A tile over the edge, and margins over the edge, see the first columns again."""
    period = 20
    around = [np.arange(2), np.arange(3), np.arange(period)]
    globe = white_noise(0, 0, around, NONE, period=period)
    for first in (0, 16, 19):
        columns = (first + np.arange(6)) % period
        noise = white_noise(0, 0, [*around[:2], columns], (0, 0, margin), period=period)
        expected = (first - margin + np.arange(6 + 2 * margin)) % period
        np.testing.assert_array_equal(noise, globe[..., expected])


def test_a_margin_may_be_longer_than_the_globe():
    columns = [np.arange(1), np.arange(1), np.arange(4)]
    noise = white_noise(0, 0, columns, (0, 0, 6), period=4)[0, 0]
    np.testing.assert_array_equal(noise[:4], noise[4:8])


def test_only_the_last_axis_goes_round():
    cells = [np.arange(8), np.arange(8), np.arange(4)]
    noise = white_noise(0, 0, cells, NONE, period=4)
    assert np.unique(noise).size == noise.size


def test_cell_by_cell_it_is_the_same_as_in_a_box():
    """Without margins the numbers of cells are taken element by element."""
    box = white_noise(2, 0, BOX, NONE, stream=1)
    rng = np.random.default_rng(0)
    at = [rng.integers(c.size, size=50) for c in BOX]
    cells = [c[i] for c, i in zip(BOX, at, strict=True)]
    np.testing.assert_array_equal(white_noise(2, 0, cells, stream=1), box[tuple(at)])


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64"])
def test_the_type_of_the_numbers_does_not_matter(dtype):
    cells = [c.astype(dtype) for c in BOX]
    np.testing.assert_array_equal(white_noise(0, 0, cells, NONE), white_noise(0, 0, BOX, NONE))


@pytest.mark.parametrize("seed", [0, 2**31, 2**32 - 1, -1, np.int64(3)])
def test_any_whole_number_is_a_seed(seed):
    assert np.isfinite(white_noise(seed, 4095, [np.arange(3)] * 3, (2, 2, 2))).all()
