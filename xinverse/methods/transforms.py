"""Solve for the logarithm of a positive variable, and return the result in its units."""

from __future__ import annotations

import numpy as np

from xinverse.errors import DataError
from xinverse.methods.problem import Estimate

__all__ = ["TRANSFORMS", "from_log", "log_level", "log_moments", "to_log"]

TRANSFORMS = ("log",)


def to_log(values: np.ndarray, words: str) -> np.ndarray:
    """Return the natural logarithm of positive values; NaN stays NaN.

    Parameters
    ----------
    values : ndarray
        Any shape.
    words : str
        Label of the values, for the error text.

    Raises
    ------
    DataError
        If some values are not positive.
    """
    low = values <= 0
    if low.any():
        raise DataError(
            f"{words} has {int(low.sum())} values that are 0 or less, the smallest "
            f"{values[low].min():g}. Expected positive values for transform='log': replace "
            "others by gaps, obj.where(obj > 0), or leave transform= out."
        )
    return np.log(values)


def log_level(level: float) -> float:
    """Natural logarithm of a background that was given as a positive number.

    Parameters
    ----------
    level : float
        In the units of the variable.
    """
    return float(np.log(level))


def log_moments(moments: np.ndarray) -> np.ndarray:
    """Mean and variance of the logarithm of a log-normal variable, from those of its values.

    Parameters
    ----------
    moments : ndarray
        Mean and variance, two values.
    """
    mean, variance = moments.flat
    spread = np.log1p(variance / mean**2)
    return np.array([np.log(mean) - 0.5 * spread, spread])


def from_log(estimate: Estimate) -> Estimate:
    r"""Convert an estimate of the logarithm to the units of the variable.

    For a logarithm of mean :math:`\mu` and standard deviation :math:`\sigma`,

    .. math::

        \hat x = e^\mu, \qquad
        \text{error} = e^{\mu + \sigma^2 / 2} \sqrt{e^{\sigma^2} - 1}

    the median and the standard deviation of a log-normal distribution.

    Parameters
    ----------
    estimate : Estimate
        Estimate of the logarithm.
    """
    spread = {
        v: np.exp(estimate.mean[v] + 0.5 * e**2) * np.sqrt(np.expm1(e**2))
        for v, e in estimate.error.items()
    }
    return Estimate(
        mean={v: np.exp(m) for v, m in estimate.mean.items()},
        error=spread,
        members={v: np.exp(m) for v, m in estimate.members.items()},
    )
