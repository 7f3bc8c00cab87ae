r"""U and Φ: what states look like."""

from xinverse.priors.base import PRIORS, Prior, ProjectionPrior
from xinverse.priors.gaussian import CirculantGaussian, GaussianPrior, KroneckerGaussian
from xinverse.priors.two_scale import TwoScale

__all__ = [
    "PRIORS",
    "CirculantGaussian",
    "GaussianPrior",
    "KroneckerGaussian",
    "Prior",
    "ProjectionPrior",
    "TwoScale",
]
