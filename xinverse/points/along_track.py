"""Score maps against withheld along-track points."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import DataError
from xinverse.fields.clock import date_after, time_of_day
from xinverse.fields.seam import across_the_seam
from xinverse.points.pairs import pair

__all__ = ["along_track"]

Floats = NDArray[np.float64]


@across_the_seam
def along_track(
    analysis: xr.DataArray,
    points: xr.Dataset,
    *,
    variable: Hashable | None = None,
    mask: Any = None,
    minimum: int = 10,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Score maps against withheld along-track points.

    The maps are interpolated linearly in time, y and x to the points. With the error
    :math:`e = x^a - y` and the score :math:`s(d) = 1 - \mathrm{rms}_d(e) / \mathrm{rms}_d(y)`
    of day :math:`d`,

    .. math::
        \mu = 1 - \frac{\mathrm{rms}(e)}{\mathrm{rms}(y)}, \quad
        \mu_\text{daily} = \langle s \rangle_d, \quad
        \sigma = \mathrm{std}_d(s), \quad
        1 - \frac{\mathrm{var}(e)}{\mathrm{var}(y)}.

    Parameters
    ----------
    analysis : DataArray
        Maps on (time, y, x) in any order, NaN on land; read in blocks of time steps.
    points : Dataset
        Values along one dimension with their time, latitude and longitude.
    variable : hashable, optional
        The variable to score against. Default: the only one of floats along the points.
    mask : DataArray or array_like, optional
        On (y, x), True over the sea. Default: cells that are always NaN are land.
    minimum : int, default 10
        Days with fewer points have no score.
    dims : mapping, optional
        Dimensions of `analysis` by role. Default: found automatically.

    Returns
    -------
    Dataset
        ``mu``, ``mu_daily``, ``sigma``, ``rmse``, ``explained_variance``; ``count``, the number
        of points scored; ``left_out``, the number of points in the grid next to land or the
        edge; along ``day``, ``rmse_score`` and ``day_count``.

    Raises
    ------
    AxesError, GridError, UnitsError, OptionError
        Axes, positions or the variable are not recognised, or units differ.
    MaskError
        The mask is not on the y and x of the maps.
    DataError
        The maps have unfilled gaps (NaN at sea at any time), points are infinite, none can be
        scored, or no day has `minimum` points.

    Notes
    -----
    Source: ``mod_interp.py`` and ``mod_stats.py`` of the 2021a SSH mapping data challenge,
    where µ is ``mu_daily``.
    """
    pairs = pair(analysis, points, variable, mask, dims)
    error, truth = pairs.maps - pairs.truth, pairs.truth
    result = _scores(error, truth)
    words = "points next to land, not scored"
    result["left_out"] = ((), pairs.left_out, {"long_name": words})
    daily = _daily(error, truth, pairs.days, pairs.origin, minimum)
    result["rmse"].attrs["units"] = analysis.attrs.get("units", "1")
    result["mu_daily"] = daily["rmse_score"].mean()
    result["sigma"] = daily["rmse_score"].std()
    return result.merge(daily)


def _scores(error: Floats, truth: Floats) -> xr.Dataset:
    if truth.var() == 0:
        raise DataError(
            f"The {truth.size} points that can be scored all have the value {truth[0]}, so "
            "relative scores are undefined. Give more points."
        )
    return xr.Dataset(
        {
            "mu": 1.0 - np.sqrt(np.mean(error**2) / np.mean(truth**2)),
            "rmse": np.sqrt(np.mean(error**2)),
            "explained_variance": 1.0 - error.var() / truth.var(),
            "count": truth.size,
        }
    )


def _daily(
    error: Floats, truth: Floats, days: Floats, origin: xr.DataArray, minimum: int
) -> xr.Dataset:
    """RMSE-based score of each day, NaN for days with too few points."""
    number, day = np.unique(_calendar_day(origin, days), return_inverse=True)
    count = np.bincount(day)
    power = np.bincount(day, weights=truth**2)
    enough = (count >= minimum) & (power > 0)
    if not enough.any():
        raise DataError(
            f"No day has {minimum} points: there are {truth.size} points on {number.size} "
            "days. Give more points, or a smaller minimum=."
        )
    ratio = np.bincount(day, weights=error**2) / np.where(enough, power, 1.0)
    score = np.where(enough, 1.0 - np.sqrt(ratio), np.nan)
    return xr.Dataset(
        {"rmse_score": ("day", score), "day_count": ("day", count)},
        {"day": ("day", date_after(origin, number - time_of_day(origin)))},
    )


def _calendar_day(origin: xr.DataArray, days: Floats) -> Floats:
    """Whole days since midnight of the first time step."""
    return np.floor(days + time_of_day(origin))
