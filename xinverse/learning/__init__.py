"""Learning priors and solvers: networks, what they minimise, the training loop."""

from xinverse.learning.batch import Batch
from xinverse.learning.direct import DirectUNet
from xinverse.learning.loop import Settings, train
from xinverse.learning.losses import background_loss, joint_loss
from xinverse.learning.network import FourDVarNet, WindowNetwork
from xinverse.learning.objectives import OBJECTIVES
from xinverse.learning.reference import ReferenceFourDVarNet
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
