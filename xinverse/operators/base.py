"""What an observation operator is, and one operator after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from xinverse.local_grid import LocalGrid
from xinverse.registry import Registry

__all__ = ["OPERATORS", "Composition", "Operator"]


class Operator(nn.Module):
    r"""How the state is observed: :math:`y = H(x)`.

    A subclass writes ``forward``, which takes a state ``(batch, *state)`` and
    returns an observation ``(batch, *observation)``. The adjoint uses automatic
    differentiation unless the subclass defines a cheaper one.

    Attributes
    ----------
    linear : bool
        Whether :math:`H` is linear; its adjoint then does not depend on the state.
    """

    linear: bool = True

    @classmethod
    def on(
        cls,
        grid: LocalGrid,  # noqa: ARG003  for subclasses
        sea: Tensor | None = None,  # noqa: ARG003  for subclasses
        **options: Any,
    ) -> Self:
        """Build the operator for a grid.

        The default passes the options to the class. An operator that depends on
        distances, or on land, overrides it and uses the grid for arguments that
        are not among the options.

        Parameters
        ----------
        grid : LocalGrid
            Cells of the state, in days and kilometres.
        sea : Tensor, optional
            Boolean, ``(ny, nx)``, False on land. Default: no land.
        **options
            Arguments of the class, or those of its own ``on``.

        Returns
        -------
        Operator
        """
        return cls(**options)

    def adjoint(self, y: Tensor, state: Tensor) -> Tensor:
        r"""Apply :math:`(\partial H / \partial x)^\top` to an observation.

        Parameters
        ----------
        y : Tensor
            Observation, ``(batch, *observation)``.
        state : Tensor
            Where the derivative is taken; a linear operator needs only its shape.

        Returns
        -------
        Tensor
            Of the shape of the state.
        """
        with torch.enable_grad():
            x = state if state.requires_grad else state.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(
                self(x), x, y, create_graph=torch.is_grad_enabled() and y.requires_grad
            )
        return gradient

    def linearise(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        r"""H(x) and the adjoint of its derivative at x, from one evaluation.

        Parameters
        ----------
        x : Tensor
            ``(batch, *state)``.

        Returns
        -------
        seen : Tensor
            :math:`H(x)`.
        adjoint : callable
            Applies :math:`(\partial H / \partial x)^\top`, once.
        """
        if self.linear or torch.is_grad_enabled():
            return self(x), lambda y: self.adjoint(y, x)
        with torch.enable_grad():
            state = x.detach().requires_grad_()
            seen = self(state)
        return seen.detach(), lambda y: torch.autograd.grad(seen, state, y)[0]

    def __matmul__(self, inner: Operator) -> Operator:
        """``outer @ inner``: this operator applied to the result of another one."""
        if not isinstance(inner, Operator):
            return NotImplemented
        return Composition(self, inner)


OPERATORS: Registry[type[Operator]] = Registry("operator")


@OPERATORS.register("composition")
class Composition(Operator):
    r"""One operator applied to the result of another: ``outer @ inner``.

    .. math::

        H(x) = H_2(H_1(x)), \qquad
        \left( \frac{\partial H}{\partial x} \right)^\top y =
        \left( \frac{\partial H_1}{\partial x} \right)^\top
        \left( \frac{\partial H_2}{\partial x_1} \right)^\top y
        \quad \text{at } x_1 = H_1(x)

    Parameters
    ----------
    outer, inner : Operator
        :math:`H_2` and :math:`H_1`.

    Attributes
    ----------
    linear : bool
        Whether both are linear.
    """

    def __init__(self, outer: Operator, inner: Operator) -> None:
        super().__init__()
        self.outer = outer
        self.inner = inner
        self.linear = outer.linear and inner.linear

    def forward(self, x: Tensor) -> Tensor:
        """Apply the inner operator, then the outer one."""
        return self.outer(self.inner(x))

    def adjoint(self, y: Tensor, state: Tensor) -> Tensor:
        """Outer adjoint, then inner adjoint."""
        return self.inner.adjoint(self.outer.adjoint(y, self.inner(state)), state)

    def linearise(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """H(x) and the adjoint there, from one evaluation of each operator."""
        between, back = self.inner.linearise(x)
        seen, first = self.outer.linearise(between)
        return seen, lambda y: back(first(y))
