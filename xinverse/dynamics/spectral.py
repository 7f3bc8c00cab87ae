"""Wavenumbers of doubly periodic fields, and interpolation from them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["interpolation_matrix", "two_thirds", "wavenumbers"]


def wavenumbers(shape: tuple[int, int], spacing: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Wavenumbers of ``rfft2`` along y and x, in radians per unit of ``spacing``.

    Returns
    -------
    ell : Tensor
        ``(ny, 1)``.
    k : Tensor
        ``(1, nx // 2 + 1)``.
    """
    (ny, nx), (dy, dx) = shape, spacing
    ell = 2 * math.pi * torch.fft.fftfreq(ny, dy, dtype=torch.float64)[:, None]
    k = 2 * math.pi * torch.fft.rfftfreq(nx, dx, dtype=torch.float64)[None]
    return ell, k


def two_thirds(shape: tuple[int, int]) -> Tensor:
    """Mask of the wavenumbers whose products are free of aliasing (Orszag 1971)."""
    ell = torch.fft.fftfreq(shape[0], dtype=torch.float64)[:, None].abs()
    k = torch.fft.rfftfreq(shape[1], dtype=torch.float64)[None]
    return (ell < 1 / 3) & (k < 1 / 3)


def interpolation_matrix(points: Tensor, size: int, spacing: float) -> Tensor:
    """Trigonometric interpolation from a periodic grid to points; exact at grid points.

    Parameters
    ----------
    points : Tensor
        Positions, ``(m,)``, in the unit of ``spacing``; the grid starts at 0.
    size : int
        Cells of the grid.
    spacing : float
        Grid spacing.

    Returns
    -------
    Tensor
        ``(m, size)``; rows sum to one.
    """
    waves = torch.arange(1, (size - 1) // 2 + 1, dtype=torch.float64)
    offset = points.to(torch.float64)[:, None] / spacing
    offset = offset - torch.arange(size, dtype=torch.float64)
    angle = 2 * math.pi * offset / size
    matrix = 1 + 2 * torch.cos(angle[..., None] * waves).sum(-1)
    if size % 2 == 0:
        matrix = matrix + torch.cos(angle * size / 2)
    return matrix / size
