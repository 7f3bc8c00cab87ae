"""Solve one tile: from its input arrays to the kept part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xinverse.device import occupy, to_host, to_like
from xinverse.errors import DataError
from xinverse.fields.coordinates import FULL_CIRCLE
from xinverse.fields.grid import Grid
from xinverse.fields.values import refuse_unusable
from xinverse.local_grid import cell_edges
from xinverse.methods.auto_scales import Choice, Request, count, estimate_region, joined
from xinverse.methods.base import Method
from xinverse.methods.limits import Limit
from xinverse.methods.problem import Estimate, Layout, Place, Problem, Source, Wanted
from xinverse.methods.transforms import from_log, log_moments, to_log
from xinverse.tiling.cover import SAME_EDGE
from xinverse.tiling.eager import Covers
from xinverse.tiling.plan import Tile
from xinverse.tiling.regions import Regions

__all__ = ["Key", "Role", "TileTask"]

Role = tuple[str, str]  # ("values" | "noise" | "background" | "sea", name)
Key = tuple[str, str]  # (variable, "mean" | "error" | "members")


@dataclass(frozen=True, eq=False)
class TileTask:
    """A method with its inputs and outputs, ready to solve any tile.

    This is what is sent to a worker: names and numbers, no weights or labels.

    Attributes
    ----------
    method : Method
        The method, with its options.
    layout : Layout
        The whole grid and its sources, without values.
    wanted : Wanted
        Results besides the mean.
    dtypes : dict of str to dtype
        Dtype of each variable's results.
    covers : dict of str to tuple
        For each source on its own grid, the cells that a tile reads.
    device : str
        Device to solve on.
    keep_observed : bool
        Copy the observations into the mean.
    limit : Limit, optional
        Largest distance from observations at which maps have values.
    transform : str, optional
        ``"log"``: solve for the logarithm.
    request : Request, optional
        What is estimated for each of the regions before tiles are solved.
    regions : Regions, optional
        The regions.
    """

    method: Method
    layout: Layout
    wanted: Wanted
    dtypes: Mapping[str, np.dtype[Any]]
    covers: Mapping[str, Covers]
    device: str = "auto"
    keep_observed: bool = False
    limit: Limit | None = None
    transform: str | None = None
    request: Request | None = None
    regions: Regions | None = None

    @property
    def token(self) -> tuple[Any, ...]:
        """Everything that the result depends on besides the data, for dask's names."""
        layout = self.layout
        sources = [
            (s.variable, s.operator, s.own_grid, s.noise, _numbers(s.grid))
            for s in layout.sources
        ]
        return (
            self.method.token,
            layout.variables,
            _numbers(layout.grid),
            sources,
            self.wanted,
            self.device,
            self.keep_observed,
            self.limit,
            self.transform,
            self.request,
        )

    def __call__(self, tile: Tile, inputs: Mapping[Role, Any]) -> dict[Key, Any]:
        """Solve one tile, for each element of the extra dimensions separately.

        Parameters
        ----------
        tile : Tile
            The tile.
        inputs : dict
            ``("values", source)``: observations ``(*extra, t, y, x)``; ``("sea", "")``:
            boolean ``(y, x)``, if there is a mask; ``("noise", source)`` and
            ``("background", variable)``, if they were given as fields.

        Returns
        -------
        dict
            For each variable and kind the kept part, ``(*extra, t, y, x)``, members
            first; numpy or cupy, like the observations.
        """
        try:
            return self._solved(tile, inputs)
        except Exception as error:  # of any kind: it is passed on with its place
            words = _words(self.layout.grid, tile)
            if words not in str(error):
                error.add_note(f"Raised in the tile of {words}.")
            raise

    def _solved(self, tile: Tile, inputs: Mapping[Role, Any]) -> dict[Key, Any]:
        like = inputs["values", "0"]
        arrays = {role: to_host(array) for role, array in inputs.items()}
        extra = arrays["values", "0"].shape[:-3]
        shape = tuple(s.stop - s.start for s in tile.keep)
        out = {
            (v, kind): np.full(
                (*self._lead(kind), *extra, *shape), np.nan, dtype=self.dtypes[v]
            )
            for v in self.layout.variables
            for kind in self.wanted.kinds
        }
        for index in np.ndindex(*extra):
            one = {r: a if r[0] == "sea" else a[index] for r, a in arrays.items()}
            for (v, kind), array in self._solve(tile, one).items():
                before = (slice(None),) * len(self._lead(kind))
                out[v, kind][(*before, *index)] = array
        return {key: to_like(array, like) for key, array in out.items()}

    def estimate(self, tile: Tile, inputs: Mapping[Role, Any]) -> np.ndarray:
        """What is estimated of a region, ``(*extra, count, 1, 1)``.

        Parameters
        ----------
        tile : Tile
            The sample of the region.
        inputs : dict
            As for a tile.
        """
        assert self.request is not None  # noqa: S101  the caller has regions
        arrays = {role: to_host(array) for role, array in inputs.items()}
        extra = arrays["values", "0"].shape[:-3]
        out = np.full((*extra, count(self.request), 1, 1), np.nan)
        for index in np.ndindex(*extra):
            one = {r: a if r[0] == "sea" else a[index] for r, a in arrays.items()}
            problem, _ = self._ready(tile, one)
            if problem is not None:
                with occupy(self.device):
                    out[(*index, slice(None), 0, 0)] = estimate_region(problem, self.request)
        return out

    def _lead(self, kind: str) -> tuple[int, ...]:
        return (self.wanted.members,) if kind == "members" else ()

    def _ready(
        self, tile: Tile, inputs: Mapping[Role, np.ndarray]
    ) -> tuple[Problem | None, tuple[int, ...]]:
        """The checked problem of a tile, and its flipped axes; None without sea."""
        names = " and ".join(map(repr, self.layout.variables))
        words = f"variable {names}, {_words(self.layout.grid, tile)}"
        for (role, _), values in inputs.items():
            if role not in {"sea", "overall", "regional"}:
                whose = words if role == "values" else f"{role} of {words}"
                refuse_unusable(values, whose)
        _, ny, nx = (len(cells) for cells in tile.read)
        sea = inputs.get(("sea", ""))
        wet = np.ones((ny, nx), bool) if sea is None else sea.astype(bool, copy=False)
        if not wet[tile.keep[1:]].any():
            return None, ()
        if self.transform:
            logs = {
                role: to_log(values, f"{role[0]} of {words}")
                for role, values in inputs.items()
                if role[0] in {"values", "background"}
            }
            logs |= {
                role: log_moments(values)
                for role, values in inputs.items()
                if role[0] == "overall"
            }
            inputs = {**inputs, **logs}
        return _ascending(self._problem(tile, inputs, wet, words))

    def _solve(self, tile: Tile, inputs: Mapping[Role, np.ndarray]) -> dict[Key, Any]:
        problem, flips = self._ready(tile, inputs)
        if problem is None:
            return {(v, k): np.nan for v in self.layout.variables for k in self.wanted.kinds}
        words = problem.place.words
        kept_wet = _turn(problem.sea, flips)[tile.keep[1:]]
        estimate = self._estimate(problem)
        if self.transform:
            estimate = from_log(estimate)
        arrays = estimate.arrays()
        reached = kept_wet
        if self.limit is not None:
            reached = kept_wet & _turn(self.limit.reached(problem), flips)
        for key, array in arrays.items():
            solved = _turn(array, flips)
            if not np.isfinite(solved[..., kept_wet]).all():
                raise DataError(
                    f"method={self.method.name!r} returned values that are not finite in "
                    f"{words}. Check its options and the range of the input there."
                )
            arrays[key] = np.where(reached, solved, np.nan)
        if self.keep_observed:
            self._copy_observations(tile, inputs, kept_wet, arrays)
        return arrays

    def _copy_observations(
        self,
        tile: Tile,
        inputs: Mapping[Role, np.ndarray],
        wet: np.ndarray,
        arrays: dict[Key, Any],
    ) -> None:
        """Copy the observations of sources on the state's own cells into the mean."""
        for k, source in enumerate(self.layout.sources):
            if source.direct:
                seen = inputs["values", str(k)][tile.keep]
                mean = arrays[source.variable, "mean"].astype(self.dtypes[source.variable])
                arrays[source.variable, "mean"] = np.where(np.isfinite(seen) & wet, seen, mean)

    def _estimate(self, problem: Problem) -> Estimate:
        from torch.linalg import LinAlgError

        with occupy(self.device) as device:
            try:
                return self.method.solve(problem, self.wanted, device)
            except (ArithmeticError, LinAlgError) as error:  # raised by solvers and by torch
                raise DataError(
                    f"method={self.method.name!r} found no solution for "
                    f"{problem.place.words}. {error} Raise noise=, or shorten the scales."
                ) from error

    def _problem(
        self, tile: Tile, inputs: Mapping[Role, np.ndarray], wet: np.ndarray, words: str
    ) -> Problem:
        grid = self.layout.grid
        here = grid.cut(*tile.read)
        cells = _numbered(tile.read, grid)
        period = grid.x.size if grid.periodic else None
        sources = []
        for k, spec in enumerate(self.layout.sources):
            values = inputs["values", str(k)]
            noise = inputs.get(("noise", str(k)), spec.noise)
            if spec.own_grid:
                found = self._cut(tile, spec, self.covers[str(k)], here)
                if found is None:  # no cell of the source in the tile
                    continue
                whole = _within(found.grid.y, here.y)[:, None] & _within(found.grid.x, here.x)
                values = np.where(whole, values, np.nan)
                sources.append(replace(found, values=values, noise=noise))
            else:
                values = np.where(wet, values, np.nan)
                at_place = replace(spec, grid=here, cells=cells, period=period)
                sources.append(replace(at_place, values=values, noise=noise))
        return Problem(
            variables=self.layout.variables,
            grid=here,
            sea=wet,
            sources=tuple(sources),
            backgrounds={n: a for (role, n), a in inputs.items() if role == "background"},
            withheld={n: a for (role, n), a in inputs.items() if role == "withheld"},
            place=Place(cells, tile.keep, words, period),
            overall={
                n: (float(a.flat[0]), float(a.flat[1]))
                for (role, n), a in inputs.items()
                if role == "overall" and np.isfinite(a).all()
            },
            choice=self._choice(tile, inputs.get(("regional", ""))),
        )

    def _choice(self, tile: Tile, values: np.ndarray | None) -> Choice | None:
        """The estimates of the regions around a tile."""
        if values is None or self.regions is None or self.request is None:
            return None
        covers = self.regions.covers(len(values), self.layout.grid.shape[0])
        rows, columns = (
            cover.read(tile.start[k], len(tile.read[k]))  # type: ignore[union-attr]  # both given
            for k, cover in ((1, covers[1]), (2, covers[2]))
        )
        return joined(values, self.regions.weights(tile, rows, columns), self.request)

    def _cut(self, tile: Tile, spec: Source, covers: Covers, here: Grid) -> Source | None:
        """Cut a source on its own grid to a tile, with longitudes near the tile's."""
        read = [
            cells if one is None else one.read(start, len(cells))
            for one, start, cells in zip(covers, tile.start, tile.read, strict=True)
        ]
        if not all(len(cells) for cells in read):
            return None
        grid = spec.grid.cut(read[0], read[1], read[2])
        if grid.geographic and grid.x.size:
            apart = 0.5 * (here.x[0] + here.x[-1] - grid.x[0] - grid.x[-1])
            grid = replace(grid, x=grid.x + FULL_CIRCLE * round(apart / FULL_CIRCLE))
        period = spec.grid.x.size if spec.grid.periodic else None
        cells = _numbered((read[0], read[1], read[2]), spec.grid)
        return replace(spec, grid=grid, cells=cells, period=period)


