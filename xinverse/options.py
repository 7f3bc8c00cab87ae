"""Package-wide options, set for a block or permanently, as in xarray."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, TypedDict, Unpack, overload

from xinverse.checks import check_switch
from xinverse.device import DEVICE
from xinverse.errors import OptionError, UnknownNameError

__all__ = ["get_option", "set_options"]


class _Options(TypedDict, total=False):
    """The options and their types."""

    device: str
    memory_budget: int | float | str
    progress: bool


_SIZE = re.compile(r"(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def _device(value: object) -> str:
    if isinstance(value, str) and DEVICE.fullmatch(value):
        return value
    raise OptionError(
        f"device={value!r}: expected 'auto' (a GPU if there is one), 'cpu', 'mps', 'cuda', or "
        "one GPU by its number, such as 'cuda:0'."
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
        f"memory_budget={value!r}: expected a number of bytes, such as 2e9, or a string with "
        "a unit, such as '2 GiB' or '500 MB'."
    )


def _progress(value: object) -> bool:
    check_switch(progress=value)
    return bool(value)


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
    """Return the current value of an option.

    Options are read when a verb is called, never inside a dask task: a lazy result is
    computed with the options of its call, on any worker.

    Parameters
    ----------
    name : {"device", "memory_budget", "progress"}
        The option; see `set_options`.

    Returns
    -------
    str, int or bool
        The value; ``memory_budget`` is an integer number of bytes.

    Raises
    ------
    UnknownNameError
        If the option is unknown.

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
    """Set options for a ``with`` block, or permanently.

    Keywords of a verb take precedence over options of the same name.

    Parameters
    ----------
    **options : str, int, float or bool
        The options to set, by name; others are unchanged.

        ``device`` : device to solve tiles on.
            ``"auto"`` (a GPU if there is one, else the CPU), ``"cpu"``, ``"mps"``,
            ``"cuda"``, or one GPU by its number, such as ``"cuda:0"``. Default: ``"auto"``.
        ``memory_budget`` : memory for the solve of one tile, in bytes.
            A number, or a string such as ``"2 GiB"`` or ``"500 MB"``. Default: 1 GiB.
            ``tile="auto"`` stays within it. Results may differ between budgets as
            between tile sizes, but never between chunkings.
        ``progress`` : whether verbs show a progress bar on eager input.
            Default: ``False``.

    Raises
    ------
    UnknownNameError
        If an option is unknown; the text suggests near names.
    OptionError
        If a value is invalid; no option is set.

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
