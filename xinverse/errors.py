"""Errors and warnings of xinverse.

Each error text says what was found, what was expected and what to do. Each class is also
the built-in error that xarray would raise (``ValueError``, ``TypeError``, ``KeyError``,
``OSError``), so that existing ``except`` clauses work.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

__all__ = [
    "AxesError",
    "DataError",
    "DeviceError",
    "DownloadError",
    "GridError",
    "HashError",
    "MaskError",
    "MetricWarning",
    "OptionError",
    "TileError",
    "UnitsError",
    "UnknownNameError",
    "WeightsError",
    "XinverseError",
    "warn",
]

PACKAGE = Path(__file__).parent


class XinverseError(Exception):
    """Base class of the package's errors."""


class AxesError(XinverseError, ValueError):
    """The time, y or x axis was not found, or several candidates were."""


class GridError(XinverseError, ValueError):
    """The coordinates do not suit the method (irregular, duplicated, 2-D ...)."""


class MaskError(XinverseError, ValueError):
    """The land-sea mask does not fit the field."""


class DataError(XinverseError, ValueError):
    """The values themselves cannot be used (infinite, nothing observed ...)."""


class UnitsError(XinverseError, ValueError):
    """The units are missing, or differ from those of the weights or model."""


class OptionError(XinverseError, TypeError):
    """A keyword is unknown to the method, or its value is of the wrong kind."""


class TileError(XinverseError, ValueError):
    """The tile cannot be cut from the grid, or does not fit in memory."""


class DeviceError(XinverseError, ValueError):
    """The requested device does not exist."""


class WeightsError(XinverseError, ValueError):
    """The weights are for other variables, another resolution or another method."""


class HashError(WeightsError):
    """The SHA-256 of a weight file is not the registered one."""


class DownloadError(WeightsError, OSError):
    """A weight file could not be downloaded; the cache is unchanged."""


class UnknownNameError(XinverseError, KeyError):
    """A name is not in the registry.

    Parameters
    ----------
    kind : str
        Kind of object, such as ``"method"``.
    name : object
        The unknown name.
    known : iterable of str
        The registered names.
    meant : str, optional
        The one that is meant, if that is known. Default: those that are spelled alike.
    """

    def __init__(
        self, kind: str, name: object, known: Iterable[str], meant: str | None = None
    ) -> None:
        known = sorted(known)
        near = [meant] if meant else get_close_matches(str(name), known, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        self.message = (
            f"There is no {kind} named {name!r}.{hint} "
            f"Known {kind}s: {', '.join(map(repr, known)) or 'none'}."
        )
        super().__init__(kind, name, known)

    def __str__(self) -> str:  # KeyError would show its arguments as a tuple
        return self.message


class MetricWarning(UserWarning):
    """Distances on the grid are far from those on the Earth, as near a pole."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line of the user's that called the package.

    Parameters
    ----------
    message : str
        What was found, and what to do.
    category : type
        A class of this module.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back and Path(frame.f_code.co_filename).is_relative_to(PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
