"""The posterior of a whole design problem: by tiles, and by modes in time for stations."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xinverse.constants import KM_PER_DEGREE
from xinverse.fields.grid import Grid
from xinverse.local_grid import LocalGrid
from xinverse.methods.tile_statistics import local_km
from xinverse.sampling.problem import SamplingProblem
from xinverse.tiling.axis import AxisPlan

if TYPE_CHECKING:
    from xinverse.sampling.posterior import Posterior

__all__ = ["FieldPosterior"]

# Up to this many cells (with their times), one tile holds the grid and the posterior is exact.
WHOLE_LIMIT = 2**17

# Beyond, cores of so many correlation scales, with halos of so many on each side: two
# distances at which the correlation is 0.01. An observation further away counts as none.
CORE_SCALES, HALO_SCALES = 8.0, 4.3

# Modes in time of a smaller share of the variance are left out.
NEGLIGIBLE_MODE = 1e-8


@dataclass(eq=False)
class _Tile:
    """One box, and what observing does to it."""

    posteriors: list[Posterior]
    core: tuple[slice, slice]
    y: slice
    x: slice
    row_of: np.ndarray
    column_of: np.ndarray


class FieldPosterior:
    r"""Variances and gains on the whole grid.

    A station observes all times. Without other observations the modes of the correlation in
    time, of variance :math:`\lambda_k`, are then independent: each is a problem in space with
    the covariance :math:`\lambda_k C_s`, and the mean variance over the times is their sum.
    Otherwise the problem is solved in space and time.

    Parameters
    ----------
    problem : SamplingProblem
        Grid, prior and existing observations.

    Attributes
    ----------
    variance : ndarray
        Posterior variance, in the units of the field squared. For stations ``(1, ny, nx)``,
        the mean over the times; else ``(nt, ny, nx)``.
    gain : ndarray
        In the shape of the design, what an observation there takes off the mean variance
        over the sea. An estimate from single times for stations beside other observations.
    """

    def __init__(self, problem: SamplingProblem) -> None:
        self._problem = problem
        self._by_modes = problem.fixed and problem.existing is None
        self._noise = problem.prior.noise**2
        nt, _, _ = problem.grid.shape
        self._inner = 1 if self._by_modes else nt
        self._weight = 1 / (max(int(problem.sea.sum()), 1) * nt)
        self._variance = np.zeros((self._inner, *problem.sea.shape))
        self._gain = np.zeros((self._inner, *problem.sea.shape))
        self._tiles = list(self._cut())
        for tile in self._tiles:
            self._gather(tile)
        if problem.existing is not None:
            cells = np.argwhere(np.isfinite(problem.existing) & problem.sea)
            self._observe(cells, problem.existing[tuple(cells.T)] ** 2)

    @property
    def exact(self) -> bool:
        """Whether one tile holds the whole grid."""
        return len(self._tiles) == 1

    @property
    def variance(self) -> np.ndarray:
        """Posterior variance."""
        return self._variance.mean(0, keepdims=True) if self._problem.fixed else self._variance

    @property
    def gain(self) -> np.ndarray:
        """Gain of one observation at each place of the design."""
        return self._gain.sum(0, keepdims=True) if self._problem.fixed else self._gain

    def observe(self, cells: np.ndarray, *, gains: bool = True) -> None:
        """Add observations with the noise of the prior.

        Parameters
        ----------
        cells : ndarray of int, shape (q, 3)
            Along (time, y, x).
        gains : bool
            Whether the gains are needed afterwards.
        """
        if self._by_modes:  # all times at once
            cells = cells[cells[:, 0] == 0]
        self._observe(cells, np.full(len(cells), self._noise), gains=gains)

    def joint_gain(self, cells: np.ndarray) -> float:
        """What observing some cells together takes off the mean variance over the sea.

        Parameters
        ----------
        cells : ndarray of int, shape (q, 3)
            Along (time, y, x).
        """
        total = 0.0
        for tile in self._tiles:
            inside, at = self._inside(tile, cells)
            # Each variance is counted in one tile, the one whose core holds it.
            if inside.any():
                noise = np.full(int(inside.sum()), self._noise)
                total += sum(p.joint_gain(at, noise, tile.core) for p in tile.posteriors)
        return total

    def _inside(self, tile: _Tile, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which cells a tile holds, and where."""
        row, column = tile.row_of[cells[:, 1]], tile.column_of[cells[:, 2]]
        inside = (row >= 0) & (column >= 0)
        return inside, np.stack([cells[inside, 0], row[inside], column[inside]], axis=1)

    def _observe(self, cells: np.ndarray, noise: np.ndarray, *, gains: bool = True) -> None:
        for tile in self._tiles:
            inside, at = self._inside(tile, cells)
            if inside.any():
                for posterior in tile.posteriors:
                    posterior.observe(at, noise[inside], gains=gains)
                self._gather(tile)

    def _gather(self, tile: _Tile) -> None:
        """Copy a tile's core to the maps."""
        where = (slice(None), tile.y, tile.x)
        core = (slice(None), *tile.core)
        variance = sum(p.variance for p in tile.posteriors)
        # Modes share the sum over times; a variance is a mean over them.
        scale = 1 / self._problem.grid.time.size if self._by_modes else 1.0
        self._variance[where] = variance[core].numpy() * scale  # type: ignore[index]
        gains = sum(p.gain / (p.variance + self._noise) for p in tile.posteriors)
        self._gain[where] = gains[core].numpy()  # type: ignore[index]

    def _cut(self) -> Iterator[_Tile]:
        """Tiles, row of tiles by row: the halo along x follows the latitude."""
        grid = self._problem.grid
        dy, dx = self._spacing(grid)
        _, ny, nx = grid.shape
        whole = self._inner * ny * nx <= WHOLE_LIMIT
        scale = self._problem.prior.length_scale
        along_y = _axis(ny, scale / dy, whole=whole)
        for j in range(along_y.count):
            rows = along_y.read(j)
            middle = 0.5 * (grid.y[rows].min() + grid.y[rows].max())
            narrow = np.cos(np.deg2rad(min(abs(middle), 89.0))) if grid.geographic else 1.0
            along_x = _axis(nx, scale / (dx * narrow), whole=whole, periodic=grid.periodic)
            for i in range(along_x.count):
                columns = along_x.read(i)
                y = slice(along_y.edges[j], along_y.edges[j + 1])
                x = slice(along_x.edges[i], along_x.edges[i + 1])
                top, left = y.start - along_y.start(j), x.start - along_x.start(i)
                core = (
                    slice(top, top + y.stop - y.start),
                    slice(left, left + x.stop - x.start),
                )
                yield self._tile(rows, columns, core, y, x)

    @staticmethod
    def _spacing(grid: Grid) -> tuple[float, float]:
        """Spacing in km along y, and along x at the equator."""
        dy, dx = (float(np.median(np.abs(np.diff(a)))) for a in (grid.y, grid.x))
        unit = KM_PER_DEGREE if grid.geographic else 1.0
        return dy * unit, dx * unit

    def _tile(
        self,
        rows: np.ndarray,
        columns: np.ndarray,
        core: tuple[slice, slice],
        y: slice,
        x: slice,
    ) -> _Tile:
        from xinverse.sampling.posterior import Posterior, make_prior

        problem, prior = self._problem, self._problem.prior
        cut = problem.grid.cut(slice(None), rows, columns)
        ys, xs = local_km(cut)
        row_of = np.full(problem.sea.shape[0], -1)
        column_of = np.full(problem.sea.shape[1], -1)
        row_of[rows] = np.arange(len(rows))
        column_of[columns] = np.arange(len(columns))
        options: dict[str, float | str] = {
            "length_scale": prior.length_scale,
            "time_scale": prior.time_scale,
            "covariance": prior.covariance,
            "temporal": prior.temporal,
        }
        inside = np.ix_(rows, columns)
        deviation = np.where(problem.sea[inside], prior.deviation[inside], 0.0)
        weights = problem.sea[inside] * self._weight
        times = problem.grid.time
        space = LocalGrid(times[:1], _up(ys), _up(xs))
        posteriors = []
        if self._by_modes:
            correlation = make_prior(space, options)
            for share in _modes_in_time(times, prior.time_scale, prior.temporal):
                mode = copy(correlation)  # the factors are shared
                mode.variance = share
                posteriors.append(Posterior(mode, deviation[None], weights[None]))
        else:
            grid = LocalGrid(times, space.y, space.x)
            correlation = make_prior(grid, options)
            posteriors.append(Posterior(correlation, deviation[None], weights[None]))
        return _Tile(posteriors, core, y, x, row_of, column_of)


