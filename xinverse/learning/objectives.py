r"""Objectives of training: with a truth, with withheld observations, with neither.

All are relative to the background, so that calm and turbulent oceans have equal weight.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor

from xinverse.learning.batch import Batch
from xinverse.learning.loop import Objective
from xinverse.learning.losses import background_loss
from xinverse.learning.networks import FourDVarNet, WindowNetwork

__all__ = ["OBJECTIVES", "objective_of", "self_supervised", "supervised", "unsupervised"]


def supervised(
    model: WindowNetwork, batch: Batch, steps: int, *, gradient: float = 0.3
) -> Tensor:
    """Errors of the field, of its gradient and of the projections: `background_loss`."""
    estimate = _estimate(model, batch, steps)
    return background_loss(
        model,
        estimate,
        batch.truth,
        batch.background,
        counted=batch.counted,
        gradient=gradient,
    )


def self_supervised(model: WindowNetwork, batch: Batch, steps: int) -> Tensor:
    r"""Error at withheld observations, over that of the background.

    .. math:: \frac{\sum_{\Omega'} (\tilde x - y)^2}{\sum_{\Omega'} (x^{(0)} - y)^2}

    with :math:`\Omega'` the withheld observations, summed over the batch and weighted by the
    taper of the window. Both sums contain the noise of the observations.
    """
    estimate = _estimate(model, batch, steps)
    counted = torch.ones_like(batch.observed) if batch.counted is None else batch.counted
    weight = counted * model.taper(estimate)[:, None, None]
    error, reference = (
        (weight * (x - torch.where(counted, batch.truth, x)).square()).sum()
        for x in (estimate, batch.background)
    )
    return error / reference.clamp(min=1e-6)


def unsupervised(model: WindowNetwork, batch: Batch, steps: int) -> Tensor:
    r"""Variational cost of the estimate over that of the background.

    .. math::
        \frac{U_\Phi(\tilde x, y, \Omega)}{U_\Phi(x^{(0)}, y, \Omega)}

    (equation 2 of Fablet, Drumetz and Rousseau 2020). Only the solver can be trained
    with it: a free prior would make the cost small by accepting every state.
    """
    estimate = _estimate(model, batch, steps)
    net = cast(FourDVarNet, model)  # the caller requires a cost
    y, operator = net.observations(batch.y, batch.observed, batch.noise)
    with torch.no_grad():
        reference = net.cost(batch.background, y, operator)
    return (net.cost(estimate, y, operator) / reference.clamp(min=1e-6)).mean()


def _estimate(model: WindowNetwork, batch: Batch, steps: int) -> Tensor:
    return model.reconstruct(
        batch.background,
        batch.y,
        batch.observed,
        noise=batch.noise,
        sea=batch.sea,
        steps=steps,
        mode="unroll",
    )


OBJECTIVES: dict[str, Callable[[WindowNetwork, Batch, int], Tensor]] = {
    "supervised": supervised,
    "self-supervised": self_supervised,
    "unsupervised": unsupervised,
}


def objective_of(loss: str, gradient: float) -> Objective[WindowNetwork, Batch]:
    """Find an objective by name.

    Parameters
    ----------
    loss : str
        One of `OBJECTIVES`.
    gradient : float
        Weight of the gradient's error in the supervised loss.
    """
    chosen = OBJECTIVES[loss]
    if chosen is supervised:
        chosen = partial(supervised, gradient=gradient)
    return cast("Objective[WindowNetwork, Batch]", chosen)
