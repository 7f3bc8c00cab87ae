"""Which tile a method wants: halo by its scales, core by memory and metric."""

from __future__ import annotations

from math import ceil, cos, radians, tan

import numpy as np

from xinverse.fields.grid import Grid
from xinverse.methods.base import Footprint
from xinverse.methods.problem import Layout, Source

__all__ = [
    "METRIC_ERROR",
    "correlation_halo",
    "covered_cells",
    "largest_tile",
    "observation_halo",
    "whole_series",
]

Halo = tuple[int, int, int]

# The local metric may be wrong by this share at the northern and southern edge of a core.
METRIC_ERROR = 0.08

# Poleward of this latitude (the reach of the reference altimeters) neither halo nor metric
# is held to: a degree of longitude shrinks to nothing, and a tile would be the whole globe.
POLEWARD = 66.0

# Side of a tile, in cells, from which the cost per cell grows. For a dense image, "oi" took 10
# microseconds per cell at 128 x 128, 28 at 192 x 192 and 44 at 256 x 256 (power 2.1).
GROWING = 128

SERIES_HALO = 8  # cells that overlap in space, where a whole series is one tile in time


def correlation_halo(
    grid: Grid, length_scale: float, time_scale: float
) -> tuple[int, int, int]:
    """Cells within two correlation scales, beyond which an observation hardly counts.

    Parameters
    ----------
    grid : Grid
        The whole grid.
    length_scale, time_scale : float
        In km and days.
    """
    dy, dx = grid.spacing_km
    if grid.geographic:
        step_y, step_x = (float(np.median(np.abs(np.diff(c)))) for c in (grid.y, grid.x))
        dx = dy * step_x / step_y * cos(radians(_poleward(grid)))
    step = grid.time_step if grid.time.size > 1 else 1.0
    return (
        ceil(2 * time_scale / step),
        ceil(2 * length_scale / dy),
        ceil(2 * length_scale / dx),
    )


def observation_halo(layout: Layout, length_scale: float, time_scale: float) -> Halo:
    """Two correlation scales, and in space the reach of what the observations average.

    An observation at the edge of a tile is a mean over cells beyond it: half the kernel of
    a blur, or a larger cell, which counts only if the tile holds it as a whole.

    Parameters
    ----------
    layout : Layout
        The whole grid and its sources.
    length_scale, time_scale : float
        In km and days.
    """
    grid = layout.grid
    t, y, x = correlation_halo(grid, length_scale, time_scale)
    reach = [_reach(source, grid) for source in layout.sources]
    return t, y + max(r[0] for r in reach), x + max(r[1] for r in reach)


def covered_cells(source: Source, grid: Grid) -> tuple[int, int]:
    """Cells of the grid along y and x that one cell of a source covers, at most.

    Parameters
    ----------
    source : Source
        Zero cells, unless it is on its own grid.
    grid : Grid
        The whole grid.
    """
    if not source.own_grid:
        return 0, 0
    y, x = (
        ceil(float(np.abs(np.diff(there)).max() / np.abs(np.diff(here)).min()))
        for there, here in ((source.grid.y, grid.y), (source.grid.x, grid.x))
    )
    return y, x


def _reach(source: Source, grid: Grid) -> tuple[int, int]:
    """Cells along y and x."""
    if source.own_grid:
        return covered_cells(source, grid)
    options = {} if source.operator is None else source.operator.options
    if "psf" in options:
        side_y, side_x = np.shape(options["psf"])
        return side_y // 2, side_x // 2
    if "scale" in options:  # two standard deviations hold 95 % of a Gaussian
        _, y, x = correlation_halo(grid, float(np.max(options["scale"])), 0.0)
        return y, x
    return 0, 0


