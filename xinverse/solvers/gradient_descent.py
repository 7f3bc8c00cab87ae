r"""Gradient descent with a fixed step, plain or learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xinverse.solvers.base import SOLVERS, DescentSolver
from xinverse.variational import CostGradient

__all__ = ["GradientDescent"]


@SOLVERS.register("gradient-descent")
class GradientDescent(DescentSolver):
    r"""Steps of a fixed length down the gradient.

    .. math:: x^{(k+1)} = x^{(k)} - \alpha_k \nabla_x U(x^{(k)})

    (Fablet, Drumetz and Rousseau 2020, below equation 2). It converges if
    :math:`\alpha` is below 2 over the largest eigenvalue of the cost's Hessian.

    Parameters
    ----------
    step_size : float
        :math:`\alpha`.
    steps : int
        Maximum number of iterations.
    tolerance : float
        Gradient, relative to the first, at which an element stops.
    learned : bool
        Train one :math:`\alpha_k` for each step, as its logarithm, in mode
        ``"unroll"``. Further steps repeat the last one.

    Raises
    ------
    ValueError
        If ``step_size`` is not above zero.
    """

    def __init__(
        self,
        step_size: float,
        steps: int = 1000,
        tolerance: float = 0.0,
        *,
        learned: bool = False,
    ) -> None:
        super().__init__(steps, tolerance)
        if not step_size > 0:
            raise ValueError(f"step_size={step_size}: expected a positive number.")
        count = steps if learned else 1
        logarithms = torch.full((count,), float(step_size), dtype=torch.float64).log()
        self.log_step = nn.Parameter(logarithms, requires_grad=learned)

    def step(
        self, number: int, x: Tensor, gradient: CostGradient, carried: Any
    ) -> tuple[Tensor, Any]:
        """Minus the gradient, times the length of this step."""
        length = self.log_step[min(number, len(self.log_step) - 1)].exp()
        return -length.to(x.dtype) * gradient.total, carried
