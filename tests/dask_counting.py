"""A guard for tests: inside it, dask may build graphs but not compute them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask


class CountingScheduler:
    """A dask scheduler that counts what it is asked to compute.

    Parameters
    ----------
    allowed : int
        How many computations are let through before the next one fails.
    """

    def __init__(self, allowed: int = 0) -> None:
        self.allowed = allowed
        self.computed = 0

    def __call__(self, graph: Any, keys: Any, **options: Any) -> Any:
        self.computed += 1
        if self.computed > self.allowed:
            raise AssertionError(
                f"dask computed {self.computed} times where {self.allowed} were allowed"
            )
        get: Callable[..., Any] = dask.get  # the synchronous scheduler
        return get(graph, keys, **options)


@contextmanager
def raise_if_dask_computes(allowed: int = 0) -> Iterator[CountingScheduler]:
    """Fail where dask computes more often than allowed inside the block.

    Parameters
    ----------
    allowed : int
        How many computations may happen.

    Yields
    ------
    CountingScheduler
        Its ``computed`` tells how many there were.
    """
    scheduler = CountingScheduler(allowed)
    with dask.config.set(scheduler=scheduler):
        yield scheduler
