"""Learning priors and solvers: the network, what it minimises, the training loop."""

from xinverse.learning.loop import Settings, train
from xinverse.learning.losses import joint_loss
from xinverse.learning.network import FourDVarNet

__all__ = ["FourDVarNet", "Settings", "joint_loss", "train"]
