r"""Derivatives of a solution from the equation that it satisfies.

Where :math:`F(x^\star, \theta) = 0`, the implicit function theorem gives

.. math::

    \frac{\partial x^\star}{\partial \theta}
    = - \left( \frac{\partial F}{\partial x} \right)^{-1} \frac{\partial F}{\partial \theta},

so that a gradient :math:`g` with respect to the solution becomes
:math:`- v^\top \partial F / \partial \theta` with :math:`(\partial F / \partial x)^\top v = g`:
one linear system and the graph of one evaluation of F, for any number of
iterations (Bai, Kolter and Koltun 2019; Blondel et al. 2022).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from xinverse.linear_systems import LinearConjugateGradient, Solution
from xinverse.variational import Inversion

__all__ = ["attach", "differentiate_minimum", "linear_tolerance"]

Map = Callable[[Tensor], Tensor]

# Maximum number of iterations of the linear system of a backward pass.
MAX_ITERATIONS = 2000


def differentiate_minimum(inversion: Inversion, solution: Solution, x0: Tensor) -> Solution:
    r"""Make a minimum of the cost differentiable.

    .. math:: \nabla_x U(x^\star; \theta) = 0

    The backward pass solves the linear system of the Hessian by conjugate
    gradients with Hessian-vector products. The gradient reaches the parameters of
    prior and operator, the weights of the cost and the observations. It reaches
    the background on land, where the prior uses land. It does not reach the
    background at sea: the minimum does not depend on it. The remaining gradient
    of the cost is taken as zero, so the result is as accurate as the minimum.

    Parameters
    ----------
    inversion : Inversion
        What was minimised.
    solution : Solution
        The minimum, without a graph.
    x0 : Tensor
        Background, which land keeps.

    Returns
    -------
    Solution
        The same, its state with a graph if grad mode is on.
    """

    def gradient(x: Tensor) -> Tensor:
        return inversion.gradient(x, create_graph=True).total

    def solve(hessian: Map, g: Tensor) -> Solution:
        return LinearConjugateGradient(linear_tolerance(g), MAX_ITERATIONS)(hessian, g)

    if torch.is_grad_enabled():
        solution.state = attach(inversion, solution.state, gradient, solve, x0)
    return solution


def linear_tolerance(like: Tensor) -> float:
    """Relative residual to which the linear system of a backward pass is solved."""
    return max(1e-10, 10 * torch.finfo(like.dtype).eps)


def attach(
    inversion: Inversion,
    state: Tensor,
    equation: Map,
    solve: Callable[[Map, Tensor], Solution],
    x0: Tensor,
) -> Tensor:
    r"""Give a solution the graph of the equation that it satisfies.

    Parameters
    ----------
    inversion : Inversion
        Its sea is where the equation holds.
    state : Tensor
        :math:`x^\star`, without a graph.
    equation : callable
        F of a state, with its graph.
    solve : callable
        Takes the map :math:`v \mapsto (\partial F / \partial x)^\top v` and
        :math:`g`, zero on land; returns v.
    x0 : Tensor
        Background, which land keeps.

    Returns
    -------
    Tensor
        Equal to the state.
    """
    sea = inversion.sea
    with torch.enable_grad():
        free = state.detach().requires_grad_()
        whole = free if sea is None else torch.where(sea, free, x0)
        left = inversion.at_sea(equation(whole))

        def transposed(v: Tensor) -> Tensor:
            return torch.autograd.grad(left, free, v, retain_graph=True)[0]

        def backward(g: Tensor) -> Tensor:
            solution = solve(transposed, g)
            if not solution.converged:
                warnings.warn(
                    "The gradient of a solution did not converge: the relative residual is "
                    f"{solution.history[-1]:.1e} after {solution.iterations} iterations. "
                    "Converge the solver further, or use mode='unroll'.",
                    RuntimeWarning,
                    stacklevel=2,
                )
            return solution.state

        attached = _Implicit.apply(left, state, backward)
        return attached if sea is None else torch.where(sea, attached, x0)


class _Implicit(torch.autograd.Function):
    """A solution that depends on whatever its equation depends on."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, state: Tensor, solve: Map) -> Tensor:  # noqa: ARG004
        ctx.solve = solve
        return state.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return -ctx.solve(gradients[0]), None, None
