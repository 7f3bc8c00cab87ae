"""The grid of one tile in days and kilometres, on which operators and priors are built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xinverse.errors import GridError

__all__ = ["LocalGrid", "cell_edges"]

NAMES = ("time", "y", "x")

# Largest distance of a cell from the regular line, as a share of the step: the same as for
# the coordinates of a file, which are often rounded.
REGULAR_WITHIN = 0.02


@dataclass(frozen=True, eq=False)
class LocalGrid:
    """Coordinates of a tile's cells along time, y and x.

    Parameters
    ----------
    time : ndarray
        Days, ``(nt,)``, increasing.
    y, x : ndarray
        Kilometres in the local metric of the tile, ``(ny,)`` and ``(nx,)``, increasing.
    periodic : bool
        Whether the last cell along x is next to the first. Default: False.

    Raises
    ------
    GridError
        Coordinates that are not one-dimensional, finite and increasing.

    Examples
    --------
    >>> import numpy as np
    >>> grid = LocalGrid(np.arange(5.0), 10 * np.arange(3.0), 12 * np.arange(4.0))
    >>> grid.shape, grid.spacing
    ((5, 3, 4), (1.0, 10.0, 12.0))
    """

    time: np.ndarray
    y: np.ndarray
    x: np.ndarray
    periodic: bool = False

    def __post_init__(self) -> None:
        for name in NAMES:
            values: np.ndarray = np.asarray(getattr(self, name), dtype="float64")
            if values.ndim != 1 or not values.size or not np.isfinite(values).all():
                raise GridError(
                    f"{name} has the shape {values.shape}: expected one axis of finite numbers."
                )
            if not (np.diff(values) > 0).all():
                raise GridError(f"{name} does not increase: sort the coordinates.")
            object.__setattr__(self, name, values)

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates along time, y and x."""
        return self.time, self.y, self.x

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of cells along time, y and x."""
        return self.time.size, self.y.size, self.x.size

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Median step along time (days), y and x (km); 1.0 for a single cell."""
        days, y, x = (
            float(np.median(np.diff(axis))) if axis.size > 1 else 1.0 for axis in self.axes
        )
        return days, y, x

    @property
    def regular(self) -> tuple[bool, bool, bool]:
        """Whether the step is constant along time, y and x, within 2 % of a step."""
        time, y, x = (_is_regular(axis) for axis in self.axes)
        return time, y, x

    def require_regular(self, what: str, axes: Sequence[int] = (-2, -1)) -> None:
        """Raise unless the step is constant.

        Parameters
        ----------
        what : str
            What needs it; the start of the error's text.
        axes : sequence of int
            Which axes, counted from the end: -3 is time, -2 is y, -1 is x.

        Raises
        ------
        GridError
            The step varies along one of them.
        """
        for axis in axes:
            if not self.regular[axis]:
                steps = np.diff(self.axes[axis])
                raise GridError(
                    f"{what} needs a constant step along {NAMES[axis]}; the steps range from "
                    f"{steps.min():g} to {steps.max():g}. Interpolate to a regular grid first."
                )


def _is_regular(values: np.ndarray) -> bool:
    line, step = np.linspace(values[0], values[-1], values.size, retstep=True)
    return values.size < 3 or bool(np.abs(values - line).max() <= REGULAR_WITHIN * step)


def cell_edges(centres: np.ndarray) -> np.ndarray:
    """Edges of the cells of an ascending axis: halfway between centres, and extrapolated.

    Parameters
    ----------
    centres : ndarray, shape (n,)
        At least two.
    """
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate(
        [[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]]
    )
