"""The learned reconstructions of the Lorenz tables: which prior and solver, and how trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _lorenz import System, Windows, r_scores
from safetensors.torch import load_file

from xinverse.learning import Settings, VariationalNet, joint_loss
from xinverse.priors import DynamicsPrior, TwoScale
from xinverse.solvers import LSTMSolver

WEIGHTS = Path(__file__).resolve().parent / "weights"


@dataclass(frozen=True)
class Recipe:
    """Sizes of a network, and its training."""

    prior: dict[str, Any] | None  # of the two-scale network; None: the true model
    solver: dict[str, Any]
    settings: Settings
    batch: int
    first: Settings | None = None  # the prior alone, as a one-step fixed point, before the rest


AXES: dict[int, dict[str, Any]] = {
    63: {"channels": 3, "rank": 1, "channel": 2},
    96: {"channels": 1, "rank": 2, "channel": None, "periodic": (False, True)},
}
RECIPES = {
    (63, "model"): Recipe(
        None, {"hidden": 20, "steps": 15}, Settings(1500, 3e-3, warm_steps=5, every=100), 32
    ),
    (63, "joint"): Recipe(
        {"hidden": 14, "coarse_hidden": 36, "factor": 4, "overlap": True},
        {"hidden": 20, "steps": 8},
        Settings(3000, 3e-3, warm_steps=4, every=100),
        32,
        Settings(2500, 5e-3, every=500),
    ),
    (96, "model"): Recipe(
        None, {"hidden": 12, "steps": 12}, Settings(600, 3e-3, warm_steps=5, every=50), 4
    ),
    (96, "joint"): Recipe(
        {"hidden": 8, "coarse_hidden": 28, "factor": (4, 1), "overlap": True},
        {"hidden": 16, "steps": 8},
        Settings(900, 3e-3, warm_steps=3, every=50),
        4,
        Settings(1000, 5e-3, every=200),
    ),
}


def network(system: System, row: str) -> VariationalNet:
    """An untrained network."""
    recipe, axes = RECIPES[system.number, row], AXES[system.number]
    solver = LSTMSolver(**axes, **recipe.solver)
    if recipe.prior is None:
        prior = DynamicsPrior(system.normalised, system.dt)
        return VariationalNet(prior, solver, joint=False).float()
    return VariationalNet(TwoScale(**axes, **recipe.prior), solver)


def weights_file(system: System, row: str, seed: int) -> Path:
    """Where the weights of a training with a seed are."""
    return WEIGHTS / f"lorenz{system.number}-{row}-{seed}.safetensors"


def trained(system: System, row: str, seed: int) -> VariationalNet:
    """A network with its weights."""
    model = network(system, row)
    model.load_state_dict(load_file(weights_file(system, row, seed)), strict=False)
    return model.requires_grad_(False)


def estimate(model: VariationalNet, windows: Windows, at_once: int = 256) -> torch.Tensor:
    """Reconstructions of many windows."""
    parts = [windows[k : k + at_once] for k in range(0, len(windows), at_once)]
    return torch.cat(
        [model(w.interpolated.float(), w.y.float(), w.operator) for w in parts]
    ).double()


def objective(model: VariationalNet, windows: Windows, steps: int) -> torch.Tensor:
    """Equation 5 of the paper; of a prior that is not learned its first term alone."""
    x0, y = windows.interpolated.float(), windows.y.float()
    found = model(x0, y, windows.operator, steps=steps, mode="unroll")
    projection = 0.05 if model.cost.log_weights.requires_grad else 0.0
    return joint_loss(
        model,
        found,
        windows.truth.float(),
        estimate_projection=projection,
        truth_projection=projection,
    )


def one_step(prior: TwoScale, windows: Windows, _: int) -> torch.Tensor:
    """Reconstruction error of the prior's projection of the background, FP(1)."""
    found = prior.project(windows.interpolated.float())
    return (found - windows.truth.float()).square().mean()


def score(model: VariationalNet, windows: Windows) -> float:
    """R-score."""
    return float(r_scores(estimate(model, windows), windows.truth).mean())
