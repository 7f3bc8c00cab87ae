"""Fixed point of the leading EOFs: fill gaps by projection on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xinverse.checks import check_count, check_number
from xinverse.errors import DataError
from xinverse.methods.base import METHODS, Footprint, Method
from xinverse.methods.footprint import whole_series
from xinverse.methods.problem import Estimate, Layout, Problem, Wanted
from xinverse.methods.tile_statistics import anomalies

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
    background : float, optional
        As for ``method="oi"``.
    """

    name: ClassVar[str] = "fixed-point"
    summary: ClassVar[str] = "fixed point: mask, leading EOFs of the filled field"
    bytes_per_cell: ClassVar[float] = 100

    modes: int = 5
    rounds: int = 100
    iterations: int = 50
    tolerance: float = 1e-3
    anderson: int = 3
    background: float | None = None

    def __post_init__(self) -> None:
        """Check every option."""
        for name, least in (("modes", 1), ("rounds", 1), ("iterations", 1), ("anderson", 0)):
            check_count(name, getattr(self, name), least=least)
        check_number("tolerance", self.tolerance, above=0, below=1)

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

        from xinverse.operators.mask import Mask
        from xinverse.priors.eof import EOF
        from xinverse.solvers.fixed_point import FixedPoint
        from xinverse.variational import Inversion, VariationalCost

        variable, keep = problem.variable, problem.place.keep
        centred = anomalies(problem, self.background)
        cells = int(problem.sea.sum())
        _check_modes(self.modes, len(problem.y), cells, problem.place.words)
        sea = torch.from_numpy(problem.sea.copy())
        y = torch.from_numpy(centred.anomaly.astype("float64"))[:, sea].to(device)
        operator = Mask(torch.from_numpy(problem.observed)[:, sea].to(device))
        solver = FixedPoint(self.iterations, self.tolerance, anderson=self.anderson)
        with torch.no_grad():
            x = y
            for _ in range(self.rounds):
                filled = torch.where(operator.observed, y, x)
                cost = VariationalCost(EOF.fit(filled, modes=self.modes))
                before, x = x, solver(Inversion(cost, y, operator), x).state
                if (x - before).norm() <= self.tolerance * x.norm():
                    break
        result = np.zeros(problem.y.shape)
        result[:, problem.sea] = x.cpu().numpy()
        return Estimate({variable: centred.added(variable, result[keep], keep)})


def _check_modes(modes: int, times: int, cells: int, where: str) -> None:
    most = min(times - 1, cells)
    if modes > most:
        raise DataError(
            f"modes={modes}: {times} maps of {cells} cells, {where}, have at most {most} EOFs. "
            "Give fewer modes, or a longer series."
        )
