r"""Derivatives of a solution by the equation that it satisfies, whatever led to it.

Where :math:`F(x^\star, \theta) = 0`, the implicit function theorem gives

.. math::

    \frac{\partial x^\star}{\partial \theta}
    = - \left( \frac{\partial F}{\partial x} \right)^{-1} \frac{\partial F}{\partial \theta},

so that a gradient :math:`g` with respect to the solution becomes
:math:`- v^\top \partial F / \partial \theta` with :math:`(\partial F / \partial x)^\top v = g`:
one linear system, and the graph of one evaluation of F, however many iterations
were taken (Bai, Kolter and Koltun 2019; Blondel et al. 2022).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from xinverse.linear_systems import LinearConjugateGradient
from xinverse.operators.base import Operator
from xinverse.solvers.base import Callback, Solution, VariationalSolver, at_sea

if TYPE_CHECKING:
    from xinverse.variational import VariationalCost

__all__ = ["attach", "differentiate_minimum", "linear_tolerance"]

Map = Callable[[Tensor], Tensor]

# Iterations of the linear system of a backward pass, at most.
MAX_ITERATIONS = 2000


def differentiate_minimum(
    solver: VariationalSolver,
    cost: VariationalCost,
    x0: Tensor,
    y: Tensor,
    operator: Operator,
    *,
    sea: Tensor | None,
    steps: int,
    callback: Callback | None,
) -> Solution:
    r"""Solve without a graph, and differentiate the minimum.

    .. math:: \nabla_x U(x^\star; \theta) = 0

    The linear system of the backward pass is that of the Hessian, solved by
    conjugate gradient with Hessian-vector products. The gradient reaches the
    parameters of prior and operator, the weights of the cost, the observations
    and, by what the prior makes of its coast, the background on land. It does
    not reach the background at sea: the minimum forgets where the search began.
    It is as good as the minimum is: what is left of the gradient of the cost is
    taken for zero.

    Parameters
    ----------
    solver : VariationalSolver
        How the minimum is found.
    cost, x0, y, operator, sea, steps, callback
        As solvers take them.

    Returns
    -------
    Solution
        That of the solver, its state with a graph.

    Raises
    ------
    ValueError
        The solver does not minimise the cost.
    """
    if not solver.minimises:
        raise ValueError(
            f"mode='implicit' differentiates the minimum of the cost, and what "
            f"{type(solver).__name__} returns is none: use mode='unroll', or a solver that "
            "minimises."
        )

    def gradient(x: Tensor) -> Tensor:
        return cost.gradient(x, y, operator, create_graph=True).total

    def solve(hessian: Map, g: Tensor) -> Solution:
        return LinearConjugateGradient(linear_tolerance(g), MAX_ITERATIONS)(hessian, g)

    with torch.no_grad():
        solution = solver.run(
            cost, x0, y, operator, sea=sea, steps=steps, unroll=False, callback=callback
        )
    if torch.is_grad_enabled():
        solution.state = attach(solution.state, gradient, solve, x0, sea)
    return solution


def linear_tolerance(like: Tensor) -> float:
    """Relative residual that the linear system of a backward pass is solved to."""
    return max(1e-10, 10 * torch.finfo(like.dtype).eps)


def attach(
    state: Tensor,
    equation: Map,
    solve: Callable[[Map, Tensor], Solution],
    x0: Tensor,
    sea: Tensor | None,
) -> Tensor:
    r"""Give a solution the graph of the equation that it satisfies.

    Parameters
    ----------
    state : Tensor
        :math:`x^\star`, without a graph.
    equation : callable
        F, of a state, with its graph.
    solve : callable
        Takes the map :math:`v \mapsto (\partial F / \partial x)^\top v` and
        :math:`g`, zero on land; returns v.
    x0 : Tensor
        Background, which land keeps.
    sea : Tensor, optional
        Where the equation holds; on land there is none to satisfy.

    Returns
    -------
    Tensor
        Equal to the state.
    """
    with torch.enable_grad():
        free = state.detach().requires_grad_()
        whole = free if sea is None else torch.where(sea, free, x0)
        left = at_sea(equation(whole), sea)

        def transposed(v: Tensor) -> Tensor:
            return torch.autograd.grad(left, free, v, retain_graph=True)[0]

        def backward(g: Tensor) -> Tensor:
            solution = solve(transposed, g)
            if not solution.converged:
                warnings.warn(
                    "The gradient of a solution was not solved for: the relative residual is "
                    f"{solution.history[-1]:.1e} after {solution.iterations} iterations. "
                    "Converge the solver further, or use mode='unroll'.",
                    RuntimeWarning,
                    stacklevel=2,
                )
            return solution.state

        attached = _Implicit.apply(left, state, backward)
        return attached if sea is None else torch.where(sea, attached, x0)


class _Implicit(torch.autograd.Function):
    """A solution that depends on what its equation depends on."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, state: Tensor, solve: Map) -> Tensor:  # noqa: ARG004
        ctx.solve = solve
        return state.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return -ctx.solve(gradients[0]), None, None
