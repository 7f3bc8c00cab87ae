"""What a user can get wrong, by name.

Every error says what was found, what was expected and what to do about it.
Each is also the built-in error that a user of xarray would expect
(``ValueError``, ``TypeError``, ``KeyError``, ``OSError``), so that existing
``except`` clauses hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "AxesError",
    "DataError",
    "DeviceError",
    "DownloadError",
    "GridError",
    "HashError",
    "MaskError",
    "OptionError",
    "TileError",
    "UnitsError",
    "UnknownNameError",
    "WeightsError",
    "XinverseError",
]


class XinverseError(Exception):
    """Base of every error that the package raises on purpose."""


class AxesError(XinverseError, ValueError):
    """The time, y or x axis was not found, or several candidates were."""


class GridError(XinverseError, ValueError):
    """The coordinates are not what the method needs (irregular, duplicated, 2-D ...)."""


class MaskError(XinverseError, ValueError):
    """The land-sea mask does not fit the field."""


class DataError(XinverseError, ValueError):
    """The values themselves cannot be used (infinite, nothing observed ...)."""


class UnitsError(XinverseError, ValueError):
    """The units are missing, or are not those that weights or a model are in."""


class OptionError(XinverseError, TypeError):
    """A keyword that the method does not have, or a value of the wrong kind."""


class TileError(XinverseError, ValueError):
    """The tile cannot be cut from the grid, or does not fit in memory."""


class DeviceError(XinverseError, ValueError):
    """The device that was asked for is not there."""


class WeightsError(XinverseError, ValueError):
    """The weights are for other variables, another resolution or another method."""


class HashError(WeightsError):
    """A weight file's sha256 is not the registered one."""


class DownloadError(XinverseError, OSError):
    """A weight file could not be fetched; nothing was left in the cache."""


class UnknownNameError(XinverseError, KeyError):
    """A name that no registry holds.

    Parameters
    ----------
    kind : str
        What was looked for, such as ``"method"``.
    name : object
        What was found.
    known : iterable of str
        What the registry holds.
    """

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        known = sorted(known)
        near = get_close_matches(str(name), known, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        self.message = (
            f"There is no {kind} named {name!r}.{hint} "
            f"Known {kind}s: {', '.join(map(repr, known)) or 'none'}."
        )
        super().__init__(kind, name, known)

    def __str__(self) -> str:  # KeyError would show the tuple of its arguments
        return self.message
