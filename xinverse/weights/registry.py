"""The registered weights, and the reference for a user's ``weights=``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from xinverse.errors import OptionError, UnknownNameError, WeightsError
from xinverse.weights.card import ModelCard
from xinverse.weights.entry import Entry
from xinverse.weights.field_checks import Labelled
from xinverse.weights.json_text import parse
from xinverse.weights.locate import locate
from xinverse.weights.reference import WeightsRef
from xinverse.weights.store import Header, read_header

if TYPE_CHECKING:
    from xinverse.fields.grid import Grid

__all__ = ["WeightsRegistry", "cards", "describe", "fetch", "fitting", "installed"]

REGISTRY_FILE = "registry.json"
SUFFIX = ".safetensors"


class WeightsRegistry:
    """Registered weights by name.

    Parameters
    ----------
    entries : iterable of Entry
        The entries, with unique names.
    package : pathlib.Path, optional
        The folder whose ``bundled/`` holds the bundled files. Default: that of the
        installed package.

    Raises
    ------
    WeightsError
        If a name is repeated, or a method has two defaults.
    """

    def __init__(self, entries: Iterable[Entry], package: Path | None = None) -> None:
        self.entries: dict[str, Entry] = {}
        self.package = package
        defaults: dict[str, str] = {}
        for entry in entries:
            if entry.name in self.entries:
                raise WeightsError(f"The weights {entry.name!r} are registered twice.")
            self.entries[entry.name] = entry
            method = entry.card.method
            if entry.default and method in defaults:
                raise WeightsError(
                    f"Both {defaults[method]!r} and {entry.name!r} are registered as the "
                    f"default weights of the method {method!r}; expected one."
                )
            if entry.default:
                defaults[method] = entry.name
        self._defaults = defaults

    @classmethod
    def read(cls, package: Path | None = None) -> WeightsRegistry:
        """Read ``registry.json``.

        Parameters
        ----------
        package : pathlib.Path, optional
            The folder that holds it. Default: that of the installed package.

        Raises
        ------
        WeightsError
            The file is absent, is not JSON, or has an entry that is not valid.
        """
        folder = package or Path(__file__).parent
        path = folder / REGISTRY_FILE
        try:
            values = parse(path.read_bytes(), f"The registry {str(path)!r}")
        except OSError as reason:
            raise WeightsError(
                f"The registry {str(path)!r} cannot be read ({reason}). Install xinverse again."
            ) from reason
        if not isinstance(values, dict):
            raise WeightsError(f"The registry {str(path)!r} is not a JSON object of entries.")
        return cls([Entry.from_dict(name, entry) for name, entry in values.items()], package)

    def cards(self) -> dict[str, ModelCard]:
        """Return the model card of every registered name, without opening a weight file."""
        return {name: entry.card for name, entry in self.entries.items()}

    def fetch(self, name: str, progress: bool = False) -> Path:
        """Find registered weights on this machine; download them if they are absent.

        As `xinverse.weights.registry.fetch`.

        Parameters
        ----------
        name : str
            A registered name.
        progress : bool, default False
            Whether to show a progress bar while downloading.

        Returns
        -------
        pathlib.Path
            The file, with its SHA-256 verified.

        Raises
        ------
        UnknownNameError, HashError, DownloadError
            As `xinverse.weights.registry.fetch`.
        """
        return locate(self._entry(name), self.package, progress)

    def describe(
        self,
        weights: str | os.PathLike[str] | None,
        method: str,
        check: Callable[[Header], None] | None = None,
    ) -> WeightsRef:
        """Resolve a user's ``weights=``, without reading tensors or downloading.

        Parameters
        ----------
        weights : str, path-like or None
            A registered name, the path of a file, or None for the method's default. A
            string is a path if it ends in ``.safetensors`` or holds a folder separator,
            or if it is an existing file and not a registered name.
        method : str
            The method that uses the weights.
        check : callable, optional
            Called with the header of a user's file; raises `WeightsError`.

        Raises
        ------
        WeightsError
            If the method has no default, the file is absent or invalid, or the weights
            belong to another method.
        UnknownNameError
            If no weights have this name.
        OptionError
            If `weights` is neither a string nor a path.
        """
        header = None
        if weights is None:
            ref = self._registered(self._default(method))
        elif not isinstance(weights, str | os.PathLike):
            raise OptionError(
                f"weights is {weights!r}, of type {type(weights).__name__}; expected a "
                "registered name, the path of a .safetensors file, or None."
            )
        elif isinstance(weights, str) and not self._is_path(weights):
            ref = self._registered(weights)
        else:
            path = Path(weights).expanduser().absolute()  # a worker runs in another folder
            header = read_header(path)
            ref = WeightsRef(str(path), header.card, header.token)
        if ref.card.method != method:
            raise WeightsError(
                f"The weights {ref.name_or_path!r} are for the method {ref.card.method!r}, not "
                f"for {method!r}. Pass weights of this method ({self._names(method)}), or "
                f"method={ref.card.method!r}."
            )
        if header is not None and check is not None:
            try:
                check(header)
            except WeightsError as reason:
                where = f"In the weight file {ref.name_or_path!r}"
                raise WeightsError(f"{where}: {reason}") from reason
        return ref

    def fitting(self, grid: Grid, da: Labelled) -> dict[str, str | None]:
        """Return for each registered name why it does not fit a field, or None if it fits.

        Parameters
        ----------
        grid : xinverse.fields.grid.Grid
            The field's grid.
        da : xarray.DataArray
            The field; only its ``name`` and ``attrs`` are read.
        """
        return {name: card.fits(grid, da) for name, card in self.cards().items()}

    def _is_path(self, text: str) -> bool:
        if text in self.entries:
            return False
        separators = [os.sep, "/"] + ([os.altsep] if os.altsep else [])
        return (
            text.endswith(SUFFIX)
            or any(separator in text for separator in separators)
            or Path(text).is_file()
        )

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise UnknownNameError("weight file", name, self.entries)
        return self.entries[name]

    def _registered(self, name: str) -> WeightsRef:
        entry = self._entry(name)
        return WeightsRef(name, entry.card, entry.sha256, entry, self.package)

    def _names(self, method: str) -> str:
        names = [name for name, card in self.cards().items() if card.method == method]
        return ", ".join(map(repr, names)) or "none is registered"

    def _default(self, method: str) -> str:
        if method not in self._defaults:
            raise WeightsError(
                f"The method {method!r} has no default weights. Pass weights=, a name "
                f"(registered for it: {self._names(method)}) or the path of a .safetensors "
                "file, as written by the save(path) of a model from xinverse.train or "
                "xinverse.load_model."
            )
        return self._defaults[method]


@lru_cache(maxsize=1)
def installed() -> WeightsRegistry:
    """Return the registry of the installed package, read once."""
    return WeightsRegistry.read()


def cards() -> dict[str, ModelCard]:
    """Return the model card of every registered name.

    Returns
    -------
    dict of str to ModelCard
    """
    return installed().cards()


def fetch(name: str, progress: bool = False) -> Path:
    """Find registered weights on this machine; download them if they are absent.

    Search order: the package, the shared folders of ``XINVERSE_WEIGHTS_PATH``
    (read-only), the cache (``XINVERSE_CACHE_DIR``), the server
    (``XINVERSE_WEIGHTS_URL``).

    Parameters
    ----------
    name : str
        A registered name.
    progress : bool, default False
        Whether to show a progress bar while downloading.

    Returns
    -------
    Path
        The file, with its SHA-256 verified.

    Raises
    ------
    UnknownNameError
        If no weights have this name.
    HashError
        If the file found or downloaded does not have the registered SHA-256.
    DownloadError
        If the file is absent and could not be downloaded.
    """
    return installed().fetch(name, progress)


def describe(
    weights: str | os.PathLike[str] | None,
    method: str,
    check: Callable[[Header], None] | None = None,
) -> WeightsRef:
    """Resolve a user's ``weights=``, without reading tensors or downloading.

    See `WeightsRegistry.describe`.
    """
    return installed().describe(weights, method, check)


def fitting(grid: Grid, da: Labelled) -> dict[str, str | None]:
    """Return for each registered name why it does not fit a field, or None if it fits.

    See `WeightsRegistry.fitting`.
    """
    return installed().fitting(grid, da)
