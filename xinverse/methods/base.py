"""What a method is: one answer to the inverse problem on one tile."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from xinverse.errors import DataError, GridError, OptionError
from xinverse.fields.grid import KM_PER_DEGREE, Grid
from xinverse.registry import Registry

if TYPE_CHECKING:
    from xinverse.weights import WeightsRef

__all__ = ["METHODS", "Footprint", "Method", "Problem", "background_and_anomaly", "local_km"]

Options = TypeVar("Options")


@dataclass(frozen=True, eq=False)
class Problem:
    """One tile of one variable, as a method sees it: numbers, in ascending order.

    Attributes
    ----------
    y : ndarray, shape (nt, ny, nx)
        Observations; NaN where nothing was observed.
    grid : Grid
        Where the cells are.
    sea : ndarray of bool, shape (ny, nx)
        True where the field is wanted.
    inputs : dict of str to ndarray
        Other fields that the options name (``noise``, ``background``), each of
        the shape of ``y``.
    cells : tuple of ndarray
        Numbers of the tile's cells in the whole grid along (time, y, x), from
        which random draws are made, so that tiles that share cells share them.
    keep : tuple of slice
        The part of the tile that will be used.
    outputs : tuple of str
        What is wanted: ``"mean"``, ``"error"``, ``"member 0"`` ...
    where : str
        The tile in words, for errors.
    period : int or None
        Cells of the whole grid along x where it goes round the globe.
    """

    y: np.ndarray
    grid: Grid
    sea: np.ndarray
    inputs: Mapping[str, np.ndarray]
    cells: tuple[np.ndarray, np.ndarray, np.ndarray]
    keep: tuple[slice, slice, slice]
    outputs: tuple[str, ...] = ("mean",)
    where: str = "the tile"
    period: int | None = None

    @property
    def observed(self) -> np.ndarray:
        """Where an observation counts: finite, and in the sea."""
        return np.isfinite(self.y) & self.sea


@dataclass(frozen=True)
class Footprint:
    """The tile that a method wants on a grid.

    Attributes
    ----------
    core, halo : tuple of int
        Cells along (time, y, x).
    reason : str
        Why, in words; shown in the plan.
    """

    core: tuple[int, int, int]
    halo: tuple[int, int, int]
    reason: str


class Method(ABC, Generic[Options]):
    """A named choice of operator, prior and solver.

    Attributes
    ----------
    name, summary : str
        The name in the registry, and what it is in a line.
    options_type : type
        A frozen dataclass of the method's own keywords with their defaults.
    field_options : tuple of str
        Options that may be a variable instead of a number.
    gives : tuple of str
        What it can return beside the mean: ``"error"``, ``"members"``.
    learned : bool
        Whether it has weights.
    regular : tuple of str
        Which of ``"time"`` and ``"space"`` must be regular.
    bytes_per_cell : float
        What a solve holds for each cell of its tile.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    options_type: type[Options]
    field_options: ClassVar[tuple[str, ...]] = ("background",)
    gives: ClassVar[tuple[str, ...]] = ()
    learned: ClassVar[bool] = False
    regular: ClassVar[tuple[str, ...]] = ()
    bytes_per_cell: ClassVar[float] = 120

    def options(self, given: Mapping[str, Any]) -> Options:
        """The method's options, with unknown names and missing ones refused."""
        known = {f.name: f for f in fields(self.options_type)}  # type: ignore[arg-type]  # a dataclass
        unknown = sorted(set(given) - set(known))
        if unknown:
            near = [n for name in unknown for n in get_close_matches(name, known, n=1)]
            hint = f" Did you mean {' and '.join(map(repr, near))}?" if near else ""
            raise OptionError(
                f"method={self.name!r} has no option {', '.join(map(repr, unknown))}.{hint} "
                f"Its options are {', '.join(map(repr, known))}."
            )
        optional = {
            n for n, f in known.items() if (f.default, f.default_factory) != (MISSING, MISSING)
        }
        needed = [n for n in known if n not in optional and n not in given]
        if needed:
            raise OptionError(f"method={self.name!r} needs {', '.join(map(repr, needed))}.")
        return self.options_type(**given)

    def units(self, options: Options) -> str | None:  # noqa: ARG002  for subclasses
        """The units that the variable must be in; None where any will do."""
        return None

    def check(
        self,
        grid: Grid,
        options: Options,  # noqa: ARG002  for subclasses
        weights: WeightsRef | None = None,  # noqa: ARG002  for subclasses
    ) -> None:
        """Refuse a grid that the method cannot work on."""
        if "time" in self.regular and not grid.regular_time:
            raise GridError(
                f"method={self.name!r} needs a regular time step; these range from "
                f"{np.diff(grid.time).min():g} to {np.diff(grid.time).max():g} days. Reindex "
                "the time axis (missing dates become gaps), or use method='oi', which takes "
                "any dates."
            )
        if "space" in self.regular:
            self.require_regular_space(grid)

    def require_regular_space(self, grid: Grid, what: str = "") -> None:
        """Refuse a grid whose spacing varies."""
        if not grid.regular_space:
            raise GridError(
                f"method={self.name!r}{what} needs a regular grid in space, and the spacing of "
                "y or x varies. Interpolate to a regular grid first, or use method='oi' with "
                "covariance='gaussian'."
            )

    @abstractmethod
    def footprint(
        self, grid: Grid, options: Options, weights: WeightsRef | None, budget: float
    ) -> Footprint:
        """The tile that the method wants, a function of grid and options alone.

        Parameters
        ----------
        grid : Grid
            The whole grid.
        options : Options
            The method's options.
        weights : WeightsRef or None
            The weights, described but not read.
        budget : float
            Bytes that one solve may take.
        """

    @abstractmethod
    def solve(
        self, problem: Problem, options: Options, weights: WeightsRef | None, device: Any
    ) -> np.ndarray:
        """Solve one tile.

        Returns
        -------
        ndarray, shape (outputs, nt, ny, nx)
            The part of the tile that is kept, land not yet masked.
        """


