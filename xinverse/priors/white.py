r"""Independent control variables of unit variance."""

from __future__ import annotations

import torch
from torch import Tensor

from xinverse.priors.base import PRIORS, Prior

__all__ = ["White"]


@PRIORS.register("white")
class White(Prior):
    r"""Independent standard normal variables.

    .. math:: U(v) = \| v \|^2

    With :math:`x = C v` it is a Gaussian prior of covariance :math:`C C^\top`, without
    its inverse (Courtier et al. 1994).

    Notes
    -----
    States are ``(batch, *state)`` of any rank.
    """

    has_prox = True

    def cost(self, x: Tensor) -> Tensor:
        """Sum of squares of each state, shape ``(batch,)``."""
        return x.square().flatten(1).sum(1)

    def cost_and_gradient(
        self, x: Tensor, *, create_graph: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Sum of squares, and twice the state."""
        with torch.set_grad_enabled(create_graph):
            return self.cost(x), 2 * x

    def prox(self, x: Tensor, strength: float | Tensor) -> Tensor:
        r""":math:`x / (1 + 2 \tau)`."""
        tau = torch.as_tensor(strength, dtype=x.dtype, device=x.device)
        return x / (1 + 2 * tau.reshape(-1, *[1] * (x.ndim - 1)))
