r"""The variational cost, and the inverse problem that a solver takes.

.. math::

    U_\Phi(x, y, \Omega) = \lambda_1 \| y - H(x) \|^2_\Omega + \lambda_2 U(x)

(equation 2 of Fablet, Drumetz and Rousseau 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xinverse.operators.base import Operator
from xinverse.priors.base import Prior

__all__ = ["CostGradient", "Inversion", "VariationalCost"]


class CostGradient(NamedTuple):
    """The cost, ``(batch,)``, and the two halves of its gradient, of the state's shape."""

    value: Tensor
    observation: Tensor
    prior: Tensor

    @property
    def total(self) -> Tensor:
        """Gradient of the whole cost."""
        return self.observation + self.prior


class VariationalCost(nn.Module):
    r"""Cost of a state given its observations.

    Both terms are sums over the state, not means, so that the gradient at a
    cell depends on what is near that cell and not on the size of the tile.

    Parameters
    ----------
    prior : Prior
        :math:`U`.
    observation_weight, prior_weight : float
        :math:`\lambda_1` and :math:`\lambda_2`.
    learned : bool
        Train both weights, as logarithms.
    """

    def __init__(
        self,
        prior: Prior,
        observation_weight: float = 1.0,
        prior_weight: float = 1.0,
        *,
        learned: bool = False,
    ) -> None:
        super().__init__()
        self.prior = prior
        # Given weights stay exact; learned ones have the networks' precision.
        precision = torch.float32 if learned else torch.float64
        weights = torch.tensor([observation_weight, prior_weight], dtype=precision).log()
        self.log_weights = nn.Parameter(weights, requires_grad=learned)

    def forward(self, x: Tensor, y: Tensor, operator: Operator) -> Tensor:
        """Cost of each state of the batch, shape ``(batch,)``."""
        weights = self.log_weights.exp()
        misfit = (y - operator(x)).square().flatten(1).sum(1)
        return weights[0] * misfit + weights[1] * self.prior.cost(x)

    def gradient(
        self, x: Tensor, y: Tensor, operator: Operator, *, create_graph: bool = False
    ) -> CostGradient:
        r"""Cost, and its gradient with respect to the state.

        The observation term is :math:`2 \lambda_1 H^\top (H(x) - y)`; the prior
        computes its own.

        Parameters
        ----------
        x : Tensor
            State, ``(batch, *state)``.
        y : Tensor
            Observation, zero outside the observed domain.
        operator : Operator
            H.
        create_graph : bool
            Keep the graph, so that the gradient can be differentiated.
        """
        weights = self.log_weights.exp()
        seen, adjoint = operator.linearise(x)
        misfit = seen - y
        observation = 2 * weights[0] * adjoint(misfit)
        prior, slope = self.prior.cost_and_gradient(x, create_graph=create_graph)
        value = weights[0] * misfit.square().flatten(1).sum(1) + weights[1] * prior
        return CostGradient(value, observation, weights[1] * slope)

    def weights(self, x: Tensor, operator: Operator) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        r"""Weights :math:`\lambda_1, \lambda_2` of the squared misfit and of the prior's cost.

        Parameters
        ----------
        x : Tensor
            State, ``(batch, *state)``. Here the weights do not depend on it, nor on
            the operator.
        operator : Operator
            H.

        Returns
        -------
        tuple of Tensor
            Two numbers, or ``(batch,)`` each.
        """
        weights = self.log_weights.exp()
        return weights[0], weights[1]


@dataclass(frozen=True, eq=False)
class Inversion:
    r"""One inverse problem: what a solver minimises.

    .. math:: \lambda_1 \| y - H(x) \|^2_\Omega + \lambda_2 U(x)

    Attributes
    ----------
    cost : VariationalCost
        The prior U and both weights.
    y : Tensor
        Observations, ``(batch, *observation)``, zero outside the observed domain.
    operator : Operator
        H.
    sea : Tensor, optional
        Boolean, broadcasting to the state. Land keeps its background. Default:
        no land.
    """

    cost: VariationalCost
    y: Tensor
    operator: Operator
    sea: Tensor | None = None

    def value(self, x: Tensor) -> Tensor:
        """Cost of each state of ``(batch, *state)``, shape ``(batch,)``."""
        value: Tensor = self.cost(x, self.y, self.operator)
        return value

    def gradient(self, x: Tensor, *, create_graph: bool = False) -> CostGradient:
        """Cost and its gradient, land included; see `VariationalCost.gradient`."""
        return self.cost.gradient(x, self.y, self.operator, create_graph=create_graph)

    def prox(self, x: Tensor, tau: float | Tensor) -> Tensor:
        r"""Proximal operator of the prior's term, :math:`\tau \lambda_2 U`.

        Parameters
        ----------
        x : Tensor
            State, ``(batch, *state)``.
        tau : float or Tensor
            :math:`\tau`, positive; a tensor holds one for each element of the batch.

        Raises
        ------
        ValueError
            The prior has no proximal operator.
        """
        prior = self.cost.prior
        if not prior.has_prox:
            raise ValueError(
                f"{type(prior).__name__} has no proximal operator: use a prior with "
                "has_prox=True, or a solver that follows the gradient, such as 'lbfgs'."
            )
        return prior.prox(x, tau * self.cost.weights(x, self.operator)[1].to(x.dtype))

    def at_sea(self, v: Tensor) -> Tensor:
        """``v`` at sea, zero on land."""
        return v if self.sea is None else torch.where(self.sea, v, 0.0)

    def replace(self, **changes: Any) -> Inversion:
        """A copy with some attributes changed."""
        return replace(self, **changes)
