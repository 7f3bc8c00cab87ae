r"""What a solver is: :math:`\hat x = \Gamma(U, x^{(0)})`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from xinverse.linear_systems import Solution, norm
from xinverse.operators.base import Operator
from xinverse.registry import Registry
from xinverse.solvers.implicit import differentiate_minimum
from xinverse.variational import CostGradient, Inversion

__all__ = [
    "SOLVERS",
    "Callback",
    "DescentSolver",
    "Mode",
    "Solution",
    "Solver",
    "VariationalSolver",
]

Mode = Literal["iterate", "unroll", "implicit"]
Callback = Callable[[int, Tensor, Tensor], object]


class Solver(nn.Module):
    """How the minimum of the variational cost is found."""


class VariationalSolver(Solver):
    r"""A solver of any inverse problem, starting from a background.

    A subclass writes ``run``, which handles the modes ``"iterate"`` and
    ``"unroll"``. The mode ``"implicit"`` calls ``run`` without a graph and then
    differentiates the equation that the solution satisfies; by default, that
    the gradient of the cost is zero. Elements of the batch are independent:
    each has its own steps and its own end.

    Parameters
    ----------
    steps : int
        Maximum number of iterations.
    tolerance : float
        Where an element stops; zero runs all the steps.

    Attributes
    ----------
    minimises : bool
        Whether the gradient of the cost is zero at the solution.
    """

    minimises: bool = True

    def __init__(self, steps: int, tolerance: float = 0.0) -> None:
        super().__init__()
        if steps < 0:
            raise ValueError(f"steps={steps}: expected a number of iterations, 0 or more.")
        if not tolerance >= 0:
            raise ValueError(
                f"tolerance={tolerance}: expected a positive number, or 0 to run all the steps."
            )
        self.steps = steps
        self.tolerance = tolerance

    def forward(
        self,
        inversion: Inversion,
        x0: Tensor,
        *,
        steps: int | None = None,
        mode: Mode = "iterate",
        callback: Callback | None = None,
    ) -> Solution:
        """Find the solution from a background.

        Parameters
        ----------
        inversion : Inversion
            Cost, observations, operator and land.
        x0 : Tensor
            Background, ``(batch, *state)``. Land keeps it.
        steps : int, optional
            Maximum number of iterations. Default: the solver's.
        mode : {"iterate", "unroll", "implicit"}
            ``"iterate"`` keeps no graph. ``"unroll"`` keeps the graph of every
            step, to train prior and solver through them. ``"implicit"``
            differentiates the solution itself, with the memory of one step.
        callback : callable, optional
            Called as ``callback(iteration, state, cost)`` before every step and
            after the last, with the cost of each element of the batch.

        Returns
        -------
        Solution
            The state and how it was reached.

        Raises
        ------
        ValueError
            An unknown mode, or one that this solver does not have.
        """
        if mode not in get_args(Mode):
            raise ValueError(
                f"mode={mode!r}: expected one of {', '.join(map(repr, get_args(Mode)))}."
            )
        count = self.steps if steps is None else steps
        if mode == "implicit":
            return self.differentiate(inversion, x0, steps=count, callback=callback)
        unroll = mode == "unroll"
        with torch.set_grad_enabled(unroll):
            return self.run(inversion, x0, steps=count, unroll=unroll, callback=callback)

    def run(
        self,
        inversion: Inversion,
        x0: Tensor,
        *,
        steps: int,
        unroll: bool,
        callback: Callback | None,
    ) -> Solution:
        """Iterate, keeping the graph of every step if ``unroll`` is True.

        Grad mode is set accordingly; the arguments are those of ``forward``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define run(...).")

    def differentiate(
        self,
        inversion: Inversion,
        x0: Tensor,
        *,
        steps: int,
        callback: Callback | None,
    ) -> Solution:
        """Iterate without a graph, then attach that of the equation of the solution.

        Raises
        ------
        ValueError
            The gradient of the cost is not zero at the solutions of this solver.
        """
        if not self.minimises:
            raise ValueError(
                "mode='implicit' differentiates a state where the gradient of the cost is "
                f"zero, and {type(self).__name__} does not return one: use mode='unroll', or a "
                "solver that minimises."
            )
        with torch.no_grad():
            solution = self.run(inversion, x0, steps=steps, unroll=False, callback=callback)
        return differentiate_minimum(inversion, solution, x0)


class DescentSolver(VariationalSolver):
    r"""A solver that follows the gradient of the variational cost, step by step.

    A subclass writes ``step``, and ``begin`` if it carries something from one
    step to the next. The history of its solutions is the cost.

    Parameters
    ----------
    steps : int
        Maximum number of iterations.
    tolerance : float
        An element stops when its gradient is this small relative to the first,
        :math:`\| \nabla U(x^{(k)}) \| \le` ``tolerance``
        :math:`\| \nabla U(x^{(0)}) \|`; zero runs all the steps.
    """

    def begin(self, x: Tensor, operator: Operator) -> Any:  # noqa: ARG002  most need nothing
        """What is carried from one step to the next, before the first."""
        return None

    def step(
        self, number: int, x: Tensor, gradient: CostGradient, carried: Any
    ) -> tuple[Tensor, Any]:
        """Change of the state at a step, and what is carried on.

        Parameters
        ----------
        number : int
            Number of the step, from 0.
        x : Tensor
            State, ``(batch, *state)``.
        gradient : CostGradient
            The cost and its gradient there.
        carried : Any
            From the previous step.

        Returns
        -------
        change : Tensor
            Added to the state.
        carried : Any
            For the next step.
        """
        raise NotImplementedError(f"{type(self).__name__} must define step(...).")

    def run(
        self,
        inversion: Inversion,
        x0: Tensor,
        *,
        steps: int,
        unroll: bool,
        callback: Callback | None,
    ) -> Solution:
        """Descend, keeping the graph of every step if ``unroll`` is True."""
        active: Tensor | None = None
        first: Tensor | None = None
        values: list[Tensor] = []
        taken = 0
        x = x0
        carried = self.begin(x0, inversion.operator)
        for number in range(steps):
            gradient = inversion.gradient(x, create_graph=unroll)
            values.append(gradient.value.detach())
            if callback is not None:
                callback(number, x.detach(), values[-1])
            if self.tolerance > 0:
                size = norm(inversion.at_sea(gradient.total.detach()))
                first = size if first is None else first
                moving = ~(size <= self.tolerance * first)  # NaN has not converged either
                active = moving if active is None else active & moving
                if not bool(active.any()):
                    break
            change, carried = self.step(number, x, gradient, carried)
            change = inversion.at_sea(change)
            x = x + (change if active is None else torch.where(active, change, 0.0))
            taken += 1
        if callback is not None and taken == steps:
            callback(taken, x.detach(), inversion.value(x).detach())
        converged = self.tolerance == 0 or (active is not None and not bool(active.any()))
        return Solution(x, taken, converged, means(values))


def means(values: list[Tensor]) -> list[float]:
    """Mean over the batch of what was recorded at each iteration."""
    return torch.stack(values).mean(1).tolist() if values else []


SOLVERS: Registry[type[Solver]] = Registry("solver")
