"""Networks on windows of maps, as model cards describe them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from xinverse.learning.losses import time_taper
from xinverse.learning.variational_net import VariationalNet
from xinverse.operators.base import Operator
from xinverse.operators.mask import Mask
from xinverse.operators.noise import NoiseWeighted
from xinverse.priors.two_scale import TwoScale
from xinverse.solvers.base import Mode, VariationalSolver
from xinverse.solvers.gradient_descent import GradientDescent
from xinverse.solvers.lstm import LSTMSolver

__all__ = ["FourDVarNet", "WindowNetwork", "check_representation", "relative_error"]


class WindowNetwork(nn.Module):
    """What a learned method on maps needs of its network.

    Everything goes in and out normalised: fields minus their level, divided by
    a scale that belongs to each sample, so that what comes out for one sample
    never depends on another.

    Attributes
    ----------
    window : int
        Time steps of a window, the channels of the network.
    config : dict
        What builds it anew.
    """

    window: int
    config: dict[str, Any]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> WindowNetwork:
        """Build the network that a model card describes."""
        raise NotImplementedError(f"{cls.__name__} must define from_config.")

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
        """Reconstruct windows from masked observations.

        Parameters
        ----------
        background : Tensor
            First guess :math:`x^{(0)}`, ``(batch, window, y, x)``, normalised.
        y : Tensor
            Observations, normalised; what stands where nothing was observed does not count.
        observed : Tensor
            Boolean, of the same shape.
        noise : Tensor, optional
            Standard deviation of the observations' noise, normalised, broadcasting to
            them. Not every network makes use of it.
        sea : Tensor, optional
            Boolean, broadcasting to the state.
        steps : int, optional
            Solver iterations, where they are not the model's own.
        mode : {"iterate", "unroll", "implicit"}
            Which graph is kept.
        """
        raise NotImplementedError(f"{type(self).__name__} must define reconstruct.")

    def taper(self, like: Tensor) -> Tensor:
        """Weights of the days of a window where windows overlap, all above zero.

        Parameters
        ----------
        like : Tensor
            Of the dtype and on the device that are wanted.
        """
        return time_taper(self.window, like)


def check_representation(representation: float | None) -> None:
    """Refuse an error of representation that is none."""
    if representation is not None and not representation > 0:
        raise ValueError(f"representation={representation!r}: expected a number above 0.")


def relative_error(noise: Tensor, representation: float) -> Tensor:
    r"""Standard deviation of an observation's error, :math:`\sqrt{1 + \sigma^2/\sigma_r^2}`.

    Parameters
    ----------
    noise : Tensor
        :math:`\sigma`.
    representation : float
        :math:`\sigma_r`, of an observation without noise: the unit.
    """
    return (1 + (noise / representation).square()).sqrt()


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
        The learned solver, or steps down the gradient whose lengths are learned:
        the same prior and the same cost without the network in between.
    sees_state : bool
        As `xinverse.solvers.LSTMSolver`.
    representation : float, optional
        :math:`\sigma_r`, the error of observations without noise, normalised: what they
        see that the maps do not hold. Those of noise :math:`\sigma` then count for
        :math:`\sigma_r^2 / (\sigma^2 + \sigma_r^2)` in the cost; where it is not given,
        all count alike.
    sees_coverage : bool
        As `xinverse.solvers.LSTMSolver`.
    """

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
        descent: VariationalSolver
        if solver == "lstm":
            descent = LSTMSolver(
                window, solver_hidden, steps, sees_state=sees_state, sees_coverage=sees_coverage
            )
        elif solver == "gradient-descent":
            descent = GradientDescent(0.1, steps, learned=True)
        else:
            raise ValueError(f"solver={solver!r}: expected 'lstm' or 'gradient-descent'.")
        check_representation(representation)
        super().__init__(TwoScale(window, prior_hidden), descent)
        self.config = {
            "window": window,
            "prior_hidden": prior_hidden,
            "solver_hidden": solver_hidden,
            "steps": steps,
            "solver": solver,
            "sees_state": sees_state,
            "representation": representation,
            "sees_coverage": sees_coverage,
        }
        self.window, self.representation = window, representation

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FourDVarNet:
        """Build the network that a model card describes."""
        names = ("window", "prior_hidden", "solver_hidden", "steps")
        sizes: dict[str, Any] = {name: int(config[name]) for name in names}
        # Cards of the first weights say none of these.
        later = ("solver", "sees_state", "representation", "sees_coverage")
        others = {name: config[name] for name in later if name in config}
        return cls(**sizes, **others)

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
        """Observations and operator as the cost takes them, weighed where noise is known."""
        y = torch.where(observed, y, torch.zeros((), dtype=y.dtype, device=y.device))
        mask = Mask(observed)
        if self.representation is None or noise is None:
            return y, mask
        weighted = NoiseWeighted(mask, relative_error(noise, self.representation))
        return weighted.weigh(y), weighted
