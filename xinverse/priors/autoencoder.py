r"""Dense autoencoder: a state is made of few numbers, learned.

.. math:: \Phi(x) = \mathcal{D}(\mathcal{E}(x))

(section 4.1 of Fablet, Drumetz and Rousseau 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from xinverse.priors.base import PRIORS, ProjectionPrior

__all__ = ["Autoencoder"]


@PRIORS.register("autoencoder")
class Autoencoder(ProjectionPrior):
    r"""Encode into a few numbers, and decode them.

    .. math:: \Phi(x) = \mathcal{D}(\mathcal{E}(x))

    Both are dense networks with ReLU between their layers, three each as it
    stands. Without the ReLU it would be `EOF`.

    Parameters
    ----------
    shape : int or sequence of int
        Of the state.
    latent : int
        How many numbers the encoder gives.
    hidden : sequence of int
        Widths of the encoder's layers between the state and these; the decoder's
        are the same in reverse.

    Raises
    ------
    ValueError
        If a size is below 1.

    Notes
    -----
    States are ``(batch, *shape)``, flattened inside. For images of 784 pixels the
    network has 474 000 parameters as it stands.
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        latent: int = 20,
        hidden: Sequence[int] = (256, 128),
    ) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        widths = (math.prod(self.shape), *hidden, latent)
        if min(*self.shape, *widths) < 1:
            raise ValueError(
                f"shape={self.shape}, hidden={tuple(hidden)}, latent={latent}: expected "
                "sizes of 1 or more."
            )
        self.encoder = _dense(widths)
        self.decoder = _dense(widths[::-1])

    def project(self, x: Tensor) -> Tensor:
        r""":math:`\Phi(x)`, of the shape of ``x``."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"The state has the shape {tuple(x.shape[1:])}: this network is of states of "
                f"the shape {self.shape}."
            )
        return self.decoder(self.encoder(x.flatten(1))).reshape(x.shape)


def _dense(widths: Sequence[int]) -> nn.Sequential:
    """Layers between these widths; the last one may give any number, below zero too."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
