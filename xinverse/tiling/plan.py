"""Cut a grid into tiles: geometry only, without arrays or dask.

A tile is a core with a halo around it. The cores partition the axis. Each tile is
solved on core and halo; its core and the ``ramp`` around it (the inner half of the
halo) are blended with the neighbours. All tiles of an axis have the same length: at
the edges of the grid they are shifted inward, and on a periodic axis the halo wraps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from xinverse.errors import TileError
from xinverse.tiling.axis import AxisPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes as PlotAxes

__all__ = ["Plan", "Tile", "plan"]

Index = tuple[int, int, int]


@dataclass(frozen=True)
class Tile:
    """One tile: the cells that it is solved on, and the part that is kept.

    Parameters
    ----------
    index : tuple of int
        Position in the plan, along (time, y, x).
    start : tuple of int
        First cell along each axis; negative if the halo wraps.
    read : tuple of ndarray
        Cells of the grid along each axis.
    keep : tuple of slice
        The part of the tile that is blended.
    """

    index: Index
    start: Index
    read: tuple[np.ndarray, np.ndarray, np.ndarray]
    keep: tuple[slice, slice, slice]


@dataclass(frozen=True)
class Plan:
    """Tiles over (time, y, x).

    Parameters
    ----------
    axes : tuple of AxisPlan
        Along (time, y, x).
    reason : str
        Explanation of the tile sizes.
    """

    axes: tuple[AxisPlan, AxisPlan, AxisPlan]
    reason: str = ""

    @property
    def counts(self) -> Index:
        """Number of tiles along (time, y, x)."""
        t, y, x = self.axes
        return t.count, y.count, x.count

    @property
    def shape(self) -> Index:
        """Cells per tile along (time, y, x), halo included."""
        t, y, x = self.axes
        return t.length, y.length, x.length

    @property
    def size(self) -> int:
        """Number of tiles."""
        return int(np.prod(self.counts))

    @property
    def overhead(self) -> float:
        """Number of cells solved per cell of the grid; 1 for one tile."""
        solved = self.size * float(np.prod(self.shape))
        return solved / float(np.prod([a.size for a in self.axes]))

    def tile(self, index: Index) -> Tile:
        """Return the tile at a position along (time, y, x).

        Parameters
        ----------
        index : tuple of int
            The position.

        Returns
        -------
        Tile
            Its cells and kept part.
        """
        pairs = list(zip(self.axes, index, strict=True))
        start = tuple(a.start(k) for a, k in pairs)
        read = tuple(a.read(k) for a, k in pairs)
        keep = tuple(a.keep(k) for a, k in pairs)
        return Tile(index, start, read, keep)  # type: ignore[arg-type]  # three of each

    def indices(self) -> Iterator[Index]:
        """Positions of all tiles, time slowest.

        Returns
        -------
        iterator of tuple of int
            Along (time, y, x).
        """
        t, y, x = map(range, self.counts)
        return product(t, y, x)

    def tiles(self) -> Iterator[Tile]:
        """All tiles, time slowest.

        Returns
        -------
        iterator of Tile
            In the order of `indices`.
        """
        return map(self.tile, self.indices())

    def misfit(self, chunks: tuple[tuple[int, ...], ...]) -> float:
        """How often a chunk is read, on average.

        Parameters
        ----------
        chunks : tuple of tuple of int
            Chunk lengths along (time, y, x), as dask gives them.

        Returns
        -------
        float
            1 if every chunk feeds one tile.
        """
        touched = 1.0
        for axis, lengths in zip(self.axes, chunks, strict=True):
            owner = np.repeat(np.arange(len(lengths)), lengths)
            reads = sum(len(np.unique(owner[axis.read(k)])) for k in range(axis.count))
            touched *= reads / len(lengths)
        return touched

    def __repr__(self) -> str:
        names = ("time", "y", "x")
        lines = [f"<xinverse.tiling.Plan: {self.size} tiles>"]
        for name, axis in zip(names, self.axes, strict=True):
            wrap = ", wraps" if axis.periodic else ""
            lines.append(
                f"  {name:<5}{axis.size:>7} cells = {axis.count} x core {axis.core}"
                f" + halo {axis.halo} (tile {axis.length}, ramp {axis.ramp}{wrap})"
            )
        lines.append(f"  solves {self.overhead:.2f} cells for each cell of the grid")
        if self.reason:
            lines.append(f"  {self.reason}")
        return "\n".join(lines)

    def plot(self, ax: PlotAxes | None = None, **kwargs: Any) -> PlotAxes:
        """Draw cores, ramps and halos over (y, x).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. Default: a new figure.
        **kwargs
            Options of `xinverse.plot.plan`.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.
        """
        from xinverse.plot import plan as draw

        return draw(self, ax=ax, **kwargs)


def plan(
    shape: tuple[int, int, int],
    tile: tuple[int, int, int],
    halo: tuple[int, int, int],
    *,
    periodic: bool = False,
    reason: str = "",
) -> Plan:
    """Cut a grid into tiles.

    Parameters
    ----------
    shape : tuple of int
        Cells of the grid along (time, y, x).
    tile : tuple of int
        Longest core along each axis. Cores are made as equal as possible, to avoid thin
        tiles at the edges.
    halo : tuple of int
        Cells on each side of a core. An axis that a core and its halo cover gets one
        tile and no halo.
    periodic : bool
        Whether x goes round the globe.
    reason : str
        Explanation of the sizes, shown with the plan.

    Returns
    -------
    Plan
        The tiles; shown as text, and drawn by ``plan(...).plot()``.

    Raises
    ------
    TileError
        If a core is empty, a halo negative, or a periodic halo longer than the axis.

    Examples
    --------
    >>> plan((60, 100, 100), tile=(20, 50, 50), halo=(5, 10, 10))
    <xinverse.tiling.Plan: 12 tiles>
      time      60 cells = 3 x core 20 + halo 5 (tile 30, ramp 2)
      y        100 cells = 2 x core 50 + halo 10 (tile 70, ramp 5)
      x        100 cells = 2 x core 50 + halo 10 (tile 70, ramp 5)
      solves 2.94 cells for each cell of the grid
    """
    axes = []
    for name, size, core, around in zip(("time", "y", "x"), shape, tile, halo, strict=True):
        if core < 1 or around < 0 or size < 1:
            raise TileError(
                f"Along {name}: core {core}, halo {around}, axis {size}. Expected at least 1 "
                "cell in core and axis, and at least 0 in the halo."
            )
        wraps = periodic and name == "x"
        count = -(-size // core)
        if wraps and around > size:
            raise TileError(
                f"The halo along x, {around} cells, is longer than the axis, {size}. Shorten "
                "the method's length scale, or coarsen the grid."
            )
        if not wraps and count > 1 and core + 2 * around >= size:
            count = 1
        axes.append(AxisPlan(size, count, around if wraps or count > 1 else 0, wraps))
    return Plan((axes[0], axes[1], axes[2]), reason)
