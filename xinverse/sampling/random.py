"""Places at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xinverse.checks import check_count
from xinverse.sampling.base import DESIGNS, Design, Score, StaticScore
from xinverse.sampling.problem import SamplingProblem

__all__ = ["Random"]


@DESIGNS.register("random")
@dataclass(frozen=True, kw_only=True)
class Random(Design):
    """Every allowed place is as likely as another.

    Attributes
    ----------
    seed : int
        Seed of the draw.
    """

    name: ClassVar[str] = "random"
    summary: ClassVar[str] = "places at random"
    of_tracks: ClassVar[bool] = True

    seed: int = 0

    def __post_init__(self) -> None:
        """Check the seed."""
        check_count("seed", self.seed, least=0)

    def score(self, problem: SamplingProblem) -> Score:
        """Uniform numbers; with costs, a number for each unit of cost.

        Parameters
        ----------
        problem : SamplingProblem
            The problem.
        """
        constraints = problem.constraints
        shape = (len(constraints.tracks),) if constraints.tracks else problem.shape
        drawn = np.random.default_rng(self.seed).random(shape)
        cost = constraints.cost
        # The choice divides by the cost: without it, the order would favour cheap places.
        return StaticScore(drawn if cost is None else drawn * cost.reshape(shape))
