r"""A sampling mask learned jointly with the scales of optimal interpolation.

Windows of the field x are observed, :math:`y = x + \epsilon`, where a binary mask m is 1, and
mapped by the posterior mean

.. math:: \hat x = B_S (B_{SS} + R)^{-1} y_S, \qquad S = \{j : m_j = 1\}.

The loss is the mean square of :math:`\hat x - x`. A cell that is observed with the precision
:math:`m_j / r` has, by the implicit function theorem, the exact derivative

.. math::

    \frac{\partial L}{\partial m_j} = \frac{1}{r} (y_j - \hat x_j) (P \nabla_{\hat x} L)_j,

with P the posterior covariance. It is not zero for cells that are not observed, unlike that of
a product with the mask. The mask holds the k largest of :math:`\theta + \tau G`, with G Gumbel
noise (top-k without replacement; Kool et al. 2019), and its derivative with respect to
:math:`\theta` is that of a sigmoid about the k-th value (straight-through).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xinverse.priors.kernels import SPACE_KERNELS, TIME_KERNELS

__all__ = ["LearnedScales", "reconstruct", "temperature", "top_k_mask", "train_logits"]


def temperature(share: float) -> float:
    r""":math:`\tau = 3 e^{-s / 0.4} + 0.2` at a share s of the training.

    At first the noise exceeds the differences between cells, so that many masks are tried; at
    the end the draw is nearly the mask that is returned.

    Parameters
    ----------
    share : float
        From 0 to 1.
    """
    return 3.0 * math.exp(-share / 0.4) + 0.2


class LearnedScales(nn.Module):
    """Scales and noise of the interpolation, positive, learned by their logarithms.

    Parameters
    ----------
    length_scale, time_scale, noise : float
        The first values.
    """

    def __init__(self, length_scale: float, time_scale: float, noise: float) -> None:
        super().__init__()
        start = torch.tensor([length_scale, time_scale, noise], dtype=torch.float64)
        self.logs = nn.Parameter(start.log())

    def forward(self) -> tuple[Tensor, Tensor, Tensor]:
        """Length scale, time scale and noise."""
        length, days, noise = self.logs.exp()
        return length, days, noise


class _ThroughMask(torch.autograd.Function):
    """Zero, with the derivative of the posterior mean with respect to the mask."""

    @staticmethod
    def forward(ctx: Any, mask: Tensor, misfit: Tensor, posterior: Any) -> Tensor:
        ctx.misfit, ctx.posterior, ctx.shape = misfit, posterior, mask.shape
        return torch.zeros_like(misfit)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        of_mask = ctx.misfit * ctx.posterior(gradients[0])
        return of_mask.sum(0).reshape(ctx.shape), None, None


def reconstruct(
    y: Tensor, mask: Tensor, points: Tensor, deviation: Tensor, scales: Any, kernels: Any
) -> Tensor:
    """Map windows from the cells where a mask is 1.

    Parameters
    ----------
    y : Tensor, shape (batch, n)
        Observations of every cell; only those in the mask are used for the map.
    mask : Tensor, shape (n,)
        Ones and zeros, with a graph.
    points : Tensor, shape (n, 3)
        Days, y and x (km) of the cells.
    deviation : Tensor, shape (n,)
        Standard deviation of the field.
    scales : tuple of Tensor
        Length scale, time scale and noise, with a graph.
    kernels : tuple of str
        Names of the correlations in space and time.

    Returns
    -------
    Tensor, shape (batch, n)
        The posterior mean, differentiable in mask and scales.
    """
    length, days, noise = scales
    seen = torch.nonzero(mask.detach() > 0.5)[:, 0]
    space, time = SPACE_KERNELS[kernels[0]], TIME_KERNELS[kernels[1]]
    lag = points[:, None] - points[seen]
    apart = lag[..., 1:].square().sum(-1).clamp(min=1e-20).sqrt()
    columns = space(apart / length, 1.0) * time(lag[..., 0].abs() / days, 1.0)
    columns = deviation[:, None] * columns * deviation[seen]
    inner = columns[seen] + noise**2 * torch.eye(len(seen), dtype=columns.dtype)
    factor = torch.linalg.cholesky(inner)
    mean = (columns @ torch.cholesky_solve(y[:, seen].T, factor)).T
    fixed, root = columns.detach(), factor.detach()
    r = float(noise.detach() ** 2)

    def posterior(g: Tensor) -> Tensor:
        """The posterior covariance times fields, over the noise variance."""
        prior = deviation * _times_correlation(deviation * g, points, scales, kernels)
        left = torch.cholesky_solve(prior[:, seen].T, root)
        return (prior - (fixed @ left).T) / r

    misfit = (y - mean).detach()
    return mean + _ThroughMask.apply(mask, misfit, posterior)


def _times_correlation(g: Tensor, points: Tensor, scales: Any, kernels: Any) -> Tensor:
    """The correlation of all cells times fields, by blocks of rows."""
    length, days = float(scales[0].detach()), float(scales[1].detach())
    space, time = SPACE_KERNELS[kernels[0]], TIME_KERNELS[kernels[1]]
    found = []
    for some in points.split(max(1, 2**22 // len(points))):
        lag_t = (some[:, None, 0] - points[:, 0]).abs()
        rows = space(torch.cdist(some[:, 1:], points[:, 1:]), length) * time(lag_t, days)
        found.append(g @ rows.T)
    return torch.cat(found, dim=1)


def top_k_mask(logits: Tensor, k: int, tau: float, noise: Tensor) -> Tensor:
    """The k largest perturbed logits as ones, with the derivative of a sigmoid.

    Parameters
    ----------
    logits : Tensor, shape (times, cells)
        Minus infinity where nothing may be observed.
    k : int
        Number of ones for each time.
    tau : float
        Temperature of noise and sigmoid.
    noise : Tensor, shape (times, cells)
        Gumbel noise.

    Returns
    -------
    Tensor, shape (times, cells)
        Zeros and ones.
    """
    drawn = logits + tau * noise
    top = drawn.topk(min(k + 1, drawn.shape[1]), dim=1)
    hard = torch.zeros_like(drawn).scatter(1, top.indices[:, :k], 1.0)
    threshold = (top.values[:, k - 1] + top.values[:, -1]).detach() / 2
    threshold = torch.where(
        threshold.isfinite(), threshold, top.values[:, k - 1].detach() - tau
    )
    soft = torch.sigmoid((drawn - threshold[:, None]) / tau)
    return hard + soft - soft.detach()


def train_logits(
    windows: np.ndarray,
    points: np.ndarray,
    deviation: np.ndarray,
    logits: np.ndarray,
    k: int,
    scales: LearnedScales,
    *,
    kernels: tuple[str, str],
    steps: int,
    rate: float,
    batch: int,
    seed: int,
) -> np.ndarray:
    """Learn the logits of the mask and the scales together.

    Parameters
    ----------
    windows : ndarray, shape (n, times, cells)
        Anomalies.
    points : ndarray, shape (times * cells, 3)
        Days, y and x (km).
    deviation : ndarray, shape (times * cells,)
        Standard deviation of the field.
    logits : ndarray, shape (1 or times, cells)
        The first logits; one row for stations, which observe all times.
    k : int
        Places for each row.
    scales : LearnedScales
        Learned too.
    kernels : tuple of str
        Names of the correlations in space and time.
    steps, rate, batch, seed
        Of the training (Adam).

    Returns
    -------
    ndarray
        The logits learned.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.as_tensor(windows, dtype=torch.float64).flatten(1)
    at = torch.as_tensor(points, dtype=torch.float64)
    sigma = torch.as_tensor(deviation, dtype=torch.float64)
    theta = nn.Parameter(torch.as_tensor(logits, dtype=torch.float64))
    times = windows.shape[1]
    scale = float(x.square().mean())
    true_noise = float(scales()[2].detach())
    optimiser = torch.optim.Adam(
        [{"params": [theta], "lr": rate}, {"params": scales.parameters(), "lr": 0.1 * rate}]
    )
    with torch.enable_grad():
        for step in range(steps):
            tau = temperature(step / steps)
            uniform = torch.rand(theta.shape, dtype=torch.float64, generator=generator)
            gumbel = -(-uniform.clamp(1e-12, 1 - 1e-12).log()).log()
            mask = top_k_mask(theta, k, tau, gumbel).expand(times, -1).reshape(-1)
            some = x[torch.randint(len(x), (batch,), generator=generator)]
            shock = torch.randn(some.shape, dtype=torch.float64, generator=generator)
            y = some + true_noise * shock
            loss = (reconstruct(y, mask, at, sigma, scales(), kernels) - some).square().mean()
            optimiser.zero_grad()
            (loss / scale).backward()
            optimiser.step()
    found: np.ndarray = theta.detach().numpy()
    return found
