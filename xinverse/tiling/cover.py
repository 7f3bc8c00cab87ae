"""Which cells of a source a tile of the state reads, where the two grids differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Cover", "cell_edges", "cover"]

# Edges that agree to this share of a cell count as one edge.
SAME_EDGE = 1e-3


@dataclass(frozen=True, eq=False)
class Cover:
    """For each cell of the state along an axis, the source's cells that overlap it.

    Attributes
    ----------
    first, last : ndarray of int
        First and last-plus-one cell of the source. On a periodic axis they belong to the
        state's cells ``-size`` to ``2 * size``, and count on beyond the source's ends.
    size : int
        Cells of the state.
    source_size : int
        Cells of the source.
    periodic : bool
        Whether the state's axis goes round the globe.
    """

    first: np.ndarray
    last: np.ndarray
    size: int
    source_size: int
    periodic: bool = False

    def read(self, start: int, length: int) -> np.ndarray:
        """Cells of the source that a run of the state's cells overlaps.

        Parameters
        ----------
        start : int
            First cell of the state; negative if a tile wraps.
        length : int
            How many.
        """
        low = start + (self.size if self.periodic else 0)
        first = int(self.first[low : low + length].min())
        last = int(self.last[low : low + length].max())
        return np.arange(first, max(first, last)) % self.source_size


def cell_edges(centres: np.ndarray) -> np.ndarray:
    """Edges of the cells of an ascending axis: halfway between, as far beyond the ends.

    Parameters
    ----------
    centres : ndarray, shape (n,)
        At least two.
    """
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate(
        [[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]]
    )


def cover(
    state: np.ndarray, source: np.ndarray, *, period: float | None = None, wraps: bool = False
) -> Cover:
    """Match two axes that describe the same line in cells of different size.

    Parameters
    ----------
    state, source : ndarray
        Centres of the cells; either may descend.
    period : float, optional
        Length after which the source's axis repeats, if it goes round the globe.
    wraps : bool
        Whether the state's axis goes round the globe.
    """
    up = state if state[0] < state[-1] else state[::-1]
    there = source if source[0] < source[-1] else source[::-1]
    edges, bounds = cell_edges(up), cell_edges(there)
    size, count = state.size, source.size
    low, high = bounds[:-1], bounds[1:]
    tolerance = SAME_EDGE * float(np.diff(bounds).min())
    circle = float(edges[-1] - edges[0]) if wraps and period is None else period
    if circle is not None:  # a region under tiles that wrap lies there once in each turn
        low, high = (
            np.concatenate([edge + turn * circle for turn in range(-3, 4)])
            for edge in (low, high)
        )
    if wraps:
        edges = np.concatenate([edges[:-1] - circle, edges[:-1], edges + circle])
    first = np.searchsorted(high, edges[:-1] + tolerance, side="right")
    last = np.searchsorted(low, edges[1:] - tolerance, side="left")
    if circle is not None:
        first, last = first - 3 * count, last - 3 * count
    if source[0] > source[-1]:
        first, last = count - last, count - first
    if state[0] > state[-1]:
        first, last = first[::-1], last[::-1]
    return Cover(first, last, size, count, wraps)
