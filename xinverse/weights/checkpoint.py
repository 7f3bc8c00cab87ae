"""Read the tensors of other programs' checkpoints, without running code from them."""

from __future__ import annotations

import os
import re
import zipfile
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
    if not os.path.isfile(path):  # Path.is_file raises for names that are too long
        what = "is a folder" if os.path.isdir(path) else "does not exist"
        raise WeightsError(f"The checkpoint {str(path)!r} {what}. Pass the path of a file.")
    try:
        _refuse_compressed(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as reason:  # a damaged file can make torch.load raise anything
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
    size = path.stat().st_size
    for name, value in state.items():
        # A tensor may repeat a few bytes as a huge array, which any operation would write out.
        if value.layout != torch.strided or value.numel() * value.element_size() > size:
            raise WeightsError(
                f"{str(path)!r}: the tensor {str(name)!r} of shape {tuple(value.shape)} is "
                f"sparse or larger than the file, which has {size} bytes; expected a dense "
                "tensor. Write its contiguous() copy."
            )
    return {str(name): value for name, value in state.items()}


def _refuse_compressed(path: Path) -> None:
    """Refuse a zip file that unpacks to more than itself; torch.save does not compress."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > path.stat().st_size:
        raise ValueError("its entries are compressed")


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
