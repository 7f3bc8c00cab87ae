"""A promise of weights: known and checked at the call, read where the tile is solved."""

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

# A lru_cache alone lets two threads read the same file; the lock lets one.
_load_lock = threading.Lock()


@dataclass(frozen=True)
class WeightsRef:
    """Weights that are described but not yet read; small, and safe to pickle.

    Parameters
    ----------
    name_or_path : str
        The registered name, or the absolute path of the user's file.
    card : ModelCard
        The model card.
    token : str
        What stands for the content in the keys of tasks and in caches: the
        file's sha256 for registered weights, the sha256 of the header (which
        holds the sha256 of the rest of the file) for a user's file.
    entry : Entry or None
        The registry's entry; None for a user's file.
    package : pathlib.Path or None
        The folder of the registry; None for the installed package's, wherever
        that is on the machine that loads.
    """

    name_or_path: str
    card: ModelCard
    token: str
    entry: Entry | None = None
    package: Path | None = None

    @property
    def sha256(self) -> str | None:
        """The file's sha256 where it is registered; None for a user's file."""
        return None if self.entry is None else self.entry.sha256

    def path(self, progress: bool = False) -> Path:
        """Find the file on this machine, and download it where it is registered but absent.

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
            On the CPU. The tensors are shared by all who load these weights in
            this process: copy them (``load_state_dict`` does) and do not change
            them in place.

        Raises
        ------
        WeightsError
            Where a user's file is gone, or is no longer the one described.
        HashError, DownloadError
            As `path`.
        """
        with _load_lock:
            return dict(_load(self))

    def __hash__(self) -> int:
        """Hash of the token, which stands for the content."""
        return hash(self.token)


@lru_cache(maxsize=8)
def _load(ref: WeightsRef) -> dict[str, torch.Tensor]:
    token = ref.token if ref.entry is None else None
    return load_tensors(ref.path(), token)
