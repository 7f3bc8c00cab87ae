"""The training loop: Adam, cosine schedule, clipped gradients, exact resume."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args

import torch
from torch import Tensor, nn

from xinverse.device import Precision
from xinverse.learning.variational_net import VariationalNet

__all__ = [
    "Objective",
    "Precision",
    "Settings",
    "iterations_of",
    "parameter_groups",
    "schedule",
    "solver_steps",
    "train",
]

Model = TypeVar("Model", bound=nn.Module)
Data = TypeVar("Data")


class Objective(Protocol[Model, Data]):  # type: ignore[misc]  # invariant where used
    """A loss of the model on a batch, after a number of solver steps."""

    def __call__(self, model: Model, batch: Data, steps: int) -> Tensor:
        """Loss, a scalar with its graph."""
        ...


@dataclass
class Settings:
    """Settings of the training loop.

    Attributes
    ----------
    steps : int
        Optimiser steps.
    learning_rate : float
        At the start of the cosine schedule. The prior has half of it.
    clip : float
        Largest norm of the gradient.
    warm_steps : int
        Solver iterations at the start. They grow to those of the model over the first third
        of the training.
    every : int
        Steps between validations and checkpoints.
    precision : {"float32", "bfloat16"}
        Precision of the convolutions. ``"bfloat16"`` is faster on GPUs, and on processors
        with instructions for it. Weights and states stay in float32.
    """

    steps: int = 2500
    learning_rate: float = 2e-3
    clip: float = 1.0
    warm_steps: int = 3
    every: int = 100
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        """Check the precision."""
        if self.precision not in get_args(Precision):
            raise ValueError(
                f"precision={self.precision!r}: expected one of {get_args(Precision)}."
            )


def train(
    model: Model,
    batch_at: Callable[[int], Data],
    settings: Settings,
    *,
    objective: Objective[Model, Data],
    validate: Callable[[Model], float] | None = None,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train a model in place.

    Parameters that require no gradient stay fixed: with a fixed prior, only the solver is
    learned (sequential learning).

    Parameters
    ----------
    model : Module
        A `VariationalNet`, whose prior has half the learning rate of its solver,
        or any other module.
    batch_at : callable
        The batch of a step: a function of the step's number alone, so that a resumed run
        uses the same batches.
    settings : Settings
        Steps, rates and precision.
    objective : Objective
        Loss of the model on a batch and a number of solver iterations.
    validate : callable, optional
        Score of the model; smaller is better.
    checkpoint : Path, optional
        Written every ``settings.every`` steps. If it exists, training continues from it.
    progress : bool
        Show a bar.

    Returns
    -------
    list of dict
        Step, loss and validation score.
    """
    from tqdm import tqdm

    groups = parameter_groups(model, settings.learning_rate)
    optimiser = torch.optim.Adam(groups)
    rates = [g["lr"] for g in groups]
    iterations = iterations_of(model)
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
    device = next(model.parameters()).device.type
    mixed = settings.precision == "bfloat16"
    for step in bar:
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * schedule(step, settings.steps)
        batch, depth = batch_at(step), solver_steps(step, settings, iterations)
        with torch.autocast(device, torch.bfloat16, enabled=mixed):
            loss = objective(model, batch, depth)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimiser.step()
        value = loss.item()
        running = value if math.isnan(running) else 0.98 * running + 0.02 * value
        bar.set_postfix(loss=f"{running:.3g}")
        if (step + 1) % settings.every == 0 or step + 1 == settings.steps:
            score = float("nan") if validate is None else validate(model)
            history.append({"step": step + 1.0, "loss": running, "validation": score})
            if checkpoint is not None:
                _save(checkpoint, model, optimiser, step + 1, history)
    return history


def parameter_groups(model: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Parameters to learn with their rates: half for the cost, which includes the prior."""
    if isinstance(model, VariationalNet):
        parts = [(model.solver, rate), (model.cost, 0.5 * rate)]
    else:
        parts = [(model, rate)]
    return [
        {"params": learned, "lr": part_rate}
        for part, part_rate in parts
        if (learned := [p for p in part.parameters() if p.requires_grad])
    ]


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate: linear warm-up over 50 steps, then half a cosine."""
    return min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))


def iterations_of(model: nn.Module) -> int:
    """Iterations of the model's solver; 0 if it has none."""
    return model.steps if isinstance(model, VariationalNet) else 0


def solver_steps(step: int, settings: Settings, iterations: int) -> int:
    """Iterations at a step: few at first, all after a third of the training."""
    grown = math.ceil(iterations * 3 * step / settings.steps)
    return min(iterations, max(settings.warm_steps, grown))


def _save(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: int,
    history: list[dict[str, float]],
) -> None:
    """Write to another file and rename it, so that a kill leaves a complete checkpoint."""
    beside = path.with_suffix(".part")
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "history": history,
    }
    torch.save(state, beside)
    os.replace(beside, path)
