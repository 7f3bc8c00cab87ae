r"""What training makes small: with a truth, with withheld observations, with neither.

All are relative to the background's, so that calm and turbulent oceans weigh alike.
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
    r"""Error at observations that the estimate did not see, over the background's.

    .. math:: \frac{\sum_{\Omega'} (\tilde x - y)^2}{\sum_{\Omega'} (x^{(0)} - y)^2}

    with :math:`\Omega'` what was withheld; sums over the batch, weighted by the
    taper of the window. The noise of the observations is part of both sums.
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

    (equation 2 of Fablet, Drumetz and Rousseau 2020). Only the solver can learn
    from it: a prior that is free to move makes the cost small by knowing nothing.
    """
    estimate = _estimate(model, batch, steps)
    net = cast(FourDVarNet, model)  # the verb refuses what has no cost
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
    """The objective of that name; one that knows the truth weighs its gradient by so much."""
    chosen = OBJECTIVES[loss]
    if chosen is supervised:
        chosen = partial(supervised, gradient=gradient)
    return cast("Objective[WindowNetwork, Batch]", chosen)
