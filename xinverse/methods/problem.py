"""The objects that travel between verbs and methods: numbers only, no labels.

A verb says what is wanted and which sources observe it (`Layout`); a tile of that is a
`Problem`; a method answers with an `Estimate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xinverse.fields.grid import Grid

__all__ = ["Estimate", "Layout", "OperatorSpec", "Place", "Problem", "Source", "Wanted"]

Cells = tuple[np.ndarray, np.ndarray, np.ndarray]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class OperatorSpec:
    """An observation operator by name, to be made on the grid of each tile.

    Attributes
    ----------
    name : str
        Name in ``xinverse.operators.OPERATORS``.
    options : mapping
        Keywords of the operator's ``on``.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Source:
    """One variable as one instrument saw it.

    Attributes
    ----------
    variable : str
        The wanted variable that it observes.
    grid : Grid
        Its own cells; those of the state where both are the same.
    values : ndarray, shape (nt, ny, nx)
        Observations; NaN where nothing counts. Empty in a `Layout`.
    noise : float or ndarray, optional
        Standard deviation of the observations' noise, in the variable's units.
        Default: the method's.
    operator : OperatorSpec, optional
        How the source sees the state. Default: as it is.
    own_grid : bool
        Whether the cells differ from those of the state.
    cells : tuple of ndarray
        Numbers of the cells in its whole grid along (time, y, x), as in `Place`.
    period : int, optional
        Cells of its whole grid along x if that goes round the globe.
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
        """Where an observation counts."""
        return np.isfinite(self.values)

    @property
    def direct(self) -> bool:
        """Whether it sees the state's own cells, as they are."""
        return self.operator is None and not self.own_grid


@dataclass(frozen=True, eq=False)
class Layout:
    """What a method is asked for, before any value is read.

    Attributes
    ----------
    variables : tuple of str
        What is wanted.
    grid : Grid
        The grid of the state.
    sources : tuple of Source
        What observes it, without values.
    """

    variables: tuple[str, ...]
    grid: Grid
    sources: tuple[Source, ...]


@dataclass(frozen=True, eq=False)
class Place:
    """Where a tile lies, and which part of it is used.

    Attributes
    ----------
    cells : tuple of ndarray
        Numbers of the tile's cells in the whole grid along (time, y, x), from
        which random draws are made, so that tiles that share cells share them.
    keep : tuple of slice
        The part of the tile that is used.
    words : str
        The tile in words, for errors.
    period : int, optional
        Cells of the whole grid along x if it goes round the globe.
    """

    cells: Cells
    keep: Box
    words: str = "the tile"
    period: int | None = None


@dataclass(frozen=True, eq=False)
class Problem:
    """One tile: numbers with every axis in ascending order.

    Attributes
    ----------
    variables : tuple of str
        What is wanted.
    grid : Grid
        The grid of the state.
    sea : ndarray of bool, shape (ny, nx)
        True where the state is wanted.
    sources : tuple of Source
        What was observed.
    backgrounds : mapping of str to ndarray
        First guesses that were given as fields, by variable.
    place : Place
        Where the tile lies.
    """

    variables: tuple[str, ...]
    grid: Grid
    sea: np.ndarray
    sources: tuple[Source, ...]
    backgrounds: Mapping[str, np.ndarray]
    place: Place

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
        """Where the only source observed."""
        return self.source.observed

    def seen(self, variable: str) -> np.ndarray:
        """All observations of a variable, ``(m,)``.

        Parameters
        ----------
        variable : str
            Its name.
        """
        found = [s.values[s.observed] for s in self.sources if s.variable == variable]
        return np.concatenate(found) if found else np.empty(0)


@dataclass(frozen=True)
class Wanted:
    """What is wanted besides the mean.

    Attributes
    ----------
    error : bool
        The standard deviation of the analysis error.
    members : int
        How many samples of the posterior.
    """

    error: bool = False
    members: int = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of array that an `Estimate` must hold for each variable."""
        also = [k for k, on in (("error", self.error), ("members", self.members)) if on]
        return ("mean", *also)


@dataclass(eq=False)
class Estimate:
    """What a method answers, on the part of the tile that is kept.

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
        """Every array, by variable and kind."""
        kinds = {"mean": self.mean, "error": self.error, "members": self.members}
        return {(v, kind): a for kind, some in kinds.items() for v, a in some.items()}
