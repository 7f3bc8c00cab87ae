"""Attributes of a result: history, error, ancillary variables."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr

from xinverse._version import __version__

__all__ = [
    "ancillary_attributes",
    "describe_call",
    "error_attributes",
    "history_line",
    "prepend_history",
]


def prepend_history(attrs: Mapping[Any, Any], line: str) -> dict[Any, Any]:
    """Prepend a line to the CF ``history``, newest first.

    Parameters
    ----------
    attrs : mapping
        Attributes; not modified.
    line : str
        The new line, such as from :func:`history_line`.

    Returns
    -------
    dict
        A copy of ``attrs`` with the line.
    """
    before = attrs.get("history")
    return {**attrs, "history": f"{line}\n{before}" if before else line}


def history_line(call: str, now: datetime | None = None) -> str:
    """Return ``"2026-11-20T10:00:00Z: xinverse 0.1 interpolate(method='oi')"``.

    Parameters
    ----------
    call : str
        The call, such as from :func:`describe_call`.
    now : datetime, optional
        Time of the call, with its time zone. Default: now.

    Returns
    -------
    str
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}: xinverse {__version__} {call}"


def describe_call(verb: str, **arguments: Any) -> str:
    """Return a call in one line, with arrays by type and shape; nothing is computed.

    Parameters
    ----------
    verb : str
        Such as ``"interpolate"``.
    **arguments
        Its arguments; None values are left out.

    Returns
    -------
    str
        Such as ``"interpolate(method='oi', length_scale=100)"``.
    """
    words = [f"{k}={_describe_value(v)}" for k, v in arguments.items() if v is not None]
    return f"{verb}({', '.join(words)})"


def error_attributes(da: xr.DataArray) -> dict[Hashable, Any]:
    """Return the attributes of the error of a variable.

    Parameters
    ----------
    da : DataArray
        The variable.

    Returns
    -------
    dict
        ``long_name``, ``units`` and ``grid_mapping`` if the variable has them, and its
        ``standard_name`` with the CF modifier ``standard_error``, if it has one.
    """
    unnamed = "field" if da.name is None else da.name
    name = da.attrs.get("long_name") or da.attrs.get("standard_name") or unnamed
    attrs: dict[Hashable, Any] = {"long_name": f"{name} analysis error, one standard deviation"}
    if standard_name := da.attrs.get("standard_name"):
        attrs["standard_name"] = f"{standard_name} standard_error"
    for key in ("units", "grid_mapping"):
        if (value := da.attrs.get(key)) is not None:
            attrs[key] = value
    return attrs


def ancillary_attributes(attrs: Mapping[Any, Any], *names: Hashable) -> dict[Any, Any]:
    """Add names, such as that of the error, to the CF attribute ``ancillary_variables``.

    Parameters
    ----------
    attrs : mapping
        Attributes of the main variable; not modified.
    *names : hashable
        Names of the ancillary variables.

    Returns
    -------
    dict
        A copy of ``attrs`` with each name once.
    """
    known = str(attrs.get("ancillary_variables", "")).split()
    added = [str(name) for name in names if str(name) not in known]
    return {**attrs, "ancillary_variables": " ".join((*known, *added))}


def _describe_value(value: Any) -> str:
    if isinstance(value, (xr.DataArray, xr.Dataset)):
        sizes = ", ".join(f"{name}: {size}" for name, size in value.sizes.items())
        named = f" {value.name!r}" if getattr(value, "name", None) is not None else ""
        words = f"<{type(value).__name__}{named} ({sizes})>"
    elif isinstance(value, np.generic):
        words = repr(value.item())
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        words = f"<{type(value).__name__} {tuple(value.shape)}>"
    elif isinstance(value, Mapping):
        inside = (f"{key!r}: {_describe_value(item)}" for key, item in value.items())
        words = "{" + ", ".join(inside) + "}"
    elif isinstance(value, (list, tuple)):
        words = "[" + ", ".join(map(_describe_value, value)) + "]"
    elif isinstance(value, str):
        words = repr(value)
    else:
        words = str(value).partition("\n")[0]
    return words
