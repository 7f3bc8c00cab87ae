"""Observations that are means over blocks of cells, as in a coarse product."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from xinverse.local_grid import LocalGrid
from xinverse.operators.base import OPERATORS, Operator

__all__ = ["Coarsen", "cell_area"]


@OPERATORS.register("coarsen")
class Coarsen(Operator):
    r"""Area-weighted mean over blocks of cells of the last two axes.

    .. math:: H(x)_B = \frac{\sum_{i \in B} a_i x_i}{\sum_{i \in B} a_i}

    The integral over the area is conserved.

    Parameters
    ----------
    factor : tuple of int
        Cells of a block along y and x.
    area : Tensor, optional
        :math:`a`, in any unit, ``(ny, nx)``; or ``(ny, 1)`` or ``(ny,)`` if it
        depends on latitude only (see `cell_area`). Zero on land: such a cell is
        not observed, and a block without any sea is zero. Default: equal areas.

    Raises
    ------
    ValueError
        A factor below one; an area of another shape, negative or NaN; sides
        (of the area here, of the state when it is applied) that are not
        multiples of the factor.
    """

    @classmethod
    def on(cls, grid: LocalGrid, sea: Tensor | None = None, **options: Any) -> Self:
        """Build the block mean for a grid.

        Parameters
        ----------
        grid : LocalGrid
            Cells of the state; their areas are the weights.
        sea : Tensor, optional
            Boolean, ``(ny, nx)``. Land has no weight.
        **options
            Arguments of the class; ``area`` replaces that of the grid.
        """
        has_land = sea is not None and not bool(sea.all())
        if "area" not in options and (has_land or not all(grid.regular[1:])):
            y, x = (torch.from_numpy(_widths(axis)) for axis in (grid.y, grid.x))
            area = y[:, None] * x
            options["area"] = area if sea is None else torch.where(sea.cpu(), area, 0.0)
        return cls(**options)

    def __init__(self, factor: tuple[int, int], area: Tensor | None = None) -> None:
        super().__init__()
        fy, fx = factor
        if fy < 1 or fx < 1:
            raise ValueError(f"factor={factor}: expected one cell at least along y and x.")
        self.factor = fy, fx
        if area is not None:
            found, area = tuple(area.shape), area[:, None] if area.ndim == 1 else area
            if area.ndim != 2:
                raise ValueError(
                    f"An area of shape {found}: expected (ny, nx), or (ny,) where it depends "
                    "on latitude only."
                )
            if not bool((area >= 0).all()):
                raise ValueError(
                    f"An area of {float(area.min()):g}: expected zero on land, else positive."
                )
            # A column does not say how many cells there are along x.
            self._check(area.shape[0], area.shape[1] if area.shape[1] > 1 else fx)
        self.register_buffer("area", area)

    area: Tensor | None

    def _check(self, ny: int, nx: int) -> None:
        fy, fx = self.factor
        if ny % fy or nx % fx:
            raise ValueError(
                f"{ny} x {nx} cells cannot be cut into blocks of {fy} x {fx}: expected "
                f"multiples; leave out {ny % fy} rows and {nx % fx} columns."
            )

    def _blocks(self, x: Tensor) -> Tensor:
        fy, fx = self.factor
        return x.unflatten(-1, (-1, fx)).unflatten(-3, (-1, fy))

    def _spread(self, y: Tensor) -> Tensor:
        fy, fx = self.factor
        return y.repeat_interleave(fy, -2).repeat_interleave(fx, -1)

    def _share(self, x: Tensor) -> Tensor | None:
        """Share of each cell in its block; the sum over a block is one, or zero on land."""
        ny, nx = x.shape[-2:]
        self._check(ny, nx)
        if self.area is None:
            return None
        if self.area.shape not in ((ny, nx), (ny, 1)):
            raise ValueError(
                f"A state of {ny} x {nx} cells, an area of shape {tuple(self.area.shape)}: "
                "expected the area of the state's own grid."
            )
        area = self.area.expand(ny, nx)
        total = self._spread(self._blocks(area).sum((-3, -1)))
        return torch.where(total > 0, area / total, 0).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Blocks of ``(batch, ..., ny, nx)``, as ``(batch, ..., ny / fy, nx / fx)``."""
        if x.ndim < 3:
            raise ValueError(
                f"A state of shape {tuple(x.shape[1:])}: expected two axes at least, y and x."
            )
        share = self._share(x)
        if share is None:
            return self._blocks(x).mean((-3, -1))
        # Remove land first: NaN times zero is NaN.
        return self._blocks(torch.where(share > 0, x, 0) * share).sum((-3, -1))

    def adjoint(self, y: Tensor, state: Tensor) -> Tensor:
        """Give each cell its share of the value of its block."""
        share = self._share(state)
        if share is None:
            return self._spread(y) / math.prod(self.factor)
        return self._spread(y) * share


def _widths(axis: np.ndarray) -> np.ndarray:
    """Widths of cells whose edges are halfway between their centres."""
    return np.abs(np.gradient(axis)) if axis.size > 1 else np.ones(1)


def cell_area(latitude: Tensor) -> Tensor:
    r"""Area of the cells of a grid of latitudes and longitudes.

    .. math:: a = \sin \varphi_n - \sin \varphi_s

    with the edges :math:`\varphi_n, \varphi_s` halfway between latitudes and no
    farther than a pole. For regular latitudes it is proportional to
    :math:`\cos \varphi`.

    Parameters
    ----------
    latitude : Tensor
        Centres of the cells in degrees, ``(ny,)``, ascending or descending, at
        least two.

    Returns
    -------
    Tensor
        float64, ``(ny, 1)`` to broadcast with maps, in units of
        :math:`R^2 \Delta \lambda`, with R the radius of the Earth and
        :math:`\Delta \lambda` the spacing in longitude, in radians.

    Raises
    ------
    ValueError
        Latitudes that are not sorted, or not within 90 degrees of the equator.
    """
    degrees = latitude.detach().to(torch.float64)
    if degrees.ndim != 1 or len(degrees) < 2:
        raise ValueError(
            f"Latitudes of shape {tuple(latitude.shape)}: expected (ny,), two at least."
        )
    step = degrees.diff()
    if not bool(((step > 0).all() | (step < 0).all()) & (degrees.abs() <= 90).all()):
        raise ValueError(
            f"Latitudes from {degrees[0]:g} to {degrees[-1]:g}: expected degrees between -90 "
            "and 90, all ascending or all descending."
        )
    middle = degrees[:-1] + step / 2
    ends = degrees[:1] - step[:1] / 2, degrees[-1:] + step[-1:] / 2
    edges = torch.cat([ends[0], middle, ends[1]]).clamp(-90, 90)
    return torch.deg2rad(edges).sin().diff().abs()[:, None]
