"""Convert a labelled variable to an array on (extra dimensions, time, y, x), and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xinverse.errors import AxesError, DataError
from xinverse.fields.axes import Axes
from xinverse.fields.encoding import with_lasting_encoding
from xinverse.fields.grid import Grid
from xinverse.fields.values import refuse_unusable, unpacked

__all__ = ["Field", "check_values", "to_field"]


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
            first, with the encodings that still fit.

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
        # xarray takes the name of a dask array, a key of its graph, in place of None.
        restored.name = self.name if name is None else name
        restored.encoding = dict(self.template.encoding)
        return with_lasting_encoding(restored.transpose(*new_dims, *self.template.dims))


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


def check_values(field: Field, *, unseen: bool = False) -> None:
    """Require finite values and at least one observation.

    Parameters
    ----------
    field : Field
        Checked if its data are a numpy array; lazy and GPU data are checked by tile.
    unseen : bool, default False
        Whether all values may be NaN, since a background is given: the map is then the
        background, with the full error of the prior.

    Raises
    ------
    DataError
        If some values are infinite, or all are NaN.
    """
    if not isinstance(field.data, np.ndarray):
        return
    refuse_unusable(field.data, f"The variable {field.name!r}", lambda at: _locate(field, at))
    if not unseen and np.isnan(field.data).all():
        raise DataError(
            f"The variable {field.name!r} has no value: all {field.data.size} are NaN. "
            "Expected some observations, or background= for the map; check the selection, the "
            "fill value and the mask."
        )


def _locate(field: Field, at: tuple[int, ...]) -> str:
    words = []
    for dim, index in zip(field.dims, at, strict=True):
        label = (
            field.template.coords[dim].values[index] if dim in field.template.coords else index
        )
        words.append(f"{dim}={label}")
    return ", ".join(words)


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
