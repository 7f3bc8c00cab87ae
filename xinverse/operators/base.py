"""What an observation operator is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from xinverse.registry import Registry

__all__ = ["OPERATORS", "Operator"]


class Operator(nn.Module):
    r"""How the state is observed: :math:`y = H(x)`.

    A subclass writes ``forward``, which takes a state ``(batch, *state)`` and
    returns an observation ``(batch, *observation)``. The adjoint comes from
    automatic differentiation unless the subclass knows a cheaper one.

    Attributes
    ----------
    linear : bool
        Whether :math:`H` is linear, in which case the adjoint does not depend
        on the state.
    """

    linear: bool = True

    def adjoint(self, y: Tensor, state: Tensor) -> Tensor:
        r"""Apply :math:`(\partial H / \partial x)^\top` to an observation.

        Parameters
        ----------
        y : Tensor
            In the space of the observations.
        state : Tensor
            Where the derivative is taken; a linear operator uses its shape only.

        Returns
        -------
        Tensor
            In the space of the state.
        """
        with torch.enable_grad():
            x = state if state.requires_grad else state.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(
                self(x), x, y, create_graph=torch.is_grad_enabled() and y.requires_grad
            )
        return gradient

    def linearise(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        r"""H(x), and the adjoint of its derivative there, from one evaluation.

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
        """``outer @ inner``: this operator applied to what another one sees."""
        if not isinstance(inner, Operator):
            return NotImplemented
        from xinverse.operators.compose import Composition

        return Composition(self, inner)


OPERATORS: Registry[type[Operator]] = Registry("operator")
