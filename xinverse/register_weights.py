"""Bundle a trained file with the package: copy it to ``bundled/`` and register it.

``python -m xinverse.register_weights FILE --name NAME [--default]``
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from xinverse.errors import XinverseError
from xinverse.methods.network_file import build_network
from xinverse.weights.entry import Entry
from xinverse.weights.locate import bundled_folder
from xinverse.weights.registry import REGISTRY_FILE, SUFFIX, WeightsRegistry
from xinverse.weights.store import atomic_write, file_sha256, load_tensors, read_card

__all__ = ["main", "register"]


def register(
    file: str | os.PathLike[str],
    name: str,
    default: bool = False,
    package: Path | None = None,
) -> Entry:
    """Copy a trained file into the package and add its entry to the registry.

    An existing entry of this name is replaced.

    Parameters
    ----------
    file : path-like
        A file written by `xinverse.weights.save`.
    name : str
        The registered name; the file becomes ``bundled/NAME.safetensors``.
    default : bool, default False
        Make these the default weights of the method, instead of any others.
    package : pathlib.Path, optional
        The folder that holds ``registry.json``. Default: that of the installed package.

    Returns
    -------
    Entry
        The entry written.

    Raises
    ------
    WeightsError
        If the file is absent, damaged, without a card or without the tensors of its network,
        or the name is not a valid file name.
    """
    build_network(read_card(file), load_tensors(file))  # checks the whole file
    card = replace(read_card(file), name=name)
    entries = dict(WeightsRegistry.read(package).entries)
    if default:
        for other in list(entries.values()):
            if other.card.method == card.method:
                entries[other.name] = replace(other, default=False)
    entry = Entry(name, name + SUFFIX, file_sha256(file), True, default, card)
    entries[name] = entry

    target = bundled_folder(package) / entry.file
    target.parent.mkdir(exist_ok=True)
    # The file first: a file without an entry is harmless, an entry without a file is not.
    atomic_write(target, Path(file).read_bytes())
    text = json.dumps(
        {key: entries[key].to_dict() for key in sorted(entries)}, indent=2, ensure_ascii=False
    )
    atomic_write(target.parent.parent / REGISTRY_FILE, (text + "\n").encode())
    return entry


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m xinverse.register_weights",
        description="Bundle a trained weight file with the package.",
    )
    parser.add_argument("file", help="a .safetensors file with a model card")
    parser.add_argument("--name", required=True, help="the name to register it under")
    parser.add_argument(
        "--default", action="store_true", help="make it the default weights of its method"
    )
    options = parser.parse_args(arguments)
    try:
        register(options.file, options.name, options.default)
    except XinverseError as reason:
        parser.error(str(reason))


if __name__ == "__main__":
    main()
