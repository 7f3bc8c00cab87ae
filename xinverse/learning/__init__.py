"""Learning priors and solvers: networks, losses, the training loop."""

from xinverse.learning.batch import Batch
from xinverse.learning.loop import Settings, train
from xinverse.learning.losses import background_loss, joint_loss
from xinverse.learning.networks import (
    DirectUNet,
    FourDVarNet,
    ReferenceFourDVarNet,
    WindowNetwork,
)
from xinverse.learning.objectives import OBJECTIVES
from xinverse.learning.variational_net import VariationalNet

__all__ = [
    "OBJECTIVES",
    "Batch",
    "DirectUNet",
    "FourDVarNet",
    "ReferenceFourDVarNet",
    "Settings",
    "VariationalNet",
    "WindowNetwork",
    "background_loss",
    "joint_loss",
    "train",
]
