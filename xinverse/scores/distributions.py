r"""Scores of predicted distributions, cell by cell; arrays only.

The continuous ranked probability score of a distribution :math:`F` and a value :math:`y` is
:math:`\int (F(x) - [x \ge y])^2 dx`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["crps_ensemble", "crps_gaussian", "pit_gaussian", "ranks"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def crps_gaussian(mean: Floats, deviation: Floats, y: Floats) -> Floats:
    r"""CRPS of Gaussian distributions.

    .. math:: \sigma \left( z (2 \Phi(z) - 1) + 2 \varphi(z) - \pi^{-1/2} \right),
              \qquad z = (y - \mu) / \sigma .

    Parameters
    ----------
    mean, deviation, y : ndarray
        Of one shape; the deviation is above zero.

    Returns
    -------
    ndarray
        In the units of `y`.

    Notes
    -----
    Source: Gneiting and others (2005), doi:10.1175/MWR2904.1.
    """
    from scipy.special import ndtr

    z = (y - mean) / deviation
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(deviation * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi)))


def crps_ensemble(members: Floats, y: Floats, *, fair: bool = True) -> Floats:
    r"""CRPS of ensembles of :math:`n` members.

    .. math:: \frac{1}{n} \sum_i |x_i - y| - \frac{1}{2 m} \sum_{i, j} |x_i - x_j| ,

    with :math:`m = n (n - 1)` for the fair score, whose expectation does not depend on the
    number of members, and :math:`m = n^2` for the score of the ensemble itself.

    Parameters
    ----------
    members : ndarray, shape (n, ...)
        Two members or more if `fair`.
    y : ndarray, shape (...)
        The values.
    fair : bool
        Which of the two.

    Returns
    -------
    ndarray, shape (...)
        In the units of `y`; the fair score may be negative.

    Notes
    -----
    Source: Ferro (2014), doi:10.1002/qj.2270.
    """
    number = members.shape[0]
    # Sorted, the double sum is a single one.
    order = np.sort(members, axis=0)
    weights = 2.0 * np.arange(1, number + 1) - number - 1
    double = 2.0 * np.tensordot(weights, order, axes=(0, 0))
    pairs = number * (number - 1) if fair else number**2
    return np.asarray(np.abs(members - y).mean(axis=0) - double / (2.0 * pairs))


def pit_gaussian(mean: Floats, deviation: Floats, y: Floats) -> Floats:
    r"""Probability integral transform :math:`\Phi((y - \mu) / \sigma)`.

    Parameters
    ----------
    mean, deviation, y : ndarray
        Of one shape; the deviation is above zero.

    Returns
    -------
    ndarray
        Uniform in [0, 1] if the distributions are right.
    """
    from scipy.special import ndtr

    return np.asarray(ndtr((y - mean) / deviation))


def ranks(members: Floats, y: Floats, random: Floats) -> Integers:
    """Rank of values among members: how many members lie below, ties at random.

    Parameters
    ----------
    members : ndarray, shape (n, ...)
        The ensembles.
    y : ndarray, shape (...)
        The values.
    random : ndarray, shape (...)
        Uniform in [0, 1), for ties.

    Returns
    -------
    ndarray of int64, shape (...)
        0 to n.
    """
    below, equal = (members < y).sum(axis=0), (members == y).sum(axis=0)
    return np.asarray(below + np.floor(random * (equal + 1)), dtype=np.int64)
