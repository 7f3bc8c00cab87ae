"""Which of several maps is best, from their squared errors in groups; arrays only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "judge"]

FEWEST = 6  # groups, below which nothing is said
_DRAWS = 2000  # of the bootstrap
_CERTAIN = 0.95

Floats = NDArray[np.floating]


def judge(
    squares: Mapping[str, Floats],
    groups: NDArray[np.integer],
    cpu: Mapping[str, float],
    *,
    seed: int = 0,
) -> tuple[str, dict[str, float]]:
    """Return the method to take in words, and how often each is best.

    Errors within a group are correlated, so whole groups are drawn in the bootstrap.

    Parameters
    ----------
    squares : mapping of str to ndarray, shape (n,)
        Squared errors of each method at the same observations.
    groups : ndarray of int, shape (n,)
        Number of the group of each observation.
    cpu : mapping of str to float
        CPU seconds of each method: the cheapest of equal ones is named.
    seed : int
        Of the bootstrap.

    Returns
    -------
    str
        The method to take, or why nothing can be said.
    dict of str to float
        Share of the bootstrap samples in which each method has the least mean square.
    """
    number = int(groups.max()) + 1 if groups.size else 0
    if not squares:
        return "Nothing can be said: no method made a map.", {}
    few = (
        f"Nothing can be said: {number} groups of observations were withheld and mapped, and "
        f"{FEWEST} are needed. Give more data, a larger repeats= or share=, or smaller block=."
    )
    if not number:
        return few, {}
    sums = {label: np.bincount(groups, one) for label, one in squares.items()}
    random = np.random.default_rng([seed % 2**63, number])
    draws = random.multinomial(number, np.full(number, 1 / number), size=_DRAWS)
    totals = {label: (draws @ one).astype(np.float64) for label, one in sums.items()}
    wins = np.bincount(np.argmin(list(totals.values()), axis=0), minlength=len(sums)) / _DRAWS
    best = dict(zip(sums, map(float, wins), strict=True))
    if number < FEWEST:
        return few, best
    first, *others = sorted(sums, key=lambda label: float(sums[label].sum()))
    if not others:
        return f"{first} is the only method that could be scored.", best
    equal, gains = [first], []
    for other in others:
        ratio = _less(totals[first], totals[other])
        low, high = np.quantile(ratio, [(1 - _CERTAIN) / 2, (1 + _CERTAIN) / 2])
        if low <= 0:
            equal.append(other)
        gain = float(_less(sums[first].sum(), sums[other].sum()))
        gains.append(f"{gain:.0f} % below that of {other} ({low:.0f} to {high:.0f} %)")
    detail = f"{', '.join(gains)}; in brackets, 95 % intervals."
    if len(equal) == 1:
        return f"Take {first}. Its mean-square difference is {detail}", best
    cheapest = min(equal, key=lambda label: cpu[label])
    return (
        f"No difference can be shown between {', '.join(equal)}. Take {cheapest}, the cheapest "
        f"of them. The mean-square difference of {first} is {detail}"
    ), best


def _less(one: Floats, other: Floats) -> Floats:
    """By how many per cent one sum is below another; zero if both are zero."""
    ratio = np.divide(one, other, out=np.ones_like(other, dtype=float), where=other > 0)
    return np.asarray(100 * (1 - ratio))
