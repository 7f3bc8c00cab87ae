"""What an observation operator is."""

from __future__ import annotations

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


OPERATORS: Registry[type[Operator]] = Registry("operator")
