"""Minimise a variational cost: the base of methods with a prior and a solver."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xinverse.checks import check_mapping, check_number
from xinverse.errors import DataError, OptionError
from xinverse.local_grid import LocalGrid
from xinverse.methods.base import METHODS, Footprint, Method
from xinverse.methods.footprint import largest_tile, observation_halo
from xinverse.methods.problem import Estimate, Layout, Problem, Wanted
from xinverse.methods.tile_statistics import (
    anomalies,
    local_grid,
    observation_operator,
    spread_of,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from xinverse.operators import Operator
    from xinverse.priors import Prior
    from xinverse.registry import Registry
    from xinverse.solvers import VariationalSolver

__all__ = ["CostMethod", "Variational"]

# Two cells per axis, of a day and 25 km, to check the options of operator and prior.
ANY_GRID = LocalGrid(np.arange(2.0), 25 * np.arange(2.0), 25 * np.arange(2.0))


@dataclass(frozen=True, kw_only=True)
class CostMethod(Method):
    r"""The state returned by a solver, for a cost of misfits and a prior.

    .. math:: \| (y - H(x)) / \sigma \|^2_\Omega + \lambda \, U(x)

    for anomalies divided by their standard deviation. H may be any operator.

    Attributes
    ----------
    length_scale, time_scale : float
        Reach of an observation, in km and days; sets the halo of the tiles.
    noise, variance, background
        As for ``method="oi"``.
    """

    companions: ClassVar[tuple[str, ...]] = ("noise", "background")
    regular: ClassVar[tuple[str, ...]] = ("time", "space")
    through: ClassVar[bool] = True
    bytes_per_cell: ClassVar[float] = 300
    double: ClassVar[bool] = False  # whether to solve in float64

    length_scale: float = 100.0
    time_scale: float = 10.0
    noise: float | None = None
    variance: float | None = None
    background: float | None = None

    def __post_init__(self) -> None:
        """Check every option."""
        for name in ("length_scale", "time_scale"):
            check_number(name, getattr(self, name), above=0)
        for name in ("noise", "variance"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)

    @abstractmethod
    def parts(
        self, grid: LocalGrid, sea: Tensor | None
    ) -> tuple[Operator | None, Prior, float, VariationalSolver]:
        """Operator (besides the source's), prior, prior weight and solver, on a grid.

        Parameters
        ----------
        grid : LocalGrid
            Grid of the tile, in days and km.
        sea : Tensor, optional
            Boolean, ``(ny, nx)``.
        """

    def check(self, layout: Layout) -> None:
        """Require one source on a regular grid."""
        super().check(layout)
        if len(layout.sources) > 1:
            raise OptionError(
                f"method={self.name!r} takes one source; found {len(layout.sources)}. Pass "
                "one, or use method='oi'."
            )

    def footprint(self, layout: Layout, budget: float) -> Footprint:
        """Halo of two scales and of what a source sees; core limited by memory."""
        halo = observation_halo(layout, self.length_scale, self.time_scale)
        return largest_tile(layout.grid, halo, self.bytes_per_cell, budget)

    def solve(self, problem: Problem, wanted: Wanted, device: Any) -> Estimate:  # noqa: ARG002  the mean is all
        """Solution on one tile."""
        import torch

        from xinverse.operators import Mask, NoiseWeighted
        from xinverse.variational import Inversion, VariationalCost

        variable, keep = problem.variable, problem.place.keep
        centred = anomalies(problem, self.background)
        found = spread_of(problem, centred, variable, noise=self.noise, variance=self.variance)
        scale, observed = sqrt(found.variance), problem.observed
        noise = np.ones(observed.shape)
        noise[observed] = np.sqrt(found.noise_variance[0]) / scale
        sea = torch.as_tensor(problem.sea.copy())
        own, prior, weight, solver = self.parts(local_grid(problem), sea)
        seen: Operator = Mask(torch.from_numpy(observed))
        for inner in (observation_operator(problem, problem.source), own):
            seen = seen if inner is None else seen @ inner
        dtype = torch.float64 if self.double else torch.float32
        operator = NoiseWeighted(seen, torch.from_numpy(noise)[None]).to(device, dtype)
        y = torch.as_tensor((centred.anomaly / scale)[None], dtype=dtype, device=device)
        cost = VariationalCost(prior, 1.0, weight).to(device, dtype)
        inversion = Inversion(cost, operator.weigh(y), operator, sea.to(device))
        start = torch.zeros((1, *problem.grid.shape), dtype=dtype, device=device)
        solution = solver.to(device, dtype)(inversion, start)
        with torch.no_grad():
            state = solution.state[0].double().cpu().numpy()
        self.judge(solution, state, problem)
        return Estimate({variable: centred.added(variable, state[keep] * scale, keep)})

    @property
    def solved_by(self) -> str:
        """The solver in words, for errors."""
        return f"of method={self.name!r}"

    def judge(self, solution: Any, state: np.ndarray, problem: Problem) -> None:
        """Raise `DataError` if the solver did not converge.

        Parameters
        ----------
        solution : Solution
            Result of the solver.
        state : ndarray
            State of the solution.
        problem : Problem
            The tile.
        """
        if not np.isfinite(state).all():
            raise DataError(
                f"The solver {self.solved_by} diverged in {problem.place.words} after "
                f"{solution.iterations} iterations. Give a shorter step in solver_options=, "
                "or use 'lbfgs', which chooses its own."
            )


@METHODS.register("variational")
@dataclass(frozen=True, kw_only=True)
class Variational(CostMethod):
    r"""The minimum of a variational cost, or the state returned by another solver.

    .. math:: \| (y - H(x)) / \sigma \|^2_\Omega + \lambda \, U(x)

    for anomalies divided by their standard deviation.

    Attributes
    ----------
    prior, solver : str
        Names in the registries ``PRIORS`` and ``SOLVERS``.
    operator : str, optional
        A name in ``OPERATORS``: maps the state to the observed quantity on the same grid,
        before gaps are made. Default: the identity.
    prior_options, solver_options, operator_options : mapping
        Arguments of each. Operator and prior are built on the grid of the tile, in km and
        days, with its coast (by their method ``on``).
    prior_weight : float, optional
        Weight of the prior, relative to misfits divided by the noise. Default: the square
        of the length scale for ``"tikhonov"``, whose differences are per km, the length
        scale for ``"total-variation"``, and 1 for others.
    length_scale, time_scale : float
        Reach of an observation, in km and days; sets the halo of the tiles.
    noise, variance, background
        As for ``method="oi"``.
    """

    name: ClassVar[str] = "variational"
    summary: ClassVar[str] = "any operator, prior and solver by name, yours among them"

    prior: str = "tikhonov"
    solver: str = "lbfgs"
    operator: str | None = None
    prior_options: Mapping[str, Any] = field(default_factory=dict)
    solver_options: Mapping[str, Any] = field(default_factory=dict)
    operator_options: Mapping[str, Any] = field(default_factory=dict)
    prior_weight: float | None = None

    def __post_init__(self) -> None:
        """Check every option, and that the parts can be built."""
        super().__post_init__()
        if self.prior_weight is not None:
            check_number("prior_weight", self.prior_weight, above=0)
        for name in ("prior", "solver", "operator"):
            check_mapping(f"{name}_options", getattr(self, f"{name}_options"))
        self.parts(ANY_GRID, None)

    @property
    def solved_by(self) -> str:
        """The name of the solver."""
        return repr(self.solver)

    def parts(
        self, grid: LocalGrid, sea: torch.Tensor | None
    ) -> tuple[Operator | None, Prior, float, VariationalSolver]:
        """Operator, prior and solver by name, the first two on the grid."""
        from xinverse.operators import OPERATORS
        from xinverse.priors import PRIORS
        from xinverse.solvers import SOLVERS

        named = self.operator is not None
        place = {"grid": grid, "sea": sea}
        operator = self._make("operator", OPERATORS, place) if named else None
        prior = self._make("prior", PRIORS, place)
        scale = self.length_scale
        usual = {"tikhonov": scale**2, "total-variation": scale}.get(self.prior, 1.0)
        weight = usual if self.prior_weight is None else self.prior_weight
        return operator, prior, weight, self._make("solver", SOLVERS)

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
