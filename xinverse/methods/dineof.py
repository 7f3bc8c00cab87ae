"""DINEOF: fixed point of leading EOFs, with their number chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from xinverse.checks import check_choice, check_count, check_number, check_switch
from xinverse.errors import OptionError
from xinverse.methods.base import METHODS, Footprint, Method
from xinverse.methods.footprint import whole_series
from xinverse.methods.problem import Estimate, Layout, Problem, Wanted
from xinverse.methods.tile_statistics import anomalies

__all__ = ["DINEOFMethod"]

# Of each pair of modes at a cell: products, covariances and their copies, in float64.
BYTES_PER_PAIR = 32


@METHODS.register("dineof")
@dataclass(frozen=True, kw_only=True)
class DINEOFMethod(Method):
    r"""Fill a series of maps from its own EOFs.

    Missing values are replaced by the sum of the P leading modes of the filled series
    until they converge. P is the number of modes with the least error at withheld
    observations (Beckers and Rixen 2003, Alvera-Azcárate et al. 2005). Cells and dates
    with few observations are left out of the decomposition, and filled values stay near
    the range of the observations (see `xinverse.solvers.dineof`).

    Attributes
    ----------
    modes : int
        Largest number of modes.
    smooth : bool, optional
        Whether the amplitudes of the modes on a date also follow from the dates before
        and after, each as an autoregressive process (`xinverse.solvers.amplitudes`).
        Default: if that lowers the error at the withheld observations.
    withheld : {"points", "clouds"} or variable
        What is withheld to choose the number of modes: single values, the clouds of
        other dates, or your own observations: a boolean variable on the dimensions of
        the field, or its name.
    time_filter : (float, int), optional
        Diffusion in days squared and number of steps that smooth the temporal
        covariance, such as ``(0.01, 3)`` (Alvera-Azcárate et al. 2009). Default: none.
    min_observed : float
        Least share of dates at which a cell, and of cells in which a date, must be
        observed to enter the decomposition.
    tolerance : float
        Relative change, in standard deviations of the observations, that ends the iterations.
    iterations : int
        Largest number of iterations per number of modes.
    seed : int
        Seed of the withheld observations.
    background : float, optional
        Number (or variable, such as a climatology) that is subtracted first. Default:
        the mean of the observations.
    """

    name: ClassVar[str] = "dineof"
    companions: ClassVar[tuple[str, ...]] = ("background", "withheld")
    words: ClassVar[Mapping[str, tuple[str, ...]]] = {"withheld": ("points", "clouds")}
    summary: ClassVar[str] = "fixed point of leading EOFs, their number cross-validated"
    gives: ClassVar[tuple[str, ...]] = ("error",)
    metric: ClassVar[bool] = False
    bytes_per_cell: ClassVar[float] = 150

    modes: int = 40
    smooth: bool | None = None
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
        if self.smooth is not None:
            check_switch(smooth=self.smooth)
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
        """The whole series, and in space the largest tile that memory holds."""
        dates = layout.grid.time.size
        modes = min(self.modes, max(dates - 1, 1))
        return whole_series(
            layout.grid, self.bytes_per_cell + BYTES_PER_PAIR * modes**2 / dates, budget
        )

    def solve(self, problem: Problem, wanted: Wanted, device: Any) -> Estimate:
        """Filled maps of one tile, and their error."""
        import torch

        from xinverse.solvers.dineof import dineof
        from xinverse.solvers.withheld import withheld_points

        variable, keep, sea = problem.variable, problem.place.keep, problem.sea
        centred = anomalies(problem, self.background)
        observed = torch.from_numpy(problem.observed)
        own = problem.withheld.get(variable)
        if own is None:
            hidden = withheld_points(observed, seed=self.seed, shape=self.withheld)
        else:
            hidden = torch.from_numpy(own > 0)
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
                smooth=self.smooth,
            )
        mean = np.zeros(problem.y.shape)
        mean[:, sea] = found.state.cpu().numpy()
        estimate = Estimate({variable: centred.added(variable, mean[keep], keep)})
        if wanted.error:
            error = np.zeros(problem.y.shape)
            error[:, sea] = found.error.cpu().numpy()
            estimate.error[variable] = error[keep]
        return estimate
