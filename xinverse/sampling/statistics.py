"""Statistics of a field from a bounded sample of its maps."""

from __future__ import annotations

import warnings

import numpy as np

from xinverse.errors import DataError
from xinverse.fields.grid import Grid
from xinverse.methods.tile_statistics import local_km
from xinverse.sampling.options import PriorOptions
from xinverse.sampling.problem import FieldPrior

__all__ = ["anomalies_of", "field_prior", "sampled_windows"]

# Numbers of the sample at most, and windows at most: what a design reads of an archive.
SAMPLE_NUMBERS = 2**24
SAMPLE_WINDOWS = 128

# Points of the fit of the scales, over all windows.
FITTED_POINTS = 4000

# Fewer maps give no map of the variance, but one number.
MAPS_FOR_VARIANCE = 20

# Least deviation of a cell, as a share of the field's.
LEAST_DEVIATION = 0.05


def sampled_windows(times: int, length: int, cells: int) -> list[slice]:
    """Windows of consecutive times, spread evenly over a series.

    Parameters
    ----------
    times : int
        Length of the series.
    length : int
        Times in a window.
    cells : int
        Cells of a map; they bound how many windows there are.
    """
    length = min(length, times)
    most = max(1, SAMPLE_NUMBERS // (length * cells))
    count = max(1, min(times // length, most, SAMPLE_WINDOWS))
    starts = np.linspace(0, times - length, count).astype(int)
    return [slice(int(s), int(s) + length) for s in starts]


def field_prior(
    windows: np.ndarray, grid: Grid, sea: np.ndarray, options: PriorOptions
) -> FieldPrior:
    """The prior with the given numbers, and the others from the sample.

    Parameters
    ----------
    windows : ndarray, shape (n, times, ny, nx)
        Sample of the anomaly, NaN where unknown.
    grid : Grid
        Its cells; the times are those of one window.
    sea : ndarray of bool, shape (ny, nx)
        The sea.
    options : PriorOptions
        Numbers given by the user.

    Raises
    ------
    DataError
        The sample has no variance, and none was given.
    """
    values = windows[..., sea]
    total = float(np.nanvar(values)) if np.isfinite(values).any() else 0.0
    if options.variance is None and not total > 0:
        raise DataError(
            "The field is constant or has no values, so its variance is unknown. Give "
            "variance=, or archive= with a series of maps."
        )
    if options.variance is not None:
        deviation = np.full(sea.shape, options.variance**0.5)
    else:
        deviation = np.full(sea.shape, total**0.5)
    scale = float(np.sqrt(np.mean(deviation[sea] ** 2)))
    noise = options.noise if options.noise is not None else 0.1 * scale
    length, days = options.length_scale, options.time_scale
    if length is None or days is None:
        fitted = _fit(windows, grid, sea, options, scale**2, noise**2)
        length = fitted[0] if length is None else length
        days = fitted[1] if days is None else days
    maps = windows.shape[0] * windows.shape[1]
    if options.variance is None and options.energy == "map" and maps >= MAPS_FOR_VARIANCE:
        deviation = _deviation_map(windows, grid, sea, length, scale)
    return FieldPrior(deviation, noise, length, days, options.covariance, options.temporal)


def _deviation_map(
    windows: np.ndarray, grid: Grid, sea: np.ndarray, length: float, overall: float
) -> np.ndarray:
    """Standard deviation of each cell, smoothed over a correlation scale of sea."""
    from scipy.ndimage import gaussian_filter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # cells without any value
        square = np.nanmean(windows.astype(np.float64) ** 2, axis=(0, 1))
    known = sea & np.isfinite(square)
    dy, dx = grid.spacing_km
    sigma = [0.5 * length / abs(d) for d in (dy, dx)]
    mode = ["nearest", "wrap" if grid.periodic else "nearest"]
    smooth = gaussian_filter(np.where(known, square, 0.0), sigma, mode=mode)
    share = gaussian_filter(known.astype(np.float64), sigma, mode=mode)
    mean = np.where(share > 1e-6, smooth / np.maximum(share, 1e-6), overall**2)
    deviation: np.ndarray = np.sqrt(np.maximum(mean, (LEAST_DEVIATION * overall) ** 2))
    return deviation


def _fit(
    windows: np.ndarray,
    grid: Grid,
    sea: np.ndarray,
    options: PriorOptions,
    variance: float,
    noise_variance: float,
) -> tuple[float, float]:
    """Scales that predict withheld points of the sample best."""
    from xinverse.solvers.scale_estimate import Guess, estimate_scales

    rng = np.random.default_rng(0)
    cells = np.argwhere(np.isfinite(windows) & sea)
    chosen = cells[rng.choice(len(cells), min(FITTED_POINTS, len(cells)), replace=False)]
    y, x = local_km(grid)
    # Windows are independent: far apart in time.
    apart = 100 * (float(np.ptp(grid.time)) + 10.0)
    time = grid.time[chosen[:, 1]] + apart * chosen[:, 0]
    points = np.stack([time, y[chosen[:, 2]], x[chosen[:, 3]]], axis=1)
    length = 100.0 if options.length_scale is None else options.length_scale
    days = 10.0 if options.time_scale is None else options.time_scale
    block = chosen // np.array([1, 1, 8, 8])
    family = options.covariance, options.temporal
    found = estimate_scales(
        points,
        windows[tuple(chosen.T)].astype(np.float64),
        np.unique(block, axis=0, return_inverse=True)[1].ravel(),
        guess=Guess(length, days, noise_variance / variance),
        families=(family,),
        bounds=((min(length, *grid.spacing_km), 2000.0), (min(days, 1.0), 200.0)),
        fixed=(options.length_scale is not None, options.time_scale is not None),
        noise=np.full(len(points), noise_variance**0.5),
        variance=variance,
    )
    if family not in found:
        return length, days
    return found[family].length_scale, found[family].time_scale


def anomalies_of(sample: np.ndarray, sea: np.ndarray) -> np.ndarray:
    """Maps minus their mean: of each cell in a series of 20 maps or more, else of all.

    Parameters
    ----------
    sample : ndarray, shape (n, times, ny, nx)
        Maps, NaN where unknown.
    sea : ndarray of bool, shape (ny, nx)
        Other cells become NaN.
    """
    values = np.where(sea, sample, np.nan)
    several = values.shape[0] * values.shape[1] >= MAPS_FOR_VARIANCE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # cells without any value
        mean = np.nanmean(values, axis=(0, 1) if several else None, dtype=np.float64)
    anomaly: np.ndarray = (values - mean).astype(values.dtype)
    return anomaly
