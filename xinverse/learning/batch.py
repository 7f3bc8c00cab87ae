"""What a network on windows of maps learns from at a time."""

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
        Where the solver starts.
    y : Tensor
        Observations; what stands where nothing was observed does not count.
    observed : Tensor
        Boolean.
    truth : Tensor
        What the estimate is compared with.
    counted : Tensor or None
        Boolean: where it is; everywhere, where it is not given.
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
        """Change every part that is there."""
        return self._replace(
            **{k: change(v) for k, v in self._asdict().items() if v is not None}
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""
        return self.map(lambda part: part.to(device))
