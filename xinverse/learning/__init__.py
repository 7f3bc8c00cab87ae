"""Learning priors and solvers: the network, what it minimises, the training loop."""

from xinverse.learning.loop import Settings, train
from xinverse.learning.losses import background_loss, joint_loss
from xinverse.learning.network import FourDVarNet
from xinverse.learning.variational_net import VariationalNet

__all__ = [
    "FourDVarNet",
    "Settings",
    "VariationalNet",
    "background_loss",
    "joint_loss",
    "train",
]
