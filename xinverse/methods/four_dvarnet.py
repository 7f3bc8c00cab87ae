"""4DVarNet: (mask, two-scale bilinear network, LSTM on the gradient of the cost)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xinverse.methods.base import METHODS
from xinverse.methods.learned import LearnedMethod

if TYPE_CHECKING:
    from xinverse.learning.network import FourDVarNet

__all__ = ["FourDVarNetMethod"]


@METHODS.register("4dvarnet")
class FourDVarNetMethod(LearnedMethod):
    """The learned variational solver, from an optimally interpolated background."""

    name = "4dvarnet"
    summary = "learned: mask, two-scale bilinear prior, LSTM gradient solver"

    @staticmethod
    def network_type() -> type[FourDVarNet]:
        """`xinverse.learning.FourDVarNet`."""
        from xinverse.learning.network import FourDVarNet

        return FourDVarNet
