"""Optimal interpolation: any linear operator, Gaussian covariance, conjugate gradient."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xinverse.checks import check_choice, check_count, check_number
from xinverse.errors import DataError, OptionError
from xinverse.methods.auto_scales import (
    AUTO,
    FAMILIES,
    LENGTH_SCALE,
    TIME_SCALE,
    Request,
    number,
    spread_of_tile,
)
from xinverse.methods.base import METHODS, Footprint, Method
from xinverse.methods.footprint import largest_tile, observation_halo
from xinverse.methods.problem import Estimate, Layout, Problem, Wanted
from xinverse.methods.tile_statistics import (
    Centred,
    anomalies,
    local_grid,
    observation_operator,
)

if TYPE_CHECKING:
    import torch

    from xinverse.priors.gaussian import GaussianPrior
    from xinverse.solvers.gaussian_posterior import GaussianPosterior

__all__ = ["COVARIANCES", "TEMPORAL", "OptimalInterpolation", "Posterior", "posterior"]

COVARIANCES = ("gaussian", "matern12", "matern32", "matern52", "arhan-colin")
TEMPORAL = ("gaussian", "exponential")
# Covariance in space and time if there is no estimate.
AUTO_COVARIANCE = "gaussian"
# Scales, km and days, and cells of which tiles hold twice as many around them while the scales
# are not known. Plans are made at the call, before the data are read.
AUTO_REACH, AUTO_CELLS = (110.0, 12.0), 24


@METHODS.register("oi")
@dataclass(frozen=True, kw_only=True)
class OptimalInterpolation(Method):
    r"""The exact Gaussian posterior on the grid of each tile.

    .. math::

        \hat x = x_b + B H^\top (H B H^\top + R)^{-1} (y - H x_b)

    (Bretherton, Davis and Fandry 1976). H may be any linear operator, and several
    variables may be solved together.

    Attributes
    ----------
    length_scale, time_scale : float or "auto"
        Correlation scales in space and time, km and days. Default: estimated from the
        data by withheld observations, for each region of 2,000 km.
    noise : float or "auto"
        Standard deviation of the observation noise, in the variable's units (or a
        variable, for each observation). Default: estimated likewise. With too few
        observations for an estimate, or None: a tenth of their standard deviation; and
        100 km and 10 days.
    variance : float or "auto"
        Variance of the field about its background. Default: the variance of the tile's
        observations minus that of the noise, times a factor that is estimated likewise.
    covariance : str
        Correlation in space: ``"gaussian"``, ``"matern12"``, ``"matern32"``,
        ``"matern52"`` or ``"arhan-colin"``. Default: ``"gaussian"`` or ``"matern32"``,
        whichever predicts withheld observations better.
    temporal : str
        Correlation in time: ``"gaussian"`` or ``"exponential"``. Default: likewise.
    correlation : float or nested sequence, optional
        Correlation between variables that are solved together: a number for two
        variables, or a symmetric matrix.
    background : float, optional
        The field far from observations (a number or a variable). Default: the mean of
        the tile's observations.
    seed : int
        Seed of the members.
    tolerance : float
        Relative residual at which the solver stops.
    """

    name: ClassVar[str] = "oi"
    summary: ClassVar[str] = "optimal interpolation: Gaussian covariance, conjugate gradient"
    companions: ClassVar[tuple[str, ...]] = ("noise", "background")
    gives: ClassVar[tuple[str, ...]] = ("error", "members")
    through: ClassVar[bool] = True
    couples: ClassVar[bool] = True
    # Observations, background, maps in float32 and float64, and work arrays of the products.
    bytes_per_cell: ClassVar[float] = 120
    cost_growth: ClassVar[float] = 2.0  # longer dense products, and more iterations

    length_scale: float | str = AUTO
    time_scale: float | str = AUTO
    noise: float | str | None = AUTO
    variance: float | str | None = AUTO
    covariance: str = AUTO
    temporal: str = AUTO
    correlation: float | Sequence[Sequence[float]] | None = None
    background: float | None = None
    seed: int = 0
    tolerance: float = 1e-7

    def __post_init__(self) -> None:
        """Check every option."""
        check_number("tolerance", self.tolerance, above=0)
        for name in ("length_scale", "time_scale"):
            if getattr(self, name) != AUTO:
                check_number(name, getattr(self, name), above=0)
        for name in ("noise", "variance"):
            if number(getattr(self, name)) is not None:
                check_number(name, getattr(self, name), above=0)
        check_choice("covariance", self.covariance, (*COVARIANCES, AUTO))
        check_choice("temporal", self.temporal, (*TEMPORAL, AUTO))
        check_count("seed", self.seed, least=0)
        if self.correlation is not None:
            self.coupling()

    def coupling(self) -> np.ndarray | None:
        """Correlation matrix of the variables; None for one variable."""
        if self.correlation is None:
            return None
        given = np.asarray(self.correlation, dtype="float64")
        matrix = np.array([[1.0, given], [given, 1.0]]) if given.ndim == 0 else given
        square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
        if (
            not square
            or not np.array_equal(matrix, matrix.T)
            or not np.array_equal(np.diag(matrix), np.ones(len(matrix)))
            or np.linalg.eigvalsh(matrix).min() < -1e-12
        ):
            raise OptionError(
                f"correlation={self.correlation!r}: expected a number from -1 to 1, or a "
                "symmetric matrix of correlations with ones on its diagonal and no negative "
                "eigenvalue."
            )
        return matrix

    def check(self, layout: Layout) -> None:
        """Check the requirements of covariance, coupling, operator and fit."""
        super().check(layout)
        if self.covariance not in {AUTO, "gaussian"}:
            self.require_regular_space(layout.grid, f" with covariance={self.covariance!r}")
        count = len(layout.variables)
        coupling = self.coupling()
        if count > 1 and (coupling is None or len(coupling) != count):
            raise OptionError(
                f"correlation={self.correlation!r}: expected the correlations between "
                f"{', '.join(map(repr, layout.variables))}, a {count} x {count} matrix"
                + (", or one number." if count == 2 else ".")
            )
        if count == 1 and coupling is not None:
            raise OptionError(
                f"correlation={self.correlation!r} couples variables that are solved together; "
                f"found only {layout.variables[0]!r}. Name several in variables=."
            )
        if len(layout.sources) > 1 and not all(s.direct for s in layout.sources):
            raise OptionError(
                "method='oi' takes one source through an operator, or several on the state's "
                "own cells. Pass one source."
            )

    def request(self, layout: Layout) -> Request | None:
        """Estimate what is "auto", for one variable that is observed directly."""
        (first, *others) = layout.sources
        if others or len(layout.variables) > 1 or not first.direct:
            return None
        numbers = {
            name: number(getattr(self, name))
            for name in ("length_scale", "time_scale", "noise", "variance")
        }
        # A scale means another distance in each family: one that is given is Gaussian's.
        scaled = numbers["length_scale"] is not None or numbers["time_scale"] is not None
        spaces, times = (
            (AUTO_COVARIANCE if scaled and v == AUTO else v)
            for v in (self.covariance, self.temporal)
        )
        families = [
            (space, temporal)
            for space, temporal in FAMILIES
            if spaces in {AUTO, space} and times in {AUTO, temporal}
            if space == "gaussian" or layout.grid.regular_space
        ]
        if not families:  # a covariance that is not tried, but given
            space, temporal = (AUTO_COVARIANCE if v == AUTO else v for v in (spaces, times))
            families = [(space, temporal)]
        open_ones = [name for name in numbers if getattr(self, name) == AUTO]
        if first.noise is not None and "noise" in open_ones:
            open_ones.remove("noise")
        if len(families) == 1 and not open_ones:
            return None
        return Request(tuple(families), **numbers, background=self.background)

    def resolved(
        self,
        problem: Problem,
        length_scale: float = LENGTH_SCALE,
        time_scale: float = TIME_SCALE,
    ) -> OptimalInterpolation:
        """The method with numbers for "auto": the estimates at the tile, or defaults.

        Parameters
        ----------
        problem : Problem
            The tile.
        length_scale, time_scale : float
            Defaults, if nothing was estimated.
        """
        found = problem.choice
        defaults: dict[str, Any] = {
            "length_scale": length_scale,
            "time_scale": time_scale,
            "noise": None,
            "variance": None,
            "covariance": AUTO_COVARIANCE,
            "temporal": AUTO_COVARIANCE,
        }
        if found is not None:
            names = ("length_scale", "time_scale", "noise")
            defaults |= {name: getattr(found, name) for name in names}
            defaults["covariance"], defaults["temporal"] = found.family
        auto = {n: d for n, d in defaults.items() if getattr(self, n) == AUTO}
        return replace(self, **auto)

    def halo(self, layout: Layout) -> tuple[int, int, int]:
        """Two scales, and what a source sees; a fixed reach while the scales are not known.

        Parameters
        ----------
        layout : Layout
            The whole grid and its sources.
        """
        length = number(self.length_scale) or AUTO_REACH[0]
        time = number(self.time_scale) or AUTO_REACH[1]
        t, y, x = observation_halo(layout, length, time)
        if number(self.length_scale) is None:  # the scale of a fine image is shorter
            y, x = min(y, AUTO_CELLS), min(x, AUTO_CELLS)
        return t, y, x

    def footprint(self, layout: Layout, budget: float) -> Footprint:
        """Halo of two scales and of what a source sees; core by memory and cost."""
        growth, halo = self.cost_growth, self.halo(layout)
        return largest_tile(layout.grid, halo, self.bytes_per_cell, budget, cost_growth=growth)

    def solve(self, problem: Problem, wanted: Wanted, device: Any) -> Estimate:
        """Mean, error and members of one tile."""
        import torch

        centred = anomalies(problem, self.background)
        solved = posterior(problem, self, centred, device)
        try:
            with torch.no_grad():
                return solved.estimate(problem, wanted, centred, self.seed)
        except ArithmeticError as error:
            raise DataError(f"The analysis of {problem.place.words} failed. {error}") from error


@dataclass(frozen=True, eq=False)
class Posterior:
    """The Gaussian posterior of a tile, in standard deviations of each variable.

    Attributes
    ----------
    solved : GaussianPosterior
        Its state's first axis holds the times of each variable in turn.
    y : Tensor, shape (m,)
        Anomalies of the observations.
    scales : dict of str to float
        Standard deviation of each variable; one for a single variable, whose prior
        includes its variance.
    options : OptimalInterpolation
        The options, with numbers for "auto".
    """

    solved: GaussianPosterior
    y: torch.Tensor
    scales: dict[str, float]
    options: OptimalInterpolation

    def estimate(
        self, problem: Problem, wanted: Wanted, centred: Centred, seed: int
    ) -> Estimate:
        """Mean, error and members on the kept part of the tile.

        Parameters
        ----------
        problem : Problem
            The tile.
        wanted : Wanted
            Results to compute.
        centred : Centred
            The tile's background.
        seed : int
            Seed of the members.
        """
        place = problem.place
        boxes = _boxes(problem)
        mean = self.solved.mean(self.y[None])
        estimate = Estimate({v: self._field(mean, boxes[v], v)[0] for v in boxes})
        if wanted.error:
            import torch

            wet = torch.as_tensor(problem.sea, device=self.y.device)
            for v, box in boxes.items():
                error = self.solved.error(box, wet) * self.scales[v]
                estimate.error[v] = error.cpu().numpy()
        if wanted.members:
            drawn = [self._member(problem, seed, k) for k in range(wanted.members)]
            for v, box in boxes.items():
                some = np.concatenate([self._field(field, box, v) for field in drawn])
                estimate.members[v] = centred.added(v, some, place.keep)
        for v in boxes:
            estimate.mean[v] = centred.added(v, estimate.mean[v], place.keep)
        return estimate

    def _field(self, field: torch.Tensor, box: Sequence[slice], variable: str) -> np.ndarray:
        kept = field[(slice(None), *box)].double() * self.scales[variable]
        found: np.ndarray = kept.cpu().numpy()
        return found

    def _member(self, problem: Problem, seed: int, member: int) -> torch.Tensor:
        """One sample of the posterior, with noise that depends only on the cells."""
        import torch

        from xinverse.priors.noise import white_noise

        prior, place = self.solved.prior, problem.place
        fields, shocks = [], []
        for k, variable in enumerate(problem.variables):
            drawn = white_noise(
                seed, member, place.cells, prior.margins, period=place.period, stream=2 * k
            )
            fields.append(drawn)
            for source in problem.sources:
                if source.variable != variable:
                    continue
                seen = np.nonzero(source.observed)
                at = [cells[i] for cells, i in zip(source.cells, seen, strict=True)]
                shocks.append(
                    white_noise(seed, member, at, period=source.period, stream=2 * k + 1)
                )
        like: dict[str, Any] = {"dtype": prior.time.dtype, "device": prior.time.device}
        noise = torch.as_tensor(np.concatenate(fields), **like)[None]
        shock = torch.as_tensor(np.concatenate([np.empty(0), *shocks]), **like)[None]
        return self.solved.sample(self.y, noise, shock)


def _boxes(problem: Problem) -> dict[str, tuple[slice, slice, slice]]:
    """The kept part of each variable, in a state that holds the variables in turn."""
    t, y, x = problem.place.keep
    nt = problem.grid.shape[0]
    return {
        v: (slice(t.start + k * nt, t.stop + k * nt), y, x)
        for k, v in enumerate(problem.variables)
    }


def posterior(
    problem: Problem, options: OptimalInterpolation, centred: Centred, device: Any
) -> Posterior:
    """Build the Gaussian posterior of a tile.

    Parameters
    ----------
    problem : Problem
        The tile.
    options : OptimalInterpolation
        Options of the covariance.
    centred : Centred
        The tile's anomalies.
    device : torch.device
        Device to solve on.
    """
    import torch

    from xinverse.solvers.gaussian_posterior import GaussianPosterior

    options = options.resolved(problem)
    found = {v: spread_of_tile(problem, centred, v, options) for v in problem.variables}
    coupling = options.coupling()
    alone = coupling is None
    scales = {v: 1.0 if alone else found[v].variance ** 0.5 for v in problem.variables}
    variance = found[problem.variables[0]].variance if alone else 1.0
    exact = _prior(options, problem, variance, coupling, device)
    rough = deepcopy(exact).float()  # same modes, order and signs
    cells, noise, y = [], [], []
    for k, v in enumerate(problem.variables):
        own = [
            (s, a)
            for s, a in zip(problem.sources, centred.anomalies, strict=True)
            if s.variable == v
        ]
        for (source, anomaly), of_noise in zip(own, found[v].noise_variance, strict=True):
            at = np.argwhere(source.observed)
            at[:, 0] += k * problem.grid.shape[0]
            cells.append(at)
            noise.append(of_noise / scales[v] ** 2)
            y.append(anomaly[source.observed].astype("float64") / scales[v])
    # A tile of a finer grid may lie where its source has no cell.
    operator = observation_operator(problem, problem.sources[0]) if cells else None
    through: dict[str, Any] = {} if operator is None else {"operator": operator.to(device)}
    solved = GaussianPosterior(
        rough,
        torch.as_tensor(np.concatenate([np.empty((0, 3), int), *cells]), device=device),
        torch.as_tensor(np.concatenate([np.empty(0), *noise]), device=device),
        exact=exact,
        tolerance=options.tolerance,
        **through,
    )
    values = torch.as_tensor(np.concatenate([np.empty(0), *y]), device=device)
    return Posterior(solved, values, scales, options)


def _prior(
    options: OptimalInterpolation,
    problem: Problem,
    variance: float,
    coupling: np.ndarray | None,
    device: Any,
) -> GaussianPrior:
    import torch

    from xinverse.priors.gaussian import CirculantGaussian, KroneckerGaussian

    grid = local_grid(problem)
    times = grid.time
    common: dict[str, Any] = {
        "length_scale": options.length_scale,
        "time_scale": options.time_scale,
        "variance": variance,
        "temporal": options.temporal,
    }
    if coupling is not None:
        count = len(coupling)
        series = np.repeat(np.arange(count), times.size)
        times = np.tile(times, count)
        common["series"] = torch.as_tensor(series, device=device)
        common["coupling"] = torch.as_tensor(coupling, device=device)
    axes = [torch.as_tensor(c.copy(), device=device) for c in (times, grid.y, grid.x)]
    axes = [a - a[0] for a in axes]
    if options.covariance == "gaussian":
        return KroneckerGaussian(*axes, **common)
    return CirculantGaussian(*axes, space=options.covariance, **common)
