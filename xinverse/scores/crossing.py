r"""The smallest scale that is resolved: where a score falls below one half.

On wavelengths :math:`\lambda_1 > \lambda_2 > \dots` with the scores :math:`s_1, s_2, \dots`,
let :math:`s_i \ge 1/2` up to :math:`i = m`, without a break from the largest on. Then

.. math::
    \lambda = \lambda_m - (\lambda_m - \lambda_{m+1}) \frac{s_m - 1/2}{s_m - s_{m+1}}.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVEL", "smallest_resolved", "smallest_resolved_of_rows"]

Floats = NDArray[np.float64]

LEVEL = 0.5


def smallest_resolved(scale: Floats, score: Floats) -> float:
    """Scale at which a score first falls below one half, from the largest scale on.

    Parameters
    ----------
    scale : ndarray, shape (n,)
        Wavelengths or periods, descending.
    score : ndarray, shape (n,)
        NaN where there is nothing to resolve; it ends what is resolved.

    Returns
    -------
    float
        Linearly interpolated between two scales. NaN where the largest scale is not
        resolved; the smallest of `scale` where all are, which is then an upper bound.
    """
    resolved = score >= LEVEL  # False for NaN
    if not resolved[0]:
        return float("nan")
    if resolved.all():
        return float(scale[-1])
    after = int(np.argmin(resolved))
    last = after - 1
    if np.isnan(score[after]):
        return float(scale[last])
    share = (score[last] - LEVEL) / (score[last] - score[after])
    return float(scale[last] - share * (scale[last] - scale[after]))


def smallest_resolved_of_rows(scale: Floats, score: Floats) -> float:
    """Return the smallest of the scales that the rows of a plane resolve.

    Parameters
    ----------
    scale : ndarray, shape (n,)
        Descending.
    score : ndarray, shape (rows, n)
        One row for each scale along the other axis.

    Returns
    -------
    float
        NaN where no row resolves even its largest scale.
    """
    found = np.array([smallest_resolved(scale, row) for row in score])
    return float(np.nanmin(found)) if np.isfinite(found).any() else float("nan")
