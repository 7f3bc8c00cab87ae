"""One labelled variable as an array on (extra dimensions, time, y, x), and the way back."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xinverse.errors import AxesError, DataError
from xinverse.fields.axes import Axes
from xinverse.fields.grid import Grid

__all__ = ["Field", "check_values", "refuse_infinite", "to_field", "unpacked"]

PACKING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
# These are in packed numbers, so they say nothing true of the unpacked values.
PACKED_LIMITS = ("valid_min", "valid_max", "valid_range", "actual_range")


@dataclass(eq=False)
class Field:
    """One variable in canonical order, with what is needed to give its labels back.

    Parameters
    ----------
    name : hashable or None
        The variable's name.
    data : array, shape (*extra, nt, ny, nx)
        Native-endian float32 or float64; numpy, dask or a GPU array, as it was given.
        The directions of the axes are the field's own.
    grid : Grid
        Where the cells are.
    axes : Axes
        The names of the time, y and x dimensions.
    extra : tuple of hashable
        The names of the other dimensions (depth, member ...), in the order of ``data``.
    template : DataArray
        The variable as it was given, unpacked.
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
        """Put the labels back on an array in canonical order.

        Parameters
        ----------
        data : array, shape (*new, *extra, nt, ny, nx)
            Floats of another precision are cast to the field's own; other dtypes, such
            as booleans or counts, stay.
        name : hashable, optional
            By default the field's own.
        attrs : mapping, optional
            By default the field's own.
        new_dims : tuple of hashable
            Names of leading dimensions that the field did not have, such as
            ``("member",)``.

        Returns
        -------
        DataArray
            With the dimension order and all coordinates of the original, the new
            dimensions first, and without encodings.

        Raises
        ------
        ValueError
            The shape is not the field's.
        """
        expected = tuple(self.template.sizes[dim] for dim in self.dims)
        if tuple(data.shape[len(new_dims) :]) != expected:
            raise ValueError(
                f"Got an array of shape {tuple(data.shape)} to label as "
                f"{(*new_dims, *self.dims)}. Expected it to end with {expected}."
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
    """Bring a variable to canonical order and to native floats, lazily.

    Parameters
    ----------
    da : DataArray
        Has the three axes, in any order, and any others. Integers that still have their
        CF packing attributes (``scale_factor``, ``add_offset``, ``_FillValue`` ...) are
        unpacked with xarray's own decoder.
    axes : Axes
        The names of the three axes.
    grid : Grid
        Where the cells are.

    Returns
    -------
    Field
        float32 stays float32 and float64 stays float64, in native byte order; float16
        and integers of up to 16 bits become float32; longer ones become float64.

    Raises
    ------
    AxesError
        The variable lacks one of the axes.
    DataError
        The values are not real numbers, or there are none.
    """
    missing = [dim for dim in (axes.time, axes.y, axes.x) if dim not in da.dims]
    if missing:
        raise AxesError(
            f"The variable {da.name!r} has the dimensions {da.dims}, without {missing}. "
            "Expected time, y and x; expand_dims makes one."
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
    """Refuse values that no method can use; lazy or GPU data are left for the tiles.

    Parameters
    ----------
    field : Field
        Only looked at if its data are a numpy array.

    Raises
    ------
    DataError
        Some values are infinite, or none is there.
    """
    if not isinstance(field.data, np.ndarray):
        return
    refuse_infinite(field.data, f"The variable {field.name!r}", lambda at: _locate(field, at))
    if np.isnan(field.data).all():
        raise DataError(
            f"The variable {field.name!r} has no value at all: all {field.data.size} are NaN. "
            "Expected some observations; check the selection, the fill value and the mask."
        )


def refuse_infinite(
    values: np.ndarray,
    where: str,
    locate: Callable[[tuple[int, ...]], str] = lambda at: f"index {at}",
) -> None:
    """Refuse infinite values, in the words that eager calls and workers share.

    Parameters
    ----------
    values : ndarray
        Any shape.
    where : str
        Whose values they are, such as ``"The variable 'sla'"``.
    locate : callable
        Gives the words for an index; by default the index itself.

    Raises
    ------
    DataError
        Some values are infinite.
    """
    infinite = np.isinf(values)
    if infinite.any():
        first = tuple(int(i) for i in np.argwhere(infinite)[0])
        raise DataError(
            f"{where} has infinite values: {int(infinite.sum())}, the first at "
            f"{locate(first)}. Expected finite numbers, and NaN where nothing was observed: "
            "replace them with obj.where(abs(obj) < float('inf'))."
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
    """The variable's values in its units: decoded if they still carry CF packing.

    Parameters
    ----------
    da : DataArray
        Any variable.
    """
    if da.dtype.kind not in "iuf" or not any(key in da.attrs for key in PACKING):
        return da
    # The times of a duration variable are not asked for: 'days' may be a unit of the field.
    variable = xr.conventions.decode_cf_variable(
        da.name, da.variable.drop_encoding(), decode_times=False, decode_timedelta=False
    )
    if "scale_factor" in da.attrs or "add_offset" in da.attrs:
        for key in PACKED_LIMITS:
            variable.attrs.pop(key, None)
    return xr.DataArray(variable, coords=da.coords, name=da.name)


def _float_type(da: xr.DataArray) -> np.dtype[Any]:
    kind, size = da.dtype.kind, da.dtype.itemsize
    if kind == "f":
        return np.dtype(np.float32 if size <= 4 else np.float64)
    if kind in "iu":
        return np.dtype(np.float32 if size <= 2 else np.float64)
    raise DataError(
        f"The variable {da.name!r} holds {da.dtype} values. Expected real numbers: "
        + {
            "c": "take its real and imaginary parts one by one.",
            "b": "a mask is no field; obj.astype('float32') makes it one.",
            "M": "dates are no field.",
            "m": "divide it by a unit of time, such as obj / numpy.timedelta64(1, 's').",
        }.get(kind, "convert it with obj.astype('float32').")
    )
