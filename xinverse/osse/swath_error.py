r"""Errors of a swath altimeter that are correlated over hundreds of kilometres.

A roll of the satellite by a small angle :math:`\theta` tilts the heights measured at the
distance :math:`c` from nadir, and delays shift the whole swath:

.. math:: e(s, c) = b(s) + \theta(s) \, c

where :math:`b` and :math:`\theta` are independent Gaussian processes of the distance :math:`s`
along the track, both with the covariance

.. math:: \sigma^2 \exp(-|s - s'| / L).

Its one-sided spectrum, at the wavenumber :math:`k` in cycles per unit of length,

.. math:: S(k) = \frac{4 \sigma^2 L}{1 + (2 \pi L k)^2} \approx \frac{\sigma^2}{\pi^2 L} k^{-2},

has the slope of the requirement of the SWOT mission, :math:`0.00125 \, k^{-2}` cm² per cycle/km
for wavelengths of 15 to 1000 km (Desai 2018).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import pi

import numpy as np
from numpy.typing import NDArray

from xinverse.constants import EARTH_RADIUS_KM
from xinverse.errors import OptionError
from xinverse.osse.orbits import GroundTrack, Orbit

__all__ = ["SwathError", "draw_swath_error"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SwathError:
    r"""Size and length scale of the correlated error along a swath.

    Averaged over a swath of 10 to 60 km, the defaults meet the requirement of the SWOT mission,
    :math:`0.00125 \, k^{-2}` cm² per cycle/km [1]_: 1.4 cm in all, with half of the variance
    from the tilt and half from the bias. Calibration by crossovers and other altimeters leaves
    about 1 cm over the ocean, of tens of centimetres before it [2]_.

    Parameters
    ----------
    tilt_urad : float, default 0.26
        Standard deviation of the tilt :math:`\theta`, in microradians (mm per km).
    bias_m : float, default 0.01
        Standard deviation of the bias :math:`b`, in metres.
    length_km : float, default 160
        Distance :math:`L` over which the correlation of both falls to 1/e, in km
        (:math:`2 \pi L` is 1000 km).

    Raises
    ------
    OptionError
        A number is negative or not finite, or the length is 0.

    References
    ----------
    .. [1] S. Desai (2018). Surface Water and Ocean Topography Mission: Science Requirements
       Document. JPL D-61923, revision B.
    .. [2] G. Dibarboure et al. (2022). Data-driven calibration algorithm and pre-launch
       performance simulations for the SWOT mission. *Remote Sensing* 14, 6070.
    """

    tilt_urad: float = 0.26
    bias_m: float = 0.01
    length_km: float = 160.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value >= 0 and (field.name[0] != "l" or value > 0)):
                raise OptionError(
                    f"The {field.name} of SwathError is {value}. Expected a finite number "
                    f"{'above 0' if field.name == 'length_km' else 'of 0 or more'}."
                )


def draw_swath_error(
    error: SwathError, orbit: Orbit, track: GroundTrack, random: np.random.Generator
) -> Floats:
    """Draw the error of each sample of a track.

    Parameters
    ----------
    error : SwathError
        Its size and length scale.
    orbit : Orbit
        Its mean ground speed converts times to distances.
    track : GroundTrack
        Sorted by time.
    random : numpy.random.Generator
        Source of the bias and the tilt.

    Returns
    -------
    ndarray, shape (points,)
        Metres; 0 at nadir, which has its own altimeter.
    """
    time, row = np.unique(track.time, return_inverse=True)
    speed = 2 * pi * EARTH_RADIUS_KM * orbit.revolutions / orbit.repeat_days  # km a day
    bias, tilt = _processes(np.diff(time) * speed / error.length_km, random)
    height = error.bias_m * bias[row] + 1e-3 * error.tilt_urad * tilt[row] * track.offset_km
    return np.where(track.offset_km == 0, 0.0, height)


def _processes(gaps: Floats, random: np.random.Generator) -> Floats:
    """Two Ornstein-Uhlenbeck processes of variance 1; gaps are in length scales."""
    values = random.standard_normal((2, gaps.size + 1))
    kept = np.exp(-gaps)
    fresh = np.sqrt(-np.expm1(-2 * gaps))
    for k in range(gaps.size):
        values[:, k + 1] = kept[k] * values[:, k] + fresh[k] * values[:, k + 1]
    return values
