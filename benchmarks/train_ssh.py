"""Train the bundled sea surface height weights, and the networks they are compared with.

    python benchmarks/train_ssh.py [4dvarnet|gradient-descent|unet] [--out FILE] [--seed N]

Everything that they learn from is made here: quasi-geostrophic nature runs of 16 oceans on
grids of 8 to 28 km, each half of a run seen by one to five altimeters on real orbits, or with
SWOT, with 1 to 3 cm of noise (``_oceans.py``).

The first phase starts from optimal interpolation with one fixed pair of scales, as at inference
where none are given. The second, of a third as many steps, goes on with the same and with
the oceans seen anew by other satellites, from interpolation whose scales suit the ocean: the
best of four pairs, by the truth of the training. What it has learned serves both then. And a
level that drifts is added to each patch, since real seas rise and fall as a whole.

Simulations and checkpoints are kept in ``--cache``: a killed training goes on from there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from _oceans import DAYS, SPACING_KM, TRAINING, training_pairs

import xinverse
from xinverse.files import open_lazily, write
from xinverse.scores import normalised_mse

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


WHOLE = 8  # iterations from the first step of the second phase on
DRIFT = 0.5  # real seas rise and fall as a whole, simulated boxes do not
NOISE = 0.02
FIXED = {"length_scale": 90.0, "time_scale": 10.0}
# Scales that are tried for each ocean, from which days, and on which of these they are scored.
RANGES = {"length_scale": (70.0, 160.0), "time_scale": (6.5, 25.0)}
TRIED, LOOKED_AT, INSIDE = 4, slice(30, 70), slice(10, -10)


def interpolated(seen: xr.DataArray, tolerance: float = 1e-5, **scales: float) -> xr.DataArray:
    """Optimal interpolation, as a learned method starts from."""
    return seen.inverse.interpolate(
        method="oi", noise=NOISE, tolerance=tolerance, progress=False, **scales
    )


def drawn(rng: np.random.Generator) -> dict[str, float]:
    """A pair of scales."""
    return {name: float(np.exp(rng.uniform(*np.log(ends)))) for name, ends in RANGES.items()}


def suited(
    truth: xr.DataArray, seen: xr.DataArray, tried: list[dict[str, float]]
) -> xr.DataArray:
    """The same with the best of some pairs of scales."""
    part = seen.isel(time=LOOKED_AT)

    def missed(scales: dict[str, float]) -> float:
        found = interpolated(part, 1e-3, **scales).isel(time=INSIDE)
        return float(normalised_mse(found, truth.sel(time=found.time)))

    return interpolated(seen, **min(tried, key=missed))


def backgrounds(
    cache: Path, seed: int, truths: list[xr.DataArray], seen: list[xr.DataArray], fixed: bool
) -> list[xr.DataArray]:
    """Interpolations of the observations, made once."""
    rng = np.random.default_rng([seed, 2])
    found = []
    for number, (x, y) in enumerate(zip(truths, seen, strict=True)):
        store = cache / f"background-{seed}-{'fixed' if fixed else 'suited'}-{number}.zarr"
        scales = [] if fixed else [drawn(rng) for _ in range(TRIED)]
        if not store.exists():
            made = interpolated(y, **FIXED) if fixed else suited(x, y, scales)
            write(made.to_dataset(name="background"), store, progress=False)
        found.append(open_lazily(store)["background"].load())
    return found


def main() -> None:
    """Simulate, train, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", nargs="?", default="4dvarnet", choices=NETWORKS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("training-cache"))
    parser.add_argument("--steps", type=int, default=3000, help="of the first phase")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    steps, seed = arguments.steps, arguments.seed
    method, network = NETWORKS[arguments.network]
    name = "ssh-qg" if arguments.network == "4dvarnet" else f"ssh-{arguments.network}"
    more = steps // 3
    folder = arguments.cache / f"{name}-{steps}-{seed}"
    common: dict[str, Any] = {
        "patch": 48,
        "batch": 8,
        "noise": NOISE,
        "validation": 0.15,
        "precision": "bfloat16",
        "seed": seed,
        "name": name,
        "summary": "Sea level from altimeters, nadir and swath, trained on simulated oceans.",
        "device": arguments.device,
        "progress": True,
        "card": {
            "training": (
                f"{len(TRAINING)} two-layer quasi-geostrophic oceans of {DAYS} days on grids "
                f"of {SPACING_KM[0]:g} to {SPACING_KM[1]:g} km, seen by one to five nadir "
                "altimeters and SWOT with 1 to 3 cm of white noise; background: optimal "
                f"interpolation, 90 km and 10 days ({steps:,} steps), then that and one with "
                f"scales that suit each ocean ({more:,} steps)."
            ),
            "licence": "BSD-3-Clause",
            "command": (
                f"python benchmarks/train_ssh.py {arguments.network} "
                f"--steps {steps} --seed {seed}"
            ),
            "grid_spacing_km": SPACING_KM,
        },
    }
    started = time.time()
    truths, seen, words = training_pairs(arguments.cache, seed)
    print("\n".join(words), flush=True)
    first = folder.with_name(f"{folder.name}-first.safetensors")
    if not first.exists():
        model = xinverse.train(
            method,
            truths,
            seen,
            network=network,
            steps=steps,
            learning_rate=2e-3,
            folder=folder,
            **common,
        )
        model.save(first)
        model.plot().figure.savefig(first.with_suffix(".png"), dpi=110)
    truths_anew, seen_anew, words = training_pairs(arguments.cache, seed, draw=1)
    print("\n".join(words), flush=True)
    both = backgrounds(arguments.cache, seed, truths, seen, fixed=True)
    both += backgrounds(arguments.cache, seed, truths_anew, seen_anew, fixed=False)
    model = xinverse.train(
        method,
        [*truths, *truths_anew],
        [*seen, *seen_anew],
        background=both,
        start=first,
        steps=more,
        learning_rate=1.2e-3,
        warm_steps=WHOLE,
        drift=DRIFT,
        folder=folder.with_name(f"{folder.name}-second"),
        **FIXED,
        **common,
    )
    print(model)
    out = arguments.out or Path(f"{name}.safetensors")
    model.save(out)
    model.plot().figure.savefig(out.with_suffix(".png"), dpi=110)
    print(f"{out}: {(time.time() - started) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
