"""Find the time, y and x dimensions of a labelled object."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import xarray as xr

from xinverse.errors import AxesError, OptionError

__all__ = ["Axes", "explain_axes", "find_axes"]

Role = Literal["time", "y", "x"]
ROLES: tuple[Role, ...] = ("time", "y", "x")

# Latitude and longitude first: files that have only these set no 'axis' attribute.
CF_KEYS: dict[Role, tuple[str, ...]] = {
    "time": ("T", "time"),
    "y": ("latitude", "Y"),
    "x": ("longitude", "X"),
}
NAMES: dict[Role, tuple[str, ...]] = {
    "time": ("time", "t", "date", "time_counter", "ocean_time", "valid_time"),
    "y": ("lat", "latitude", "nav_lat", "rlat", "y", "j", "northing"),
    "x": ("lon", "long", "longitude", "nav_lon", "rlon", "x", "i", "easting"),
}
CURVILINEAR_NAMES = ("lat", "latitude", "nav_lat", "lon", "longitude", "nav_lon")

# Names of two-dimensional positions in models without CF attributes, such as TLAT and lon_rho.
TWO_DIMENSIONAL: dict[Role, re.Pattern[str]] = {
    "time": re.compile(r"(?!)"),
    "y": re.compile(r"(nav_|geo|[tuvfx])?(lat|latitude)(_[a-z]+)?$", re.IGNORECASE),
    "x": re.compile(r"(nav_|geo|[tuvfx])?(lon|longitude)(_[a-z]+)?$", re.IGNORECASE),
}


@dataclass(frozen=True)
class Axes:
    """The dimension names of the three axes.

    Parameters
    ----------
    time, y, x : hashable
        Names of dimensions.
    """

    time: Hashable
    y: Hashable
    x: Hashable


def find_axes(
    obj: xr.DataArray | xr.Dataset, dims: Mapping[str, Hashable] | None = None
) -> Axes:
    """Find the time, y and x dimensions of a labelled object.

    Each axis is taken from the first source that has it: ``dims``; CF attributes
    (latitude, longitude and time by ``standard_name`` or units, then ``axis``, as read by
    cf_xarray); usual names in any case; for time, the only dimension that holds dates.

    Parameters
    ----------
    obj : DataArray or Dataset
        Only its labels are read.
    dims : mapping, optional
        Dimension of some axes, such as ``{"y": "nlat"}``. Default: search for all three.

    Returns
    -------
    Axes

    Raises
    ------
    AxesError
        If an axis was not found, has several candidates, is two-dimensional or has no
        coordinate variable, or if ``dims`` names an unknown dimension.
    OptionError
        If ``dims`` is not a mapping.
    """
    return explain_axes(obj, dims)[0]


def explain_axes(
    obj: xr.DataArray | xr.Dataset, dims: Mapping[str, Hashable] | None = None
) -> tuple[Axes, dict[str, str]]:
    """Find the axes and how each was found.

    Parameters
    ----------
    obj : DataArray or Dataset
        Only its labels are read.
    dims : mapping, optional
        As in :func:`find_axes`.

    Returns
    -------
    axes : Axes
    how : dict
        For ``"time"``, ``"y"`` and ``"x"``: ``"dims argument"``, ``"CF attributes"``,
        ``"name"`` or ``"dates"``.

    Raises
    ------
    AxesError, OptionError
        As in :func:`find_axes`.
    """
    given = _check_dims(obj, dims)
    by_attributes = _cf_names(obj)
    found: dict[Role, Hashable] = {}
    how: dict[str, str] = {}
    for role in ROLES:
        if role in given:
            found[role], how[role] = given[role], "dims argument"
        else:
            found[role], how[role] = _find_axis(obj, role, by_attributes[role])
    axes = Axes(**found)
    _check_axes(obj, axes)
    return axes, how


def _find_axis(
    obj: xr.DataArray | xr.Dataset, role: Role, by_attributes: list[list[Hashable]]
) -> tuple[Hashable, str]:
    for names in by_attributes:
        candidates = [name for name in names if name in obj.sizes]
        if candidates:
            return _only(candidates, role, "CF attributes"), "CF attributes"
    if role != "time":
        _refuse_curvilinear(obj, role, [name for names in by_attributes for name in names])
    candidates = [name for name in obj.sizes if str(name).lower() in NAMES[role]]
    if candidates:
        return _only(candidates, role, "name"), "name"
    if role == "time":
        candidates = [name for name in obj.sizes if _holds_dates(obj, name)]
        if candidates:
            return _only(candidates, role, "dates"), "dates"
    all_names = [name for names in by_attributes for name in names]
    raise AxesError(_not_found_text(obj, role, all_names))


def _check_dims(
    obj: xr.DataArray | xr.Dataset, dims: Mapping[str, Hashable] | None
) -> dict[Role, Hashable]:
    if dims is None:
        return {}
    if not isinstance(dims, Mapping):
        raise OptionError(
            f"dims is a {type(dims).__name__}. Expected a mapping from 'time', 'y' or 'x' to a "
            "dimension, such as dims={'y': 'nlat', 'x': 'nlon'}."
        )
    given: dict[Role, Hashable] = {role: dims[role] for role in ROLES if role in dims}
    unknown = [key for key in dims if key not in given]
    if unknown:
        raise AxesError(
            f"dims has the keys {unknown}. Expected only 'time', 'y' and 'x', such as "
            "dims={'y': 'nlat', 'x': 'nlon'}."
        )
    for role, name in given.items():
        if name not in obj.sizes:
            raise AxesError(
                f"dims names {name!r} as {role}, but the dimensions are {_present(obj)}."
            )
    return given


def _check_axes(obj: xr.DataArray | xr.Dataset, axes: Axes) -> None:
    roles: dict[Hashable, Role] = {}
    for role in ROLES:
        name: Hashable = getattr(axes, role)
        if name in roles:
            raise AxesError(
                f"The dimension {name!r} is both the {roles[name]} and the {role} axis. "
                f"Expected two dimensions: name them with dims=, out of {_present(obj)}."
            )
        roles[name] = role
        if name not in obj.coords:
            raise AxesError(_no_coordinate_text(obj, role, name))


def _cf_names(obj: xr.DataArray | xr.Dataset) -> dict[Role, list[list[Hashable]]]:
    import cf_xarray  # noqa: F401  (registers .cf, which this function uses)

    groups = {**obj.cf.axes, **obj.cf.coordinates}
    # A CF 'coordinates' attribute may name missing variables.
    return {
        role: [[name for name in groups.get(key, ()) if name in obj.coords] for key in keys]
        for role, keys in CF_KEYS.items()
    }


def _only(candidates: list[Hashable], role: Role, how: str) -> Hashable:
    if len(candidates) > 1:
        names = ", ".join(map(repr, candidates))
        raise AxesError(
            f"Several dimensions could be the {role} axis by {how}: {names}. Choose one with "
            f"dims={{{role!r}: {candidates[0]!r}}}."
        )
    return candidates[0]


def _refuse_curvilinear(
    obj: xr.DataArray | xr.Dataset, role: Role, by_attributes: list[Hashable]
) -> None:
    variables = obj.variables if isinstance(obj, xr.Dataset) else obj.coords
    by_name = [
        name
        for name in variables
        if str(name).lower() in CURVILINEAR_NAMES and str(name).lower() in NAMES[role]
    ]
    for name in (*by_attributes, *by_name):
        if variables[name].ndim > 1:
            raise AxesError(
                f"No one-dimensional {role} axis was found. "
                + _curvilinear_text(variables[name], name)
            )


def _curvilinear_text(variable: xr.DataArray | xr.Variable, name: Hashable) -> str:
    return (
        f"{name!r} has the dimensions {tuple(variable.dims)}: the grid is curvilinear. Regrid "
        "it first, with xESMF or as points, xinverse.grid_tracks(dataset, like=grid), where "
        "grid has one-dimensional latitudes and longitudes. For a projected grid, give its "
        "dimensions coordinates in metres and name them with dims={'y': ..., 'x': ...}."
    )


def _holds_dates(obj: xr.DataArray | xr.Dataset, name: Hashable) -> bool:
    index = obj.indexes.get(name)
    return index is not None and (isinstance(index, xr.CFTimeIndex) or index.dtype.kind == "M")


def _no_coordinate_text(obj: xr.DataArray | xr.Dataset, role: Role, name: Hashable) -> str:
    along = [key for key, value in obj.coords.items() if value.dims == (name,)]
    way = (
        _swap_text(along[0], name)
        if along
        else f"Add one: obj.assign_coords({{{name!r}: values}})."
    )
    return f"The {role} axis {name!r} has no coordinate variable. {way}"


def _not_found_text(
    obj: xr.DataArray | xr.Dataset, role: Role, by_attributes: Iterable[Hashable]
) -> str:
    named = [name for name in obj.coords if str(name).lower() in NAMES[role]]
    hint = ""
    for name in (*by_attributes, *named):
        if obj.coords[name].ndim == 0:
            hint = f" {name!r} is a single value: use obj.expand_dims({name!r})."
        elif obj.coords[name].ndim == 1:
            hint = " " + _swap_text(name, obj.coords[name].dims[0])
    if role == "time" and not hint:
        hint = (
            " Give a single image its date, obj.expand_dims(time=[np.datetime64('2020-01-01', "
            "'ns')]), and take it out of the result with .isel(time=0)."
        )
    variables = obj.variables if isinstance(obj, xr.Dataset) else obj.coords
    flat = [name for name in variables if TWO_DIMENSIONAL[role].match(str(name))]
    flat = [name for name in flat if variables[name].ndim > 1]
    if flat:
        hint = f" {_curvilinear_text(variables[flat[0]], flat[0])}"
    tried = "CF attributes (standard_name, units, axis), the names " + ", ".join(NAMES[role])
    if role == "time":
        tried += ", and dimensions that hold dates"
    return (
        f"No {role} axis was found among the dimensions {_present(obj)}.{hint} Tried: {tried}. "
        f"Name it with dims={{{role!r}: ...}}."
    )


def _swap_text(coordinate: Hashable, name: Hashable) -> str:
    return (
        f"If {coordinate!r} gives the positions along {name!r}, make it the axis: "
        f"obj.swap_dims({{{name!r}: {coordinate!r}}}). Grid points along a track first: "
        "xinverse.grid_tracks."
    )


def _present(obj: xr.DataArray | xr.Dataset) -> str:
    return "(" + ", ".join(f"{name!r}: {size}" for name, size in obj.sizes.items()) + ")"
