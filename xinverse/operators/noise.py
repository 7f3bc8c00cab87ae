"""Observations divided by their noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xinverse.operators.base import OPERATORS, Operator

__all__ = ["NoiseWeighted"]


@OPERATORS.register("noise-weighted")
class NoiseWeighted(Operator):
    r"""An operator whose observations are divided by their noise.

    .. math::

        \tilde H(x) = \frac{H(x)}{\sigma}, \qquad
        \left\| \frac{y}{\sigma} - \tilde H(x) \right\|^2 = -2 \log p(y \mid x) + \text{const}

    for observations with independent Gaussian noise of standard deviation
    :math:`\sigma`. The observation term of the cost is then a likelihood: precise
    observations have more weight.

    Parameters
    ----------
    operator : Operator
        H.
    noise : float or Tensor
        :math:`\sigma`, positive, in the units of the observation and
        broadcasting to it. Use any positive number for cells without observation.

    Raises
    ------
    ValueError
        Noise that is zero, negative or NaN; when it is applied, noise that
        does not broadcast to the observation.

    Notes
    -----
    The cost takes ``weigh(y)`` as its observation.
    """

    def __init__(self, operator: Operator, noise: float | Tensor) -> None:
        super().__init__()
        if not isinstance(noise, Tensor):
            noise = torch.tensor(noise, dtype=torch.float64)
        if not bool((noise > 0).all()):
            raise ValueError(
                f"Noise of {float(noise.min()):g}: expected a standard deviation above zero "
                "for every cell; use any positive number for cells without observation."
            )
        self.operator = operator
        self.linear = operator.linear
        self.register_buffer("noise", noise)

    noise: Tensor

    def weigh(self, y: Tensor) -> Tensor:
        """Observations over their noise.

        Parameters
        ----------
        y : Tensor
            ``(batch, *observation)``, zero where nothing was observed.

        Returns
        -------
        Tensor
            Of the same shape; zeros stay zero.
        """
        weighed = y / self.noise.to(y.dtype)
        if weighed.shape != y.shape:
            raise ValueError(
                f"Noise of shape {tuple(self.noise.shape)} does not broadcast to observations "
                f"of shape {tuple(y.shape)}."
            )
        return weighed

    def forward(self, x: Tensor) -> Tensor:
        """Observation over its noise."""
        return self.weigh(self.operator(x))

    def adjoint(self, y: Tensor, state: Tensor) -> Tensor:
        """Apply the operator's adjoint to the observations over their noise."""
        return self.operator.adjoint(self.weigh(y), state)

    def linearise(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """H(x) and the adjoint there, from one evaluation."""
        seen, adjoint = self.operator.linearise(x)
        return self.weigh(seen), lambda y: adjoint(self.weigh(y))
