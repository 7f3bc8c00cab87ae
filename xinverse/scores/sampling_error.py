r"""Sampling errors of scores whose cells are correlated; arrays only.

The errors of a map are alike in neighbouring cells, so :math:`N` cells count less than
:math:`N` independent ones. The normalised errors :math:`z` are taken as standard normal, as
they are if the predicted errors are right, with a correlation :math:`r_{ij} = \prod_d r_d` that
is a product of functions of the distance along each axis, estimated from :math:`z`. With

.. math:: V_k = \frac{1}{N^2} \sum_{i, j} r_{ij}^k ,

the mean of :math:`z^2` has the variance :math:`2 V_2`, and the share of cells with
:math:`a < z < b` (Mehler's formula)

.. math:: \sum_{k \ge 1} c_k^2 V_k, \qquad
          c_k = \frac{\varphi(a) He_{k-1}(a) - \varphi(b) He_{k-1}(b)}{\sqrt{k!}},

where :math:`He_k` are Hermite polynomials.
"""

from __future__ import annotations

from math import factorial, sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["correlation_sums", "correlations", "share_error", "square_error"]

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

_UNCORRELATED = 0.05  # correlation below which two cells count as independent
_TERMS = 12  # of Mehler's series; the rest of it is taken as independent


def correlations(z: Floats) -> list[Floats]:
    """Autocorrelation along each axis, to the first lag at which it is below 0.05.

    Parameters
    ----------
    z : ndarray
        Normalised errors, of any rank; NaN where there is none.

    Returns
    -------
    list of ndarray
        Of each axis, at the lags 0, 1, 2 ...
    """
    known = np.isfinite(z)
    values = np.where(known, z - (z[known].mean() if known.any() else 0.0), 0.0)
    power = (values**2).sum() / max(int(known.sum()), 1)
    found = []
    for axis in range(z.ndim):
        along, has = np.moveaxis(values, axis, 0), np.moveaxis(known, axis, 0)
        correlation = [1.0]
        for lag in range(1, along.shape[0]):
            pairs = int((has[lag:] & has[:-lag]).sum())
            if pairs:
                both = float((along[lag:] * along[:-lag]).sum()) / (pairs * power or 1.0)
                if both <= _UNCORRELATED:
                    break
            # Without a pair, such as between every second day, as at the lag before.
            correlation.append(min(both, 1.0) if pairs else correlation[-1])
        found.append(np.asarray(correlation))
    return found


def correlation_sums(known: Booleans, correlation: list[Floats]) -> Floats:
    r"""Return :math:`V_k` of a set of cells for :math:`k = 0, 1, 2 \dots`.

    Parameters
    ----------
    known : ndarray of bool
        The cells.
    correlation : list of ndarray
        Of :func:`correlations`.

    Returns
    -------
    ndarray
        The first is 1. All are between 1 / N and 1.
    """
    from scipy.ndimage import correlate1d

    number = int(known.sum())
    result = [1.0]
    for k in range(1, _TERMS + 1):
        near = known.astype(np.float64)
        for axis, one in enumerate(correlation):
            kernel = np.concatenate([one[:0:-1], one]) ** k
            if kernel.size > 1:
                near = correlate1d(near, kernel, axis=axis, mode="constant")
        result.append(float(near[known].sum()) / number**2)
    return np.clip(result, 1.0 / number, 1.0)


def share_error(edges: tuple[Floats, Floats], sums: Floats, number: int) -> Floats:
    """Sampling error of shares of cells between bounds of z.

    Parameters
    ----------
    edges : tuple of ndarray, shape (n,)
        Lower and upper bounds, infinite ones included.
    sums : ndarray
        Of :func:`correlation_sums`.
    number : int
        Number of cells.

    Returns
    -------
    ndarray, shape (n,)
        One standard deviation.
    """
    from scipy.special import ndtr

    low, high = edges
    share = ndtr(high) - ndtr(low)
    rest = share * (1 - share)
    variance = np.zeros_like(share)
    for k in range(1, sums.size):
        squared = (_slope(low, k) - _slope(high, k)) ** 2
        variance += squared * sums[k]
        rest = rest - squared
    return np.sqrt(variance + np.clip(rest, 0, None) / number)


def square_error(sums: Floats) -> float:
    """Relative sampling error of a root mean square.

    Parameters
    ----------
    sums : ndarray
        Of :func:`correlation_sums`.
    """
    return sqrt(2 * float(sums[2])) / 2


def _slope(bound: Floats, k: int) -> Floats:
    """The density times a Hermite polynomial, over the square root of a factorial."""
    from scipy.special import eval_hermitenorm

    finite = np.where(np.isfinite(bound), bound, 0.0)
    density = np.exp(-0.5 * finite**2) / np.sqrt(2 * np.pi)
    value = density * eval_hermitenorm(k - 1, finite) / sqrt(factorial(k))
    return np.where(np.isfinite(bound), value, 0.0)
