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


def _reach(source: Source, grid: Grid) -> tuple[int, int]:
    """Cells along y and x."""
    if source.own_grid:
        y, x = (
            ceil(float(np.median(np.abs(np.diff(there))) / np.median(np.abs(np.diff(here)))))
            for there, here in ((source.grid.y, grid.y), (source.grid.x, grid.x))
        )
        return y, x
    options = {} if source.operator is None else source.operator.options
    if "psf" in options:
        side_y, side_x = np.shape(options["psf"])
        return side_y // 2, side_x // 2
    if "scale" in options:  # two standard deviations hold 95 % of a Gaussian
        _, y, x = correlation_halo(grid, float(np.max(options["scale"])), 0.0)
        return y, x
    return 0, 0


def largest_tile(
    grid: Grid, halo: tuple[int, int, int], bytes_per_cell: float, budget: float
) -> Footprint:
    """The largest core whose tile fits the memory and whose metric holds.

    Rows are limited by the local metric: half a core's height times the
    tangent of the latitude is about the relative error of east-west distances at
    its edge, up to the latitude `POLEWARD`. Then space is halved until a tile of one time
    halo fits, and time takes what is left. Nothing here depends on chunks.

    Parameters
    ----------
    grid : Grid
        The whole grid.
    halo : tuple of int
        Cells along (time, y, x).
    bytes_per_cell, budget : float
        What a solve takes for each cell of its tile, and may take in all.
    """
    nt, ny, nx = grid.shape
    cells, core_y, core_x = budget / bytes_per_cell, ny, nx
    if grid.geographic:
        step = radians(float(np.median(np.abs(np.diff(grid.y)))))
        slope = tan(radians(max(_poleward(grid), 10.0)))
        core_y = min(ny, max(int(2 * METRIC_ERROR / slope / step), 2 * halo[1]))

    def plane() -> int:
        wrapped = nx + 2 * halo[2] if grid.periodic else nx
        return min(core_y + 2 * halo[1], ny) * min(core_x + 2 * halo[2], wrapped)

    shortest = min(max(2 * halo[0], 1) + 2 * halo[0], nt)
    while plane() * shortest > cells and max(core_x, core_y) > max(halo[1], halo[2], 16):
        if core_x >= core_y:
            core_x = ceil(core_x / 2)
        else:
            core_y = ceil(core_y / 2)
    days = max(int(cells // plane()) - 2 * halo[0], 2 * halo[0], 1)
    core_t = nt if nt <= days + 2 * halo[0] else days
    return Footprint((core_t, core_y, core_x), halo, f"tiles within {budget / 2**20:.0f} MiB")


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
