"""Limit the distance from observations at which maps have values."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from xinverse.checks import check_number
from xinverse.fields.grid import Grid
from xinverse.methods.footprint import correlation_halo
from xinverse.methods.problem import Problem
from xinverse.methods.tile_statistics import local_km

__all__ = ["Limit"]

ROUNDING = 1e-9  # so that an observation at the limit counts


@dataclass(frozen=True)
class Limit:
    """Largest distances from an observation; cells beyond stay NaN.

    Attributes
    ----------
    distance : float, optional
        In km. Default: zero, if ``gap`` is given.
    gap : float, optional
        In days. Default: zero, if ``distance`` is given.
    """

    distance: float | None = None
    gap: float | None = None

    def __post_init__(self) -> None:
        """Require positive numbers."""
        if self.distance is not None:
            check_number("max_distance", self.distance, above=0)
        if self.gap is not None:
            check_number("max_gap", self.gap, above=0)

    def halo(self, grid: Grid) -> tuple[int, int, int]:
        """Cells around a tile along (time, y, x) in which observations count.

        Parameters
        ----------
        grid : Grid
            The whole grid.
        """
        _, y, x = correlation_halo(grid, 0.5 * (self.distance or 0.0), 0.0)
        steps = np.diff(grid.time)
        shortest = float(steps.min()) if steps.size else 1.0
        return ceil((self.gap or 0.0) / shortest), y, x

    def reached(self, problem: Problem) -> np.ndarray:
        """Return the cells of the kept part with an observation within the limit.

        Parameters
        ----------
        problem : Problem
            A tile with sources on the state's own cells.

        Returns
        -------
        ndarray of bool, shape of the kept part
        """
        from scipy.spatial import cKDTree

        observed = np.zeros(problem.grid.shape, bool)
        for source in problem.sources:
            observed |= source.observed
        days, (t, y, x) = problem.grid.time, problem.place.keep
        near = np.abs(days[t, None] - days) <= (self.gap or 0.0) + ROUNDING
        seen = np.stack([observed[row].any(0) for row in near])
        if self.distance is None:
            return seen[:, y, x]
        km_y, km_x = local_km(problem.grid)
        cells = np.stack(np.meshgrid(km_y, km_x, indexing="ij"), -1)
        kept = cells[y, x]
        reached = np.zeros((len(seen), *kept.shape[:2]), bool)
        for time, one in enumerate(seen):
            if one.any():
                limit = self.distance * (1 + ROUNDING)
                apart, _ = cKDTree(cells[one]).query(kept, distance_upper_bound=limit)
                reached[time] = np.isfinite(apart)
        return reached
