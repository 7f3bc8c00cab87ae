"""The training loop for Lightning's trainers: several GPUs, nodes, loggers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from xinverse.learning.loop import (
    Objective,
    Settings,
    iterations_of,
    parameter_groups,
    schedule,
    solver_steps,
)

__all__ = ["TrainingModule", "loader"]


class TrainingModule(LightningModule):
    """The steps of `xinverse.learning.train` as a LightningModule.

    Clipping, precision and checkpoints are those of the trainer.

    Parameters
    ----------
    model : Module
        Trained in place.
    settings : Settings
        Steps, rates and iterations. ``clip``, ``every`` and ``precision`` are not used.
    objective : Objective
        Loss of the model on a batch.
    """

    def __init__(
        self, model: nn.Module, settings: Settings, objective: Objective[Any, Any]
    ) -> None:
        super().__init__()
        self.model, self.settings, self.objective = model, settings, objective

    def training_step(self, batch: Any, index: int) -> Tensor:  # noqa: ARG002  required by Lightning
        """Loss of a batch."""
        depth = solver_steps(self.global_step, self.settings, iterations_of(self.model))
        loss = self.objective(self.model, batch, depth)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        """Adam, with the rates of the loop."""
        optimiser = torch.optim.Adam(parameter_groups(self.model, self.settings.learning_rate))
        rates = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: schedule(step, self.settings.steps)
        )
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": rates, "interval": "step"},
        }


class _Steps(Dataset[Any]):
    def __init__(self, batch_at: Callable[[int], Any], steps: int) -> None:
        self.batch_at, self.steps = batch_at, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Any:
        return self.batch_at(step)


def loader(batch_at: Callable[[int], Any], steps: int) -> DataLoader[Any]:
    """Load the batches of a training in order.

    Parameters
    ----------
    batch_at : callable
        The batch of a step.
    steps : int
        Number of batches.
    """
    return DataLoader(_Steps(batch_at, steps), batch_size=None, shuffle=False)
