"""4DVarNet as the reference code runs it: from zero, normalised as in its training."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from xinverse.fields.grid import Grid
from xinverse.methods.base import METHODS, Footprint, Problem
from xinverse.methods.windows import Start, WindowMethod, WindowOptions

if TYPE_CHECKING:
    from xinverse.learning.reference import ReferenceFourDVarNet
    from xinverse.weights import WeightsRef

__all__ = ["ReferenceMethod", "ReferenceOptions"]


@dataclass(frozen=True)
class ReferenceOptions(WindowOptions):
    """Keywords of ``method="4dvarnet-reference"``.

    Attributes
    ----------
    stride : int
        Days by which the time window slides; the reference solves every one.
    precision : {"float32", "bfloat16"}
        Of the network's convolutions.
    """

    stride: int = 1


@METHODS.register("4dvarnet-reference")
class ReferenceMethod(WindowMethod[ReferenceOptions]):
    """A checkpoint of the reference 4DVarNet code, read by `xinverse.load_model`.

    Tiles are the patches of its training, and what it gives no weight at their
    borders is the halo.
    """

    name = "4dvarnet-reference"
    summary = "learned: a checkpoint of the reference 4DVarNet code"
    options_type = ReferenceOptions
    field_options = ()
    bytes_per_cell = 60  # for every day; the windows that are solved together beside

    @staticmethod
    def network_type() -> type[ReferenceFourDVarNet]:
        """`xinverse.learning.ReferenceFourDVarNet`."""
        from xinverse.learning.reference import ReferenceFourDVarNet

        return ReferenceFourDVarNet

    def footprint(
        self,
        grid: Grid,
        options: ReferenceOptions,  # noqa: ARG002  the patch is the weights'
        weights: WeightsRef | None,
        budget: float,
    ) -> Footprint:
        """The patches of the training, with as many days as the memory holds."""
        card = self._card(weights)
        patch, border = card.config["patch"], card.config["border"]
        sides = list(map(_side, grid.shape[1:], patch, border))
        (core_y, halo_y), (core_x, halo_x) = sides
        cells = (core_y + 2 * halo_y) * (core_x + 2 * halo_x)
        days = max(int(budget / self.bytes_per_cell / cells) - 2 * card.window, card.window)
        reason = f"patches of {patch[0]} x {patch[1]} cells, as in the training"
        return Footprint((days, core_y, core_x), (card.window, halo_y, halo_x), reason)

    def start(
        self,
        problem: Problem,
        options: ReferenceOptions,  # noqa: ARG002  they choose no start
        weights: WeightsRef | None,
        device: Any,
    ) -> Start:
        """Zero, the mean of the training, which together with its deviation normalises."""
        import torch

        trained = self._card(weights).config["normalisation"]
        anomaly = np.where(problem.observed, problem.y - trained["mean"], 0.0)
        return Start(
            level=trained["mean"],
            scale=trained["std"],
            anomaly=anomaly,
            first=torch.zeros(anomaly.shape, device=device),
        )


def _side(size: int, patch: int, border: int) -> tuple[int, int]:
    """Core and halo along a side, which together are the patch where the grid has room."""
    if size <= patch:
        return size, 0
    core = ceil(size / ceil(size / (patch - 2 * border)))
    return core, (patch - core) // 2
