"""Checks of what users pass: one place for each kind, so that all errors read alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from math import isfinite
from typing import Any

import numpy as np

from xinverse.errors import OptionError

__all__ = [
    "check_choice",
    "check_count",
    "check_mapping",
    "check_number",
    "check_switch",
    "in_days",
    "is_number",
]

# Largest values that can be meant, by keyword, with the reason; larger ones are mistakes.
LARGEST: dict[str, tuple[float, str]] = {
    "length_scale": (20_000, "km, half of the way round the Earth"),
    "time_scale": (36_525, "days, a century"),
    "tolerance": (0.5, "a share; at 1 the start would be the result"),
    "members": (10_000, "each costs a solve, and a thousand give the error within 3 %"),
    "passes": (1_000, "each costs a run of the network; passes converge within ten or so"),
    "rounds": (100_000, "each computes the EOFs again"),
    "iterations": (1_000_000, "more would run for days"),
}


def is_number(value: object) -> bool:
    """Whether a value is a finite real number; a boolean is not."""
    if not isinstance(value, int | float | np.number) or isinstance(
        value, bool | np.timedelta64
    ):
        return False
    try:
        return bool(isfinite(value))
    except (OverflowError, TypeError):  # 10**400 has no float; complex numbers are not real
        return False


def in_days(value: Any) -> Any:
    """A duration as a number of days; anything else as it is.

    Parameters
    ----------
    value : object
        Such as ``numpy.timedelta64(5, "D")``, ``pandas.Timedelta("5D")`` or
        ``datetime.timedelta(days=5)``.
    """
    if isinstance(value, timedelta):  # pandas' are too
        return value / timedelta(days=1)
    if isinstance(value, np.timedelta64):
        return float(value / np.timedelta64(1, "D"))
    return value


def check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> None:
    """Require a finite number within bounds.

    Parameters
    ----------
    name : str
        The keyword, for the error.
    value : object
        What was given.
    above, below : float, optional
        Bounds that the number may not reach.
    least, most : float, optional
        Bounds that it may reach.

    Raises
    ------
    OptionError
        The value is not a number, or is out of bounds.
    """
    words = []
    if above is not None:
        words.append(f"above {above:g}")
    if least is not None:
        words.append(f"{least:g} or more")
    if below is not None:
        words.append(f"below {below:g}")
    if most is not None:
        words.append(f"at most {most:g}")
    number: Any = value
    within = is_number(value) and (
        (above is None or number > above)
        and (least is None or number >= least)
        and (below is None or number < below)
        and (most is None or number <= most)
    )
    if not within:
        expected = f"a number {' and '.join(words)}".strip()
        raise OptionError(f"{name}={value!r}: expected {expected}.")
    _check_largest(name, number)


def check_count(
    name: str, value: object, *, least: int = 1, what: str = "a whole number"
) -> None:
    """Require a whole number.

    Parameters
    ----------
    name : str
        The keyword, for the error.
    value : object
        What was given.
    least : int
        Smallest number allowed.
    what : str
        What is counted, for the error.

    Raises
    ------
    OptionError
        The value is not a whole number, or is too small.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or int(value) < least:  # type: ignore[call-overload]  # whole by then
        raise OptionError(f"{name}={value!r}: expected {what}, {least} or more.")
    _check_largest(name, int(value))  # type: ignore[call-overload]  # whole by then


def _check_largest(name: str, number: float) -> None:
    """Require a value that can be meant."""
    most, why = LARGEST.get(name, (float("inf"), ""))
    if number > most:
        raise OptionError(f"{name}={number!r}: expected at most {most:g} ({why}).")


def check_choice(name: str, value: object, known: Iterable[str]) -> None:
    """Require one of some words.

    Parameters
    ----------
    name : str
        The keyword, for the error.
    value : object
        What was given.
    known : iterable of str
        The words.

    Raises
    ------
    OptionError
        The value is none of them.
    """
    words = tuple(known)
    if not isinstance(value, str) or value not in words:
        raise OptionError(f"{name}={value!r}: expected one of {', '.join(map(repr, words))}.")


def check_switch(**values: object) -> None:
    """Require True or False for each keyword.

    Parameters
    ----------
    **values : object
        What was given, by keyword.

    Raises
    ------
    OptionError
        A value is neither.
    """
    for name, value in values.items():
        if not isinstance(value, bool | np.bool_):
            raise OptionError(f"{name}={value!r}: expected True or False.")


def check_mapping(name: str, value: object) -> None:
    """Require a dictionary.

    Parameters
    ----------
    name : str
        The keyword, for the error.
    value : object
        What was given.

    Raises
    ------
    OptionError
        The value is not a mapping.
    """
    if not isinstance(value, Mapping):
        raise OptionError(f"{name}={value!r}: expected a dictionary.")
