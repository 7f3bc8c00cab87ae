"""What a method is: a named answer to the inverse problem, with its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import Any, ClassVar, Self

import numpy as np

from xinverse.errors import GridError, OptionError
from xinverse.fields.grid import Grid
from xinverse.methods.problem import Estimate, Layout, Problem, Wanted
from xinverse.registry import Registry

__all__ = ["METHODS", "Footprint", "Method"]


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


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A named choice of operator, prior and solver.

    A subclass is a frozen dataclass: its fields are the method's keywords, with their
    defaults, and ``__post_init__`` checks them. It is pickled into the tasks of a lazy
    result, so it holds names and numbers, and no network or open file.

    Attributes
    ----------
    name, summary : str
        The name in the registry, and what it is in a line.
    companions : tuple of str
        Keywords that may be a variable instead of a number: ``"noise"``, ``"background"``.
    gives : tuple of str
        What it can return besides the mean: ``"error"``, ``"members"``.
    learned : bool
        Whether it has weights.
    regular : tuple of str
        Which of ``"time"`` and ``"space"`` must be regular.
    through : bool
        Whether it takes observations through a linear operator, or on other cells
        than those of the state.
    couples : bool
        Whether it takes several variables at once.
    bytes_per_cell : float
        What a solve holds for each cell of its tile and each variable.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    companions: ClassVar[tuple[str, ...]] = ("background",)
    gives: ClassVar[tuple[str, ...]] = ()
    learned: ClassVar[bool] = False
    regular: ClassVar[tuple[str, ...]] = ()
    through: ClassVar[bool] = False
    couples: ClassVar[bool] = False
    bytes_per_cell: ClassVar[float] = 120

    @classmethod
    def made(cls, options: Mapping[str, Any]) -> Self:
        """Make the method from keywords.

        Parameters
        ----------
        options : mapping
            The keywords.

        Raises
        ------
        OptionError
            A keyword is unknown or missing, or has a value that the method does not take.
        """
        known = {f.name: f for f in fields(cls) if f.name != "weights" or cls.learned}
        unknown = sorted(set(options) - set(known))
        if unknown:
            near = [n for name in unknown for n in get_close_matches(name, known, n=1)]
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
        """What a result depends on, for dask's names: the name and every option.

        Weights stand for themselves by their own token, the hash of their content.
        """
        values = [(f.name, getattr(self, f.name)) for f in fields(self)]
        return (self.name, *((name, getattr(v, "token", v)) for name, v in values))

    @property
    def units(self) -> str | None:
        """The units that the variable must have; None if any will do."""
        return None

    def check(self, layout: Layout) -> None:
        """Require what the method can work on.

        Parameters
        ----------
        layout : Layout
            Grids and sources, without values.

        Raises
        ------
        GridError
            An axis must be regular and is not.
        OptionError
            The method takes one variable, or none through an operator.
        """
        grid = layout.grid
        if "time" in self.regular and not grid.regular_time:
            raise GridError(
                f"method={self.name!r} needs a regular time step; these range from "
                f"{np.diff(grid.time).min():g} to {np.diff(grid.time).max():g} days. Reindex "
                "the time axis (missing dates become gaps), or use method='oi', which takes "
                "any dates."
            )
        if "space" in self.regular:
            self.require_regular_space(grid)
        if len(layout.variables) > 1 and not self.couples:
            raise OptionError(
                f"method={self.name!r} takes one variable at a time, and "
                f"{', '.join(map(repr, layout.variables))} were to be solved together. Use "
                "method='oi' with correlation=, or solve them one by one."
            )
        if not self.through and not all(source.direct for source in layout.sources):
            raise OptionError(
                f"method={self.name!r} takes observations of the field itself, cell by cell, "
                "and these are seen through an operator. Use method='oi', 'tikhonov', 'tv' or "
                "'variational'."
            )

    def require_regular_space(self, grid: Grid, what: str = "") -> None:
        """Require an even spacing of y and of x.

        Parameters
        ----------
        grid : Grid
            The grid.
        what : str
            What of the method needs it, for the error.

        Raises
        ------
        GridError
            The spacing varies.
        """
        if not grid.regular_space:
            raise GridError(
                f"method={self.name!r}{what} needs a regular grid in space, and the spacing of "
                "y or x varies. Interpolate to a regular grid first, or use method='oi' with "
                "covariance='gaussian'."
            )

    @abstractmethod
    def footprint(self, layout: Layout, budget: float) -> Footprint:
        """The tile that the method wants: a function of grids and options alone.

        Parameters
        ----------
        layout : Layout
            The whole grid and its sources.
        budget : float
            Bytes that one solve may take.
        """

    @abstractmethod
    def solve(self, problem: Problem, wanted: Wanted, device: Any) -> Estimate:
        """Solve one tile.

        Parameters
        ----------
        problem : Problem
            The tile.
        wanted : Wanted
            What is wanted besides the mean.
        device : torch.device
            Where to solve.

        Returns
        -------
        Estimate
            On the part of the tile that is kept, land not yet masked.
        """


METHODS: Registry[type[Method]] = Registry("method")
