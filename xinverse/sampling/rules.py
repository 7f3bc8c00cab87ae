"""The constraints of a design while its places are taken, one after another."""

from __future__ import annotations

from math import fsum

import numpy as np

from xinverse.errors import OptionError
from xinverse.sampling.problem import SamplingProblem

__all__ = ["Rules"]


class Rules:
    """Which places may still be taken.

    Parameters
    ----------
    problem : SamplingProblem
        With its constraints.

    Raises
    ------
    OptionError
        The constraints cannot be met, whatever is chosen.

    Attributes
    ----------
    taken : list of int
        Places in the order in which they were taken, as numbers in the flattened design.
    """

    def __init__(self, problem: SamplingProblem) -> None:
        constraints = problem.constraints
        self._problem = problem
        self._limit = float(constraints.budget)
        self._counts = constraints.cost is None
        self.taken: list[int] = []
        if constraints.tracks:
            self._open = np.ones(len(constraints.tracks), dtype=bool)
        else:
            self._open = constraints.allowed.reshape(-1).copy()
        cost = constraints.cost
        self.cost = np.ones(self._open.size) if cost is None else cost.reshape(-1).astype(float)
        self._spent: list[list[float]] = [[]]
        self._limits = [self._limit]
        if constraints.even and problem.shape[0] > 1:
            self._limits = self._shares(problem.shape[0])
            self._spent = [[] for _ in self._limits]
        self._check()

    def _shares(self, times: int) -> list[float]:
        """The budget of each time step; whole numbers if it counts places."""
        if not self._counts:
            return [self._limit / times] * times
        base, more = divmod(int(self._limit), times)
        # Spread over the series, not bunched at its start.
        extra = np.diff(np.floor(np.arange(times + 1) * more / times))
        return [base + float(e) for e in extra]

    def _check(self) -> None:
        room = int(self._open.sum())
        if not room:
            raise OptionError(
                "No place is allowed: land, forbidden areas and existing observations cover "
                "all cells. Give a smaller forbidden= or another mask=."
            )
        if self._counts and self._limit > room:
            what = "tracks" if self._problem.constraints.tracks else "places"
            raise OptionError(
                f"budget: {self._limit:g} {what} are wanted and {room} are allowed, "
                f"{self._limit - room:g} fewer. Lower the budget or allow more."
            )
        cheapest = float(self.cost[self._open].min())
        most = max(self._limits)
        if cheapest > most:
            each = " for each time step" if len(self._limits) > 1 else ""
            raise OptionError(
                f"budget: the cheapest place costs {cheapest:g} and the budget{each} is "
                f"{most:g}, {cheapest - most:g} too little."
            )

    def _share_of(self, place: int) -> int:
        return place // (self._open.size // len(self._limits))

    def open(self) -> np.ndarray:
        """Which places may be taken next, flattened."""
        affordable = self._open.copy()
        if self._counts and len(self._limits) == 1:
            return affordable if len(self.taken) < self._limit else np.zeros_like(affordable)
        view = affordable.reshape(len(self._limits), -1)
        cost = self.cost.reshape(len(self._limits), -1)
        left = [limit - fsum(s) for limit, s in zip(self._limits, self._spent, strict=True)]
        view &= cost <= np.array(left)[:, None]
        return affordable

    def take(self, place: int) -> None:
        """Take a place, and close those that are too near.

        Parameters
        ----------
        place : int
            Number in the flattened design.
        """
        self.taken.append(place)
        self._open[place] = False
        self._spent[self._share_of(place)].append(float(self.cost[place]))
        constraints = self._problem.constraints
        if constraints.spacing and not constraints.tracks:
            view = self._open.reshape(self._problem.shape[0], -1)
            time, cell = divmod(place, view.shape[1])
            view[time, self._problem.positions.closer(cell, constraints.spacing)] = False

    @property
    def spent(self) -> float:
        """Budget used so far."""
        return fsum(price for share in self._spent for price in share)

    def require_complete(self) -> None:
        """Require that a budget of places was used up.

        Raises
        ------
        OptionError
            Fewer places were found; the text says how many.
        """
        if not self._counts or len(self.taken) == int(self._limit):
            return
        missing = int(self._limit) - len(self.taken)
        constraints = self._problem.constraints
        why = f"spacing={constraints.spacing:g} km" if constraints.spacing else "the time steps"
        raise OptionError(
            f"budget: {int(self._limit)} places are wanted and {why} left room for "
            f"{len(self.taken)}, {missing} fewer. Lower the budget, or the spacing, or allow "
            "more cells."
        )
