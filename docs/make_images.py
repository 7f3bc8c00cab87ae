"""Draw the pictures of the documentation that need no data: ``python docs/make_images.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("agg")

from xinverse.tiling import plan

IMAGES = Path(__file__).resolve().parent / "images"


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    tiles = plan((90, 240, 320), tile=(30, 80, 80), halo=(20, 24, 24))
    axes = tiles.plot(tile=(1, 1))
    axes.figure.savefig(IMAGES / "plan.png", dpi=110)


if __name__ == "__main__":
    main()
