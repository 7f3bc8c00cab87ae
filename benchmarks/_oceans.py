"""Simulated oceans: those that the sea level weights learn from, and those they never see."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from xinverse.constants import EARTH_RADIUS, EARTH_ROTATION
from xinverse.osse import Ocean, draw_ocean, observe, simulate

SPACING_KM = (8.0, 28.0)
TRAINING = tuple(range(16))
WIDER = tuple(range(400, 410))  # drawn from wider ranges than those of `draw_ocean`
VALIDATION = ((300, 301), (450, 451))  # as TRAINING and as WIDER, to choose weights by
UNSEEN = (200, 201, 202)  # parameters within the range of the training
UNSETTLED = 0.6  # standard deviation, m
SIZE, DAYS, SPINUP = 64, 200, 400
# Outside: a weak, broad flow further north than any ocean of the training.
OUTSIDE = Ocean(
    spacing_km=20.0,
    rossby_radius_km=42.0,
    shear=0.06,
    latitude=55.0,
    drag=0.6e-7,
    depth_ratio=0.35,
)
# Observing systems of the training; each half of a run is seen by one.
SYSTEMS = (
    ("nadir:1",),
    ("nadir:2",),
    ("nadir:3",),
    ("nadir:4",),
    ("nadir:4",),
    ("nadir:5",),
    ("nadir:2", "swot"),
    ("nadir:4", "swot"),
    ("nadir:4", "swot"),
)
NOISE = (0.01, 0.03)  # standard deviation of the first draws, m
ASSUMED = 0.02  # what is taken for it there, as by who does not know it
OVER_FIELD = (0.03, 0.6)  # of the third, over that of the ocean, and known


class Pair(NamedTuple):
    """Half a run, what is seen of it, its noise, the one that is assumed (m), and words."""

    truth: xr.DataArray
    seen: xr.DataArray
    noise: float
    assumed: float
    words: str


def drawn_wider(seed: int) -> Ocean:
    """Parameters of an ocean from wider ranges: lower and higher latitudes, broader eddies."""
    rng = np.random.default_rng(seed)
    spacing = float(rng.uniform(*SPACING_KM))
    radius = float(rng.uniform(max(15.0, 0.7 * spacing), 46.0))
    latitude, ratio = float(rng.uniform(18.0, 60.0)), float(rng.uniform(0.15, 0.4))
    beta = 2 * EARTH_ROTATION * np.cos(np.deg2rad(latitude)) / EARTH_RADIUS
    shear = rng.uniform(0.9, 2.0) * beta * (1e3 * radius) ** 2 * (1 + ratio) / ratio
    return Ocean(
        spacing_km=spacing,
        rossby_radius_km=radius,
        shear=float(shear),
        latitude=latitude,
        drag=float(np.exp(rng.uniform(*np.log((0.5e-7, 2.5e-7))))),
        depth_ratio=ratio,
    )


def training_runs(cache: Path) -> list[xr.DataArray]:
    """Sea level of the oceans to learn from."""
    oceans = [draw_ocean(seed, SPACING_KM) for seed in TRAINING]
    wider = [drawn_wider(seed) for seed in WIDER]
    runs = [
        *_runs(oceans, cache / "training.zarr", seed=7),
        *_runs(wider, cache / "wider.zarr", seed=40_007),
    ]
    # With weak drag and strong shear a few never settle: they are no seas.
    return [run for run in runs if float(run.std()) < UNSETTLED]


def validation_runs(cache: Path) -> list[xr.DataArray]:
    """Sea level of the oceans to choose weights by, which are not those to score on."""
    inside, wider = VALIDATION
    oceans = [draw_ocean(seed, SPACING_KM) for seed in inside]
    oceans += [drawn_wider(seed) for seed in wider]
    return _runs(oceans, cache / "validation.zarr", seed=80_007)


def unseen_runs(cache: Path) -> dict[str, xr.DataArray]:
    """Sea level of the oceans to score on, by name."""
    oceans = [draw_ocean(seed, SPACING_KM) for seed in UNSEEN]
    runs = _runs([*oceans, replace(OUTSIDE)], cache / "unseen.zarr", seed=107)
    return dict(zip([*map(str, UNSEEN), "outside"], runs, strict=True))


def training_pairs(cache: Path, seed: int, draw: int = 0) -> list[Pair]:
    """What there is to learn from; other satellites and other noise at each draw."""
    rng = np.random.default_rng([seed, draw] if draw else seed)
    pairs = []
    for number, run in enumerate(training_runs(cache)):
        for half in range(2):
            systems = SYSTEMS[rng.integers(len(SYSTEMS))]
            truth = run.isel(time=slice(half * DAYS // 2, (half + 1) * DAYS // 2))
            if draw < 2:
                noise = float(rng.uniform(*NOISE))
                assumed = ASSUMED
            else:
                noise = float(truth.std() * np.exp(rng.uniform(*np.log(OVER_FIELD))))
                assumed = noise
            own_seed = 1000 * (1 + draw) + 10 * number + half
            l3 = observe(truth, list(systems), noise=noise, seed=own_seed)
            words = f"ocean {number}: {', '.join(systems)}, {100 * noise:.1f} cm"
            pairs.append(Pair(truth, l3[truth.name].load(), noise, assumed, words))
    return pairs


def _runs(oceans: list[Ocean], store: Path, seed: int) -> list[xr.DataArray]:
    if not store.exists():
        simulate(oceans, store, days=DAYS, spinup=SPINUP, size=SIZE, seed=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated")
        return [
            xr.open_zarr(store, group=f"ocean_{i}")["ssh"].load() for i in range(len(oceans))
        ]
