"""Histograms that are flat, and a line that is straight, if predicted errors are right."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xinverse.checks import check_count, check_number
from xinverse.scores.predicted import Predicted, predicted
from xinverse.scores.probabilistic import normalised, units_of
from xinverse.scores.sampling_error import (
    correlation_sums,
    correlations,
    share_error,
    square_error,
)

__all__ = ["pit_histogram", "rank_histogram", "reliability"]


def rank_histogram(
    result: xr.Dataset,
    truth: xr.DataArray | xr.Dataset,
    *,
    noise: Any = None,
    variable: Hashable | None = None,
    seed: int = 0,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Rank histogram: how often :math:`k` members lie below the truth.

    Flat if the truth could be one of the members. A U shape means too little spread, a dome
    too much, and a slope a bias. Ties are broken at random.

    Parameters
    ----------
    result, truth : Dataset, Dataset or DataArray
        As in :func:`crps`, with members.
    noise, variable, seed, mask, dims : optional
        As in :func:`crps`.

    Returns
    -------
    Dataset
        Along ``rank``, 0 to the number of members: ``frequency``, a share, and its
        ``sampling_error``, one standard deviation if it is flat, which accounts for the
        correlation of errors between cells. ``expected`` is the share in a flat histogram,
        and ``departure``

        .. math:: \langle (f_k - 1 / (n + 1))^2 / \mathrm{se}_k^2 \rangle_k^{1/2}

        is near one if the histogram is flat within its sampling error.

    Raises
    ------
    OptionError, AxesError, GridError, UnitsError, MaskError, DataError
        As in :func:`crps`, or there are no members.

    Notes
    -----
    Source: Hamill (2001), doi:10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2; with noise,
    Saetra and others (2004), doi:10.1175/1520-0493(2004)132<1487:EOOEOT>2.0.CO;2.
    """
    found = predicted(
        result, truth, noise=noise, variable=variable, seed=seed, mask=mask, dims=dims
    )
    return rank_histogram_of(found)


