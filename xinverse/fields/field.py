"""Convert a labelled variable to an array on (extra dimensions, time, y, x), and back."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xinverse.errors import AxesError, DataError
from xinverse.fields.axes import Axes
from xinverse.fields.grid import Grid

__all__ = [
    "Field",
    "check_values",
    "refuse_fill_values",
    "refuse_infinite",
    "to_field",
    "unpacked",
]

SCALING = ("scale_factor", "add_offset", "_Unsigned")
PACKING = (*SCALING, "_FillValue", "missing_value")
# What files hold in gaps that nobody made NaN, the defaults of netCDF and of GrADS among them.
FILL_VALUES = (
    *(-99.0, -999.0, -9999.0, -99999.0, 9999.0, 99999.0, -32768.0, 32767.0),
    *(1e20, -1e20, 1e30, -1e30, 1e34, -1e34, 9.969209968386869e36, 9.999e20),
)
# Limits in packed numbers, which are wrong for the unpacked values.
PACKED_LIMITS = ("valid_min", "valid_max", "valid_range", "actual_range")


@dataclass(eq=False)
class Field:
    """One variable in canonical order, with its labels.

    Parameters
    ----------
    name : hashable or None
        The variable's name.
    data : array, shape (*extra, nt, ny, nx)
        Native-endian float32 or float64; numpy, dask or GPU array, as in the input. Axes
        keep their direction.
    grid : Grid
        Positions of the cells.
    axes : Axes
        The names of the time, y and x dimensions.
    extra : tuple of hashable
        The names of the other dimensions (depth, member ...), in the order of ``data``.
    template : DataArray
        The input variable, unpacked.
    """

    name: Hashable | None
    data: Any
    grid: Grid
    axes: Axes
    extra: tuple[Hashable, ...]
    template: xr.DataArray

    @property
    def dims(self) -> tuple[Hashable, ...]:
        """The names of the dimensions of ``data``."""
        return (*self.extra, self.axes.time, self.axes.y, self.axes.x)

    def restore(
        self,
        data: Any,
        name: Hashable | None = None,
        attrs: Mapping[Any, Any] | None = None,
        new_dims: tuple[Hashable, ...] = (),
    ) -> xr.DataArray:
        """Label an array in canonical order.

        Parameters
        ----------
        data : array, shape (*new, *extra, nt, ny, nx)
            Floats are cast to the field's precision; other dtypes, such as booleans or
            counts, are kept.
        name : hashable, optional
            Default: the field's name.
        attrs : mapping, optional
            Default: the field's attributes.
        new_dims : tuple of hashable
            Names of new leading dimensions, such as ``("member",)``.

        Returns
        -------
        DataArray
            With the dimension order and all coordinates of the input, new dimensions
            first, without encodings.

        Raises
        ------
        ValueError
            If the shape is not the field's.
        """
        expected = tuple(self.template.sizes[dim] for dim in self.dims)
        if tuple(data.shape[len(new_dims) :]) != expected:
            raise ValueError(
                f"Found an array of shape {tuple(data.shape)} for the dimensions "
                f"{(*new_dims, *self.dims)}. Expected a shape that ends with {expected}."
            )
        if data.dtype.kind == "f" and data.dtype != self.data.dtype:
            data = data.astype(self.data.dtype)
        restored = xr.DataArray(
            data,
            dims=(*new_dims, *self.dims),
            coords=self.template.coords,
            name=self.name if name is None else name,
            attrs=dict(self.template.attrs if attrs is None else attrs),
        )
        return restored.transpose(*new_dims, *self.template.dims).drop_encoding()


def to_field(da: xr.DataArray, axes: Axes, grid: Grid) -> Field:
    """Transpose a variable to canonical order and convert it to native floats, lazily.

    Parameters
    ----------
    da : DataArray
        With the three axes, in any order, and any others. Integers with CF packing
        attributes (``scale_factor``, ``add_offset``, ``_FillValue`` ...) are decoded by
        xarray.
    axes : Axes
        The names of the three axes.
    grid : Grid
        Positions of the cells.

    Returns
    -------
    Field
        float32 and float64 are kept, in native byte order; float16 and integers of up to
        16 bits become float32; longer integers become float64.

    Raises
    ------
    AxesError
        If the variable lacks one of the axes.
    DataError
        If the variable is empty, or its values are not real numbers.
    """
    missing = [dim for dim in (axes.time, axes.y, axes.x) if dim not in da.dims]
    if missing:
        raise AxesError(
            f"The variable {da.name!r} has the dimensions {da.dims}, without {missing}. "
            "Expected time, y and x: add one with obj.expand_dims."
        )
    template = unpacked(da)
    dtype = _float_type(template)
    if template.size == 0:
        raise DataError(
            f"The variable {da.name!r} is empty: its sizes are {dict(da.sizes)}. Expected at "
            "least one value."
        )
    extra = tuple(dim for dim in da.dims if dim not in (axes.time, axes.y, axes.x))
    data = template.transpose(*extra, axes.time, axes.y, axes.x).data
    if data.dtype != dtype:
        data = data.astype(dtype)
    return Field(da.name, data, grid, axes, extra, template)


def check_values(field: Field) -> None:
    """Require finite values and at least one observation.

    Parameters
    ----------
    field : Field
        Checked if its data are a numpy array; lazy and GPU data are checked by tile.

    Raises
    ------
    DataError
        If some values are infinite, or all are NaN.
    """
    if not isinstance(field.data, np.ndarray):
        return
    refuse_infinite(field.data, f"The variable {field.name!r}", lambda at: _locate(field, at))
    refuse_fill_values(field.data, f"The variable {field.name!r}")
    if np.isnan(field.data).all():
        raise DataError(
            f"The variable {field.name!r} has no value: all {field.data.size} are NaN. "
            "Expected some observations; check the selection, the fill value and the mask."
        )


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


def _locate(field: Field, at: tuple[int, ...]) -> str:
    words = []
    for dim, index in zip(field.dims, at, strict=True):
        label = (
            field.template.coords[dim].values[index] if dim in field.template.coords else index
        )
        words.append(f"{dim}={label}")
    return ", ".join(words)


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
        In the units of its attributes; the variable itself if it has none for packing.

    Raises
    ------
    DataError
        Floats with a scale factor hold nothing but whole numbers: they may be packed.
    """
    if da.dtype.kind not in "iuf" or not any(key in da.attrs for key in PACKING):
        return da
    scaled = any(key in da.attrs for key in SCALING)
    variable = da.variable.drop_encoding()
    if da.dtype.kind == "f" and scaled:
        _require_decoded(da)
        kept = {key: value for key, value in da.attrs.items() if key not in SCALING}
        variable = xr.Variable(variable.dims, variable.data, kept)
    # Durations are not decoded: 'days' may be a unit of the field.
    variable = xr.conventions.decode_cf_variable(
        da.name, variable, decode_times=False, decode_timedelta=False
    )
    if scaled:
        for key in PACKED_LIMITS:
            variable.attrs.pop(key, None)
    return xr.DataArray(variable, coords=da.coords, name=da.name)


