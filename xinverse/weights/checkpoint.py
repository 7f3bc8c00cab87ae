"""Checkpoints of other programs: tensors by name, and never the code in them."""

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

# How the names of torch's own files end.
CHECKPOINTS = (".ckpt", ".pt", ".pth")

# How torch names what it refuses to build.
REFUSED = re.compile(r"GLOBAL ([\w.]+)")


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read the tensors of a torch checkpoint onto the CPU; no code in it is run.

    Parameters
    ----------
    path : path-like
        What ``torch.save`` wrote: a ``state_dict``, or a dictionary that holds
        one as ``"state_dict"``, as Lightning's checkpoints do.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    WeightsError
        There is no such file, it is no checkpoint, it holds no state, or it
        holds objects that only the running of code would build.
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
            "a dictionary that holds one under the key 'state_dict'. Write one with "
            "torch.save(network.state_dict(), path)."
        )
    odd = [str(name) for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise WeightsError(
            f"{str(path)!r} is no state_dict: {_names(odd)} {'is' if len(odd) == 1 else 'are'} "
            f"no tensor, and its keys are {_names(list(map(str, state)))}. Expected tensors by "
            "name, or a dictionary that holds them under the key 'state_dict'."
        )
    return {str(name): value for name, value in state.items()}


def _refusal(path: Path, reason: Exception) -> WeightsError:
    if refused := REFUSED.search(str(reason)):
        return WeightsError(
            f"{str(path)!r} holds Python objects beside tensors ({refused[1]}), "
            "which only the running of code from the file would build; xinverse never does. "
            "With the program that wrote it, and if you trust it, write its tensors alone: "
            "torch.save(network.state_dict(), path)."
        )
    return WeightsError(
        f"{str(path)!r} cannot be read as a torch checkpoint: it is damaged, or of another "
        "kind. Expected the tensors of torch.save(network.state_dict(), path), or what "
        "Lightning writes. Copy it again, or write it anew."
    )


def _words(content: object) -> str:
    if isinstance(content, Mapping):
        return f"a dictionary with the keys {_names(list(map(str, content)))}"
    return f"a {type(content).__name__}"


def _names(names: list[str], most: int = 6) -> str:
    shown = ", ".join(map(repr, names[:most])) or "none"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
