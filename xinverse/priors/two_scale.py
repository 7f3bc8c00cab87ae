r"""Two-scale bilinear convolutional prior, learned.

.. math:: \Phi(x) = \mathrm{Up}(\Phi_1(\mathrm{Dw}(x))) + \Phi_2(x)

(equation 3 of Fablet, Drumetz and Rousseau 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from xinverse.priors.base import PRIORS, ProjectionPrior

__all__ = ["BilinearBlock", "TwoScale"]


class BilinearBlock(nn.Module):
    r"""Convolutions with a bilinear unit, from and to a window of maps.

    .. math:: x \mapsto C_o [\, C_1 h, \; C_2 h \odot C_3 h \,], \quad h = \rho(C_i x)

    A product of two convolutions lets the block express advection, which is
    quadratic in the state.

    Parameters
    ----------
    channels : int
        Maps in and out (the time steps of a window).
    hidden : int
        Width inside.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, hidden, 3, padding=1)
        self.linear = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.factors = nn.Conv2d(hidden, 2 * hidden, 3, padding=1)
        self.leave = nn.Conv2d(2 * hidden, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``(batch, channels, y, x)``."""
        h = functional.relu(self.enter(x))
        first, second = self.factors(h).chunk(2, dim=1)
        return self.leave(torch.cat([self.linear(h), first * second], dim=1))


@PRIORS.register("two-scale")
class TwoScale(ProjectionPrior):
    """Sum of a coarse and a fine bilinear network.

    Parameters
    ----------
    channels : int
        Time steps of the window; time is the channel axis.
    hidden : int
        Width of each network.
    factor : int
        Averaging between the fine and the coarse grid; a side that it does not
        divide is padded by repeating the edge.
    """

    def __init__(self, channels: int, hidden: int = 24, factor: int = 2) -> None:
        super().__init__()
        self.coarse = BilinearBlock(channels, hidden)
        self.fine = BilinearBlock(channels, hidden)
        self.up = nn.ConvTranspose2d(channels, channels, factor, stride=factor)
        self.factor = factor

    def project(self, x: Tensor) -> Tensor:
        r"""Apply :math:`\Phi` to ``(batch, channels, y, x)``."""
        ny, nx = x.shape[-2:]
        padding = (0, -nx % self.factor, 0, -ny % self.factor)
        padded = functional.pad(x, padding, mode="replicate") if any(padding) else x
        low = functional.avg_pool2d(padded, self.factor)
        return self.up(self.coarse(low))[..., :ny, :nx] + self.fine(x)
