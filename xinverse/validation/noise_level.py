r"""Noise of gridded observations, from the differences of neighbours; arrays only.

Half the mean-square difference of two observations at the distance :math:`d` on one date, the
variogram, is the variance of the noise and a function that vanishes with the distance,

.. math:: \gamma(d) = n^2 + a d + b d^2, \qquad n^2, a, b \ge 0 ,

fitted over distances of up to two cells along each axis. Noise that neighbours share is
not seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["noise_level"]

_REACH = 2  # cells
_ENOUGH = 50  # pairs of neighbours at one distance


def noise_level(values: NDArray[np.floating], spacing: tuple[float, float]) -> float:
    """Return the standard deviation of the noise; NaN with too few neighbours.

    Parameters
    ----------
    values : ndarray, shape (*extra, nt, ny, nx)
        NaN in the gaps.
    spacing : tuple of float
        Distance of neighbours along y and x, in one unit.
    """
    from scipy.optimize import nnls

    distances, halves, weights = [], [], []
    ny, nx = values.shape[-2:]
    for j in range(_REACH + 1):
        for i in range(-_REACH, _REACH + 1):
            if (j == 0 and i <= 0) or j >= ny or abs(i) >= nx:
                continue
            one = values[..., j:, max(i, 0) : nx + min(i, 0)]
            two = values[..., : ny - j, max(-i, 0) : nx - max(i, 0)]
            off = (one - two)[np.isfinite(one) & np.isfinite(two)].astype(np.float64)
            if off.size >= _ENOUGH:
                distances.append(np.hypot(j * spacing[0], i * spacing[1]))
                halves.append(0.5 * np.mean(off**2))
                weights.append(np.sqrt(off.size))
    if len(set(np.round(distances, 6))) < 3:
        return float("nan")
    d = np.asarray(distances) / np.max(distances)
    terms = np.stack([np.ones_like(d), d, d**2], axis=1) * np.asarray(weights)[:, None]
    (variance, _, _), _ = nnls(terms, np.asarray(halves) * np.asarray(weights))
    return float(np.sqrt(variance))
