r"""What a solver is: :math:`\hat x = \Gamma(U, x^{(0)})`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from xinverse.linear_systems import Solution
from xinverse.operators.base import Operator
from xinverse.registry import Registry

if TYPE_CHECKING:  # a solver takes any cost; only the type is named here
    from xinverse.variational import CostGradient, VariationalCost

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
    r"""A solver that takes any variational cost from a background.

    A subclass writes ``run``, and sees there only two of the three modes. The
    third, ``"implicit"``, runs it without a graph and differentiates the
    equation that its solution satisfies: by default that it is a minimum. Each
    element of the batch goes its own way: what another one does, or when it
    stops, changes nothing.

    Parameters
    ----------
    steps : int
        Iterations, at most.
    tolerance : float
        Where an element stops; zero runs all the steps.

    Attributes
    ----------
    minimises : bool
        Whether the solution is a minimum of the cost.
    """

    minimises: bool = True

    def __init__(self, steps: int, tolerance: float = 0.0) -> None:
        super().__init__()
        if steps < 0:
            raise ValueError(f"steps={steps}: expected no iterations, or some.")
        if not tolerance >= 0:
            raise ValueError(
                f"tolerance={tolerance}: expected a positive number, or 0 to run all the steps."
            )
        self.steps = steps
        self.tolerance = tolerance

    def forward(
        self,
        cost: VariationalCost,
        x0: Tensor,
        y: Tensor,
        operator: Operator,
        *,
        sea: Tensor | None = None,
        steps: int | None = None,
        mode: Mode = "iterate",
        callback: Callback | None = None,
    ) -> Solution:
        """Find the solution from a background.

        Parameters
        ----------
        cost : VariationalCost
            What is minimised.
        x0 : Tensor
            Background, ``(batch, *state)``.
        y : Tensor
            Observation, zero where nothing was observed.
        operator : Operator
            H.
        sea : Tensor, optional
            Boolean, broadcasting to the state; land stays where the background is.
        steps : int, optional
            Iterations, where they are not those of the solver.
        mode : {"iterate", "unroll", "implicit"}
            ``"iterate"`` keeps no graph. ``"unroll"`` keeps that of every step,
            so that prior and solver can be learned through them. ``"implicit"``
            differentiates the solution itself, at the memory of one step.
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
            A mode that does not exist, or that this solver does not have.
        """
        if mode not in get_args(Mode):
            raise ValueError(
                f"mode={mode!r}: expected one of {', '.join(map(repr, get_args(Mode)))}."
            )
        count = self.steps if steps is None else steps
        if mode == "implicit":
            return self.differentiate(
                cost, x0, y, operator, sea=sea, steps=count, callback=callback
            )
        unroll = mode == "unroll"
        with torch.set_grad_enabled(unroll):
            return self.run(
                cost, x0, y, operator, sea=sea, steps=count, unroll=unroll, callback=callback
            )

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
        """Iterate, with the graph of every step where ``unroll`` is True.

        Grad mode is on or off accordingly; the arguments are those of ``forward``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define run(...).")

    def differentiate(
        self,
        cost: VariationalCost,
        x0: Tensor,
        y: Tensor,
        operator: Operator,
        *,
        sea: Tensor | None,
        steps: int,
        callback: Callback | None,
    ) -> Solution:
        """Iterate without a graph, then attach that of the equation of the solution."""
        from xinverse.solvers.implicit import differentiate_minimum

        return differentiate_minimum(
            self, cost, x0, y, operator, sea=sea, steps=steps, callback=callback
        )


class DescentSolver(VariationalSolver):
    r"""A solver that goes down the gradient of the variational cost, step by step.

    A subclass writes ``step``, and ``begin`` where it keeps something from one
    step to the next. The history of its solutions is the cost.

    Parameters
    ----------
    steps : int
        Iterations, at most.
    tolerance : float
        An element stops where its gradient is this small beside the first one,
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
            Of the step, from 0.
        x : Tensor
            State, ``(batch, *state)``.
        gradient : CostGradient
            The cost and its gradient there.
        carried : Any
            From the step before.

        Returns
        -------
        change : Tensor
            What is added to the state.
        carried : Any
            For the next step.
        """
        raise NotImplementedError(f"{type(self).__name__} must define step(...).")

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
        """Descend, with the graph of every step where ``unroll`` is True."""
        active: Tensor | None = None
        first: Tensor | None = None
        values: list[Tensor] = []
        taken = 0
        x = x0
        carried = self.begin(x0, operator)
        for number in range(steps):
            gradient = cost.gradient(x, y, operator, create_graph=unroll)
            values.append(gradient.value.detach())
            if callback is not None:
                callback(number, x.detach(), values[-1])
            if self.tolerance > 0:
                size = norm(at_sea(gradient.total.detach(), sea))
                first = size if first is None else first
                moving = ~(size <= self.tolerance * first)  # nor is NaN at rest
                active = moving if active is None else active & moving
                if not bool(active.any()):
                    break
            change, carried = self.step(number, x, gradient, carried)
            change = at_sea(change, sea)
            x = x + (change if active is None else torch.where(active, change, 0.0))
            taken += 1
        if callback is not None and taken == steps:
            callback(taken, x.detach(), cost(x, y, operator).detach())
        converged = self.tolerance == 0 or (active is not None and not bool(active.any()))
        return Solution(x, taken, converged, means(values))


def at_sea(change: Tensor, sea: Tensor | None) -> Tensor:
    """What changes at sea; nothing does on land."""
    return change if sea is None else torch.where(sea, change, 0.0)


def norm(x: Tensor) -> Tensor:
    """Length of each element of the batch, shaped to broadcast."""
    return x.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))


def means(values: list[Tensor]) -> list[float]:
    """A history: the mean over the batch of what was noted at each iteration."""
    return torch.stack(values).mean(1).tolist() if values else []


SOLVERS: Registry[type[Solver]] = Registry("solver")
