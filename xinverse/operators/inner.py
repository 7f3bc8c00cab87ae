r"""Inner products, and the adjoint, that know the areas of the cells.

On a grid of latitudes and longitudes a sum over cells is no integral over the sea:
towards the poles it counts small cells as if they were large. With the areas as
weights, :math:`\langle a, b \rangle_W = \sum_i w_i a_i b_i`, it is one, and gradients
no longer depend on how the grid was cut.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xinverse.operators.base import Operator

__all__ = ["inner", "weighted_adjoint"]


def inner(a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Inner product of each element of the batch.

    .. math:: \langle a, b \rangle_W = \sum_i w_i \, a_i \, b_i

    Parameters
    ----------
    a, b : Tensor
        ``(batch, *state)``.
    weight : Tensor, optional
        Of each cell, w, such as its area, broadcasting to ``a``; one where it is
        not given.

    Returns
    -------
    Tensor
        ``(batch,)``.
    """
    product = a * b
    if weight is not None:
        product = product * weight.to(product.dtype)
    return product.flatten(1).sum(1)


def weighted_adjoint(
    operator: Operator,
    y: Tensor,
    state: Tensor,
    state_weight: Tensor | None = None,
    observation_weight: Tensor | None = None,
) -> Tensor:
    r"""Adjoint of an operator between spaces with weighted inner products.

    .. math::

        H^* y = W_x^{-1} H^\top W_y \, y, \qquad
        \langle H x, y \rangle_{W_y} = \langle x, H^* y \rangle_{W_x}

    (as spaces carry their measure in the Operator Discretization Library, Adler,
    Kohr and Öktem 2017).

    Parameters
    ----------
    operator : Operator
        H, or its derivative at the state where it is not linear.
    y : Tensor
        In the space of the observations.
    state : Tensor
        Where the derivative is taken; a linear operator uses its shape only.
    state_weight, observation_weight : Tensor, optional
        Diagonals of :math:`W_x` and :math:`W_y`, such as the areas of the cells
        of either grid, broadcasting to the state and to ``y``; one where they
        are not given. Where a cell of the state has no weight, as on land, the
        adjoint is zero.

    Returns
    -------
    Tensor
        In the space of the state.
    """
    weighed = y if observation_weight is None else y * observation_weight.to(y.dtype)
    gradient = operator.adjoint(weighed, state)
    if state_weight is None:
        return gradient
    weight = state_weight.to(gradient.dtype)
    wet = weight > 0
    return torch.where(wet, gradient / torch.where(wet, weight, 1), 0)
