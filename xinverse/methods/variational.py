"""Any operator, prior and solver of the registries, those of a user among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xinverse.checks import check_mapping, check_number
from xinverse.errors import DataError, OptionError
from xinverse.methods.base import METHODS, Footprint, Method
from xinverse.methods.footprint import correlation_halo, largest_tile
from xinverse.methods.problem import Estimate, Layout, Problem, Wanted
from xinverse.methods.tile_statistics import anomalies, spread_of

if TYPE_CHECKING:
    from xinverse.operators import Operator
    from xinverse.priors import Prior
    from xinverse.registry import Registry
    from xinverse.solvers import Solver

__all__ = ["Variational"]


@METHODS.register("variational")
@dataclass(frozen=True, kw_only=True)
class Variational(Method):
    r"""The minimum of a variational cost, or the state at which another solver ends.

    .. math:: \| (y - H(x)) / \sigma \|^2_\Omega + \lambda \, U(x)

    of anomalies that are divided by their standard deviation.

    Attributes
    ----------
    prior, solver : str
        Names in the registries ``PRIORS`` and ``SOLVERS``.
    operator : str, optional
        A name in ``OPERATORS``: what an observation is of the state before gaps are
        made in it, on the same grid. Default: the state itself.
    prior_options, solver_options, operator_options : mapping
        Arguments that each is made with.
    prior_weight : float
        Weight of the prior, against misfits that are divided by the noise.
    length_scale, time_scale : float
        How far an observation reaches, in km and days; sets the halo of the tiles.
    noise, variance, background
        As for ``method="oi"``.
    """

    name: ClassVar[str] = "variational"
    summary: ClassVar[str] = "any operator, prior and solver by name, yours among them"
    companions: ClassVar[tuple[str, ...]] = ("noise", "background")
    regular: ClassVar[tuple[str, ...]] = ("time", "space")
    through: ClassVar[bool] = True
    bytes_per_cell: ClassVar[float] = 300

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
        """Check every option, and that the parts can be made."""
        for name in ("prior_weight", "length_scale", "time_scale"):
            check_number(name, getattr(self, name), above=0)
        for name in ("noise", "variance"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        for name in ("prior", "solver", "operator"):
            check_mapping(f"{name}_options", getattr(self, f"{name}_options"))
        self.parts()

    def parts(self) -> tuple[Operator | None, Prior, Solver]:
        """Operator, prior and solver."""
        from xinverse.operators import OPERATORS
        from xinverse.priors import PRIORS
        from xinverse.solvers import SOLVERS

        named = self.operator is not None
        operator = self._make("operator", OPERATORS) if named else None
        return operator, self._make("prior", PRIORS), self._make("solver", SOLVERS)

    def _make(self, kind: str, registry: Registry[Any]) -> Any:
        name, given = getattr(self, kind), dict(getattr(self, f"{kind}_options"))
        try:
            return registry[name](**given)
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"The {kind} {name!r} cannot be made with {kind}_options={given!r}: {error}"
            ) from error

    def footprint(self, layout: Layout, budget: float) -> Footprint:
        """Halo of two scales; core as large as memory and the local metric allow."""
        halo = correlation_halo(layout.grid, self.length_scale, self.time_scale)
        return largest_tile(layout.grid, halo, self.bytes_per_cell, budget)

    def solve(self, problem: Problem, wanted: Wanted, device: Any) -> Estimate:  # noqa: ARG002  the mean is all
        """Solution on one tile."""
        import torch

        from xinverse.operators import Composition, Mask, NoiseWeighted
        from xinverse.variational import VariationalCost

        variable, keep = problem.variable, problem.place.keep
        centred = anomalies(problem, self.background)
        found = spread_of(problem, centred, variable, noise=self.noise, variance=self.variance)
        scale, observed = sqrt(found.variance), problem.observed
        noise = np.ones(observed.shape)
        noise[observed] = np.sqrt(found.noise_variance[0]) / scale
        own, prior, solver = self.parts()
        mask = Mask(torch.from_numpy(observed))
        seen = mask if own is None else Composition(mask, own)
        operator = NoiseWeighted(seen, torch.from_numpy(noise)[None]).to(device, torch.float32)
        y = torch.as_tensor((centred.anomaly / scale)[None].astype("float32"), device=device)
        cost = VariationalCost(prior, 1.0, self.prior_weight).to(device, torch.float32)
        solver = solver.to(device, torch.float32)
        sea = torch.as_tensor(problem.sea.copy(), device=device)
        solution = solver(cost, torch.zeros_like(y), operator.weigh(y), operator, sea=sea)
        with torch.no_grad():
            state = solution.state[0].double().cpu().numpy()
        if not np.isfinite(state).all():
            raise DataError(
                f"The solver {self.solver!r} diverged in {problem.place.words}. Give it a "
                "shorter step in solver_options=, or take 'lbfgs', which finds its own."
            )
        return Estimate({variable: centred.added(variable, state[keep] * scale, keep)})
