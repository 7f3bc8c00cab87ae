"""Fixed point of the leading EOFs: what is missing is what the patterns say it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xinverse.errors import DataError, OptionError
from xinverse.fields.grid import Grid
from xinverse.methods.base import METHODS, Footprint, Method, Problem, background_and_anomaly
from xinverse.methods.footprint import largest_tile

if TYPE_CHECKING:
    from xinverse.weights import WeightsRef

__all__ = ["FixedPointMethod", "FixedPointOptions"]


@dataclass(frozen=True)
class FixedPointOptions:
    """Keywords of ``method="fixed-point"``.

    Attributes
    ----------
    modes : int
        EOFs that are kept.
    rounds : int
        Times, at most, that the EOFs are found anew from the filled field.
    iterations : int
        Of the fixed point in a round, at most.
    tolerance : float
        Share of the anomaly's length that a round changes when the last was reached,
        and that an iteration changes when a round ends.
    anderson : int
        Iterations that are combined to go faster; 0 for none.
    background : float, optional
        As for ``method="oi"``.
    """

    modes: int = 5
    rounds: int = 100
    iterations: int = 50
    tolerance: float = 1e-3
    anderson: int = 3
    background: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("modes", 1), ("rounds", 1), ("iterations", 1), ("anderson", 0)):
            value = getattr(self, name)
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not whole or value < least:
                raise OptionError(
                    f"{name}={value!r}: expected a whole number, {least} or more."
                )
        share: object = self.tolerance
        number = isinstance(share, int | float) and not isinstance(share, bool)
        if not number or not 0 < self.tolerance < 1:
            raise OptionError(f"tolerance={share!r}: expected a number between 0 and 1.")


@METHODS.register("fixed-point")
class FixedPointMethod(Method[FixedPointOptions]):
    r"""Put the observations in, project on the EOFs of the result, and again.

    .. math:: x^{(k+1)} = \Phi\left( 1_\Omega \, y + (1 - 1_\Omega) \, x^{(k)} \right)

    with :math:`\Phi` the projection of each map on the leading EOFs of all maps of
    the tile, which are found anew until they no longer change (DINEOF: Beckers
    and Rixen 2003, Alvera-Azcárate et al. 2005, with a number of modes that is
    given, not chosen by cross-validation).
    """

    name = "fixed-point"
    summary = "fixed point: mask, leading EOFs of the filled field"
    options_type = FixedPointOptions
    bytes_per_cell = 100

    def check(
        self, grid: Grid, options: FixedPointOptions, weights: WeightsRef | None = None
    ) -> None:
        """More maps than modes."""
        super().check(grid, options, weights)
        times, ny, nx = grid.shape
        _check_modes(options.modes, times, ny * nx, "the field")

    def footprint(
        self,
        grid: Grid,
        options: FixedPointOptions,  # noqa: ARG002  patterns have no scale
        weights: WeightsRef | None,  # noqa: ARG002  it has none
        budget: float,
    ) -> Footprint:
        """All of the series; in space, halves of what memory does not hold."""
        nt = grid.shape[0]
        found = largest_tile(grid, (nt, 8, 8), self.bytes_per_cell, budget)
        core = (nt, found.core[1], found.core[2])
        return Footprint(core, (0, 8, 8), f"the whole series; {found.reason}")

    def solve(
        self,
        problem: Problem,
        options: FixedPointOptions,
        weights: WeightsRef | None,  # noqa: ARG002  it has none
        device: Any,
    ) -> np.ndarray:
        """Filled maps of one tile."""
        import torch

        from xinverse.operators.mask import Mask
        from xinverse.priors.eof import EOF
        from xinverse.solvers.fixed_point import FixedPoint
        from xinverse.variational import Inversion, VariationalCost

        level, anomaly = background_and_anomaly(problem, options.background)
        _check_modes(options.modes, len(problem.y), int(problem.sea.sum()), problem.where)
        sea = torch.from_numpy(problem.sea.copy())
        y = torch.from_numpy(anomaly.astype("float64"))[:, sea].to(device)
        operator = Mask(torch.from_numpy(problem.observed)[:, sea].to(device))
        solver = FixedPoint(options.iterations, options.tolerance, anderson=options.anderson)
        with torch.no_grad():
            x = y
            for _ in range(options.rounds):
                filled = torch.where(operator.observed, y, x)
                cost = VariationalCost(EOF.fit(filled, modes=options.modes))
                before, x = x, solver(Inversion(cost, y, operator), x).state
                if (x - before).norm() <= options.tolerance * x.norm():
                    break
        result = np.zeros(problem.y.shape)
        result[:, problem.sea] = x.cpu().numpy()
        return (result + level)[problem.keep][None]


def _check_modes(modes: int, times: int, cells: int, where: str) -> None:
    most = min(times - 1, cells)
    if modes > most:
        raise DataError(
            f"modes={modes}: {times} maps of {cells} cells, {where}, have at most {most} EOFs. "
            "Give fewer modes, or a longer series."
        )
