"""Registries of operators, priors, solvers and methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
            return self._entries[name]
        except (KeyError, TypeError):
            raise UnknownNameError(self.kind, name, self._entries) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
