"""Observation matrices in plain numpy, and the answers of dense linear algebra.

Nothing here uses the package's operators, priors or solvers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import xarray as xr

EARTH = 6371.0  # km; only ratios of areas depend on it
DAY = np.timedelta64(1, "D")
SCALES = {"length_scale": 90.0, "time_scale": 2.5}
VARIANCE, NOISE = 1.3, 0.4


def labelled(
    values: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    *,
    degrees: bool = False,
    name: str = "ssh",
    lazy: bool = False,
) -> xr.DataArray:
    """A daily field in metres, on coordinates in km or degrees."""
    names = ("time", "lat", "lon") if degrees else ("time", "y", "x")
    units = ("degrees_north", "degrees_east") if degrees else ("km", "km")
    start = np.datetime64("2020-01-01", "ns")
    da = xr.DataArray(
        values,
        {
            "time": start + np.arange(len(values)) * DAY,
            names[1]: (names[1], y, {"units": units[0]}),
            names[2]: (names[2], x, {"units": units[1]}),
        },
        names,
        name=name,
        attrs={"units": "m", "standard_name": "sea_surface_height_above_geoid"},
    )
    return da.chunk({names[0]: 2, names[1]: 3}) if lazy else da


def covariance(
    days: np.ndarray, y: np.ndarray, x: np.ndarray, variance: float = VARIANCE
) -> np.ndarray:
    """Gaussian correlations of every pair of cells, ``(n, n)``; y and x in km."""
    parts = [
        np.exp(-(((axis[:, None] - axis) / scale) ** 2))
        for axis, scale in (
            (days, SCALES["time_scale"]),
            (y, SCALES["length_scale"]),
            (x, SCALES["length_scale"]),
        )
    ]
    return variance * np.kron(parts[0], np.kron(parts[1], parts[2]))


def posterior(
    B: np.ndarray, H: np.ndarray, y: np.ndarray, noise: float | np.ndarray = NOISE
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance given ``y = H x + e``; rows of which y is NaN do not count."""
    seen = np.isfinite(y)
    H, y = H[seen], y[seen]
    R = np.diag(np.broadcast_to(noise, seen.shape)[seen] ** 2)
    gain = np.linalg.solve(H @ B @ H.T + R, H @ B).T
    return gain @ y, B - gain @ H @ B


def differences(
    shape: Sequence[int], spacing: Sequence[float], sea: np.ndarray | None = None
) -> np.ndarray:
    """Forward differences, ``(axis, cell, state)``; none across edges and coasts."""
    n = math.prod(shape)
    unit = np.eye(n).reshape(n, *shape)
    everywhere = np.ones(shape, bool) if sea is None else np.broadcast_to(sea, shape)
    parts = []
    for axis, step in enumerate(spacing):
        there = everywhere & np.roll(everywhere, -1, axis)
        there[(slice(None),) * axis + (-1,)] = False
        parts.append((np.roll(unit, -1, axis + 1) - unit) * there / step)
    return np.stack([part.reshape(n, n).T for part in parts])


def blur(shape: tuple[int, int], kernel: np.ndarray) -> np.ndarray:
    """Convolution with zeros beyond the edge, ``(cells, cells)``, from its definition."""
    ny, nx = shape
    ry, rx = (side // 2 for side in kernel.shape)
    H = np.zeros((ny, nx, ny, nx))
    for j in range(ny):
        for i in range(nx):
            for dj in range(-ry, ry + 1):
                for di in range(-rx, rx + 1):
                    if 0 <= j - dj < ny and 0 <= i - di < nx:
                        H[j, i, j - dj, i - di] = kernel[dj + ry, di + rx]
    return H.reshape(ny * nx, ny * nx)


def gaussian_kernel(
    scale: tuple[float, float], step: tuple[float, float], angle: float = 0.0
) -> np.ndarray:
    """Its sum is one; cut off at four standard deviations along the axes of the grid."""
    turn = np.deg2rad(angle)
    cosine, sine = np.cos(turn), np.sin(turn)
    wide = (
        np.hypot(scale[0] * cosine, scale[1] * sine),
        np.hypot(scale[1] * cosine, scale[0] * sine),
    )
    reach = [math.ceil(4 * s / h) for s, h in zip(wide, step, strict=True)]
    y, x = np.mgrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    y, x = y * step[0], x * step[1]
    along, across = cosine * x + sine * y, cosine * y - sine * x
    kernel = np.exp(-0.5 * ((along / scale[1]) ** 2 + (across / scale[0]) ** 2))
    return kernel / kernel.sum()


def edges(centres: np.ndarray) -> np.ndarray:
    """Of cells of even size."""
    step = centres[1] - centres[0]
    return np.append(centres - step / 2, centres[-1] + step / 2)


def block_means(
    fine: tuple[np.ndarray, np.ndarray],
    coarse: tuple[np.ndarray, np.ndarray],
    *,
    sphere: bool = False,
    sea: np.ndarray | None = None,
) -> np.ndarray:
    """Means over the sea of coarse cells by the area that they share with fine ones.

    A row of zeros for a coarse cell without sea.
    """
    y, x, by, bx = edges(fine[0]), edges(fine[1]), edges(coarse[0]), edges(coarse[1])
    ny, nx = len(fine[0]), len(fine[1])
    wet = np.ones((ny, nx), bool) if sea is None else sea
    rows = []
    for south, north in pairwise(by):
        for west, east in pairwise(bx):
            area = np.zeros((ny, nx))
            for j in range(ny):
                low, high = max(south, y[j]), min(north, y[j + 1])
                if high - low <= 1e-9:
                    continue
                high_sine, low_sine = np.sin(np.deg2rad((high, low)))
                height = EARTH * (high_sine - low_sine) if sphere else high - low
                for i in range(nx):
                    width = min(east, x[i + 1]) - max(west, x[i])
                    area[j, i] = height * max(width, 0.0) * wet[j, i]
            rows.append((area / max(area.sum(), 1e-300)).ravel())
    return np.stack(rows)


def every_day(H: np.ndarray, days: int) -> np.ndarray:
    """The same map seen in the same way each day."""
    return np.kron(np.eye(days), H)


def with_gaps(values: np.ndarray, share: float = 0.3, seed: int = 5) -> np.ndarray:
    """Some values NaN."""
    return np.where(np.random.default_rng(seed).random(values.shape) < share, np.nan, values)
