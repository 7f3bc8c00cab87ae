"""The positions of a grid's cells as plain numbers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import cos, nan, radians
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xinverse.constants import KM_PER_DEGREE
from xinverse.errors import GridError
from xinverse.fields import coordinates
from xinverse.fields.values import unpacked

if TYPE_CHECKING:
    import xarray as xr

    from xinverse.fields.axes import Axes

__all__ = ["REGULAR_WITHIN", "Grid", "make_grid"]

# Coordinates in files are rounded (float32, four decimals ...). An offset of this share of
# a spacing does not change results; a missing row is an offset of a whole spacing.
REGULAR_WITHIN = 0.02

MIN_CELLS = 2  # for a spacing
MIN_CELLS_ROUND = 3  # with two, a step east equals a step west

Index = slice | NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Grid:
    """Positions of the cells of a field, in days and degrees or kilometres.

    Parameters
    ----------
    time : ndarray, shape (nt,)
        Days since the first time step of the whole field, ascending.
    y : ndarray, shape (ny,)
        Degrees north if geographic, else kilometres; ascending or descending.
    x : ndarray, shape (nx,)
        Degrees east if geographic, unwrapped to be monotonic, else kilometres;
        ascending or descending.
    geographic : bool
        Whether ``y`` and ``x`` are latitude and longitude.
    periodic : bool
        Whether ``x`` covers the full circle, so that the last column is next to the first.
    """

    time: np.ndarray
    y: np.ndarray
    x: np.ndarray
    geographic: bool
    periodic: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of cells along (time, y, x)."""
        return self.time.size, self.y.size, self.x.size

    @property
    def time_step(self) -> float:
        """Median time step in days; NaN for a single time step."""
        return _median_step(self.time)

    @property
    def regular_time(self) -> bool:
        """Whether all time steps are equal; True for a single step."""
        return _is_regular(self.time)

    @property
    def regular_space(self) -> bool:
        """Whether the spacing is constant along y and along x."""
        return _is_regular(self.y) and _is_regular(self.x)

    @property
    def spacing_km(self) -> tuple[float, float]:
        """Median spacing ``(dy, dx)`` in km.

        On a geographic grid ``dx = R cos(latitude) dlon``, with the latitude halfway
        between the southern and the northern edge.
        """
        dy, dx = _median_step(self.y), _median_step(self.x)
        if self.geographic:
            middle = 0.5 * (float(self.y.min()) + float(self.y.max()))
            dy, dx = dy * KM_PER_DEGREE, dx * KM_PER_DEGREE * cos(radians(middle))
        return dy, dx

    def cut(self, t: Index, y: Index, x: Index) -> Grid:
        """Return the grid of a subset, such as a tile with its halo.

        Parameters
        ----------
        t, y, x : slice or integer array
            Cells to keep along each axis. On a periodic grid the indices of ``x`` may
            cross the edge (..., nx-1, 0, 1, ...); longitudes are then shifted by multiples
            of 360 degrees to stay monotonic.

        Returns
        -------
        Grid
            Times still count from the first time step of the whole field. The subset is
            periodic if it holds every column once.
        """
        columns = self.x[x]
        if self.periodic:
            columns = np.unwrap(columns, period=coordinates.FULL_CIRCLE)
        whole_circle = self.periodic and _goes_round(columns)
        return Grid(self.time[t], self.y[y], columns, self.geographic, whole_circle)


def make_grid(obj: xr.DataArray | xr.Dataset, axes: Axes) -> Grid:
    """Read the grid from the coordinates of a labelled object.

    Parameters
    ----------
    obj : DataArray or Dataset
        With a one-dimensional coordinate variable for each axis; its data are not read.
    axes : Axes
        The names of the time, y and x dimensions.

    Returns
    -------
    Grid
        Time in days. Space in degrees if the coordinates are latitude and longitude (by
        units, ``standard_name`` or name; rotated-pole ones have the same metric), and in
        kilometres if their units are a length.

    Raises
    ------
    GridError
        If a coordinate is missing, not finite, duplicated, not monotonic or out of range,
        an axis is too short, or the last column of a global grid repeats the first.
    UnitsError
        If units are unknown, or missing and the name does not imply them.
    """
    time = coordinates.read_time(_coordinate(obj, axes.time))
    y_coordinate, x_coordinate = _coordinate(obj, axes.y), _coordinate(obj, axes.x)
    for role, coordinate in (("y", y_coordinate), ("x", x_coordinate)):
        if coordinate.size < MIN_CELLS:
            raise GridError(
                f"The {role} axis {coordinate.name!r} has {coordinate.size} cell. Expected at "
                f"least {MIN_CELLS}: give a field with two dimensions in space, or name other "
                "dimensions with dims={'y': ..., 'x': ...}."
            )
    y, y_degrees = coordinates.read_space(y_coordinate, "y")
    x, x_degrees = coordinates.read_space(x_coordinate, "x")
    if y_degrees != x_degrees:
        kinds = {True: "in degrees", False: "a length"}
        raise GridError(
            f"The y axis {axes.y!r} is {kinds[y_degrees]} but the x axis {axes.x!r} is "
            f"{kinds[x_degrees]}. Expected latitude and longitude, or two lengths: set "
            "their 'units' attributes, or name other dimensions with dims=."
        )
    if x_degrees:
        _refuse_repeated_columns(x, axes.x)
    return Grid(time, y, x, geographic=x_degrees, periodic=x_degrees and _goes_round(x))


def _coordinate(obj: xr.DataArray | xr.Dataset, name: Hashable) -> xr.DataArray:
    if name not in obj.coords:
        raise GridError(
            f"The dimension {name!r} has no coordinate variable, so its positions are unknown. "
            f"Add one: obj.assign_coords({{{name!r}: values}})."
        )
    return unpacked(obj.coords[name])


def _refuse_repeated_columns(x: np.ndarray, name: Hashable) -> None:
    span, step = abs(float(x[-1] - x[0])), _median_step(x)
    if span < coordinates.FULL_CIRCLE - REGULAR_WITHIN * step:
        return
    if span <= coordinates.FULL_CIRCLE + REGULAR_WITHIN * step:
        raise GridError(
            f"The last longitude of {name!r} ({x[-1]:g}) repeats the first ({x[0]:g}), once "
            "round the globe. Expected each column once: drop the last with "
            f"obj.isel({{{name!r}: slice(None, -1)}})."
        )
    raise GridError(
        f"The longitudes of {name!r} cover {span:g} degrees, more than once round the globe. "
        f"Expected each column once: use obj.isel({{{name!r}: slice(...)}})."
    )


def _median_step(values: np.ndarray) -> float:
    return float(np.median(np.abs(np.diff(values)))) if values.size > 1 else nan


def _is_regular(values: np.ndarray) -> bool:
    if values.size <= MIN_CELLS:
        return True
    line, step = np.linspace(values[0], values[-1], values.size, retstep=True)
    return bool(np.max(np.abs(values - line)) <= REGULAR_WITHIN * abs(step))


def _goes_round(x: np.ndarray) -> bool:
    if x.size < MIN_CELLS_ROUND or not _is_regular(x):
        return False
    step = abs(float(x[-1] - x[0])) / (x.size - 1)
    return abs(x.size * step - coordinates.FULL_CIRCLE) <= REGULAR_WITHIN * step
