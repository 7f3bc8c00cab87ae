"""4DVarNet on maps: a learned prior and a learned solver of one variational cost."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from xinverse.learning.networks.base import (
    ITERATIONS,
    REPRESENTATION,
    WIDTH,
    WINDOW,
    WindowNetwork,
    relative_error,
)
from xinverse.learning.variational_net import VariationalNet
from xinverse.operators.base import Operator
from xinverse.operators.mask import Mask
from xinverse.operators.noise import NoiseWeighted
from xinverse.priors.two_scale import TwoScale
from xinverse.schema import Later, Schema, Switch, Word
from xinverse.solvers.base import Mode, VariationalSolver
from xinverse.solvers.gradient_descent import GradientDescent
from xinverse.solvers.lstm import LSTMSolver

__all__ = ["FourDVarNet"]


class FourDVarNet(WindowNetwork, VariationalNet):
    r"""Mask, two-scale bilinear prior, LSTM on the gradient of the cost.

    Parameters
    ----------
    window : int
        Time steps of a window, the channels of the networks.
    prior_hidden, solver_hidden : int
        Widths of the two-scale prior and of the LSTM.
    steps : int
        Solver iterations.
    solver : {"lstm", "gradient-descent"}
        The learned solver, or gradient descent with learned step sizes, on the same
        prior and cost.
    sees_state : bool
        As `xinverse.solvers.LSTMSolver`.
    representation : float, optional
        :math:`\sigma_r`, the representation error, normalised: what observations contain
        and maps do not resolve. Observations with noise :math:`\sigma` then have the
        weight :math:`\sigma_r^2 / (\sigma^2 + \sigma_r^2)` in the cost. Default: all have
        the same weight.
    sees_coverage : bool
        As `xinverse.solvers.LSTMSolver`.
    """

    options = Schema(
        window=WINDOW,
        prior_hidden=WIDTH,
        solver_hidden=WIDTH,
        steps=ITERATIONS,
        solver=Later(Word("lstm", "gradient-descent"), "lstm"),
        sees_state=Later(Switch(), False),
        representation=Later(REPRESENTATION, None),
        sees_coverage=Later(Switch(), False),
    )

    def __init__(
        self,
        window: int = 11,
        prior_hidden: int = 16,
        solver_hidden: int = 24,
        steps: int = 6,
        solver: Literal["lstm", "gradient-descent"] = "lstm",
        sees_state: bool = False,
        representation: float | None = None,
        sees_coverage: bool = False,
    ) -> None:
        config = self.options.read(
            {
                "window": window,
                "prior_hidden": prior_hidden,
                "solver_hidden": solver_hidden,
                "steps": steps,
                "solver": solver,
                "sees_state": sees_state,
                "representation": representation,
                "sees_coverage": sees_coverage,
            }
        )
        descent: VariationalSolver
        if solver == "lstm":
            descent = LSTMSolver(
                window, solver_hidden, steps, sees_state=sees_state, sees_coverage=sees_coverage
            )
        else:
            descent = GradientDescent(0.1, steps, learned=True)
        super().__init__(TwoScale(window, prior_hidden), descent)
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
        steps: int | None = None,
        mode: Mode = "iterate",
    ) -> Tensor:
        """Descend the variational cost from the background; see `WindowNetwork`."""
        y, operator = self.observations(y, observed, noise)
        return self(background, y, operator, sea=sea, steps=steps, mode=mode)

    def observations(
        self, y: Tensor, observed: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Operator]:
        """Observations and operator of the cost, weighted if the noise is known.

        Parameters
        ----------
        y, observed, noise : Tensor
            As of `reconstruct`.
        """
        y = torch.where(observed, y, torch.zeros((), dtype=y.dtype, device=y.device))
        mask = Mask(observed)
        if self.representation is None or noise is None:
            return y, mask
        weighted = NoiseWeighted(mask, relative_error(noise, self.representation))
        return weighted.weigh(y), weighted
