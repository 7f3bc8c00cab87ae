"""An entry of the registry: a name, its file, the file's SHA-256 and its model card."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from typing import Any

from xinverse.errors import WeightsError
from xinverse.weights.card import ModelCard

__all__ = ["Entry"]

KEYS = {"file", "sha256", "bundled", "default", "card"}
PLAIN_FILE = re.compile(r"[\w][\w.+-]*", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """A registered weight file.

    Parameters
    ----------
    name : str
        The registered name.
    file : str
        The file name, without a folder.
    sha256 : str
        SHA-256 of the file, 64 lower-case hexadecimal digits.
    bundled : bool
        Whether the file comes with the package.
    default : bool
        Whether these are the default weights of the method.
    card : ModelCard
        A copy of the file's card, readable without the file.

    Raises
    ------
    WeightsError
        If the file name holds a folder, or the SHA-256 is malformed.
    """

    name: str
    file: str
    sha256: str
    bundled: bool
    default: bool
    card: ModelCard

    def __post_init__(self) -> None:
        """Check the file name and the SHA-256; refuse a name that leaves the folder."""
        if not PLAIN_FILE.fullmatch(self.file):
            raise WeightsError(
                f"Registry entry {self.name!r}: the file is {self.file!r}; expected a plain "
                "file name of letters, digits, '.', '_', '+' and '-'."
            )
        if not SHA256.fullmatch(self.sha256):
            raise WeightsError(
                f"Registry entry {self.name!r}: the SHA-256 is {self.sha256!r}; expected 64 "
                "lower-case hexadecimal digits."
            )

    @classmethod
    def from_dict(cls, name: str, values: Any) -> Entry:
        """Read an entry from JSON values.

        Parameters
        ----------
        name : str
            The registered name.
        values : dict
            The keys ``file``, ``sha256``, ``bundled``, ``default`` and ``card``.

        Raises
        ------
        WeightsError
            If a key is missing or unknown, or a value is invalid.
        """
        found = sorted(values) if isinstance(values, dict) else values
        if found != sorted(KEYS):
            raise WeightsError(
                f"Registry entry {name!r} has the keys {reprlib.repr(found)}; "
                f"expected {sorted(KEYS)}."
            )
        for key, kind in {"file": str, "sha256": str, "bundled": bool, "default": bool}.items():
            if not isinstance(values[key], kind):
                raise WeightsError(
                    f"Registry entry {name!r}: {key} is {reprlib.repr(values[key])}; expected "
                    f"a value of type {kind.__name__}."
                )
        return cls(
            name=name,
            file=values["file"],
            sha256=values["sha256"],
            bundled=values["bundled"],
            default=values["default"],
            card=ModelCard.from_dict(values["card"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON values, without its name."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "bundled": self.bundled,
            "default": self.default,
            "card": self.card.to_dict(),
        }
