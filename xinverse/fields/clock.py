"""Conversion between dates and days since the first time step of a grid."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.constants import SECONDS_PER_DAY
from xinverse.errors import GridError
from xinverse.fields.units import days_per_unit

__all__ = ["date_after", "days_after", "time_of_day"]

Floats = NDArray[np.float64]


def days_after(origin: xr.DataArray, time: xr.DataArray) -> Floats:
    """Return the days from the first value of one time coordinate to the values of another.

    Parameters
    ----------
    origin, time : DataArray
        Dates in one calendar, or numbers in the same units.

    Returns
    -------
    ndarray, shape of `time`
        NaN where a date is missing.

    Raises
    ------
    GridError
        If calendars or units differ.
    """
    first, values = origin.to_numpy()[0], time.to_numpy()
    kinds = origin.dtype.kind + time.dtype.kind
    if kinds == "MM":
        return np.asarray((values - first) / np.timedelta64(1, "D"), dtype=np.float64)
    if kinds == "OO" and len({getattr(one, "calendar", None) for one in (first, *values)}) == 1:
        return np.array([(one - first).total_seconds() for one in values]) / SECONDS_PER_DAY
    same_units = origin.attrs.get("units") == time.attrs.get("units")
    if set(kinds) <= set("iuf") and same_units:
        return np.asarray(values - first, dtype=np.float64) * days_per_unit(origin)
    raise GridError(
        f"The times of the points ({_clock(time)}) and of the grid ({_clock(origin)}) cannot "
        "be compared. Expected dates in one calendar, or numbers in the same units: decode "
        "both with xarray.decode_cf, or convert one with .convert_calendar."
    )


def date_after(origin: xr.DataArray, days: Floats) -> NDArray[np.generic]:
    """Return the times that are some days after the first value of a time coordinate.

    Parameters
    ----------
    origin : DataArray
        The time coordinate: dates, or numbers with units of time.
    days : ndarray
        Rounded to milliseconds for dates.

    Returns
    -------
    ndarray, shape of `days`
        Dates or numbers, like `origin`.

    Raises
    ------
    UnitsError
        If the time coordinate holds numbers without units of a fixed length.
    """
    first = origin.to_numpy()[0]
    if origin.dtype.kind in "iuf":
        return np.asarray(first + days / days_per_unit(origin))
    milliseconds = np.round(days * (1e3 * SECONDS_PER_DAY)).astype("timedelta64[ms]")
    if origin.dtype.kind == "O":
        return np.asarray(first + milliseconds.astype(object))
    return np.asarray(first + milliseconds.astype("timedelta64[ns]"))


def time_of_day(origin: xr.DataArray) -> float:
    """Return the time of day of the first value of a time coordinate, in days.

    Parameters
    ----------
    origin : DataArray
        The time coordinate.

    Returns
    -------
    float
        In [0, 1); 0 for numbers, which have no known midnight.
    """
    first = origin.to_numpy()[0]
    if origin.dtype.kind == "M":
        return float((first - first.astype("datetime64[D]")) / np.timedelta64(1, "D"))
    if origin.dtype.kind == "O":
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
        return float((first - midnight).total_seconds()) / SECONDS_PER_DAY
    return 0.0


def _clock(time: xr.DataArray) -> str:
    if time.dtype.kind == "O" and time.size:
        return f"calendar {getattr(time.to_numpy()[0], 'calendar', 'unknown')}"
    return f"{time.dtype}, units {time.attrs.get('units')!r}"