def pit_histogram(
    result: xr.Dataset,
    truth: xr.DataArray | xr.Dataset,
    *,
    bins: int = 10,
    use: str | None = None,
    noise: Any = None,
    variable: Hashable | None = None,
    seed: int = 0,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Histogram of the probability integral transform :math:`\Phi((y - x^a) / \sigma)`.

    Flat if the predicted distributions are right; its shapes mean the same as those of
    :func:`rank_histogram`, for errors without members.

    Parameters
    ----------
    result, truth : Dataset, Dataset or DataArray
        As in :func:`crps`.
    bins : int
        Number of bins between 0 and 1.
    use, noise, variable, seed, mask, dims : optional
        As in :func:`crps`.

    Returns
    -------
    Dataset
        Along ``pit``, the middle of each bin: ``frequency``, ``sampling_error``, ``expected``
        and ``departure``, as in :func:`rank_histogram`.

    Raises
    ------
    OptionError, AxesError, GridError, UnitsError, MaskError, DataError
        As in :func:`crps`.
    """
    check_count("bins", bins, least=2, what="a number of bins")
    found = predicted(
        result, truth, noise=noise, variable=variable, seed=seed, mask=mask, dims=dims
    )
    return pit_histogram_of(found, found.kind(use), bins)


def reliability(
    result: xr.Dataset,
    truth: xr.DataArray | xr.Dataset,
    *,
    groups: int = 3,
    level: float = 0.9,
    use: str | None = None,
    noise: Any = None,
    variable: Hashable | None = None,
    seed: int = 0,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Actual error where the predicted one is small, medium and large.

    The cells are divided into groups of equal number by their predicted error. A map may be
    right on average and wrong in each group: too sure in the gaps and too careful elsewhere.

    Parameters
    ----------
    result, truth : Dataset, Dataset or DataArray
        As in :func:`crps`.
    groups : int
        Thirds by default.
    level : float
        Probability of the interval whose coverage is given.
    use, noise, variable, seed, mask, dims : optional
        As in :func:`crps`.

    Returns
    -------
    Dataset
        Along ``group``, from the smallest predicted error: ``predicted`` and ``actual``, root
        mean squares in the units of the truth and with its noise; ``coverage`` of the interval;
        ``actual_sampling_error`` and ``coverage_sampling_error``; ``count``. Cells of equal
        predicted error are in one group, so there may be fewer groups than asked for.

    Raises
    ------
    OptionError, AxesError, GridError, UnitsError, MaskError, DataError
        As in :func:`crps`.
    """
    check_count("groups", groups, least=1, what="a number of groups")
    check_number("level", level, above=0, below=1)
    found = predicted(
        result, truth, noise=noise, variable=variable, seed=seed, mask=mask, dims=dims
    )
    return reliability_of(found, found.kind(use), groups, level, units_of(result, truth))


def rank_histogram_of(found: Predicted) -> xr.Dataset:
    """As `rank_histogram`, from loaded numbers."""
    known = np.isfinite(found.truth.to_numpy())
    number = len(found.noisy_members()) + 1
    z = normalised(found, "members")
    return _histogram(found.ranks()[known], known, z, "rank", np.arange(number))


def pit_histogram_of(found: Predicted, kind: str, bins: int) -> xr.Dataset:
    """As `pit_histogram`, from loaded numbers."""
    transform = found.pit(kind).to_numpy()
    known = np.isfinite(transform)
    which = np.minimum((transform[known] * bins).astype(np.int64), bins - 1)
    centres = (np.arange(bins) + 0.5) / bins
    return _histogram(which, known, normalised(found, kind), "pit", centres)


def reliability_of(
    found: Predicted, kind: str, groups: int, level: float, units: object
) -> xr.Dataset:
    """As `reliability`, from loaded numbers."""
    from scipy.special import ndtri

    known = np.isfinite(found.truth.to_numpy())
    deviation, wrong = found.deviation(kind).to_numpy(), found.wrong.to_numpy()
    inside = np.abs(found.pit(kind).to_numpy() - 0.5) <= level / 2
    correlation = correlations(normalised(found, kind))
    edges = np.quantile(deviation[known], np.arange(1, groups) / groups)
    which = np.where(known, np.searchsorted(edges, deviation, side="left"), -1)
    bound = ndtri(np.array([0.5 + level / 2]))
    rows = []
    for group in np.unique(which[known]):
        here = which == group
        sums, count = correlation_sums(here, correlation), int(here.sum())
        actual = float(np.sqrt(np.mean(wrong[here] ** 2)))
        rows.append(
            {
                "predicted": float(np.sqrt(np.mean(deviation[here] ** 2))),
                "actual": actual,
                "actual_sampling_error": actual * square_error(sums),
                "coverage": float(inside[here].mean()),
                "coverage_sampling_error": float(share_error((-bound, bound), sums, count)[0]),
                "count": count,
            }
        )
    result = xr.Dataset(
        {name: ("group", [row[name] for row in rows]) for name in rows[0]},
        {"group": ("group", np.arange(1, len(rows) + 1))},
    )
    words = {
        "predicted": "predicted root-mean-square error",
        "actual": "root-mean-square error",
        "actual_sampling_error": "standard deviation of the error due to the sample",
        "coverage": f"share of the truth within the interval of {level:g}",
        "coverage_sampling_error": "standard deviation of the coverage due to the sample",
        "count": "values",
    }
    for name, text in words.items():
        has_units = name in {"predicted", "actual", "actual_sampling_error"}
        own = {"units": units} if has_units and units is not None else {}
        result[name].attrs = {"long_name": text} | ({"units": "1"} if not has_units else own)
    return result


def _histogram(
    which: np.ndarray, known: np.ndarray, z: np.ndarray, dim: str, centres: np.ndarray
) -> xr.Dataset:
    """Shares of bins of equal probability, with their sampling error."""
    from scipy.special import ndtri

    number = centres.size
    share = np.bincount(which, minlength=number) / which.size
    edges = ndtri(np.arange(number + 1) / number)
    sums = correlation_sums(known, correlations(z))
    error = share_error((edges[:-1], edges[1:]), sums, which.size)
    departure = np.sqrt(np.mean(((share - 1 / number) / error) ** 2))
    result = xr.Dataset(
        {
            "frequency": (dim, share),
            "sampling_error": (dim, error),
            "expected": 1 / number,
            "departure": departure,
        },
        {dim: (dim, centres)},
    )
    words = {
        "frequency": "share of the truth",
        "sampling_error": "standard deviation of the share due to the sample",
        "expected": "share in a flat histogram",
        "departure": "distance from a flat histogram, in sampling errors",
    }
    for name, text in words.items():
        result[name].attrs = {"long_name": text, "units": "1"}
    return result
