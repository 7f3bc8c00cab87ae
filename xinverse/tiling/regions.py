"""Cut a grid into regions with a bounded sample of each, for statistics that vary slowly."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from xinverse.fields.grid import Grid
from xinverse.tiling.cover import Cover
from xinverse.tiling.eager import Covers
from xinverse.tiling.plan import Tile

__all__ = ["Regions", "regions_of"]

# Width of a region: several correlation scales, and no more cells than fit in memory.
WIDTH_KM, WIDTH_CELLS = 2000.0, 512
LEAST_CELLS = 8
# Times of the sample: up to so many, in one run or two, fewer in regions of many cells.
TIMES, FEWEST_TIMES, CELLS = 60, 24, 6_000_000


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions side by side, and the times of their sample.

    Attributes
    ----------
    rows, columns : ndarray of int
        First cells of the regions along y and x, and the size of the axis.
    times : ndarray of int
        Cells of the sample along time.
    periodic : bool
        Whether the last column of regions is next to the first.
    """

    rows: np.ndarray
    columns: np.ndarray
    times: np.ndarray
    periodic: bool

    @property
    def counts(self) -> tuple[int, int]:
        """Number of regions along y and x."""
        return len(self.rows) - 1, len(self.columns) - 1

    def tile(self, row: int, column: int) -> Tile:
        """The sample of a region, as a tile that is kept as a whole.

        Parameters
        ----------
        row, column : int
            The region.
        """
        y = np.arange(self.rows[row], self.rows[row + 1])
        x = np.arange(self.columns[column], self.columns[column + 1])
        read = (self.times, y, x)
        keep = (slice(0, len(self.times)), slice(0, len(y)), slice(0, len(x)))
        return Tile((0, row, column), (0, int(y[0]), int(x[0])), read, keep)

    def covers(self, count: int, nt: int) -> Covers:
        """The regions near each cell, for an array ``(count, rows, columns)``.

        Parameters
        ----------
        count : int
            Numbers per region.
        nt : int
            Time steps of the grid.
        """
        y = _near(self.rows, periodic=False)
        x = _near(self.columns, periodic=self.periodic)
        return Cover.all_of(count, nt), y, x

    def weights(self, tile: Tile, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Weights of regions at the centre of a tile, by distance in regions.

        Parameters
        ----------
        tile : Tile
            The tile.
        rows, columns : ndarray of int
            The regions.

        Returns
        -------
        ndarray, shape (len(rows), len(columns))
        """
        _, y, x = tile.keep
        middle_y = tile.start[1] + 0.5 * (y.start + y.stop)
        middle_x = tile.start[2] + 0.5 * (x.start + x.stop)
        north = _apart(self.rows, rows, middle_y, periodic=False)
        east = _apart(self.columns, columns, middle_x, periodic=self.periodic)
        return np.exp(-2 * (north[:, None] ** 2 + east**2))


def _apart(edges: np.ndarray, which: np.ndarray, at: float, *, periodic: bool) -> np.ndarray:
    """Distances from the centres of some regions, in regions."""
    size, width = int(edges[-1]), edges[-1] / (len(edges) - 1)
    away = 0.5 * (edges[which] + edges[which + 1]) - at
    if periodic:
        away = (away + size / 2) % size - size / 2
    return away / width


def _near(edges: np.ndarray, *, periodic: bool) -> Cover:
    """For each cell its region and those beside it."""
    count, size = len(edges) - 1, int(edges[-1])
    own = np.searchsorted(edges, np.arange(size), side="right") - 1
    if count <= 3:
        return Cover.all_of(count, size)
    if not periodic:
        return Cover(np.clip(own - 1, 0, None), np.clip(own + 2, None, count), size, count)
    turns = np.concatenate([own - count, own, own + count])
    return Cover(turns - 1, turns + 2, size, count, periodic=True)


def regions_of(grid: Grid) -> Regions:
    """The regions of a grid: a function of the grid alone, not of chunks or tiles.

    Parameters
    ----------
    grid : Grid
        The whole grid.
    """
    nt, ny, nx = grid.shape
    dy, dx = grid.spacing_km if min(ny, nx) > 1 else (1.0, 1.0)
    rows, columns = _edges(ny, dy), _edges(nx, dx)
    area = int(np.diff(rows).max() * np.diff(columns).max())
    length = min(nt, max(FEWEST_TIMES, min(TIMES, CELLS // area)))
    if nt <= length:
        times = np.arange(nt)
    else:  # two runs, with a quarter of the other times before and after
        half = length // 2
        spare = (nt - 2 * half) // 4
        starts = [spare, nt - half - spare]
        times = np.concatenate([start + np.arange(half) for start in starts])
    return Regions(rows, columns, times, grid.periodic)


def _edges(size: int, spacing: float) -> np.ndarray:
    count = max(round(size * spacing / WIDTH_KM), ceil(size / WIDTH_CELLS), 1)
    count = min(count, max(size // LEAST_CELLS, 1))
    edges: np.ndarray = np.linspace(0, size, count + 1).round().astype(int)
    return edges
