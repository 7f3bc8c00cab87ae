"""Options of the prior, which all designs share."""

from __future__ import annotations

from dataclasses import dataclass

from xinverse.checks import check_choice, check_number
from xinverse.methods.oi import COVARIANCES, TEMPORAL

__all__ = ["PriorOptions"]


@dataclass(frozen=True, kw_only=True)
class PriorOptions:
    """Numbers of the Gaussian prior; those that are None follow from the field.

    Attributes
    ----------
    length_scale, time_scale : float, optional
        Correlation scales, km and days. Default: fitted to a sample of the field by maximum
        marginal likelihood.
    noise : float, optional
        Standard deviation of the noise of an observation. Default: a tenth of the field's.
    variance : float, optional
        One variance for all cells. Default: from the sample, as `energy` says.
    energy : {"map", "uniform"}
        Whether the variance of the sample varies in space (if it has 20 maps or more).
    covariance, temporal : str
        As of ``method="oi"``.
    """

    length_scale: float | None = None
    time_scale: float | None = None
    noise: float | None = None
    variance: float | None = None
    energy: str = "map"
    covariance: str = "gaussian"
    temporal: str = "gaussian"

    def __post_init__(self) -> None:
        """Check every option."""
        for name in ("length_scale", "time_scale", "noise", "variance"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        check_choice("energy", self.energy, ("map", "uniform"))
        check_choice("covariance", self.covariance, COVARIANCES)
        check_choice("temporal", self.temporal, TEMPORAL)
