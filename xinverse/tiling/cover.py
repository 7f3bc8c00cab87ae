"""Match the cells of a source to those of the state, on two different grids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xinverse.local_grid import cell_edges

__all__ = ["Cover", "cover"]

# Edges within this share of a cell are equal.
SAME_EDGE = 1e-3


@dataclass(frozen=True, eq=False)
class Cover:
    """For each cell of the state along an axis, the overlapping cells of the source.

    Attributes
    ----------
    first, last : ndarray of int
        First and last-plus-one cell of the source. On a periodic axis they are given for
        the state's cells ``-size`` to ``2 * size``, and may exceed the source's range.
    size : int
        Number of cells of the state.
    source_size : int
        Number of cells of the source.
    periodic : bool
        Whether the state's axis goes round the globe.
    """

    first: np.ndarray
    last: np.ndarray
    size: int
    source_size: int
    periodic: bool = False

    @classmethod
    def all_of(cls, count: int, size: int) -> Cover:
        """For an axis that belongs to no place: every tile reads all of it.

        Parameters
        ----------
        count : int
            Cells of the source.
        size : int
            Cells of the state.
        """
        ends = np.ones(3 * size, int)
        return cls(0 * ends, count * ends, size, count, periodic=True)

    def read(self, start: int, length: int) -> np.ndarray:
        """Cells of the source that overlap a range of the state's cells.

        Parameters
        ----------
        start : int
            First cell of the state; negative if a tile wraps.
        length : int
            Number of cells.
        """
        low = start + (self.size if self.periodic else 0)
        first = int(self.first[low : low + length].min())
        last = int(self.last[low : low + length].max())
        return np.arange(first, max(first, last)) % self.source_size


def cover(
    state: np.ndarray, source: np.ndarray, *, period: float | None = None, wraps: bool = False
) -> Cover:
    """Match two axes on the same line with different cells.

    Parameters
    ----------
    state, source : ndarray
        Centres of the cells, ascending or descending.
    period : float, optional
        Period of the source's axis, if it goes round the globe.
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
    if circle is not None:  # tiles that wrap see a region once per turn
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
