"""Level, anomalies and variances of a tile, for methods with a Gaussian background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xinverse.constants import KM_PER_DEGREE
from xinverse.errors import DataError
from xinverse.fields.grid import Grid
from xinverse.methods.problem import Problem, Source

if TYPE_CHECKING:
    from xinverse.local_grid import LocalGrid
    from xinverse.operators import Operator

__all__ = [
    "Centred",
    "Spread",
    "anomalies",
    "background_of",
    "local_grid",
    "local_km",
    "noise_of",
    "observation_operator",
    "spread_of",
    "tile_latitude",
]

# Defaults, as shares of the observations' deviation and variance.
NOISE_SHARE = 0.1
LEAST_VARIANCE_SHARE = 0.05

# A smaller noise is a mistake: the matrix of the solve then has a condition number above a
# million, and the misfit of cells and scales, never smaller, is amplified in the gaps.
LEAST_NOISE_SHARE = 1e-3

# Metres taken for centimetres change a variance by 1e4; ten times more cannot be meant.
VARIANCE_RANGE = 1e5


@dataclass(frozen=True, eq=False)
class Centred:
    """Observations of a tile relative to its background.

    Attributes
    ----------
    background : dict of str to (float or ndarray)
        Background by variable.
    anomalies : tuple of ndarray
        For each source, observations minus the background as observed by it; zero in gaps.
    """

    background: Mapping[str, float | np.ndarray]
    anomalies: tuple[np.ndarray, ...]

    @property
    def anomaly(self) -> np.ndarray:
        """Anomalies of the only source."""
        (only,) = self.anomalies
        return only

    def added(self, variable: str, anomaly: np.ndarray, keep: tuple[slice, ...]) -> np.ndarray:
        """Add the background to anomalies on the kept part.

        Parameters
        ----------
        variable : str
            Name of the variable.
        anomaly : ndarray, shape (..., nt, ny, nx)
            Anomalies on the kept part.
        keep : tuple of slice
            The kept part.
        """
        level = self.background[variable]
        return anomaly + (level[keep] if isinstance(level, np.ndarray) else level)


@dataclass(frozen=True, eq=False)
class Spread:
    """Variances of a variable's signal and of its observation noise.

    Attributes
    ----------
    variance : float
        Variance of the signal about the background.
    noise_variance : tuple of ndarray
        For each source of the variable, ``(m,)`` for its m observations.
    """

    variance: float
    noise_variance: tuple[np.ndarray, ...]


def tile_latitude(y: np.ndarray) -> float:
    """The latitude that a tile takes for its east-west distances: the middle of its rows.

    At most half a step from the pole, where a degree of longitude has no length.

    Parameters
    ----------
    y : ndarray
        Latitudes of the rows of the tile, halo included.
    """
    middle = 0.5 * float(y.min() + y.max())
    most = 90.0 - 0.5 * float(np.median(np.abs(np.diff(y))))
    return min(max(middle, -most), most)


def local_km(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    r"""Positions of a tile's cells in km, in the local metric.

    On a geographic grid, east-west distances are those at the latitude in the middle of the
    tile, :math:`\phi_0`. At a latitude :math:`\phi` they are wrong by
    :math:`\cos\phi_0 / \cos\phi - 1`.

    Parameters
    ----------
    grid : Grid
        The tile's grid.
    """
    if not grid.geographic:
        return grid.y, grid.x
    latitude = tile_latitude(grid.y)
    scale = KM_PER_DEGREE * np.cos(np.deg2rad(latitude))
    return grid.y * KM_PER_DEGREE, grid.x * scale


def local_grid(problem: Problem) -> LocalGrid:
    """A tile's grid in days and km, periodic if the tile covers the full circle along x.

    Parameters
    ----------
    problem : Problem
        The tile.
    """
    from xinverse.local_grid import LocalGrid

    grid = problem.grid
    return LocalGrid(grid.time, *local_km(grid), periodic=problem.place.period == grid.x.size)


def observation_operator(problem: Problem, source: Source) -> Operator | None:
    """The operator of a source on the tile's grid; None for the identity.

    Parameters
    ----------
    problem : Problem
        The tile.
    source : Source
        A source of the tile.
    """
    if source.operator is None:
        return None
    import torch

    from xinverse.operators import OPERATORS

    options = dict(source.operator.options)
    if source.own_grid:
        options["onto"] = source.grid
    sea = torch.as_tensor(problem.sea.copy())
    grid: Any = problem.grid if source.own_grid else local_grid(problem)
    return OPERATORS[source.operator.name].on(grid, sea, **options)


def background_of(problem: Problem, variable: str, level: float | None) -> float | np.ndarray:
    """The background: the given field, the given number, or the mean of the observations.

    Parameters
    ----------
    problem : Problem
        The tile.
    variable : str
        Name of the variable.
    level : float, optional
        Number given by the user.

    Raises
    ------
    DataError
        If the field has gaps in the sea, or nothing was given or observed.
    """
    given = problem.backgrounds.get(variable)
    if given is not None:
        if not np.isfinite(given[:, problem.sea]).all():
            raise DataError(
                f"The background is not finite everywhere in the sea of {problem.place.words}. "
                "Fill its gaps, or mask its land with mask=."
            )
        return given
    if level is not None:
        return float(level)
    seen = problem.seen(variable)
    if not seen.size and variable in problem.overall:
        return problem.overall[variable][0]
    if not seen.size:
        raise DataError(
            f"Nothing is observed in {problem.place.words}, so the level of the field is "
            "unknown there. Give background= (0 for an anomaly, or a variable such as a "
            "climatology), a larger tile=, or a mask= without this region."
        )
    return float(seen.mean(dtype="float64"))


def anomalies(problem: Problem, level: float | None) -> Centred:
    """Observations minus the background as observed by their sources.

    Parameters
    ----------
    problem : Problem
        The tile.
    level : float, optional
        Number given by the user as background.

    Raises
    ------
    DataError
        As `background_of`.
    """
    backgrounds = {v: background_of(problem, v, level) for v in problem.variables}
    found = []
    for source in problem.sources:
        background = backgrounds[source.variable]
        seen: Any = background
        if source.operator is not None and isinstance(background, np.ndarray):
            seen = _through(problem, source, background)
        # In float64: a level much larger than the anomaly would cost it digits.
        about = np.subtract(source.values, seen, dtype=np.float64)
        found.append(np.where(source.observed, about, 0.0))
    return Centred(backgrounds, tuple(found))


def _through(problem: Problem, source: Source, background: np.ndarray) -> np.ndarray:
    """A background field as observed by a source."""
    import torch

    operator = observation_operator(problem, source)
    # Without its mean: operators see zero beyond the edge, where the field continues.
    mean = float(background[:, problem.sea].mean(dtype="float64"))
    about = np.where(problem.sea, background - mean, 0.0)
    with torch.no_grad():
        seen = operator(torch.as_tensor(about, dtype=torch.float64)[None])[0]  # type: ignore[misc]
    return seen.numpy() + mean


def noise_of(problem: Problem, source: Source, default: float | None) -> np.ndarray | None:
    """Noise of each observation of a source, ``(m,)``; None if it was not given.

    Parameters
    ----------
    problem : Problem
        The tile, for error texts.
    source : Source
        A source of the tile.
    default : float, optional
        Number given to the method.

    Raises
    ------
    DataError
        If a noise field is not positive at every observation.
    """
    given = default if source.noise is None else source.noise
    if given is None:
        return None
    count = int(source.observed.sum())
    if not isinstance(given, np.ndarray):
        return np.full(count, float(given))
    noise = given[source.observed].astype("float64")
    if not (np.isfinite(noise) & (noise > 0)).all():
        raise DataError(
            f"The noise variable is not a number above 0 at every observation of "
            f"{problem.place.words}. Fill it, or give one number as noise=."
        )
    return noise


def spread_of(
    problem: Problem,
    centred: Centred,
    variable: str,
    *,
    noise: float | None,
    variance: float | None,
) -> Spread:
    """Variance of a variable's signal and noise.

    Default: a tenth of the observations' standard deviation for the noise, and their
    variance minus that of the noise for the signal.

    Parameters
    ----------
    problem : Problem
        The tile.
    centred : Centred
        Anomalies of the tile.
    variable : str
        Name of the variable.
    noise, variance : float, optional
        Numbers given by the user.

    Raises
    ------
    DataError
        If the given noise is below a thousandth of the observations' deviation, or the
        given variance differs from theirs by more than a factor of 1e5.
    """
    pairs = [
        (source, anomaly[source.observed].astype("float64"))
        for source, anomaly in zip(problem.sources, centred.anomalies, strict=True)
        if source.variable == variable
    ]
    values = np.concatenate([values for _, values in pairs]) if pairs else np.empty(0)
    spread = float(values.var()) if values.size > 1 else 0.0
    varied = spread > 0.0
    if not varied:  # one observation, or equal ones: any scale gives the same mean
        spread = float((values**2).mean()) if values.any() else 1.0
        if not values.size and variable in problem.overall:  # the full error of the prior
            spread = problem.overall[variable][1] or spread
    noises = []
    for source, own in pairs:
        deviation = noise_of(problem, source, noise)
        if deviation is None:
            deviation = np.full(own.size, NOISE_SHARE * np.sqrt(spread))
        elif varied and own.size:
            _check_noise(problem, float(deviation.min()), float(np.sqrt(spread)))
        noises.append(deviation**2)
    every = np.concatenate(noises) if noises else np.empty(0)
    mean_noise = float(every.mean()) if values.size else 0.0
    if variance is not None and varied:
        _check_variance(problem, variance, spread, mean_noise)
    if variance is None:
        variance = max(spread - mean_noise, LEAST_VARIANCE_SHARE * spread)
    return Spread(float(variance), tuple(noises))


def _check_noise(problem: Problem, noise: float, deviation: float) -> None:
    """Require a noise that is not far below the deviation of the observations."""
    least = LEAST_NOISE_SHARE * deviation
    if noise < least:
        raise DataError(
            f"The noise is {noise:.3g} in {problem.place.words}, and the observations there "
            f"have a standard deviation of {deviation:.3g}. Expected a noise of {least:.2g} or "
            "more, a thousandth of it: a smaller one makes the map run away in the gaps. Give "
            "noise= as the standard deviation of an observation in the units of the field "
            f"({0.01 * deviation:.2g} is already exact for most purposes), or leave it out."
        )


def _check_variance(problem: Problem, variance: float, spread: float, noise: float) -> None:
    """Require a variance within `VARIANCE_RANGE` of that of the observations."""
    least, most = spread / VARIANCE_RANGE, VARIANCE_RANGE * max(spread, noise)
    if not least <= variance <= most:
        raise DataError(
            f"The variance is {variance:.3g} in {problem.place.words}, and the observations "
            f"there have a variance of {spread:.3g} about the background. Expected {least:.2g} "
            f"to {most:.2g}. Give variance= in the square of the units of the field, or leave "
            "it out."
        )
