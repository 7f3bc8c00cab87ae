"""Optimal interpolation: (mask, Gaussian covariance, conjugate gradient)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, radians, tan
from typing import TYPE_CHECKING, Any

import numpy as np

from xinverse.errors import DataError, OptionError
from xinverse.fields.grid import Grid
from xinverse.methods.base import (
    Footprint,
    Method,
    Problem,
    background_and_anomaly,
    local_km,
)
from xinverse.methods.registry import METHODS

if TYPE_CHECKING:
    import torch

    from xinverse.priors.gaussian import GaussianPrior
    from xinverse.solvers.gaussian_posterior import GaussianPosterior
    from xinverse.weights import WeightsRef

__all__ = ["OIOptions", "OptimalInterpolation", "Statistics", "posterior", "statistics"]

COVARIANCES = ("gaussian", "matern12", "matern32", "matern52", "arhan-colin")
TEMPORAL = ("gaussian", "exponential")

# Bytes that a solve holds for each cell of its tile: observations and background,
# the maps in float32 and float64, and the working fields of the products.
BYTES_PER_CELL = 120

# The local metric may be wrong by this share at the northern and southern edge of a core.
METRIC_ERROR = 0.08


def _positive(name: str, value: object) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.floating | np.integer)
        or not 0 < float(value) < np.inf
    ):
        raise OptionError(f"{name}={value!r}: expected a number above 0.")


@dataclass(frozen=True)
class OIOptions:
    """Keywords of ``method="oi"``.

    Attributes
    ----------
    length_scale : float
        Scale of the correlation in space, km.
    time_scale : float
        Scale of the correlation in time, days.
    noise : float, optional
        Standard deviation of the observation noise, in the variable's units
        (or a variable of it, per observation). A tenth of the standard
        deviation of the tile's observations where not given.
    variance : float, optional
        Variance of the field about its background. The variance of the tile's
        observations, minus that of the noise, where not given.
    covariance : str
        Correlation in space: ``"gaussian"``, ``"matern12"``, ``"matern32"``,
        ``"matern52"`` or ``"arhan-colin"``.
    temporal : str
        Correlation in time: ``"gaussian"`` or ``"exponential"``.
    background : float, optional
        What the field is where nothing is known (or a variable of it). The
        mean of the tile's observations where not given.
    fit : bool
        Estimate scales, variance and noise of each tile from its observations,
        by maximum marginal likelihood, starting from those given.
    seed : int
        Seed of the members and of the subsample of the fit.
    tolerance : float
        Relative residual at which the solve stops.
    """

    length_scale: float = 100.0
    time_scale: float = 10.0
    noise: float | None = None
    variance: float | None = None
    covariance: str = "gaussian"
    temporal: str = "gaussian"
    background: float | None = None
    fit: bool = False
    seed: int = 0
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("length_scale", "time_scale", "tolerance"):
            _positive(name, getattr(self, name))
        for name in ("noise", "variance"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))
        for name, known in (("covariance", COVARIANCES), ("temporal", TEMPORAL)):
            if getattr(self, name) not in known:
                raise OptionError(
                    f"{name}={getattr(self, name)!r}: expected one of "
                    f"{', '.join(map(repr, known))}."
                )
        if not isinstance(self.fit, bool):
            raise OptionError(f"fit={self.fit!r}: expected True or False.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int | np.integer):
            raise OptionError(f"seed={self.seed!r}: expected a whole number.")


@dataclass(frozen=True, eq=False)
class Statistics:
    """What a tile's observations say of signal and noise.

    Attributes
    ----------
    variance : float
        Of the signal about the background.
    noise_variance : ndarray, shape (m,)
        Of each observation.
    """

    variance: float
    noise_variance: np.ndarray


def statistics(problem: Problem, anomaly: np.ndarray, options: OIOptions) -> Statistics:
    """Variance of signal and noise, from the options or the tile's observations."""
    observed = problem.observed
    values = anomaly[observed].astype("float64")
    spread = float(values.var()) if values.size > 1 else 0.0
    if spread == 0.0:  # one observation, or all alike: any scale serves the mean
        spread = float((values**2).mean()) if values.any() else 1.0
    if "noise" in problem.inputs:
        noise = problem.inputs["noise"][observed].astype("float64")
        if not (np.isfinite(noise) & (noise > 0)).all():
            raise DataError(
                f"The noise variable is not a number above 0 at every observation of "
                f"{problem.where}. Fill it, or give one number as noise=."
            )
        noise_variance = noise**2
    else:
        deviation = 0.1 * np.sqrt(spread) if options.noise is None else options.noise
        noise_variance = np.full(values.size, float(deviation) ** 2)
    variance = options.variance
    if variance is None:
        mean_noise = float(noise_variance.mean()) if values.size else 0.0
        variance = max(spread - mean_noise, 0.05 * spread)
    return Statistics(float(variance), noise_variance)


