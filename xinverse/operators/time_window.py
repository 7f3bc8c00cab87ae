"""Observations that are means over several times, such as composites."""

from __future__ import annotations

import torch
from torch import Tensor

from xinverse.operators.base import OPERATORS, Operator

__all__ = ["TimeWindow"]


@OPERATORS.register("time-window")
class TimeWindow(Operator):
    r"""Mean, or weighted sum, over windows of the time axis.

    .. math:: H(x)_k = \sum_{j=0}^{n-1} w_j \, x(t_{k s + j})

    Parameters
    ----------
    length : int
        Number of times n in a window: 8 for 8-day composites of daily states.
    stride : int, optional
        Number of times s from the start of a window to that of the next; below the
        length for a running mean. Default: the length, windows without overlap.
    weights : Tensor, optional
        Weights w of the times of a window, ``(length,)``. Default: ``1 / length``,
        a mean.

    Raises
    ------
    ValueError
        A length or stride below one, another number of weights; when it is
        applied, a state with fewer times than a window.

    Notes
    -----
    States are ``(batch, time, *state)``. Times after the last complete window are
    not observed.
    """

    def __init__(
        self, length: int, stride: int | None = None, weights: Tensor | None = None
    ) -> None:
        super().__init__()
        stride = length if stride is None else stride
        if length < 1 or stride < 1:
            raise ValueError(f"length={length}, stride={stride}: expected one time at least.")
        if weights is not None and weights.shape != (length,):
            raise ValueError(
                f"Weights of shape {tuple(weights.shape)}: expected ({length},), one for each "
                "time of a window."
            )
        self.length, self.stride = length, stride
        self.register_buffer("weights", weights)

    weights: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, window, *state)`` of ``(batch, time, *state)``."""
        if x.ndim < 2 or x.shape[1] < self.length:
            raise ValueError(
                f"A state of shape {tuple(x.shape[1:])}: expected (time, ...), with the "
                f"{self.length} times of a window at least."
            )
        windows = x.unfold(1, self.length, self.stride)
        if self.weights is None:
            return windows.mean(-1)
        return torch.matmul(windows, self.weights.to(x.dtype))
