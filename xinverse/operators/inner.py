r"""Inner products and adjoints weighted by the areas of the cells.

On a grid of latitudes and longitudes a plain sum over cells is not an integral: it gives
the small cells near the poles too much weight. Weighted by the areas,
:math:`\langle a, b \rangle_W = \sum_i w_i a_i b_i`, it is, and gradients do not depend on
the grid.
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
        Weight w of each cell, such as its area, broadcasting to ``a``. Default: 1.

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
        H. If it is not linear, its derivative at the state is used.
    y : Tensor
        Observation, ``(batch, *observation)``.
    state : Tensor
        Where the derivative is taken; a linear operator needs only its shape.
    state_weight, observation_weight : Tensor, optional
        Diagonals of :math:`W_x` and :math:`W_y`, such as the areas of the cells
        of either grid, broadcasting to the state and to ``y``. Default: 1. The
        adjoint is zero in cells of weight zero, such as land.

    Returns
    -------
    Tensor
        Of the shape of the state.
    """
    weighed = y if observation_weight is None else y * observation_weight.to(y.dtype)
    gradient = operator.adjoint(weighed, state)
    if state_weight is None:
        return gradient
    weight = state_weight.to(gradient.dtype)
    wet = weight > 0
    return torch.where(wet, gradient / torch.where(wet, weight, 1), 0)
