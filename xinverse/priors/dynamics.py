r"""The prior that a model of the dynamics makes: tomorrow follows from today."""

from __future__ import annotations

import torch
from torch import Tensor

from xinverse.dynamics.base import Dynamics
from xinverse.priors.base import PRIORS, ProjectionPrior

__all__ = ["DynamicsPrior"]


@PRIORS.register("dynamics")
class DynamicsPrior(ProjectionPrior):
    r"""Each state is the flow of the one before.

    .. math::

        \Phi(x)(t + \Delta) = \phi_\Delta(x(t)), \qquad
        U(x) = \sum_t \| x(t + \Delta) - \phi_\Delta(x(t)) \|^2

    (section 3.1 of Fablet, Drumetz and Rousseau 2020; the model term of
    weak-constraint 4DVar, Trémolet 2006). The first state of a window is its own
    projection: nothing precedes it.

    Parameters
    ----------
    model : Dynamics
        Known, or itself learned. Its step is a residual network of as many
        layers as the scheme has stages.
    dt : float
        :math:`\Delta`, in the model's unit of time.
    substeps : int
        Time steps of the model in :math:`\Delta`.

    Notes
    -----
    States are ``(batch, time, *state)``. All times are stepped at once.
    """

    def __init__(self, model: Dynamics, dt: float, substeps: int = 1) -> None:
        super().__init__()
        self.model = model
        self.dt, self.substeps = float(dt), substeps

    def _next(self, x: Tensor) -> Tensor:
        before = x[:, :-1]
        flown = self.model(before.flatten(0, 1), self.dt / self.substeps, self.substeps)
        return flown.reshape(before.shape)

    def project(self, x: Tensor) -> Tensor:
        r""":math:`\Phi(x)`, of the shape of ``x``."""
        return torch.cat([x[:, :1], self._next(x)], 1)

    def cost(self, x: Tensor) -> Tensor:
        """Squared distance of each state from the flow of the one before, summed."""
        return (x[:, 1:] - self._next(x)).square().flatten(1).sum(1)
