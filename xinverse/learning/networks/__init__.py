"""Networks on windows of maps, one file each; model cards describe them."""

from xinverse.learning.networks.base import WindowNetwork
from xinverse.learning.networks.four_dvarnet import FourDVarNet
from xinverse.learning.networks.reference import ReferenceFourDVarNet
from xinverse.learning.networks.unet import DirectUNet

__all__ = ["DirectUNet", "FourDVarNet", "ReferenceFourDVarNet", "WindowNetwork"]
