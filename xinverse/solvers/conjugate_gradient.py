r"""The minimum of a quadratic cost, by conjugate gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xinverse.linear_systems import LinearConjugateGradient, Solution, norm
from xinverse.solvers.base import SOLVERS, Callback, VariationalSolver
from xinverse.variational import Inversion

__all__ = ["ConjugateGradient"]

# Largest difference between the gradient at the solution and that of the linear system,
# relative to the first gradient. Rounding is far below, a cost that is not quadratic far above.
CURVED = 1e-2


@SOLVERS.register("conjugate-gradient")
class ConjugateGradient(VariationalSolver):
    r"""Conjugate gradient on the normal equations of a quadratic cost.

    .. math::

        A (x - x^{(0)}) = - \nabla U(x^{(0)}), \qquad A v = \nabla U(v) - \nabla U(0)

    (Hestenes and Stiefel 1952). It needs a linear operator and a prior with a
    quadratic cost. In exact arithmetic it takes one iteration for each distinct
    eigenvalue of A; in practice, about the square root of the ratio of the largest
    to the smallest. The history is the largest relative residual of the batch.

    Parameters
    ----------
    steps : int
        Maximum number of iterations.
    tolerance : float
        An element stops when its gradient is this small relative to the first,
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
        inversion: Inversion,
        x0: Tensor,
        *,
        steps: int,
        unroll: bool,
        callback: Callback | None,
    ) -> Solution:
        """Solve the linear system for the change of the background."""
        operator = inversion.operator
        if not operator.linear:
            raise ValueError(
                f"{type(operator).__name__} is not linear, so the cost is not quadratic: "
                "the conjugate gradient expects a linear operator. Use 'lbfgs'."
            )
        # Without observations: their large term would hide that of a small change.
        unobserved = inversion.replace(y=torch.zeros_like(inversion.y))

        def gradient(x: Tensor, problem: Inversion) -> Tensor:
            return inversion.at_sea(problem.gradient(x, create_graph=unroll).total)

        at_zero = gradient(torch.zeros_like(x0), unobserved)

        def hessian(v: Tensor) -> Tensor:
            return gradient(v, unobserved) - at_zero

        def precondition(v: Tensor) -> Tensor:
            return (
                v if self.preconditioner is None else inversion.at_sea(self.preconditioner(v))
            )

        def watch(iteration: int, change: Tensor) -> None:
            if callback is not None:
                with torch.no_grad():
                    state = x0.detach() + change.detach()
                    callback(iteration, state, inversion.value(state))

        first = -gradient(x0, inversion)
        solution = LinearConjugateGradient(self.tolerance, steps)(
            hessian, first, preconditioner=precondition, callback=watch
        )
        state = x0 + solution.state
        with torch.no_grad():
            expected = first - hessian(solution.state)
            found = -inversion.at_sea(inversion.gradient(state).total)
            off = norm(found - expected) / norm(first).clamp(min=torch.finfo(x0.dtype).tiny)
        if not bool((off <= CURVED).all()):
            raise ValueError(
                "The cost is not quadratic: at the solution its gradient is "
                f"{float(off.max()):.1g} of the first one away from that of a linear system. "
                "The conjugate gradient expects a quadratic prior, and this one is "
                f"{type(inversion.cost.prior).__name__}: use 'lbfgs'."
            )
        solution.state = state
        return solution
