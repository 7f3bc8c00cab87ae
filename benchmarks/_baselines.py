"""What one gets without a covariance: the nearest observation, and lines between them.

Both work in space and time at once, on coordinates divided by a length and a time, so that a
day counts as much as so many kilometres.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import cKDTree

EARTH_RADIUS = 6371.0  # km


def nearest(
    observations: xr.DataArray, sea: xr.DataArray, length_scale: float, time_scale: float
) -> xr.DataArray:
    """Give each cell the value of its nearest observation; land stays NaN.

    Distances in space are chords of the sphere, so that the map has no edge in longitude.
    """
    position = _on_sphere(observations, length_scale, time_scale)
    seen = observations.notnull().values
    wanted = np.broadcast_to(sea.values, seen.shape)
    _, found = cKDTree(position[seen]).query(position[wanted], workers=1)
    return _filled(observations, wanted, observations.values[seen][found])


def linear(
    observations: xr.DataArray, sea: xr.DataArray, length_scale: float, time_scale: float
) -> xr.DataArray:
    """Interpolate linearly in the tetrahedra between observations; the nearest one beyond."""
    flat = _on_plane(observations, length_scale, time_scale)
    seen = observations.notnull().values
    wanted = np.broadcast_to(sea.values, seen.shape)
    # Grid points lie on common spheres: a jitter of a millionth makes the tetrahedra unique.
    points = flat[seen] + np.random.default_rng(0).normal(scale=1e-6, size=flat[seen].shape)
    values = LinearNDInterpolator(points, observations.values[seen])(flat[wanted])
    outside = np.isnan(values)
    beyond = nearest(observations, sea, length_scale, time_scale).values[wanted]
    return _filled(observations, wanted, np.where(outside, beyond, values))


def _filled(like: xr.DataArray, wanted: np.ndarray, values: np.ndarray) -> xr.DataArray:
    data = np.full(like.shape, np.nan)
    data[wanted] = values
    return like.copy(data=data)


def _days(field: xr.DataArray) -> np.ndarray:
    time = field[field.dims[0]].values
    return (time - time[0]) / np.timedelta64(1, "D")


def _on_sphere(field: xr.DataArray, length_scale: float, time_scale: float) -> np.ndarray:
    """Positions ``(nt, ny, nx, 4)`` in scales: three of space and time."""
    latitude, longitude = (np.deg2rad(field[d].values.astype(float)) for d in field.dims[1:])
    days = _days(field) / time_scale
    across = (
        np.cos(latitude)[:, None] * np.stack([np.cos(longitude), np.sin(longitude)])[:, None]
    )
    up = np.broadcast_to(np.sin(latitude)[:, None], across.shape[1:])
    space = np.stack([*across, up], axis=-1) * (EARTH_RADIUS / length_scale)
    shape = (days.size, *space.shape)
    when = np.broadcast_to(days[:, None, None, None], (*shape[:3], 1))
    return np.concatenate([np.broadcast_to(space, shape), when], axis=-1)


def _on_plane(field: xr.DataArray, length_scale: float, time_scale: float) -> np.ndarray:
    """Positions ``(nt, ny, nx, 3)`` in scales: north, east at the middle latitude, time."""
    latitude, longitude = (field[d].values.astype(float) for d in field.dims[1:])
    km = np.deg2rad(1.0) * EARTH_RADIUS / length_scale
    east = longitude * km * np.cos(np.deg2rad(latitude.mean()))
    grids = np.meshgrid(_days(field) / time_scale, latitude * km, east, indexing="ij")
    return np.stack(grids, axis=-1)
