"""A mask that is learned jointly with the interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xinverse.checks import check_count, check_number
from xinverse.errors import OptionError
from xinverse.methods.tile_statistics import local_km
from xinverse.sampling.base import DESIGNS, Design, Score, StaticScore
from xinverse.sampling.problem import SamplingProblem
from xinverse.sampling.select import select
from xinverse.sampling.variance import Variance

__all__ = ["Learned"]

# Cells of a window, with their times: the products of the training are dense.
MOST_CELLS = 20_000

# The first logits favour the places of the variance design by so much.
HEAD_START = 3.0


@DESIGNS.register("learned")
@dataclass(frozen=True, kw_only=True)
class Learned(Design):
    r"""The places that map a sample of the field best, by gradient descent.

    .. math::

        \min_{\theta, L, T, r} \; E_m \| \hat x(y, m; L, T, r) - x \|^2, \qquad
        m = \operatorname{top\,k}(\theta + \tau G)

    over windows of the sample, with the posterior mean of optimal interpolation
    (`xinverse.sampling.sampler`). The start is the design of ``method="variance"``; the
    temperature falls as :math:`\tau = 3 e^{-s / 0.4} + 0.2` with the share s of the steps.

    Attributes
    ----------
    steps : int
        Steps of the training.
    rate : float
        Learning rate of the logits (Adam); of the scales, a tenth of it.
    batch : int
        Windows in a step.
    seed : int
        Seed of windows, noise and masks.
    """

    name: ClassVar[str] = "learned"
    summary: ClassVar[str] = "a mask learned jointly with the interpolation"
    needs_maps: ClassVar[bool] = True

    steps: int = 300
    rate: float = 0.1
    batch: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every option."""
        for name in ("steps", "batch"):
            check_count(name, getattr(self, name))
        check_count("seed", self.seed, least=0)
        check_number("rate", self.rate, above=0)

    def score(self, problem: SamplingProblem) -> Score:
        """The logits, as probabilities.

        Parameters
        ----------
        problem : SamplingProblem
            With complete maps in its sample, without existing observations.

        Raises
        ------
        OptionError
            There are existing observations, or too many cells.
        """
        from xinverse.sampling.sampler import LearnedScales, train_logits

        sea, prior, grid = problem.sea, problem.prior, problem.grid
        times, cells = grid.time.size, int(sea.sum())
        if problem.existing is not None:
            raise OptionError(
                "method='learned' does not take existing=: use method='variance'."
            )
        if times * cells > MOST_CELLS:
            raise OptionError(
                f"method='learned' solves dense systems, and a window has {times * cells} "
                f"cells, {times * cells - MOST_CELLS} more than it can. Coarsen the field, "
                "select fewer times, or use method='variance'."
            )
        rules = select(problem, Variance().score(problem))
        first = np.zeros(problem.shape)
        first.reshape(-1)[rules.taken] = HEAD_START
        first = np.where(problem.constraints.allowed, first, -np.inf)[:, sea]
        y, x = local_km(grid)
        space = np.stack([a[sea] for a in np.meshgrid(y, x, indexing="ij")], axis=1)
        points = np.concatenate(
            [np.column_stack([np.full(cells, t), space]) for t in grid.time]
        )
        logits = train_logits(
            problem.windows[..., sea],
            points,
            np.tile(prior.deviation[sea], times),
            first,
            max(1, round(len(rules.taken) / problem.shape[0])),
            LearnedScales(prior.length_scale, prior.time_scale, prior.noise),
            kernels=(prior.covariance, prior.temporal),
            steps=self.steps,
            rate=self.rate,
            batch=self.batch,
            seed=self.seed,
        )
        values = np.zeros(problem.shape)
        values[:, sea] = 1 / (1 + np.exp(-np.clip(logits - HEAD_START, -500, 500)))
        return StaticScore(values)