def _prior(
    options: OIOptions,
    coordinates: tuple[np.ndarray, np.ndarray, np.ndarray],
    variance: float,
    dtype: torch.dtype,
    device: Any,
) -> GaussianPrior:
    import torch

    from xinverse.priors.gaussian import CirculantGaussian, KroneckerGaussian

    axes = [torch.as_tensor(c, dtype=torch.float64, device=device) for c in coordinates]
    common = {
        "length_scale": options.length_scale,
        "time_scale": options.time_scale,
        "variance": variance,
        "temporal": options.temporal,
    }
    axes = [(a - a[0]).to(dtype) for a in axes]
    if options.covariance == "gaussian":
        return KroneckerGaussian(*axes, **common)
    return CirculantGaussian(*axes, space=options.covariance, **common)


def posterior(problem: Problem, options: OIOptions, anomaly: np.ndarray, device: Any) -> tuple[GaussianPosterior, torch.Tensor, OIOptions]:
    """The Gaussian posterior of a tile, and the options it was made with.

    Returns
    -------
    (GaussianPosterior, Tensor, OIOptions)
        The posterior, the observations ``(m,)`` and the options, fitted where
        that was asked for.
    """
    import torch

    from xinverse.solvers.gaussian_posterior import GaussianPosterior

    coordinates = (problem.grid.time, *local_km(problem.grid))
    found = statistics(problem, anomaly, options)
    observed = problem.observed
    if options.fit:
        options, found = _fit(problem, options, anomaly, found, coordinates)
    exact = _prior(options, coordinates, found.variance, torch.float64, device)
    rough = _prior(options, coordinates, found.variance, torch.float32, device)
    cells = torch.as_tensor(np.argwhere(observed), device=device)
    noise = torch.as_tensor(found.noise_variance, device=device)
    y = torch.as_tensor(anomaly[observed].astype("float64"), device=device)
    solved = GaussianPosterior(rough, cells, noise, exact=exact, tolerance=options.tolerance)
    return solved, y, options


