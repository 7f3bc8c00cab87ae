"""The methods by name."""

from __future__ import annotations

from typing import Any

from xinverse.methods.base import Method
from xinverse.registry import Registry

__all__ = ["METHODS", "available", "find"]

METHODS: Registry[type[Method[Any]]] = Registry("method")


def available() -> dict[str, Method[Any]]:
    """Every method of the package, by name."""
    _load()
    return {name: METHODS[name]() for name in METHODS}


def find(name: str) -> Method[Any]:
    """The method of that name; `UnknownNameError` with the near ones otherwise."""
    _load()
    return METHODS[name]()


def _load() -> None:
    """Import the files that register the methods; they import no torch."""
    from xinverse.methods import oi  # noqa: F401  imported to be registered
