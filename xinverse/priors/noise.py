"""White noise that depends on the cell of the grid only, not on the tile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xinverse.counter_hash import chained, mix, uniform

__all__ = ["white_noise"]


def white_noise(
    seed: int,
    member: int,
    cells: Sequence[np.ndarray],
    margins: Sequence[int] | None = None,
    *,
    period: int | None = None,
    stream: int = 0,
) -> np.ndarray:
    """Standard normal numbers, each a function of its cell only.

    Two tiles draw the same noise in the cells that they share, so their samples
    agree and can be blended without losing variance.

    Parameters
    ----------
    seed, member : int
        Select the field of noise.
    cells : sequence of ndarray
        Numbers of the cells along each axis: combined as an outer product
        where ``margins`` is given, element by element otherwise.
    margins : sequence of int, optional
        Number of cells to add at both ends of each axis.
    period : int, optional
        Number of cells along the last axis after which the noise repeats, for a grid
        that goes round the globe.
    stream : int
        Fields of different streams are independent.

    Returns
    -------
    ndarray of float64
    """
    numbers: list[np.ndarray] = []
    for k, axis in enumerate(cells):
        values: np.ndarray = np.asarray(axis, dtype=np.int64)
        if margins is not None:
            m = margins[k]
            before = values[0] - np.arange(m, 0, -1)
            after = values[-1] + np.arange(1, m + 1)
            values = np.concatenate([before, values, after])
            shape = [1] * len(cells)
            shape[k] = -1
            values = np.reshape(values, shape)
        if period is not None and k == len(cells) - 1:
            values = values % period
        numbers.append(values)
    with np.errstate(over="ignore"):
        key = np.uint64(seed % 2**32) + np.uint64(2**32) * np.uint64(member + 4096 * stream)
        state = chained(np.asarray(key), numbers)
        first, second = mix(state + np.uint64(1)), mix(state + np.uint64(2))
    # Box and Muller (1958); the half keeps the logarithm finite.
    radius = np.sqrt(-2 * np.log(uniform(first) + 2.0**-54))
    return radius * np.cos(2 * np.pi * uniform(second))
