"""The next batch is made ready while the last one is learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["ahead"]

Data = TypeVar("Data")


@contextmanager
def ahead(batch_at: Callable[[int], Data]) -> Iterator[Callable[[int], Data]]:
    """Make the batch of the step after the one that is asked for, in a thread.

    Parameters
    ----------
    batch_at : callable
        The batch of a step, a function of its number alone.

    Yields
    ------
    callable
        The same; steps that are asked for out of turn are made at once.
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
