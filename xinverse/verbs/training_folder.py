"""The folder of a training: a checkpoint, and a file that says which training it is of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xinverse.errors import OptionError
from xinverse.weights.store import atomic_write

__all__ = ["checkpoint_of"]

SETTINGS_FILE, CHECKPOINT = "training.json", "checkpoint.pt"


def checkpoint_of(folder: Path, identity: Mapping[str, Any]) -> Path:
    """Path of the checkpoint in a folder that is used for one training only.

    Parameters
    ----------
    folder : Path
        Created if absent.
    identity : mapping
        What the weights depend on, as JSON values.

    Raises
    ------
    OptionError
        The folder holds another training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / SETTINGS_FILE
    given = json.loads(json.dumps(identity))  # tuples become lists, as in the file
    if not file.exists():
        atomic_write(file, json.dumps(given, indent=1, sort_keys=True).encode())
        return folder / CHECKPOINT
    found = json.loads(file.read_text(encoding="utf-8"))
    if found != given:
        keys = sorted(k for k in {*found, *given} if found.get(k) != given.get(k))
        first = keys[0]
        raise OptionError(
            f"The folder {str(folder)!r} holds another training: {', '.join(keys)} differ "
            f"({first} is {found.get(first)!r} there, {given.get(first)!r} here). Give "
            "another folder=, or remove it."
        )
    return folder / CHECKPOINT
