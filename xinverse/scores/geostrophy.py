"""Geostrophic currents and their vorticity, from sea surface height."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr

from xinverse.constants import EARTH_RADIUS, EARTH_ROTATION, GRAVITY
from xinverse.errors import GridError, OptionError, UnitsError
from xinverse.fields.axes import Axes, find_axes
from xinverse.fields.grid import Grid, make_grid
from xinverse.fields.seam import across_the_seam
from xinverse.fields.units import unit_change
from xinverse.fields.values import refuse_fill_values, unpacked

__all__ = ["EQUATOR", "geostrophic_currents"]

EQUATOR = 5.0  # degrees within which currents are not geostrophic


@across_the_seam
def geostrophic_currents(
    height: xr.DataArray,
    *,
    latitude: float | xr.DataArray | None = None,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Geostrophic currents of a sea surface height, and their vorticity.

    With :math:`f = 2 \Omega \sin \varphi`, on a sphere of radius :math:`R` where
    :math:`\partial_x = (R \cos\varphi)^{-1} \partial_\lambda` and
    :math:`\partial_y = R^{-1} \partial_\varphi`,

    .. math::
        u = -\frac{g}{f} \, \partial_y \eta, \qquad
        v = \frac{g}{f} \, \partial_x \eta, \qquad
        \frac{\zeta}{f} = \frac{1}{f} \Big(\partial_x v
        - \frac{\partial_y (u \cos\varphi)}{\cos\varphi}\Big).

    Differences are centred, one-sided at the edges of the grid, and periodic on a global one.

    Parameters
    ----------
    height : DataArray
        On (time, y, x) in any order, in metres, centimetres or millimetres; NaN is land. Lazy
        stays lazy.
    latitude : float or DataArray, optional
        Degrees north, to compute f on a projected or rotated grid. A number makes f constant.
    dims : mapping, optional
        Dimensions by role, such as ``{"y": "nlat"}``. Default: found automatically.

    Returns
    -------
    Dataset
        ``u`` and ``v`` in m s-1, eastward and northward (along x and y on a projected or
        rotated grid), and ``vorticity``, :math:`\zeta / f`, positive for cyclones. NaN on and
        next to land, and within 5 degrees of the equator.

    Raises
    ------
    AxesError, GridError
        The axes or the grid are not recognised, or `latitude` is needed.
    UnitsError
        The units of the height are missing, or not a length.
    OptionError
        `latitude` is beyond 90 degrees, or the y axis is a latitude already.
    """
    height = unpacked(height)
    if isinstance(height.data, np.ndarray):
        refuse_fill_values(height.data, f"The sea surface height {height.name!r}")
    axes = find_axes(height, dims)
    grid = make_grid(height, axes)
    factor = _metres_per_unit(height)
    north = _latitude(height, axes, grid, latitude)
    coriolis = north.copy(data=2 * EARTH_ROTATION * np.sin(np.deg2rad(north.data)))
    coriolis = coriolis.where(abs(north) > EQUATOR)
    cosine = xr.ones_like(height[axes.y], dtype=np.float64)
    if grid.geographic:
        cosine = cosine.copy(data=np.cos(np.deg2rad(grid.y)))
    # At the pole a degree of longitude has no length.
    cosine = cosine.where(cosine > 1e-6)
    eta = height.astype(np.float64) * factor
    u = -GRAVITY / coriolis * _along_y(eta, axes, grid)
    v = GRAVITY / coriolis * _along_x(eta, axes, grid) / cosine
    spin = _along_x(v, axes, grid) / cosine - _along_y(u * cosine, axes, grid) / cosine
    sea = height.notnull()
    result = {"u": u, "v": v, "vorticity": spin / coriolis}
    attributes = _attributes(eastward=grid.geographic and not _rotated(height, axes))
    return xr.Dataset(
        {
            name: field.where(sea).transpose(*height.dims).assign_attrs(attributes[name])
            for name, field in result.items()
        }
    ).assign_coords(height.coords)


def _metres_per_unit(height: xr.DataArray) -> float:
    units = height.attrs.get("units")
    change = None if units is None else unit_change(str(units), "m")
    if change is None:
        raise UnitsError(
            f"The sea surface height {height.name!r} has the units {units!r}. Expected 'm', "
            "'cm' or 'mm': set height.attrs['units']."
        )
    return change[0]


def _latitude(
    height: xr.DataArray, axes: Axes, grid: Grid, given: float | xr.DataArray | None
) -> xr.DataArray:
    own = grid.geographic and not _rotated(height, axes)
    if own and given is not None:
        raise OptionError(f"The y axis {axes.y!r} is a latitude already. Leave out latitude=.")
    if own:
        return height[axes.y].copy(data=grid.y)
    if given is None:
        raise GridError(
            f"The y axis {axes.y!r} is not a latitude, which the Coriolis parameter needs. "
            "Give latitude=, a number or a DataArray on the grid, in degrees north."
        )
    north = unpacked(given) if isinstance(given, xr.DataArray) else xr.DataArray(float(given))
    if not bool((abs(north) <= 90).all()):
        raise OptionError("latitude= exceeds 90 degrees. Expected degrees north.")
    return north


def _rotated(height: xr.DataArray, axes: Axes) -> bool:
    y = height[axes.y]
    return y.attrs.get("standard_name") == "grid_latitude" or str(axes.y).lower() == "rlat"


def _along_y(field: xr.DataArray, axes: Axes, grid: Grid) -> xr.DataArray:
    """Derivative along y, per metre."""
    return _derivative(field, axes.y, _metres(grid.y, grid))


def _along_x(field: xr.DataArray, axes: Axes, grid: Grid) -> xr.DataArray:
    """Derivative along x, per metre at the equator."""
    x = _metres(grid.x, grid)
    if not grid.periodic:
        return _derivative(field, axes.x, x)
    step = (x[-1] - x[0]) / (x.size - 1)
    wrapped = field.pad({axes.x: 1}, mode="wrap")
    longer = np.concatenate([[x[0] - step], x, [x[-1] + step]])
    inner = _derivative(wrapped, axes.x, longer).isel({axes.x: slice(1, -1)})
    return inner.assign_coords({axes.x: field[axes.x]})


def _derivative(field: xr.DataArray, dim: Hashable, positions: np.ndarray) -> xr.DataArray:
    whole = field.chunk({dim: -1}) if field.chunks else field
    slope = whole.assign_coords({dim: positions}).differentiate(dim)
    return slope.assign_coords({dim: field[dim]})


def _metres(values: np.ndarray, grid: Grid) -> np.ndarray:
    if grid.geographic:
        return np.asarray(EARTH_RADIUS * np.deg2rad(values))
    return np.asarray(1e3 * values)


def _attributes(*, eastward: bool) -> dict[str, dict[str, str]]:
    along = {"u": ("eastward", "x"), "v": ("northward", "y")}
    result = {}
    for name, (direction, axis) in along.items():
        cf = f"surface_geostrophic_sea_water_{axis}_velocity"
        if eastward:
            cf = f"surface_geostrophic_{direction}_sea_water_velocity"
        words = f"geostrophic current, {direction if eastward else f'along {axis}'}"
        result[name] = {"standard_name": cf, "long_name": words, "units": "m s-1"}
    words = "relative vorticity over the Coriolis parameter"
    return result | {"vorticity": {"long_name": words, "units": "1"}}
