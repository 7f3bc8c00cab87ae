r"""Assign points to cells of a grid; mean, count and noise of each cell.

A point belongs to the cell whose centre is nearest along each axis. A cell with :math:`n`
points of independent noise :math:`s_k` holds their mean, whose noise is

.. math:: \frac{1}{n} \sqrt{\sum_k s_k^2}.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xinverse.errors import GridError

__all__ = ["CellSums", "cell_edges", "nearest_cells"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def cell_edges(centres: ArrayLike, *, width: float | None = None, axis: str = "axis") -> Floats:
    """Return the edges half-way between centres; the outer ones lie half a spacing outside.

    Parameters
    ----------
    centres : array_like, shape (n,)
        Strictly increasing or decreasing.
    width : float, optional
        Size of a single cell; without it there must be two centres.
    axis : str
        Name for error messages.

    Returns
    -------
    ndarray, shape (n + 1,)
        In the order of `centres`.

    Raises
    ------
    GridError
        There are fewer than two centres, or they are not monotonic.
    """
    values = np.asarray(centres, dtype=np.float64)
    if values.shape == (1,) and width is not None:
        return np.array([values[0] - width / 2, values[0] + width / 2])
    if values.ndim != 1 or values.size < 2:
        raise GridError(
            f"The {axis} of the grid has shape {values.shape}. Expected a 1-D axis with at "
            "least two values, since their distance is the size of a cell."
        )
    steps = np.diff(values)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise GridError(
            f"The {axis} of the grid is neither strictly increasing nor strictly decreasing. "
            "Sort it and drop duplicates."
        )
    middle = values[:-1] + steps / 2
    return np.concatenate([[values[0] - steps[0] / 2], middle, [values[-1] + steps[-1] / 2]])


def nearest_cells(
    centres: ArrayLike,
    values: ArrayLike,
    *,
    period: float | None = None,
    width: float | None = None,
    axis: str = "axis",
) -> Integers:
    """Return the index of the nearest centre; -1 more than half a spacing outside.

    Parameters
    ----------
    centres : array_like, shape (n,)
        Strictly increasing or decreasing.
    values : array_like, shape (points,)
        Positions of the points; NaN gives -1.
    period : float, optional
        Period of the axis (360 for longitude).
    width : float, optional
        Size of a single cell; without it there must be two centres.
    axis : str
        Name for error messages.

    Returns
    -------
    ndarray of int64, shape (points,)
        Positions in `centres`, or -1.

    Raises
    ------
    GridError
        As :func:`cell_edges`.
    """
    edges = cell_edges(centres, width=width, axis=axis)
    number = edges.size - 1
    falling = edges[0] > edges[-1]
    if falling:
        edges = edges[::-1]
    points = np.asarray(values, dtype=np.float64)
    if period is not None:
        points = edges[0] + (points - edges[0]) % period
    # A point on an edge goes to the upper cell; on the last edge, to the last cell.
    index = np.searchsorted(edges, points, side="right").astype(np.int64) - 1
    index[points == edges[-1]] = number - 1
    index[(index >= number) | np.isnan(points)] = -1
    if falling:
        index[index >= 0] = number - 1 - index[index >= 0]
    return index


class CellSums:
    """Running sums over the points of each cell; memory depends on the grid only.

    Parameters
    ----------
    shape : tuple of int
        Shape of the grid, such as ``(time, y, x)``.
    spread : bool, default False
        Whether to track the spread of points about the mean of their cell.
    """

    def __init__(self, shape: tuple[int, ...], *, spread: bool = False) -> None:
        self.shape = shape
        size = int(np.prod(shape))
        self._count = np.zeros(size, dtype=np.int32)
        self._sum = np.zeros(size)
        self._variance = np.zeros(size if not spread else 0)
        self._square = np.zeros(size if spread else 0)
        self._spread = spread

    def add(
        self, indices: tuple[Integers, ...], values: Floats, noise: Floats | float = 0.0
    ) -> None:
        """Add points.

        Parameters
        ----------
        indices : tuple of ndarray, each of shape (points,)
            One index per dimension of the grid.
        values : ndarray, shape (points,)
            Finite.
        noise : ndarray or float
            Standard deviation of the noise of each value; unused with ``spread=True``.
        """
        if not values.size:
            return
        flat = np.ravel_multi_index(indices, self.shape)
        cells, inverse = np.unique(flat, return_inverse=True)
        count = np.bincount(inverse).astype(np.int32)
        total = np.bincount(inverse, weights=values).astype(np.float64)
        if self._spread:
            self._add_squares(cells, inverse, values, total, count)
        else:
            variance = np.broadcast_to(np.square(noise), values.shape)
            self._variance[cells] += np.bincount(inverse, weights=variance)
        self._count[cells] += count
        self._sum[cells] += total

    def _add_squares(
        self,
        cells: Integers,
        inverse: NDArray[np.intp],
        values: Floats,
        total: Floats,
        count: NDArray[np.int32],
    ) -> None:
        # Deviations from the cell's own mean, then Chan's update: no cancellation for values
        # much larger than their spread, such as temperatures in kelvin.
        mean = total / count
        square = np.bincount(inverse, weights=(values - mean[inverse]) ** 2)
        before = self._count[cells]
        shift = mean - self._sum[cells] / np.maximum(before, 1)
        self._square[cells] += square + shift**2 * before * count / (before + count)

    @property
    def count(self) -> NDArray[np.int32]:
        """Number of points in each cell."""
        return self._count.reshape(self.shape)

    @property
    def mean(self) -> Floats:
        """Mean of the points in each cell, NaN in empty cells."""
        return self._over_count(self._sum)

    @property
    def noise(self) -> Floats:
        """Noise of the mean of each cell, NaN in empty cells.

        From the noise of the points or, with ``spread=True``, from :attr:`pooled_deviation`.
        """
        if not self._spread:
            return self._over_count(np.sqrt(self._variance))
        return self._over_count(self.pooled_deviation * np.sqrt(self._count))

    @property
    def pooled_deviation(self) -> float:
        """Standard deviation within cells, pooled over cells with several points.

        NaN without such cells, or without ``spread=True``.
        """
        freedom = int(np.sum(np.maximum(self._count - 1, 0), dtype=np.int64))
        if not (self._spread and freedom):
            return float("nan")
        return float(np.sqrt(np.sum(self._square) / freedom))

    def _over_count(self, values: Floats) -> Floats:
        result = np.full(values.shape, np.nan)
        np.divide(values, self._count, out=result, where=self._count > 0)
        return result.reshape(self.shape)
