"""Registries of operators, priors, solvers and methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar

from xinverse.errors import UnknownNameError

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Map names to objects; unknown names raise an error with near ones.

    Parameters
    ----------
    kind : str
        Kind of the objects, in the singular; used in error texts.

    Examples
    --------
    >>> solvers = Registry("solver")
    >>> @solvers.register("none")
    ... class Nothing:
    ...     pass
    >>> solvers["none"] is Nothing
    True
    >>> solvers["nine"]
    Traceback (most recent call last):
    ...
    xinverse.errors.UnknownNameError: There is no solver named 'nine'. Did you mean 'none'? ...
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._modules: dict[str, str] = {}
        self._others: dict[str, str] = {}

    def declare(self, **modules: str) -> None:
        """Say which module registers a name; it is imported when the name is looked up.

        Parameters
        ----------
        **modules : str
            Module by name.
        """
        self._modules |= modules

    def suggest(self, **names: str) -> None:
        """Say which name to suggest for one of another package.

        Parameters
        ----------
        **names : str
            Name here by name elsewhere, in lower case with hyphens.
        """
        self._others |= names

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers an object under a unique ``name``."""

        def enter(entry: T) -> T:
            known = self._entries.get(name)
            if known is not None and known is not entry:
                raise ValueError(
                    f"The {self.kind} {name!r} is already {known!r}: choose another name."
                )
            self._entries[name] = entry
            return entry

        return enter

    def __getitem__(self, name: str) -> T:
        try:
            if name not in self._entries and name in self._modules:
                import_module(self._modules[name])
            return self._entries[name]
        except (KeyError, TypeError):
            elsewhere = "-".join(str(name).lower().replace("_", " ").split())
            meant = self._others.get(elsewhere, elsewhere if elsewhere in list(self) else None)
            raise UnknownNameError(self.kind, name, list(self), meant) from None

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._modules), **self._entries})

    def __len__(self) -> int:
        return len(set(self._modules) | set(self._entries))