def _fit(
    problem: Problem,
    options: OIOptions,
    anomaly: np.ndarray,
    found: Statistics,
    coordinates: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[OIOptions, Statistics]:
    from xinverse.solvers.marginal_likelihood import fit_scales

    index = np.nonzero(problem.observed)
    points = np.stack([c[i] for c, i in zip(coordinates, index, strict=True)], axis=1)
    fitted = fit_scales(
        points,
        anomaly[index],
        length_scale=options.length_scale,
        time_scale=options.time_scale,
        variance=found.variance,
        noise_variance=found.noise_variance,
        space=options.covariance,
        temporal=options.temporal,
        seed=options.seed,
    )
    options = replace(options, length_scale=fitted.length_scale, time_scale=fitted.time_scale)
    return options, Statistics(fitted.variance, found.noise_variance * fitted.noise_factor)


@METHODS.register("oi")
class OptimalInterpolation(Method[OIOptions]):
    """The exact Gaussian posterior on each tile's grid."""

    name = "oi"
    summary = "optimal interpolation: mask, Gaussian covariance, conjugate gradient"
    options_type = OIOptions
    field_options = ("noise", "background")
    gives = ("error", "members")

    def check(self, grid: Grid, options: OIOptions) -> None:
        """Matérn and Arhan-Colin covariances need a regular grid in space."""
        regular = () if options.covariance == "gaussian" else ("space",)
        if regular and not grid.regular_space:
            Method.check(_RegularOI(), grid, options)

    def footprint(
        self,
        grid: Grid,
        options: OIOptions,
        weights: WeightsRef | None,  # noqa: ARG002  OI has none
        budget: float,
    ) -> Footprint:
        """Halo of two scales; core as large as memory and the local metric allow."""
        halo = oi_halo(grid, options.length_scale, options.time_scale)
        return fit_core(grid, halo, budget / BYTES_PER_CELL, budget)

    def solve(
        self,
        problem: Problem,
        options: OIOptions,
        weights: WeightsRef | None,  # noqa: ARG002  OI has none
        device: Any,
    ) -> np.ndarray:
        """Mean, error and members of one tile."""
        import torch

        level, anomaly = background_and_anomaly(problem, options.background)
        keep = problem.keep
        base = level[keep] if isinstance(level, np.ndarray) else level
        solved, y, options = posterior(problem, options, anomaly, device)
        results = []
        with torch.no_grad():
            for output in problem.outputs:
                if output == "mean":
                    field = solved.mean(y[None])[0][keep].cpu().numpy() + base
                elif output == "error":
                    wanted = torch.as_tensor(problem.sea, device=device)
                    field = solved.error(keep, wanted).cpu().numpy()
                else:
                    noise, shocks = _draw(problem, options.seed, int(output.split()[1]), solved)
                    field = solved.sample(y, noise, shocks)[0][keep].cpu().numpy() + base
                results.append(field)
        return np.stack(results)


def _draw(
    problem: Problem, seed: int, member: int, solved: GaussianPosterior
) -> tuple[torch.Tensor, torch.Tensor]:
    """White noise for the field and for the observations of one member."""
    import torch

    from xinverse.priors.noise import white_noise

    prior, period = solved.prior, problem.period
    field = white_noise(seed, member, problem.cells, prior.margins, period=period)
    seen = np.nonzero(problem.observed)
    at = [cells[i] for cells, i in zip(problem.cells, seen, strict=True)]
    shocks = white_noise(seed, member, at, period=period, stream=1)
    like = {"dtype": prior.time.dtype, "device": prior.time.device}
    return torch.as_tensor(field, **like)[None], torch.as_tensor(shocks, **like)[None]


class _RegularOI(OptimalInterpolation):
    regular = ("space",)


def oi_halo(grid: Grid, length_scale: float, time_scale: float) -> tuple[int, int, int]:
    """Cells within two correlation scales, beyond which an observation hardly counts."""
    dy, _ = grid.spacing_km
    dx = _widest_dx(grid)
    step = grid.time_step if grid.time.size > 1 else 1.0
    return (
        ceil(2 * time_scale / step),
        ceil(2 * length_scale / dy),
        ceil(2 * length_scale / dx),
    )


def _widest_dx(grid: Grid) -> float:
    """East-west spacing at the row where it is narrowest but not at a pole, in km."""
    dy, dx = grid.spacing_km
    if not grid.geographic:
        return dx
    degrees = float(np.median(np.abs(np.diff(grid.y))))
    poleward = min(float(np.abs(grid.y).max()), 66.0)
    return dy / degrees * float(np.median(np.abs(np.diff(grid.x)))) * np.cos(radians(poleward))


def fit_core(
    grid: Grid, halo: tuple[int, int, int], cells: float, budget: float
) -> Footprint:
    """The largest core whose tile fits the memory and whose metric holds.

    Rows are limited by the local metric: half a core's height times the
    tangent of the latitude is the relative error of east-west distances at
    its edge. Then space is halved until a tile of one time halo fits, and time
    takes what is left.
    """
    nt, ny, nx = grid.shape
    core_y, reason = ny, []
    if grid.geographic:
        latitude = min(float(np.abs(grid.y).max()), 66.0)
        degrees = 2 * np.rad2deg(METRIC_ERROR / tan(radians(max(latitude, 10.0))))
        rows = int(degrees / float(np.median(np.abs(np.diff(grid.y)))))
        core_y = min(ny, max(rows, 2 * halo[1]))
        metric = 100 * tan(radians(latitude)) * radians(core_y * float(np.median(np.abs(np.diff(grid.y)))) / 2)
        reason.append(f"east-west distances within {metric:.0f} % at the edge of a core")
    core_x = nx

    def tile(core: int, around: int, size: int) -> int:
        return min(core + 2 * around, size)

    def plane() -> int:
        return tile(core_y, halo[1], ny) * tile(core_x, halo[2], nx + 2 * halo[2] * grid.periodic)

    shortest = tile(max(2 * halo[0], 1), halo[0], nt)
    while plane() * shortest > cells and max(core_x, core_y) > max(halo[1], halo[2], 16):
        if core_x >= core_y:
            core_x = ceil(core_x / 2)
        else:
            core_y = ceil(core_y / 2)
    days = max(int(cells // plane()) - 2 * halo[0], max(2 * halo[0], 1))
    core_t = nt if nt <= days + 2 * halo[0] else days
    reason.append(f"tiles within {budget / 2**20:.0f} MiB")
    return Footprint((core_t, core_y, core_x), halo, "; ".join(reason))
