"""The tensors that the header of a weight file lists: names, types, shapes and places."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from xinverse.errors import WeightsError
from xinverse.schema import List, Schema, Whole, Word

__all__ = ["TensorEntry", "read_table"]

# Bytes of an element, for the types of the safetensors format that PyTorch has.
BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2}
BYTES |= {"BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8}

COUNT = Whole(0, 2**48)
ENTRY = Schema(dtype=Word(*BYTES), shape=List(COUNT, 0, 8), data_offsets=List(COUNT, 2, 2))


@dataclass(frozen=True)
class TensorEntry:
    """A tensor of a weight file.

    Parameters
    ----------
    dtype : str
        Its type, by the name of the safetensors format.
    shape : tuple of int
        Its shape.
    """

    dtype: str
    shape: tuple[int, ...]


def read_table(header: Mapping[str, Any], size: int, path: object) -> dict[str, TensorEntry]:
    """The tensors of a header, which must fill the file's data without gap or overlap.

    Parameters
    ----------
    header : mapping
        The header without its metadata.
    size : int
        Bytes of data in the file.
    path : path-like
        The file, for errors.

    Raises
    ------
    WeightsError
        An entry is malformed, or its bytes are not those of its shape; the tensors overlap,
        leave gaps, or do not end with the file.
    """
    places = []
    for name, entry in header.items():
        try:
            ENTRY.check(f"tensor {reprlib.repr(name)}", entry)
        except ValueError as reason:
            raise WeightsError(f"The header of {str(path)!r} is not valid: {reason}") from None
        begin, end = entry["data_offsets"]
        needed = BYTES[entry["dtype"]] * prod(entry["shape"])
        if end - begin != needed:
            raise WeightsError(
                f"The header of {str(path)!r} is not valid: the tensor {reprlib.repr(name)} of "
                f"shape {entry['shape']} and type {entry['dtype']} has {end - begin} bytes; "
                f"expected {needed}."
            )
        places.append((begin, end, name))
    reached = 0
    for begin, end, name in sorted(places):
        if begin != reached:
            what = "overlaps another one" if begin < reached else "follows unused bytes"
            raise WeightsError(
                f"The header of {str(path)!r} is not valid: the tensor {reprlib.repr(name)} "
                f"{what}: it begins at byte {begin}, expected {reached}."
            )
        reached = end
    if reached != size:
        what = "is truncated" if size < reached else "has bytes after its end"
        raise WeightsError(
            f"The weight file {str(path)!r} {what}: it holds {size} bytes of tensors, "
            f"expected {reached}. Copy or download it again."
        )
    return {
        name: TensorEntry(entry["dtype"], tuple(entry["shape"]))
        for name, entry in header.items()
    }