def _within(source: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Which cells of a source lie entirely inside the tile.

    Other cells observe values outside the tile, and are not used.
    """
    if source.size < 2:
        return np.zeros(source.size, bool)
    ends, edges = cell_edges(np.sort(state)), cell_edges(np.sort(source))
    tolerance = SAME_EDGE * float(np.diff(ends).min())
    inside = (edges[:-1] >= ends[0] - tolerance) & (edges[1:] <= ends[-1] + tolerance)
    return inside if source[0] < source[-1] else inside[::-1]


def _numbers(grid: Grid) -> tuple[Any, ...]:
    return (grid.time, grid.y, grid.x, grid.geographic, grid.periodic)


def _flips(grid: Grid) -> tuple[int, ...]:
    """The axes with descending coordinates."""
    return tuple(a for a, c in ((1, grid.y), (2, grid.x)) if c[0] > c[-1])


def _turn(array: np.ndarray, flips: tuple[int, ...]) -> np.ndarray:
    """Flip an array on (..., time, y, x) or (y, x) along some of (time, y, x)."""
    axes = tuple(array.ndim - 3 + a for a in flips)
    return np.ascontiguousarray(np.flip(array, axes)) if axes else array


def _turned_grid(grid: Grid) -> Grid:
    flips = _flips(grid)
    y = grid.y[::-1] if 1 in flips else grid.y
    x = grid.x[::-1] if 2 in flips else grid.x
    return replace(grid, y=y, x=x)


def _turned_cells(cells: Any, flips: tuple[int, ...]) -> Any:
    return tuple(c[::-1] if a in flips else c for a, c in enumerate(cells))


def _ascending(problem: Problem) -> tuple[Problem, tuple[int, ...]]:
    """The problem with y and x ascending, and the axes to flip its solution along."""
    flips = _flips(problem.grid)
    sources = []
    for source in problem.sources:
        turn = _flips(source.grid)
        noise = source.noise
        sources.append(
            replace(
                source,
                grid=_turned_grid(source.grid),
                values=_turn(source.values, turn),
                noise=_turn(noise, turn) if isinstance(noise, np.ndarray) else noise,
                cells=_turned_cells(source.cells, turn),
            )
        )
    keep, shape = list(problem.place.keep), problem.grid.shape
    for a in flips:
        keep[a] = slice(shape[a] - keep[a].stop, shape[a] - keep[a].start)
    place = replace(
        problem.place,
        cells=_turned_cells(problem.place.cells, flips),
        keep=(keep[0], keep[1], keep[2]),
    )
    turned = replace(
        problem,
        grid=_turned_grid(problem.grid),
        sea=_turn(problem.sea, flips),
        sources=tuple(sources),
        backgrounds={v: _turn(a, flips) for v, a in problem.backgrounds.items()},
        withheld={v: _turn(a, flips) for v, a in problem.withheld.items()},
        place=place,
    )
    return turned, flips


def _numbered(read: Any, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cell numbers of the tile, counted from the lowest coordinate.

    Along a descending axis the last cell is number zero, so that flipped data draw the
    same noise.
    """
    numbers = []
    for cells, axis in zip(read, (grid.time, grid.y, grid.x), strict=True):
        descending = axis.size > 1 and axis[0] > axis[-1]
        numbers.append(axis.size - 1 - cells if descending else cells)
    return numbers[0], numbers[1], numbers[2]


def _words(grid: Grid, tile: Tile) -> str:
    t, y, x = (c[r] for c, r in zip((grid.time, grid.y, grid.x), tile.read, strict=True))
    unit = "°" if grid.geographic else " km"
    return (
        f"days {t[0]:g} to {t[-1]:g}, "
        f"y {y[0]:g} to {y[-1]:g}{unit}, x {x[0]:g} to {x[-1]:g}{unit}"
    )
