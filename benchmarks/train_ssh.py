"""Train the bundled sea surface height weights, and the networks they are compared with.

    python benchmarks/train_ssh.py [4dvarnet|gradient-descent|unet] [--out FILE] [--seed N]

Everything that they learn from is made here: quasi-geostrophic nature runs of 16 oceans on
grids of 8 to 28 km, each half of a run seen by one to five altimeters on real orbits, or with
SWOT, with 1 to 3 cm of noise (``_oceans.py``). The background is optimal interpolation with one
fixed pair of scales, as at inference. Simulations, backgrounds and checkpoints are kept in
``--cache``: a killed training goes on from there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib
from _oceans import DAYS, SPACING_KM, TRAINING, training_pairs

import xinverse

matplotlib.use("agg")

# The three have about as many parameters as each other.
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "4dvarnet": (
        "4dvarnet",
        {"window": 11, "prior_hidden": 24, "solver_hidden": 40, "steps": 8, "sees_state": True},
    ),
    "gradient-descent": (
        "4dvarnet",
        {"window": 11, "prior_hidden": 45, "steps": 8, "solver": "gradient-descent"},
    ),
    "unet": ("unet", {"window": 11, "hidden": 17, "levels": 2}),
}


def main() -> None:
    """Simulate, train, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", nargs="?", default="4dvarnet", choices=NETWORKS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("training-cache"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    truths, seen, words = training_pairs(arguments.cache, arguments.seed)
    print("\n".join(words), flush=True)
    method, network = NETWORKS[arguments.network]
    name = "ssh-qg" if arguments.network == "4dvarnet" else f"ssh-{arguments.network}"
    started = time.time()
    model = xinverse.train(
        method,
        truths,
        seen,
        network=network,
        patch=48,
        batch=8,
        steps=arguments.steps,
        learning_rate=2e-3,
        noise=0.02,
        validation=0.15,
        precision="bfloat16",
        seed=arguments.seed,
        name=name,
        summary="Sea level from altimeters, nadir and swath, trained on simulated oceans.",
        folder=arguments.cache / f"{name}-{arguments.steps}-{arguments.seed}",
        device=arguments.device,
        progress=True,
        card={
            "training": (
                f"{len(TRAINING)} two-layer quasi-geostrophic oceans of {DAYS} days on grids "
                f"of {SPACING_KM[0]:g} to {SPACING_KM[1]:g} km, seen by one to five nadir "
                "altimeters and SWOT with 1 to 3 cm of white noise; background: optimal "
                "interpolation, 90 km and 10 days."
            ),
            "licence": "BSD-3-Clause",
            "command": (
                f"python benchmarks/train_ssh.py {arguments.network} "
                f"--steps {arguments.steps} --seed {arguments.seed}"
            ),
            "grid_spacing_km": SPACING_KM,
        },
    )
    print(model)
    out = arguments.out or Path(f"{name}.safetensors")
    model.save(out)
    model.plot().figure.savefig(out.with_suffix(".png"), dpi=110)
    print(f"{out}: {(time.time() - started) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
