"""Scales, variance and noise that a method takes from the data, region by region."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, log
from typing import Any

import numpy as np

from xinverse.methods.problem import Problem
from xinverse.methods.tile_statistics import (
    Centred,
    Spread,
    anomalies,
    local_km,
    noise_of,
    spread_of,
)

__all__ = [
    "AUTO",
    "FAMILIES",
    "LENGTH_SCALE",
    "TIME_SCALE",
    "Choice",
    "Request",
    "count",
    "estimate_region",
    "joined",
    "number",
    "spread_of_tile",
]

AUTO = "auto"

# Correlations in space and time that are tried, the default first.
FAMILIES = (("gaussian", "gaussian"), ("gaussian", "exponential"), ("matern32", "exponential"))

# Defaults of the search, and of data with too few groups of observations: km, days, and noise
# variance over signal variance.
LENGTH_SCALE, TIME_SCALE, RATIO = 100.0, 10.0, 0.1
# Scales that are accepted: from a cell and half a time step to half the width of the sample
# and its whole duration.
MOST_SHARE = 0.5
# Groups of observations that are withheld together: a pass, or a block of an image.
BLOCK_KM, BLOCK_DAYS = 200.0, 1.0
# Observations at which a tile's own variance counts half, beside that of its region.
ENOUGH = 100
# A family other than the default has to predict better by so much per observation.
MARGIN = 0.01

_PER_FAMILY = 6


@dataclass(frozen=True)
class Request:
    """What is to be estimated; numbers are kept as they are.

    Attributes
    ----------
    families : tuple of (str, str)
        Correlations in space and time to choose from.
    length_scale, time_scale : float, optional
        Numbers given by the user, km and days.
    noise, variance, background : float, optional
        Likewise, in the units of the variable.
    """

    families: tuple[tuple[str, str], ...]
    length_scale: float | None = None
    time_scale: float | None = None
    noise: float | None = None
    variance: float | None = None
    background: float | None = None


@dataclass(frozen=True)
class Choice:
    """The covariance and the noise at a tile.

    Attributes
    ----------
    family : tuple of (str, str)
        Correlations in space and time.
    length_scale, time_scale : float
        In km and days.
    noise : float
        Standard deviation of the noise, in the units of the variable.
    variance : float
        Of the signal.
    gain : float
        The same over the variance of the sample without noise. The variance of a tile
        is its own times this.
    """

    family: tuple[str, str]
    length_scale: float
    time_scale: float
    noise: float
    variance: float
    gain: float


def number(value: Any) -> Any:
    """The value of an option; None if it is to be estimated.

    Parameters
    ----------
    value : object
        Given by the user.
    """
    return None if isinstance(value, str) and value == AUTO else value


def spread_of_tile(problem: Problem, centred: Centred, variable: str, options: Any) -> Spread:
    """Variances of signal and noise, with the estimate of the region if there is one.

    Parameters
    ----------
    problem : Problem
        The tile.
    centred : Centred
        Its anomalies.
    variable : str
        Name of the variable.
    options : object
        With numbers or None as ``noise`` and ``variance``.
    """
    choice = problem.choice
    own = spread_of(problem, centred, variable, noise=options.noise, variance=options.variance)
    seen = sum(len(one) for one in own.noise_variance)
    if choice is None or options.variance is not None or not seen:
        return own
    tile = own.variance * choice.gain
    variance = (seen * tile + ENOUGH * choice.variance) / (seen + ENOUGH)
    return Spread(variance, own.noise_variance)


def count(request: Request) -> int:
    """Number of values per region.

    Parameters
    ----------
    request : Request
        What is estimated.
    """
    return _PER_FAMILY * len(request.families)


def estimate_region(problem: Problem, request: Request) -> np.ndarray:
    """Estimate one region from its sample.

    Parameters
    ----------
    problem : Problem
        The sample, with one variable that is observed directly.
    request : Request
        What is estimated.

    Returns
    -------
    ndarray, shape (count(request),)
        For each family the logarithms of length scale, time scale, noise variance, variance
        and gain, and the score. NaN if nothing could be estimated.
    """
    found = np.full((len(request.families), _PER_FAMILY), np.nan)
    at = np.nonzero(problem.observed)
    if not len(at[0]):
        return found.ravel()
    from xinverse.solvers.scale_estimate import Guess, estimate_scales

    centred = anomalies(problem, request.background)
    values = centred.anomaly[at]
    y, x = local_km(problem.grid)
    points = np.stack([problem.grid.time[at[0]], y[at[1]], x[at[2]]], axis=1)
    guess, bounds = _guess(problem, request)
    (source,) = problem.sources
    estimates = estimate_scales(
        points,
        values,
        _groups(problem, at),
        guess=Guess(*guess, RATIO),
        families=request.families,
        bounds=bounds,
        fixed=(request.length_scale is not None, request.time_scale is not None),
        noise=noise_of(problem, source, request.noise),
        variance=request.variance,
    )
    for k, family in enumerate(request.families):
        if family not in estimates:
            continue
        one = estimates[family]
        own = max(float(values.var()) - one.noise_variance, 0.05 * float(values.var()))
        found[k] = (
            log(one.length_scale),
            log(one.time_scale),
            log(one.noise_variance),
            log(one.variance),
            log(one.variance / own),
            one.score + MARGIN * (k == 0),
        )
    return found.ravel()


def _guess(
    problem: Problem, request: Request
) -> tuple[tuple[float, float], tuple[tuple[float, float], tuple[float, float]]]:
    """Defaults within the bounds that the sample allows, and the bounds."""
    grid = problem.grid
    dy, dx = grid.spacing_km
    least = max(dy, dx)
    longest = max(MOST_SHARE * max(dy * grid.y.size, dx * grid.x.size), least)
    step = float(np.diff(grid.time).min()) if grid.time.size > 1 else 1.0
    span = float(np.ptp(grid.time)) if grid.time.size > 1 else TIME_SCALE
    slowest = max(span, step)
    bounds = (least, longest), (0.5 * step, slowest)
    length, time = request.length_scale, request.time_scale
    if length is None:
        length = float(np.clip(LENGTH_SCALE, *bounds[0]))
    if time is None:
        time = float(np.clip(TIME_SCALE, *bounds[1]))
    return (length, time), bounds


def _groups(problem: Problem, at: tuple[np.ndarray, ...]) -> np.ndarray:
    """Labels of blocks of cells, the same wherever the sample begins."""
    grid = problem.grid
    dy, dx = grid.spacing_km
    step = grid.time_step if grid.time.size > 1 else 1.0
    size = (
        max(round(BLOCK_DAYS / step), 1),
        max(ceil(BLOCK_KM / dy), 2),
        max(ceil(BLOCK_KM / dx), 2),
    )
    blocks = [
        cells[i].astype(np.int64) // n
        for cells, i, n in zip(problem.place.cells, at, size, strict=True)
    ]
    label: np.ndarray = (blocks[0] << 40) + (blocks[1] << 20) + blocks[2]
    return label


def joined(values: np.ndarray, weights: np.ndarray, request: Request) -> Choice | None:
    """The estimates of some regions, averaged.

    Parameters
    ----------
    values : ndarray, shape (count(request), rows, columns)
        Of `estimate_region`.
    weights : ndarray, shape (rows, columns)
        Weights of the regions.
    request : Request
        What was estimated.

    Returns
    -------
    Choice or None
        None if no region has an estimate.
    """
    each = values.reshape(len(request.families), _PER_FAMILY, *weights.shape)
    known = np.isfinite(each[:, 5])
    averages = {
        k: np.average(each[k][:, here], axis=1, weights=weights[here])
        for k, here in enumerate(known)
        if here.any()
    }
    if not averages:
        return None
    k = max(averages, key=lambda k: averages[k][5])
    length, time, noise, variance, gain = (exp(value) for value in averages[k][:5])
    return Choice(request.families[k], length, time, noise**0.5, variance, gain)
