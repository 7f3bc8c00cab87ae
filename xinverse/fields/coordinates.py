"""Read coordinate variables as numbers: days, degrees or kilometres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from xinverse.constants import SECONDS_PER_DAY
from xinverse.errors import GridError, UnitsError
from xinverse.fields.units import KM_PER_UNIT, days_per_unit

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["FULL_CIRCLE", "leading_columns", "read_space", "read_time", "spatial_units"]

FULL_CIRCLE = 360.0
MAX_LATITUDE = 90.0
# A hole between longitudes this much wider than the gap round the globe is outside the region.
WIDER_HOLE = 1.1

DEGREES = {
    "y": ("degrees_north", "degree_north", "degrees_n", "degree_n", "degreesn", "degreen"),
    "x": ("degrees_east", "degree_east", "degrees_e", "degree_e", "degreese", "degreee"),
}
PLAIN_DEGREES = ("degrees", "degree", "deg", "°")
STANDARD_NAMES = {"y": ("latitude", "grid_latitude"), "x": ("longitude", "grid_longitude")}
DEGREE_NAMES = {
    "y": ("lat", "latitude", "nav_lat", "rlat"),
    "x": ("lon", "long", "longitude", "nav_lon", "rlon"),
}


def read_time(coordinate: xr.DataArray) -> np.ndarray:
    """Return the times in days since the first one.

    Parameters
    ----------
    coordinate : DataArray, shape (nt,)
        ``datetime64`` of any resolution, cftime objects, ``timedelta64``, or numbers
        with units such as ``"days"`` or ``"hours since 2000-01-01"``.

    Returns
    -------
    ndarray, shape (nt,)
        Float64, strictly ascending.

    Raises
    ------
    GridError
        If the axis is empty, or times are missing, repeated or out of order.
    UnitsError
        If the times are numbers without units, or with units of no fixed length.
    """
    name, values = coordinate.name, coordinate.to_numpy()
    if values.size == 0:
        raise GridError(f"The time axis {name!r} is empty. Expected at least one time step.")
    if values.dtype.kind in "mM":
        if np.isnat(values).any():
            raise GridError(_missing_text(coordinate, np.isnat(values)))
        days = (values - values[0]) / np.timedelta64(1, "D")
    elif values.dtype.kind == "O":
        if not all(hasattr(value, "calendar") for value in values):
            raise GridError(
                f"The time axis {name!r} holds {type(values[0]).__name__} objects. Expected "
                "datetime64, cftime, or numbers with units: convert it with "
                f"obj.assign_coords({{{name!r}: pandas.to_datetime(...)}})."
            )
        seconds = np.array([(value - values[0]).total_seconds() for value in values])
        days = seconds / SECONDS_PER_DAY
    elif values.dtype.kind in "iuf":
        numbers = values.astype(np.float64)
        _refuse_missing(coordinate, numbers)
        days = (numbers - numbers[0]) * days_per_unit(coordinate)
    else:
        raise GridError(
            f"The time axis {name!r} holds {values.dtype} values. Expected datetime64, cftime, "
            "or numbers with units such as 'days'."
        )
    days = np.asarray(days, dtype=np.float64)
    wrong = np.flatnonzero(np.diff(days) <= 0)
    if wrong.size:
        first = int(wrong[0])
        raise GridError(
            f"The times of {name!r} are not strictly ascending: {values[first]} is followed by "
            f"{values[first + 1]} at position {first + 1}. Sort them with "
            f"obj.sortby({name!r}), and remove repeated ones with "
            f"obj.drop_duplicates({name!r})."
        )
    return days


def read_space(coordinate: xr.DataArray, role: Literal["y", "x"]) -> tuple[np.ndarray, bool]:
    """Return the positions along y or x, in degrees or kilometres.

    Parameters
    ----------
    coordinate : DataArray, shape (n,)
        A one-dimensional coordinate variable.
    role : {"y", "x"}
        Which axis it is.

    Returns
    -------
    values : ndarray, shape (n,)
        Float64, strictly monotonic: degrees (longitudes are unwrapped modulo 360 if they
        are not monotonic), or kilometres.
    degrees : bool
        Whether the values are latitude or longitude.

    Raises
    ------
    GridError
        If values are not numbers, missing, repeated, not monotonic or out of range, or
        longitudes are sorted across the seam of the globe (0, 1, 358, 359).
    UnitsError
        If the units are unknown, or missing and the name does not imply them.
    """
    name = coordinate.name
    if coordinate.dtype.kind not in "iuf":
        raise GridError(
            f"The {role} axis {name!r} holds {coordinate.dtype} values. Expected numbers: "
            "degrees, metres or kilometres."
        )
    values = coordinate.to_numpy().astype(np.float64)
    _refuse_missing(coordinate, values)
    units = spatial_units(coordinate, role)
    if units != "degrees":
        values = values * KM_PER_UNIT[units]
    elif role == "x":
        values = values if _is_monotonic(values) else np.unwrap(values, period=FULL_CIRCLE)
        if leading_columns(values):
            raise GridError(_seam_text(coordinate, values))
    elif np.abs(values).max() > MAX_LATITUDE:
        worst = values[np.abs(values).argmax()]
        raise GridError(
            f"The latitude {name!r} reaches {worst:g}, outside -90 to 90 degrees north. If it "
            "is not a latitude, correct its units ('m' or 'km')."
        )
    if not _is_monotonic(values):
        raise GridError(_disorder_text(coordinate, values))
    return values, units == "degrees"


def leading_columns(values: np.ndarray) -> int:
    """Count the first columns that lie beyond the last ones, round the globe.

    A region lies outside the widest hole between its longitudes. In 0, 1, 358, 359 this
    is the hole from 1 to 358, so the first two columns follow the last.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Longitudes in degrees.

    Returns
    -------
    int
        Zero if the columns are contiguous in their order, or have no order.
    """
    if values.size < 2 or not np.isfinite(values).all():
        return 0
    if not _is_monotonic(values):
        values = np.unwrap(values, period=FULL_CIRCLE)
    steps = np.abs(np.diff(values))
    round_globe = FULL_CIRCLE - abs(float(values[-1] - values[0]))
    # Repeated columns are an error of their own.
    if not _is_monotonic(values) or round_globe < 0.5 * steps.min():
        return 0
    widest = int(steps.argmax())
    return widest + 1 if steps[widest] > WIDER_HOLE * round_globe else 0


def spatial_units(coordinate: xr.DataArray, role: Literal["y", "x"]) -> str:
    """Return ``"degrees"``, or the units of length of a y or x coordinate.

    Parameters
    ----------
    coordinate : DataArray
        Only its name and attributes are read.
    role : {"y", "x"}
        Which axis it is.

    Returns
    -------
    str
        ``"degrees"`` or a key of ``KM_PER_UNIT``.

    Raises
    ------
    UnitsError
        If the units are unknown, or missing and the name does not imply them.
    """
    found = coordinate.attrs.get("units")
    units = "" if found is None else str(found).strip().lower().replace(" ", "_")
    by_name = (
        str(coordinate.attrs.get("standard_name")) in STANDARD_NAMES[role]
        or str(coordinate.name).lower() in DEGREE_NAMES[role]
    )
    if units in DEGREES[role] or (by_name and units in ("", *PLAIN_DEGREES)):
        return "degrees"
    if units in KM_PER_UNIT:
        return units
    degrees = DEGREES[role][0]
    raise UnitsError(
        f"The {role} axis {coordinate.name!r} has "
        + (f"the units {found!r}" if units else "no units")
        + f". Expected {degrees!r}, 'm' or 'km': set them with "
        f"obj[{coordinate.name!r}].attrs['units'] = {degrees!r} (or 'm', or 'km')."
    )


def _is_monotonic(values: np.ndarray) -> bool:
    steps = np.diff(values)
    return bool((steps > 0).all() or (steps < 0).all())


def _refuse_missing(coordinate: xr.DataArray, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise GridError(_missing_text(coordinate, ~np.isfinite(values)))


def _missing_text(coordinate: xr.DataArray, missing: np.ndarray) -> str:
    name, first = coordinate.name, int(np.flatnonzero(missing)[0])
    return (
        f"The coordinate {name!r} has {int(missing.sum())} missing or infinite values, the "
        f"first at position {first}. Expected a number at each: drop them with "
        f"obj.sel({{{name!r}: obj[{name!r}].notnull()}}), or fill them in."
    )


def _seam_text(coordinate: xr.DataArray, values: np.ndarray) -> str:
    name, labels, last = coordinate.name, coordinate.to_numpy(), leading_columns(values)
    low, high = sorted((float(values[last - 1]), float(values[last])))
    # Cut the globe in the hole, at one of the usual meridians if it lies there.
    cut = 0.5 * (low + high) % FULL_CIRCLE
    for usual in (0.0, 180.0):
        if low < usual + FULL_CIRCLE * np.ceil((low - usual) / FULL_CIRCLE) < high:
            cut = usual
    change = {0.0: "{} % 360", 180.0: "({} + 180) % 360 - 180"}
    shifted = change.get(cut, f"({{}} - {cut:g}) % 360 + {cut:g}").format(f"obj[{name!r}]")
    return (
        f"The longitudes {name!r} are sorted across the seam of the globe: "
        f"{labels[last - 1]:g} is followed by {labels[last]:g}, and {labels[-1]:g} is "
        f"next to {labels[0]:g}. Expected contiguous longitudes: "
        f"obj.assign_coords({{{name!r}: {shifted}}}).sortby({name!r})."
    )


def _disorder_text(coordinate: xr.DataArray, values: np.ndarray) -> str:
    name, labels, steps = coordinate.name, coordinate.to_numpy(), np.diff(values)
    # Take the direction of most steps, so that the error names the outlier.
    direction = 1 if (steps > 0).sum() >= (steps < 0).sum() else -1
    first = int(np.flatnonzero(steps * direction <= 0)[0])
    return (
        f"The coordinate {name!r} is not strictly monotonic: {labels[first]} is followed by "
        f"{labels[first + 1]} at position {first + 1}. Sort it with obj.sortby({name!r}), and "
        f"remove repeated positions with obj.drop_duplicates({name!r})."
    )
