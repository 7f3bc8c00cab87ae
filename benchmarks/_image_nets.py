"""The learned rows of the inpainting table: which prior and solver, and how trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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
class Recipe:
    """A row: prior, solver, what is learned, and how."""

    prior: Literal["pca", "ae", "2s"]
    solver: Literal["fp", "lstm"]
    joint: bool
    settings: Settings
    batch: int = 64
    begin: Literal["interpolated", "seen"] = "interpolated"
    start: str | None = None  # the row whose prior this one starts from
    options: dict[str, Any] = field(default_factory=dict)
    warped: float = 0.5  # share of the images
    # After the rest: iterations of the solver, how it is trained with them, share of warps.
    later: tuple[tuple[int, Settings, float], ...] = ()

    @property
    def phases(self) -> list[tuple[int, Settings, float]]:
        """The same of all parts of the training, in their order."""
        return [(self.options.get("steps", 1), self.settings, self.warped), *self.later]


def _brief(steps: int, rate: float, **others: Any) -> Settings:
    return Settings(steps, rate, precision="bfloat16", **others)


_SOLVER = {"hidden": 16, "steps": 10, "sees_state": True}
RECIPES = {
    "ae": Recipe("ae", "fp", True, _brief(4000, 1e-3, every=1000), 128, "seen", warped=1.0),
    "pca-lstm": Recipe(
        "pca", "lstm", False, _brief(1500, 3e-3, every=300), 32, options=_SOLVER
    ),
    "ae-fp": Recipe("ae", "fp", True, _brief(1500, 1e-3, every=500), 128),
    "ae-lstm": Recipe(
        "ae", "lstm", False, _brief(1500, 3e-3, every=300), 32, start="ae", options=_SOLVER
    ),
    "ae-joint": Recipe(
        "ae", "lstm", True, _brief(1500, 2e-3, every=300), 32, start="ae", options=_SOLVER
    ),
    "2s-fp": Recipe("2s", "fp", True, _brief(1500, 4e-3, every=500)),
    "2s-first": Recipe(
        "2s", "fp", True, _brief(4000, 4e-3, every=500), begin="seen", warped=1.0
    ),
    "2s-joint": Recipe(
        "2s",
        "lstm",
        True,
        # The weights in the repository: the first 2,800 steps of a schedule of 6,000, and the
        # first 400 of one of 1,800.
        _brief(2800, 2e-3, warm_steps=4, every=200),
        start="2s-first",
        options={"hidden": 40, "steps": 8, "sees_state": True},
        warped=1.0,
        later=(
            (12, _brief(400, 1.2e-3, warm_steps=12, every=200), 1.0),
            # Warped images are smoother than those of the test.
            (12, _brief(1500, 1.1e-3, warm_steps=12, every=100), 0.5),
        ),
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
    if recipe.solver == "fp":
        return VariationalNet(made, FixedPoint(steps=1), joint=recipe.joint)
    options = recipe.options | {"steps": recipe.phases[-1][0]}
    return VariationalNet(made, LSTMSolver(4, **options), joint=recipe.joint)


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
        count = 1 if recipe.solver == "fp" else steps
        x0 = start(row, images, seen)
        found = model(x0, seen.y, seen.operator, steps=count, mode="unroll")
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
