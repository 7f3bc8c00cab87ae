r"""Gradient descent with moments of the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from xinverse.operators.base import Operator
from xinverse.solvers.base import SOLVERS, DescentSolver
from xinverse.variational import CostGradient

__all__ = ["Adam"]

Moments = tuple[Tensor, Tensor]


@SOLVERS.register("adam")
class Adam(DescentSolver):
    r"""Steps down a running mean of the gradient, over the root of that of its square.

    .. math::

        m_k &= \beta_1 m_{k-1} + (1 - \beta_1) \, g_k, \qquad
        v_k = \beta_2 v_{k-1} + (1 - \beta_2) \, g_k^2, \\
        x^{(k)} &= x^{(k-1)} - \alpha \,
        \frac{m_k / (1 - \beta_1^k)}{\sqrt{v_k / (1 - \beta_2^k)} + \epsilon}

    cell by cell, with :math:`g_k = \nabla_x U(x^{(k-1)})` (algorithm 1 of Kingma
    and Ba 2015). A step is about :math:`\alpha` long in every cell, for any scale
    of the cost: use it for costs that are rough or of unknown scale. It reaches
    the last digits of a minimum slowly, since its steps have a fixed length.

    Parameters
    ----------
    step_size : float
        :math:`\alpha`, in the units of the state.
    steps : int
        Maximum number of iterations.
    tolerance : float
        Gradient, relative to the first, at which an element stops.
    betas : tuple of float
        :math:`\beta_1` and :math:`\beta_2`, from 0 to below 1.
    epsilon : float
        :math:`\epsilon`, in the units of the gradient.
    """

    def __init__(
        self,
        step_size: float = 0.1,
        steps: int = 1000,
        tolerance: float = 0.0,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(steps, tolerance)
        for name, value in (("step_size", step_size), ("epsilon", epsilon)):
            if not value > 0:
                raise ValueError(f"{name}={value}: expected a positive number.")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas={betas}: expected two numbers from 0 to below 1.")
        self.step_size, self.betas, self.epsilon = float(step_size), betas, epsilon

    def begin(self, x: Tensor, operator: Operator) -> Moments:  # noqa: ARG002  only the state
        """Both moments, zero."""
        return torch.zeros_like(x), torch.zeros_like(x)

    def step(
        self,
        number: int,
        x: Tensor,  # noqa: ARG002  only the gradient counts
        gradient: CostGradient,
        carried: Moments,
    ) -> tuple[Tensor, Moments]:
        """Minus the mean gradient over its root mean square."""
        first, second = self.betas
        slope = gradient.total
        mean = first * carried[0] + (1 - first) * slope
        square = second * carried[1] + (1 - second) * slope.square()
        # The root of zero has no derivative, and cells without a gradient have zero.
        moved = square > 0
        root = torch.where(moved, torch.where(moved, square, 1.0).sqrt(), 0.0)
        root = root / (1 - second ** (number + 1)) ** 0.5
        change = mean / (1 - first ** (number + 1)) / (root + self.epsilon)
        return -self.step_size * change, (mean, square)
