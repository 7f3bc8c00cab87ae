"""Convolutions over one, two or three axes of a state."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CONVOLVE", "Convolution", "from_channels", "to_channels"]

# PyTorch's convolutions by the number of convolved axes.
CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


class Convolution(nn.Module):
    """Convolution that keeps the shape, with zeros beyond an edge or periodic axes.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel : int
        Odd number of cells along each axis.
    rank : int
        Number of convolved axes: 1, 2 or 3.
    periodic : sequence of bool, optional
        Which of them are periodic. Default: none.

    Notes
    -----
    Initial weights have the distribution of PyTorch's own convolutions.
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
        if rank not in CONVOLVE:
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
        return CONVOLVE[self.rank](x, self.weight, self.bias, padding=self.zeros)


def to_channels(x: Tensor, channel: int | None) -> Tensor:
    """View a state ``(batch, *state)`` as ``(batch, channel, *cells)``.

    Parameters
    ----------
    x : Tensor
        The state.
    channel : int or None
        The axis that becomes the channels (the batch is axis 0); None adds a single
        channel.
    """
    return x.unsqueeze(1) if channel is None else x.movedim(channel, 1)


def from_channels(x: Tensor, channel: int | None) -> Tensor:
    """Undo `to_channels`."""
    return x.squeeze(1) if channel is None else x.movedim(1, channel)
