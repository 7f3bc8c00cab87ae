"""Level, anomalies and variances of a tile: what methods with a Gaussian background share."""

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
]


@dataclass(frozen=True, eq=False)
class Centred:
    """A tile's observations about its background.

    Attributes
    ----------
    background : dict of str to (float or ndarray)
        By variable.
    anomalies : tuple of ndarray
        Of each source, observations minus what it would see of the background; zero
        where nothing was observed.
    """

    background: Mapping[str, float | np.ndarray]
    anomalies: tuple[np.ndarray, ...]

    @property
    def anomaly(self) -> np.ndarray:
        """Of the only source."""
        (only,) = self.anomalies
        return only

    def added(self, variable: str, anomaly: np.ndarray, keep: tuple[slice, ...]) -> np.ndarray:
        """Anomalies on the kept part, with the background added.

        Parameters
        ----------
        variable : str
            Whose.
        anomaly : ndarray, shape (..., nt, ny, nx)
            On the kept part.
        keep : tuple of slice
            The kept part.
        """
        level = self.background[variable]
        return anomaly + (level[keep] if isinstance(level, np.ndarray) else level)


@dataclass(frozen=True, eq=False)
class Spread:
    """Variances of a variable's signal and of its observations' noise.

    Attributes
    ----------
    variance : float
        Of the signal about the background.
    noise_variance : tuple of ndarray
        Of each source of the variable, ``(m,)`` for its m observations.
    """

    variance: float
    noise_variance: tuple[np.ndarray, ...]


def local_km(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    r"""Positions of a tile's cells in km, in the local metric.

    On a geographic grid, east-west distances are those at the tile's central
    latitude :math:`\phi_0`; a row :math:`\Delta\phi` away, they are wrong by
    the share :math:`\tan(\phi_0) \Delta\phi`.

    Parameters
    ----------
    grid : Grid
        The tile's grid.
    """
    if not grid.geographic:
        return grid.y, grid.x
    middle = 0.5 * (grid.y.min() + grid.y.max())
    scale = KM_PER_DEGREE * np.cos(np.deg2rad(min(abs(middle), 89.0)))
    return grid.y * KM_PER_DEGREE, grid.x * scale


def local_grid(problem: Problem) -> LocalGrid:
    """A tile's grid in days and km, periodic if the tile is the whole globe along x.

    Parameters
    ----------
    problem : Problem
        The tile.
    """
    from xinverse.local_grid import LocalGrid

    grid = problem.grid
    return LocalGrid(grid.time, *local_km(grid), periodic=problem.place.period == grid.x.size)


def observation_operator(problem: Problem, source: Source) -> Operator | None:
    """The operator of a source, made on the tile's grid; None if it sees the state itself.

    Parameters
    ----------
    problem : Problem
        The tile.
    source : Source
        One of its sources.
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
    """The background: the field given, or the number given, or the mean of the observations.

    Parameters
    ----------
    problem : Problem
        The tile.
    variable : str
        Whose background.
    level : float, optional
        The number that the user gave.

    Raises
    ------
    DataError
        The field has holes in the sea; or nothing was given and nothing observed.
    """
    given = problem.backgrounds.get(variable)
    if given is not None:
        if not np.isfinite(given[:, problem.sea]).all():
            raise DataError(
                f"The background is not finite everywhere in the sea of {problem.place.words}. "
                "Fill it, or mask its land with mask=."
            )
        return given
    if level is not None:
        return float(level)
    seen = problem.seen(variable)
    if not seen.size:
        raise DataError(
            f"Nothing is observed in {problem.place.words}, so nothing tells the level of the "
            "field there. Give background= (0 for an anomaly, or a variable such as a "
            "climatology), a larger tile=, or a mask= that leaves it out."
        )
    return float(seen.mean(dtype="float64"))


def anomalies(problem: Problem, level: float | None) -> Centred:
    """Observations minus what their sources would see of the background.

    Parameters
    ----------
    problem : Problem
        The tile.
    level : float, optional
        Number that the user gave as background.

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
        # In float64: a level that is large beside the anomaly would take digits from it.
        about = np.subtract(source.values, seen, dtype=np.float64)
        found.append(np.where(source.observed, about, 0.0))
    return Centred(backgrounds, tuple(found))


def _through(problem: Problem, source: Source, background: np.ndarray) -> np.ndarray:
    """What a source would see of a background field."""
    import torch

    operator = observation_operator(problem, source)
    # About its mean: operators see zero beyond an edge, where the field goes on.
    mean = float(background[:, problem.sea].mean(dtype="float64"))
    about = np.where(problem.sea, background - mean, 0.0)
    with torch.no_grad():
        seen = operator(torch.as_tensor(about, dtype=torch.float64)[None])[0]  # type: ignore[misc]
    return seen.numpy() + mean


def noise_of(problem: Problem, source: Source, default: float | None) -> np.ndarray | None:
    """Noise of each observation of a source, ``(m,)``; None if nobody gave it.

    Parameters
    ----------
    problem : Problem
        The tile, for errors.
    source : Source
        One of its sources.
    default : float, optional
        The method's number.

    Raises
    ------
    DataError
        A noise field is not a positive number at every observation.
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
    """Variance of a variable's signal and noise: as given, else from the observations.

    The noise defaults to a tenth of the standard deviation of the observations, the
    variance to theirs minus that of the noise.

    Parameters
    ----------
    problem : Problem
        The tile.
    centred : Centred
        Its anomalies.
    variable : str
        Which variable.
    noise, variance : float, optional
        What the user gave.
    """
    pairs = [
        (source, anomaly[source.observed].astype("float64"))
        for source, anomaly in zip(problem.sources, centred.anomalies, strict=True)
        if source.variable == variable
    ]
    values = np.concatenate([values for _, values in pairs]) if pairs else np.empty(0)
    spread = float(values.var()) if values.size > 1 else 0.0
    if spread == 0.0:  # one observation, or all alike: any scale serves the mean
        spread = float((values**2).mean()) if values.any() else 1.0
    noises = []
    for source, own in pairs:
        deviation = noise_of(problem, source, noise)
        if deviation is None:
            deviation = np.full(own.size, 0.1 * np.sqrt(spread))
        noises.append(deviation**2)
    if variance is None:
        every = np.concatenate(noises) if noises else np.empty(0)
        mean_noise = float(every.mean()) if values.size else 0.0
        variance = max(spread - mean_noise, 0.05 * spread)
    return Spread(float(variance), tuple(noises))
