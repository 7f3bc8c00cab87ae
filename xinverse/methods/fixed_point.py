"""Fixed point of the leading EOFs: fill gaps by projection on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xinverse.checks import check_count, check_number
from xinverse.errors import DataError
from xinverse.methods.base import METHODS, Footprint, Method
from xinverse.methods.footprint import whole_series
from xinverse.methods.problem import Estimate, Layout, Problem, Wanted
from xinverse.methods.tile_statistics import anomalies

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FixedPointMethod"]


@METHODS.register("fixed-point")
@dataclass(frozen=True, kw_only=True)
class FixedPointMethod(Method):
    r"""Insert the observations, project on the EOFs of the result, and repeat.

    .. math:: x^{(k+1)} = \Phi\left( 1_\Omega \, y + (1 - 1_\Omega) \, x^{(k)} \right)

    with :math:`\Phi` the projection of each map on the leading EOFs of the filled maps of
    the tile, recomputed until they converge (Beckers and Rixen 2003, Alvera-Azcárate et
    al. 2005, with a fixed number of modes).

    Attributes
    ----------
    modes : int
        Number of EOFs.
    rounds : int
        Largest number of times that the EOFs are recomputed.
    iterations : int
        Largest number of iterations of the fixed point per round.
    tolerance : float
        Relative change of the anomaly at which rounds, and the iterations of a round, stop.
    anderson : int
        Number of iterations combined by Anderson acceleration; 0 for none.
    min_observed : float
        Cells observed on less than this share of the dates, and dates with less than
        this share of the cells, are left out of the EOFs and regressed on them, as by
        ``method="dineof"``: a mode has no bound where almost nothing is observed. Filled
        values stay within the range of the observations, widened by a tenth at each end.
    background : float, optional
        As for ``method="oi"``.
    """

    name: ClassVar[str] = "fixed-point"
    summary: ClassVar[str] = "fixed point: mask, leading EOFs of the filled field"
    metric: ClassVar[bool] = False
    bytes_per_cell: ClassVar[float] = 100

    modes: int = 5
    rounds: int = 100
    iterations: int = 50
    tolerance: float = 1e-3
    anderson: int = 3
    min_observed: float = 0.05
    background: float | None = None

    def __post_init__(self) -> None:
        """Check every option."""
        for name, least in (("modes", 1), ("rounds", 1), ("iterations", 1), ("anderson", 0)):
            check_count(name, getattr(self, name), least=least)
        check_number("tolerance", self.tolerance, above=0, below=1)
        check_number("min_observed", self.min_observed, least=0, below=1)

    def check(self, layout: Layout) -> None:
        """Require more maps than modes."""
        super().check(layout)
        times, ny, nx = layout.grid.shape
        _check_modes(self.modes, times, ny * nx, "the field")

    def footprint(self, layout: Layout, budget: float) -> Footprint:
        """The whole series, and in space the largest tile that memory holds."""
        return whole_series(layout.grid, self.bytes_per_cell, budget)

    def solve(self, problem: Problem, wanted: Wanted, device: Any) -> Estimate:  # noqa: ARG002  the mean is all
        """Filled maps of one tile."""
        import torch

        from xinverse.solvers.rare import rarely_observed

        variable, keep = problem.variable, problem.place.keep
        centred = anomalies(problem, self.background)
        sea = torch.from_numpy(problem.sea.copy())
        y = torch.from_numpy(centred.anomaly.astype("float64"))[:, sea].to(device)
        observed = torch.from_numpy(problem.observed)[:, sea].to(device)
        _check_modes(self.modes, y.shape[0], y.shape[1], problem.place.words)
        rare_dates, rare_cells = rarely_observed(observed, self.min_observed)
        kept = int((~rare_dates).sum()), int((~rare_cells).sum())
        _check_modes(self.modes, *kept, f"those observed often enough in {problem.place.words}")
        with torch.no_grad():
            x = self._filled(y, observed, rare_dates, rare_cells)
        result = np.zeros(problem.y.shape)
        result[:, problem.sea] = x.cpu().numpy()
        return Estimate({variable: centred.added(variable, result[keep], keep)})

    def _filled(
        self, y: Tensor, observed: Tensor, rare_dates: Tensor, rare_cells: Tensor
    ) -> Tensor:
        """Fixed point of the dates and cells that are observed often, then all others."""
        import torch

        from xinverse.operators.mask import Mask
        from xinverse.priors.eof import EOF
        from xinverse.solvers.fixed_point import FixedPoint
        from xinverse.solvers.rare import bounds_of, regress
        from xinverse.variational import Inversion, VariationalCost

        low, high = bounds_of(y[observed])
        dates, cells = ~rare_dates, ~rare_cells
        inner, seen = y[dates][:, cells], observed[dates][:, cells]
        operator, x = Mask(seen), inner
        solver = FixedPoint(self.iterations, self.tolerance, anderson=self.anderson)
        for _ in range(self.rounds):
            eof = EOF.fit(torch.where(seen, inner, x), modes=self.modes)
            before = x
            x = solver(Inversion(VariationalCost(eof), inner, operator), x).state
            x = x.clamp(low, high)
            if (x - before).norm() <= self.tolerance * x.norm():
                break
        # Each cell is a mean and a pattern for each mode; each date an amplitude for each.
        noise = max(float((x - inner)[seen].square().mean().sqrt()), 1e-9 * (high - low), 1e-30)
        usual = eof.scores(x)
        amplitudes, _ = regress(
            torch.where(seen := observed[:, cells], y[:, cells] - eof.mean, 0.0),
            seen,
            eof.modes.T,
            usual,
            noise,
        )
        amplitudes[dates] = usual
        basis = torch.cat([torch.ones_like(usual[:, :1]), usual], 1)
        found = torch.cat([eof.mean[None], eof.modes]).T
        patterns, _ = regress(y[dates].T, observed[dates].T, basis, found, noise)
        patterns[cells] = found
        every = torch.cat([torch.ones_like(amplitudes[:, :1]), amplitudes], 1) @ patterns.T
        return every.clamp(low, high)


def _check_modes(modes: int, times: int, cells: int, where: str) -> None:
    most = min(times - 1, cells)
    if modes > most:
        raise DataError(
            f"modes={modes}: {times} maps of {cells} cells, {where}, have at most {most} EOFs. "
            "Give fewer modes, or a longer series."
        )
