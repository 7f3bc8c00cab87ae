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
    comes from automatic differentiation unless the subclass knows a cheaper one
    (and then overrides ``cost_and_gradient``).

    Attributes
    ----------
    has_prox : bool
        Whether ``prox`` is defined.
    """

    has_prox: bool = False

    def cost(self, x: Tensor) -> Tensor:
        """Cost U(x) of each state of the batch, shape ``(batch,)``."""
        raise NotImplementedError(f"{type(self).__name__} must define cost(x).")

    def cost_and_gradient(
        self, x: Tensor, *, create_graph: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Cost of each state, ``(batch,)``, and its gradient, of the shape of ``x``.

        Parameters
        ----------
        x : Tensor
            The state, ``(batch, *state)``.
        create_graph : bool
            Keep the graph, so that both can be differentiated; needed to train
            through a solver, never to apply one.
        """
        with torch.enable_grad():
            # A state of our own: the caller's is never marked as asking for a gradient.
            state = x if create_graph and x.requires_grad else x.detach().requires_grad_()
            cost = self.cost(state)
            (gradient,) = torch.autograd.grad(cost.sum(), state, create_graph=create_graph)
        return (cost if create_graph else cost.detach()), gradient

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
        return self.cost_and_gradient(x, create_graph=create_graph)[1]

    def prox(self, x: Tensor, strength: float | Tensor) -> Tensor:
        r"""Proximal operator of the cost.

        .. math:: \mathrm{prox}_{\tau U}(x) = \arg\min_z \tfrac12 \| z - x \|^2 + \tau U(z)

        Parameters
        ----------
        x : Tensor
            ``(batch, *state)``.
        strength : float or Tensor
            :math:`\tau`, positive; a tensor holds one for each element of the batch.
        """
        raise NotImplementedError(f"{type(self).__name__} has no proximal operator.")


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