def _require_decoded(da: xr.DataArray) -> None:
    """Raise if floats in memory look like packed integers, such as after ``where``."""
    values = da.data
    if not isinstance(values, np.ndarray):
        return
    known = values[np.isfinite(values)]
    if known.size > 1 and np.ptp(known) > 0 and (known == np.round(known)).all():
        raise DataError(
            f"The variable {da.name!r} holds floats that are all whole numbers, from "
            f"{known.min():g} to {known.max():g}, and has "
            f"{', '.join(key for key in SCALING if key in da.attrs)} in its attributes: "
            "packed numbers or values? Decode packed numbers before where() or arithmetic "
            "(xarray.decode_cf), or drop these attributes from values."
        )


def _float_type(da: xr.DataArray) -> np.dtype[Any]:
    kind, size = da.dtype.kind, da.dtype.itemsize
    if kind == "f":
        return np.dtype(np.float32 if size <= 4 else np.float64)
    if kind in "iu":
        return np.dtype(np.float32 if size <= 2 else np.float64)
    raise DataError(
        f"The variable {da.name!r} holds {da.dtype} values. Expected real numbers: "
        + {
            "c": "pass its real and imaginary parts separately.",
            "b": "convert a mask with obj.astype('float32').",
            "M": "choose another variable.",
            "m": "divide by a unit of time, such as obj / numpy.timedelta64(1, 's').",
        }.get(kind, "convert it with obj.astype('float32').")
    )
