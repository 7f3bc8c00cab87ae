"""Fixed point of the leading EOFs: what is missing is what the patterns say it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xinverse.checks import check_count, check_number
from xinverse.errors import DataError
from xinverse.methods.base import METHODS, Footprint, Method
from xinverse.methods.footprint import largest_tile
from xinverse.methods.problem import Estimate, Layout, Problem, Wanted
from xinverse.methods.tile_statistics import anomalies

__all__ = ["FixedPointMethod"]


@METHODS.register("fixed-point")
@dataclass(frozen=True, kw_only=True)
class FixedPointMethod(Method):
    r"""Put the observations in, project on the EOFs of the result, and repeat.

    .. math:: x^{(k+1)} = \Phi\left( 1_\Omega \, y + (1 - 1_\Omega) \, x^{(k)} \right)

    with :math:`\Phi` the projection of each map on the leading EOFs of all maps of
    the tile, which are computed again until they no longer change (Beckers and Rixen
    2003, Alvera-Azcárate et al. 2005, with a number of modes that is given).

    Attributes
    ----------
    modes : int
        EOFs that are kept.
    rounds : int
        Largest number of times that the EOFs are computed from the filled field.
    iterations : int
        Largest number of iterations of the fixed point in a round.
    tolerance : float
        Share of the anomaly's length that the last round changes, and the last
        iteration of a round.
    anderson : int
        Iterations that are combined to go faster; 0 for none.
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
        """All of the series; in space, halves of what memory does not hold."""
        nt = layout.grid.shape[0]
        found = largest_tile(layout.grid, (nt, 8, 8), self.bytes_per_cell, budget)
        core = (nt, found.core[1], found.core[2])
        return Footprint(core, (0, 8, 8), f"the whole series; {found.reason}")

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
