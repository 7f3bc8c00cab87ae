"""Augmentation of training windows by the symmetries of the ocean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from xinverse.learning.batch import Batch

__all__ = ["augment"]

_AXES = {"x": 3, "y": 2, "time": 1, "y-sign": 2}


def augment(
    batch: Batch,
    generator: torch.Generator,
    *,
    flips: Sequence[str] = (),
    stretch: tuple[float, float] = (1.0, 1.0),
    drift: float = 0.0,
) -> Batch:
    """Mirror each window, scale it, and add a level, at random.

    Parameters
    ----------
    batch : Batch
        Windows.
    generator : Generator
        Draws.
    flips : sequence of str
        Each is applied with probability 1/2: ``"x"``, ``"y"``, ``"time"`` reverse an
        axis, ``"sign"`` changes the sign, and ``"y-sign"`` reverses y and changes the
        sign, the symmetry of quasi-geostrophic flow.
    stretch : tuple of float
        Smallest and largest factor of the values, since the scale that a tile is
        normalised by is an estimate.
    drift : float
        Standard deviation of a level that is added to every cell, and of its change
        from the middle of the window to an end. A level that varies with time alone
        drives no flow.
    """
    count = len(batch.y)
    for flip in flips:
        chosen = torch.rand(count, generator=generator) < 0.5
        if flip != "sign":
            batch = batch.map(partial(_reversed, axis=_AXES[flip], chosen=chosen))
        if flip.endswith("sign"):
            batch = _scale(batch, 1.0 - 2.0 * chosen.float())
    low, high = stretch
    batch = _scale(batch, low + (high - low) * torch.rand(count, generator=generator))
    if drift:  # draws nothing otherwise, so that trainings without drift stay reproducible
        at = torch.linspace(-1, 1, batch.y.shape[1])
        level, change = drift * torch.randn(2, count, 1, generator=generator)
        batch = _raise(batch, level + change * at)
    return batch


def _reversed(part: Tensor, axis: int, chosen: Tensor) -> Tensor:
    return torch.where(chosen[:, None, None, None], part.flip(axis), part)


def _scale(batch: Batch, factor: Tensor) -> Batch:
    by = factor[:, None, None, None]
    scaled = _fields(batch, lambda part: part * by)
    return scaled if batch.noise is None else scaled._replace(noise=batch.noise * by.abs())


def _raise(batch: Batch, level: Tensor) -> Batch:
    by = level[:, :, None, None]
    return _fields(batch, lambda part: part + by)


def _fields(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """Change the parts that are fields, not masks or standard deviations."""
    parts = {name: getattr(batch, name) for name in ("background", "y", "truth")}
    return batch._replace(**{name: change(part) for name, part in parts.items()})
