"""4DVarNet on windows of maps, as model cards describe it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from xinverse.learning.variational_net import VariationalNet
from xinverse.operators.mask import Mask
from xinverse.priors.two_scale import TwoScale
from xinverse.solvers.base import Mode
from xinverse.solvers.lstm import LSTMSolver

__all__ = ["FourDVarNet"]


class FourDVarNet(VariationalNet):
    r"""Mask, two-scale bilinear prior, LSTM on the gradient of the cost.

    Everything goes in and out normalised: fields minus their level, divided by
    a scale that belongs to each sample, so that what comes out for one sample
    never depends on another.

    Parameters
    ----------
    window : int
        Time steps of a window, the channels of the networks.
    prior_hidden, solver_hidden : int
        Widths of the two-scale prior and of the LSTM.
    steps : int
        Solver iterations.
    """

    def __init__(
        self, window: int = 11, prior_hidden: int = 16, solver_hidden: int = 24, steps: int = 6
    ) -> None:
        super().__init__(
            TwoScale(window, prior_hidden), LSTMSolver(window, solver_hidden, steps)
        )
        self.config = {
            "window": window,
            "prior_hidden": prior_hidden,
            "solver_hidden": solver_hidden,
            "steps": steps,
        }
        self.window = window

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FourDVarNet:
        """Build the network that a model card describes."""
        names = ("window", "prior_hidden", "solver_hidden", "steps")
        return cls(**{name: int(config[name]) for name in names})

    def reconstruct(
        self,
        background: Tensor,
        y: Tensor,
        observed: Tensor,
        *,
        sea: Tensor | None = None,
        steps: int | None = None,
        mode: Mode = "iterate",
    ) -> Tensor:
        """Reconstruct windows from masked observations.

        Parameters
        ----------
        background : Tensor
            First guess :math:`x^{(0)}`, ``(batch, window, y, x)``, normalised.
        y : Tensor
            Observations, normalised; what stands where nothing was observed does not count.
        observed : Tensor
            Boolean, of the same shape.
        sea : Tensor, optional
            Boolean, broadcasting to the state.
        steps : int, optional
            Solver iterations, where they are not the model's own.
        mode : {"iterate", "unroll", "implicit"}
            Which graph is kept.
        """
        y = torch.where(observed, y, torch.zeros((), dtype=y.dtype, device=y.device))
        return self(background, y, Mask(observed), sea=sea, steps=steps, mode=mode)
