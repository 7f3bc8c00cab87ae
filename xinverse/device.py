"""Where a solve runs: CPU or GPU, how many threads, one solve per device at a time.

The only file that names cupy or ``torch.cuda``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xinverse.errors import DeviceError

if TYPE_CHECKING:
    import torch

__all__ = ["Precision", "check_device", "is_cupy", "occupy", "to_host", "to_like"]

Precision = Literal["float32", "bfloat16"]  # of the convolutions of networks

_locks: dict[str, threading.Lock] = {}
_locks_guard = threading.Lock()


def check_device(device: str) -> str:
    """Check the spelling of a device without touching it (that is for the worker).

    Parameters
    ----------
    device : str
        ``"auto"`` (a GPU if there is one where the tile is solved), ``"cpu"``,
        ``"mps"``, ``"cuda"`` or ``"cuda:N"``.

    Raises
    ------
    DeviceError
        If it is none of them.
    """
    kind, _, number = str(device).partition(":")
    known = kind in {"auto", "cpu", "cuda", "mps"}
    if not known or (number and not (kind == "cuda" and number.isdigit())):
        raise DeviceError(
            f"device={device!r}: expected 'auto', 'cpu', 'mps', 'cuda' or 'cuda:N'. "
            "Leave it out to use a GPU where there is one."
        )
    return device


def resolve_device(device: str) -> torch.device:
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceError(
            f"device={device!r} was asked for, but torch sees no CUDA GPU on this machine. "
            "Use device='cpu', or install a torch built for its GPU."
        )
    chosen = torch.device(device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device={device!r} was asked for, but this machine has "
            f"{torch.cuda.device_count()} CUDA GPU(s), numbered from 0."
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device='mps' was asked for, but torch has no MPS here.")
    return chosen


def require_device(device: str) -> None:
    """Fail now, not in a worker, where the solve is to run in this process."""
    if device not in {"auto", "cpu"}:
        resolve_device(device)


@contextmanager
def occupy(device: str) -> Iterator[torch.device]:
    """Hold a device for one solve.

    Dask's threads would otherwise run several solves at once on the same cores
    or the same GPU, each slower and all of them in memory. The lock is held
    inside the task because annotations on a graph do not survive its
    optimisation. On a dask worker, whose children start with one OpenMP
    thread, torch is given as many threads as the worker has.
    """
    import torch

    chosen = resolve_device(device)
    with _locks_guard:
        lock = _locks.setdefault(str(chosen), threading.Lock())
    with lock:
        before = torch.get_num_threads()
        wanted = _worker_threads()
        if wanted and chosen.type == "cpu":
            torch.set_num_threads(wanted)
        try:
            yield chosen
        finally:
            torch.set_num_threads(before)


def _worker_threads() -> int | None:
    """Threads of the dask worker that this code runs on, if it does."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return int(distributed.get_worker().state.nthreads)
    except ValueError:  # not on a worker
        return None


def is_cupy(array: Any) -> bool:
    """Whether an array lives in cupy, told without importing it."""
    return type(array).__module__.partition(".")[0] == "cupy"


def to_host(array: Any) -> np.ndarray:
    """A numpy array of the same values."""
    return array.get() if is_cupy(array) else np.asarray(array)


def to_like(array: np.ndarray, like: Any) -> Any:
    """Hand an array back in the kind in which its input came."""
    if not is_cupy(like):
        return array
    import cupy

    return cupy.asarray(array)
