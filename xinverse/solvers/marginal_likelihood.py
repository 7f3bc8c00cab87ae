r"""Covariance scales estimated from the observations themselves.

The marginal likelihood of observations at points,

.. math:: -2 \log p(y) = y^\top K^{-1} y + \log \det K + m \log 2\pi, \quad K = H B H^\top + R,

(Rasmussen and Williams 2006, section 5.4.1) is maximised over the scales, the
variance and the noise. It is evaluated on a few groups of neighbouring
observations, small enough for dense matrices and close enough to constrain the
short scales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xinverse.priors.kernels import SPACE_KERNELS, TIME_KERNELS

__all__ = ["FittedScales", "fit_scales"]

GROUPS = 6
GROUP_SIZE = 160


@dataclass(frozen=True)
class FittedScales:
    """Scales that make the observations most likely.

    Attributes
    ----------
    length_scale : float
        In km.
    time_scale : float
        In days.
    variance : float
        Of the signal.
    noise_factor : float
        Factor for the given noise variances.
    """

    length_scale: float
    time_scale: float
    variance: float
    noise_factor: float


def fit_scales(
    points: np.ndarray,
    values: np.ndarray,
    *,
    length_scale: float,
    time_scale: float,
    variance: float,
    noise_variance: np.ndarray,
    space: str = "gaussian",
    temporal: str = "gaussian",
    seed: int = 0,
) -> FittedScales:
    """Maximise the marginal likelihood from a first guess.

    Parameters
    ----------
    points : ndarray, shape (m, 3)
        Time (days), y and x (km) of the observations.
    values : ndarray, shape (m,)
        Observations minus background.
    length_scale, time_scale, variance : float
        First guess. The fit stays within a factor of 20 of it.
    noise_variance : ndarray, shape (m,)
        Noise variance of each observation, up to a common factor.
    space, temporal : str
        Names in ``SPACE_KERNELS`` and ``TIME_KERNELS``.
    seed : int
        Seed of the choice of groups.

    Returns
    -------
    FittedScales
    """
    if len(values) < 2:
        return FittedScales(length_scale, time_scale, variance, 1.0)
    scaled = points / np.array([time_scale, length_scale, length_scale])
    rng = np.random.default_rng(seed)
    size = min(GROUP_SIZE, len(values))
    groups = []
    for anchor in rng.choice(len(values), size=min(GROUPS, len(values)), replace=False):
        distance = ((scaled - scaled[anchor]) ** 2).sum(1)
        groups.append(np.argpartition(distance, size - 1)[:size])
    chosen = np.stack(groups)
    at = torch.as_tensor(points[chosen], dtype=torch.float64)
    y = torch.as_tensor(values[chosen], dtype=torch.float64)
    noise = torch.as_tensor(noise_variance[chosen], dtype=torch.float64)
    lag_t = (at[:, :, None, 0] - at[:, None, :, 0]).abs()
    lag = torch.hypot(
        at[:, :, None, 1] - at[:, None, :, 1], at[:, :, None, 2] - at[:, None, :, 2]
    )
    shift = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    bound = math.log(20.0)

    def scales() -> Tensor:
        return (bound * torch.tanh(shift)).exp()

    def misfit() -> Tensor:
        f = scales()
        correlation = SPACE_KERNELS[space](lag / f[0], length_scale)
        correlation = correlation * TIME_KERNELS[temporal](lag_t / f[1], time_scale)
        jitter = 1e-8 * variance * torch.eye(size, dtype=torch.float64)
        matrix = f[2] * variance * correlation + torch.diag_embed(f[3] * noise) + jitter
        factor = torch.linalg.cholesky(matrix)
        white = torch.linalg.solve_triangular(factor, y[..., None], upper=False)
        logdet = 2 * factor.diagonal(dim1=1, dim2=2).log().sum()
        return (white.square().sum() + logdet) / y.numel()

    optimiser = torch.optim.LBFGS(
        [shift], lr=0.5, max_iter=60, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = misfit()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    f = scales().detach().tolist()
    return FittedScales(length_scale * f[0], time_scale * f[1], variance * f[2], f[3])
