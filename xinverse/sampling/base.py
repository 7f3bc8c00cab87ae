"""The base class of sampling designs, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from xinverse.errors import OptionError
from xinverse.registry import Registry
from xinverse.sampling.problem import SamplingProblem

__all__ = ["DESIGNS", "Design", "Score", "StaticScore"]

Cell = tuple[int, int, int]


class Score(Protocol):
    """What each place is worth, given those that were taken before.

    Attributes
    ----------
    values : ndarray
        The worth of each place, in the shape of the design (or one for each track).
    """

    values: np.ndarray

    def exact(self, place: int) -> float:
        """Worth of one place; ``values`` may be a bound from above until it is taken."""

    def take(self, place: int) -> None:
        """Update the values after a place, a number in the flattened values, was taken."""


@dataclass(eq=False)
class StaticScore:
    """Values that do not depend on what was taken.

    Attributes
    ----------
    values : ndarray
        The worth of each place.
    """

    values: np.ndarray

    def exact(self, place: int) -> float:
        """Worth of one place."""
        return float(self.values.reshape(-1)[place])

    def take(self, place: int) -> None:
        """Nothing changes."""


@dataclass(frozen=True, kw_only=True)
class Design(ABC):
    """A rule that says what each place is worth.

    A subclass is a frozen dataclass whose fields are its keywords, with defaults. The
    places are then taken one by one, the best of those that the constraints allow
    (`xinverse.sampling.select`).

    Attributes
    ----------
    name, summary : str
        The registered name, and a description in one line.
    of_tracks : bool
        Whether the design can choose among tracks.
    needs_maps : bool
        Whether it learns from complete maps.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    of_tracks: ClassVar[bool] = False
    needs_maps: ClassVar[bool] = False

    @classmethod
    def made(cls, options: Mapping[str, Any]) -> Self:
        """Create the design from keywords.

        Parameters
        ----------
        options : mapping
            The keywords.

        Raises
        ------
        OptionError
            A keyword is unknown, or has an invalid value.
        """
        known = [f.name for f in fields(cls)]
        for name in sorted(set(options) - set(known)):
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise OptionError(
                f"design_sampling(method={cls.name!r}) has no option {name!r}.{hint} Its "
                f"options are {', '.join(map(repr, known)) or 'none'}, besides those of the "
                "prior and the constraints."
            )
        return cls(**options)

    @abstractmethod
    def score(self, problem: SamplingProblem) -> Score:
        """What each place is worth before anything is taken.

        Parameters
        ----------
        problem : SamplingProblem
            Grid, prior, constraints and sample of the field.
        """

    def priority(self, score: Score) -> np.ndarray:
        """A map from 0 to 1 of where observations matter, before the first is taken.

        Parameters
        ----------
        score : Score
            As made by `score`.
        """
        values = np.asarray(score.values, dtype=np.float64)
        top = values.max(initial=0.0)
        return np.clip(values / top, 0.0, 1.0) if top > 0 else np.zeros_like(values)


DESIGNS: Registry[type[Design]] = Registry("sampling design")
DESIGNS.declare(
    learned="xinverse.sampling.learned",
    qr="xinverse.sampling.qr",
    random="xinverse.sampling.random",
    regular="xinverse.sampling.regular",
    variance="xinverse.sampling.variance",
)
