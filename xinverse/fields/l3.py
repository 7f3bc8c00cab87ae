"""Gridded L3 datasets: mean, count and noise of the points in each cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import GridError
from xinverse.fields.attributes import ancillary_attributes
from xinverse.fields.axes import Axes, find_axes
from xinverse.fields.grid import Grid, make_grid

__all__ = ["build_l3", "geographic_grid", "grid_coordinates", "in_order_of"]


def build_l3(
    name: str,
    mean: NDArray[np.floating[Any]],
    count: NDArray[np.int32],
    noise: NDArray[np.floating[Any]] | None,
    coords: Mapping[Any, xr.DataArray],
    axes: Axes,
    attrs: Mapping[str, Any],
    noise_comment: str | None = None,
) -> xr.Dataset:
    """Label the mean, count and noise of cells.

    Parameters
    ----------
    name : str
        Name of the variable; the others are ``<name>_count`` and ``<name>_noise``.
    mean, count, noise : ndarray, shape (nt, ny, nx)
        NaN, 0 and NaN in gaps. `noise` may be None.
    coords : mapping
        Coordinates of the grid.
    axes : Axes
        Names of the dimensions.
    attrs : mapping
        Attributes of the variable.
    noise_comment : str, optional
        Description of the noise estimate.

    Returns
    -------
    Dataset
        With CF attributes (``ancillary_variables``, standard name modifiers).
    """
    dims = (axes.time, axes.y, axes.x)
    standard, units = attrs.get("standard_name"), attrs.get("units")
    long_name = attrs.get("long_name", name)
    names = [f"{name}_count"] + ([f"{name}_noise"] if noise is not None else [])
    variables: dict[str, tuple[Any, ...]] = {
        name: (dims, mean, ancillary_attributes(attrs, *names))
    }
    about_count = {"long_name": f"number of samples of {long_name} in the cell", "units": "1"}
    if standard:
        about_count["standard_name"] = f"{standard} number_of_observations"
    variables[f"{name}_count"] = (dims, count, about_count)
    if noise is not None:
        about_noise = {"long_name": f"standard deviation of the noise of {long_name}"}
        if standard:
            about_noise["standard_name"] = f"{standard} standard_error"
        if units is not None:
            about_noise["units"] = units
        if noise_comment:
            about_noise["comment"] = noise_comment
        variables[f"{name}_noise"] = (dims, noise, about_noise)
    return xr.Dataset(variables, coords)


def grid_coordinates(obj: xr.Dataset | xr.DataArray, axes: Axes) -> dict[Any, xr.DataArray]:
    """Return the coordinates of an object that lie on time, y and x only."""
    dims = {axes.time, axes.y, axes.x}
    return {
        name: coordinate
        for name, coordinate in obj.coords.items()
        if set(coordinate.dims) <= dims
    }


def in_order_of(obj: xr.Dataset | xr.DataArray, result: xr.Dataset, axes: Axes) -> xr.Dataset:
    """Transpose a result to the dimension order of an object.

    Parameters
    ----------
    obj : Dataset or DataArray
        Its first variable on (time, y, x) sets the order.
    result : Dataset
        With all variables on (time, y, x).
    axes : Axes
        Names of the dimensions.
    """
    wanted = {axes.time, axes.y, axes.x}
    arrays = [obj] if isinstance(obj, xr.DataArray) else obj.data_vars.values()
    for array in arrays:
        if wanted <= set(array.dims):
            order = [dim for dim in array.dims if dim in wanted]
            variables = result.data_vars.items()
            return result.assign({k: v.variable.transpose(*order) for k, v in variables})
    return result


def geographic_grid(obj: xr.Dataset | xr.DataArray, purpose: str) -> tuple[Axes, Grid]:
    """Find the axes and grid of an object on latitude and longitude.

    Parameters
    ----------
    obj : Dataset or DataArray
        Only its labels are read.
    purpose : str
        What requires latitude and longitude, for the error text.

    Raises
    ------
    AxesError, GridError, UnitsError
        As :func:`xinverse.fields.axes.find_axes` and :func:`xinverse.fields.grid.make_grid`.
    GridError
        If the grid is projected.
    """
    axes = find_axes(obj)
    grid = make_grid(obj, axes)
    if not grid.geographic:
        raise GridError(
            f"The axes {axes.y!r} and {axes.x!r} are lengths, but {purpose} needs latitude and "
            "longitude. Give the grid geographic coordinates (degrees_north, degrees_east)."
        )
    return axes, grid
