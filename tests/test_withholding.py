"""Withheld observations: whole groups, independent of tiles, of the share asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinverse.errors import OptionError
from xinverse.withholding import balanced_folds, block_keys, withheld

CELLS = (np.arange(30), np.arange(40), np.arange(60))
SHAPE = tuple(one.size for one in CELLS)
ALL = np.ones(SHAPE, dtype=bool)
SOME = np.random.default_rng(0).random(SHAPE) < 0.1


@given(
    st.integers(0, 2**32),
    st.tuples(*(st.integers(1, size) for size in (12, 15, 20))),
    st.tuples(*(st.integers(0, size - 2) for size in SHAPE)),
    st.tuples(*(st.integers(-(10**6), 10**6) for _ in SHAPE)),
)
def test_a_tile_withholds_what_the_whole_field_does(seed, block, start, origin):
    cells = [axis + zero for axis, zero in zip(CELLS, origin, strict=True)]
    whole = withheld(SOME, cells, block, share=0.3, seed=seed)
    cut = tuple(slice(one, one + 17) for one in start)
    part = [axis[one] for axis, one in zip(cells, cut, strict=True)]
    np.testing.assert_array_equal(
        withheld(SOME[cut], part, block, share=0.3, seed=seed), whole[cut]
    )


def test_only_observations_are_withheld_and_whole_blocks_of_them():
    chosen = withheld(SOME, CELLS, (3, 8, 8), share=0.3)
    assert chosen.any()
    assert not (chosen & ~SOME).any()
    keys = block_keys(CELLS, (3, 8, 8))
    assert not set(keys[chosen]) & set(keys[SOME & ~chosen])


def test_a_block_is_a_box_of_its_size():
    keys = block_keys(CELLS, (3, 8, 10), seed=5)
    inner = keys[15, 20, 30]
    t, y, x = np.nonzero(keys == inner)
    assert (np.ptp(t), np.ptp(y), np.ptp(x)) == (2, 7, 9)
    assert t.size == 3 * 8 * 10


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_the_share_of_blocks_is_right_within_its_sampling_error(share):
    cells = [np.arange(40)] * 3
    chosen = withheld(np.ones((40, 40, 40), bool), cells, (1, 1, 1), share=share)
    assert abs(chosen.mean() - share) < 4 * np.sqrt(share * (1 - share) / chosen.size)


def test_folds_have_nothing_in_common_and_together_are_all():
    times = sum(
        withheld(SOME, CELLS, (2, 5, 5), share=0.1, fold=fold).astype(int) for fold in range(10)
    )
    np.testing.assert_array_equal(times, SOME.astype(int))


def test_neighbouring_blocks_and_seeds_are_unrelated():
    cells = [np.arange(40)] * 3
    one = withheld(np.ones((40, 40, 40), bool), cells, (1, 1, 1), share=0.5)
    other = withheld(np.ones((40, 40, 40), bool), cells, (1, 1, 1), share=0.5, seed=1)
    bound = 4 / np.sqrt(one.size)
    signs = 2.0 * one - 1
    assert abs((signs * (2.0 * other - 1)).mean()) < bound
    for axis in range(3):
        rolled = np.roll(signs, 1, axis)
        assert abs((signs * rolled).mean()) < bound


def test_seeds_move_the_edges_of_blocks():
    edges = {
        tuple(np.flatnonzero(np.diff(block_keys(CELLS, (1, 1, 12), seed=seed)[0, 0])) % 12)
        for seed in range(8)
    }
    assert len(edges) > 3


@given(st.integers(0, 1000), st.integers(3, 30))
def test_blocks_join_round_the_globe(seed, size):
    x = np.arange(60)
    keys = block_keys((CELLS[0], CELLS[1], x), (1, 1, size), seed=seed, period=60)[0, 0]
    later = block_keys((CELLS[0], CELLS[1], x + 60), (1, 1, size), seed=seed, period=60)[0, 0]
    np.testing.assert_array_equal(keys, later)
    _, counts = np.unique(keys, return_counts=True)
    assert np.ptp(counts) <= 1
    assert counts.size == max(1, round(60 / size))
    edges = int((keys != np.roll(keys, 1)).sum())
    assert edges == (0 if counts.size == 1 else counts.size)


def test_extra_dimensions_are_withheld_alike():
    chosen = withheld(np.stack([ALL, SOME]), CELLS, (2, 5, 5), share=0.3)
    np.testing.assert_array_equal(chosen[1], chosen[0] & SOME)


@given(st.integers(0, 1000), st.integers(2, 12))
def test_balanced_folds_hold_whole_groups_of_nearly_equal_number(seed, number):
    keys = block_keys(CELLS, (2, 5, 6), seed=seed)
    folds = balanced_folds(SOME, keys, number)
    np.testing.assert_array_equal(folds >= 0, SOME)
    _, size = np.unique(keys[SOME], return_counts=True)
    count = np.bincount(folds[SOME], minlength=number)
    assert np.abs(count - SOME.sum() / number).max() <= size.max()
    for fold in range(number):
        assert not set(keys[folds == fold]) & set(keys[(folds >= 0) & (folds != fold)])


def test_without_observations_there_is_nothing_to_withhold():
    folds = balanced_folds(np.zeros(SHAPE, bool), block_keys(CELLS, (2, 5, 5)), 5)
    assert (folds == -1).all()


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"share": 0.0}, "share=0.0: expected a number above 0 and below 1"),
        ({"share": 1.0}, "share=1.0: expected a number above 0 and below 1"),
        ({"fold": 10}, "fold=10: a share of 0.1 has the folds 0 to 9"),
        ({"fold": -1}, "fold=-1: expected a number of a fold, 0 or more"),
        ({"block": (0, 5, 5)}, "block along time=0: expected a number of cells, 1 or more"),
    ],
)
def test_what_cannot_be_meant_is_an_error(keywords, words):
    given_ = {"block": (2, 5, 5)} | keywords
    with pytest.raises(OptionError, match=words):
        withheld(SOME, CELLS, **given_)


def test_one_fold_is_an_error():
    with pytest.raises(OptionError, match="number=1: expected a number of folds, 2 or more"):
        balanced_folds(SOME, block_keys(CELLS, (2, 5, 5)), 1)
