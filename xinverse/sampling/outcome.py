"""Run a design, and say what error it leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xinverse.errors import DataError, OptionError
from xinverse.sampling.base import Design
from xinverse.sampling.field_posterior import FieldPosterior
from xinverse.sampling.problem import SamplingProblem
from xinverse.sampling.select import select

__all__ = ["Outcome", "run_design"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """A design in numbers.

    Attributes
    ----------
    sampling : ndarray of bool
        The cells to observe, in the shape of the design.
    order : ndarray of int
        1 for the cell that was chosen first, and so on; 0 where nothing is observed.
    priority : ndarray
        From 0 to 1, what an observation is worth before any is made; None for tracks.
    error_before, error_after : ndarray
        Expected error, one standard deviation, NaN on land. For stations ``(ny, nx)``,
        root mean square over the times.
    mean_before, mean_after : float
        Its root mean square over the sea.
    spent : float
        Budget used.
    chosen : list of str
        Tracks that were chosen, in order.
    """

    sampling: np.ndarray
    order: np.ndarray
    priority: np.ndarray | None
    error_before: np.ndarray
    error_after: np.ndarray
    mean_before: float
    mean_after: float
    spent: float
    chosen: list[str]


def run_design(problem: SamplingProblem, design: Design) -> Outcome:
    """Choose the places, and compute the expected error before and after.

    Parameters
    ----------
    problem : SamplingProblem
        The problem.
    design : Design
        What each place is worth.

    Raises
    ------
    OptionError
        The constraints cannot be met, or the design does not serve them.
    DataError
        The design needs complete maps, and the sample has gaps.
    """
    constraints = problem.constraints
    if constraints.tracks and not design.of_tracks:
        raise OptionError(
            f"method={design.name!r} does not choose among tracks: use method='variance' or "
            "'random'."
        )
    missing = float(np.isnan(problem.windows[..., problem.sea]).mean())
    if design.needs_maps and missing > 0:
        raise DataError(
            f"method={design.name!r} learns from complete maps, and {missing:.1%} of the sea "
            "has no value. Give archive= with complete maps (a model or L4), or use "
            "method='variance'."
        )
    score = design.score(problem)
    priority = None if constraints.tracks else design.priority(score).reshape(problem.shape)
    rules = select(problem, score)
    sampling = np.zeros(problem.grid.shape if constraints.tracks else problem.shape, bool)
    order = np.zeros(sampling.shape, dtype=np.int32)
    posterior = FieldPosterior(problem)
    before = posterior.variance.copy()
    for rank, place in enumerate(rules.taken, 1):
        cells = problem.cells(place)
        at = tuple(cells[:1].T) if problem.fixed else tuple(cells.T)
        sampling[at] = True
        order[at] = np.where(order[at] == 0, rank, order[at])
    cells = np.argwhere(sampling)
    if problem.fixed:
        cells = np.concatenate([problem.cells(place) for place in rules.taken])
    posterior.observe(cells, gains=False)
    after = posterior.variance
    names = list(constraints.tracks)
    return Outcome(
        sampling=sampling,
        order=order,
        priority=priority,
        error_before=_error(before, problem),
        error_after=_error(after, problem),
        mean_before=float(np.sqrt(before[:, problem.sea].mean())),
        mean_after=float(np.sqrt(after[:, problem.sea].mean())),
        spent=rules.spent,
        chosen=[names[place] for place in rules.taken] if names else [],
    )


def _error(variance: np.ndarray, problem: SamplingProblem) -> np.ndarray:
    return np.where(problem.sea, np.sqrt(np.maximum(variance, 0.0)), np.nan)
