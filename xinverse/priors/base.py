r"""What a prior is: a cost :math:`U(x)`, and for some a projection :math:`\Phi`."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from xinverse.local_grid import LocalGrid
from xinverse.registry import Registry

__all__ = ["PRIORS", "Prior", "ProjectionPrior"]


class Prior(nn.Module):
    """What states look like.

    A subclass writes ``cost``, from a state ``(batch, *state)`` to one number for
    each element of the batch. The gradient uses automatic differentiation unless
    the subclass overrides ``cost_and_gradient`` with a cheaper one.

    Attributes
    ----------
    has_prox : bool
        Whether ``prox`` is defined.
    """

    has_prox: bool = False

    @classmethod
    def on(
        cls,
        grid: LocalGrid,  # noqa: ARG003  for subclasses
        sea: Tensor | None = None,  # noqa: ARG003  for subclasses
        **options: Any,
    ) -> Self:
        """Build the prior for a grid.

        The default passes the options to the class. A prior that depends on
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
        Prior
        """
        return cls(**options)

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
            Keep the graph, so that both can be differentiated. Only training
            through a solver needs it.
        """
        with torch.enable_grad():
            # A new tensor: the caller's must not be changed to require a gradient.
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
            Keep the graph, so that the gradient can be differentiated. Only
            training through a solver needs it.

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
    r"""A prior that is defined by a projection onto likely states.

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
