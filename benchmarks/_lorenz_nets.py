"""The learned reconstructions of the Lorenz tables: which prior and solver, and how trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _lorenz import System, Windows, r_scores
from safetensors.torch import load_file

from xinverse.learning import Settings, VariationalNet
from xinverse.operators import Mask
from xinverse.priors import DynamicsPrior, ProjectionPrior, TwoScale
from xinverse.solvers import LSTMSolver

WEIGHTS = Path(__file__).resolve().parent / "weights"


@dataclass(frozen=True)
class Phase:
    """A part of a training: iterations of the solver, and how it is trained with them."""

    iterations: int
    settings: Settings
    longer: int = 0  # time steps of the longer series (`System`)


@dataclass(frozen=True)
class Recipe:
    """Sizes of a network, and its training."""

    prior: dict[str, Any] | None  # of the two-scale network; None: the true model
    hidden: int  # channels of the solver's memory
    phases: tuple[Phase, ...]
    batch: int
    first: Settings | None = None  # the prior alone, as a one-step fixed point, before the rest
    first_batch: int = 0


# Which axes the convolutions see. Lorenz-96 has its times in blocks of four, from one
# observation to the next, as channels; the rest is a ring.
AXES: dict[int, dict[str, Any]] = {
    63: {"channels": 3, "rank": 1, "channel": 2},
    96: {"channels": 4, "rank": 2, "channel": 1, "periodic": (False, True)},
}
RECIPES = {
    (63, "model"): Recipe(
        None, 20, (Phase(15, Settings(1500, 3e-3, warm_steps=5, every=100)),), 32
    ),
    (63, "joint"): Recipe(
        {"hidden": 14, "coarse_hidden": 36, "factor": 4, "overlap": True},
        20,
        (Phase(8, Settings(3000, 3e-3, warm_steps=4, every=100)),),
        32,
        Settings(2500, 5e-3, every=500),
        32,
    ),
    (96, "model"): Recipe(
        None,
        32,
        (Phase(12, Settings(2400, 3e-3, warm_steps=5, every=100, precision="bfloat16")),),
        4,
    ),
    (96, "joint"): Recipe(
        {"hidden": 24, "coarse_hidden": 24, "factor": (2, 1), "overlap": True},
        40,
        (
            Phase(8, Settings(2800, 4e-3, warm_steps=3, every=100, precision="bfloat16")),
            Phase(14, Settings(500, 1.5e-3, warm_steps=14, every=100, precision="bfloat16")),
            Phase(20, Settings(300, 8e-4, warm_steps=20, every=100, precision="bfloat16")),
            # On 7,500 time steps it learns by heart: 1.87e-2 there, 2.09e-2 elsewhere.
            Phase(
                20,
                Settings(700, 1e-3, warm_steps=20, every=100, precision="bfloat16"),
                longer=40_000,
            ),
        ),
        4,
        Settings(1200, 5e-3, every=300, precision="bfloat16"),
        6,
    ),
}


class Blocks(ProjectionPrior):
    """A prior of series, for states that have their times in blocks of four."""

    def __init__(self, prior: ProjectionPrior) -> None:
        super().__init__()
        self.prior = prior

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """The projection, in blocks."""
        return in_blocks(self.prior.project(out_of_blocks(x)))

    def cost(self, x: torch.Tensor) -> torch.Tensor:
        """The prior's own cost."""
        return self.prior.cost(out_of_blocks(x))


def network(system: System, row: str) -> VariationalNet:
    """An untrained network."""
    recipe, axes = RECIPES[system.number, row], AXES[system.number]
    solver = LSTMSolver(**axes, hidden=recipe.hidden, steps=recipe.phases[-1].iterations)
    if recipe.prior is not None:
        return VariationalNet(TwoScale(**axes, **recipe.prior), solver)
    prior: ProjectionPrior = DynamicsPrior(system.normalised, system.dt)
    if system.number == 96:
        prior = Blocks(prior)
    return VariationalNet(prior, solver, joint=False).float()


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
    return torch.cat([reconstruct(model, w) for w in parts]).double()


def reconstruct(model: VariationalNet, windows: Windows, **options: Any) -> torch.Tensor:
    """Reconstructions of a batch, ``(batch, time, component)``."""
    x0, y = windows.background.float(), windows.y.float()
    if not _blocked(model.cost.prior):
        return model(x0, y, windows.operator, **options)
    found = model(in_blocks(x0), in_blocks(y), Mask(in_blocks(windows.observed)), **options)
    return out_of_blocks(found)


def project(prior: ProjectionPrior, x: torch.Tensor) -> torch.Tensor:
    """Projection of windows, ``(batch, time, component)``."""
    if _blocked(prior):
        return out_of_blocks(prior.project(in_blocks(x)))
    return prior.project(x)


def _blocked(prior: torch.nn.Module) -> bool:
    return isinstance(prior, Blocks) or (isinstance(prior, TwoScale) and prior.channel == 1)


def in_blocks(x: torch.Tensor) -> torch.Tensor:
    """``(batch, time, component)`` in blocks of four: ``(batch, 4, block, component)``."""
    return x.unflatten(1, (-1, 4)).transpose(1, 2)


def out_of_blocks(x: torch.Tensor) -> torch.Tensor:
    """Undo `in_blocks`."""
    return x.transpose(1, 2).flatten(1, 2)


def objective(model: VariationalNet, windows: Windows, steps: int) -> torch.Tensor:
    """Equation 5 of the paper; of a prior that is not learned its first term alone."""
    found, truth = (
        reconstruct(model, windows, steps=steps, mode="unroll"),
        windows.truth.float(),
    )
    loss = (found - truth).square().mean()
    if model.cost.log_weights.requires_grad:
        for state in (truth, found):
            loss = loss + 0.05 * (state - project(model.cost.prior, state)).square().mean()
    return loss


def one_step(prior: TwoScale, windows: Windows, _: int) -> torch.Tensor:
    """Reconstruction error of the prior's projection of the background, FP(1)."""
    found = project(prior, windows.background.float())
    return (found - windows.truth.float()).square().mean()


def score(model: VariationalNet, windows: Windows) -> float:
    """R-score."""
    return float(r_scores(estimate(model, windows), windows.truth).mean())
