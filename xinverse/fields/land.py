"""Find the sea, so that gaps are filled and land is not."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from xinverse.errors import MaskError
from xinverse.fields.axes import Axes
from xinverse.fields.coordinates import FULL_CIRCLE, spatial_units

__all__ = ["NO_MASK", "find_sea"]

NO_MASK = "none: every gap is filled"
SEA_NAME, LAND_NAME = "sea_binary_mask", "land_binary_mask"

# Masks from other files may be rounded differently: this share of a spacing is the same cell.
SAME_CELL_WITHIN = 0.1


def find_sea(
    da: xr.DataArray,
    ds: xr.Dataset | None,
    axes: Axes,
    mask: Any = None,
) -> tuple[xr.DataArray | None, str]:
    """Find the sea.

    Parameters
    ----------
    da : DataArray
        The field; only coordinates and sizes are read.
    ds : Dataset or None
        Searched for a mask: the variable that ``mask`` names, or one with the
        ``standard_name`` ``sea_binary_mask`` (1 = sea) or ``land_binary_mask`` (1 = land).
        Default: search the coordinates of ``da``.
    axes : Axes
        The names of the axes of the field.
    mask : DataArray, array of shape (ny, nx) or name of a variable, optional
        True or 1 on the sea; False, 0 or NaN on land (reversed if its ``standard_name``
        is ``land_binary_mask``). A labelled mask is aligned by its coordinates, in either
        direction and with longitudes modulo 360; other dimensions have one value. An array
        without labels is in the order of the field's coordinates.

    Returns
    -------
    sea : DataArray of bool, dimensions (y, x), or None
        True on the sea, in the order of the field's coordinates; None without a mask.
        Dask masks stay lazy.
    source : str
        Where the mask came from, in words.

    Raises
    ------
    MaskError
        If the mask is missing, has another shape, other coordinates or dimensions, holds
        values other than 0, 1 and NaN, or has no sea. Values of a dask mask are checked
        when it is computed.
    """
    variables = da.coords if ds is None else ds.variables
    if mask is None:
        found = _search(variables, axes)
        if found is None:
            return None, NO_MASK
        name, kind = found
        labelled = da.coords[name] if ds is None else ds[name]
        source = f"{kind} variable {name!r}"
    elif isinstance(mask, str):
        if mask not in variables:
            raise MaskError(
                f"There is no variable {mask!r} to use as the mask. Known: "
                f"{', '.join(map(repr, variables))}."
            )
        labelled = da.coords[mask] if ds is None else ds[mask]
        source = f"mask argument, variable {mask!r}"
    else:
        labelled = mask if isinstance(mask, xr.DataArray) else _label(mask, da, axes)
        source = "mask argument"
    is_land = labelled.attrs.get("standard_name") == LAND_NAME
    if is_land and LAND_NAME not in source:
        source += f" ({LAND_NAME}, 1 = land)"
    return _to_sea(_align(labelled, da, axes, source), is_land, source), source


def _search(variables: Any, axes: Axes) -> tuple[Hashable, str] | None:
    for kind in (SEA_NAME, LAND_NAME):
        names = [
            name
            for name, variable in variables.items()
            # One with neither dimension is on another grid of the dataset.
            if variable.attrs.get("standard_name") == kind
            and {axes.y, axes.x} & set(variable.dims)
        ]
        if len(names) > 1:
            raise MaskError(
                f"Several variables are a {kind}: {', '.join(map(repr, names))}. Choose one "
                f"with mask={names[0]!r}."
            )
        if names:
            return names[0], kind
    return None


def _label(mask: Any, da: xr.DataArray, axes: Axes) -> xr.DataArray:
    if isinstance(mask, xr.Dataset):
        raise MaskError(
            f"The mask is a Dataset with the variables {', '.join(map(repr, mask.variables))}. "
            "Expected one of them: mask=dataset['name']."
        )
    values = mask if hasattr(mask, "shape") and hasattr(mask, "dtype") else np.asarray(mask)
    shape = (da.sizes[axes.y], da.sizes[axes.x])
    if tuple(values.shape) != shape:
        raise MaskError(
            f"The mask has shape {tuple(values.shape)}, and the field has "
            f"({axes.y!r}, {axes.x!r}) = {shape}. Expected one value per cell, in this order."
        )
    return xr.DataArray(values, dims=(axes.y, axes.x), coords=_coords(da, axes))


def _align(mask: xr.DataArray, da: xr.DataArray, axes: Axes, source: str) -> xr.DataArray:
    others = [name for name in mask.dims if name not in (axes.y, axes.x)]
    mask = mask.squeeze([name for name in others if mask.sizes[name] == 1], drop=True)
    if set(mask.dims) != {axes.y, axes.x}:
        extra = [name for name in mask.dims if name not in (axes.y, axes.x)]
        way = (
            f"Select one: mask.isel({', '.join(f'{name}=0' for name in extra)}, drop=True)."
            if extra
            else "Give one value per cell."
        )
        if len(extra) == 1 and extra[0] in da.dims and extra[0] != axes.time:
            way += f" Or fill each {extra[0]!r} with its own: {_one_by_one(extra[0], da)}."
        raise MaskError(
            f"The mask ({source}) has the dimensions {mask.dims}. Expected "
            f"({axes.y!r}, {axes.x!r}). {way}"
        )
    mask = mask.transpose(axes.y, axes.x)
    shape = (da.sizes[axes.y], da.sizes[axes.x])
    if mask.shape != shape:
        raise MaskError(
            f"The mask ({source}) has shape {mask.shape}, and the field has "
            f"({axes.y!r}, {axes.x!r}) = {shape}. Expected a mask on the field's grid."
        )
    # Only longitudes are periodic.
    round_x = spatial_units(da.coords[axes.x], "x") == "degrees"
    for name, period in ((axes.y, None), (axes.x, FULL_CIRCLE if round_x else None)):
        if name in mask.coords:
            order = _match(mask.coords[name], da.coords[name], period, source)
            if not np.array_equal(order, np.arange(order.size)):
                mask = mask.isel({name: order})
    return xr.DataArray(mask.data, dims=(axes.y, axes.x), coords=_coords(da, axes))


def _one_by_one(dim: Hashable, da: xr.DataArray) -> str:
    return (
        f"xr.concat([field.isel({dim}=[k]).inverse.interpolate(mask=mask.isel({dim}=k)) "
        f"for k in range({da.sizes[dim]})], {dim!r}), where field is a DataArray"
    )


def _match(
    given: xr.DataArray, wanted: xr.DataArray, period: float | None, source: str
) -> np.ndarray:
    """Return the position in ``given`` of each value of ``wanted``."""
    if given.dtype.kind in "iuf":
        there, here = (c.to_numpy().astype(np.float64) for c in (given, wanted))
        within = SAME_CELL_WITHIN * float(np.min(np.abs(np.diff(here)), initial=np.inf))
        if period is not None:
            # Start at the middle of a cell, so that rounding moves no cell across the seam.
            seam = here[0] - 0.5 * within / SAME_CELL_WITHIN
            there, here = (there - seam) % period, (here - seam) % period
        order = np.argsort(there)
        nearest = _nearest(there[order], here)
        apart = np.abs(there[order][nearest] - here)
        if (apart <= within).all() and np.unique(nearest).size == here.size:
            return np.asarray(order[nearest])
    raise MaskError(
        f"The mask ({source}) has {given.name!r} from {given.values[0]} to {given.values[-1]}, "
        f"and the field from {wanted.values[0]} to {wanted.values[-1]}, or they differ in "
        "between. Regrid it: mask.interp_like(field, method='nearest')."
    )


def _nearest(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    above = np.clip(np.searchsorted(ascending, values), 1, ascending.size - 1)
    nearer_below = values - ascending[above - 1] <= ascending[above] - values
    return above - nearer_below


def _coords(da: xr.DataArray, axes: Axes) -> dict[Hashable, xr.DataArray]:
    return {name: da.coords[name].variable for name in (axes.y, axes.x)}


def _to_sea(mask: xr.DataArray, is_land: bool, source: str) -> xr.DataArray:
    if mask.dtype.kind not in "biuf":
        raise MaskError(
            f"The mask ({source}) holds {mask.dtype} values. Expected booleans, or 1 on "
            f"the {'land' if is_land else 'sea'} and 0 elsewhere."
        )
    sea = xr.apply_ufunc(
        _read_flags,
        mask,
        kwargs={"is_land": is_land, "source": source},
        dask="parallelized",
        output_dtypes=[np.bool_],
        keep_attrs=False,
    )
    if isinstance(sea.data, np.ndarray) and not sea.values.any():
        raise MaskError(
            f"The mask ({source}) has no sea in {sea.size} cells. Expected True or 1 on the "
            "sea: pass ~mask if yours is 1 on land."
        )
    return sea


def _read_flags(values: Any, is_land: bool, source: str) -> Any:
    # Only operators, which every array library has.
    sea, land = (values == 0, values == 1) if is_land else (values == 1, values == 0)
    other = ~(sea | land | (values != values))  # noqa: PLR0124  (true for NaN only)
    if other.any():
        raise MaskError(
            f"The mask ({source}) holds {int(other.sum())} values that are not 0, 1 or NaN. "
            "Convert bit flags and fractions to booleans first, such as mask == 1 or "
            "mask > 0.5."
        )
    return sea
