"""DINEOF: the fixed point of leading EOFs, their number chosen by withheld observations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from xinverse.checks import check_choice, check_count, check_number
from xinverse.errors import OptionError
from xinverse.methods.base import METHODS, Footprint, Method
from xinverse.methods.footprint import largest_tile
from xinverse.methods.problem import Estimate, Layout, Problem, Wanted
from xinverse.methods.tile_statistics import anomalies

__all__ = ["DINEOFMethod"]


@METHODS.register("dineof")
@dataclass(frozen=True, kw_only=True)
class DINEOFMethod(Method):
    r"""Fill a series of maps from the EOFs that its own observations hold.

    Missing values are replaced by the sum of the P leading modes of the filled series
    until they no longer change; P is the number with the least error at observations
    that were withheld (Beckers and Rixen 2003, Alvera-Azcárate et al. 2005). Cells and
    dates that were rarely seen are left out of the decomposition, and what is filled
    stays near the range of the observations (see `xinverse.solvers.dineof`).

    Attributes
    ----------
    modes : int
        Largest number of modes.
    withheld : {"points", "clouds"}
        Shape of what is withheld to choose the number: single values, or the clouds of
        other dates.
    time_filter : (float, int), optional
        Diffusion in days squared and number of steps that smooth the temporal
        covariance, such as ``(0.01, 3)`` (Alvera-Azcárate et al. 2009). Default: none.
    min_observed : float
        Share of the dates on which a cell must be observed, and of the cells that a date
        must show, to count in the decomposition.
    tolerance : float
        Change over the standard deviation of the observations at which iterations stop.
    iterations : int
        Largest number of iterations for each number of modes.
    seed : int
        Draws what is withheld.
    background : float, optional
        Subtracted before (or a variable, such as a climatology). Default: the mean of the
        observations.
    """

    name: ClassVar[str] = "dineof"
    summary: ClassVar[str] = "fixed point of leading EOFs, their number cross-validated"
    gives: ClassVar[tuple[str, ...]] = ("error",)
    bytes_per_cell: ClassVar[float] = 150

    modes: int = 20
    withheld: Literal["points", "clouds"] = "points"
    time_filter: tuple[float, int] | None = None
    min_observed: float = 0.05
    tolerance: float = 1e-3
    iterations: int = 300
    seed: int = 0
    background: float | None = None

    def __post_init__(self) -> None:
        """Check every option."""
        for name in ("modes", "iterations"):
            check_count(name, getattr(self, name))
        check_count("seed", self.seed, least=0)
        check_choice("withheld", self.withheld, ("points", "clouds"))
        check_number("tolerance", self.tolerance, above=0, below=1)
        check_number("min_observed", self.min_observed, least=0, below=1)
        if self.time_filter is not None:
            pair: Any = self.time_filter
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise OptionError(
                    f"time_filter={pair!r}: expected a diffusion in days squared and a number "
                    "of steps, such as (0.01, 3)."
                )
            check_number("time_filter[0]", pair[0], above=0)
            check_count("time_filter[1]", pair[1])

    def footprint(self, layout: Layout, budget: float) -> Footprint:
        """All of the series; in space, halves of what memory does not hold."""
        nt = layout.grid.shape[0]
        found = largest_tile(layout.grid, (nt, 8, 8), self.bytes_per_cell, budget)
        core = (nt, found.core[1], found.core[2])
        return Footprint(core, (0, 8, 8), f"the whole series; {found.reason}")

    def solve(self, problem: Problem, wanted: Wanted, device: Any) -> Estimate:
        """Filled maps of one tile, and their expected error."""
        import torch

        from xinverse.solvers.dineof import dineof, withheld_points

        variable, keep, sea = problem.variable, problem.place.keep, problem.sea
        centred = anomalies(problem, self.background)
        observed = torch.from_numpy(problem.observed)
        hidden = withheld_points(observed, seed=self.seed, shape=self.withheld)
        values = torch.from_numpy(centred.anomaly)
        wet = torch.from_numpy(sea.copy())
        most = min(self.modes, len(problem.y) - 1, int(sea.sum()) - 1)
        with torch.no_grad():
            found = dineof(
                values[:, wet].to(device),
                observed[:, wet].to(device),
                max_modes=max(most, 1),
                withheld=hidden[:, wet].to(device),
                tolerance=self.tolerance,
                max_iterations=self.iterations,
                min_observed=self.min_observed,
                time=torch.from_numpy(problem.grid.time.copy()).to(device),
                time_filter=self.time_filter,
            )
        mean = np.zeros(problem.y.shape)
        mean[:, sea] = found.state.cpu().numpy()
        estimate = Estimate({variable: centred.added(variable, mean[keep], keep)})
        if wanted.error:
            error = np.zeros(problem.y.shape)
            error[:, sea] = found.error.cpu().numpy()
            estimate.error[variable] = error[keep]
        return estimate
