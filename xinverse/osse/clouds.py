r"""Simulated clouds that form, move and dissolve.

A cell is cloudy where a Gaussian random field exceeds a threshold. The field is

.. math:: g(x, t) = \sqrt{2 / K} \sum_{j=1}^{K}
          \cos\left(k_j \cdot (x - u t) + \omega_j t + \varphi_j\right)

with random wavenumbers, frequencies and phases (Matérn 1960; Rahimi and Recht 2007). In the
frame that moves with the wind :math:`u`, its covariance is a Matérn one of smoothness 3/2 in
space times a Gaussian one in time,

.. math:: \left(1 + \sqrt 3 \frac{r}{L}\right) e^{-\sqrt 3 r / L} \;
          e^{-t^2 / 2 \tau^2} .
"""

from __future__ import annotations

from math import cos, radians

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.constants import KM_PER_DEGREE, SECONDS_PER_DAY
from xinverse.errors import OptionError
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import Grid, make_grid
from xinverse.fields.l3 import grid_coordinates
from xinverse.fields.seam import across_the_seam

__all__ = ["cloud_mask"]

WAVES = 600
KM_PER_DAY = 1e-3 * SECONDS_PER_DAY  # in a metre per second

Floats = NDArray[np.float64]


@across_the_seam
def cloud_mask(
    like: xr.DataArray | xr.Dataset,
    *,
    cover: float = 0.6,
    speed: float | tuple[float, float] = 6.0,
    scale_km: float = 250.0,
    time_scale_days: float = 1.5,
    seed: int = 0,
) -> xr.DataArray:
    r"""Simulate clouds over a grid.

    They depend on the coordinates and the seed only.

    Parameters
    ----------
    like : DataArray or Dataset
        The grid, with axes of time, y and x; only its labels are read.
    cover : float, default 0.6
        Share of cloudy cells over all time steps; single maps may be clear or overcast.
    speed : float or tuple of float, default 6
        Velocity of the clouds in m/s: eastward, or (eastward, northward).
    scale_km : float, default 250
        Correlation length :math:`L` in space, in km.
    time_scale_days : float, default 1.5
        Correlation time :math:`\tau` in the moving frame, in days.
    seed : int, default 0
        Seed of the clouds.

    Returns
    -------
    DataArray of bool
        ``cloud``, True where the sea is hidden, with the dimensions of `like`. In memory.

    Raises
    ------
    AxesError, GridError, UnitsError
        The axes of time, y and x are not recognised.
    OptionError
        The cover is not between 0 and 1, a scale is not positive, or the speed is not one or
        two finite numbers.

    Notes
    -----
    Distances are those of a plane tangent to the globe at the middle of the grid, for regions
    of at most some tens of degrees. Clouds are not periodic around the globe.
    """
    wind = _check(cover, speed, scale_km, time_scale_days)
    axes = find_axes(like)
    y, x, days = _plane(make_grid(like, axes))
    random = np.random.default_rng([seed, 3])
    # The spectrum of the Matérn covariance is Student's t with 2 nu = 3 degrees of freedom: a
    # normal vector divided by the square root of a gamma variate.
    spread = np.sqrt(random.gamma(1.5, 1 / 1.5, WAVES)) * scale_km
    kx, ky = random.standard_normal((2, WAVES)) / spread
    turning = random.standard_normal(WAVES) / time_scale_days - kx * wind[0] - ky * wind[1]
    phase = random.uniform(0.0, 2 * np.pi, WAVES)
    south_north, west_east = np.exp(1j * np.outer(y, ky)), np.exp(1j * np.outer(kx, x))
    field = np.empty((days.size, y.size, x.size), dtype=np.float32)
    for step, day in enumerate(days):
        turned = np.exp(1j * (turning * day + phase))
        field[step] = ((south_north * turned) @ west_east).real
    cloudy = _above(field, cover)
    made = xr.DataArray(
        cloudy,
        grid_coordinates(like, axes),
        (axes.time, axes.y, axes.x),
        "cloud",
        {
            "standard_name": "cloud_binary_mask",
            "long_name": "cloud over the sea",
            "units": "1",
            "comment": (
                f"simulated: cover {cover:g}, {wind[0] / KM_PER_DAY:g} m/s eastward, "
                f"{wind[1] / KM_PER_DAY:g} m/s northward, {scale_km:g} km, "
                f"{time_scale_days:g} days, seed {seed}"
            ),
        },
    )
    if isinstance(like, xr.DataArray):
        made = made.transpose(*(dim for dim in like.dims if dim in made.dims))
    return made


def _check(
    cover: float, speed: float | tuple[float, float], scale: float, time_scale: float
) -> Floats:
    """Return the wind in km per day."""
    if not 0 <= cover <= 1:
        raise OptionError(f"The cover of clouds is {cover}. Expected a share from 0 to 1.")
    for name, value in (("scale_km", scale), ("time_scale_days", time_scale)):
        if not value > 0:
            raise OptionError(f"{name} is {value}. Expected a number above 0.")
    wind = np.atleast_1d(np.asarray(speed, dtype=np.float64))
    wind = np.append(wind, 0.0) if wind.shape == (1,) else wind
    if wind.shape != (2,) or not np.isfinite(wind).all():
        raise OptionError(
            f"The speed of clouds is {speed!r}. Expected m/s eastward, or (east, north)."
        )
    return wind * KM_PER_DAY


def _plane(grid: Grid) -> tuple[Floats, Floats, Floats]:
    """Return positions in km and times in days."""
    y, x = grid.y.astype(np.float64), grid.x.astype(np.float64)
    if grid.geographic:
        middle = cos(radians(0.5 * float(y.min() + y.max())))
        y, x = y * KM_PER_DEGREE, x * KM_PER_DEGREE * middle
    return y, x, grid.time.astype(np.float64)


def _above(field: NDArray[np.float32], cover: float) -> NDArray[np.bool_]:
    """Mark the highest values, so that their share is the cover."""
    number = round(cover * field.size)
    if number == 0:
        return np.zeros(field.shape, dtype=bool)
    least = np.partition(field, field.size - number, axis=None)[field.size - number]
    return np.asarray(field >= least)
