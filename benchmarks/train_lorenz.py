"""Train the learned rows of the Lorenz tables.

    python benchmarks/train_lorenz.py 63 model|joint [--seed N]
    python benchmarks/train_lorenz.py 96 model|joint [--seed N]

Writes ``benchmarks/weights/lorenz63-joint-0.safetensors`` and its like, which
``benchmarks/lorenz.py`` scores. Goes on from a checkpoint where there is one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _lorenz import System, Windows
from _lorenz_nets import RECIPES, WEIGHTS, network, objective, one_step, score, weights_file
from safetensors.torch import save_file

from xinverse.learning import VariationalNet, train


def main() -> None:
    """Train one network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system", type=int, choices=(63, 96))
    parser.add_argument("row", choices=("model", "joint"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("training-cache"))
    arguments = parser.parse_args()
    system, row, seed = System(arguments.system), arguments.row, arguments.seed
    recipe = RECIPES[system.number, row]
    torch.manual_seed(seed)
    model = network(system, row)
    count = sum(p.numel() for p in model.cost.prior.parameters())
    print(
        f"{count} parameters in the prior, {sum(p.numel() for p in model.parameters())} in all"
    )
    started = time.time()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    stem = f"lorenz{system.number}-{row}-{seed}"

    def batches(drawn: System, size: int, past: int = 0) -> Callable[[int], Windows]:
        return lambda step: drawn.draw(
            size, torch.Generator().manual_seed(seed * 10**6 + past + step)
        )

    def validation(drawn: System) -> Callable[[VariationalNet], float]:
        # Windows of the training series that no batch draws: its generators have other seeds.
        held = drawn.draw(128, torch.Generator().manual_seed(2**40 + seed))

        def validate(model: VariationalNet) -> float:
            found = score(model, held)
            print(f"{time.time() - started:6.0f} s  R {found:.3e}", flush=True)
            return found

        return validate

    common: dict[str, Any] = {"progress": sys.stderr.isatty()}
    if recipe.first is not None:
        history = train(
            model.cost.prior,
            batches(system, recipe.first_batch),
            recipe.first,
            objective=one_step,
            checkpoint=arguments.cache / f"{stem}-first.pt",
            **common,
        )
        print(f"{time.time() - started:6.0f} s  FP(1) {history[-1]['loss']:.3e}", flush=True)
    for number, phase in enumerate(recipe.phases):
        model.solver.steps = phase.iterations
        drawn = System(system.number, phase.longer) if phase.longer else system
        train(
            model,
            batches(drawn, recipe.batch, number * 10**5),
            phase.settings,
            objective=objective,
            validate=validation(drawn),
            checkpoint=arguments.cache / f"{stem}-{number}.pt",
            **common,
        )
    # What is not learned is not kept: the model of the dynamics makes itself.
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    WEIGHTS.mkdir(exist_ok=True)
    file = weights_file(system, row, seed)
    save_file({k: v for k, v in model.state_dict().items() if k in learned}, file)
    print(f"{file.name}: {(time.time() - started) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
