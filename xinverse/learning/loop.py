"""The training loop: Adam, cosine schedule, clipped gradients, exact resume."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xinverse.learning.losses import joint_loss
from xinverse.learning.network import FourDVarNet

__all__ = ["Batch", "Settings", "train"]

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass
class Settings:
    """How to train.

    Attributes
    ----------
    steps : int
        Optimiser steps.
    learning_rate : float
        At the start of the cosine schedule; half of it for the prior.
    clip : float
        Largest norm of the gradient.
    warm_steps : int
        Solver iterations at the start; they grow to the model's own over the
        first third.
    every : int
        Steps between validations and checkpoints.
    """

    steps: int = 2500
    learning_rate: float = 2e-3
    clip: float = 1.0
    warm_steps: int = 3
    every: int = 100


def train(
    model: FourDVarNet,
    batch_at: Callable[[int], Batch],
    settings: Settings,
    *,
    validate: Callable[[FourDVarNet], float] | None = None,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train a model in place.

    Parameters
    ----------
    model : FourDVarNet
        Prior and solver.
    batch_at : callable
        The batch of a step, ``(background, y, observed, truth)``: a function of
        the step's number alone, so that a resumed run sees what it would have.
    settings : Settings
        How.
    validate : callable, optional
        A score of the model, smaller is better.
    checkpoint : Path, optional
        Written every ``settings.every`` steps; training goes on from it if it is there.
    progress : bool
        Show a bar.

    Returns
    -------
    list of dict
        Step, loss and validation score.
    """
    from tqdm import tqdm

    prior = list(model.cost.parameters())
    groups: list[dict[str, Any]] = [
        {"params": list(model.solver.parameters()), "lr": settings.learning_rate},
        {"params": prior, "lr": 0.5 * settings.learning_rate},
    ]
    optimiser = torch.optim.Adam(groups)
    rates = [g["lr"] for g in groups]
    history: list[dict[str, float]] = []
    first = 0
    if checkpoint is not None and checkpoint.exists():
        saved: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        first, history = int(saved["step"]), list(saved["history"])
    bar = tqdm(
        range(first, settings.steps),
        total=settings.steps,
        initial=first,
        disable=not progress,
    )
    running = float("nan")
    for step in bar:
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * _schedule(step, settings.steps)
        background, y, observed, truth = batch_at(step)
        grown = model.solver.steps * 3 * step / settings.steps
        iterations = min(model.solver.steps, max(settings.warm_steps, math.ceil(grown)))
        estimate = model(background, y, observed, steps=iterations, train=True)
        loss = joint_loss(model, estimate, truth, background)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimiser.step()
        value = loss.item()
        running = value if math.isnan(running) else 0.98 * running + 0.02 * value
        bar.set_postfix(loss=f"{running:.3f}")
        if (step + 1) % settings.every == 0 or step + 1 == settings.steps:
            score = float("nan") if validate is None else validate(model)
            history.append({"step": step + 1.0, "loss": running, "validation": score})
            if checkpoint is not None:
                _save(checkpoint, model, optimiser, step + 1, history)
    return history


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over 50 steps, then half a cosine."""
    return min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _save(
    path: Path,
    model: FourDVarNet,
    optimiser: torch.optim.Optimizer,
    step: int,
    history: list[dict[str, float]],
) -> None:
    """Write beside and rename, so that a kill leaves the last whole checkpoint."""
    beside = path.with_suffix(".part")
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "history": history,
    }
    torch.save(state, beside)
    os.replace(beside, path)
