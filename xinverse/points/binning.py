r"""Points to the cells of a grid, and their mean, count and noise.

A point belongs to the cell whose centre is nearest along each axis. With :math:`n` points of
noise :math:`s_k` in a cell, its value is their mean and its noise

.. math:: \frac{1}{n} \sqrt{\sum_k s_k^2},

the standard deviation of that mean for independent noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xinverse.errors import GridError

__all__ = ["CellSums", "cell_edges", "nearest_cells"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def cell_edges(centres: ArrayLike, *, width: float | None = None, axis: str = "axis") -> Floats:
    """Edges half-way between centres, the outer ones half a spacing outside.

    Parameters
    ----------
    centres : array_like, shape (n,)
        Strictly increasing or decreasing.
    width : float, optional
        Size of the cell where there is only one; without it there must be two.
    axis : str
        Name for the error's text.

    Returns
    -------
    ndarray, shape (n + 1,)
        In the order of `centres`.

    Raises
    ------
    GridError
        If there are fewer than two centres or they are not monotonic.
    """
    values = np.asarray(centres, dtype=np.float64)
    if values.shape == (1,) and width is not None:
        return np.array([values[0] - width / 2, values[0] + width / 2])
    if values.ndim != 1 or values.size < 2:
        raise GridError(
            f"The {axis} of the grid has shape {values.shape}; the size of a cell follows from "
            "the distance between two centres, so give a 1-D axis of two values at least."
        )
    steps = np.diff(values)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise GridError(
            f"The {axis} of the grid is neither strictly increasing nor strictly decreasing; "
            "sort it and drop duplicates."
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
    """Index of the nearest centre, or -1 more than half a spacing outside.

    Parameters
    ----------
    centres : array_like, shape (n,)
        Strictly increasing or decreasing.
    values : array_like, shape (points,)
        Where the points are; NaN gives -1.
    period : float, optional
        Length after which the axis repeats (360 for longitude).
    width : float, optional
        Size of the cell where there is only one; without it there must be two.
    axis : str
        Name for the error's text.

    Returns
    -------
    ndarray of int64, shape (points,)
        Positions in `centres`, or -1.

    Raises
    ------
    GridError
        If the centres are not monotonic or fewer than two.
    """
    edges = cell_edges(centres, width=width, axis=axis)
    number = edges.size - 1
    falling = edges[0] > edges[-1]
    if falling:
        edges = edges[::-1]
    points = np.asarray(values, dtype=np.float64)
    if period is not None:
        points = edges[0] + (points - edges[0]) % period
    # A point between two cells goes to the upper one, the last edge to the last cell.
    index = np.searchsorted(edges, points, side="right").astype(np.int64) - 1
    index[points == edges[-1]] = number - 1
    index[(index >= number) | np.isnan(points)] = -1
    if falling:
        index[index >= 0] = number - 1 - index[index >= 0]
    return index


class CellSums:
    """Running sums over the points of each cell; memory is that of the grid.

    Parameters
    ----------
    shape : tuple of int
        Shape of the grid, such as ``(time, y, x)``.
    spread : bool, default False
        Whether to follow the deviations of points from the mean of their cell.
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
            Finite values.
        noise : ndarray or float
            Standard deviation of each value's noise, in the units of `values`; not used when
            the spread is followed.
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
        # Deviations from the cell's own mean, then Chan's update: no cancellation when the
        # values are large beside their spread, such as temperatures in kelvin.
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
        """Mean of each cell's points, NaN where there are none."""
        return self._over_count(self._sum)

    @property
    def noise(self) -> Floats:
        """Standard deviation of each cell's mean, NaN where there are no points.

        From the noise of the points or, where the spread was followed, from
        :attr:`pooled_deviation`.
        """
        if not self._spread:
            return self._over_count(np.sqrt(self._variance))
        return self._over_count(self.pooled_deviation * np.sqrt(self._count))

    @property
    def pooled_deviation(self) -> float:
        """Standard deviation within cells, pooled over those of two points or more.

        NaN where no cell holds two points, or the spread was not followed.
        """
        freedom = int(np.sum(np.maximum(self._count - 1, 0), dtype=np.int64))
        if not (self._spread and freedom):
            return float("nan")
        return float(np.sqrt(np.sum(self._square) / freedom))

    def _over_count(self, values: Floats) -> Floats:
        result = np.full(values.shape, np.nan)
        np.divide(values, self._count, out=result, where=self._count > 0)
        return result.reshape(self.shape)
