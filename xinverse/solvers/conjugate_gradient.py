r"""The minimum of a quadratic cost, by conjugate gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from xinverse.linear_systems import LinearConjugateGradient
from xinverse.operators.base import Operator
from xinverse.solvers.base import (
    SOLVERS,
    Callback,
    Solution,
    VariationalSolver,
    at_sea,
    norm,
)

if TYPE_CHECKING:
    from xinverse.variational import VariationalCost

__all__ = ["ConjugateGradient"]

# How far the gradient at the solution may be from what the iterations made of it, beside
# the first gradient: rounding is far below, and a cost that is not quadratic far above.
CURVED = 1e-2


@SOLVERS.register("conjugate-gradient")
class ConjugateGradient(VariationalSolver):
    r"""Conjugate gradient on the normal equations of a quadratic cost.

    .. math::

        A (x - x^{(0)}) = - \nabla U(x^{(0)}), \qquad A v = \nabla U(v) - \nabla U(0)

    (Hestenes and Stiefel 1952), which asks for a linear operator and a prior
    whose cost is quadratic. In exact arithmetic it takes as many iterations as A
    has distinct eigenvalues, and in practice about the root of their ratio. The
    history is the largest relative residual of the batch.

    Parameters
    ----------
    steps : int
        Iterations, at most.
    tolerance : float
        An element stops where its gradient is this small beside the first one,
        :math:`\| \nabla U(x^{(k)}) \| \le` ``tolerance``
        :math:`\| \nabla U(x^{(0)}) \|`, in the norm of the preconditioner.
    preconditioner : callable, optional
        Applies an approximate inverse of A, symmetric and positive definite, to
        ``(batch, *state)``: the covariance of a Gaussian prior, its ``matvec``.
    """

    def __init__(
        self,
        steps: int = 1000,
        tolerance: float = 1e-6,
        *,
        preconditioner: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(steps, tolerance)
        self.preconditioner = preconditioner

    def run(
        self,
        cost: VariationalCost,
        x0: Tensor,
        y: Tensor,
        operator: Operator,
        *,
        sea: Tensor | None,
        steps: int,
        unroll: bool,
        callback: Callback | None,
    ) -> Solution:
        """Solve the system for the change of the background."""
        if not operator.linear:
            raise ValueError(
                f"{type(operator).__name__} is not linear, so that the cost is not quadratic: "
                "the conjugate gradient expects a linear operator. Use 'lbfgs'."
            )
        # Without observations, so that their part does not drown that of a small change.
        nothing = torch.zeros_like(y)

        def gradient(x: Tensor, y: Tensor) -> Tensor:
            total = cost.gradient(x, y, operator, create_graph=unroll).total
            return at_sea(total, sea)

        at_zero = gradient(torch.zeros_like(x0), nothing)

        def hessian(v: Tensor) -> Tensor:
            return gradient(v, nothing) - at_zero

        def precondition(v: Tensor) -> Tensor:
            return v if self.preconditioner is None else at_sea(self.preconditioner(v), sea)

        def watch(iteration: int, change: Tensor) -> None:
            if callback is not None:
                with torch.no_grad():
                    state = x0.detach() + change.detach()
                    callback(iteration, state, cost(state, y, operator))

        first = -gradient(x0, y)
        solution = LinearConjugateGradient(self.tolerance, steps)(
            hessian, first, preconditioner=precondition, callback=watch
        )
        state = x0 + solution.state
        with torch.no_grad():
            expected = first - hessian(solution.state)
            found = -at_sea(cost.gradient(state, y, operator).total, sea)
            off = norm(found - expected) / norm(first).clamp(min=torch.finfo(x0.dtype).tiny)
        if not bool((off <= CURVED).all()):
            raise ValueError(
                "The cost is not quadratic: at the solution its gradient is "
                f"{float(off.max()):.1g} of the first one away from that of a linear system. "
                "The conjugate gradient expects a quadratic prior, and this one is "
                f"{type(cost.prior).__name__}: use 'lbfgs'."
            )
        solution.state = state
        return solution
