r"""U and Φ: what states look like."""

from xinverse.priors.autoencoder import Autoencoder
from xinverse.priors.base import PRIORS, Prior, ProjectionPrior
from xinverse.priors.dynamics import DynamicsPrior
from xinverse.priors.eof import EOF
from xinverse.priors.gaussian import CirculantGaussian, GaussianPrior, KroneckerGaussian
from xinverse.priors.tikhonov import Tikhonov
from xinverse.priors.total_variation import TotalVariation
from xinverse.priors.two_scale import TwoScale
from xinverse.priors.unet import UNet
from xinverse.priors.white import White

__all__ = [
    "EOF",
    "PRIORS",
    "Autoencoder",
    "CirculantGaussian",
    "DynamicsPrior",
    "GaussianPrior",
    "KroneckerGaussian",
    "Prior",
    "ProjectionPrior",
    "Tikhonov",
    "TotalVariation",
    "TwoScale",
    "UNet",
    "White",
]
