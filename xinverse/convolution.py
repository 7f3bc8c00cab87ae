"""Convolutions over any number of axes, and which axes of a state they see."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Convolution", "from_channels", "to_channels"]

_CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


class Convolution(nn.Module):
    """Convolution that keeps the shape: beyond an edge lie zeros, or the other edge.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel : int
        Cells along each axis, an odd number.
    rank : int
        Axes that are convolved: 1, 2 or 3.
    periodic : sequence of bool, optional
        Which of them close on themselves; none where it is not given.

    Notes
    -----
    Initial weights are drawn as PyTorch's own convolutions draw them.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        rank: int = 2,
        periodic: Sequence[bool] | None = None,
    ) -> None:
        super().__init__()
        if rank not in _CONVOLVE:
            raise ValueError(f"rank={rank!r}: expected 1, 2 or 3 convolved axes.")
        if kernel % 2 == 0:
            raise ValueError(f"kernel={kernel}: expected an odd number of cells.")
        wraps = tuple(periodic or (False,) * rank)
        if len(wraps) != rank:
            raise ValueError(f"periodic={wraps}: expected one value for each of {rank} axes.")
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *(kernel,) * rank))
        self.bias = nn.Parameter(torch.empty(outputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        bound = 1 / math.sqrt(inputs * kernel**rank)
        nn.init.uniform_(self.bias, -bound, bound)
        self.rank = rank
        self.reach = kernel // 2
        self.zeros = tuple(0 if wrap else self.reach for wrap in wraps)
        self.closed = [axis for axis, wrap in enumerate(wraps, start=2) if wrap]

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``(batch, inputs, *cells)``."""
        for axis in self.closed:  # cheaper to differentiate than padding in place
            last = x.shape[axis] - self.reach
            ends = x.narrow(axis, last, self.reach), x.narrow(axis, 0, self.reach)
            x = torch.cat([ends[0], x, ends[1]], axis)
        return _CONVOLVE[self.rank](x, self.weight, self.bias, padding=self.zeros)


def to_channels(x: Tensor, channel: int | None) -> Tensor:
    """See a state ``(batch, *state)`` as ``(batch, channel, *cells)``.

    Parameters
    ----------
    x : Tensor
        The state.
    channel : int or None
        The axis (the batch's is 0) that becomes the channels; a single channel
        is added where it is None.
    """
    return x.unsqueeze(1) if channel is None else x.movedim(channel, 1)


def from_channels(x: Tensor, channel: int | None) -> Tensor:
    """Undo `to_channels`."""
    return x.squeeze(1) if channel is None else x.movedim(1, channel)
