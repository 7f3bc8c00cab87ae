"""What the numbers of a variable mean: packing, gaps, units.

Every entry of the package reads its variables through `unpacked`, and compares two of them
through `in_units_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import xarray as xr

from xinverse.errors import DataError, UnitsError
from xinverse.fields.encoding import lasting_encoding
from xinverse.fields.units import unit_change

__all__ = [
    "holds_a_field",
    "in_units_of",
    "refuse_fill_values",
    "refuse_infinite",
    "refuse_unusable",
    "unpacked",
]

SCALING = ("scale_factor", "add_offset", "_Unsigned")
FILLS = ("_FillValue", "missing_value")
# What files hold in gaps that nobody made NaN, the defaults of netCDF and of GrADS among them.
FILL_VALUES = (
    *(-99.0, -999.0, -9999.0, -99999.0, 9999.0, 99999.0, -32768.0, 32767.0),
    *(1e20, -1e20, 1e30, -1e30, 1e34, -1e34, 9.969209968386869e36, 9.999e20),
)
# Limits in packed numbers, which are wrong for the unpacked values.
PACKED_LIMITS = ("valid_min", "valid_max", "valid_range", "actual_range")
# Attributes that CF gives to flags.
FLAGS = {"flag_masks", "flag_meanings", "flag_values"}
# Whole numbers among the values of a lazy block by which it counts as packed. Two values of a
# field may both be whole by chance.
WHOLE_NUMBERS = 20


def unpacked(da: xr.DataArray) -> xr.DataArray:
    """Decode a variable that still has CF packing attributes.

    Integers are scaled. Floats are values in their units already: xarray keeps attributes
    in arithmetic, and a scale factor that is left on them is dropped. Fill values become
    NaN in both.

    Parameters
    ----------
    da : DataArray
        Any variable.

    Returns
    -------
    DataArray
        In the units of its attributes; the variable itself if it has none for packing. Lazy
        if the variable is.

    Raises
    ------
    DataError
        Floats with a scale factor hold nothing but whole numbers: they may be packed. For
        dask arrays it is raised when a block of them is computed.
    """
    if da.dtype.kind not in "iuf" or not any(key in da.attrs for key in (*SCALING, *FILLS)):
        return da
    scaled = any(key in da.attrs for key in SCALING)
    variable = da.variable.copy(deep=False).drop_encoding()
    if da.dtype.kind == "f":
        if scaled:
            variable = _without_scaling(da, variable)
        for key in FILLS:  # a fill value in float64 is not equal to one in float32
            if key in variable.attrs:
                variable.attrs[key] = np.asarray(variable.attrs[key]).astype(da.dtype)
    # Durations are not decoded: 'days' may be a unit of the field.
    variable = xr.conventions.decode_cf_variable(
        da.name, variable, decode_times=False, decode_timedelta=False
    )
    if scaled:
        for key in PACKED_LIMITS:
            variable.attrs.pop(key, None)
    decoded = xr.DataArray(variable, coords=da.coords, name=da.name)
    decoded.encoding = lasting_encoding(da.variable)
    return decoded


def _without_scaling(da: xr.DataArray, variable: xr.Variable) -> xr.Variable:
    """Floats without their scale factor, after a look at whether they were scaled."""
    words = ", ".join(key for key in SCALING if key in da.attrs)
    if da.chunks is not None:
        least = WHOLE_NUMBERS
        checked: Any = xr.apply_ufunc(
            _require_values,
            variable,
            kwargs={"name": da.name, "words": words, "least": least},
            dask="parallelized",
            output_dtypes=[da.dtype],
        )
        variable = xr.Variable(variable.dims, checked.data, variable.attrs)
    elif isinstance(da.variable._data, np.ndarray):
        _require_values(da.variable.values, da.name, words, 2)
    variable.attrs = {k: v for k, v in variable.attrs.items() if k not in SCALING}
    return variable


def _require_values(values: Any, name: Hashable, words: str, least: int) -> Any:
    """Raise if floats look like packed integers, such as after ``where``."""
    known = values[np.isfinite(values)]
    if known.size >= least and np.ptp(known) > 0 and (known == np.round(known)).all():
        raise DataError(
            f"The variable {name!r} holds floats that are all whole numbers, from "
            f"{known.min():g} to {known.max():g}, and has {words} in its attributes: "
            "packed numbers or values? Decode packed numbers before where() or arithmetic "
            "(xarray.decode_cf), or drop these attributes from values."
        )
    return values


def holds_a_field(variable: xr.DataArray | xr.Variable) -> bool:
    """Whether a variable holds values of a quantity, by its dtype and attributes.

    Flags, counts and the errors of other variables do not.

    Parameters
    ----------
    variable : DataArray or Variable
        Only dtype and attributes are read.
    """
    attrs = variable.attrs
    if FLAGS & set(attrs):  # open_dataset makes floats of flags with a fill value
        return False
    # A CF modifier, such as in "sea_surface_height standard_error".
    if len(str(attrs.get("standard_name", "")).split()) > 1:
        return False
    packed = "scale_factor" in attrs or "add_offset" in attrs
    return variable.dtype.kind == "f" or (variable.dtype.kind in "iu" and packed)


def in_units_of(
    value: xr.DataArray, like: xr.DataArray, what: str, *, deviation: bool = False
) -> xr.DataArray:
    """Convert a variable to the units of another one.

    Parameters
    ----------
    value : DataArray
        Unpacked.
    like : DataArray
        Only its name and units are read.
    what : str
        Role of the variable, such as ``"background"``, for the error.
    deviation : bool
        Whether it is a standard deviation, which has no zero point: 0.5 kelvin of noise
        are 0.5 degrees Celsius.

    Returns
    -------
    DataArray
        With the units of the other; unchanged if either does not say its units.

    Raises
    ------
    UnitsError
        No conversion is known.
    """
    found, expected = (str(da.attrs.get("units", "")).strip() for da in (value, like))
    if not found or not expected or found == expected:
        return value
    change = unit_change(found, expected)
    if change is None:
        raise UnitsError(
            f"{what}: {value.name!r} is in {found!r}, and {like.name!r} in {expected!r}, and "
            "no conversion is known. Convert one of them first, and set its attribute 'units'."
        )
    factor, offset = change
    if (factor, offset) != (1.0, 0.0):
        attrs = value.attrs
        value = value * factor + (0.0 if deviation else offset)
        value.attrs = dict(attrs)
    return value.assign_attrs(units=expected)


def refuse_unusable(
    values: np.ndarray,
    where: str,
    locate: Callable[[tuple[int, ...]], str] = lambda at: f"index {at}",
) -> None:
    """Require values that are neither infinite nor fill values.

    Parameters
    ----------
    values, where, locate
        As of `refuse_infinite`.

    Raises
    ------
    DataError
        As of `refuse_infinite` and `refuse_fill_values`.
    """
    refuse_infinite(values, where, locate)
    refuse_fill_values(values, where)


def refuse_infinite(
    values: np.ndarray,
    where: str,
    locate: Callable[[tuple[int, ...]], str] = lambda at: f"index {at}",
) -> None:
    """Require values that are not infinite; eager calls and workers share the error text.

    Parameters
    ----------
    values : ndarray
        Any shape.
    where : str
        Label of the values, such as ``"The variable 'sla'"``.
    locate : callable
        Describes an index. Default: the index itself.

    Raises
    ------
    DataError
        If some values are infinite.
    """
    infinite = np.isinf(values)
    if infinite.any():
        first = tuple(int(i) for i in np.argwhere(infinite)[0])
        raise DataError(
            f"{where} has infinite values: {int(infinite.sum())}, the first at "
            f"{locate(first)}. Expected finite numbers, and NaN where nothing was observed: "
            "replace others with obj.where(abs(obj) < float('inf'))."
        )


def refuse_fill_values(values: np.ndarray, where: str) -> None:
    """Raise if a number that usually stands for a gap is among the values.

    It must be far from all others: by a hundred times their range.

    Parameters
    ----------
    values : ndarray
        Any shape.
    where : str
        Whose values they are, such as ``"The variable 'sla'"``.

    Raises
    ------
    DataError
        If some values look like a fill value.
    """
    if not np.isfinite(values).any():
        return
    for extreme in (float(np.nanmin(values)), float(np.nanmax(values))):
        if not np.isclose(extreme, FILL_VALUES, rtol=1e-6, atol=0).any():
            continue
        other = values[np.isfinite(values) & (values != extreme)].astype(np.float64)
        apart = np.abs(other - extreme).min() if other.size else np.inf
        if apart > 100 * (np.ptp(other) if other.size else 0.0):
            raise DataError(
                f"{where} has the value {extreme:g} {int((values == extreme).sum())} times, "
                "far from all others: it looks like a fill value. Expected NaN in the gaps: "
                f"obj.where(obj != {extreme:g})."
            )
