"""Weight files: safetensors, with the model card and a SHA-256 in the header.

A file is ``8 bytes (little-endian length) | JSON header | tensors``. The header's
``__metadata__`` holds ``card`` (the model card as JSON) and ``sha256`` (of the rest of
the header and the tensors' bytes). The header alone thus identifies the whole file,
can be read without torch, and reveals any changed byte on loading. Equal tensors and
an equal card give an equal file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import reprlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from xinverse.errors import HashError, WeightsError
from xinverse.weights.card import ModelCard
from xinverse.weights.json_text import parse
from xinverse.weights.tensor_table import TensorEntry, read_table

if TYPE_CHECKING:
    import torch

__all__ = [
    "Header",
    "atomic_write",
    "file_sha256",
    "load_tensors",
    "read_card",
    "read_header",
    "save",
]

PREFIX = 8
MAX_HEADER = 2_000_000  # bytes: a card and some 15,000 tensors
SHA256 = re.compile(r"[0-9a-f]{64}")
ZIP_MAGIC = b"PK\x03\x04"
FOREIGN = (
    "xinverse reads safetensors files that hold a model card. Convert a checkpoint of the "
    "reference 4DVarNet code with the save of xinverse.load_model(path, ...), and another one "
    "with torch.load(path, weights_only=True) and xinverse.weights.save(path, tensors, card)."
)


@dataclass(frozen=True)
class Header:
    """Header of a weight file.

    Parameters
    ----------
    card : ModelCard
        The model card.
    digest : str
        SHA-256 of `layout` followed by the tensors' bytes, as written by `save`.
    token : str
        SHA-256 of the header's bytes. Through `digest` it identifies the whole file,
        whatever its path and date.
    layout : bytes
        The header's JSON without the digest.
    tensors : dict of str to TensorEntry
        The tensors' types and shapes.
    """

    card: ModelCard
    digest: str
    token: str
    layout: bytes
    tensors: Mapping[str, TensorEntry]


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Parameters
    ----------
    path : path-like
        The file.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def atomic_write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file completely or not at all.

    Parameters
    ----------
    path : path-like
        The file; an existing one is replaced in one step.
    content : bytes
        The bytes to write.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read and check the header of a weight file, without torch and the tensors.

    Parameters
    ----------
    path : path-like
        A file written by `save`.

    Raises
    ------
    WeightsError
        If the file does not exist, is truncated, is not a safetensors file, or has no
        model card.
    """
    path = Path(path)
    if not os.path.isfile(path):
        what = "is a folder" if os.path.isdir(path) else "does not exist"
        raise WeightsError(
            f"The weight file {str(path)!r} {what}. Pass the path of a .safetensors file or a "
            "registered name (see xinverse.weights.cards())."
        )
    try:
        with open(path, "rb") as file:
            return _parse(file, os.fstat(file.fileno()).st_size, path)
    except OSError as reason:
        raise WeightsError(
            f"The weight file {str(path)!r} cannot be read: {reason}."
        ) from reason


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """Read the model card of a weight file, without torch and the tensors.

    Parameters
    ----------
    path : path-like
        A file written by `save`.

    Raises
    ------
    WeightsError
        As `read_header`.
    """
    return read_header(path).card


def load_tensors(
    path: str | os.PathLike[str], token: str | None = None
) -> dict[str, torch.Tensor]:
    """Read the tensors of a weight file onto the CPU.

    Parameters
    ----------
    path : path-like
        A file written by `save`.
    token : str, optional
        The expected token of the header.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    WeightsError
        As `read_header`, and if the file's token is not `token`.
    HashError
        If the tensors' bytes have changed since they were saved.
    """
    path = Path(path)
    header = read_header(path)
    if token is not None and header.token != token:
        raise WeightsError(
            f"The weight file {str(path)!r} has changed since the method was called. Expected "
            "the same file: call the method again to use the new one."
        )
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = path.read_bytes()
    start = PREFIX + int.from_bytes(content[:PREFIX], "little")
    found = _digest(header.layout, content[start:])
    if found != header.digest:
        raise HashError(
            f"The weight file {str(path)!r} is damaged: its sha256 is {found}, expected "
            f"{header.digest} from its header. Copy or train it again."
        )
    try:
        return load(content)
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as reason:
        raise WeightsError(
            f"The tensors of the weight file {str(path)!r} cannot be read: {reason}. {FOREIGN}"
        ) from reason


