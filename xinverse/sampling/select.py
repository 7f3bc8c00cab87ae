"""Take the best places that the constraints allow, one after another."""

from __future__ import annotations

import numpy as np

from xinverse.errors import OptionError
from xinverse.sampling.base import Score
from xinverse.sampling.problem import Platforms, SamplingProblem
from xinverse.sampling.rules import Rules

__all__ = ["select"]


def select(problem: SamplingProblem, score: Score) -> Rules:
    """Take places by their score until the budget is used up.

    The place of the largest score for its cost comes first. Platforms move through time:
    each takes the best cell that it can reach and from which the journey can go on.

    Parameters
    ----------
    problem : SamplingProblem
        With its constraints.
    score : Score
        Of the design; it is updated.

    Returns
    -------
    Rules
        With the places taken and the budget spent.

    Raises
    ------
    OptionError
        The constraints cannot be met. The text says by how much.
    """
    rules = Rules(problem)
    if problem.constraints.platforms is not None:
        _move(problem, score, rules, problem.constraints.platforms)
    else:
        while True:
            place = _best(score, rules.open(), rules.cost)
            if place is None:
                break
            rules.take(place)
            score.take(place)
    rules.require_complete()
    return rules


def _best(score: Score, opened: np.ndarray, cost: np.ndarray) -> int | None:
    """The open place of the largest score for its cost; bounds are made exact on the way.

    This is the lazy greedy choice (Minoux 1978): a place whose exact score is not below
    the bounds of all others is the best.
    """
    if not opened.any():
        return None
    worth = np.where(opened, score.values.reshape(-1) / cost, -np.inf)
    while True:
        place = int(worth.argmax())
        exact = score.exact(place) / cost[place]
        if exact >= worth[place]:
            return place
        worth[place] = exact


def _move(problem: SamplingProblem, score: Score, rules: Rules, platforms: Platforms) -> None:
    """Take one cell for each platform and time."""
    nt, ny, nx = problem.shape
    allowed = problem.constraints.allowed.reshape(nt, ny * nx)
    reach = platforms.speed * np.diff(problem.grid.time)
    lasting = _lasting(problem, allowed, reach)
    at: list[int | None] = [None] * platforms.number
    for time in range(nt):
        for k in range(platforms.number):
            near = np.zeros(ny * nx, dtype=bool)
            here = at[k]
            if time == 0 and platforms.start is not None:
                y, x = platforms.start[k]
                near[y * nx + x] = True
            elif here is None:
                near[:] = True
            else:
                near[problem.positions.within(here, reach[time - 1])] = True
            opened = np.zeros((nt, ny * nx), dtype=bool)
            opened[time] = near & lasting[time]
            place = _best(score, opened.reshape(-1) & rules.open(), rules.cost)
            if place is None:
                raise OptionError(_stuck(problem, platforms, rules, time, k, opened[time]))
            rules.take(place)
            score.take(place)
            at[k] = place % (ny * nx)


def _lasting(problem: SamplingProblem, allowed: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Cells from which a platform can go on to the last time, ``(nt, ny * nx)``."""
    lasting = allowed.copy()
    for time in range(len(allowed) - 2, -1, -1):
        following = np.nonzero(lasting[time + 1])[0]
        if not np.array_equal(lasting[time] & lasting[time + 1], lasting[time]):
            lasting[time] &= problem.positions.reaches(following, float(reach[time]))
    return lasting


def _stuck(
    problem: SamplingProblem,
    platforms: Platforms,
    rules: Rules,
    time: int,
    number: int,
    near: np.ndarray,
) -> str:
    done, wanted = len(rules.taken), platforms.number * problem.shape[0]
    why = "all cells that it can reach are forbidden, taken or too near another platform"
    if time == 0 and platforms.start is not None and not near.any():
        why = "its start is on land, forbidden, or leads to no allowed cell later"
    return (
        f"platforms: number {number} has no cell at time step {time}: {why}. {done} of "
        f"{wanted} observations were placed, {wanted - done} are missing. Give a higher "
        "speed, another start, a smaller spacing or fewer forbidden cells."
    )
