"""Recognise the passes of satellites in gridded observations; arrays only.

A pass is a thin line of cells on one date. Ascending and descending passes cross, so cells are
first divided by the direction of the line through them, the sign of the mean product of the
distances along y and x to the observed cells around, and then joined to passes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xinverse.counter_hash import chained

__all__ = ["are_thin", "pass_keys"]

Booleans = NDArray[np.bool_]

_RADIUS = 4  # cells around a cell that show the direction of its line
_CLEAR = 0.5  # correlation of y and x from which the line has a direction
_BRIDGED = 1  # cells by which a gap in a pass is narrowed from each side
_DENSE = 0.5  # share of observed cells around those of an image, and of a wide swath
_BOX = 5  # cells, over which this share is measured


def are_thin(observed: Booleans) -> bool:
    """Whether observations are lines, such as tracks of altimeters, and not images.

    Parameters
    ----------
    observed : ndarray of bool, shape (nt, ny, nx)
        Where there are observations.
    """
    from scipy.ndimage import uniform_filter

    shares = uniform_filter(observed.astype(np.float32), (1, _BOX, _BOX), mode="nearest")
    return bool(np.median(shares[observed]) < _DENSE) if observed.any() else False


def pass_keys(observed: Booleans, *, seed: int = 0) -> NDArray[np.uint64]:
    """Return a hash of the pass of each cell.

    Parameters
    ----------
    observed : ndarray of bool, shape (nt, ny, nx)
        Where there are observations, of the whole field.
    seed : int
        Selects the order of the hashes.

    Returns
    -------
    ndarray of uint64, shape (nt, ny, nx)
        Equal in the cells of one pass; of no meaning where nothing is observed.
    """
    from scipy.ndimage import binary_dilation, label

    near, each = np.ones((3, 3), dtype=bool), np.zeros(observed.shape, dtype=np.int64)
    for t, seen in enumerate(observed):
        if not seen.any():
            continue
        lean = _lean(seen)
        last = 0
        for sign in (1, -1):
            # Cells where two lines cross join the parts of both.
            family, own = seen & (sign * lean > -_CLEAR), seen & (sign * lean >= _CLEAR)
            if sign == 1:
                own = family
            joined, count = label(binary_dilation(family, near, _BRIDGED), near)
            each[t][own] = joined[own] + last
            last += count
    key = np.asarray(np.uint64(seed % 2**64))
    return chained(key, [np.arange(len(observed))[:, None, None], each])


def _lean(seen: Booleans) -> NDArray[np.float64]:
    """Correlation of the distances along y and x from a cell to the observed cells around."""
    from scipy.ndimage import correlate1d

    away = np.arange(-_RADIUS, _RADIUS + 1, dtype=np.float64)
    count = seen.astype(np.float64)

    def moment(along_y: int, along_x: int) -> NDArray[np.float64]:
        part = correlate1d(count, away**along_y, axis=0, mode="constant")
        return np.asarray(correlate1d(part, away**along_x, axis=1, mode="constant"))

    size = np.sqrt(moment(2, 0) * moment(0, 2))
    return moment(1, 1) / np.where(size > 0, size, 1.0)