def largest_tile(
    grid: Grid, halo: Halo, bytes_per_cell: float, budget: float, *, cost_growth: float = 0.0
) -> Footprint:
    r"""The core that solves fewest cells, of those whose tile fits the memory.

    Rows are limited by the local metric: half a core's height times the tangent of the
    latitude is the relative error of east-west distances at its edge. Of the cores whose
    tile fits with one time halo, that with the least work :math:`n_{tile} / n_{core}` is
    chosen; time takes what memory is left. Where the cost per cell of a solve grows as the
    power :math:`p` of the side of a tile, work is
    :math:`n_{tile} / n_{core} \max(1, s / 128)^p`, for tiles of :math:`s^2` cells in space,
    and counts where it saves more than half. Nothing here depends on chunks or values.

    Parameters
    ----------
    grid : Grid
        The whole grid.
    halo : tuple of int
        Cells along (time, y, x).
    bytes_per_cell, budget : float
        Memory of a solve per cell of its tile, and in all.
    cost_growth : float
        The power :math:`p`.
    """
    nt, ny, nx = grid.shape
    cells, highest, reason = budget / bytes_per_cell, ny, []
    if grid.geographic:
        step = radians(float(np.median(np.abs(np.diff(grid.y)))))
        slope = tan(radians(max(_poleward(grid), 10.0)))
        highest = min(ny, max(int(2 * METRIC_ERROR / slope / step), 2 * halo[1]))
    least = max(halo[1], halo[2], 16) // 2
    y, y_tile = _cores(ny, highest, least, halo[1])
    x, x_tile = _cores(nx, nx, least, halo[2], wraps=grid.periodic)
    plane = y_tile[:, None] * x_tile
    days = np.maximum(cells // plane - 2 * halo[0], max(2 * halo[0], 1))
    days = np.where(nt <= days + 2 * halo[0], nt, days)
    length = np.where(days < nt, days + 2 * halo[0], nt)
    # Tiles of an axis are equally long, the last of it too.
    counts = [np.ceil(n / core) for n, core in ((nt, days), (ny, y[:, None]), (nx, x))]
    work = counts[0] * counts[1] * counts[2] * length * plane / (nt * ny * nx)
    work = np.where(plane * length <= cells, work, np.inf)
    if np.isinf(work).all():  # none fits: the smallest, to say so
        work = 1.0 * plane
    at = int(np.argmin(work))
    costs = work * np.maximum(1.0, np.sqrt(plane) / GROWING) ** cost_growth
    cheapest = int(np.argmin(costs))
    if 2 * costs.flat[cheapest] < costs.flat[at]:
        at = cheapest
        reason.append("tiles in space that cost less to solve than larger ones")
    row, column = np.unravel_index(at, plane.shape)
    core = int(days[row, column]), int(y[row]), int(x[column])
    reason.append(f"tiles within {budget / 2**20:.0f} MiB")
    return Footprint(core, halo, "; ".join(reason))


def _cores(
    size: int, longest: int, least: int, halo: int, *, wraps: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The possible cores along an axis, the longest first, and the tiles around them."""
    least = min(least, longest)
    counts = np.arange(ceil(size / longest), max(size // least, ceil(size / longest)) + 1)
    cores = np.unique(-(-size // counts))[::-1]
    tiles = cores + 2 * halo
    if not wraps:  # an axis that a tile covers has one tile
        cores = np.where(tiles >= size, size, cores)
        tiles = np.minimum(tiles, size)
    return cores, tiles


def whole_series(grid: Grid, bytes_per_cell: float, budget: float) -> Footprint:
    """Tile with all times, and in space the largest that memory holds.

    Parameters
    ----------
    grid : Grid
        The whole grid.
    bytes_per_cell, budget : float
        Memory of a solve per cell of its tile, and in all.
    """
    nt = grid.shape[0]
    found = largest_tile(grid, (nt, SERIES_HALO, SERIES_HALO), bytes_per_cell, budget)
    core, halo = (nt, *found.core[1:]), (0, *found.halo[1:])
    return Footprint(core, halo, f"the whole series; {found.reason}")


def _poleward(grid: Grid) -> float:
    return min(float(np.abs(grid.y).max()), POLEWARD)
