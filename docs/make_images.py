"""Draw the pictures of the documentation that need no data: ``python docs/make_images.py``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

from xinverse.tiling import plan

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    tiles = plan((90, 240, 320), tile=(30, 80, 80), halo=(20, 24, 24))
    axes = tiles.plot(tile=(1, 1))
    axes.figure.savefig(IMAGES / "plan.png", dpi=110)
    # What the page shows is what its first block says.
    page = (DOCS / "scores.md").read_text("utf-8")
    space: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], space)
    space["comparison"].plot().savefig(IMAGES / "scores.png", dpi=90)


if __name__ == "__main__":
    main()
