"""Train the learned rows of the inpainting table.

    python benchmarks/train_inpainting.py [ROW ...] [--seed N]

Rows: ae (the autoencoder alone), pca-lstm, ae-fp, ae-lstm, ae-joint, 2s-fp, 2s-first (the prior
that the last begins with), 2s-joint; all of them, in this order, where none is named. Writes
``inpainting-ROW-N.safetensors`` into ``benchmarks/weights``. Goes on from a checkpoint where
there is one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _image_nets import RECIPES, network, objective, score, weights_file
from _images import Images, Seen
from safetensors.torch import load_file, save_file

from xinverse.learning import VariationalNet, train


def train_row(row: str, images: Images, seed: int, cache: Path) -> None:
    """Train one network and keep what it learned."""
    recipe, held = RECIPES[row], images.held()
    torch.manual_seed(seed)
    model = network(row, images)
    if recipe.start is not None:
        saved = load_file(weights_file(recipe.start, seed))
        first = {k: v for k, v in saved.items() if k.startswith("cost.prior.")}
        model.load_state_dict(first, strict=False)
    count = sum(p.numel() for p in model.cost.prior.parameters())
    print(f"{row}: {count} parameters in the prior", flush=True)
    started = time.time()

    def batches(past: int, warped: float) -> Callable[[int], Seen]:
        return lambda step: images.batch(
            recipe.batch, torch.Generator().manual_seed(seed * 10**6 + past + step), warped
        )

    def validate(model: VariationalNet) -> float:
        with torch.no_grad():
            found = score(row, model, images, held)
        words = "  ".join(f"{name} {value:.3f}" for name, value in found.items())
        print(f"{time.time() - started:6.0f} s  {words}", flush=True)
        return found["I"]

    for number, phase in enumerate(recipe.phases):
        model.solver.steps = phase.iterations
        train(
            model,
            batches(number * 10**5, phase.warped),
            phase.settings,
            objective=objective(row, images),
            validate=validate,
            checkpoint=cache / f"inpainting-{row}-{seed}-{number}.pt",
            progress=sys.stderr.isatty(),
        )
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    if row == "ae-lstm":  # its prior was learned before
        learned |= {name for name, _ in model.cost.prior.named_parameters(prefix="cost.prior")}
    file = weights_file(row, seed)
    file.parent.mkdir(exist_ok=True)
    # With 11 bits: the convolutions that they were learned with have 8.
    kept = {k: v.half().contiguous() for k, v in model.state_dict().items() if k in learned}
    save_file(kept, file)
    print(f"{file.name}: {(time.time() - started) / 60:.0f} minutes", flush=True)


def main() -> None:
    """Train the rows that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("training-cache"))
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - set(RECIPES)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; rows: {', '.join(RECIPES)}")
    arguments.cache.mkdir(parents=True, exist_ok=True)
    images = Images()
    for row in arguments.rows or RECIPES:
        train_row(row, images, arguments.seed, arguments.cache)


if __name__ == "__main__":
    main()
