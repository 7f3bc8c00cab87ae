"""Spellings of units, and conversions between the common ones.

A field in other units raises an error that names the conversion. A background or noise in
other units than its field is converted.
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
    "unit_change",
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
    "mK": ("mk", "millikelvin", "millikelvins"),
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

# Value in the base unit = factor * value + offset, for the units of one quantity.
_BASES: dict[str, tuple[str, float, float]] = {
    "km": ("m", 1e3, 0.0),
    "m": ("m", 1.0, 0.0),
    "cm": ("m", 1e-2, 0.0),
    "mm": ("m", 1e-3, 0.0),
    "K": ("K", 1.0, 0.0),
    "mK": ("K", 1e-3, 0.0),
    "degC": ("K", 1.0, 273.15),
    "m s-1": ("m s-1", 1.0, 0.0),
    "cm s-1": ("m s-1", 1e-2, 0.0),
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


def unit_change(found: str, expected: str) -> tuple[float, float] | None:
    """Return the factor and the offset that convert values from `found` to `expected`.

    Parameters
    ----------
    found, expected : str
        Unit strings.

    Returns
    -------
    (float, float) or None
        Converted values are ``factor * value + offset``; standard deviations only need
        the factor. None if the conversion is unknown.
    """
    if same_units(found, expected):
        return 1.0, 0.0
    one, other = _BASES.get(_canonical(found)), _BASES.get(_canonical(expected))
    if one is None or other is None or one[0] != other[0]:
        return None
    return one[1] / other[1], (one[2] - other[2]) / other[1]


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
    change = unit_change(found, expected)
    if change is None or change == (1.0, 0.0):
        return None
    factor, offset = change
    words = [] if factor == 1 else [f"* {factor:g}"]
    if offset:
        words.append(f"{'+' if offset > 0 else '-'} {abs(offset):g}")
    return " ".join(words)


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
