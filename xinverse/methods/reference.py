"""4DVarNet as the reference code runs it: started at zero, with its normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

import numpy as np

from xinverse.methods.base import METHODS, Footprint
from xinverse.methods.problem import Layout, Problem
from xinverse.methods.windows import Start, WindowMethod
from xinverse.schema import List, Number, Schema, Whole

__all__ = ["ReferenceMethod"]


@METHODS.register("4dvarnet-reference")
@dataclass(frozen=True, kw_only=True)
class ReferenceMethod(WindowMethod):
    """A checkpoint of the reference 4DVarNet code, read by `xinverse.load_model`.

    Tiles are the patches of its training; the border without weight is the halo.

    Attributes
    ----------
    stride : int
        Time steps by which the window moves; the reference uses 1.
    precision : {"float32", "bfloat16"}
        Precision of the network's convolutions.
    """

    name: ClassVar[str] = "4dvarnet-reference"
    summary: ClassVar[str] = "learned: a checkpoint of the reference 4DVarNet code"
    companions: ClassVar[tuple[str, ...]] = ()
    # Per day; the windows that are solved together are added.
    metric: ClassVar[bool] = False
    bytes_per_cell: ClassVar[float] = 60
    network: ClassVar[str | type[Any]] = "xinverse.learning.networks:ReferenceFourDVarNet"
    settings: ClassVar[Schema] = Schema(
        normalisation=Schema(mean=Number(-1e12, 1e12), std=Number(1e-12, 1e12)),
        border=List(Whole(0, 50_000), 2, 2),
    )

    stride: int = 1

    @classmethod
    def check_settings(cls, config: Mapping[str, Any]) -> None:
        """Require patches with cells inside their border."""
        patch, border = config.get("patch"), config["border"]
        if patch is None or min(p - 2 * b for p, b in zip(patch, border, strict=True)) < 1:
            raise ValueError(
                f"config.patch={patch}, config.border={border}: expected cells along y and x, "
                "more than the borders at both ends."
            )

    def footprint(self, layout: Layout, budget: float) -> Footprint:
        """The patches of the training, with as many days as memory holds."""
        card = self.card
        patch, border = card.config["patch"], card.config["border"]
        sides = list(map(_side, layout.grid.shape[1:], patch, border))
        (core_y, halo_y), (core_x, halo_x) = sides
        cells = (core_y + 2 * halo_y) * (core_x + 2 * halo_x)
        days = max(int(budget / self.bytes_per_cell / cells) - 2 * card.window, card.window)
        reason = f"patches of {patch[0]} x {patch[1]} cells, as in the training"
        return Footprint((days, core_y, core_x), (card.window, halo_y, halo_x), reason)

    def start(self, problem: Problem, device: Any) -> Start:
        """Zero, which is the training mean after normalisation."""
        import torch

        trained = self.card.config["normalisation"]
        anomaly = np.where(problem.observed, problem.y - trained["mean"], 0.0)
        return Start(
            level=trained["mean"],
            scale=trained["std"],
            anomaly=anomaly,
            first=torch.zeros(anomaly.shape, device=device),
        )


def _side(size: int, patch: int, border: int) -> tuple[int, int]:
    """Core and halo along a side; together they are the patch, if the grid is larger."""
    if size <= patch:
        return size, 0
    core = ceil(size / ceil(size / (patch - 2 * border)))
    return core, (patch - core) // 2
