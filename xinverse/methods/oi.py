"""Optimal interpolation: (mask, Gaussian covariance, conjugate gradient)."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xinverse.errors import DataError, OptionError
from xinverse.fields.grid import Grid
from xinverse.methods.base import (
    METHODS,
    Footprint,
    Method,
    Problem,
    background_and_anomaly,
    local_km,
)
from xinverse.methods.footprint import correlation_halo, largest_tile

if TYPE_CHECKING:
    import torch

    from xinverse.priors.gaussian import GaussianPrior
    from xinverse.solvers.gaussian_posterior import GaussianPosterior
    from xinverse.weights import WeightsRef

__all__ = ["OIOptions", "OptimalInterpolation", "Statistics", "posterior", "statistics"]

COVARIANCES = ("gaussian", "matern12", "matern32", "matern52", "arhan-colin")
TEMPORAL = ("gaussian", "exponential")


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
    tolerance: float = 1e-7

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
    device: Any,
) -> GaussianPrior:
    import torch

    from xinverse.priors.gaussian import CirculantGaussian, KroneckerGaussian

    axes = [torch.as_tensor(c, dtype=torch.float64, device=device) for c in coordinates]
    common: dict[str, Any] = {
        "length_scale": options.length_scale,
        "time_scale": options.time_scale,
        "variance": variance,
        "temporal": options.temporal,
    }
    axes = [a - a[0] for a in axes]
    if options.covariance == "gaussian":
        return KroneckerGaussian(*axes, **common)
    return CirculantGaussian(*axes, space=options.covariance, **common)


def posterior(
    problem: Problem, options: OIOptions, anomaly: np.ndarray, device: Any
) -> tuple[GaussianPosterior, torch.Tensor, OIOptions]:
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
    exact = _prior(options, coordinates, found.variance, device)
    rough = deepcopy(exact).float()  # the same modes, in the same order and with the same signs
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
    # Observations and background, the maps in float32 and float64, and the working fields
    # of the products.
    bytes_per_cell = 120

    def check(self, grid: Grid, options: OIOptions, weights: WeightsRef | None = None) -> None:
        """Matérn and Arhan-Colin covariances need a regular grid in space."""
        super().check(grid, options, weights)
        if options.covariance != "gaussian":
            self.require_regular_space(grid, f" with covariance={options.covariance!r}")

    def footprint(
        self,
        grid: Grid,
        options: OIOptions,
        weights: WeightsRef | None,  # noqa: ARG002  OI has none
        budget: float,
    ) -> Footprint:
        """Halo of two scales; core as large as memory and the local metric allow."""
        halo = correlation_halo(grid, options.length_scale, options.time_scale)
        return largest_tile(grid, halo, self.bytes_per_cell, budget)

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
        try:
            with torch.no_grad():
                results = [
                    _output(output, problem, options, solved, y, base)
                    for output in problem.outputs
                ]
        except ArithmeticError as error:
            raise DataError(f"The analysis of {problem.where} failed. {error}") from error
        return np.stack(results)


def _output(
    output: str,
    problem: Problem,
    options: OIOptions,
    solved: GaussianPosterior,
    y: torch.Tensor,
    base: Any,
) -> np.ndarray:
    """One of the outputs, on the cells that are kept."""
    import torch

    keep = problem.keep
    if output == "error":
        wanted = torch.as_tensor(problem.sea, device=y.device)
        return solved.error(keep, wanted).cpu().numpy()
    if output == "mean":
        field = solved.mean(y[None])
    else:
        noise, shocks = _draw(problem, options.seed, int(output.split()[1]), solved)
        field = solved.sample(y, noise, shocks)
    filled: np.ndarray = field[0][keep].double().cpu().numpy() + base
    return filled


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
    like: dict[str, Any] = {"dtype": prior.time.dtype, "device": prior.time.device}
    return torch.as_tensor(field, **like)[None], torch.as_tensor(shocks, **like)[None]
