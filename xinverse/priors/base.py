r"""What a prior is: a cost :math:`U(x)`, and a projection :math:`\Phi` where there is one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xinverse.registry import Registry

__all__ = ["PRIORS", "Prior", "ProjectionPrior"]


class Prior(nn.Module):
    """What states look like.

    A subclass writes ``cost``, from a state ``(batch, *state)`` to one number
    per element of the batch, so that no element sees another. The gradient
    comes from automatic differentiation unless the subclass knows a cheaper one.
    """

    def cost(self, x: Tensor) -> Tensor:
        """Cost U(x) of each state of the batch, shape ``(batch,)``."""
        raise NotImplementedError(f"{type(self).__name__} must define cost(x).")

    def gradient(self, x: Tensor, *, create_graph: bool = False) -> Tensor:
        """Gradient of the cost with respect to the state.

        Parameters
        ----------
        x : Tensor
            The state, ``(batch, *state)``.
        create_graph : bool
            Keep the graph, so that the gradient itself can be differentiated;
            needed to train through a solver, never to apply one.

        Returns
        -------
        Tensor
            Of the shape of ``x``.
        """
        with torch.enable_grad():
            # A state of our own: the caller's is never marked as asking for a gradient.
            state = x if create_graph and x.requires_grad else x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(
                self.cost(state).sum(), state, create_graph=create_graph
            )
        return gradient


class ProjectionPrior(Prior):
    r"""A prior that says what a state is by projecting onto such states.

    .. math:: U(x) = \| x - \Phi(x) \|^2

    A subclass writes ``project``.
    """

    def project(self, x: Tensor) -> Tensor:
        r"""The projection :math:`\Phi(x)`, of the shape of ``x``."""
        raise NotImplementedError(f"{type(self).__name__} must define project(x).")

    def cost(self, x: Tensor) -> Tensor:
        """Squared distance of each state from its projection, shape ``(batch,)``."""
        return (x - self.project(x)).square().flatten(1).sum(1)


PRIORS: Registry[type[Prior]] = Registry("prior")