METHODS: Registry[type[Method[Any]]] = Registry("method")


def local_km(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    r"""Positions of a tile's cells in km, in the local metric.

    On a geographic grid east-west distances are those at the tile's central
    latitude :math:`\phi_0`; at a row :math:`\Delta\phi` away they are wrong by
    the share :math:`\tan(\phi_0) \Delta\phi`.
    """
    if not grid.geographic:
        return grid.y, grid.x
    middle = 0.5 * (grid.y.min() + grid.y.max())
    scale = KM_PER_DEGREE * np.cos(np.deg2rad(min(abs(middle), 89.0)))
    return grid.y * KM_PER_DEGREE, grid.x * scale


def background_and_anomaly(
    problem: Problem, background: float | None
) -> tuple[Any, np.ndarray]:
    """The background, and the observations minus it.

    The background is the field given with the problem, or the number given, or
    the mean of the tile's observations.
    """
    observed = problem.observed
    level: Any = problem.inputs.get("background", background)
    if isinstance(level, np.ndarray) and not np.isfinite(level[:, problem.sea]).all():
        raise DataError(
            f"The background is not finite everywhere in the sea of {problem.where}. "
            "Fill it, or mask its land with mask=."
        )
    if level is None:
        if not observed.any():
            raise DataError(
                f"Nothing is observed in {problem.where}, so nothing tells the level of the "
                "field there. Give background= (0 for an anomaly, or a variable such as a "
                "climatology), a larger tile=, or a mask= that leaves it out."
            )
        level = float(problem.y[observed].mean(dtype="float64"))
    # In float64: a level that is large beside the anomaly would take digits from it.
    return level, np.where(observed, np.subtract(problem.y, level, dtype=np.float64), 0.0)
