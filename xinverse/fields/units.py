"""Spellings of units, and conversions between the common ones.

Nothing is converted silently: a field in other units raises an error with the conversion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xinverse.constants import SECONDS_PER_DAY
from xinverse.errors import UnitsError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "KM_PER_UNIT",
    "METRES_PER_UNIT",
    "conversion",
    "days_per_unit",
    "same_units",
]

_SPELLINGS: dict[str, tuple[str, ...]] = {
    "km": ("km", "kilometer", "kilometers", "kilometre", "kilometres"),
    "m": ("m", "meter", "meters", "metre", "metres"),
    "cm": ("cm", "centimeter", "centimeters", "centimetre", "centimetres"),
    "mm": ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
    "degC": (
        "degc",
        "deg c",
        "c",
        "°c",
        "celsius",
        "degree c",
        "degrees c",
        "degree celsius",
        "degrees celsius",
    ),
    "K": ("k", "kelvin", "kelvins", "degk", "deg k", "degree kelvin", "degrees kelvin"),
    "mg m-3": ("mg m-3", "mg/m3", "mg/m^3", "mg m^-3", "mg m**-3", "milligram m-3"),
    "m s-1": ("m s-1", "m/s", "m s^-1", "m s**-1", "meter second-1", "m.s-1"),
    "cm s-1": ("cm s-1", "cm/s", "cm s^-1", "cm s**-1", "cm.s-1"),
    "1": ("1", "", "dimensionless", "none"),
}
_CANONICAL = {
    spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings
}
# For heights and projected coordinates.
METRES_PER_UNIT = {
    spelling: factor
    for unit, factor in (("m", 1.0), ("cm", 1e-2), ("mm", 1e-3))
    for spelling in _SPELLINGS[unit]
}
KM_PER_UNIT = {
    spelling: factor
    for unit, factor in (("m", 1e-3), ("km", 1.0))
    for spelling in _SPELLINGS[unit]
}
_DAYS_PER_UNIT = {
    **dict.fromkeys(("days", "day", "d"), 1.0),
    **dict.fromkeys(("hours", "hour", "hrs", "hr", "h"), 1 / 24),
    **dict.fromkeys(("minutes", "minute", "mins", "min"), 1 / 1440),
    **dict.fromkeys(("seconds", "second", "secs", "sec", "s"), 1 / SECONDS_PER_DAY),
}

_CONVERSIONS = {
    ("cm", "m"): "* 0.01",
    ("mm", "m"): "* 0.001",
    ("m", "cm"): "* 100",
    ("cm s-1", "m s-1"): "* 0.01",
    ("K", "degC"): "- 273.15",
    ("degC", "K"): "+ 273.15",
}


def _canonical(units: str) -> str:
    key = " ".join(units.replace("_", " ").split()).casefold()
    return _CANONICAL.get(key, key)


def same_units(found: str, expected: str) -> bool:
    """Return whether two strings spell the same unit.

    Parameters
    ----------
    found, expected : str
        Unit strings such as ``"m"``, ``"metres"``, ``"degrees_Celsius"``.

    Returns
    -------
    bool
        Case, underscores and repeated blanks are ignored.
    """
    return _canonical(found) == _canonical(expected)


def conversion(found: str, expected: str) -> str | None:
    """Return the arithmetic that converts values from `found` to `expected`.

    Parameters
    ----------
    found, expected : str
        Unit strings.

    Returns
    -------
    str or None
        Such as ``"* 0.01"``; None if the conversion is unknown.
    """
    return _CONVERSIONS.get((_canonical(found), _canonical(expected)))


def days_per_unit(time: xr.DataArray) -> float:
    """Return the days per unit of a numeric time coordinate.

    Parameters
    ----------
    time : DataArray
        With units such as ``"hours"`` or ``"seconds since 2000-01-01"``.

    Returns
    -------
    float

    Raises
    ------
    UnitsError
        If the units are missing, or have no fixed length.
    """
    found = time.attrs.get("units")
    unit = str(found or "").lower().partition("since")[0].strip()
    if unit not in _DAYS_PER_UNIT:
        raise UnitsError(
            f"The time axis {time.name!r} holds numbers with "
            + (f"the units {found!r}" if found else "no units")
            + ". Expected dates, or units of fixed length ('days', 'hours', 'minutes', "
            f"'seconds'): set obj[{time.name!r}].attrs['units'], or decode dates with "
            "xarray.decode_cf(ds)."
        )
    return _DAYS_PER_UNIT[unit]
