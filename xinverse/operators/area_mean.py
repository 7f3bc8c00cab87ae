"""The state is seen as means over larger cells, as a coarser grid holds it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from xinverse.local_grid import cell_edges
from xinverse.operators.base import OPERATORS, Operator
from xinverse.operators.separable import Separable

__all__ = ["AreaMean", "overlaps"]


class CellGrid(Protocol):
    """Centres of cells, in degrees if geographic."""

    @property
    def y(self) -> np.ndarray: ...
    @property
    def x(self) -> np.ndarray: ...
    @property
    def geographic(self) -> bool: ...


@OPERATORS.register("area-mean")
class AreaMean(Operator):
    r"""Mean over the sea of each cell of a coarser grid, weighted by area.

    .. math:: H(x)_B = \frac{\sum_i a_{Bi} \, s_i \, x_i}{\sum_i a_{Bi} \, s_i}

    with :math:`a_{Bi}` the area that the cells B and i share, an outer product of
    overlaps along y and x, and :math:`s_i` 1 at sea. The ratio of the grids need not
    be a whole number.

    Parameters
    ----------
    along_y, along_x : Tensor
        Overlaps, ``(my, ny)`` and ``(mx, nx)``.
    sea : Tensor
        Boolean, ``(ny, nx)``. A coarse cell without sea is zero.
    """

    def __init__(self, along_y: Tensor, along_x: Tensor, sea: Tensor) -> None:
        super().__init__()
        self.register_buffer("along_y", along_y)
        self.register_buffer("along_x", along_x)
        self.register_buffer("sea", sea)
        total = along_y @ sea.to(along_y.dtype) @ along_x.mT
        self.register_buffer("share", torch.where(total > 0, 1 / total.clamp(min=1e-300), 0))

    along_y: Tensor
    along_x: Tensor
    sea: Tensor
    share: Tensor

    @classmethod
    def on(  # type: ignore[override]  # between two grids, and an operator of another class
        cls, grid: CellGrid, sea: Tensor | None = None, *, onto: CellGrid, **options: Any
    ) -> Operator:
        """Build the means of a grid's cells onto another grid.

        Parameters
        ----------
        grid, onto : grid
            Of the state and of the observations: centres of cells ``y`` and ``x``, both
            ascending, in degrees (``geographic``) or a length.
        sea : Tensor, optional
            Boolean, ``(ny, nx)``.
        **options
            None is known.

        Returns
        -------
        Operator
            A `Separable`, which is faster, if there is no land.
        """
        if options:
            raise TypeError(f"area-mean has no option {', '.join(map(repr, options))}.")
        # The area between two latitudes grows with the difference of their sines.
        along_y = overlaps(grid.y, onto.y, sine=grid.geographic)
        along_x = overlaps(grid.x, onto.x)
        if sea is not None and not bool(sea.all()):
            return cls(along_y, along_x, sea)
        return Separable(
            *(m / m.sum(1, keepdim=True).clamp(min=1e-300) for m in (along_y, along_x))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Means of ``(batch, ..., ny, nx)``, as ``(batch, ..., my, mx)``."""
        wet = torch.where(self.sea, x, torch.zeros((), dtype=x.dtype, device=x.device))
        return (self.along_y @ wet @ self.along_x.mT) * self.share

    def adjoint(self, y: Tensor, state: Tensor) -> Tensor:  # noqa: ARG002  linear
        """To each cell at sea its share of the cells that it is in."""
        spread = self.along_y.mT @ (y * self.share) @ self.along_x
        return torch.where(self.sea, spread, torch.zeros((), dtype=y.dtype, device=y.device))


def overlaps(fine: np.ndarray, coarse: np.ndarray, *, sine: bool = False) -> Tensor:
    """Length that each cell of one axis shares with each cell of another.

    Parameters
    ----------
    fine, coarse : ndarray
        Centres of the cells, ascending, two at least.
    sine : bool
        Measure by the sine of the latitude, in degrees.

    Returns
    -------
    Tensor
        In float64, ``(coarse, fine)``; in units of the fine axis's mean cell.
    """
    edges, bounds = cell_edges(fine), cell_edges(coarse)
    if sine:
        edges, bounds = (np.sin(np.deg2rad(np.clip(e, -90, 90))) for e in (edges, bounds))
    low = np.maximum(bounds[:-1, None], edges[:-1])
    high = np.minimum(bounds[1:, None], edges[1:])
    shared = np.clip(high - low, 0, None) / (edges[-1] - edges[0]) * fine.size
    # A sliver of rounding is no overlap.
    return torch.from_numpy(np.where(shared < 1e-9, 0.0, shared))
