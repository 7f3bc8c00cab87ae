"""Symmetries of the ocean that make more of what there is to learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from xinverse.learning.batch import Batch

__all__ = ["FLIPS", "augment"]

FLIPS = ("x", "y", "time", "sign", "y-sign")
_AXES = {"x": 3, "y": 2, "time": 1, "y-sign": 2}


def augment(
    batch: Batch,
    generator: torch.Generator,
    *,
    flips: Sequence[str] = (),
    stretch: tuple[float, float] = (1.0, 1.0),
    drift: float = 0.0,
) -> Batch:
    """Mirror each window, multiply it, and raise it, at random.

    Parameters
    ----------
    batch : Batch
        Windows.
    generator : Generator
        Draws.
    flips : sequence of str
        Each with an even chance: ``"x"``, ``"y"``, ``"time"`` turn an axis,
        ``"sign"`` the values, and ``"y-sign"`` both at once: the symmetry of
        quasi-geostrophic flow, eddies of the other sense on the other hemisphere.
    stretch : tuple of float
        Smallest and largest factor of the values: the scale that a tile is
        normalised by is an estimate.
    drift : float
        Standard deviation of a level that is added to every cell, and of its
        change from the middle of the window to an end. The level that is taken
        out of a tile is one number; and a level that varies with time alone
        moves no water.
    """
    count = len(batch.y)
    for flip in flips:
        chosen = torch.rand(count, generator=generator) < 0.5
        if flip != "sign":
            batch = batch.map(partial(_turn, axis=_AXES[flip], chosen=chosen))
        if flip.endswith("sign"):
            batch = _scale(batch, 1.0 - 2.0 * chosen.float())
    low, high = stretch
    batch = _scale(batch, low + (high - low) * torch.rand(count, generator=generator))
    if drift:  # nothing is drawn without: trainings that know of none stay what they were
        at = torch.linspace(-1, 1, batch.y.shape[1])
        level, change = drift * torch.randn(2, count, 1, generator=generator)
        batch = _raise(batch, level + change * at)
    return batch


def _turn(part: Tensor, axis: int, chosen: Tensor) -> Tensor:
    return torch.where(chosen[:, None, None, None], part.flip(axis), part)


def _scale(batch: Batch, factor: Tensor) -> Batch:
    by = factor[:, None, None, None]
    scaled = _fields(batch, lambda part: part * by)
    return scaled if batch.noise is None else scaled._replace(noise=batch.noise * by.abs())


def _raise(batch: Batch, level: Tensor) -> Batch:
    by = level[:, :, None, None]
    return _fields(batch, lambda part: part + by)


def _fields(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """Change what has the units of the field and is no deviation."""
    parts = {name: getattr(batch, name) for name in ("background", "y", "truth")}
    return batch._replace(**{name: change(part) for name, part in parts.items()})
