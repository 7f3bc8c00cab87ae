"""Smooth random fields that drift, seen in stripes: what two packages learn from and map.

Plain numpy, since another environment reads it too.
"""

from __future__ import annotations

import numpy as np

LEVEL, SPREAD = 0.4, 0.25
SCALE = 10  # cells, of what is smooth
EVERY, WIDTH = 40, 2  # cells, of the stripes


def field(days: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field that drifts by a cell a day, ``(days, side, side)``."""
    k = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    noise = np.fft.rfft2(rng.standard_normal((side, side)))
    still = np.fft.irfft2(noise * np.exp(-((k * SCALE) ** 2)), s=(side, side))
    drifting = np.stack([np.roll(still, day, axis=1) for day in range(days)])
    return (LEVEL + SPREAD * drifting / drifting.std()).astype("f4")


def seen(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A twentieth of it, in stripes as altimeters leave them; NaN elsewhere."""
    y, x = np.indices(truth.shape[-2:])
    out = np.full_like(truth, np.nan)
    for day, one in enumerate(truth):
        slope, start = rng.uniform(0.3, 0.6), rng.uniform(0, EVERY)
        stripes = (x + slope * y + start) % EVERY < WIDTH
        out[day][stripes] = one[stripes]
    return out


def normalised(values: np.ndarray) -> np.ndarray:
    """Without level and spread."""
    return ((values - LEVEL) / SPREAD).astype("f4")


def batch_at(
    step: int, seed: int, count: int, days: int, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Observations and truth of a training step, normalised, ``(count, days, side, side)``."""
    rng = np.random.default_rng((seed, 1, step))
    truths = [field(days, side, rng) for _ in range(count)]
    return normalised(np.stack([seen(one, rng) for one in truths])), normalised(
        np.stack(truths)
    )
