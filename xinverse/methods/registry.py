"""The methods by name: importing this file registers those of the package."""

from __future__ import annotations

from xinverse.methods import (  # noqa: F401  imported to be registered
    dineof,
    fixed_point,
    four_dvar,
    learned,
    oi,
    reference,
    regularised,
    variational,
)
from xinverse.methods.base import METHODS, Method

__all__ = ["available", "find"]


def available() -> dict[str, type[Method]]:
    """Every registered method, by name."""
    return {name: METHODS[name] for name in sorted(METHODS)}


def find(name: str) -> type[Method]:
    """The method of that name; `UnknownNameError` with the near ones otherwise."""
    return METHODS[name]
