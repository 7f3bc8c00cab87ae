"""U-Net: a direct network from background and observations, no cost and no solver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xinverse.methods.base import METHODS
from xinverse.methods.learned import LearnedMethod

if TYPE_CHECKING:
    from xinverse.learning.direct import DirectUNet

__all__ = ["UNetMethod"]


@METHODS.register("unet")
class UNetMethod(LearnedMethod):
    """What a network of the same size does without the variational framework."""

    name = "unet"
    summary = "learned: residual U-Net from background and observations, no cost"

    @staticmethod
    def network_type() -> type[DirectUNet]:
        """`xinverse.learning.DirectUNet`."""
        from xinverse.learning.direct import DirectUNet

        return DirectUNet
