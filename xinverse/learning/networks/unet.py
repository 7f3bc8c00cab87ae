r"""A U-Net from background and observations to the field, in one pass.

.. math:: \tilde x = x^{(0)} + \mathrm{net}(x^{(0)}, \; y - H x^{(0)}, \; \Omega)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xinverse.learning.networks.base import (
    REPRESENTATION,
    WIDTH,
    WINDOW,
    WindowNetwork,
    relative_error,
)
from xinverse.priors.unet import UNet
from xinverse.schema import Later, Schema, Whole
from xinverse.solvers.base import Mode

__all__ = ["DirectUNet"]


class DirectUNet(WindowNetwork):
    """Residual U-Net on windows of maps, without cost or solver.

    Its inputs are the background, the observations minus the background, and where the
    observations are.

    Parameters
    ----------
    window : int
        Time steps of a window.
    hidden : int
        Width on the finest grid.
    levels : int
        Number of times that the grid is coarsened by two.
    representation : float, optional
        As of `xinverse.learning.FourDVarNet`. The coverage of noisy observations is then
        below one.
    """

    options = Schema(
        window=WINDOW,
        hidden=WIDTH,
        levels=Whole(1, 10),
        representation=Later(REPRESENTATION, None),
    )

    def __init__(
        self,
        window: int = 11,
        hidden: int = 16,
        levels: int = 2,
        representation: float | None = None,
    ) -> None:
        config = self.options.read(
            {
                "window": window,
                "hidden": hidden,
                "levels": levels,
                "representation": representation,
            }
        )
        super().__init__()
        self.net = UNet(3 * window, hidden, levels)
        # Start from zero, so that the untrained network returns its background.
        for parameter in self.net.leave.parameters():
            nn.init.zeros_(parameter)
        self.config = config
        self.window, self.representation = window, representation

    def reconstruct(
        self,
        background: Tensor,
        y: Tensor,
        observed: Tensor,
        *,
        noise: Tensor | None = None,
        sea: Tensor | None = None,
        steps: int | None = None,  # noqa: ARG002  it has no solver
        mode: Mode = "iterate",
    ) -> Tensor:
        """Apply the network once; see `WindowNetwork`."""
        with torch.set_grad_enabled(mode != "iterate" and torch.is_grad_enabled()):
            zero = torch.zeros((), dtype=y.dtype, device=y.device)
            innovation = torch.where(observed, y - background, zero)
            coverage = observed.to(y.dtype)
            if self.representation is not None and noise is not None:
                coverage = coverage / relative_error(noise, self.representation)
            seen = torch.cat([background, innovation, coverage], 1)
            found = self.net.project(seen)[:, : self.window]
            return found if sea is None else torch.where(sea, found, background)
