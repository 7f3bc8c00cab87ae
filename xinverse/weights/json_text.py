"""Read JSON of unknown origin, of bounded depth."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

from xinverse.errors import WeightsError

__all__ = ["parse"]

MOST_LEVELS = 32  # of nesting; a card has 5

STRINGS = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}


def parse(text: object, what: str) -> Any:
    """Read JSON text.

    Parameters
    ----------
    text : str or bytes
        The text; bytes are UTF-8.
    what : str
        What it is, for errors: the start of a sentence.

    Raises
    ------
    WeightsError
        It is not JSON, or is nested too deeply.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        if not isinstance(text, str):
            raise TypeError(f"found {type(text).__name__}, expected text")
        # Counted before the parser, which recurses.
        steps = (BRACKETS[sign] for sign in STRINGS.sub("", text) if sign in BRACKETS)
        depth = max(accumulate(steps), default=0)
        if depth > MOST_LEVELS:
            raise ValueError(f"it is nested {depth} levels deep, at most {MOST_LEVELS} allowed")
        return json.loads(text)
    except (TypeError, ValueError) as reason:
        raise WeightsError(f"{what} is not JSON: {reason}.") from reason
