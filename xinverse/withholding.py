r"""Withhold observations in groups, to score a map where it has not seen; arrays only.

Neighbouring observations have nearly the same value, so a map fits a single withheld cell
even if it is wrong beyond it. Observations are therefore withheld in blocks of neighbouring
cells, all observations of a block together. A block has a hash :math:`h` of its numbers along
the three axes and of a seed, uniform in [0, 1), and fold :math:`k` of a share :math:`s`
withholds

.. math:: \{\, k s \le h < (k + 1) s \,\} .

A block of one time step and of a region withholds the parts of the tracks of that day; one of
several steps is a gap like those of clouds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xinverse.checks import check_count, check_number
from xinverse.counter_hash import chained, uniform
from xinverse.errors import OptionError

__all__ = ["balanced_folds", "block_keys", "withheld"]

Keys = NDArray[np.uint64]
Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]


def withheld(
    observed: Booleans,
    cells: Sequence[NDArray[np.integer]],
    block: Sequence[int],
    *,
    share: float = 0.1,
    seed: int = 0,
    fold: int = 0,
    period: int | None = None,
) -> Booleans:
    """Choose the observations to withhold, in blocks.

    Each cell is chosen by its own numbers only, so two tiles or chunks agree about the cells
    that they share. About a `share` of the blocks is withheld; with few blocks, by chance none
    or all. :func:`balanced_folds` keeps to the share, and needs the whole field.

    Parameters
    ----------
    observed : ndarray of bool, shape (*extra, nt, ny, nx)
        Where there are observations.
    cells : sequence of ndarray of int, shapes (nt,), (ny,), (nx,)
        Numbers of the cells along each axis in the whole field; for irregular dates, whole
        days from any date.
    block : sequence of int
        Number of cells of a block along each axis.
    share : float, default 0.1
        Of the blocks, above 0 and below 1.
    seed : int
        Selects the blocks and where their edges lie.
    fold : int
        Folds of one seed and share have no block in common; there are ``floor(1 / share)``.
    period : int, optional
        Number of cells along x after which they repeat, on a grid that goes round the globe.

    Returns
    -------
    ndarray of bool, shape (*extra, nt, ny, nx)
        True at the observations to withhold.

    Raises
    ------
    OptionError
        `share` is out of bounds, `fold` is beyond the last one, or a block has no cell.
    """
    check_number("share", share, above=0, below=1)
    check_count("fold", fold, least=0, what="a number of a fold")
    # A share of 1/n has n folds, also if n times its float is slightly more than one.
    last = int(1 / share * (1 + 1e-9)) - 1
    if fold > last:
        raise OptionError(f"fold={fold}: a share of {share:g} has the folds 0 to {last}.")
    height = uniform(block_keys(cells, block, seed=seed, period=period))
    return observed & (height >= fold * share) & (height < (fold + 1) * share)


def block_keys(
    cells: Sequence[NDArray[np.integer]],
    block: Sequence[int],
    *,
    seed: int = 0,
    period: int | None = None,
) -> Keys:
    """Return the hash of the block of each cell.

    Parameters
    ----------
    cells, block, seed, period
        As in :func:`withheld`.

    Returns
    -------
    ndarray of uint64, shape (nt, ny, nx)
        Equal in the cells of one block, and different in two blocks.

    Raises
    ------
    OptionError
        A block has no cell along an axis.
    """
    for name, size in zip(("time", "y", "x"), block, strict=True):
        check_count(f"block along {name}", size, what="a number of cells")
    key = np.asarray(np.uint64(seed % 2**64))
    numbers: list[Integers] = []
    for axis, (values, size) in enumerate(zip(cells, block, strict=True)):
        # The edges of blocks are elsewhere for each seed.
        length = period if period is not None and axis == 2 else size
        offset = int(uniform(chained(key, [np.asarray(-1 - axis)])) * length)
        number: Integers = np.asarray(values, dtype=np.int64) + offset
        if period is not None and axis == 2:
            # Blocks of nearly one size, since a short last one would have few observations.
            number = (number % period) * max(1, round(period / size)) // period
        else:
            number = number // size
        numbers.append(number.reshape([-1 if k == axis else 1 for k in range(3)]))
    return chained(key, numbers)


def balanced_folds(observed: Booleans, keys: Keys, number: int) -> Integers:
    """Divide all observations into folds of nearly equal size, without dividing a group.

    The groups, in the order of their keys, are dealt out by the number of their observations.

    Parameters
    ----------
    observed : ndarray of bool
        Where there are observations, of the whole field.
    keys : ndarray of uint64, of the same shape
        Of the group of each cell, such as :func:`block_keys`.
    number : int
        Of folds, two or more.

    Returns
    -------
    ndarray of int64
        The fold of each observation, 0 to ``number - 1``, and -1 elsewhere. A fold may be empty
        if there are few groups.

    Raises
    ------
    OptionError
        There are fewer than two folds.
    """
    check_count("number", number, least=2, what="a number of folds")
    folds = np.full(observed.shape, -1, dtype=np.int64)
    _, group, size = np.unique(keys[observed], return_inverse=True, return_counts=True)
    middle = np.cumsum(size) - 0.5 * size
    fold = np.floor(middle * number / max(size.sum(), 1)).astype(np.int64)
    folds[observed] = fold[group]
    return folds