def save(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], card: ModelCard
) -> Path:
    """Write tensors and their model card, completely or not at all.

    Parameters
    ----------
    path : path-like
        The file to write, usually ``*.safetensors``.
    tensors : mapping of str to torch.Tensor
        Such as a module's ``state_dict()``, on any device.
    card : ModelCard
        The card of these weights.

    Returns
    -------
    pathlib.Path
        The file written.
    """
    from safetensors.torch import save as serialise

    # The format requires contiguous tensors that share no memory.
    plain = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    content = serialise(plain)
    start = PREFIX + int.from_bytes(content[:PREFIX], "little")
    data = content[start:]
    # The library writes metadata in random order, so that the same weights would get another
    # SHA-256 each time. Write a sorted header here.
    header = json.loads(content[PREFIX:start])
    header["__metadata__"] = {"card": card.to_json()}
    header["__metadata__"]["sha256"] = _digest(_encode(header), data)
    text = _encode(header)
    text += b" " * (-len(text) % PREFIX)  # keeps the tensors aligned
    path = Path(path)
    atomic_write(path, len(text).to_bytes(PREFIX, "little") + text + data)
    return path


def _encode(header: dict[str, Any]) -> bytes:
    return json.dumps(header, separators=(",", ":")).encode()


def _digest(layout: bytes, data: bytes) -> str:
    digest = hashlib.sha256(layout)
    digest.update(data)
    return digest.hexdigest()


def _header_length(prefix: bytes, size: int, path: Path) -> int:
    length = int.from_bytes(prefix, "little")
    if prefix.startswith(ZIP_MAGIC):
        raise WeightsError(f"{str(path)!r} is a torch checkpoint (a zip file). {FOREIGN}")
    if len(prefix) < PREFIX:
        raise WeightsError(
            f"The weight file {str(path)!r} is truncated: it has {size} bytes. Copy or "
            "download it again."
        )
    if length > MAX_HEADER:
        raise WeightsError(
            f"{str(path)!r} is not a safetensors file of xinverse: its header has {length} "
            f"bytes, at most {MAX_HEADER} expected. {FOREIGN}"
        )
    if PREFIX + length > size:
        raise WeightsError(
            f"The weight file {str(path)!r} is truncated or is not a safetensors file: it has "
            f"{size} bytes, but its header should end at {PREFIX + length}. Copy or download "
            f"it again. {FOREIGN}"
        )
    return length


def _parse(file: BinaryIO, size: int, path: Path) -> Header:
    length = _header_length(file.read(PREFIX), size, path)
    text = file.read(length)
    header: Any = parse(text, f"The header of {str(path)!r}")
    if not isinstance(header, dict):
        raise WeightsError(f"{str(path)!r} is not a safetensors file. {FOREIGN}")
    metadata = header.get("__metadata__", {})
    listed = {key: entry for key, entry in header.items() if key != "__metadata__"}
    tensors = read_table(listed, size - PREFIX - length, path)
    if not isinstance(metadata, dict) or not {"card", "sha256"} <= set(metadata):
        raise WeightsError(f"{str(path)!r} has no model card. {FOREIGN}")
    digest = metadata.pop("sha256")
    if not isinstance(digest, str) or not SHA256.fullmatch(digest):
        raise WeightsError(
            f"The header of {str(path)!r} is not valid: its sha256 is {reprlib.repr(digest)}; "
            "expected 64 lower-case hexadecimal digits."
        )
    try:
        card = ModelCard.from_json(metadata["card"])
    except WeightsError as reason:
        raise WeightsError(f"In the weight file {str(path)!r}: {reason}") from reason
    return Header(card, digest, hashlib.sha256(text).hexdigest(), _encode(header), tensors)
