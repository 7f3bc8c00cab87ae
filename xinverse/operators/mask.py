"""Observations of the state itself, on part of the grid."""

from __future__ import annotations

import torch
from torch import Tensor

from xinverse.operators.base import OPERATORS, Operator

__all__ = ["Mask"]


@OPERATORS.register("mask")
class Mask(Operator):
    r"""Observe the state on the observed domain :math:`\Omega` only.

    .. math:: H(x) = 1_\Omega \, x

    Parameters
    ----------
    observed : Tensor
        Boolean, broadcasting to the state. False on land and in gaps.
    """

    def __init__(self, observed: Tensor) -> None:
        super().__init__()
        self.register_buffer("observed", observed)

    observed: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Zero outside the observed domain; NaN there does not spread."""
        return torch.where(self.observed, x, torch.zeros((), dtype=x.dtype, device=x.device))

    def adjoint(self, y: Tensor, state: Tensor) -> Tensor:  # noqa: ARG002  a mask is its own adjoint
        """Apply the mask again."""
        return self(y)
