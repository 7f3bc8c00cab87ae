r"""Linear interpolation in time, y and x; arrays only.

.. math:: f(t, y, x) = \sum_{c \in \text{8 corners}} w_c f_c,
          \qquad w_c = \prod_{d} (1 - r_d \text{ or } r_d)

where :math:`r_d` is the position between the neighbouring centres along axis :math:`d`.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bracket", "bracket", "trilinear"]

Floats = NDArray[np.float64]
Bracket = tuple[NDArray[np.int64], NDArray[np.int64], Floats]

_ROUNDING = 1e-6  # of a spacing; longitudes modulo 360 lose their last digits


def bracket(
    centres: Floats, values: Floats, *, period: float | None = None, periodic: bool = False
) -> Bracket:
    """Find the neighbouring centres of each value, and its position between them.

    Parameters
    ----------
    centres : ndarray, shape (n,)
        Strictly monotonic, in either direction.
    values : ndarray, shape (points,)
        Where to interpolate.
    period : float, optional
        Period of the axis (360 for longitude); values are taken modulo it.
    periodic : bool
        Whether the last centre is a neighbour of the first.

    Returns
    -------
    lower, upper : ndarray of int64, shape (points,)
        Indices of the neighbours.
    ratio : ndarray, shape (points,)
        0 at `lower`, 1 at `upper`; NaN outside the outer centres.
    """
    number = centres.size
    if centres[0] > centres[-1]:
        lower, upper, ratio = bracket(centres[::-1], values, period=period, periodic=periodic)
        return number - 1 - lower, number - 1 - upper, ratio
    if period is not None:
        values = centres[0] + (values - centres[0]) % period
    ends = centres
    if periodic and period is not None:
        ends = np.append(centres, centres[0] + period)
    if ends.size == 1:
        at = np.zeros(values.size, dtype=np.int64)
        return at, at, np.where(values == ends[0], 0.0, np.nan)
    lower = np.clip(np.searchsorted(ends, values, side="right") - 1, 0, ends.size - 2)
    ratio = (values - ends[lower]) / (ends[lower + 1] - ends[lower])
    inside = (ratio >= -_ROUNDING) & (ratio <= 1 + _ROUNDING)
    ratio = np.where(inside, np.clip(ratio, 0.0, 1.0), np.nan)
    return lower.astype(np.int64), (lower.astype(np.int64) + 1) % number, ratio


def trilinear(data: NDArray[np.floating], t: Bracket, y: Bracket, x: Bracket) -> Floats:
    """Interpolate linearly along three axes.

    Parameters
    ----------
    data : ndarray, shape (nt, ny, nx)
        NaN is missing.
    t, y, x : Bracket
        From :func:`bracket`, one entry per point.

    Returns
    -------
    ndarray, shape (points,)
        NaN outside the grid, and where a corner with any weight is NaN.
    """
    result = np.zeros(t[2].shape)
    for corner in product((0, 1), repeat=3):
        weight = np.ones(t[2].shape)
        for side, axis in zip(corner, (t, y, x), strict=True):
            weight = weight * (axis[2] if side else 1.0 - axis[2])
        values = data[tuple(axis[side] for side, axis in zip(corner, (t, y, x), strict=True))]
        # A point on a centre gives corners of zero weight, which may be NaN.
        result += np.where(weight == 0, 0.0, weight * values)
    return result
