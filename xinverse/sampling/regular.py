"""A regular lattice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xinverse.checks import check_count
from xinverse.errors import OptionError
from xinverse.sampling.base import DESIGNS, Design, Score
from xinverse.sampling.field_posterior import FieldPosterior
from xinverse.sampling.problem import SamplingProblem
from xinverse.sampling.rules import Rules

__all__ = ["Regular"]


class _Lattice:
    """The points of a lattice first, then the places farthest from all that were taken."""

    def __init__(self, problem: SamplingProblem, lattice: np.ndarray) -> None:
        self._positions = problem.positions
        self._lattice = lattice.reshape(problem.shape[0], -1)
        self._nearest = np.full(self._lattice.shape, np.inf)
        self._all = np.arange(self._lattice.shape[1])
        self.values = self._worth()

    def _worth(self) -> np.ndarray:
        # Distances over the globe are below 3e4 km.
        far = np.minimum(self._nearest, 3e4)
        return far + np.where(self._lattice, 1e6, 0.0)

    def exact(self, place: int) -> float:
        """Worth of a place."""
        return float(self.values.reshape(-1)[place])

    def take(self, place: int) -> None:
        """Update the distances of the same time."""
        time, cell = divmod(place, self._lattice.shape[1])
        distance = self._positions.distance(cell, self._all)
        np.minimum(self._nearest[time], distance, out=self._nearest[time])
        self.values = self._worth()


@DESIGNS.register("regular")
@dataclass(frozen=True, kw_only=True)
class Regular(Design):
    """A square lattice of the budget; of its offsets, the one of the least expected error.

    The spacing is the widest, in km, at which the lattice has as many allowed points as the
    budget asks for. Points that are too many are left out, the most crowded first: points
    are taken in the order of their distance to those taken before. The lattices of
    successive times are shifted against each other.

    Attributes
    ----------
    offsets : int
        Offsets that are tried along each axis.
    """

    name: ClassVar[str] = "regular"
    summary: ClassVar[str] = "a lattice, the best of its offsets"

    offsets: int = 4

    def __post_init__(self) -> None:
        """Check the number of offsets."""
        check_count("offsets", self.offsets)

    def score(self, problem: SamplingProblem) -> Score:
        """The lattice of the best offset.

        Parameters
        ----------
        problem : SamplingProblem
            The problem.
        """
        if problem.constraints.platforms is not None:
            raise OptionError(
                "method='regular' does not move platforms. Use method='variance', 'learned' "
                "or 'random'."
            )
        from xinverse.sampling.select import select

        number = self._number(problem)
        best, least = None, np.inf
        for fraction in np.ndindex(self.offsets, self.offsets):
            lattice = self._lattice(problem, number, fraction)
            rules = select(problem, _Lattice(problem, lattice))
            left = _expected(problem, rules)
            if left < least:
                best, least = lattice, left
        if best is None:
            raise ArithmeticError("The expected error of no lattice is a number.")
        return _Lattice(problem, best)

    def priority(self, score: Score) -> np.ndarray:
        """One at the points of the lattice, zero elsewhere.

        Parameters
        ----------
        score : Score
            As made by `score`.
        """
        return np.asarray(score.values >= 1e6, dtype=np.float64)

    @staticmethod
    def _number(problem: SamplingProblem) -> int:
        """Points for one map."""
        constraints = problem.constraints
        rules = Rules(problem)
        price = float(rules.cost[rules.open()].mean())
        return max(1, round(constraints.budget / price / problem.shape[0]))

    def _lattice(
        self, problem: SamplingProblem, number: int, fraction: tuple[int, ...]
    ) -> np.ndarray:
        """Points of a lattice, ``(nt, ny, nx)``, of a spacing such that the number fits."""
        grid, allowed = problem.grid, problem.constraints.allowed
        dy, dx = grid.spacing_km
        counts = allowed.reshape(len(allowed), -1).sum(1)
        share = number / max(int(counts.max()), 1)
        step = np.sqrt(abs(dy * dx) / share)  # km between points
        for _ in range(40):
            lattice = self._points(problem, step, fraction)
            if int((lattice & allowed)[counts.argmax()].sum()) >= number:
                break
            step *= 0.97
        return lattice & allowed

    def _points(
        self, problem: SamplingProblem, step: float, fraction: tuple[int, ...]
    ) -> np.ndarray:
        grid = problem.grid
        nt, ny, nx = problem.shape
        dy, dx = grid.spacing_km
        lattice = np.zeros((nt, ny, nx), dtype=bool)
        for time in range(nt):
            # Successive times lie half a step apart, in turn along x, y and both.
            shift = np.array([(time // 2) % 2, time % 2]) / 2
            start = (np.array(fraction) + 0.5) / self.offsets + shift
            rows = _nearest(start[0] * step / dy, step / dy, ny)
            for row in rows:
                narrow = 1.0
                if grid.geographic:
                    middle = 0.5 * (grid.y.min() + grid.y.max())
                    narrow = max(np.cos(np.deg2rad(grid.y[row])), 1e-3) / max(
                        np.cos(np.deg2rad(middle)), 1e-3
                    )
                across = step / (dx * narrow)
                lattice[time, row, _nearest(start[1] * across, across, nx)] = True
        return lattice


def _nearest(start: float, step: float, size: int) -> np.ndarray:
    """Cells nearest to ``start, start + step, ...`` from the first of them in the grid."""
    step = max(step, 1.0)
    first = start % step
    return np.unique(np.round(np.arange(first, size - 0.5, step)).astype(int))


def _expected(problem: SamplingProblem, rules: Rules) -> float:
    """Mean posterior variance over the sea that a choice leaves."""
    posterior = FieldPosterior(problem)
    posterior.observe(
        np.concatenate([problem.cells(place) for place in rules.taken]), gains=False
    )
    return float(posterior.variance[:, problem.sea].mean())
