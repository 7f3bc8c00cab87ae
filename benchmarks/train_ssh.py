"""Train the bundled sea surface height weights, and the networks they are compared with.

    python benchmarks/train_ssh.py [4dvarnet|gradient-descent|unet] [--out FILE] [--seed N]

Everything that they learn from is made here: quasi-geostrophic nature runs of 16 oceans on
grids of 8 to 28 km, each half of a run seen by one to five altimeters on real orbits, or with
SWOT, with 1 to 3 cm of noise (``_oceans.py``).

There are four phases:

1. The background is optimal interpolation with one fixed pair of scales, the default of the
   method.
2. A third as many steps. Adds the same oceans seen by other satellites, with backgrounds whose
   scales suit the ocean: the best of four pairs, chosen with the truth of the training. The
   weights then serve both kinds of background. A level that varies in time is added to each
   patch, since the mean level of real seas varies.
3. Half as many steps. The inputs of the network include the noise of the observations and their
   coverage. Adds a third draw of satellites, with both kinds of background and with noise of 3
   to 60 % of each ocean's standard deviation: the ratio is larger in calm seas.
4. Two thirds as many steps, for a second pass: each field is used twice, the second time with
   the map of the third phase as its background. The gradient has the same weight as the field.

Simulations and checkpoints are kept in ``--cache``; a killed training continues from there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import xarray as xr
from _oceans import ASSUMED, DAYS, SPACING_KM, TRAINING, Pair, training_pairs

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


# Options by which networks use the noise, from the third phase on.
TOLD: dict[str, dict[str, Any]] = {
    "4dvarnet": {"representation": 0.2, "sees_coverage": True},
    "gradient-descent": {"representation": 0.2},
    "unet": {"representation": 0.2},
}

FIXED = {"length_scale": 90.0, "time_scale": 10.0}
# Scales that are tried for each ocean, the days that are mapped, and those that are scored.
RANGES = {"length_scale": (70.0, 160.0), "time_scale": (6.5, 25.0)}
TRIED, LOOKED_AT, INSIDE = 4, slice(30, 70), slice(10, -10)


class Phase(NamedTuple):
    """A part of the training."""

    added: tuple[tuple[int, bool], ...]  # draws of satellites; are their scales the fixed ones
    share: float  # steps, relative to the first phase
    learning_rate: float
    warm_steps: int
    drift: float  # the mean level of real seas varies, that of simulated boxes does not
    told: bool  # whether the network uses the noise
    gradient_weight: float = 0.3
    again: bool = False  # also use the maps of the previous phase as backgrounds


PHASES = (
    Phase(((0, True),), 1.0, 2e-3, 3, 0.0, told=False),
    Phase(((1, False),), 1 / 3, 1.2e-3, 8, 0.5, told=False),
    Phase(((2, True), (2, False)), 1 / 2, 1.2e-3, 8, 0.5, told=True),
    Phase((), 2 / 3, 1.2e-3, 8, 0.5, told=True, gradient_weight=1.0, again=True),
)


def drawn(rng: np.random.Generator) -> dict[str, float]:
    """A pair of scales."""
    return {name: float(np.exp(rng.uniform(*np.log(ends)))) for name, ends in RANGES.items()}


def interpolated(pair: Pair, tried: list[dict[str, float]]) -> xr.DataArray:
    """Optimal interpolation with the best of some pairs of scales, by the truth."""

    def fill(seen: xr.DataArray, tolerance: float, scales: dict[str, float]) -> xr.DataArray:
        return seen.inverse.interpolate(
            method="oi", noise=pair.assumed, tolerance=tolerance, progress=False, **scales
        )

    def missed(scales: dict[str, float]) -> float:
        found = fill(pair.seen.isel(time=LOOKED_AT), 1e-3, scales).isel(time=INSIDE)
        return float(normalised_mse(found, pair.truth.sel(time=found.time)))

    return fill(pair.seen, 1e-5, min(tried, key=missed) if len(tried) > 1 else tried[0])


def kept(store: Path, make: Callable[[], xr.DataArray]) -> xr.DataArray:
    """A first guess, made once."""
    if not store.exists():
        write(make().to_dataset(name="background"), store, progress=False)
    return open_lazily(store)["background"].load()


def backgrounds(
    cache: Path, seed: int, draw: int, pairs: list[Pair], fixed: bool
) -> list[xr.DataArray]:
    """Interpolations of the observations of a draw."""
    rng = np.random.default_rng([seed, 1 + draw])
    kind = "fixed" if fixed else "suited"
    found = []
    for number, pair in enumerate(pairs):
        store = cache / f"background-{seed}-{draw}-{kind}-{number}.zarr"
        tried = [FIXED] if fixed else [drawn(rng) for _ in range(TRIED)]
        found.append(kept(store, partial(interpolated, pair, tried)))
    return found


def mapped(
    method: str, weights: Path, pairs: list[Pair], first_guess: list[xr.DataArray]
) -> list[xr.DataArray]:
    """Maps that a trained network makes of the observations, from a first guess."""

    def fill(pair: Pair, guess: xr.DataArray) -> xr.DataArray:
        return pair.seen.inverse.interpolate(
            method=method,
            weights=weights,
            background=guess,
            noise=pair.noise,
            precision="bfloat16",
            progress=False,
        )

    name = f"map-{weights.stem}"
    return [
        kept(weights.with_name(f"{name}-{number}.zarr"), partial(fill, pair, guess))
        for number, (pair, guess) in enumerate(zip(pairs, first_guess, strict=True))
    ]


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
    folder = arguments.cache / f"{name}-{steps}-{seed}"
    recipe = xinverse.Recipe(patch=48, batch=8, precision="bfloat16", seed=seed, **FIXED)
    common: dict[str, Any] = {
        "validation": 0.15,
        "device": arguments.device,
        "progress": True,
        "card": {
            "name": name,
            "summary": "Sea level from nadir altimeters and SWOT, trained on simulated oceans.",
            "training": (
                f"{len(TRAINING)} two-layer quasi-geostrophic oceans of {DAYS} days on grids "
                f"of {SPACING_KM[0]:g} to {SPACING_KM[1]:g} km, seen by one to five nadir "
                "altimeters and SWOT with 1 to 3 cm of white noise; background: optimal "
                f"interpolation, 90 km and 10 days ({steps:,} steps), then also one with "
                f"scales that suit each ocean ({steps // 3:,} steps), then both with known "
                "noise levels of up to 60 % of the standard deviation of the field "
                f"({steps // 2:,} steps), then also the maps of the previous phase, with "
                f"equal weights of field and gradient ({2 * steps // 3:,} steps)."
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
    draws = [training_pairs(arguments.cache, seed, draw) for draw in range(3)]
    print("\n".join(pair.words for pairs in draws for pair in pairs), flush=True)
    model: Any = None
    pairs: list[Pair] = []
    first_guess: list[xr.DataArray] = []
    saved = folder
    for number, phase in enumerate(PHASES):
        for draw, fixed in phase.added:
            pairs += draws[draw]
            first_guess += backgrounds(arguments.cache, seed, draw, draws[draw], fixed)
        if phase.again:
            first_guess += mapped(method, saved, pairs, first_guess)
            pairs += pairs
        own = folder.with_name(f"{folder.name}-{number}")
        saved = own.with_suffix(".safetensors")
        if saved.exists():
            model = xinverse.load_model(saved)
            continue
        model = xinverse.train(
            method,
            [pair.truth for pair in pairs],
            [pair.seen for pair in pairs],
            background=first_guess,
            recipe=replace(
                recipe,
                steps=round(steps * phase.share),
                learning_rate=phase.learning_rate,
                warm_steps=phase.warm_steps,
                drift=phase.drift,
                gradient_weight=phase.gradient_weight,
                passes=2 if phase.again else None,
            ),
            start=model,
            network=network | (TOLD[arguments.network] if phase.told else {}),
            noise=[pair.noise for pair in pairs] if phase.told else ASSUMED,
            folder=own,
            **common,
        )
        model.save(saved)
        model.plot().figure.savefig(own.with_suffix(".png"), dpi=110)
    print(model)
    out = arguments.out or Path(f"{name}.safetensors")
    model.save(out)
    model.plot().figure.savefig(out.with_suffix(".png"), dpi=110)
    print(f"{out}: {(time.time() - started) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
