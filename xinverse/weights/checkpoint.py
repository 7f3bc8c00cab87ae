"""Read the tensors of other programs' checkpoints, without running code from them."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xinverse.errors import WeightsError

if TYPE_CHECKING:
    import torch

__all__ = ["CHECKPOINTS", "read_checkpoint"]

# Suffixes of torch's own files.
CHECKPOINTS = (".ckpt", ".pt", ".pth")

# How torch names an object that it refuses to build.
REFUSED = re.compile(r"GLOBAL ([\w.]+)")


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read the tensors of a torch checkpoint onto the CPU; no code in it is run.

    Parameters
    ----------
    path : path-like
        File written by ``torch.save``: a ``state_dict``, or a dictionary that holds one
        under ``"state_dict"``, as Lightning's checkpoints do.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    WeightsError
        If the file does not exist, is not a checkpoint, holds no state, or holds objects
        that can only be built by running code.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise WeightsError(f"The checkpoint {str(path)!r} {what}. Pass the path of a file.")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError) as reason:
        raise _refusal(path, reason) from reason
    state = content
    if isinstance(content, Mapping) and "state_dict" in content:
        state = content["state_dict"]
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(
            f"{str(path)!r} holds {_words(state)}; expected a state_dict (tensors by name), or "
            "a dictionary with one under the key 'state_dict'. Write one with "
            "torch.save(network.state_dict(), path)."
        )
    odd = [str(name) for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise WeightsError(
            f"{str(path)!r} is not a state_dict: its values include {_names(odd)}, not "
            f"tensors; its keys are {_names(list(map(str, state)))}. Expected tensors by "
            "name, or a dictionary that holds them under the key 'state_dict'."
        )
    return {str(name): value for name, value in state.items()}


def _refusal(path: Path, reason: Exception) -> WeightsError:
    if refused := REFUSED.search(str(reason)):
        return WeightsError(
            f"{str(path)!r} holds Python objects as well as tensors ({refused[1]}). They can "
            "only be built by running code from the file, which xinverse never does. If you "
            "trust the file, load it with the program that wrote it, and save only its "
            "tensors: torch.save(network.state_dict(), path)."
        )
    return WeightsError(
        f"{str(path)!r} cannot be read as a torch checkpoint: it is damaged, or of another "
        "kind. Expected a file written by torch.save(network.state_dict(), path) or by "
        "Lightning. Copy or write it again."
    )


def _words(content: object) -> str:
    if isinstance(content, Mapping):
        return f"a dictionary with the keys {_names(list(map(str, content)))}"
    return f"a {type(content).__name__}"


def _names(names: list[str], most: int = 6) -> str:
    shown = ", ".join(map(repr, names[:most])) or "none"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