def _up(axis: np.ndarray) -> np.ndarray:
    """An axis of the same distances that increases: a mirrored map has the same posterior."""
    return -axis if axis[0] > axis[-1] else axis


def _axis(size: int, scale_cells: float, *, whole: bool, periodic: bool = False) -> AxisPlan:
    """Tiles of one axis: one without halo if the grid is small."""
    if whole and not periodic:
        return AxisPlan(size, 1, 0, periodic=False)
    halo = int(np.ceil(HALO_SCALES * scale_cells))
    core = max(int(CORE_SCALES * scale_cells), 16)
    if periodic:
        # At most once round: near the poles the halo meets itself.
        count = max(1, -(-size // core))
        longest = -(-size // count)
        return AxisPlan(size, count, max(min(halo, (size - longest) // 2), 0), periodic=True)
    if core + 2 * halo >= size:
        return AxisPlan(size, 1, 0, periodic=False)
    return AxisPlan(size, -(-size // core), halo, periodic=False)


def _modes_in_time(times: np.ndarray, scale: float, kernel: str) -> list[float]:
    """Variances of the modes of the correlation in time."""
    import torch

    from xinverse.priors.kernels import TIME_KERNELS

    axis = torch.as_tensor(times.copy(), dtype=torch.float64)
    values = torch.linalg.eigvalsh(TIME_KERNELS[kernel]((axis[:, None] - axis).abs(), scale))
    return [float(v) for v in values if v > NEGLIGIBLE_MODE * values.max()]
