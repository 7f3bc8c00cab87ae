"""Devices and threads: where a solve runs, one solve per device at a time.

This is the only module that names cupy or ``torch.cuda``.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xinverse.errors import DeviceError

if TYPE_CHECKING:
    import torch

__all__ = ["DEVICE", "Precision", "check_device", "is_cupy", "occupy", "to_host", "to_like"]

Precision = Literal["float32", "bfloat16"]  # of the convolutions of networks
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")

_locks: dict[str, threading.Lock] = {}
_locks_guard = threading.Lock()


def check_device(device: str) -> str:
    """Check the spelling of a device; the worker checks that it exists.

    Parameters
    ----------
    device : str
        ``"auto"`` (a GPU if there is one where the tile is solved), ``"cpu"``,
        ``"mps"``, ``"cuda"`` or ``"cuda:N"``.

    Raises
    ------
    DeviceError
        If the spelling is unknown.
    """
    if not DEVICE.fullmatch(str(device)):
        raise DeviceError(
            f"device={device!r}: expected 'auto', 'cpu', 'mps', 'cuda' or 'cuda:N'. "
            "Leave it out to use a GPU if there is one."
        )
    return device


def resolve_device(device: str) -> torch.device:
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceError(
            f"device={device!r}: torch found no CUDA GPU on this machine. Use device='cpu', or "
            "install a torch built for this GPU."
        )
    chosen = torch.device(device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device={device!r}: this machine has {torch.cuda.device_count()} CUDA GPU(s), "
            "numbered from 0. Use one of these, or device='cpu'."
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device='mps': torch has no MPS here. Use device='cpu'.")
    return chosen


def require_device(device: str) -> None:
    """Check that a device exists in this process, before a solve starts."""
    if device not in {"auto", "cpu"}:
        resolve_device(device)


@contextmanager
def occupy(device: str) -> Iterator[torch.device]:
    """Hold a device for one solve.

    Dask's threads would otherwise run several solves at once on the same cores or GPU,
    each slower and all in memory. The lock is held inside the task because annotations of
    a graph are lost when it is optimised. On a dask worker, which starts with one OpenMP
    thread, torch gets as many threads as the worker has.
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
    """Threads of the dask worker that runs this code; None outside a worker."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return int(distributed.get_worker().state.nthreads)
    except ValueError:  # not on a worker
        return None


def is_cupy(array: Any) -> bool:
    """Whether an array is a cupy array, without importing cupy."""
    return type(array).__module__.partition(".")[0] == "cupy"


def to_host(array: Any) -> np.ndarray:
    """Copy an array to numpy, if it is not already.

    Raises
    ------
    DeviceError
        The array is neither of numpy nor of cupy, and cannot be copied.
    """
    if is_cupy(array) and hasattr(array, "get"):
        return array.get()
    try:
        return np.asarray(array)
    except (TypeError, RuntimeError) as error:
        kind = f"{type(array).__module__}.{type(array).__qualname__}"
        raise DeviceError(
            f"An array of the type {kind} cannot be copied to the processor: {error} Expected "
            "a numpy array, or a cupy array with its method get(). Convert it first: "
            "obj.copy(data=values), with values in numpy."
        ) from error


def to_like(array: np.ndarray, like: Any) -> Any:
    """Convert an array to the type of another, numpy or cupy."""
    if not is_cupy(like):
        return array
    import cupy

    return cupy.asarray(array)
