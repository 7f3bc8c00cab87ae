"""Hash of counters: random numbers that are a function of whole numbers only; arrays only."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

__all__ = ["chained", "mix", "uniform"]

# Odd constants with well-spread bits: of splitmix64, xxHash and xxHash.
_PRIMES = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)


def mix(z: np.ndarray) -> np.ndarray:
    """Splitmix64 (Steele, Lea and Flood 2014), on arrays.

    Parameters
    ----------
    z : ndarray of uint64
        Any shape.

    Returns
    -------
    ndarray of uint64
        Of the same shape: equal for equal numbers, and unrelated for all others.
    """
    with np.errstate(over="ignore"):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def chained(key: np.ndarray, numbers: Iterable[np.ndarray]) -> np.ndarray:
    """Hash of a key and at most three numbers, in their order.

    Parameters
    ----------
    key : ndarray of uint64
        Selects the family.
    numbers : iterable of ndarray of int64
        Broadcast against each other; negative ones count as modulo :math:`2^{64}`.

    Returns
    -------
    ndarray of uint64
    """
    state = mix(key)
    for number, prime in zip(numbers, _PRIMES, strict=False):
        with np.errstate(over="ignore"):
            state = mix(state ^ (number.astype(np.uint64) * np.uint64(prime)))
    return state


def uniform(hashes: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) from the upper 53 bits of hashes.

    Parameters
    ----------
    hashes : ndarray of uint64
        Any shape.

    Returns
    -------
    ndarray of float64
    """
    return np.asarray((hashes >> np.uint64(11)).astype(np.float64) / 2.0**53)
