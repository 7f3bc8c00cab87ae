"""Scenes that the sea level weights learn from: short series, drawn again for each batch.

A scene is cut from a simulated ocean and changed, so that a few simulations serve for many
seas: another amplitude, a slower flow, another grid spacing, a quarter turn, coasts and
islands. Then it is observed by other satellites with other noise, and interpolated with scales
and a noise that are more or less right, as by a user who does not know them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from xinverse import TrainingFields
from xinverse.osse import Ocean, SwathError, observe
from xinverse.osse.nature import label_heights

PATCH = 48
LARGEST = 56  # cells along a side of a scene
DAYS = (24, 34)
SHORT = 0.12  # share of the scenes that have fewer days, down to one
AMPLITUDE = (0.02, 0.4)  # standard deviation, m
NOISE = (0.01, 0.06)  # m
OVER_FIELD = (0.04, 1.2)  # noise over the standard deviation
SLOWER = 3.0
SPACING = (0.8, 1.3)  # factors
TURNED, MIRRORED, COASTAL, OUTAGE = 0.25, 0.25, 0.35, 0.15
SYSTEMS = ("nadir:1", "nadir:2", "nadir:3", "nadir:4", "nadir:5", "nadir:6")
SWATH = 0.3
# Scales of the background: a fixed pair, or those of the ocean times a log-normal factor.
FIXED, FIXED_SHARE = {"length_scale": 90.0, "time_scale": 10.0}, 0.25
WRONG_SCALES, WRONG_NOISE = 0.3, 0.25
EXPONENTIAL = 0.2  # share of backgrounds that are exponential in time
UNKNOWN_NOISE = 0.15  # share of scenes whose noise is left to the default
AGAIN = 0.3  # share of scenes whose background is a map of the network


def scenes_of(
    runs: Sequence[xr.DataArray], network: Path | None
) -> Callable[[int], TrainingFields]:
    """A function that draws scenes from some simulations.

    With weights of a network, some scenes have its map as their background, for the second
    pass.
    """

    def draw(seed: int) -> TrainingFields:
        rng = np.random.default_rng(seed)
        while True:
            run = runs[rng.integers(len(runs))]
            truth = _observable(_cut(run, rng), rng)
            scene = observed(truth, rng, seed, network)
            if scene is not None:
                return scene

    return draw


def observed(
    truth: xr.DataArray, rng: np.random.Generator, seed: int, network: Path | None
) -> TrainingFields | None:
    """Observe a scene and interpolate it; None if no satellite saw it."""
    deviation = float(truth.std())
    noise = _log_uniform(rng, *OVER_FIELD) * deviation
    noise = float(np.clip(noise, *NOISE)) if rng.random() < 0.5 else min(noise, NOISE[1])
    seen = _seen(truth, rng, seed, noise)
    if seen is None:
        return None
    assumed = seen["ssh_noise"] * float(np.exp(WRONG_NOISE * rng.standard_normal()))
    assumed.attrs = seen["ssh_noise"].attrs
    if rng.random() < FIXED_SHARE:
        scales = FIXED
    else:
        length, time = suited(truth)
        wrong = np.exp(WRONG_SCALES * rng.standard_normal(2))
        scales = {"length_scale": length * wrong[0], "time_scale": time * wrong[1]}
    given: Any = {} if rng.random() < UNKNOWN_NOISE else {"noise": assumed}
    temporal = "exponential" if rng.random() < EXPONENTIAL else "gaussian"
    sea = truth.isel(time=0, drop=True).notnull()
    background = seen["ssh"].inverse.interpolate(
        method="oi",
        tolerance=1e-3,
        temporal=temporal,
        mask=sea,
        progress=False,
        **scales,
        **given,
    )
    if network is not None and rng.random() < AGAIN:
        background = seen["ssh"].inverse.interpolate(
            method="4dvarnet",
            weights=network,
            background=background,
            passes=1,
            precision="bfloat16",
            mask=sea,
            progress=False,
            **given,
        )
    return TrainingFields(truth, seen["ssh"], background=background, mask=sea, **given)


def suited(truth: xr.DataArray) -> tuple[float, float]:
    """Scales of the Gaussian covariance of a field, from its mean squared differences.

    For a lag at which the correlation is r, the scale is lag / sqrt(-log r); the lag is the
    first one with r below 0.7.
    """
    values = truth.to_numpy()
    values = values - np.nanmean(values)
    variance = np.nanmean(values**2)
    spacing = truth.attrs["spacing_km"]
    found = []
    for axis, step in ((0, 1.0), (1, spacing), (2, spacing)):
        scale = np.nan
        for lag in range(1, values.shape[axis]):
            ahead = np.take(values, range(lag, values.shape[axis]), axis)
            behind = np.take(values, range(values.shape[axis] - lag), axis)
            r = 1 - np.nanmean((ahead - behind) ** 2) / (2 * variance)
            scale = lag * step / np.sqrt(-np.log(np.clip(r, 0.05, 0.999)))
            if r < 0.7:
                break
        found.append(scale)
    time = found[0] if np.isfinite(found[0]) else FIXED["time_scale"]
    length = float(np.sqrt(found[1] * found[2]))
    return float(np.clip(length, 30.0, 300.0)), float(np.clip(time, 3.0, 60.0))


def _cut(run: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
    """A part of a run: slower, turned, mirrored, on another spacing, with another amplitude."""
    slower = float(rng.uniform(1.0, SLOWER)) if rng.random() < 0.5 else 1.0
    days = int(rng.integers(1, DAYS[0])) if rng.random() < SHORT else int(rng.integers(*DAYS))
    span = (days - 1) / slower
    first = rng.uniform(0, run.sizes["time"] - 1 - span)
    at = first + np.arange(days) / slower
    before = np.minimum(at.astype(int), run.sizes["time"] - 2)
    share = (at - before)[:, None, None]
    whole = run.to_numpy()
    values = (1 - share) * whole[before] + share * whole[before + 1]
    # The box is doubly periodic: any part of it may be its middle.
    values = np.roll(values, tuple(rng.integers(0, values.shape[1:])), axis=(1, 2))
    if rng.random() < TURNED:
        values = np.rot90(values, axes=(1, 2))
    if rng.random() < MIRRORED:
        values = values[:, :, ::-1]
    values = values * (_log_uniform(rng, *AMPLITUDE) / whole.std())
    about = {k: v for k, v in run.attrs.items() if k in Ocean.__dataclass_fields__}
    spacing = np.clip(about["spacing_km"] * rng.uniform(*SPACING), 8.6, 26.0)
    ocean = Ocean(**{**about, "spacing_km": float(spacing)})
    box = label_heights(np.ascontiguousarray(values, dtype=np.float32), ocean)
    ny, nx = (int(n) for n in rng.integers(PATCH, LARGEST + 1, 2))
    return box.isel(latitude=slice(ny), longitude=slice(nx))


def _observable(truth: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
    """Put land into some scenes: a coast, or islands, of random outlines."""
    if rng.random() > COASTAL:
        return truth
    shape = truth.shape[1:]
    rough = gaussian_filter(rng.standard_normal(shape), rng.uniform(2.0, 8.0), mode="nearest")
    height = rough / rough.std()
    if rng.random() < 0.5:  # a coast: land rises across the scene
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
        height = height + rng.uniform(1.0, 4.0) * (x * np.cos(angle) + y * np.sin(angle))
    share = rng.uniform(0.05, 0.5)
    land = height > np.quantile(height, 1 - share)
    return truth.where(xr.DataArray(~land, dims=truth.dims[1:]))


def _seen(
    truth: xr.DataArray, rng: np.random.Generator, seed: int, noise: float
) -> xr.Dataset | None:
    """Observe a scene by random satellites; None if few cells of a short scene are seen."""
    systems = [SYSTEMS[rng.integers(len(SYSTEMS))]]
    error = None
    if rng.random() < SWATH:
        systems.append("swot")
        error = SwathError() if rng.random() < 0.5 else None
    shared: dict[str, Any] = {"noise": noise, "swath_error": error}
    for attempt in range(20):
        try:
            seen = observe(truth, systems, seed=seed + attempt, **shared)
        except ValueError:  # no satellite passes in so few days
            systems[0] = SYSTEMS[-1]
            continue
        if int(seen["ssh"].count()) > 20:
            break
    else:
        return None
    if rng.random() < OUTAGE and truth.sizes["time"] > 10:
        first = int(rng.integers(truth.sizes["time"]))
        lost = xr.DataArray(np.arange(truth.sizes["time"]), dims="time")
        kept = seen.where((lost < first) | (lost >= first + rng.integers(2, 8)))
        seen = kept if int(kept["ssh"].count()) > 20 else seen
    return seen


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
