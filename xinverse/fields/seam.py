"""Longitudes that are sorted across the seam of a globe: join the region, and put it back.

Files from 0 to 360 that hold a region across Greenwich, sorted, have the longitudes
0, 1, 2, 357, 358, 359 (and from -180 to 180 across the dateline, -180, -179, 178, 179). The
region is contiguous, but its columns are not in order: the package reorders them before
it reads the grid, and gives the results back in the order of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from xinverse.errors import UnitsError
from xinverse.fields.coordinates import leading_columns, spatial_units

__all__ = ["across_the_seam", "joined", "joined_together"]

Function = TypeVar("Function", bound=Callable[..., Any])
Object = TypeVar("Object", bound=xr.Dataset | xr.DataArray)


@dataclass(frozen=True, eq=False)
class _Turn:
    """One axis of longitudes, before and after its columns were reordered."""

    dim: Hashable
    before: xr.DataArray
    after: np.ndarray
    back: np.ndarray
    chunks: Mapping[Hashable, tuple[int, ...]]

    def undo(self, obj: Any) -> Any:
        """The object in the order of the input, if it is on these longitudes."""
        if self.dim not in obj.coords or not np.array_equal(obj[self.dim], self.after):
            return obj
        found = obj.isel({self.dim: self.back}).assign_coords({self.dim: self.before})
        lazy = {name: self._chunked(name, da) for name, da in found.coords.items() if da.chunks}
        found = found.assign_coords(lazy)
        if isinstance(found, xr.DataArray):
            return self._chunked(found.name, found)
        return found.assign({n: self._chunked(n, da) for n, da in found.data_vars.items()})

    def _chunked(self, name: Hashable, da: xr.DataArray) -> xr.DataArray:
        """A variable in the chunks of the input of its name, or of any."""
        if da.chunks is None or self.dim not in da.dims or not self.chunks:
            return da
        usual = next(iter(self.chunks.values()))
        # Of the variable alone: coordinates may have other chunks, which is an error to xarray.
        variable = da.variable.chunk({self.dim: self.chunks.get(name, usual)})
        return da.copy(data=variable.data)


def joined(obj: Object) -> Object:
    """The object with contiguous longitudes: 357, 358, 359, 0, 1, 2.

    Parameters
    ----------
    obj : DataArray or Dataset
        Unchanged if its longitudes are contiguous in their order. Lazy data stay lazy.
    """
    found: Any = obj
    for turn, order in _turns(obj):
        found = found.isel({turn.dim: order})
    return found


def joined_together(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, with contiguous longitudes as `across_the_seam` gives a function.

    Parameters
    ----------
    arguments : mapping
        Labelled objects, containers of them, a ``mask``, and anything else.
    """
    return _join_each(arguments, [])


def across_the_seam(function: Function) -> Function:
    """Let a function of labelled fields accept longitudes that are sorted across the seam.

    Every DataArray and Dataset among the arguments is joined, and every result on
    their longitudes has the order and the chunks of the input. A ``mask`` without labels
    is reordered with the field whose number of columns it has.

    Parameters
    ----------
    function : callable
        A public function.
    """

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        turns: list[_Turn] = []
        args = tuple(_join(value, turns) for value in args)
        return _undo(function(*args, **_join_each(kwargs, turns)), turns)

    return wrapped  # type: ignore[return-value]  # the same signature


def _turns(obj: xr.Dataset | xr.DataArray) -> list[tuple[_Turn, np.ndarray]]:
    """The axes of longitudes to reorder, and their orders."""
    found = []
    for dim in obj.dims:
        if dim not in obj.coords or obj.coords[dim].dtype.kind not in "iuf":
            continue
        axis = obj.coords[dim]
        try:
            degrees = spatial_units(axis, "x") == "degrees"
        except UnitsError:
            degrees = False
        leading = leading_columns(axis.to_numpy().astype(np.float64)) if degrees else 0
        if leading:
            order = np.roll(np.arange(axis.size), -leading)
            back = np.roll(np.arange(axis.size), leading)
            after = axis.to_numpy()[order]
            found.append((_Turn(dim, axis, after, back, _chunks(obj, dim)), order))
    return found


def _chunks(obj: xr.Dataset | xr.DataArray, dim: Hashable) -> dict[Hashable, tuple[int, ...]]:
    """Lengths of the chunks along a dimension, of each lazy variable."""
    each = {obj.name: obj} if isinstance(obj, xr.DataArray) else dict(obj.data_vars)
    variables = {name: da.variable for name, da in (*each.items(), *obj.coords.items())}
    return {
        name: dict(variable.chunksizes)[dim]
        for name, variable in variables.items()
        if variable.chunks is not None and dim in variable.dims
    }


def _join_each(arguments: Mapping[str, Any], turns: list[_Turn]) -> dict[str, Any]:
    found = {name: _join(value, turns) for name, value in arguments.items()}
    if turns and found.get("mask") is not None:
        found["mask"] = _mask_in_order(found["mask"], turns)
    return found


def _join(value: Any, turns: list[_Turn]) -> Any:
    """The value with contiguous longitudes; containers by element."""
    if isinstance(value, xr.Dataset | xr.DataArray):
        for turn, order in _turns(value):
            value = value.isel({turn.dim: order})
            turns.append(turn)
    elif isinstance(value, list | tuple) and any(map(_labelled, value)):
        value = type(value)(_join(one, turns) for one in value)
    elif isinstance(value, dict) and any(map(_labelled, value.values())):
        value = {name: _join(one, turns) for name, one in value.items()}
    return value


def _labelled(value: Any) -> bool:
    return isinstance(value, xr.Dataset | xr.DataArray)


def _mask_in_order(mask: Any, turns: list[_Turn]) -> Any:
    """A mask without labels, whose columns are in the order of the input."""
    if isinstance(mask, str) or _labelled(mask):
        return mask
    values = mask if hasattr(mask, "shape") else np.asarray(mask)
    for turn in turns:
        if values.ndim == 2 and values.shape[1] == turn.before.size:
            return values[:, np.argsort(turn.back)]
    return mask


def _undo(result: Any, turns: list[_Turn]) -> Any:
    if not isinstance(result, xr.Dataset | xr.DataArray):
        return result
    for turn in turns:
        result = turn.undo(result)
    return result
