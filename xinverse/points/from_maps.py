"""Interpolate labelled maps to points."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import DataError
from xinverse.fields.axes import Axes, find_axes
from xinverse.fields.grid import Grid, make_grid
from xinverse.fields.land import find_sea
from xinverse.fields.seam import across_the_seam
from xinverse.fields.values import refuse_unusable, unpacked
from xinverse.points.interpolation import Bracket, bracket, trilinear
from xinverse.points.positions import find_layout, read_positions

__all__ = ["interpolate", "interpolate_to_points"]

_BLOCK = 8_000_000  # cells of the maps in memory at once

Floats = NDArray[np.float64]


@across_the_seam
def interpolate_to_points(
    analysis: xr.DataArray,
    points: xr.Dataset,
    *,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.DataArray:
    """Interpolate maps to points, linearly in time, y and x.

    Parameters
    ----------
    analysis : DataArray
        Maps on (time, y, x) in any order, NaN on land; read in blocks of time steps.
    points : Dataset
        With the time, latitude and longitude of each point along one dimension.
    mask : DataArray or array_like, optional
        On (y, x), True over the sea. Default: cells that are always NaN are land.
    dims : mapping, optional
        Dimensions of `analysis` by role. Default: found automatically.

    Returns
    -------
    DataArray
        Along the dimension of `points`, with its coordinates; NaN outside the grid and next to
        land.

    Raises
    ------
    AxesError, GridError, UnitsError
        Axes or positions are not recognised.
    MaskError
        The mask is not on the y and x of the maps.
    DataError
        The maps are infinite, or have unfilled gaps.
    """
    axes, analysis = find_axes(analysis, dims), unpacked(analysis)
    grid = make_grid(analysis, axes)
    layout = find_layout(points, axes, geographic=grid.geographic)
    positions = read_positions(points, layout, analysis[axes.time], grid.geographic)
    values, _ = interpolate(analysis, axes, grid, list(positions), mask)
    coords = {k: v for k, v in points.coords.items() if v.dims == (layout.dim,)}
    return xr.DataArray(values, coords, (layout.dim,), analysis.name, dict(analysis.attrs))


def interpolate(
    analysis: xr.DataArray,
    axes: Axes,
    grid: Grid,
    positions: list[Floats],
    mask: Any,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Interpolate maps to positions, as :func:`interpolate_to_points`.

    Parameters
    ----------
    analysis : DataArray
        Maps on (time, y, x) in any order.
    axes, grid : Axes, Grid
        Of the maps.
    positions : list of ndarray, each of shape (points,)
        Days, y and x in the units of the grid.
    mask : DataArray or array_like, optional
        On (y, x), True over the sea.

    Returns
    -------
    values : ndarray, shape (points,)
        NaN outside the grid and next to land.
    inside : ndarray of bool, shape (points,)
        True between the outer cell centres of the grid.
    """
    days, y, x = positions
    period = 360.0 if grid.geographic else None
    t_at = bracket(grid.time, days)
    y_at = bracket(grid.y, y)
    x_at = bracket(grid.x, x, period=period, periodic=grid.periodic)
    inside = np.isfinite(t_at[2] + y_at[2] + x_at[2])
    field = analysis.transpose(axes.time, axes.y, axes.x)
    values = np.full(days.size, np.nan)
    seen_nan, seen_value = (np.zeros(grid.shape[1:], dtype=bool) for _ in range(2))
    steps = max(_BLOCK // (grid.shape[1] * grid.shape[2]), 1)
    for first in range(0, grid.shape[0], steps):
        # One extra step: the upper neighbour of the last points.
        data = field[first : first + steps + 1].to_numpy()
        refuse_unusable(data, f"The maps of {analysis.name!r}")
        seen_nan |= np.isnan(data).any(axis=0)
        seen_value |= np.isfinite(data).any(axis=0)
        here = inside & (t_at[0] >= first) & (t_at[0] < first + steps)
        block: list[Bracket] = [
            (lower[here], upper[here], ratio[here])
            for lower, upper, ratio in (t_at, y_at, x_at)
        ]
        block[0] = (block[0][0] - first, block[0][1] - first, block[0][2])
        values[here] = trilinear(data, *block)
    sea = seen_value
    if mask is not None:
        given, _ = find_sea(field[0], None, axes, mask)
        sea = np.ones_like(sea) if given is None else given.to_numpy().astype(bool)
    gaps = int((sea & seen_nan).sum())
    if gaps:
        raise DataError(
            f"The maps have unfilled gaps (NaN at some time) in {gaps} of {int(sea.sum())} "
            "cells of the sea. Fill them, or mark land with mask=."
        )
    return values, inside
