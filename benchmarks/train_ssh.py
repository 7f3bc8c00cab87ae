"""Train the bundled sea surface height weights of ``method="4dvarnet"``.

    python benchmarks/train_ssh.py --out ssh-qg.safetensors

Everything that it learns from it makes: quasi-geostrophic nature runs of many
oceans, seen along the orbits of two to five altimeters with 1 to 3 cm of noise.
The background is optimal interpolation with one fixed pair of scales, as at
inference. Simulations are kept in ``--cache`` and used again; a killed training
goes on from its checkpoint there.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from xinverse.fields.axes import find_axes
from xinverse.fields.grid import make_grid
from xinverse.learning import Batch
from xinverse.learning.loop import Settings, train
from xinverse.learning.losses import time_taper
from xinverse.learning.network import FourDVarNet
from xinverse.learning.objectives import supervised
from xinverse.methods.base import Problem, background_and_anomaly
from xinverse.methods.oi import OIOptions, posterior
from xinverse.osse import observe
from xinverse.osse.nature import draw_ocean, nature_runs
from xinverse.weights import ModelCard, save

# Seeds of the oceans of each batch of simulations, and of its initial states.
TRAINING = ((range(8), 7), (range(8, 16), 15))
VALIDATION = (101,)
UNSEEN = ((100, 101, 200, 201, 202), 107)
BACKGROUND = {"length_scale": 90.0, "time_scale": 10.0}
VARIABLES = (
    "sea_surface_height_above_geoid",
    "sea_surface_height_above_sea_level",
    "sea_surface_height_above_mean_sea_level",
    "ssh",
    "sla",
    "adt",
)


@dataclass
class Sample:
    """One run seen by one observing system, normalised."""

    background: torch.Tensor
    y: torch.Tensor
    observed: torch.Tensor
    truth: torch.Tensor


def simulate(seeds: range | tuple[int, ...], seed: int, cache: Path) -> dict[int, xr.DataArray]:
    """Nature runs of 240 days by the seed of their ocean, simulated or from the cache."""
    files = {s: cache / f"run{s}.nc" for s in seeds}
    if not all(f.exists() for f in files.values()):
        oceans = [draw_ocean(s) for s in seeds]
        runs = nature_runs(oceans, days=240, spinup=400, seed=seed, progress=True)
        for file, run in zip(files.values(), runs, strict=True):
            run.to_netcdf(file)
    return {s: xr.load_dataarray(f) for s, f in files.items()}


def look(truth: xr.DataArray, systems: str, noise: float, seed: int) -> Sample:
    """Observe a run, interpolate it optimally, normalise all three alike."""
    y = observe(truth, [systems], noise=noise, seed=seed)[truth.name].values
    nt, ny, nx = y.shape
    problem = Problem(
        y=y,
        grid=make_grid(truth, find_axes(truth)),
        sea=np.ones((ny, nx), bool),
        inputs={},
        cells=(np.arange(nt), np.arange(ny), np.arange(nx)),
        keep=(slice(0, nt), slice(0, ny), slice(0, nx)),
    )
    level, anomaly = background_and_anomaly(problem, None)
    options = OIOptions(noise=noise, tolerance=1e-5, **BACKGROUND)
    solved, values, _ = posterior(problem, options, anomaly, torch.device("cpu"))
    background = solved.mean(values[None])[0]
    scale = solved.prior.variance**0.5
    return Sample(
        (background / scale).float(),
        torch.from_numpy((anomaly / scale).astype("float32")),
        torch.from_numpy(problem.observed),
        torch.from_numpy(((truth.values - level) / scale).astype("float32")),
    )


def batches(samples: list[Sample], window: int, size: int, patch: int, seed: int):
    """The batch of a step: patches drawn by the step's own generator."""

    def at(step: int) -> Batch:
        rng = np.random.default_rng((seed, step))
        drawn = []
        for _ in range(size):
            s = samples[rng.integers(len(samples))]
            nt, ny, nx = s.truth.shape
            t, y, x = (
                rng.integers(n - m + 1) for n, m in ((nt, window), (ny, patch), (nx, patch))
            )
            box = (slice(t, t + window), slice(y, y + patch), slice(x, x + patch))
            one = [s.background[box], s.y[box], s.observed[box], s.truth[box]]
            if rng.random() < 0.5:  # the beta plane's symmetry: north to south and sign
                one = [v.flip(1) if v.dtype == torch.bool else -v.flip(1) for v in one]
            stretch = float(rng.uniform(0.7, 1.4))  # the scale is an estimate
            drawn.append([v if v.dtype == torch.bool else v * stretch for v in one])
        return Batch(*(torch.stack(v) for v in zip(*drawn, strict=True)))

    return at


