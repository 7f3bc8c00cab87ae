"""Any operator, prior and solver of the registries, those of a user among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xinverse.errors import DataError, OptionError
from xinverse.fields.grid import Grid
from xinverse.local_grid import LocalGrid
from xinverse.methods.base import (
    METHODS,
    Footprint,
    Method,
    Problem,
    background_and_anomaly,
    local_grid,
)
from xinverse.methods.footprint import correlation_halo, largest_tile
from xinverse.methods.oi import OIOptions, statistics

if TYPE_CHECKING:
    from torch import Tensor

    from xinverse.operators import Operator
    from xinverse.priors import Prior
    from xinverse.registry import Registry
    from xinverse.solvers import Solver
    from xinverse.weights import WeightsRef

__all__ = ["Variational", "VariationalOptions"]

# Two cells of a day and 25 km: enough to check the options of operator and prior at the call.
ANY_GRID = LocalGrid(np.arange(2.0), 25 * np.arange(2.0), 25 * np.arange(2.0))


@dataclass(frozen=True)
class VariationalOptions:
    """Keywords of ``method="variational"``.

    Attributes
    ----------
    prior, solver : str
        Names in the registries ``PRIORS`` and ``SOLVERS``.
    operator : str, optional
        A name in ``OPERATORS``: what an observation is of the state before gaps are
        made in it, on the same grid. The state itself where not given.
    prior_options, solver_options, operator_options : mapping
        Arguments of each. Operator and prior are built on the grid of the tile, in
        km and days, with its coast (their method ``on``).
    prior_weight : float
        Weight of the prior, against misfits that are divided by the noise. For
        ``"tikhonov"``, whose differences are per km, it is in km².
    length_scale, time_scale : float
        How far an observation reaches, in km and days; sets the halo of the tiles.
    noise, variance, background
        As for ``method="oi"``.
    """

    prior: str = "tikhonov"
    solver: str = "lbfgs"
    operator: str | None = None
    prior_options: Mapping[str, Any] = field(default_factory=dict)
    solver_options: Mapping[str, Any] = field(default_factory=dict)
    operator_options: Mapping[str, Any] = field(default_factory=dict)
    prior_weight: float = 1.0
    length_scale: float = 100.0
    time_scale: float = 10.0
    noise: float | None = None
    variance: float | None = None
    background: float | None = None

    def __post_init__(self) -> None:
        weight: object = self.prior_weight
        number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
        if not number or not 0 < self.prior_weight < inf:
            raise OptionError(f"prior_weight={weight!r}: expected a number above 0.")
        self.statistics  # noqa: B018  checks the numbers that it shares
        for name in ("prior", "solver", "operator"):
            given = getattr(self, f"{name}_options")
            if not isinstance(given, Mapping):
                raise OptionError(f"{name}_options={given!r}: expected a dictionary.")
        self.parts()

    @property
    def statistics(self) -> OIOptions:
        """What says variance and noise of a tile."""
        return OIOptions(
            length_scale=self.length_scale,
            time_scale=self.time_scale,
            noise=self.noise,
            variance=self.variance,
        )

    def parts(
        self, grid: LocalGrid = ANY_GRID, sea: Tensor | None = None
    ) -> tuple[Operator | None, Prior, Solver]:
        """New operator, prior and solver, the first two on the grid of a tile."""
        from xinverse.operators import OPERATORS
        from xinverse.priors import PRIORS
        from xinverse.solvers import SOLVERS

        named = self.operator is not None
        place = {"grid": grid, "sea": sea}
        operator = self._make("operator", OPERATORS, place) if named else None
        prior = self._make("prior", PRIORS, place)
        return operator, prior, self._make("solver", SOLVERS)

    def _make(
        self, kind: str, registry: Registry[Any], place: Mapping[str, Any] | None = None
    ) -> Any:
        name, given = getattr(self, kind), dict(getattr(self, f"{kind}_options"))
        make = registry[name] if place is None else registry[name].on
        try:
            return make(**{**(place or {}), **given})
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"The {kind} {name!r} cannot be made with {kind}_options={given!r}: {error}"
            ) from error


@METHODS.register("variational")
class Variational(Method[VariationalOptions]):
    r"""The minimum of a variational cost, or where a solver of yours ends.

    .. math:: \| (y - H(x)) / \sigma \|^2_\Omega + \lambda \, U(x)

    of anomalies that are divided by their standard deviation.
    """

    name: ClassVar[str] = "variational"
    summary = "any operator, prior and solver by name, yours among them"
    options_type = VariationalOptions
    field_options = ("noise", "background")
    regular = ("time", "space")
    bytes_per_cell = 300

    def footprint(
        self,
        grid: Grid,
        options: VariationalOptions,
        weights: WeightsRef | None,  # noqa: ARG002  it has none
        budget: float,
    ) -> Footprint:
        """Halo of two scales; core as large as memory and the local metric allow."""
        halo = correlation_halo(grid, options.length_scale, options.time_scale)
        return largest_tile(grid, halo, self.bytes_per_cell, budget)

    def solve(
        self,
        problem: Problem,
        options: VariationalOptions,
        weights: WeightsRef | None,  # noqa: ARG002  it has none
        device: Any,
    ) -> np.ndarray:
        """Solution on one tile."""
        import torch

        from xinverse.operators import Composition, Mask, NoiseWeighted
        from xinverse.variational import Inversion, VariationalCost

        level, anomaly = background_and_anomaly(problem, options.background)
        found = statistics(problem, anomaly, options.statistics)
        scale, observed = sqrt(found.variance), problem.observed
        noise = np.ones(observed.shape)
        noise[observed] = np.sqrt(found.noise_variance) / scale
        sea = torch.as_tensor(problem.sea.copy())
        own, prior, solver = options.parts(local_grid(problem), sea)
        mask = Mask(torch.from_numpy(observed))
        seen = mask if own is None else Composition(mask, own)
        operator = NoiseWeighted(seen, torch.from_numpy(noise)[None]).to(device, torch.float32)
        y = torch.as_tensor((anomaly / scale)[None].astype("float32"), device=device)
        cost = VariationalCost(prior, 1.0, options.prior_weight).to(device, torch.float32)
        solver = solver.to(device, torch.float32)
        inversion = Inversion(cost, operator.weigh(y), operator, sea.to(device))
        solution = solver(inversion, torch.zeros_like(y))
        with torch.no_grad():
            state = solution.state[0].double().cpu().numpy()
        if not np.isfinite(state).all():
            raise DataError(
                f"The solver {options.solver!r} diverged in {problem.where}. Give it a shorter "
                "step in solver_options=, or take 'lbfgs', which finds its own."
            )
        return (state * scale + level)[problem.keep][None]
