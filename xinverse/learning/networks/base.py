"""What every network on windows of maps has in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from xinverse.learning.losses import time_taper
from xinverse.schema import Maybe, Number, Schema, Whole
from xinverse.solvers.base import Mode

__all__ = ["ITERATIONS", "REPRESENTATION", "WIDTH", "WINDOW", "WindowNetwork", "relative_error"]

# Bounds of arguments that networks share: generous, so that only mistakes exceed them.
WINDOW = Whole(1, 1000)
WIDTH = Whole(1, 4096)
ITERATIONS = Whole(1, 1000)
REPRESENTATION = Maybe(Number(1e-6, 1e6))


class WindowNetwork(nn.Module):
    """Base of the networks of learned methods on maps.

    Inputs and outputs are normalised: fields minus their level, divided by a
    scale. Both belong to one sample, so that no sample of a batch affects another.

    Attributes
    ----------
    options : Schema
        The arguments and their bounds, with ``window``, declared by each network. Arguments
        that are added later are `xinverse.schema.Later`, so that older model cards remain
        valid. Default: ``window`` only.
    window : int
        Time steps of a window, the channels of the network.
    config : dict
        Arguments that build the same network, as JSON values; the model card stores them.
    """

    options: ClassVar[Schema] = Schema(window=WINDOW)
    window: int
    config: dict[str, Any]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build the network that a model card describes.

        Parameters
        ----------
        config : mapping
            The arguments; other keys of the card are ignored.

        Raises
        ------
        ValueError
            An argument is missing, or out of the bounds of `options`.
        """
        return cls(**cls.options.read(config))

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
            Observations, normalised. Values where nothing was observed are ignored.
        observed : Tensor
            Boolean, of the same shape.
        noise : Tensor, optional
            Standard deviation of the observation noise, normalised, broadcasting to the
            observations. A network may ignore it.
        sea : Tensor, optional
            Boolean, broadcasting to the state.
        steps : int, optional
            Solver iterations. Default: those of the network.
        mode : {"iterate", "unroll", "implicit"}
            Which graph is kept: none, that of every step, or that of the minimum.
        """
        raise NotImplementedError(f"{type(self).__name__} must define reconstruct.")

    def taper(self, like: Tensor) -> Tensor:
        """Weights by which the days of overlapping windows are averaged, all above zero.

        Parameters
        ----------
        like : Tensor
            Gives dtype and device.
        """
        return time_taper(self.window, like)


def relative_error(noise: Tensor, representation: float) -> Tensor:
    r"""Error of an observation over that of one without noise.

    .. math:: \sqrt{1 + \sigma^2 / \sigma_r^2}

    Parameters
    ----------
    noise : Tensor
        :math:`\sigma`, the standard deviation of the noise.
    representation : float
        :math:`\sigma_r`, the representation error.
    """
    return (1 + (noise / representation).square()).sqrt()
