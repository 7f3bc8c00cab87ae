r"""Scores of maps against a truth on the same grid.

The error is :math:`e = x^a - x`, over the cells where the truth :math:`x` is known.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import xarray as xr

from xinverse.errors import DataError, OptionError
from xinverse.fields.alignment import aligned_error
from xinverse.fields.axes import find_axes

__all__ = [
    "Dims",
    "averaged_dims",
    "explained_variance",
    "labelled",
    "mu_sigma",
    "normalised_mse",
    "rmse",
    "rmse_score",
]

Dims = Hashable | Iterable[Hashable] | None

_ROUNDING = 1e-28  # variance of a constant relative to its mean square


def rmse(analysis: xr.DataArray, truth: xr.DataArray, dim: Dims = None) -> xr.DataArray:
    r"""Root-mean-square error :math:`\langle e^2 \rangle^{1/2}`, in the units of the truth.

    Parameters
    ----------
    analysis, truth : DataArray
        On the same coordinates; NaN in the truth is land.
    dim : hashable or iterable of them, optional
        Dimensions to average over. Default: all.

    Returns
    -------
    DataArray
        Without these dimensions.

    Raises
    ------
    GridError, UnitsError, OptionError
        Coordinates or units differ, or `dim` does not exist.
    DataError
        There is no truth, or the analysis is NaN or infinite where there is one.
    """
    both = aligned_error(analysis, truth)
    result = _rms(both["error"], averaged_dims(truth, dim))
    return labelled(result, "root-mean-square error", truth.attrs.get("units"))


def rmse_score(analysis: xr.DataArray, truth: xr.DataArray, dim: Dims = None) -> xr.DataArray:
    r"""RMSE-based score :math:`1 - \langle e^2\rangle^{1/2} / \langle x^2\rangle^{1/2}`.

    One is perfect; a map of zeros scores zero. As in the 2020a and 2021a SSH mapping data
    challenges, the mean of the truth is not removed.

    Parameters
    ----------
    analysis, truth : DataArray
        On the same coordinates; NaN in the truth is land.
    dim : hashable or iterable of them, optional
        Dimensions to average over. Default: all.

    Returns
    -------
    DataArray
        Without these dimensions.

    Raises
    ------
    GridError, UnitsError, OptionError
        As in :func:`rmse`.
    DataError
        As in :func:`rmse`, or the truth is zero.
    """
    both, over = aligned_error(analysis, truth), averaged_dims(truth, dim)
    result = 1.0 - _rms(both["error"], over) / _not_zero(
        _rms(both["truth"], over), "root mean square"
    )
    return labelled(result, "RMSE-based score")


def normalised_mse(
    analysis: xr.DataArray, truth: xr.DataArray, dim: Dims = None
) -> xr.DataArray:
    r"""Normalised mean-square error :math:`\langle e^2\rangle / \mathrm{var}(x)`.

    Zero is perfect; the mean of the truth scores one. A bias counts.

    Parameters
    ----------
    analysis, truth : DataArray
        On the same coordinates; NaN in the truth is land.
    dim : hashable or iterable of them, optional
        Dimensions to average over. Default: all.

    Returns
    -------
    DataArray
        Without these dimensions.

    Raises
    ------
    GridError, UnitsError, OptionError
        As in :func:`rmse`.
    DataError
        As in :func:`rmse`, or the truth is constant.
    """
    both, over = aligned_error(analysis, truth), averaged_dims(truth, dim)
    variance = _variance(both["truth"], over)
    return labelled((both["error"] ** 2).mean(over) / variance, "normalised mean-square error")


def explained_variance(
    analysis: xr.DataArray, truth: xr.DataArray, dim: Dims = None
) -> xr.DataArray:
    r"""Explained variance :math:`1 - \mathrm{var}(e) / \mathrm{var}(x)`.

    One is perfect; any constant scores zero. A bias does not count.

    Parameters
    ----------
    analysis, truth : DataArray
        On the same coordinates; NaN in the truth is land.
    dim : hashable or iterable of them, optional
        Dimensions to average over. Default: all.

    Returns
    -------
    DataArray
        Without these dimensions.

    Raises
    ------
    GridError, UnitsError, OptionError
        As in :func:`rmse`.
    DataError
        As in :func:`rmse`, or the truth is constant.
    """
    both, over = aligned_error(analysis, truth), averaged_dims(truth, dim)
    variance = _variance(both["truth"], over)
    return labelled(1.0 - both["error"].var(over) / variance, "explained variance")


def mu_sigma(
    analysis: xr.DataArray, truth: xr.DataArray, *, time: Hashable | None = None
) -> xr.Dataset:
    r"""Compute µ in both definitions, and σ, the variation of the score in time.

    With the score of a time step
    :math:`s(t) = 1 - \langle e^2\rangle_{yx}^{1/2} / \langle x^2\rangle_{yx}^{1/2}`,

    .. math::
        \mu = 1 - \frac{\langle e^2\rangle_{tyx}^{1/2}}{\langle x^2\rangle_{tyx}^{1/2}},
        \qquad \mu_\text{daily} = \langle s \rangle_t,
        \qquad \sigma = \mathrm{std}_t(s).

    Parameters
    ----------
    analysis, truth : DataArray
        On the same coordinates; NaN in the truth is land.
    time : hashable, optional
        Name of the time dimension. Default: found automatically.

    Returns
    -------
    Dataset
        ``mu`` (as in the code of the 2020a challenge), ``mu_daily`` (as in its text),
        ``sigma``, ``rmse``, and along time ``rmse_score``. Time steps without truth are NaN in
        ``rmse_score`` and left out of the others.

    Raises
    ------
    AxesError, GridError, UnitsError, OptionError, DataError
        As in :func:`rmse`, or the time dimension is not found.

    Notes
    -----
    Source: ``mod_eval.py`` of the 2020a SSH mapping data challenge (NATL60).
    """
    time = find_axes(truth).time if time is None else time
    averaged_dims(truth, time)
    both = aligned_error(analysis, truth)
    space = [dim for dim in truth.dims if dim != time]
    wrong, wanted = (both[name] ** 2 for name in ("error", "truth"))
    step_truth = wanted.mean(space)
    daily = 1.0 - (wrong.mean(space) / step_truth.where(step_truth > 0)) ** 0.5
    daily.attrs = {"long_name": "RMSE-based score of one time step", "units": "1"}
    mu = 1.0 - (wrong.mean() / _not_zero(wanted.mean(), "root mean square")) ** 0.5
    return xr.Dataset(
        {
            "mu": labelled(mu, "RMSE-based score of all time steps"),
            "mu_daily": labelled(daily.mean(), "mean of the scores of time steps"),
            "sigma": labelled(daily.std(), "standard deviation of the scores of time steps"),
            "rmse": labelled(
                wrong.mean() ** 0.5, "root-mean-square error", truth.attrs.get("units")
            ),
            "rmse_score": daily,
        }
    )


def averaged_dims(truth: xr.DataArray, dim: Dims) -> list[Hashable]:
    """Names of the dimensions to average over: all by default."""
    if dim is None:
        return list(truth.dims)
    names = [dim] if isinstance(dim, str) or not isinstance(dim, Iterable) else list(dim)
    unknown = [name for name in names if name not in truth.dims]
    if unknown:
        raise OptionError(
            f"There is no dimension {unknown} to average over. Expected some of {truth.dims}."
        )
    return names


def _rms(values: xr.DataArray, over: list[Hashable]) -> xr.DataArray:
    return (values**2).mean(over) ** 0.5


def _variance(truth: xr.DataArray, over: list[Hashable]) -> xr.DataArray:
    variance = truth.var(over)
    # A constant such as 0.1 has the variance of its rounding error.
    constant = variance <= _ROUNDING * (truth**2).mean(over)
    return _not_zero(variance.where(~constant, 0.0), "variance")


def _not_zero(scale: xr.DataArray, word: str) -> xr.DataArray:
    if not bool((scale > 0).any()):
        raise DataError(
            f"The {word} of the truth is zero, so relative scores are undefined. Use "
            "xinverse.scores.rmse."
        )
    return scale.where(scale > 0)


def labelled(score: xr.DataArray, long_name: str, units: object = "1") -> xr.DataArray:
    """Give a score its long name and units."""
    score.attrs = {"long_name": long_name} | ({} if units is None else {"units": units})
    return score
