"""One operator after another."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from xinverse.operators.base import OPERATORS, Operator

__all__ = ["Composition"]


@OPERATORS.register("composition")
class Composition(Operator):
    r"""An operator applied to what another one sees; ``outer @ inner`` makes it.

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
        Whether both are.
    """

    def __init__(self, outer: Operator, inner: Operator) -> None:
        super().__init__()
        self.outer = outer
        self.inner = inner
        self.linear = outer.linear and inner.linear

    def forward(self, x: Tensor) -> Tensor:
        """Inner, then outer."""
        return self.outer(self.inner(x))

    def adjoint(self, y: Tensor, state: Tensor) -> Tensor:
        """Outer adjoint, then inner adjoint."""
        return self.inner.adjoint(self.outer.adjoint(y, self.inner(state)), state)

    def linearise(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """What is seen, and the adjoint there, from one evaluation of each."""
        between, back = self.inner.linearise(x)
        seen, first = self.outer.linearise(between)
        return seen, lambda y: back(first(y))
