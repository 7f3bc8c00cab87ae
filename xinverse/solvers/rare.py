r"""Cells and dates with few observations, in decompositions into EOFs.

A mode can take any value at a cell with a handful of observations: the fit has as many
unknowns as modes, and extrapolates. Such cells and dates are left out of the decomposition,
and are then regressed on its modes with what the others do as prior. What is filled stays near
the range of the observations, because a mode can also run away where little of it is seen.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "MARGIN",
    "MIN_OBSERVED",
    "bounds_of",
    "grams",
    "mode_error",
    "rarely_observed",
    "regress",
]

# The usual advice for DINEOF: cells and dates of which less than this share is observed.
MIN_OBSERVED = 0.05
# Filled values may exceed the range of the observations by this share of it, at each end.
MARGIN = 0.1


def rarely_observed(observed: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Dates ``(nt,)`` and cells ``(n,)`` of which too little is observed.

    Never observed cells do not count in the share of a date. A date that is left
    out may make a cell rare, and the other way round: repeat until none is.
    """
    wanted_cells = observed.any(0)
    wanted_dates = observed.any(1)
    while True:
        inner = observed & wanted_cells & wanted_dates[:, None]
        cells = wanted_cells & (inner.sum(0) >= share * wanted_dates.sum())
        dates = wanted_dates & (inner.sum(1) >= share * wanted_cells.sum())
        if bool((cells == wanted_cells).all() and (dates == wanted_dates).all()):
            return ~dates, ~cells
        wanted_cells, wanted_dates = cells, dates


def bounds_of(y: Tensor, margin: float = MARGIN) -> tuple[float, float]:
    """Range of the observations, widened by a share of it."""
    low, high = float(y.min()), float(y.max())
    widen = margin * (high - low)
    return low - widen, high + widen


def mode_error(basis: Tensor, scale: Tensor, noise: float, observed: Tensor) -> Tensor:
    r"""Error covariance of the coefficients of modes, given which values are observed.

    .. math:: A = \left( D^{-2} + E^\top H^\top H E / \sigma^2 \right)^{-1}

    for :math:`y = H E a + \epsilon` with :math:`a \sim N(0, D^2)`: optimal
    interpolation with the covariance :math:`E D^2 E^\top` of the EOFs (Beckers,
    Barth and Alvera-Azcárate 2006). :math:`\mathrm{diag}(E A E^\top)` is the error
    variance of the field.

    Parameters
    ----------
    basis : Tensor
        E, ``(n, P)``.
    scale : Tensor
        Standard deviation of each coefficient, the diagonal of D, ``(P,)``.
    noise : float
        :math:`\sigma`, above zero.
    observed : Tensor
        Boolean, ``(m, n)``: the rows of H, for m cases.

    Returns
    -------
    Tensor
        A, ``(m, P, P)``.
    """
    scaled = basis * scale
    gram = grams(scaled, observed)
    identity = torch.eye(len(scale), dtype=basis.dtype, device=basis.device)
    factor = torch.linalg.cholesky(gram + noise**2 * identity)
    return noise**2 * scale[:, None] * torch.cholesky_inverse(factor) * scale


def regress(
    y: Tensor, observed: Tensor, basis: Tensor, others: Tensor, noise: float
) -> tuple[Tensor, Tensor]:
    """Posterior mean ``(m, P)`` and covariance ``(m, P, P)`` of coefficients of modes.

    The prior has the mean and the variance of the coefficients of the decomposition,
    ``others`` ``(k, P)``. ``y`` is zero where nothing is observed.
    """
    usual, scale = others.mean(0), others.std(0, correction=0)
    covariance = mode_error(basis, scale, noise, observed)
    right = (y @ basis - grams(basis, observed) @ usual) / noise**2
    return usual + (covariance @ right[..., None])[..., 0], covariance


def grams(basis: Tensor, observed: Tensor) -> Tensor:
    """Products of the modes over what is observed, ``(m, P, P)``."""
    count = basis.shape[1]
    products = (basis[:, :, None] * basis[:, None, :]).flatten(1)
    return (observed.to(basis.dtype) @ products).reshape(-1, count, count)
