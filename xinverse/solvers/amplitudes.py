r"""Amplitudes of EOFs that are correlated in time: those of a date from its neighbours too.

The order of dates does not matter to a decomposition, so a date with few observations has
the usual amplitudes. Here each amplitude is a first-order autoregressive process,

.. math:: b(t + \Delta) = e^{-\Delta / T} \, b(t) + \epsilon,

with the variance of the decomposition, and is estimated from the observations of all dates
by a Kalman filter and a Rauch-Tung-Striebel smoother.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xinverse.solvers.rare import grams

__all__ = ["in_time", "memory_of", "smoothed"]

# Estimates of the memory of amplitudes, each from the amplitudes smoothed with the last.
MEMORY_ROUNDS = 3

# Range of the correlation between a date and the next: neither noise nor a constant.
LEAST, MOST = 0.01, 0.999


def in_time(
    y: Tensor,
    observed: Tensor,
    basis: Tensor,
    usual: Tensor,
    noise: float,
    dates: Tensor,
    days: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Amplitudes ``(nt, P)`` with the memory that they show, covariance and memory.

    Parameters
    ----------
    y, observed, basis, noise, days
        As of :func:`smoothed`.
    usual : Tensor
        Amplitudes of the decomposition, ``(k, P)``.
    dates : Tensor
        Boolean, ``(nt,)``: the k dates of the decomposition.
    """
    memory = memory_of(usual, days[dates])
    for _ in range(MEMORY_ROUNDS - 1):
        found, _ = smoothed(y, observed, basis, usual, noise, days, memory)
        memory = memory_of(found, days)
    return *smoothed(y, observed, basis, usual, noise, days, memory), memory


def memory_of(amplitudes: Tensor, days: Tensor) -> Tensor:
    r"""Time in days after which each amplitude is forgotten, ``(P,)``.

    .. math:: E\,(b(t + \Delta) - b(t))^2 = 2 s^2 (1 - e^{-\Delta / T})

    solved for T with the mean step between dates as :math:`\Delta`.

    Parameters
    ----------
    amplitudes : Tensor
        ``(nt, P)``, with a variance above zero.
    days : Tensor
        Dates, ``(nt,)``, increasing.
    """
    variance = amplitudes.var(0, correction=0).clamp_min(1e-300)
    jumps = amplitudes.diff(dim=0).square().mean(0)
    correlation = (1 - jumps / (2 * variance)).clamp(LEAST, MOST)
    return -days.diff().mean() / correlation.log()


def smoothed(
    y: Tensor,
    observed: Tensor,
    basis: Tensor,
    others: Tensor,
    noise: float,
    days: Tensor,
    memory: Tensor,
) -> tuple[Tensor, Tensor]:
    r"""Posterior mean ``(nt, P)`` and covariance ``(nt, P, P)`` of amplitudes, given all dates.

    Parameters
    ----------
    y : Tensor
        Anomalies, ``(nt, n)``, zero where nothing is observed.
    observed : Tensor
        Boolean, ``(nt, n)``.
    basis : Tensor
        Spatial modes, ``(n, P)``.
    others : Tensor
        Amplitudes of the decomposition, ``(k, P)``: their mean and variance are the prior's.
    noise : float
        Standard deviation of the observations about the modes, above zero.
    days : Tensor
        Dates, ``(nt,)``, increasing.
    memory : Tensor
        T in days, ``(P,)``.
    """
    usual, scale = others.mean(0), others.std(0, correction=0)
    gram = grams(basis, observed)
    right = scale * (y @ basis - gram @ usual) / noise**2
    information = scale[:, None] * gram * scale / noise**2
    keep = torch.exp(-days.diff()[:, None] / memory)
    identity = torch.eye(len(scale), dtype=y.dtype, device=y.device)
    mean, spread = torch.zeros_like(scale), identity
    predicted, filtered = [], []
    for date in range(len(y)):
        if date:
            factor = keep[date - 1]
            mean = factor * mean
            spread = factor[:, None] * spread * factor + torch.diag(1 - factor**2)
        predicted.append((mean, spread))
        # (S^-1 + J)^-1 without the inverse of S, which may be singular.
        gain = torch.linalg.solve(identity + spread @ information[date], spread)
        gain = (gain + gain.T) / 2
        mean = mean + gain @ (right[date] - information[date] @ mean)
        spread = gain
        filtered.append((mean, spread))
    means, spreads = [mean], [spread]
    for date in range(len(y) - 2, -1, -1):
        before, own = filtered[date]
        ahead, wide = predicted[date + 1]
        back = torch.linalg.solve(wide, keep[date][:, None] * own).T
        mean = before + back @ (mean - ahead)
        spread = own + back @ (spread - wide) @ back.T
        means.append(mean)
        spreads.append(spread)
    mean, spread = torch.stack(means[::-1]), torch.stack(spreads[::-1])
    return usual + scale * mean, scale[:, None] * spread * scale
