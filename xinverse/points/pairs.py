"""Withheld points and the maps interpolated to them, side by side."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import DataError
from xinverse.fields.alignment import check_units
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import make_grid
from xinverse.points.from_maps import interpolate
from xinverse.points.positions import (
    Extent,
    find_layout,
    find_point_variable,
    read_positions,
)

__all__ = ["Pairs", "pair"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """What was withheld and what the maps say there, along the points that can be scored.

    Parameters
    ----------
    days, y, x : ndarray, shape (points,)
        Positions in the units of the maps' grid.
    truth, maps : ndarray, shape (points,)
        Finite.
    left_out : int
        Points between centres of the grid that have land beside them.
    origin : DataArray
        The time coordinate from whose first value days count.
    geographic : bool
        Whether y and x are degrees; else kilometres.
    """

    days: Floats
    y: Floats
    x: Floats
    truth: Floats
    maps: Floats
    left_out: int
    origin: xr.DataArray
    geographic: bool


def pair(
    analysis: xr.DataArray,
    points: xr.Dataset,
    variable: Hashable | None,
    mask: Any,
    dims: Mapping[str, Hashable] | None,
) -> Pairs:
    """Interpolate maps to withheld points, and keep the points that can be scored.

    Parameters
    ----------
    analysis : DataArray
        Maps on (time, y, x) in any order, NaN on land; read in blocks of time steps.
    points : Dataset
        Values along one dimension with their time, latitude and longitude.
    variable : hashable, optional
        What to score against; by default the only variable of floats along the points.
    mask : DataArray or array_like, optional
        On (y, x), True over the sea. Without it, cells that are always NaN are land.
    dims : mapping, optional
        Dimensions of `analysis` that are not found by themselves.

    Returns
    -------
    Pairs

    Raises
    ------
    AxesError, GridError, UnitsError, OptionError
        Axes, positions or the variable are not understood, or units differ.
    MaskError
        The mask does not lie on the grid's y and x.
    DataError
        The maps have unfilled gaps, points are infinite, or none can be scored.
    """
    axes = find_axes(analysis, dims)
    grid = make_grid(analysis, axes)
    layout = find_layout(points, axes, geographic=grid.geographic)
    name = find_point_variable(points, layout, variable)
    check_units(analysis, points[name])
    origin = analysis[axes.time]
    positions = read_positions(points, layout, origin, grid.geographic)
    truth = points[name].to_numpy().astype(np.float64)
    if np.isinf(truth).any():
        raise DataError(
            f"{name!r} has {int(np.isinf(truth).sum())} infinite values along the tracks: "
            "replace them, or put NaN there."
        )
    valid = np.isfinite(truth)
    held = [position[valid] for position in positions]
    maps, inside = interpolate(analysis, axes, grid, held, mask)
    scored = inside & np.isfinite(maps)
    if not scored.any():
        extent = Extent(grid.geographic)
        extent.widen(*positions)
        raise DataError(
            f"No point of {name!r} can be scored. The points cover {extent.describe(origin)}; "
            f"the maps cover {Extent.of(grid).describe(origin)}."
        )
    days, y, x = (position[scored] for position in held)
    return Pairs(
        days=days,
        y=y,
        x=x,
        truth=truth[valid][scored],
        maps=maps[scored],
        left_out=int((inside & ~scored).sum()),
        origin=origin,
        geographic=grid.geographic,
    )
