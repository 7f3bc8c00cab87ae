"""A batch of windows of maps to train a network on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Batch"]


class Batch(NamedTuple):
    """Windows ``(batch, window, y, x)``, normalised.

    Attributes
    ----------
    background : Tensor
        First guess.
    y : Tensor
        Observations. Values where nothing was observed are ignored.
    observed : Tensor
        Boolean.
    truth : Tensor
        Values that the estimate is compared with.
    counted : Tensor or None
        Boolean: where it is compared. None: everywhere.
    sea : Tensor or None
        Boolean, ``(batch, 1, y, x)``.
    noise : Tensor or None
        Standard deviation of the observations' noise, ``(batch, 1, 1, 1)``, normalised.
    """

    background: Tensor
    y: Tensor
    observed: Tensor
    truth: Tensor
    counted: Tensor | None = None
    sea: Tensor | None = None
    noise: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Apply a function to every part that is not None."""
        return self._replace(
            **{k: change(v) for k, v in self._asdict().items() if v is not None}
        )

    def to(self, device: torch.device | str) -> Batch:
        """Copy to a device."""
        return self.map(lambda part: part.to(device))
