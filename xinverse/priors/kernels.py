r"""Correlation functions of one distance.

Each takes a distance :math:`d \ge 0` and a scale :math:`L` in the same unit. It is 1
at zero distance and a valid covariance: in the plane, or in one dimension for the
kernels in time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["SPACE_KERNELS", "TIME_KERNELS", "Kernel", "envelope", "reach"]

Kernel = Callable[[Tensor, float], Tensor]

# First zero of (1 + r + r^2/6 - r^3/6) exp(-r): makes the scale the zero crossing.
_ZERO_CROSSING = 3.3369


def gaussian(distance: Tensor, scale: float) -> Tensor:
    r"""Gaussian, :math:`\exp(-d^2 / L^2)` (the altimetry convention, without the half)."""
    return torch.exp(-((distance / scale) ** 2))


def exponential(distance: Tensor, scale: float) -> Tensor:
    r"""Exponential or Matérn 1/2, :math:`\exp(-d / L)`."""
    return torch.exp(-distance / scale)


def matern32(distance: Tensor, scale: float) -> Tensor:
    r"""Matérn 3/2, :math:`(1 + r) e^{-r}` with :math:`r = \sqrt 3 d / L`."""
    r = 3**0.5 * distance / scale
    return (1 + r) * torch.exp(-r)


def matern52(distance: Tensor, scale: float) -> Tensor:
    r"""Matérn 5/2, :math:`(1 + r + r^2/3) e^{-r}` with :math:`r = \sqrt 5 d / L`."""
    r = 5**0.5 * distance / scale
    return (1 + r + r**2 / 3) * torch.exp(-r)


def arhan_colin(distance: Tensor, scale: float) -> Tensor:
    r"""Arhan and Colin de Verdière (1985), :math:`(1 + r + r^2/6 - r^3/6) e^{-r}`.

    With :math:`r = 3.337 d / L`: L is the first zero crossing, as in the mapping
    of altimetry (Ducet et al. 2000).
    """
    r = _ZERO_CROSSING * distance / scale
    return (1 + r + r**2 / 6 - r**3 / 6) * torch.exp(-r)


SPACE_KERNELS: dict[str, Kernel] = {
    "gaussian": gaussian,
    "matern12": exponential,
    "matern32": matern32,
    "matern52": matern52,
    "arhan-colin": arhan_colin,
}
TIME_KERNELS: dict[str, Kernel] = {"gaussian": gaussian, "exponential": exponential}


def reach(kernel: Kernel, below: float, unit: float = 0.01, farthest: float = 60.0) -> float:
    """Distance, in scales, beyond which the correlation stays below ``below``."""
    distance = torch.arange(0, farthest, unit, dtype=torch.float64)
    above = torch.nonzero(kernel(distance, 1.0).abs() >= below)
    return float(distance[int(above.max())]) + unit


def envelope(kernel: Kernel, distance: Tensor, scale: float) -> Tensor:
    """Largest absolute correlation at a distance or beyond it.

    A correlation that crosses zero is small at the crossing and larger again beyond.
    """
    unit, farthest = 0.01, 60.0
    steps = torch.arange(0, farthest, unit, dtype=distance.dtype, device=distance.device)
    bound = kernel(steps, 1.0).abs().flip(0).cummax(0).values.flip(0)
    index = (distance / (scale * unit)).floor().clamp(max=len(steps) - 1)
    return bound[index.long()]
