"""Tiles along one axis: cores, cells read, part kept."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

__all__ = ["AxisPlan"]


@dataclass(frozen=True)
class AxisPlan:
    """Tiles along one axis.

    Attributes
    ----------
    size : int
        Number of cells.
    count : int
        Number of tiles.
    halo : int
        Cells on each side of a core.
    periodic : bool
        Whether the last cell is next to the first.
    """

    size: int
    count: int
    halo: int
    periodic: bool = False

    @cached_property
    def edges(self) -> tuple[int, ...]:
        """Bounds of the cores, ``count + 1`` numbers."""
        return tuple(round(k * self.size / self.count) for k in range(self.count + 1))

    @property
    def core(self) -> int:
        """Length of the longest core, in cells."""
        return -(-self.size // self.count)

    @property
    def length(self) -> int:
        """Length of a tile, in cells, halo included."""
        whole = self.core + 2 * self.halo
        return whole if self.periodic else min(whole, self.size)

    @cached_property
    def ramp(self) -> int:
        """Half-width of the blend around an edge between cores, at most half a core."""
        shortest = min(end - begin for begin, end in pairwise(self.edges))
        return min(self.halo // 2, shortest // 2)

    def start(self, k: int) -> int:
        """First cell of tile ``k``; negative where the halo wraps."""
        middle = self.edges[k] - self.halo
        if self.periodic:
            return middle
        return max(0, min(middle, self.size - self.length))

    def read(self, k: int) -> np.ndarray:
        """Cells on which tile ``k`` is solved, in its order."""
        cells = np.arange(self.start(k), self.start(k) + self.length)
        return cells % self.size if self.periodic else cells

    def keep(self, k: int) -> slice:
        """The part of tile ``k`` that is blended: its core and the adjacent ramps."""
        first, last = self.edges[k] - self.ramp, self.edges[k + 1] + self.ramp
        if not self.periodic:
            first, last = max(first, 0), min(last, self.size)
        return slice(first - self.start(k), last - self.start(k))

    def overlapping(self, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Tiles whose kept part overlaps the cells ``begin`` to ``end``.

        Yields
        ------
        tile, first, last, offset : int
            Cells ``first`` to ``last`` of the axis come from tile ``tile``, starting at
            ``first + offset`` in its kept part.
        """
        for image in (-self.size, 0, self.size) if self.periodic else (0,):
            # Search only the nearby tiles: an axis may have thousands.
            one = max(bisect_right(self.edges, begin - image - self.ramp) - 1, 0)
            beyond = min(bisect_left(self.edges, end - image + self.ramp), self.count)
            for k in range(one, beyond):
                keep, start = self.keep(k), self.start(k) + image
                low = start + keep.start
                first, last = max(begin, low), min(end, start + keep.stop)
                if first < last:
                    yield k, first, last, -low
