r"""A model of the dynamics as a prior."""

from __future__ import annotations

import torch
from torch import Tensor

from xinverse.dynamics.base import Dynamics
from xinverse.priors.base import PRIORS, ProjectionPrior

__all__ = ["DynamicsPrior"]


@PRIORS.register("dynamics")
class DynamicsPrior(ProjectionPrior):
    r"""Each state follows from the previous one by a model.

    .. math::

        \Phi(x)(t + \Delta) = \phi_\Delta(x(t)), \qquad
        U(x) = \sum_t \| x(t + \Delta) - \phi_\Delta(x(t)) \|^2

    (section 3.1 of Fablet, Drumetz and Rousseau 2020; the model term of
    weak-constraint 4DVar, Trémolet 2006). The first state of a window is its own
    projection.

    Parameters
    ----------
    model : Dynamics
        A known model or a learned one. A time step is a residual network with one
        layer for each stage of the scheme.
    dt : float
        :math:`\Delta`, in the model's unit of time.
    substeps : int
        Time steps of the model in :math:`\Delta`.

    Notes
    -----
    States are ``(batch, time, *state)``. All times are stepped in parallel.
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
        """Sum of the squared distances of states from their forecasts, shape ``(batch,)``."""
        return (x[:, 1:] - self._next(x)).square().flatten(1).sum(1)
