r"""Two-scale bilinear convolutional prior, learned.

.. math:: \Phi(x) = \mathrm{Up}(\Phi_1(\mathrm{Dw}(x))) + \Phi_2(x)

(equation 3 of Fablet, Drumetz and Rousseau 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from xinverse.convolution import Convolution, from_channels, to_channels
from xinverse.priors.base import PRIORS, ProjectionPrior

__all__ = ["BilinearBlock", "BilinearUnit", "TwoScale"]

_AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
_SPREAD: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class BilinearUnit(nn.Module):
    r"""Residual step with a product of convolutions.

    .. math:: h \mapsto h + C [\, \rho(C_1 h), \; C_2 h \odot C_3 h \,]

    Parameters
    ----------
    hidden : int
        Width.
    rank : int
        Axes that are convolved.
    periodic : sequence of bool, optional
        Which of them close on themselves.
    """

    def __init__(
        self, hidden: int, *, rank: int = 2, periodic: Sequence[bool] | None = None
    ) -> None:
        super().__init__()
        self.linear = Convolution(hidden, hidden, rank=rank, periodic=periodic)
        self.factors = Convolution(hidden, 2 * hidden, rank=rank, periodic=periodic)
        self.join = Convolution(2 * hidden, hidden, 1, rank=rank)

    def forward(self, h: Tensor) -> Tensor:
        """Apply to ``(batch, hidden, *cells)``."""
        first, second = self.factors(h).chunk(2, dim=1)
        return h + self.join(torch.cat([functional.relu(self.linear(h)), first * second], 1))


class BilinearBlock(nn.Module):
    r"""Convolutions with a bilinear unit, from and to a window of maps.

    .. math:: x \mapsto C_o [\, C_1 h, \; C_2 h \odot C_3 h \,], \quad h = \rho(C_i x)

    A product of two convolutions lets the block express advection, which is
    quadratic in the state. Residual units may deepen :math:`h`.

    Parameters
    ----------
    channels : int
        Maps in and out (the time steps of a window).
    hidden : int
        Width inside.
    depth : int
        Bilinear steps: one, and ``depth - 1`` residual units before it.
    rank : int
        Axes that are convolved.
    periodic : sequence of bool, optional
        Which of them close on themselves.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        depth: int = 1,
        *,
        rank: int = 2,
        periodic: Sequence[bool] | None = None,
    ) -> None:
        super().__init__()

        def convolution(inputs: int, outputs: int) -> Convolution:
            return Convolution(inputs, outputs, rank=rank, periodic=periodic)

        self.enter = convolution(channels, hidden)
        self.deeper = nn.Sequential(
            *(BilinearUnit(hidden, rank=rank, periodic=periodic) for _ in range(depth - 1))
        )
        self.linear = convolution(hidden, hidden)
        self.factors = convolution(hidden, 2 * hidden)
        self.leave = convolution(2 * hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``(batch, channels, *cells)``."""
        h = self.deeper(functional.relu(self.enter(x)))
        first, second = self.factors(h).chunk(2, dim=1)
        return self.leave(torch.cat([self.linear(h), first * second], dim=1))


@PRIORS.register("two-scale")
class TwoScale(ProjectionPrior):
    """Sum of a coarse and a fine bilinear network.

    Parameters
    ----------
    channels : int
        Length of the axis that ``channel`` names: the time steps of a window of
        maps, the components of a series.
    hidden : int
        Width of each network.
    factor : int or sequence of int
        Averaging between the fine and the coarse grid, along each axis; a side
        that it does not divide is padded by repeating the edge.
    coarse_hidden : int, optional
        Width of the coarse network, where it is another.
    depth, coarse_depth : int
        Bilinear steps of the fine and of the coarse network.
    rank : int
        Axes that are convolved: 2 for maps and images, 1 for series.
    channel : int or None
        Axis of the state that the convolutions take as channels (the batch's is
        0); None where they see a single channel, as of images.
    periodic : sequence of bool, optional
        Which of the convolved axes close on themselves; ``factor`` must divide these.
    overlap : bool
        Let each coarse cell reach half a cell further when it is brought back to
        the fine grid, so that it leaves no blocks; not across a periodic edge.

    Notes
    -----
    States are ``(batch, time, y, x)`` as it stands; ``(batch, time, component)``
    with ``rank=1, channel=2``; images ``(batch, y, x)`` with ``channels=1,
    channel=None``.
    """

    def __init__(
        self,
        channels: int,
        hidden: int = 24,
        factor: int | Sequence[int] = 2,
        *,
        coarse_hidden: int | None = None,
        depth: int = 1,
        coarse_depth: int = 1,
        rank: int = 2,
        channel: int | None = 1,
        periodic: Sequence[bool] | None = None,
        overlap: bool = False,
    ) -> None:
        super().__init__()
        coarse = hidden if coarse_hidden is None else coarse_hidden
        axes: dict[str, Any] = {"rank": rank, "periodic": periodic}
        self.coarse = BilinearBlock(channels, coarse, coarse_depth, **axes)
        self.fine = BilinearBlock(channels, hidden, depth, **axes)
        factors = (factor,) * rank if isinstance(factor, int) else tuple(factor)
        if overlap and any(
            wrap and factor > 1 for wrap, factor in zip(periodic or (), factors, strict=False)
        ):
            raise ValueError(
                f"factor={factors} with overlap=True along a periodic axis: what reaches over "
                "its edge would be lost. Give that axis the factor 1, or leave overlap out."
            )
        beyond = [factor // 2 if overlap and factor > 1 else 0 for factor in factors]
        kernel = [factor + 2 * more for factor, more in zip(factors, beyond, strict=True)]
        self.up = _SPREAD[rank](channels, channels, kernel, stride=factors, padding=beyond)
        self.factors, self.rank, self.channel = factors, rank, channel

    def project(self, x: Tensor) -> Tensor:
        r"""Apply :math:`\Phi` to ``(batch, *state)``."""
        x = to_channels(x, self.channel)
        sides = x.shape[2:]
        missing = [-side % factor for side, factor in zip(sides, self.factors, strict=True)]
        padding = [p for more in reversed(missing) for p in (0, more)]
        padded = functional.pad(x, padding, mode="replicate") if any(padding) else x
        coarse = self.up(self.coarse(_AVERAGE[self.rank](padded, self.factors)))
        for axis, side in enumerate(sides, start=2):
            coarse = coarse.narrow(axis, 0, side)
        return from_channels(coarse + self.fine(x), self.channel)
