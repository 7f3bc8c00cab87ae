"""Greedy reduction of the posterior variance of optimal interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xinverse.sampling.base import DESIGNS, Design, Score
from xinverse.sampling.field_posterior import FieldPosterior
from xinverse.sampling.problem import SamplingProblem

__all__ = ["Variance"]


class _Gains:
    """What each place takes off the mean variance, given those taken before."""

    def __init__(self, problem: SamplingProblem) -> None:
        self._problem = problem
        self._posterior = FieldPosterior(problem)
        self._tracks = len(problem.constraints.tracks)
        # The gain of a place of one observation is known; of several, a bound is.
        self._single = not self._tracks and not (problem.fixed and problem.existing is not None)
        self.values = self._bounds()

    def _bounds(self) -> np.ndarray:
        if not self._tracks:
            return self._posterior.gain
        single, sea = self._posterior.gain, self._problem.sea
        tracks = self._problem.constraints.tracks.values()
        return np.array([float(single[track & sea].sum()) for track in tracks])

    def exact(self, place: int) -> float:
        """Gain of one place."""
        if self._single:
            return float(self.values.reshape(-1)[place])
        cells = self._problem.cells(place)
        gain = self._posterior.joint_gain(cells) if len(cells) else 0.0
        # What is found stays a bound: taking another place lowers it.
        self.values.reshape(-1)[place] = gain
        return gain

    def take(self, place: int) -> None:
        """Update all gains."""
        self._posterior.observe(self._problem.cells(place))
        fresh = self._bounds()
        self.values = fresh if self._single else np.minimum(self.values, fresh)


@DESIGNS.register("variance")
@dataclass(frozen=True, kw_only=True)
class Variance(Design):
    r"""Take the place that lowers the mean posterior variance most, again and again.

    The gains of all cells are updated exactly after each choice
    (`xinverse.sampling.posterior`), which costs a few products with the covariance. Stations
    beside other observations, and tracks, are several observations each: their joint gains
    are evaluated lazily, from the sum of the single ones as a bound (Minoux 1978).

    Sources: Bretherton, Davis and Fandry (1976); Krause, Singh and Guestrin (2008).
    """

    name: ClassVar[str] = "variance"
    summary: ClassVar[str] = "greedy reduction of the posterior variance"
    of_tracks: ClassVar[bool] = True

    def score(self, problem: SamplingProblem) -> Score:
        """Gains of all places.

        Parameters
        ----------
        problem : SamplingProblem
            The problem.
        """
        return _Gains(problem)
