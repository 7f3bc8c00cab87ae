r"""Band-pass filter of maps with coasts; arrays only.

Land is first filled with the harmonic extension of the sea, :math:`\nabla^2 h = 0` with no
gradient across the edge of the map. With the cosine transform :math:`C`, whose modes
:math:`(m, n)` have the wavenumber :math:`K^2 = (m / 2L_y)^2 + (n / 2L_x)^2`, a band is

.. math:: B h = C^{-1} \, [\lambda_1 \le 1/K < \lambda_2] \, C \, h .

The filter is isotropic, sharp and linear, and mirrors the map at its edges.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["band_pass", "land_filler", "wavelengths"]

Floats = NDArray[np.float64]


def wavelengths(shape: tuple[int, int], dy: float, dx: float) -> Floats:
    """Return the wavelengths of the cosine modes of a map.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx).
    dy, dx : float
        Spacing along y and x.

    Returns
    -------
    ndarray, shape (ny, nx)
        In the units of the spacing; infinite for the mean.
    """
    m, n = (np.arange(number) for number in shape)
    squared = (m[:, None] / (2 * shape[0] * dy)) ** 2 + (n / (2 * shape[1] * dx)) ** 2
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / np.sqrt(squared))


def band_pass(maps: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Keep selected cosine modes of maps.

    Parameters
    ----------
    maps : ndarray, shape (nt, ny, nx)
        Finite.
    inside : ndarray of bool, shape (ny, nx)
        The modes to keep.

    Returns
    -------
    ndarray, shape (nt, ny, nx)
    """
    from scipy.fft import dctn, idctn

    kept = dctn(maps, axes=(1, 2), norm="ortho") * inside
    return np.asarray(idctn(kept, axes=(1, 2), norm="ortho"))


def land_filler(sea: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    """Return a function that fills land with the harmonic extension of the sea.

    Parameters
    ----------
    sea : ndarray of bool, shape (ny, nx)
        True in at least one cell.

    Returns
    -------
    callable
        From maps of shape (nt, ny, nx), with any values on land, to filled ones.
    """
    from scipy.sparse import csc_array, diags_array
    from scipy.sparse.linalg import splu

    if sea.all():
        return lambda maps: maps
    number = np.arange(sea.size).reshape(sea.shape)
    pairs = np.concatenate(
        [
            np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()]),
            np.stack([number[:-1].ravel(), number[1:].ravel()]),
        ],
        axis=1,
    )
    rows, columns = np.concatenate([pairs, pairs[::-1]], axis=1)
    neighbours = csc_array((np.ones(rows.size), (rows, columns)), shape=(sea.size, sea.size))
    laplacian = (diags_array(neighbours.sum(axis=1)) - neighbours).tocsr()
    land, wet = np.flatnonzero(~sea.ravel()), np.flatnonzero(sea.ravel())
    inner = splu(csc_array(laplacian[land][:, land]))
    coast = laplacian[land][:, wet]

    def fill(maps: Floats) -> Floats:
        flat = maps.reshape(len(maps), -1).copy()
        flat[:, land] = inner.solve(-(coast @ flat[:, wet].T)).T
        return flat.reshape(maps.shape)

    return fill
