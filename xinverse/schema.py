"""What a dictionary of settings may hold: for each key a kind of value, with bounds.

A network declares its arguments in a `Schema`, a learned method what it keeps on model cards.
The settings of a weight file are thus checked before anything is built from them.
"""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xinverse.checks import is_number

__all__ = ["Kind", "Later", "List", "Maybe", "Number", "Schema", "Switch", "Whole", "Word"]


class Kind(ABC):
    """A kind of value."""

    @property
    @abstractmethod
    def expected(self) -> str:
        """The kind in words, for errors."""

    @abstractmethod
    def holds(self, value: object) -> bool:
        """Whether a value is of this kind."""

    def check(self, name: str, value: object) -> None:
        """Require a value of this kind.

        Parameters
        ----------
        name : str
            The key, for the error.
        value : object
            What was found.

        Raises
        ------
        ValueError
            It is of another kind, or out of bounds.
        """
        if not self.holds(value):
            raise ValueError(f"{name}={reprlib.repr(value)}: expected {self.expected}.")


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number.

    Parameters
    ----------
    least, most : int
        Bounds, both allowed.
    """

    least: int
    most: int

    @property
    def expected(self) -> str:
        """The bounds."""
        return f"a whole number from {self.least} to {self.most}"

    def holds(self, value: object) -> bool:
        """Whether it is an integer within the bounds; a boolean is not."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and self.least <= value <= self.most  # type: ignore[operator]  # an int


@dataclass(frozen=True)
class Number(Kind):
    """A finite number.

    Parameters
    ----------
    least, most : float
        Bounds, both allowed.
    """

    least: float
    most: float

    @property
    def expected(self) -> str:
        """The bounds."""
        return f"a number from {self.least:g} to {self.most:g}"

    def holds(self, value: object) -> bool:
        """Whether it is a Python number within the bounds."""
        number = isinstance(value, int | float) and is_number(value)
        return number and self.least <= value <= self.most  # type: ignore[operator]  # real


@dataclass(frozen=True)
class Switch(Kind):
    """True or False."""

    @property
    def expected(self) -> str:
        """The two values."""
        return "True or False"

    def holds(self, value: object) -> bool:
        """Whether it is a boolean."""
        return isinstance(value, bool)


class Word(Kind):
    """One of some words.

    Parameters
    ----------
    *known : str
        The words.
    """

    def __init__(self, *known: str) -> None:
        self.known = known

    @property
    def expected(self) -> str:
        """The words."""
        return f"one of {', '.join(map(repr, self.known))}"

    def holds(self, value: object) -> bool:
        """Whether it is one of them."""
        return isinstance(value, str) and value in self.known


@dataclass(frozen=True)
class Maybe(Kind):
    """A value of some kind, or None.

    Parameters
    ----------
    kind : Kind
        The kind.
    """

    kind: Kind

    @property
    def expected(self) -> str:
        """The kind, or None."""
        return f"{self.kind.expected}, or None"

    def holds(self, value: object) -> bool:
        """Whether it is None or of the kind."""
        return value is None or self.kind.holds(value)


@dataclass(frozen=True)
class List(Kind):
    """Several values of one kind, as a list or a tuple.

    Parameters
    ----------
    kind : Kind
        The kind.
    least, most : int
        Bounds of their number.
    """

    kind: Kind
    least: int
    most: int

    @property
    def expected(self) -> str:
        """Number and kind."""
        count = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
        return f"{count} values in a list, each {self.kind.expected}"

    def holds(self, value: object) -> bool:
        """Whether it is a list of them."""
        listed = isinstance(value, list | tuple) and self.least <= len(value) <= self.most
        return listed and all(map(self.kind.holds, value))  # type: ignore[call-overload]


@dataclass(frozen=True)
class Later:
    """A key that was added after weights had been saved without it.

    Parameters
    ----------
    kind : Kind
        The kind of its values.
    absent : object
        What settings without the key mean.
    """

    kind: Kind
    absent: Any


class Schema(Kind):
    """A dictionary with a fixed set of keys.

    Parameters
    ----------
    **keys : Kind or Later
        The kind of each key's value. A `Later` key may be missing.

    Examples
    --------
    >>> options = Schema(window=Whole(1, 100), gain=Later(Number(0, 1), 0.5))
    >>> options.read({"window": 5, "passes": 2})
    {'window': 5, 'gain': 0.5}
    >>> options.check("config", {"window": -1})
    Traceback (most recent call last):
    ...
    ValueError: config.window=-1: expected a whole number from 1 to 100.
    """

    def __init__(self, **keys: Kind | Later) -> None:
        self.keys = {k: v.kind if isinstance(v, Later) else v for k, v in keys.items()}
        self.absent = {k: v.absent for k, v in keys.items() if isinstance(v, Later)}

    @property
    def expected(self) -> str:
        """The keys."""
        return f"a dictionary with the keys {', '.join(map(repr, self.keys))}"

    def holds(self, value: object) -> bool:
        """Whether `check` accepts it."""
        try:
            self.check("value", value)
        except ValueError:
            return False
        return True

    def check(self, name: str, value: object) -> None:
        """Require the keys, and a value of the right kind for each.

        Parameters
        ----------
        name : str
            The dictionary, for the error.
        value : object
            What was found.

        Raises
        ------
        ValueError
            It is no dictionary; a key is missing or unknown; or a value is of another kind.
        """
        if not isinstance(value, Mapping):
            raise ValueError(f"{name}={reprlib.repr(value)}: expected {self.expected}.")
        found: Any = value
        unknown = [key for key in found if key not in self.keys]
        missing = [key for key in self.keys if key not in found and key not in self.absent]
        if unknown or missing:
            raise ValueError(
                f"{name} has unknown keys {reprlib.repr(unknown)} and lacks "
                f"{reprlib.repr(missing)}; expected {self.expected}."
            )
        for key, kind in self.keys.items():
            if key in found:
                kind.check(f"{name}.{key}", found[key])

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The keys of this schema, with what missing ones mean.

        Parameters
        ----------
        values : mapping
            May hold other keys too.

        Raises
        ------
        ValueError
            As `check`, except for other keys.
        """
        own = {key: values[key] for key in self.keys if key in values}
        missing = [key for key in self.keys if key not in own and key not in self.absent]
        if missing:
            raise ValueError(f"{', '.join(map(repr, missing))} missing: {self.expected}.")
        for key, value in own.items():
            self.keys[key].check(key, value)
        found = {**self.absent, **own}
        return {key: found[key] for key in self.keys}

    def __or__(self, other: Schema) -> Schema:
        """A dictionary with the keys of both."""
        both = Schema()
        both.keys = {**self.keys, **other.keys}
        both.absent = {**self.absent, **other.absent}
        return both
