"""The base class of methods: named solutions of the inverse problem, with options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from xinverse.errors import GridError, OptionError
from xinverse.fields.grid import Grid
from xinverse.methods.problem import Estimate, Layout, Problem, Wanted
from xinverse.registry import Registry

if TYPE_CHECKING:
    from xinverse.methods.auto_scales import Request

__all__ = ["METHODS", "Footprint", "Method"]


@dataclass(frozen=True)
class Footprint:
    """The tile size that a method requests for a grid.

    Attributes
    ----------
    core, halo : tuple of int
        Number of cells along (time, y, x).
    reason : str
        Explanation of the size, shown in the plan.
    """

    core: tuple[int, int, int]
    halo: tuple[int, int, int]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A named choice of operator, prior and solver.

    A subclass is a frozen dataclass whose fields are the method's keywords, with their
    defaults; ``__post_init__`` checks them. It is pickled into the tasks of a lazy result,
    so it holds only names and numbers, no networks or open files.

    Attributes
    ----------
    name, summary : str
        The registered name, and a description in one line.
    companions : tuple of str
        Keywords that may be a variable or a number: ``"noise"``, ``"background"``.
    words : mapping of str to tuple of str
        For companions that may also be a word, these words.
    gives : tuple of str
        Results besides the mean: ``"error"``, ``"members"``.
    learned : bool
        Whether the method has weights.
    metric : bool
        Whether the result depends on distances between cells.
    regular : tuple of str
        The axes that must be regular: ``"time"``, ``"space"``.
    through : bool
        Whether observations may be made through a linear operator, or on other cells
        than the state's.
    couples : bool
        Whether the method can solve several variables together.
    bytes_per_cell : float
        Memory of a solve per cell of its tile and per variable.
    cost_growth : float
        Power of the side of a tile with which the cost per cell of a solve grows.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    companions: ClassVar[tuple[str, ...]] = ("background",)
    words: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    gives: ClassVar[tuple[str, ...]] = ()
    learned: ClassVar[bool] = False
    regular: ClassVar[tuple[str, ...]] = ()
    through: ClassVar[bool] = False
    couples: ClassVar[bool] = False
    metric: ClassVar[bool] = True
    bytes_per_cell: ClassVar[float] = 120
    cost_growth: ClassVar[float] = 0.0

    @classmethod
    def made(cls, options: Mapping[str, Any], common: Sequence[str] = ()) -> Self:
        """Create the method from keywords.

        Parameters
        ----------
        options : mapping
            The keywords.
        common : sequence of str, optional
            Keywords of all verbs, which may be what a misspelled option means.

        Raises
        ------
        OptionError
            If a keyword is unknown or missing, or has an invalid value.
        """
        known = {f.name: f for f in fields(cls) if f.name != "weights" or cls.learned}
        unknown = sorted(set(options) - set(known))
        if unknown:
            near = [
                n for name in unknown for n in get_close_matches(name, [*known, *common], n=1)
            ]
            hint = f" Did you mean {' and '.join(map(repr, near))}?" if near else ""
            raise OptionError(
                f"method={cls.name!r} has no option {', '.join(map(repr, unknown))}.{hint} "
                f"Its options are {', '.join(map(repr, known))}."
            )
        optional = {
            n for n, f in known.items() if (f.default, f.default_factory) != (MISSING, MISSING)
        }
        needed = [n for n in known if n not in optional and n not in options]
        if needed:
            raise OptionError(f"method={cls.name!r} needs {', '.join(map(repr, needed))}.")
        return cls(**options)

    @property
    def token(self) -> tuple[Any, ...]:
        """Everything that a result depends on, for dask's names: the name and all options.

        Weights are included by their token, a hash of their content.
        """
        values = [(f.name, getattr(self, f.name)) for f in fields(self)]
        return (self.name, *((name, getattr(v, "token", v)) for name, v in values))

    @property
    def units(self) -> str | None:
        """Required units of the variable; None for any."""
        return None

    def check(self, layout: Layout) -> None:
        """Check that the method can solve the problem.

        Parameters
        ----------
        layout : Layout
            Grids and sources, without values.

        Raises
        ------
        GridError
            If an axis that must be regular is not.
        OptionError
            If there are several variables or operators that the method does not support.
        """
        grid = layout.grid
        if "time" in self.regular and not grid.regular_time:
            raise GridError(
                f"method={self.name!r} needs a regular time step; found steps from "
                f"{np.diff(grid.time).min():g} to {np.diff(grid.time).max():g} days. Reindex "
                "the time axis (missing dates become gaps), or use method='oi', which takes "
                "any dates."
            )
        if "space" in self.regular:
            self.require_regular_space(grid)
        if len(layout.variables) > 1 and not self.couples:
            raise OptionError(
                f"method={self.name!r} takes one variable at a time; found "
                f"{', '.join(map(repr, layout.variables))} to solve together. Use "
                "method='oi' with correlation=, or solve each variable on its own."
            )
        if not self.through and not all(source.direct for source in layout.sources):
            raise OptionError(
                f"method={self.name!r} takes observations of the field itself, cell by cell; "
                "these are made through an operator. Use method='oi', 'tikhonov', 'tv' or "
                "'variational'."
            )

    def require_regular_space(self, grid: Grid, what: str = "") -> None:
        """Require a constant spacing of y and of x.

        Parameters
        ----------
        grid : Grid
            The grid.
        what : str
            The part of the method that needs it, for the error text.

        Raises
        ------
        GridError
            If the spacing varies.
        """
        if not grid.regular_space:
            raise GridError(
                f"method={self.name!r}{what} needs a regular grid in space; the spacing of "
                "y or x varies. Interpolate to a regular grid first, or use method='oi' with "
                "covariance='gaussian'."
            )

    def request(self, layout: Layout) -> Request | None:  # noqa: ARG002  subclasses use it
        """What is to be estimated from the data before tiles are solved; None for nothing.

        Parameters
        ----------
        layout : Layout
            Grids and sources, without values.
        """
        return None

    @abstractmethod
    def footprint(self, layout: Layout, budget: float) -> Footprint:
        """Tile size of the method; it depends on grids and options only.

        Parameters
        ----------
        layout : Layout
            The whole grid and its sources.
        budget : float
            Memory of one solve, in bytes.
        """

    @abstractmethod
    def solve(self, problem: Problem, wanted: Wanted, device: Any) -> Estimate:
        """Solve one tile.

        Parameters
        ----------
        problem : Problem
            The tile.
        wanted : Wanted
            What to return besides the mean.
        device : torch.device
            Device to solve on.

        Returns
        -------
        Estimate
            On the kept part of the tile, before land is masked.
        """


METHODS: Registry[type[Method]] = Registry("method")
