"""H: how the state is observed."""

from xinverse.operators.area_mean import AreaMean
from xinverse.operators.base import OPERATORS, Composition, Operator
from xinverse.operators.blur import Blur, gaussian_psf
from xinverse.operators.coarsen import Coarsen, cell_area
from xinverse.operators.driven import DrivenTrajectory, SpectralColour
from xinverse.operators.inner import inner, weighted_adjoint
from xinverse.operators.mask import Mask
from xinverse.operators.matrix import Matrix
from xinverse.operators.noise import NoiseWeighted
from xinverse.operators.separable import Separable
from xinverse.operators.stack import Stack
from xinverse.operators.time_window import TimeWindow
from xinverse.operators.trajectory import Trajectory

__all__ = [
    "OPERATORS",
    "AreaMean",
    "Blur",
    "Coarsen",
    "Composition",
    "DrivenTrajectory",
    "Mask",
    "Matrix",
    "NoiseWeighted",
    "Operator",
    "Separable",
    "SpectralColour",
    "Stack",
    "TimeWindow",
    "Trajectory",
    "cell_area",
    "gaussian_psf",
    "inner",
    "weighted_adjoint",
]