def relative_error(model: FourDVarNet, samples: list[Sample]) -> float:
    """Error variance over that of the background, tapered in time, mean over samples."""
    taper = time_taper(model.window, samples[0].truth)[:, None, None]
    ratios = []
    for s in samples:
        starts = range(20, s.truth.shape[0] - model.window - 20, 3 * model.window)
        boxes = [slice(t, t + model.window) for t in starts]
        b, y, o, x = (
            torch.stack([v[box] for box in boxes])
            for v in (s.background, s.y, s.observed, s.truth)
        )
        estimate = model.reconstruct(b, y, o)
        ratios.append(float((taper * (estimate - x) ** 2).sum() / (taper * (b - x) ** 2).sum()))
    return float(np.mean(ratios))


def main() -> None:
    """Simulate, train, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("ssh-qg.safetensors"))
    parser.add_argument("--cache", type=Path, default=Path("training-cache"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    samples = []
    for seeds, seed in TRAINING:
        for s, run in simulate(seeds, seed, arguments.cache).items():
            for k in range(2):
                systems, noise = f"nadir:{rng.integers(2, 6)}", float(rng.uniform(0.01, 0.03))
                half = run.isel(time=slice(120 * k, 120 * (k + 1)))
                samples.append(look(half, systems, noise, seed=1000 + 10 * s + k))
                print(f"ocean {s} seen by {systems}, noise {100 * noise:.1f} cm", flush=True)
    unseen = simulate(*UNSEEN, arguments.cache)
    validation = [look(unseen[s], "nadir:4", 0.02, seed=s) for s in VALIDATION]

    def validate(model: FourDVarNet) -> float:
        score = relative_error(model, validation)
        print(f"validation: {score:.4f} of the background's error variance", flush=True)
        return score

    model = FourDVarNet()
    count = sum(p.numel() for p in model.parameters())
    print(f"{count} parameters, {len(samples)} samples", flush=True)
    started = time.time()
    history = train(
        model,
        batches(samples, model.window, size=8, patch=48, seed=arguments.seed),
        Settings(steps=arguments.steps),
        objective=supervised,
        validate=validate,
        checkpoint=arguments.cache / f"checkpoint-{arguments.steps}-{arguments.seed}.pt",
        progress=sys.stderr.isatty(),
    )
    minutes = (time.time() - started) / 60
    for row in history:
        print("  ".join(f"{key} {value:.4g}" for key, value in row.items()))
    card = ModelCard(
        name="ssh-qg",
        method="4dvarnet",
        summary="Sea surface height from nadir altimeters, trained on simulated oceans.",
        variables=VARIABLES,
        units="m",
        grid_spacing_km=(8.0, 18.0),
        time_step_days=1.0,
        window=model.window,
        training=(
            "16 two-layer quasi-geostrophic oceans (deformation radius 16-34 km, 25-50 "
            "degrees, 8-18 km grids, 240 days each), seen by two to five nadir altimeters "
            "with 1-3 cm of white noise; background: optimal interpolation, 90 km and 10 days."
        ),
        scores={
            "validation error variance over the background's": round(
                history[-1]["validation"], 4
            ),
        },
        licence="BSD-3-Clause",
        command=(
            f"python benchmarks/train_ssh.py --steps {arguments.steps} --seed {arguments.seed}"
        ),
        config={**model.config, "background": BACKGROUND},
    )
    save(arguments.out, model.state_dict(), card)
    print(f"{arguments.out}: {minutes:.0f} minutes, validation {history[-1]['validation']:.4f}")


if __name__ == "__main__":
    main()
