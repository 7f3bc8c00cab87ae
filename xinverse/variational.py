r"""The one idea: the variational cost, and a solver that descends it.

.. math::

    U_\Phi(x, y, \Omega) = \lambda_1 \| y - H(x) \|^2_\Omega + \lambda_2 U(x)

(equation 2 of Fablet, Drumetz and Rousseau 2020).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from xinverse.operators.base import Operator
from xinverse.priors.base import Prior

__all__ = ["CostGradient", "VariationalCost"]


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
        :math:`\lambda_1` and :math:`\lambda_2`. Both are learned, as
        logarithms, where ``learned`` is True.
    learned : bool
        Make the weights parameters.
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
        # Exact where they are given, in the networks' precision where they are learned.
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

        The observation term is written out,
        :math:`2 \lambda_1 H^\top (H(x) - y)`; the prior's is its own. No
        second-order graph is kept unless it is asked for.

        Parameters
        ----------
        x : Tensor
            State, ``(batch, *state)``.
        y : Tensor
            Observation, zero outside the observed domain.
        operator : Operator
            H.
        create_graph : bool
            Keep the graph, to train what the gradient feeds.
        """
        weights = self.log_weights.exp()
        seen, adjoint = operator.linearise(x)
        misfit = seen - y
        observation = 2 * weights[0] * adjoint(misfit)
        prior, slope = self.prior.cost_and_gradient(x, create_graph=create_graph)
        value = weights[0] * misfit.square().flatten(1).sum(1) + weights[1] * prior
        return CostGradient(value, observation, weights[1] * slope)
