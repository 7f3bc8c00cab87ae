r"""Losses of learned reconstructions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xinverse.learning.variational_net import VariationalNet

__all__ = ["background_loss", "joint_loss", "time_taper"]


def joint_loss(
    model: VariationalNet,
    estimate: Tensor,
    truth: Tensor,
    *,
    reconstruction: float = 1.0,
    estimate_projection: float = 0.05,
    truth_projection: float = 0.05,
) -> Tensor:
    r"""Reconstruction and projection errors, mean over cells and batch.

    .. math::

        \nu_1 \| x - \tilde x \|^2 + \nu_2 \| x - \Phi(x) \|^2
        + \nu_3 \| \tilde x - \Phi(\tilde x) \|^2

    (equation 5 of Fablet, Drumetz and Rousseau 2020, with its weights).

    Parameters
    ----------
    model : VariationalNet
        Gives the projection.
    estimate, truth : Tensor
        ``(batch, *state)``, normalised.
    reconstruction, truth_projection, estimate_projection : float
        :math:`\nu_1`, :math:`\nu_2` and :math:`\nu_3`.
    """
    loss = reconstruction * (estimate - truth).square().mean()
    for state, weight in ((truth, truth_projection), (estimate, estimate_projection)):
        if weight:
            loss = loss + weight * (state - model.project(state)).square().mean()
    return loss


def time_taper(window: int, like: Tensor | None = None) -> Tensor:
    """Weights of the days of a window: a triangle, one at the centre, never zero.

    Overlapping windows are averaged with the same weights, so training counts each day as
    the map does.
    """
    middle = (window - 1) / 2
    days = torch.arange(window, dtype=torch.float64)
    weights = 1 - (days - middle).abs() / (middle + 1)
    return weights if like is None else weights.to(like)


def background_loss(
    model: nn.Module,
    estimate: Tensor,
    truth: Tensor,
    background: Tensor,
    *,
    counted: Tensor | None = None,
    gradient: float = 0.3,
    projection: float = 0.02,
) -> Tensor:
    r"""Reconstruction, gradient and projection errors of maps, relative to the background's.

    .. math::

        \frac{\| x - \tilde x \|^2}{\| x - x^{(0)} \|^2}
        + \nu_g \frac{\| \nabla (x - \tilde x) \|^2}{\| \nabla (x - x^{(0)}) \|^2}
        + \nu_2 \frac{\| x - \Phi(x) \|^2}{\| x \|^2}
        + \nu_3 \frac{\| \tilde x - \Phi(\tilde x) \|^2}{\| x \|^2}

    (the terms of equation 5 of Fablet, Drumetz and Rousseau 2020). Each sample's
    terms are divided by its own background error, so that calm and turbulent
    oceans have equal weight. A loss of one is no better than the background.

    Parameters
    ----------
    model : Module
        With a `VariationalNet`, the loss includes the terms of the projection.
    estimate, truth, background : Tensor
        ``(batch, window, y, x)``, normalised.
    counted : Tensor, optional
        Boolean: where there is a truth. Default: everywhere.
    gradient, projection : float
        :math:`\nu_g`, and :math:`\nu_2 = \nu_3`.
    """
    taper = time_taper(truth.shape[1], truth)[:, None, None]
    everywhere = torch.ones_like(truth, dtype=torch.bool) if counted is None else counted

    def mean(square: Tensor, where: Tensor = everywhere) -> Tensor:
        return (taper * square * where).flatten(1).mean(1)

    def slope(error: Tensor) -> Tensor:
        return mean(
            error.diff(dim=-1).square()[..., 1:, :], _pairs(everywhere, -1)[..., 1:, :]
        ) + mean(error.diff(dim=-2).square()[..., 1:], _pairs(everywhere, -2)[..., 1:])

    truth = torch.where(everywhere, truth, estimate.detach())
    error, reference = estimate - truth, background - truth
    loss = mean(error.square()) / mean(reference.square()).clamp(min=1e-4)
    loss = loss + gradient * slope(error) / slope(reference).clamp(min=1e-6)
    if isinstance(model, VariationalNet):
        power = mean(truth.square()).clamp(min=1e-3)
        for state in (truth, estimate):
            apart = mean((state - model.project(state)).square())
            loss = loss + projection * apart / power
    return loss.mean()


def _pairs(counted: Tensor, axis: int) -> Tensor:
    """Where both neighbours along an axis count."""
    length = counted.shape[axis] - 1
    return counted.narrow(axis, 0, length) & counted.narrow(axis, 1, length)
