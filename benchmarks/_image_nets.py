"""The learned rows of the inpainting table: which prior and solver, and how trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from _images import Images, Seen, scores
from safetensors.torch import load_file

from xinverse.learning import Settings, VariationalNet, joint_loss
from xinverse.priors import EOF, Autoencoder, TwoScale
from xinverse.priors.base import ProjectionPrior
from xinverse.solvers import FixedPoint, LSTMSolver

WEIGHTS = Path(__file__).resolve().parent / "weights"
SHAPE = (4, 14, 14)


@dataclass(frozen=True)
class Phase:
    """A part of a training: iterations of the solver, and how it is trained with them."""

    iterations: int
    settings: Settings
    warped: float = 0.5  # share of the images


@dataclass(frozen=True)
class Recipe:
    """A row: prior, solver, what is learned, and how."""

    prior: Literal["pca", "ae", "2s"]
    solver: Literal["fp", "lstm"]
    joint: bool
    phases: tuple[Phase, ...]
    batch: int = 64
    begin: Literal["interpolated", "seen"] = "interpolated"
    start: str | None = None  # the row whose prior this one starts from
    hidden: int = 16  # channels of the LSTM's memory


def _brief(steps: int, rate: float, **others: Any) -> Settings:
    return Settings(steps, rate, precision="bfloat16", **others)


RECIPES = {
    "ae": Recipe(
        "ae", "fp", True, (Phase(1, _brief(4000, 1e-3, every=1000), 1.0),), 128, "seen"
    ),
    "pca-lstm": Recipe("pca", "lstm", False, (Phase(10, _brief(1500, 3e-3, every=300)),), 32),
    "ae-fp": Recipe("ae", "fp", True, (Phase(1, _brief(1500, 1e-3, every=500)),), 128),
    "ae-lstm": Recipe(
        "ae", "lstm", False, (Phase(10, _brief(1500, 3e-3, every=300)),), 32, start="ae"
    ),
    "ae-joint": Recipe(
        "ae", "lstm", True, (Phase(10, _brief(1500, 2e-3, every=300)),), 32, start="ae"
    ),
    "2s-fp": Recipe("2s", "fp", True, (Phase(1, _brief(1500, 4e-3, every=500)),)),
    "2s-first": Recipe(
        "2s", "fp", True, (Phase(1, _brief(4000, 4e-3, every=500), 1.0),), begin="seen"
    ),
    "2s-joint": Recipe(
        "2s",
        "lstm",
        True,
        (
            # The weights in the repository: the first 2,800 steps of a schedule of 6,000, and
            # the first 400 of one of 1,800.
            Phase(8, _brief(2800, 2e-3, warm_steps=4, every=200), 1.0),
            Phase(12, _brief(400, 1.2e-3, warm_steps=12, every=200), 1.0),
            # Warped images are smoother than those of the test.
            Phase(12, _brief(1500, 1.1e-3, warm_steps=12, every=100)),
        ),
        start="2s-first",
        hidden=40,
    ),
}


def prior(kind: str, images: Images) -> ProjectionPrior:
    """An untrained prior; the components of PCA are those of the training images."""
    if kind == "pca":
        return EOF.fit(images.states, modes=50)
    if kind == "ae":
        return Autoencoder(SHAPE, latent=20)
    return TwoScale(4, 12, 2, coarse_hidden=22, depth=2, coarse_depth=3, overlap=True)


def network(row: str, images: Images) -> VariationalNet:
    """An untrained network."""
    recipe = RECIPES[row]
    made = prior(recipe.prior, images)
    steps = recipe.phases[-1].iterations
    if recipe.solver == "fp":
        return VariationalNet(made, FixedPoint(steps=steps), joint=recipe.joint)
    solver = LSTMSolver(4, recipe.hidden, steps, sees_state=True)
    return VariationalNet(made, solver, joint=recipe.joint)


def weights_file(row: str, seed: int) -> Path:
    """Where the weights of a training with a seed are."""
    return WEIGHTS / f"inpainting-{row}-{seed}.safetensors"


def trained(row: str, images: Images, seed: int) -> VariationalNet:
    """A network with its weights."""
    model = network(row, images)
    model.load_state_dict(load_file(weights_file(row, seed)), strict=False)
    return model.requires_grad_(False)


def start(row: str, images: Images, seen: Seen) -> torch.Tensor:
    """Where the solver of a row starts: optimal interpolation, or what was seen."""
    return seen.y if RECIPES[row].begin == "seen" else images.background(seen)


def estimate(
    row: str, model: VariationalNet, images: Images, seen: Seen, at_once: int = 250
) -> torch.Tensor:
    """Reconstructions of many images."""
    parts = [seen[k : k + at_once] for k in range(0, len(seen), at_once)]
    return torch.cat([model(start(row, images, s), s.y, s.operator) for s in parts])


def objective(row: str, images: Images) -> Callable[[VariationalNet, Seen, int], torch.Tensor]:
    """What a row minimises."""
    recipe = RECIPES[row]

    def represent(model: VariationalNet, seen: Seen, _: int) -> torch.Tensor:
        return (seen.truth - model.project(seen.truth)).square().mean()

    def reconstruct(model: VariationalNet, seen: Seen, steps: int) -> torch.Tensor:
        x0 = start(row, images, seen)
        found = model(x0, seen.y, seen.operator, steps=steps, mode="unroll")
        weight = 0.05 if recipe.joint else 0.0
        return joint_loss(
            model, found, seen.truth, estimate_projection=weight, truth_projection=weight
        )

    return represent if row == "ae" else reconstruct


def score(row: str, model: VariationalNet, images: Images, seen: Seen) -> dict[str, float]:
    """R-, I- and P-score."""
    projected = model.project(seen.truth)
    return scores(estimate(row, model, images, seen), seen) | {
        "P": float((projected - seen.truth).square().mean())
    }
