"""Days since a grid's first time step, from the times of something else, and back."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import GridError
from xinverse.fields.coordinates import DAYS_PER_UNIT

__all__ = ["date_after", "days_after", "time_of_day"]

Floats = NDArray[np.float64]


def days_after(origin: xr.DataArray, time: xr.DataArray) -> Floats:
    """Count days from the first value of one time coordinate to each value of another.

    Parameters
    ----------
    origin, time : DataArray
        Dates of one calendar, or numbers of the same units.

    Returns
    -------
    ndarray, shape of `time`
        NaN where a date is missing.

    Raises
    ------
    GridError
        The two are not dates of one calendar, or numbers of the same units.
    """
    first, values = origin.to_numpy()[0], time.to_numpy()
    kinds = origin.dtype.kind + time.dtype.kind
    if kinds == "MM":
        return np.asarray((values - first) / np.timedelta64(1, "D"), dtype=np.float64)
    if kinds == "OO" and len({getattr(one, "calendar", None) for one in (first, *values)}) == 1:
        return np.array([(one - first).total_seconds() / 86400.0 for one in values])
    units = origin.attrs.get("units")
    if set(kinds) <= set("iuf") and units == time.attrs.get("units"):
        unit = DAYS_PER_UNIT.get(str(units).lower().partition("since")[0].strip(), 1.0)
        return np.asarray(values - first, dtype=np.float64) * unit
    raise GridError(
        f"The times of the points ({_clock(time)}) and of the grid ({_clock(origin)}) cannot "
        "be compared. Expected dates of one calendar, or numbers of the same units: decode "
        "both with xarray.decode_cf, or convert one with .convert_calendar."
    )


def date_after(origin: xr.DataArray, days: Floats) -> NDArray[np.generic]:
    """Return dates (or numbers) so many days after the first value of a time coordinate.

    Parameters
    ----------
    origin : DataArray
        The time coordinate.
    days : ndarray
        To the millisecond.

    Returns
    -------
    ndarray, shape of `days`
        Of the kind of `origin`.
    """
    first = origin.to_numpy()[0]
    if origin.dtype.kind in "iuf":
        units = str(origin.attrs.get("units")).lower().partition("since")[0].strip()
        return np.asarray(first + days / DAYS_PER_UNIT.get(units, 1.0))
    milliseconds = np.round(days * 86_400_000.0).astype("timedelta64[ms]")
    if origin.dtype.kind == "O":
        return np.asarray(first + milliseconds.astype(object))
    return np.asarray(first + milliseconds.astype("timedelta64[ns]"))


def time_of_day(origin: xr.DataArray) -> float:
    """Return the days since midnight at the first value of a time coordinate.

    Parameters
    ----------
    origin : DataArray
        The time coordinate.

    Returns
    -------
    float
        In [0, 1); 0 for numbers, whose midnight is unknown.
    """
    first = origin.to_numpy()[0]
    if origin.dtype.kind == "M":
        return float((first - first.astype("datetime64[D]")) / np.timedelta64(1, "D"))
    if origin.dtype.kind == "O":
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
        return float((first - midnight).total_seconds()) / 86400.0
    return 0.0


def _clock(time: xr.DataArray) -> str:
    if time.dtype.kind == "O" and time.size:
        return f"calendar {getattr(time.to_numpy()[0], 'calendar', 'unknown')}"
    return f"{time.dtype}, units {time.attrs.get('units')!r}"
