r"""A factor of a covariance that is separable in (time, y, x), and products with it.

.. math:: B = F F^\top, \qquad F = \sigma \, F_t \otimes F_y \otimes F_x
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Factors", "along_axes"]


class Factors(NamedTuple):
    r"""Three matrices and a scale, which together are :math:`F`.

    Attributes
    ----------
    t, y, x : Tensor
        :math:`F_t`, ``(nt, rt)``, and likewise along y and x. A row belongs to
        a cell, a column to a mode.
    variance : float
        :math:`\sigma^2`.
    """

    t: Tensor
    y: Tensor
    x: Tensor
    variance: float

    @property
    def mode_variance(self) -> Tensor:
        r"""Diagonal of :math:`F^\top F`: the variance of each mode, ``(rt, ry, rx)``."""
        t, y, x = (f.square().sum(0) for f in (self.t, self.y, self.x))
        return self.variance * t[:, None, None] * y[:, None] * x

    def to_modes(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`F^\top S^\top v`, modes ``(batch, rt, ry, rx)`` of values at cells.

        The field that holds the values is never built: a product of m values
        costs O(m rx) + O(nt ny rx ry).
        """
        nt, ny = len(self.t), len(self.y)
        row = cells[:, 0] * ny + cells[:, 1]
        rows = torch.arange(len(v), device=row.device)[:, None] * (nt * ny) + row
        at_x = self.x[cells[:, 2]]
        lines = v.new_zeros(len(v) * nt * ny, at_x.shape[1])
        lines = lines.index_add_(0, rows.flatten(), (v[..., None] * at_x).flatten(0, 1))
        lines = lines.unflatten(0, (len(v), nt, ny))
        modes = torch.einsum("yr,btyk->btrk", self.y, lines)
        return math.sqrt(self.variance) * torch.einsum("ts,btrk->bsrk", self.t, modes)

    def from_modes(self, modes: Tensor, cells: Tensor | None = None) -> Tensor:
        r""":math:`F z` on the grid, or :math:`S F z` ``(batch, m)`` at cells."""
        modes = torch.einsum("ts,bsrk->btrk", self.t, modes)
        lines = math.sqrt(self.variance) * torch.einsum("yr,btrk->btyk", self.y, modes)
        if cells is None:
            return lines @ self.x.T
        row = cells[:, 0] * len(self.y) + cells[:, 1]
        at_x = self.x[cells[:, 2]]
        return torch.stack([(line[row] * at_x).sum(1) for line in lines.flatten(1, 2)])

    def field_to_modes(self, field: Tensor) -> Tensor:
        r""":math:`F^\top x`, modes ``(batch, rt, ry, rx)`` of fields on the whole grid."""
        return math.sqrt(self.variance) * along_axes(field, self.t.T, self.y.T, self.x.T)


def along_axes(field: Tensor, t: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Apply one matrix along each axis of fields ``(batch, time, y, x)``."""
    field = torch.einsum("ts,bsyx->btyx", t, field)
    return torch.einsum("yr,btrx->btyx", y, field) @ x.T
