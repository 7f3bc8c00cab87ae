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
    """What is minimised: a loss of the model on a batch, after so many solver steps."""

    def __call__(self, model: Model, batch: Data, steps: int) -> Tensor:
        """Loss, a scalar with its graph."""
        ...


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
    precision : {"float32", "bfloat16"}
        Of the convolutions while training: half of it is faster on GPUs, and on
        processors that have instructions for it; weights and states stay whole.
    """

    steps: int = 2500
    learning_rate: float = 2e-3
    clip: float = 1.0
    warm_steps: int = 3
    every: int = 100
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        """Refuse what would only fail, or do nothing, in the loop."""
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

    What asks for no gradient stays as it is, so that a solver is learned alone
    (sequential learning) where its prior is frozen.

    Parameters
    ----------
    model : Module
        A `VariationalNet`, whose prior has half the learning rate of its solver,
        or any other module.
    batch_at : callable
        The batch of a step: a function of the step's number alone, so that a
        resumed run sees what it would have.
    settings : Settings
        How.
    objective : Objective
        Loss of the model on a batch; gets the number of solver iterations.
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
    """What is learned, with its rate: half for what the solver is given."""
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
    """Iterations of a model's own solver; none where it has no solver."""
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
