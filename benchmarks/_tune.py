"""Choose options by a walk over a lattice: to the best neighbour until none is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Options = dict[str, Any]


def descend(
    score: Callable[[Options], float],
    lattice: Mapping[str, Sequence[Any]],
    start: Mapping[str, Any],
) -> tuple[Options, list[Options]]:
    """Find the options of the lowest score.

    Parameters
    ----------
    score : callable
        From options to a number.
    lattice : mapping of str to sequence
        Values of each option, in an order in which neighbours are alike.
    start : mapping
        Where to begin, on the lattice.

    Returns
    -------
    best : dict
        No single step on the lattice from here is better.
    trials : list of dict
        All that was tried, each with its ``score``.
    """
    tried: dict[tuple[int, ...], float] = {}

    def at(place: tuple[int, ...]) -> Options:
        return {n: v[k] for (n, v), k in zip(lattice.items(), place, strict=True)}

    def look(place: tuple[int, ...]) -> float:
        if place not in tried:
            tried[place] = score(at(place))
            print(f"  {at(place)}: {tried[place]:.5g}", flush=True)
        return tried[place]

    best = tuple(list(values).index(start[name]) for name, values in lattice.items())
    better = True
    look(best)
    while better:
        better = False
        for axis, values in enumerate(lattice.values()):
            for step in (-1, 1):
                place = list(best)
                place[axis] += step
                # On, in a direction that pays.
                while 0 <= place[axis] < len(values) and look(tuple(place)) < look(best):
                    best, better = tuple(place), True
                    place[axis] += step
    return at(best), [{**at(place), "score": found} for place, found in tried.items()]
