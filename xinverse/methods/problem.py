"""The objects passed between verbs and methods: numbers without labels.

A verb builds a `Layout` of variables and sources. Each tile is a `Problem`, and a method
returns an `Estimate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xinverse.fields.grid import Grid

if TYPE_CHECKING:
    from xinverse.methods.auto_scales import Choice

__all__ = ["Estimate", "Layout", "OperatorSpec", "Place", "Problem", "Source", "Wanted"]

Cells = tuple[np.ndarray, np.ndarray, np.ndarray]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class OperatorSpec:
    """An observation operator by name, to be built on the grid of each tile.

    Attributes
    ----------
    name : str
        Name in ``xinverse.operators.OPERATORS``.
    options : mapping
        Keywords of the operator's method ``on``.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Source:
    """Observations of one variable by one instrument.

    Attributes
    ----------
    variable : str
        The observed variable.
    grid : Grid
        Grid of the source; the state's, unless ``own_grid``.
    values : ndarray, shape (nt, ny, nx)
        Observations, NaN in gaps. Empty in a `Layout`.
    noise : float or ndarray, optional
        Standard deviation of the observation noise, in the variable's units. Default:
        the method's.
    operator : OperatorSpec, optional
        Operator from state to observations. Default: the identity.
    own_grid : bool
        Whether the cells differ from the state's.
    cells : tuple of ndarray
        Cell numbers in the source's whole grid along (time, y, x), as in `Place`.
    period : int, optional
        Columns of the whole grid, if it goes round the globe.
    """

    variable: str
    grid: Grid
    values: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 0)))
    noise: float | np.ndarray | None = None
    operator: OperatorSpec | None = None
    own_grid: bool = False
    cells: Cells = (np.empty(0), np.empty(0), np.empty(0))
    period: int | None = None

    @property
    def observed(self) -> np.ndarray:
        """True at observations."""
        return np.isfinite(self.values)

    @property
    def direct(self) -> bool:
        """Whether it observes the state itself, on the state's cells."""
        return self.operator is None and not self.own_grid


@dataclass(frozen=True, eq=False)
class Layout:
    """Variables, grid and sources of a call, without values.

    Attributes
    ----------
    variables : tuple of str
        Variables to estimate.
    grid : Grid
        Grid of the state.
    sources : tuple of Source
        Sources, without values.
    """

    variables: tuple[str, ...]
    grid: Grid
    sources: tuple[Source, ...]


@dataclass(frozen=True, eq=False)
class Place:
    """Location of a tile, and its kept part.

    Attributes
    ----------
    cells : tuple of ndarray
        Cell numbers in the whole grid along (time, y, x). Random draws are made from
        them, so that tiles agree on shared cells.
    keep : tuple of slice
        The kept part of the tile.
    words : str
        Description of the tile, for error texts.
    period : int, optional
        Columns of the whole grid, if it goes round the globe.
    """

    cells: Cells
    keep: Box
    words: str = "the tile"
    period: int | None = None


@dataclass(frozen=True, eq=False)
class Problem:
    """One tile, with every axis ascending.

    Attributes
    ----------
    variables : tuple of str
        Variables to estimate.
    grid : Grid
        Grid of the state.
    sea : ndarray of bool, shape (ny, nx)
        True on the sea.
    sources : tuple of Source
        Sources with their observations.
    backgrounds : mapping of str to ndarray
        First guesses given as fields, by variable.
    place : Place
        Location of the tile.
    withheld : mapping of str to ndarray
        Observations to withhold for cross-validation, above zero, by variable.
    overall : mapping of str to (float, float)
        Mean and variance of the whole field, by variable, for tiles without observations.
    choice : Choice, optional
        Covariance and noise estimated from the data around the tile.
    """

    variables: tuple[str, ...]
    grid: Grid
    sea: np.ndarray
    sources: tuple[Source, ...]
    backgrounds: Mapping[str, np.ndarray]
    place: Place
    overall: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    choice: Choice | None = None
    withheld: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def source(self) -> Source:
        """The only source, for methods that take one."""
        (only,) = self.sources
        return only

    @property
    def variable(self) -> str:
        """The only variable, for methods that take one."""
        (only,) = self.variables
        return only

    @property
    def y(self) -> np.ndarray:
        """Observations of the only source."""
        return self.source.values

    @property
    def observed(self) -> np.ndarray:
        """True at observations of the only source."""
        return self.source.observed

    def seen(self, variable: str) -> np.ndarray:
        """All observations of a variable, ``(m,)``.

        Parameters
        ----------
        variable : str
            Name of the variable.
        """
        found = [s.values[s.observed] for s in self.sources if s.variable == variable]
        return np.concatenate(found) if found else np.empty(0)


@dataclass(frozen=True)
class Wanted:
    """Results to return besides the mean.

    Attributes
    ----------
    error : bool
        Return the standard deviation of the analysis error.
    members : int
        Number of samples of the posterior.
    """

    error: bool = False
    members: int = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of array in the `Estimate`, for each variable."""
        also = [k for k, on in (("error", self.error), ("members", self.members)) if on]
        return ("mean", *also)


@dataclass(eq=False)
class Estimate:
    """Result of a method on the kept part of a tile.

    Attributes
    ----------
    mean, error : dict of str to ndarray
        By variable, ``(nt, ny, nx)``, in the variable's units.
    members : dict of str to ndarray
        By variable, ``(members, nt, ny, nx)``.
    """

    mean: dict[str, np.ndarray]
    error: dict[str, np.ndarray] = field(default_factory=dict)
    members: dict[str, np.ndarray] = field(default_factory=dict)

    def arrays(self) -> dict[tuple[str, str], np.ndarray]:
        """All arrays, by variable and kind."""
        kinds = {"mean": self.mean, "error": self.error, "members": self.members}
        return {(v, kind): a for kind, some in kinds.items() for v, a in some.items()}
