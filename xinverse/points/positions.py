"""Labelled points along tracks to plain numbers on a grid's axes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import AxesError, OptionError
from xinverse.fields.axes import NAMES, Axes
from xinverse.fields.clock import date_after, days_after
from xinverse.fields.coordinates import DEGREES, STANDARD_NAMES, spatial_units
from xinverse.fields.grid import Grid
from xinverse.fields.units import KM_PER_UNIT

__all__ = [
    "Extent",
    "PointLayout",
    "find_layout",
    "find_point_variable",
    "read_positions",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PointLayout:
    """Names that a dataset of points uses.

    Parameters
    ----------
    dim : hashable
        The dimension along which the points lie.
    time, y, x : hashable
        The variables or coordinates that hold their positions.
    """

    dim: Hashable
    time: Hashable
    y: Hashable
    x: Hashable


class Extent:
    """First and last day, y and x of points, for an error's text.

    Parameters
    ----------
    geographic : bool
        Whether y and x are degrees; else kilometres.
    """

    def __init__(self, geographic: bool) -> None:
        self._units = "degrees" if geographic else "km"
        self._low = np.full(3, np.inf)
        self._high = np.full(3, -np.inf)

    @classmethod
    def of(cls, grid: Grid) -> Extent:
        """Take the extent of a grid's centres.

        Parameters
        ----------
        grid : Grid
            Whose.

        Returns
        -------
        Extent
            In the grid's units.
        """
        extent = cls(grid.geographic)
        extent.widen(grid.time, grid.y, grid.x)
        return extent

    def widen(self, days: Floats, y: Floats, x: Floats) -> None:
        """Take in more points.

        Parameters
        ----------
        days, y, x : ndarray
            Positions in the grid's units; NaN is left out.
        """
        for axis, values in enumerate((days, y, x)):
            self._low[axis] = np.fmin.reduce(values, initial=self._low[axis])
            self._high[axis] = np.fmax.reduce(values, initial=self._high[axis])

    def describe(self, origin: xr.DataArray) -> str:
        """Return the extent in words.

        Parameters
        ----------
        origin : DataArray
            Time coordinate; days count from its first value.

        Returns
        -------
        str
            Such as ``"2020-01-01 to 2020-01-03, y 30 to 40 and x 0 to 10 degrees"``.
        """
        if not np.isfinite([self._low, self._high]).all():
            return "nothing (no valid position)"
        first, last = date_after(origin, np.array([self._low[0], self._high[0]]))
        (south, west), (north, east) = self._low[1:], self._high[1:]
        return (
            f"{str(first)[:19]} to {str(last)[:19]}, y {south:g} to {north:g} and "
            f"x {west:g} to {east:g} {self._units}"
        )


def find_layout(points: xr.Dataset, axes: Axes, *, geographic: bool) -> PointLayout:
    """Find the time, y and x of each point: coordinates or variables, by CF, then by name.

    Parameters
    ----------
    points : Dataset
        Its data are not touched.
    axes : Axes
        Names of the grid's axes; points on a projected grid use the same names for y and x.
    geographic : bool
        Whether y and x are latitude and longitude.

    Returns
    -------
    PointLayout
        Names of the dimension and of the positions.

    Raises
    ------
    AxesError
        One of the three is missing, has several candidates, or they do not lie along one
        common dimension.
    """
    time = _find(points, "time", axes.time)
    if geographic:
        y, x = _find(points, "y", axes.y), _find(points, "x", axes.x)
    else:
        y, x = (_named(points, name) for name in (axes.y, axes.x))
    dims = {name: points[name].dims for name in (time, y, x)}
    if len(set(dims.values())) != 1 or len(dims[y]) != 1:
        raise AxesError(
            f"The positions of the points have the dimensions {dims}. Expected one common "
            "dimension: make it with points.stack(point=[...]) where a swath has two."
        )
    return PointLayout(dims[y][0], time, y, x)


def find_point_variable(
    points: xr.Dataset, layout: PointLayout, variable: Hashable | None, ignore: object = None
) -> Hashable:
    """Find the variable to grid or score: the one given, or the only one of floats.

    Parameters
    ----------
    points : Dataset
        Its data are not touched.
    layout : PointLayout
        From :func:`find_layout`.
    variable : hashable, optional
        The one that the user named.
    ignore : object, optional
        A name that is something else, such as that of the noise.

    Returns
    -------
    hashable
        A name.

    Raises
    ------
    OptionError
        The one given is not there or not along the points, or there are several, or none.
    """
    along = [
        name
        for name in points.data_vars
        if points[name].dims == (layout.dim,)
        and points[name].dtype.kind == "f"
        and name not in (layout.time, layout.y, layout.x, ignore)
    ]
    if variable is not None:
        if variable not in points or points[variable].dims != (layout.dim,):
            raise OptionError(
                f"variable={variable!r} is not along {layout.dim!r} in the points. "
                f"Expected one of {along}."
            )
        return variable
    if len(along) != 1:
        raise OptionError(
            f"The points hold {'the variables ' + str(along) if along else 'no variable'} of "
            f"floats along {layout.dim!r}. Say which to use with variable=."
        )
    return along[0]


def read_positions(
    points: xr.Dataset, layout: PointLayout, origin: xr.DataArray, geographic: bool
) -> tuple[Floats, Floats, Floats]:
    """Positions of points in the units of a :class:`~xinverse.fields.grid.Grid`.

    Parameters
    ----------
    points : Dataset
        Or a part of it; its positions are loaded.
    layout : PointLayout
        From :func:`find_layout`.
    origin : DataArray
        The time coordinate of the grid; days count from its first value.
    geographic : bool
        Whether y and x are degrees; else lengths, which become kilometres.

    Returns
    -------
    tuple of ndarray, each of shape (points,)
        Days, y and x; NaN where a position is missing.
    """
    y, x = (points[name].to_numpy().astype(np.float64) for name in (layout.y, layout.x))
    if not geographic:
        y = y * KM_PER_UNIT[spatial_units(points[layout.y], "y")]
        x = x * KM_PER_UNIT[spatial_units(points[layout.x], "x")]
    return days_after(origin, points[layout.time]), y, x


def _find(points: xr.Dataset, role: str, like: Hashable) -> Hashable:
    one_dim = {name: v for name, v in points.variables.items() if v.ndim == 1}
    candidates = [name for name, v in one_dim.items() if _says(v, role)]
    if not candidates:
        names = NAMES["time" if role == "time" else "y" if role == "y" else "x"]
        candidates = [name for name in one_dim if str(name).lower() in names]
    # A file may hold the positions of two instruments: the grid's own name decides.
    if len(candidates) > 1 and like in candidates:
        return like
    if len(candidates) != 1:
        word = {"time": "time", "y": "latitude", "x": "longitude"}[role]
        raise AxesError(
            f"The {word} of the points was looked for among {sorted(map(str, one_dim))} by "
            f"standard_name, units and name, and found {candidates or 'nowhere'}. Give one "
            f"variable the attribute standard_name={word!r}, or rename it to {word!r}."
        )
    return candidates[0]


def _says(variable: xr.Variable, role: str) -> bool:
    standard_name, units = (variable.attrs.get(key) for key in ("standard_name", "units"))
    if role == "time":
        return standard_name == "time" or (
            variable.dtype.kind == "M" and variable.attrs.get("axis") == "T"
        )
    role_ = "y" if role == "y" else "x"
    return (
        standard_name in STANDARD_NAMES[role_][:1] or str(units).lower() in DEGREES[role_]
    ) and variable.dtype.kind in "iuf"


def _named(points: xr.Dataset, name: Hashable) -> Hashable:
    if name not in points.variables:
        raise AxesError(
            f"The grid is projected, with the axis {name!r}, and the points have no variable "
            f"of that name, only {sorted(map(str, points.variables))}. Project them first."
        )
    return name
