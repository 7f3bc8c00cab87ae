"""Prepare the next batch in a thread while the network trains on the current one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["ahead"]

Data = TypeVar("Data")


@contextmanager
def ahead(batch_at: Callable[[int], Data]) -> Iterator[Callable[[int], Data]]:
    """Prepare the batch of the following step in a thread.

    Parameters
    ----------
    batch_at : callable
        The batch of a step, a function of its number alone.

    Yields
    ------
    callable
        The same function. Steps out of order are computed when they are called for.
    """
    waiting: dict[int, Future[Data]] = {}
    with ThreadPoolExecutor(1, thread_name_prefix="xinverse-batches") as thread:

        def at(step: int) -> Data:
            ready = waiting.pop(step, None)
            for other in waiting.values():
                other.cancel()
            waiting.clear()
            batch = batch_at(step) if ready is None else ready.result()
            waiting[step + 1] = thread.submit(batch_at, step + 1)
            return batch

        try:
            yield at
        finally:
            for future in waiting.values():
                future.cancel()
