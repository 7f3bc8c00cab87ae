r"""U-Net: a convolutional network that sees near and far at once, learned.

.. math:: \Phi(x) = x + \mathrm{net}(x)

(Ronneberger, Fischer and Brox 2015).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from xinverse.convolution import Convolution, from_channels, to_channels
from xinverse.priors.base import PRIORS, ProjectionPrior

__all__ = ["UNet"]

_AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
_SPREAD = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


@PRIORS.register("unet")
class UNet(ProjectionPrior):
    r"""Networks on ever coarser grids, each added to the finer one.

    .. math:: \Phi(x) = x + \mathrm{net}(x)

    Each level has two convolutions with ReLU and twice the width of the finer
    one, of which it sees the averages of two cells along each axis.

    Parameters
    ----------
    channels : int
        Length of the axis that ``channel`` names: the time steps of a window of
        maps, the components of a series.
    hidden : int
        Width on the finest grid.
    levels : int
        How many times the grid is made coarser by two.
    rank : int
        Axes that are convolved: 2 for maps and images, 1 for series.
    channel : int or None
        Axis of the state that the convolutions take as channels (the batch's is
        0); None where they see a single channel, as of images.
    periodic : sequence of bool, optional
        Which of the convolved axes close on themselves; ``2**levels`` must divide
        these. Another side is padded by repeating the edge.
    residual : bool
        Whether the network gives the change of the state, or :math:`\Phi(x)` itself.

    Raises
    ------
    ValueError
        If ``rank`` is not 1, 2 or 3, if ``levels`` or a width is below 1, or if a
        periodic side is not divided.

    Notes
    -----
    States are ``(batch, time, y, x)`` as it stands; ``(batch, time, component)``
    with ``rank=1, channel=2``; images ``(batch, y, x)`` with ``channels=1,
    channel=None``.
    """

    def __init__(
        self,
        channels: int,
        hidden: int = 32,
        levels: int = 2,
        *,
        rank: int = 2,
        channel: int | None = 1,
        periodic: Sequence[bool] | None = None,
        residual: bool = True,
    ) -> None:
        super().__init__()
        if min(channels, hidden, levels) < 1:
            raise ValueError(
                f"channels={channels}, hidden={hidden}, levels={levels}: expected 1 or more."
            )

        def convolution(inputs: int, outputs: int) -> Convolution:
            return Convolution(inputs, outputs, rank=rank, periodic=periodic)

        def block(inputs: int, outputs: int) -> nn.Sequential:
            layers = convolution(inputs, outputs), convolution(outputs, outputs)
            return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU())

        widths = [hidden * 2**level for level in range(levels + 1)]
        inputs = [channels, *widths[:-1]]
        self.down = nn.ModuleList(map(block, inputs, widths))
        self.up = nn.ModuleList(
            _SPREAD[rank](2 * width, width, 2, stride=2) for width in widths[:-1]
        )
        self.join = nn.ModuleList(block(2 * width, width) for width in widths[:-1])
        self.leave = convolution(hidden, channels)
        self.rank, self.channel, self.levels = rank, channel, levels
        self.periodic = tuple(periodic or (False,) * rank)
        self.residual = residual

    def project(self, x: Tensor) -> Tensor:
        r""":math:`\Phi(x)`, of the shape of ``x``."""
        state = to_channels(x, self.channel)
        net = from_channels(self._net(state), self.channel)
        return x + net if self.residual else net

    def _net(self, x: Tensor) -> Tensor:
        sides = x.shape[2:]
        h = self._pad(x)
        finer: list[Tensor] = []
        for down in self.down[:-1]:
            h = down(h)
            finer.append(h)
            h = _AVERAGE[self.rank](h, 2)
        h = self.down[-1](h)
        for up, join in zip(reversed(self.up), reversed(self.join), strict=True):
            h = join(torch.cat([finer.pop(), up(h)], 1))
        h = self.leave(h)
        for axis, side in enumerate(sides, start=2):
            h = h.narrow(axis, 0, side)
        return h

    def _pad(self, x: Tensor) -> Tensor:
        """Repeat the far edges until the coarsest grid divides the sides."""
        factor = 2**self.levels
        missing = [-side % factor for side in x.shape[2:]]
        if any(m and wraps for m, wraps in zip(missing, self.periodic, strict=True)):
            raise ValueError(
                f"The sides {tuple(x.shape[2:])} with periodic={self.periodic}: {factor} must "
                "divide a periodic side. Choose fewer levels, or another grid."
            )
        padding = [p for m in reversed(missing) for p in (0, m)]
        return functional.pad(x, padding, mode="replicate") if any(padding) else x
