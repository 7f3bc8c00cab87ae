"""The methods by name; importing this module registers those of the package."""

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
    """Return every registered method, by name."""
    return {name: METHODS[name] for name in sorted(METHODS)}


def find(name: str) -> type[Method]:
    """Return the method of a name; raise `UnknownNameError` with near names if unknown."""
    return METHODS[name]
