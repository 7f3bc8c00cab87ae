"""Spellings of units, and conversions between them.

A field in other units raises an error that names the conversion. A background, noise or
analysis in other units than its field or truth is converted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

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


class _Unit(NamedTuple):
    """Value in base units = factor * value + offset."""

    factor: float
    base: tuple[tuple[str, int], ...]
    offset: float = 0.0


_METRE, _KELVIN, _ONE = (("m", 1),), (("k", 1),), ()
_LENGTHS = {
    "km": (1e3, ("km", "kilometer", "kilometers", "kilometre", "kilometres")),
    "m": (1.0, ("m", "meter", "meters", "metre", "metres")),
    "cm": (1e-2, ("cm", "centimeter", "centimeters", "centimetre", "centimetres")),
    "mm": (1e-3, ("mm", "millimeter", "millimeters", "millimetre", "millimetres")),
}
_CELSIUS = ("degc", "deg c", "c", "°c", "celsius", "degree c", "degrees c", "degree celsius")
_NAMES: dict[_Unit, tuple[str, ...]] = {
    **{_Unit(factor, _METRE): names for factor, names in _LENGTHS.values()},
    _Unit(1.0, _KELVIN, 273.15): (*_CELSIUS, "degrees celsius"),
    _Unit(1e-3, _KELVIN): ("mk", "millikelvin", "millikelvins"),
    _Unit(1.0, _KELVIN): (
        *("k", "kelvin", "kelvins", "degk", "deg k", "degree kelvin", "degrees kelvin"),
    ),
    _Unit(1.0, (("s", 1),)): ("s", "sec", "secs", "second", "seconds"),
    _Unit(3600.0, (("s", 1),)): ("h", "hr", "hour", "hours"),
    _Unit(SECONDS_PER_DAY, (("s", 1),)): ("d", "day", "days"),
    _Unit(1.0, (("kg", 1),)): ("kg", "kilogram", "kilograms"),
    _Unit(1e-3, (("kg", 1),)): ("g", "gram", "grams"),
    _Unit(1e-6, (("kg", 1),)): ("mg", "milligram", "milligrams"),
    _Unit(1e-9, (("kg", 1),)): ("ug", "µg", "μg", "microgram", "micrograms"),
    _Unit(1e-3, (("m", 3),)): ("l", "liter", "liters", "litre", "litres"),
    _Unit(1.0, (("pa", 1),)): ("pa", "pascal", "pascals"),
    _Unit(1e2, (("pa", 1),)): ("hpa", "mbar", "mb", "millibar", "millibars"),
    _Unit(1e4, (("pa", 1),)): ("dbar", "decibar", "decibars"),
    _Unit(1.0, _ONE): ("1", "", "dimensionless", "none"),
    _Unit(1e-2, _ONE): ("%", "percent"),
    _Unit(1e-3, _ONE): ("psu", "pss", "pss-78", "1e-3", "0.001", "practical salinity unit"),
}
_UNITS = {name: unit for unit, names in _NAMES.items() for name in names}
# For heights and projected coordinates.
METRES_PER_UNIT = {
    name: factor for key, (factor, names) in _LENGTHS.items() if key != "km" for name in names
}
KM_PER_UNIT = {
    name: factor for key, factor in (("m", 1e-3), ("km", 1.0)) for name in _LENGTHS[key][1]
}
_DAYS_PER_UNIT = {
    **dict.fromkeys(("days", "day", "d"), 1.0),
    **dict.fromkeys(("hours", "hour", "hrs", "hr", "h"), 1 / 24),
    **dict.fromkeys(("minutes", "minute", "mins", "min"), 1 / 1440),
    **dict.fromkeys(("seconds", "second", "secs", "sec", "s"), 1 / SECONDS_PER_DAY),
}
# "cm", "m-3", "s^-1", "m**2", "s-1"
_POWER = re.compile(r"([^\W\d_]+)(?:\*\*|\^)?(-?\d+)?")


def _parsed(units: str) -> _Unit:
    """The unit that a string spells; a unit of its own if it is not known."""
    key = " ".join(units.replace("_", " ").split()).casefold()
    if key in _UNITS:
        return _UNITS[key]
    unknown = _Unit(1.0, ((key, 1),))
    factor, base = 1.0, dict[str, int]()
    # "mg/m3" is "mg m-3", and so are "mg.m-3" and "mg m^-3".
    for number, part in enumerate(key.split("/")):
        for word in re.split(r"[\s.·]+|(?<!\*)\*(?!\*)", part):
            found = _POWER.fullmatch(word)
            if word == "1" and number == 0:
                continue
            if found is None:
                return unknown
            power = int(found[2] or 1) * (-1 if number else 1)
            one = _UNITS.get(found[1], _Unit(1.0, ((found[1], 1),)))
            factor *= one.factor**power
            for name, times in one.base:
                base[name] = base.get(name, 0) + times * power
    return _Unit(factor, tuple(sorted((name, n) for name, n in base.items() if n)))


def same_units(found: str, expected: str) -> bool:
    """Return whether two strings spell the same unit.

    Parameters
    ----------
    found, expected : str
        Unit strings such as ``"m"``, ``"metres"``, ``"degrees_Celsius"``.

    Returns
    -------
    bool
        Case, underscores and repeated blanks are ignored; ``"m/s"`` is ``"m s-1"``.
    """
    return unit_change(found, expected) == (1.0, 0.0)


def unit_change(found: str, expected: str) -> tuple[float, float] | None:
    """Return the factor and the offset that convert values from `found` to `expected`.

    Parameters
    ----------
    found, expected : str
        Unit strings, of lengths, temperatures, masses, times, pressures, shares, and of
        their products and ratios.

    Returns
    -------
    (float, float) or None
        Converted values are ``factor * value + offset``; standard deviations only need
        the factor. None if the conversion is unknown.
    """
    one, other = _parsed(found), _parsed(expected)
    if one == other:
        return 1.0, 0.0
    if one.base != other.base:
        return None
    factor = one.factor / other.factor
    # The factors of products are rounded: mg m-3 and ug l-1 are the same.
    if abs(factor - 1.0) < 1e-12:
        factor = 1.0
    return factor, (one.offset - other.offset) / other.factor


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
