"""A reference to weights: checked at the call, read where a tile is solved."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from xinverse.weights.card import ModelCard
from xinverse.weights.entry import Entry
from xinverse.weights.locate import locate
from xinverse.weights.store import load_tensors

if TYPE_CHECKING:
    import torch

__all__ = ["WeightsRef"]

# Without the lock, two threads could read the same file.
_load_lock = threading.Lock()


@dataclass(frozen=True)
class WeightsRef:
    """Weights that are described but not yet read; small, and picklable.

    Parameters
    ----------
    name_or_path : str
        The registered name, or the absolute path of the user's file.
    card : ModelCard
        The model card.
    token : str
        Identifies the content in task keys and caches: the file's SHA-256 for
        registered weights, and for a user's file the SHA-256 of the header, which
        holds the SHA-256 of the rest of the file.
    entry : Entry or None
        The registry's entry; None for a user's file.
    package : pathlib.Path or None
        The folder of the registry; None for that of the package installed on the
        machine that loads.
    """

    name_or_path: str
    card: ModelCard
    token: str
    entry: Entry | None = None
    package: Path | None = None

    @property
    def sha256(self) -> str | None:
        """SHA-256 of a registered file; None for a user's file."""
        return None if self.entry is None else self.entry.sha256

    def path(self, progress: bool = False) -> Path:
        """Find the file on this machine; download a registered one if it is absent.

        Parameters
        ----------
        progress : bool, default False
            Whether to show a progress bar while downloading.

        Raises
        ------
        HashError, DownloadError
            As `xinverse.weights.locate.locate`.
        """
        if self.entry is None:
            return Path(self.name_or_path)
        return locate(self.entry, self.package, progress)

    def load(self) -> dict[str, torch.Tensor]:
        """Read the tensors, once per process.

        Returns
        -------
        dict of str to torch.Tensor
            On the CPU, and shared within the process: copy them (``load_state_dict``
            does) instead of changing them in place.

        Raises
        ------
        WeightsError
            If a user's file no longer exists, or has changed since it was described.
        HashError, DownloadError
            As `path`.
        """
        with _load_lock:
            return dict(_load(self))

    def __hash__(self) -> int:
        """Hash of the token."""
        return hash(self.token)


@lru_cache(maxsize=8)
def _load(ref: WeightsRef) -> dict[str, torch.Tensor]:
    token = ref.token if ref.entry is None else None
    return load_tensors(ref.path(), token)
