"""Package-wide options, set for a block or for good, as in xarray."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, TypedDict, Unpack, overload

from xinverse.errors import OptionError, UnknownNameError

__all__ = ["get_option", "set_options"]


class _Options(TypedDict, total=False):
    """What may be set, and in which forms."""

    device: str
    memory_budget: int | float | str
    progress: bool


_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_SIZE = re.compile(r"(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def _device(value: object) -> str:
    if isinstance(value, str) and _DEVICE.fullmatch(value):
        return value
    raise OptionError(
        f"device is {value!r}. It has to be 'auto' (a GPU where there is one), 'cpu', "
        "'mps', 'cuda', or one GPU by its number, such as 'cuda:0'."
    )


def _memory_budget(value: object) -> int:
    size = 0.0
    if isinstance(value, str):
        if found := _SIZE.fullmatch(value.strip()):
            number, prefix, binary = found.groups()
            size = float(number) * (1024 if binary else 1000) ** _POWER[prefix.lower()]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        size = float(value)
    if 1 <= size < float("inf"):
        return int(size)
    raise OptionError(
        f"memory_budget is {value!r}. It has to be a number of bytes, such as 2e9, or a "
        "text with a unit, such as '2 GiB' or '500 MB'."
    )


def _progress(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise OptionError(f"progress is {value!r}. It has to be True or False.")


_CHECKS: dict[str, Callable[[object], Any]] = {
    "device": _device,
    "memory_budget": _memory_budget,
    "progress": _progress,
}

_current: dict[str, Any] = {
    "device": "auto",
    "memory_budget": 2**30,
    "progress": False,
}


@overload
def get_option(name: Literal["device"]) -> str: ...
@overload
def get_option(name: Literal["memory_budget"]) -> int: ...
@overload
def get_option(name: Literal["progress"]) -> bool: ...
def get_option(name: str) -> Any:
    """The value that an option has now.

    Options are read when a verb is called, never inside a dask task: what was in force
    when a lazy result was made is what it is computed with, on any worker.

    Parameters
    ----------
    name : {"device", "memory_budget", "progress"}
        The option, as described in `set_options`.

    Returns
    -------
    str, int or bool
        The value, in its normal form: ``memory_budget`` is a whole number of bytes.

    Raises
    ------
    UnknownNameError
        No option has this name.

    Examples
    --------
    >>> import xinverse.options
    >>> xinverse.options.get_option("memory_budget")
    1073741824
    """
    if name not in _current:
        raise UnknownNameError("option", name, _current)
    return _current[name]


class set_options:  # noqa: N801 -- called like a function, and named as in xarray
    """Set options for a ``with`` block, or from here on.

    A keyword of a verb, where it is given, goes before the option of the same name.

    Parameters
    ----------
    **options : str, int, float or bool
        The options to set, by name; the others stay as they are.

        ``device`` : where tiles are solved.
            ``"auto"`` (the default: a GPU where there is one, else the CPU), ``"cpu"``,
            ``"mps"``, ``"cuda"``, or one GPU by its number, such as ``"cuda:0"``.
        ``memory_budget`` : what the solve of one tile may take, in bytes.
            A number, or a text such as ``"2 GiB"`` or ``"500 MB"``; 1 GiB by default.
            ``tile="auto"`` stays within it. The results of two budgets may differ, in the
            way that those of two tile sizes do; two chunkings never do.
        ``progress`` : whether verbs show a progress bar on eager input.
            ``False`` by default.

    Raises
    ------
    UnknownNameError
        No option has this name; the text gives the near ones.
    OptionError
        The value is of the wrong kind; nothing has been set.

    Examples
    --------
    >>> import xinverse.options
    >>> with xinverse.options.set_options(memory_budget="500 MB"):
    ...     xinverse.options.get_option("memory_budget")
    500000000
    >>> xinverse.options.get_option("memory_budget")
    1073741824
    """

    def __init__(self, **options: Unpack[_Options]) -> None:
        checked: dict[str, Any] = {}
        for name, value in options.items():
            if name not in _CHECKS:
                raise UnknownNameError("option", name, _CHECKS)
            checked[name] = _CHECKS[name](value)
        self._before = {name: _current[name] for name in checked}
        _current.update(checked)

    def __enter__(self) -> None:
        return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _current.update(self._before)
