"""Which spellings of a unit mean the same, and how to convert the simple cases.

Nothing is ever converted unasked: a field in centimetres given to weights that
were trained in metres, or to a model of the ocean, is an error whose text says
what to multiply by.
"""

from __future__ import annotations

__all__ = ["conversion", "same_units"]

_SPELLINGS: dict[str, tuple[str, ...]] = {
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
    """Whether two unit strings are spellings of one unit.

    Parameters
    ----------
    found, expected : str
        Unit strings such as ``"m"``, ``"metres"``, ``"degrees_Celsius"``.

    Returns
    -------
    bool
        True for two known spellings of one unit, and for equal strings up to
        case, underscores and blanks.
    """
    return _canonical(found) == _canonical(expected)


def conversion(found: str, expected: str) -> str | None:
    """What to do to values in `found` to have them in `expected`.

    Parameters
    ----------
    found, expected : str
        Unit strings.

    Returns
    -------
    str or None
        An arithmetic suffix such as ``"* 0.01"``; None where none is known.
    """
    return _CONVERSIONS.get((_canonical(found), _canonical(expected)))
