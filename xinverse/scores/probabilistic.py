r"""Scores of predicted errors and members: CRPS, coverage, spread and error.

The predicted distribution of the truth is Gaussian with the map as its mean and the predicted
error as its deviation, or the ensemble of the members. A truth that was measured, such as
withheld points, has a noise :math:`n` of its own: the distribution of the *measured* value has
the variance

.. math:: \sigma^2 = \text{error}^2 + n^2 ,

and noise is added to each member.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xinverse.checks import check_number
from xinverse.scores.map import Dims, averaged_dims, labelled
from xinverse.scores.predicted import Predicted, predicted
from xinverse.scores.sampling_error import correlation_sums, correlations, share_error

__all__ = ["CRPS_NAME", "LEVELS", "coverage", "crps", "spread_skill"]

CRPS_NAME = "continuous ranked probability score"
LEVELS = (0.5, 0.8, 0.9, 0.95)


def crps(
    result: xr.Dataset,
    truth: xr.DataArray | xr.Dataset,
    *,
    dim: Dims = None,
    use: str | None = None,
    fair: bool = True,
    noise: Any = None,
    variable: Hashable | None = None,
    seed: int = 0,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.DataArray:
    r"""Continuous ranked probability score, :math:`\langle\int (F(x) - [x \ge y])^2 dx\rangle`.

    Zero is perfect. It is in the units of the truth, and rewards small errors that are known:
    of a map without error bars it would be the mean absolute error. With the predicted error,
    F is Gaussian; with :math:`n` members :math:`x_i`,

    .. math:: \Big\langle \frac{1}{n} \sum_i |x_i - y|
              - \frac{1}{2 n (n - 1)} \sum_{i, j} |x_i - x_j| \Big\rangle .

    Parameters
    ----------
    result : Dataset
        With the map, and its ``<name>_error`` or ``<name>_members``.
    truth : DataArray or Dataset
        A map on the same coordinates, NaN where nothing is to be scored; or points, as in
        :func:`along_track`.
    dim : hashable or iterable of them, optional
        Dimensions to average over (``"point"`` for points). Default: all.
    use : {"error", "members"}, optional
        What is scored. Default: the error if there is one.
    fair : bool
        Whether the score of members is independent of their number; else :math:`n (n - 1)`
        is :math:`n^2`.
    noise : float, DataArray or str, optional
        Standard deviation of the noise of the truth; of points, also the name of one of their
        variables. Default: none.
    variable : hashable, optional
        Of points, the variable to score against. Default: the only one of floats.
    seed : int
        Of the noise that is added to members.
    mask : DataArray or array_like, optional
        On (y, x), True over the sea: needed if maps at points have NaN at sea.
    dims : mapping, optional
        Dimensions of the result by role, for points. Default: found automatically.

    Returns
    -------
    DataArray
        Without these dimensions.

    Raises
    ------
    OptionError
        The result has no error or members, or an option cannot be meant.
    AxesError, GridError, UnitsError, MaskError
        As in :func:`rmse` and :func:`along_track`.
    DataError
        There is no truth; the map, the error or the members are not finite where there is
        one; or the error is zero.

    Notes
    -----
    Source: Gneiting and others (2005), doi:10.1175/MWR2904.1; Ferro (2014),
    doi:10.1002/qj.2270.
    """
    found = predicted(
        result, truth, noise=noise, variable=variable, seed=seed, mask=mask, dims=dims
    )
    over = averaged_dims(found.truth, dim)
    score = found.crps(found.kind(use), fair=fair).mean(over)
    return labelled(score, CRPS_NAME, units_of(result, truth))


def coverage(
    result: xr.Dataset,
    truth: xr.DataArray | xr.Dataset,
    levels: Sequence[float] = LEVELS,
    *,
    dim: Dims = None,
    use: str | None = None,
    noise: Any = None,
    variable: Hashable | None = None,
    seed: int = 0,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Share of the truth within central intervals of the predicted distribution.

    The interval of 90 % should contain 90 % of the truth; fewer mean that the predicted error
    is too small. With the probability integral transform :math:`p`,

    .. math:: c(\ell) = \langle | p - 1/2 | \le \ell / 2 \rangle .

    Parameters
    ----------
    result, truth : Dataset, Dataset or DataArray
        As in :func:`crps`.
    levels : sequence of float
        Probabilities of the intervals, between 0 and 1.
    dim, use, noise, variable, seed, mask, dims : optional
        As in :func:`crps`.

    Returns
    -------
    Dataset
        ``coverage`` along ``level``; over all dimensions also its ``sampling_error``, one
        standard deviation if the predicted errors are right, which accounts for the correlation
        of errors between cells, and ``independent``, the number of independent values that
        would have it.

    Raises
    ------
    OptionError, AxesError, GridError, UnitsError, MaskError, DataError
        As in :func:`crps`.
    """
    for level in levels:
        check_number("levels", level, above=0, below=1)
    found = predicted(
        result, truth, noise=noise, variable=variable, seed=seed, mask=mask, dims=dims
    )
    kind = found.kind(use)
    if dim is None:
        return coverage_of(found, kind, levels)
    inside = _inside(found.pit(kind), levels)
    share = inside.mean(averaged_dims(found.truth, dim))
    return xr.Dataset({"coverage": labelled(share, "share of the truth within the interval")})


