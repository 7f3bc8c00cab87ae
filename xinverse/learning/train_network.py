"""Train a network on patches: batches, loss and validation, around a training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from xinverse.learning.augment import augment
from xinverse.learning.batch import Batch
from xinverse.learning.loop import Objective, Settings, train
from xinverse.learning.networks.base import WindowNetwork
from xinverse.learning.objectives import objective_of
from xinverse.learning.prefetch import ahead
from xinverse.recipe import Recipe

__all__ = ["Patches", "train_network"]

VALIDATION_BATCHES = 8
STRETCH = (0.7, 1.4)  # the scale that a tile is normalised by is only an estimate


class Patches(Protocol):
    """Batches of patches, as arrays by the names of a `Batch`."""

    def at(self, step: int) -> Mapping[str, np.ndarray]:
        """Batch of a step, a function of its number alone."""

    def validation(self, count: int) -> Sequence[Mapping[str, np.ndarray]]:
        """Batches to validate with; empty if nothing is kept for it."""


def train_network(
    network: WindowNetwork,
    patches: Patches,
    recipe: Recipe,
    *,
    device: torch.device,
    checkpoint: Path | None = None,
    trainer: Any = None,
    progress: bool = False,
) -> list[dict[str, float]]:
    """Train a network in place.

    Parameters
    ----------
    network : WindowNetwork
        The network.
    patches : Patches
        What it learns from.
    recipe : Recipe
        With its loss, precision and flips.
    device : torch.device
        Where to train.
    checkpoint : Path, optional
        File from which training resumes, and to which it is saved.
    trainer : lightning.Trainer, optional
        Used in place of the package's own loop.
    progress : bool
        Show a bar.

    Returns
    -------
    list of dict
        Step, loss and validation score.
    """
    network.to(device)
    flips = tuple(recipe.flips or ())

    def batch_at(step: int) -> Batch:
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        drawn = _tensors(patches.at(step))
        return augment(drawn, generator, flips=flips, stretch=STRETCH, drift=recipe.drift)

    held = [_tensors(arrays) for arrays in patches.validation(VALIDATION_BATCHES)]

    def validate(model: WindowNetwork) -> float:
        return _score(model, [batch.to(device) for batch in held])

    settings = Settings(
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        clip=recipe.clip,
        warm_steps=recipe.warm_steps,
        every=recipe.every,
        precision=recipe.precision or "float32",
    )
    objective = objective_of(recipe.loss or "supervised", recipe.gradient_weight)
    if trainer is not None:
        history = _by_lightning(trainer, network, settings, objective, batch_at)
        network.to(device)
        if held:
            history[-1]["validation"] = validate(network)
    else:
        with ahead(batch_at) as next_batch:
            history = train(
                network,
                lambda step: next_batch(step).to(device),
                settings,
                objective=objective,
                validate=validate if held else None,
                checkpoint=checkpoint,
                progress=progress,
            )
    network.cpu().eval().requires_grad_(False)
    return history


def _tensors(arrays: Mapping[str, np.ndarray]) -> Batch:
    return Batch(**{name: torch.from_numpy(value) for name, value in arrays.items()})


def _by_lightning(
    trainer: Any,
    network: WindowNetwork,
    settings: Settings,
    objective: Objective[WindowNetwork, Batch],
    batch_at: Callable[[int], Batch],
) -> list[dict[str, float]]:
    """Train with a Lightning trainer, which sets devices, precision and checkpoints."""
    from xinverse.learning.lightning_module import TrainingModule, loader

    module = TrainingModule(network, settings, objective)
    trainer.fit(module, loader(batch_at, settings.steps))
    last = trainer.callback_metrics.get("loss", float("nan"))
    return [{"step": float(trainer.global_step), "loss": float(last), "validation": np.nan}]


def _score(model: WindowNetwork, batches: Sequence[Batch]) -> float:
    """Error variance over that of the background, tapered in time."""
    error = reference = 0.0
    for batch in batches:
        estimate = model.reconstruct(
            batch.background, batch.y, batch.observed, noise=batch.noise, sea=batch.sea
        )
        counted = cast(Tensor, batch.counted)
        weight = counted * model.taper(estimate)[:, None, None]
        error += float((weight * (estimate - batch.truth).square()).sum())
        reference += float((weight * (batch.background - batch.truth).square()).sum())
    return error / reference
