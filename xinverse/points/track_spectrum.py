"""Find the scales that maps resolve along withheld tracks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.constants import EARTH_RADIUS_KM
from xinverse.errors import DataError, OptionError
from xinverse.fields.seam import across_the_seam
from xinverse.points.pairs import Pairs, pair
from xinverse.spectra import segment_spectrum, smallest_resolved

__all__ = ["along_track_spectrum"]

Floats = NDArray[np.float64]

_GAP = 4  # median steps in time or space that end a stretch of track
_STRIDE = 0.25  # of a segment, from one start to the next
_MIN_POINTS = 8  # in a segment


@across_the_seam
def along_track_spectrum(
    analysis: xr.DataArray,
    points: xr.Dataset,
    *,
    variable: Hashable | None = None,
    segment_km: float = 1000.0,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Find the shortest wavelength that maps resolve along withheld tracks.

    The maps are interpolated linearly in time, y and x to the points. The points, sorted by
    time, are cut at gaps of more than four median steps in time or space, and the stretches are
    cut into segments that start a quarter of a segment apart. With the Welch spectrum :math:`P`
    of all segments (Hann window, mean removed) and :math:`e = x^a - y`,

    .. math::
        s(\lambda) = 1 - P_e / P_y ,

    and :math:`\lambda_x` is where :math:`s`, from the longest wavelength down, first falls
    below one half, interpolated linearly in wavelength.

    Parameters
    ----------
    analysis : DataArray
        Maps on (time, y, x) in any order, NaN on land; read in blocks of time steps.
    points : Dataset
        Values along one dimension with their time, latitude and longitude. Score satellites
        that measure at the same time one by one, since their points alternate.
    variable : hashable, optional
        The variable to score against. Default: the only one of floats along the points.
    segment_km : float, default 1000
        Length of a segment: the longest wavelength; its inverse is the wavenumber step.
    mask : DataArray or array_like, optional
        On (y, x), True over the sea. Default: cells that are always NaN are land.
    dims : mapping, optional
        Dimensions of `analysis` by role. Default: found automatically.

    Returns
    -------
    Dataset
        Along ``wavenumber`` (per km), with ``wavelength`` in km: ``psd_truth``, ``psd_error``
        and ``score``. Numbers: ``lambda_x`` in km (NaN if the longest wavelength is not
        resolved; the shortest one, an upper bound, if all are); ``segments``, their number;
        ``step``, the distance between points in km.

    Raises
    ------
    AxesError, GridError, UnitsError, OptionError
        Axes, positions or the variable are not recognised, units differ, or `segment_km` is not
        positive.
    MaskError
        The mask is not on the y and x of the maps.
    DataError
        As in :func:`along_track`; or no stretch is as long as a segment, or points that follow
        in time are too far apart.

    Notes
    -----
    Source: ``mod_spectral.py`` of the 2021a SSH mapping data challenge, which takes the step
    from the speed of its satellite and interpolates between all wavelengths sorted by score.
    The truth includes the altimeter's noise, below which nothing is resolved.
    """
    if not segment_km > 0:
        raise OptionError(f"segment_km={segment_km!r}. Expected a positive length in km.")
    pairs = pair(analysis, points, variable, mask, dims)
    order = np.argsort(pairs.days, kind="stable")
    steps = _distances(pairs, order)
    step = float(np.median(steps)) if steps.size else np.nan
    number = int(segment_km / step) if step > 0 else 0
    if number < _MIN_POINTS:
        raise DataError(
            f"Consecutive points are {step:.4g} km apart, too far for segments of "
            f"{segment_km:g} km with at least {_MIN_POINTS} points. Give the points of one "
            "satellite, or longer segments with segment_km=."
        )
    starts = _segment_starts(pairs.days[order], steps, number, step)
    at = order[starts[:, None] + np.arange(number)]
    wavenumber, wanted = segment_spectrum(pairs.truth[at], step)
    if not wanted.max() > 0:
        raise DataError("The points of all segments have one value: no scale to resolve.")
    _, wrong = segment_spectrum((pairs.maps - pairs.truth)[at], step)
    score = 1.0 - wrong / np.where(wanted > 0, wanted, np.nan)
    square = f"({analysis.attrs.get('units', '1')})2 km"
    line = ("wavenumber",)
    shortest = {"long_name": "shortest wavelength resolved along track", "units": "km"}
    return xr.Dataset(
        {
            "psd_truth": (line, wanted, {"long_name": "density of the truth", "units": square}),
            "psd_error": (line, wrong, {"long_name": "density of the error", "units": square}),
            "score": (line, score, {"long_name": "spectral score", "units": "1"}),
            "lambda_x": ((), smallest_resolved(1 / wavenumber, score), shortest),
            "segments": ((), len(starts), {"long_name": "number of segments"}),
            "step": ((), step, {"long_name": "distance between points", "units": "km"}),
        },
        {
            "wavenumber": (line, wavenumber, {"units": "km-1"}),
            "wavelength": (line, 1 / wavenumber, {"units": "km"}),
        },
    )


def _distances(pairs: Pairs, order: NDArray[np.int64]) -> Floats:
    """Distance between consecutive points, in km."""
    y, x = pairs.y[order], pairs.x[order]
    if not pairs.geographic:
        return np.hypot(np.diff(y), np.diff(x))
    y, x = np.deg2rad(y), np.deg2rad(x)
    across = np.cos(y[:-1]) * np.cos(y[1:]) * np.sin(np.diff(x) / 2) ** 2
    chord = np.sin(np.diff(y) / 2) ** 2 + across
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(chord, 1.0))))


def _segment_starts(days: Floats, steps: Floats, number: int, step: float) -> NDArray[np.int64]:
    waits = np.diff(days)
    cut = (waits > _GAP * np.median(waits)) | (steps > _GAP * step)
    edges = np.concatenate([[0], np.flatnonzero(cut) + 1, [days.size]])
    stride = max(int(_STRIDE * number), 1)
    starts = [np.arange(first, end - number + 1, stride) for first, end in pairwise(edges)]
    found = np.concatenate(starts).astype(np.int64)
    if not found.size:
        longest = int(np.diff(edges).max())
        raise DataError(
            f"The longest stretch of track without a gap has {longest} points "
            f"({longest * step:.4g} km), a segment {number} ({number * step:.4g} km). Give a "
            "shorter segment_km=, or a larger region."
        )
    return found
