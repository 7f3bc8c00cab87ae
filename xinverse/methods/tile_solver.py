"""One tile, from arrays as they lie to the part that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xinverse.device import occupy, to_host, to_like
from xinverse.errors import DataError
from xinverse.fields.field import refuse_infinite
from xinverse.fields.grid import Grid
from xinverse.methods.base import Problem
from xinverse.methods.registry import find
from xinverse.tiling.plan import Tile

if TYPE_CHECKING:
    from xinverse.weights import WeightsRef

__all__ = ["TileSolver"]


@dataclass(frozen=True, eq=False)
class TileSolver:
    """A method with its options, ready to solve any tile of a grid.

    It is what travels to a worker: names and numbers, no weights, no labels.

    Attributes
    ----------
    variable : str
        Name of the variable, for errors.
    method : str
        Name in the registry.
    options : object
        The method's options.
    grid : Grid
        The whole grid.
    outputs : tuple of str
        ``"mean"``, ``"error"``, ``"member 0"`` ...
    dtype : dtype
        Of the result.
    weights : WeightsRef or None
        Described, not read.
    device : str
        Where to solve.
    keep_observed : bool
        Copy the observations into the mean instead of analysing them.
    """

    variable: str
    method: str
    options: Any
    grid: Grid
    outputs: tuple[str, ...]
    dtype: np.dtype[Any]
    weights: WeightsRef | None = None
    device: str = "auto"
    keep_observed: bool = False

    @property
    def token(self) -> tuple[Any, ...]:
        """What the result depends on beside the data, for dask's names."""
        grid = self.grid
        weights = None if self.weights is None else self.weights.token
        return (
            self.method,
            self.outputs,
            self.options,  # not its repr, which shows no model's numbers and few of a tensor
            weights,
            (grid.time, grid.y, grid.x, grid.geographic, grid.periodic),
            self.device,
            self.keep_observed,
        )

    def __call__(self, tile: Tile, inputs: Mapping[str, Any]) -> Any:
        """Solve one tile, each element of the extra dimensions for itself.

        Parameters
        ----------
        tile : Tile
            Which one.
        inputs : dict
            ``"y"``: the observations ``(*extra, t, y, x)``; ``"sea"``: boolean
            ``(y, x)``, if land is known; and the fields that the options name,
            of the shape of ``"y"``.

        Returns
        -------
        ndarray, shape (outputs, *extra, *kept)
            In the kind (numpy or cupy) of the observations.
        """
        like = inputs["y"]
        arrays = {name: to_host(array) for name, array in inputs.items()}
        extra = arrays["y"].shape[:-3]
        shape = tuple(s.stop - s.start for s in tile.keep)
        out = np.full((len(self.outputs), *extra, *shape), np.nan, dtype=self.dtype)
        for index in np.ndindex(*extra):
            one = {n: a if n == "sea" else a[index] for n, a in arrays.items()}
            out[(slice(None), *index)] = self._solve(tile, one)
        return to_like(out, like)

    def _solve(self, tile: Tile, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        y = inputs["y"]
        where = _words(self.variable, self.grid, tile)
        for name, values in inputs.items():
            if name != "sea":
                refuse_infinite(values, f"{name} of {where}" if name != "y" else where)
        sea = inputs.get("sea")
        wet = np.ones(y.shape[1:], bool) if sea is None else sea.astype(bool, copy=False)
        kept_wet = wet[tile.keep[1:]]
        if not kept_wet.any():
            return np.full((), np.nan, self.dtype)
        problem = Problem(
            y=y,
            grid=self.grid.cut(*tile.read),
            sea=wet,
            inputs={n: a for n, a in inputs.items() if n not in {"y", "sea"}},
            cells=_global_cells(tile, self.grid),
            keep=tile.keep,
            outputs=self.outputs,
            where=where,
            period=self.grid.x.size if self.grid.periodic else None,
        )
        turned, flips = _ascending(problem)
        solved = self._solve_problem(turned)
        solved = np.flip(solved, flips) if flips else solved
        if not np.isfinite(solved[..., kept_wet]).all():
            raise DataError(
                f"method={self.method!r} gave values that are not finite in {where}. Check "
                "its options and the range of the values there."
            )
        if self.keep_observed and "mean" in self.outputs:
            solved = solved.astype(self.dtype)
            mean = solved[self.outputs.index("mean")]
            seen = np.isfinite(y[tile.keep])
            mean[seen] = y[tile.keep][seen]
        return np.where(kept_wet, solved, np.nan)

    def _solve_problem(self, problem: Problem) -> np.ndarray:
        from torch.linalg import LinAlgError

        with occupy(self.device) as device:
            try:
                return find(self.method).solve(problem, self.options, self.weights, device)
            except (ArithmeticError, LinAlgError) as error:  # how solvers say it, and torch
                raise DataError(
                    f"method={self.method!r} found no solution for {problem.where}. {error} "
                    "Raise noise=, or shorten the scales."
                ) from error


def _ascending(problem: Problem) -> tuple[Problem, tuple[int, ...]]:
    """The problem with y and x ascending, and the axes of its solution to turn back."""
    grid = problem.grid
    flips = [a for a, c in ((1, grid.y), (2, grid.x)) if c[0] > c[-1]]
    if not flips:
        return problem, ()

    def turn(array: np.ndarray, first: int) -> np.ndarray:
        return np.ascontiguousarray(np.flip(array, tuple(a - first for a in flips)))

    cells, keep = list(problem.cells), list(problem.keep)
    for a in flips:
        cells[a] = cells[a][::-1]
        n = problem.y.shape[a]
        keep[a] = slice(n - keep[a].stop, n - keep[a].start)
    turned = replace(
        problem,
        y=turn(problem.y, 0),
        sea=turn(problem.sea, 1),
        inputs={n: turn(a, 0) for n, a in problem.inputs.items()},
        cells=(cells[0], cells[1], cells[2]),
        keep=(keep[0], keep[1], keep[2]),
        grid=Grid(
            grid.time,
            grid.y[::-1] if 1 in flips else grid.y,
            grid.x[::-1] if 2 in flips else grid.x,
            grid.geographic,
            grid.periodic,
        ),
    )
    return turned, tuple(a + 1 for a in flips)  # after the axis of the outputs


def _global_cells(tile: Tile, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the tile's cells, counted from the lowest coordinate.

    Along a descending axis the last cell is number zero, so that turned data
    draw the same noise.
    """
    numbers = []
    for cells, axis in zip(tile.read, (grid.time, grid.y, grid.x), strict=True):
        descending = axis.size > 1 and axis[0] > axis[-1]
        numbers.append(axis.size - 1 - cells if descending else cells)
    return numbers[0], numbers[1], numbers[2]


def _words(variable: str, grid: Grid, tile: Tile) -> str:
    t, y, x = (c[r] for c, r in zip((grid.time, grid.y, grid.x), tile.read, strict=True))
    unit = "°" if grid.geographic else " km"
    return (
        f"variable {variable!r}, days {t[0]:g} to {t[-1]:g}, "
        f"y {y[0]:g} to {y[-1]:g}{unit}, x {x[0]:g} to {x[-1]:g}{unit}"
    )