def spread_skill(
    result: xr.Dataset,
    truth: xr.DataArray | xr.Dataset,
    *,
    dim: Dims = None,
    use: str | None = None,
    noise: Any = None,
    variable: Hashable | None = None,
    seed: int = 0,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Predicted and actual root-mean-square error of the map, and their ratio.

    .. math:: \text{spread} = \langle \sigma^2 \rangle^{1/2}, \qquad
              \text{rmse} = \langle e^2 \rangle^{1/2}, \qquad
              \text{ratio} = \text{spread} / \text{rmse} .

    A ratio below one means that the predicted error is too small. Of members, :math:`\sigma^2`
    is their variance, divided by their number minus one.

    Parameters
    ----------
    result, truth : Dataset, Dataset or DataArray
        As in :func:`crps`.
    dim, use, noise, variable, seed, mask, dims : optional
        As in :func:`crps`.

    Returns
    -------
    Dataset
        ``spread`` and ``rmse``, in the units of the truth and with its noise, and ``ratio``.

    Raises
    ------
    OptionError, AxesError, GridError, UnitsError, MaskError, DataError
        As in :func:`crps`.
    """
    found = predicted(
        result, truth, noise=noise, variable=variable, seed=seed, mask=mask, dims=dims
    )
    units = units_of(result, truth)
    return spread_of(found, found.kind(use), units, averaged_dims(found.truth, dim))


def coverage_of(found: Predicted, kind: str, levels: Sequence[float]) -> xr.Dataset:
    """Coverage over all dimensions, with its sampling error."""
    from scipy.special import ndtri

    transform = found.pit(kind)
    known = np.isfinite(transform.to_numpy())
    share = _inside(transform, levels).to_numpy()[:, known].mean(axis=1)
    sums = correlation_sums(known, correlations(normalised(found, kind)))
    bound = ndtri(0.5 + np.asarray(levels, dtype=np.float64) / 2)
    result = xr.Dataset(
        {
            "coverage": ("level", share),
            "sampling_error": ("level", share_error((-bound, bound), sums, int(known.sum()))),
            "independent": 1 / sums[2],
        },
        {"level": ("level", list(levels))},
    )
    words = {
        "coverage": "share of the truth within the interval",
        "sampling_error": "standard deviation of the coverage due to the sample",
        "independent": "number of independent values with this sampling error",
        "level": "probability of the central interval",
    }
    for name, text in words.items():
        result[name].attrs = {"long_name": text, "units": "1"}
    return result


def spread_of(
    found: Predicted, kind: str, units: object, over: list[Hashable] | None = None
) -> xr.Dataset:
    """Spread, error and ratio; over all dimensions by default."""
    spread = (found.deviation(kind) ** 2).where(found.truth.notnull()).mean(over) ** 0.5
    wrong = (found.wrong**2).mean(over) ** 0.5
    return xr.Dataset(
        {
            "spread": labelled(spread, "predicted root-mean-square error", units),
            "rmse": labelled(wrong, "root-mean-square error", units),
            "ratio": labelled(spread / wrong, "predicted over actual error"),
        }
    )


def normalised(found: Predicted, kind: str) -> np.ndarray:
    """Errors over their predicted deviation, NaN where nothing is scored."""
    return (found.wrong / found.deviation(kind)).to_numpy()


def units_of(result: xr.Dataset, truth: xr.DataArray | xr.Dataset) -> object:
    """Units of the map that is scored, or None."""
    if isinstance(truth, xr.DataArray):
        return truth.attrs.get("units")
    found = {one.attrs.get("units") for one in result.data_vars.values()} - {None}
    return found.pop() if len(found) == 1 else None


def _inside(transform: xr.DataArray, levels: Sequence[float]) -> xr.DataArray:
    """1 within the interval of each level, 0 outside, NaN where nothing is scored."""
    level = xr.DataArray(list(levels), dims="level", coords={"level": list(levels)})
    distance = abs(transform - 0.5)
    inside = (distance <= level / 2).where(distance.notnull()).astype(np.float64)
    return inside.transpose("level", *transform.dims)
