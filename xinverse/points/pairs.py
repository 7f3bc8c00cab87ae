"""Pairs of withheld points and the maps interpolated to them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import DataError
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import make_grid
from xinverse.fields.values import in_units_of, unpacked
from xinverse.points.from_maps import interpolate
from xinverse.points.positions import (
    Extent,
    find_layout,
    find_point_variable,
    read_positions,
    read_values,
)

__all__ = ["Pairs", "pair"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Values of withheld points and of maps, at the points that can be scored.

    Parameters
    ----------
    days, y, x : ndarray, shape (points,)
        Positions in the units of the grid of the maps.
    truth, maps : ndarray, shape (points,)
        Finite.
    left_out : int
        Points within the grid that lie next to land.
    origin : DataArray
        Time coordinate; days count from its first value.
    geographic : bool
        Whether y and x are in degrees; otherwise in km.
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

    Parameters and errors are those of :func:`xinverse.scores.along_track`.
    """
    axes, analysis = find_axes(analysis, dims), unpacked(analysis)
    grid = make_grid(analysis, axes)
    layout = find_layout(points, axes, geographic=grid.geographic)
    name = find_point_variable(points, layout, variable)
    measured = in_units_of(unpacked(points[name]), analysis, "points")
    origin = analysis[axes.time]
    positions = read_positions(points, layout, origin, grid.geographic)
    truth = read_values(measured)
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
