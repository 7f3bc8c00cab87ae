"""Find the positions and values of along-track points."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
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
from xinverse.fields.values import holds_a_field, refuse_unusable, unpacked

__all__ = [
    "Extent",
    "PointLayout",
    "find_layout",
    "find_point_variable",
    "flattened",
    "read_positions",
    "read_values",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PointLayout:
    """Names of the dimensions of points and of the variables with their positions."""

    dims: tuple[Hashable, ...]
    time: Hashable
    y: Hashable
    x: Hashable

    @property
    def dim(self) -> Hashable:
        """The only dimension of points along a track."""
        (only,) = self.dims
        return only


class Extent:
    """Range of points in time, y and x, for error messages.

    Parameters
    ----------
    geographic : bool
        Whether y and x are in degrees; otherwise in km.
    """

    def __init__(self, geographic: bool) -> None:
        self._units = "degrees" if geographic else "km"
        self._low = np.full(3, np.inf)
        self._high = np.full(3, -np.inf)

    @classmethod
    def of(cls, grid: Grid) -> Extent:
        """Return the extent of the cell centres of a grid."""
        extent = cls(grid.geographic)
        extent.widen(grid.time, grid.y, grid.x)
        return extent

    def widen(self, days: Floats, y: Floats, x: Floats) -> None:
        """Include more points; NaN is ignored."""
        for axis, values in enumerate((days, y, x)):
            self._low[axis] = np.fmin.reduce(values, initial=self._low[axis])
            self._high[axis] = np.fmax.reduce(values, initial=self._high[axis])

    def describe(self, origin: xr.DataArray) -> str:
        """Describe the extent; days count from the first value of the time coordinate."""
        if not np.isfinite([self._low, self._high]).all():
            return "nothing (no valid position)"
        first, last = date_after(origin, np.array([self._low[0], self._high[0]]))
        (south, west), (north, east) = self._low[1:], self._high[1:]
        return (
            f"{str(first)[:19]} to {str(last)[:19]}, y {south:g} to {north:g} and "
            f"x {west:g} to {east:g} {self._units}"
        )


def find_layout(
    points: xr.Dataset, axes: Axes, *, geographic: bool, swath: bool = False
) -> PointLayout:
    """Find the time, y and x of points by CF attributes, then by name.

    Parameters
    ----------
    points : Dataset
        Only its labels are read.
    axes : Axes
        Names of the grid's axes; points on a projected grid have y and x of the same names.
    geographic : bool
        Whether y and x are latitude and longitude.
    swath : bool, default False
        Whether positions may have several dimensions, such as line and pixel; the time may
        then lie along some of them, or along others, as of a curvilinear grid.

    Returns
    -------
    PointLayout

    Raises
    ------
    AxesError
        One of the three is missing or ambiguous, or they have no common dimensions.
    """
    time = _find(points, "time", axes.time)
    if geographic:
        y, x = _find(points, "y", axes.y), _find(points, "x", axes.x)
    else:
        y, x = (_named(points, name) for name in (axes.y, axes.x))
    dims = {name: points[name].dims for name in (time, y, x)}
    if set(dims[y]) != set(dims[x]):
        raise AxesError(
            f"The positions of the points have the dimensions {dims}. Expected one common "
            "dimension, or for a swath y and x on the same dimensions."
        )
    own = tuple(dim for dim in dims[time] if dim not in dims[y])
    if not swath and len(own) + len(dims[y]) != 1:
        raise AxesError(
            f"The positions of the points have the dimensions {dims}. Expected one common "
            "dimension: stack the two of a swath, "
            f"points.stack(point={[*own, *dims[y]]!r}).reset_index('point')."
        )
    return PointLayout((*own, *dims[y]), time, y, x)


def flattened(points: xr.Dataset, layout: PointLayout, names: Iterable[Hashable]) -> xr.Dataset:
    """Return variables of a swath along one dimension.

    Parameters
    ----------
    points : Dataset
        The points, or a part of them; returned as it is if they lie along one dimension.
    layout : PointLayout
        From :func:`find_layout`.
    names : iterable of hashable
        The variables, on some of the dimensions of the points; repeated along the others.

    Returns
    -------
    Dataset
    """
    if len(layout.dims) == 1:
        return points
    sizes = {dim: points.sizes[dim] for dim in layout.dims}
    whole = {name: points.variables[name].set_dims(sizes) for name in names}
    return xr.Dataset({name: v.stack(_points=layout.dims) for name, v in whole.items()})


def find_point_variable(
    points: xr.Dataset, layout: PointLayout, variable: Hashable | None, ignore: object = None
) -> Hashable:
    """Return the name of the variable to use: `variable`, or the only one of floats.

    Parameters
    ----------
    points : Dataset
        Only its labels are read.
    layout : PointLayout
        From :func:`find_layout`.
    variable : hashable, optional
        The name that the user gave.
    ignore : object, optional
        Name of a variable to pass over, such as the noise.

    Raises
    ------
    OptionError
        `variable` does not lie along the points, or there is not exactly one candidate.
    """
    where = " and ".join(map(repr, layout.dims))
    along = [
        name
        for name in points.data_vars
        if set(points[name].dims) == set(layout.dims)
        and holds_a_field(points[name])
        and name not in (layout.time, layout.y, layout.x, ignore)
    ]
    if variable is not None:
        if variable not in points or set(points[variable].dims) != set(layout.dims):
            raise OptionError(
                f"variable={variable!r} is not along {where} in the points. "
                f"Expected one of {along}."
            )
        return variable
    if len(along) != 1:
        raise OptionError(
            f"The points hold {'the variables ' + str(along) if along else 'no variable'} of "
            f"floats along {where}. Choose one with variable=."
        )
    return along[0]


def read_positions(
    points: xr.Dataset, layout: PointLayout, origin: xr.DataArray, geographic: bool
) -> tuple[Floats, Floats, Floats]:
    """Load the positions of points, in the units of :class:`~xinverse.fields.grid.Grid`.

    Parameters
    ----------
    points : Dataset
        The points, or a part of them.
    layout : PointLayout
        From :func:`find_layout`.
    origin : DataArray
        Time coordinate of the grid; days count from its first value.
    geographic : bool
        Whether y and x are in degrees; otherwise they are converted to km.

    Returns
    -------
    days, y, x : ndarray, shape (points,)
        NaN for a missing position.
    """
    y, x = (
        unpacked(points[name]).to_numpy().astype(np.float64) for name in (layout.y, layout.x)
    )
    if not geographic:
        y = y * KM_PER_UNIT[spatial_units(points[layout.y], "y")]
        x = x * KM_PER_UNIT[spatial_units(points[layout.x], "x")]
    return days_after(origin, points[layout.time]), y, x


def read_values(points: xr.DataArray) -> Floats:
    """Load unpacked values along tracks as float64, NaN where missing.

    Raises
    ------
    DataError
        Values are infinite, or fill values.
    """
    values = points.to_numpy().astype(np.float64)
    refuse_unusable(values, f"The variable {points.name!r} of the points")
    return values


def _find(points: xr.Dataset, role: str, like: Hashable) -> Hashable:
    known = {name: v for name, v in points.variables.items() if v.ndim}
    candidates = [name for name, v in known.items() if _says(v, role)]
    if not candidates:
        names = NAMES["time" if role == "time" else "y" if role == "y" else "x"]
        candidates = [name for name in known if str(name).lower() in names]
    # A file may hold the positions of two instruments: prefer the name of the grid's axis.
    if len(candidates) > 1 and like in candidates:
        return like
    # A swath also holds the positions of its nadir, or indices of its lines and pixels.
    most = max((known[name].ndim for name in candidates), default=0)
    candidates = [name for name in candidates if role == "time" or known[name].ndim == most]
    if len(candidates) != 1:
        word = {"time": "time", "y": "latitude", "x": "longitude"}[role]
        raise AxesError(
            f"The points have {candidates or 'no variable'} as {word}, by standard_name, units "
            f"and name, among {sorted(map(str, known))}. Expected one: set its attribute "
            f"standard_name={word!r}, or rename it to {word!r}."
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
            f"The grid is projected, with the axis {name!r}, but the points only have "
            f"{sorted(map(str, points.variables))}. Project the points to variables with the "
            "names of the grid's axes."
        )
    return name
