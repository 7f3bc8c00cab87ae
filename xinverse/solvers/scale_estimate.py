r"""Scales, variance and noise of a Gaussian field, chosen by withheld observations.

Groups of observations (a pass, a block of an image) are withheld in turn. With
:math:`K = C + \eta I` for all observations, :math:`C` the correlation and :math:`\eta` the
noise variance over that of the signal, the prediction of a group g from all others misses by

.. math:: r_g = (K^{-1})_{gg}^{-1} \, (K^{-1} y)_g, \qquad
          \operatorname{cov} r_g = \sigma^2 (K^{-1})_{gg}^{-1}

(Rasmussen and Williams 2006, section 5.4.2, for groups), so one factorisation withholds every
group. The choice maximises the mean log density of the withheld values, with
:math:`\sigma^2` at its best value, and with a prior that keeps it near the defaults if there
are few groups. Unlike the marginal likelihood, this needs a covariance that predicts well,
not one that explains every detail of the observations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, log

import numpy as np
import torch

from xinverse.priors.kernels import SPACE_KERNELS, TIME_KERNELS

__all__ = ["Guess", "ScaleEstimate", "estimate_scales"]

# Standard deviations of the prior, of the logarithms: scales within a factor of 3, the ratio of
# noise to signal variance within 30. A hundred groups of observations outweigh it.
SPREADS = (log(3.0), log(3.0), log(30.0))
# The search: steps of the logarithms, halved until the last.
FIRST_STEPS, LAST_SHARE = (0.6, 0.6, 1.6), 1 / 6
# The ratio of noise to signal variance that the search accepts.
RATIOS = (1e-4, 10.0)

# Observations of a dense subset and of a thin one, and the number of subsets.
SUBSET, DENSE = 256, 2
# Below this number of groups the defaults are kept.
FEWEST = 5
JITTER = 1e-8


@dataclass(frozen=True)
class Guess:
    """Where the search starts, and what few observations leave unchanged.

    Attributes
    ----------
    length_scale : float
        In km.
    time_scale : float
        In days.
    ratio : float
        Noise variance over signal variance.
    """

    length_scale: float
    time_scale: float
    ratio: float


@dataclass(frozen=True)
class ScaleEstimate:
    """The covariance of a field and the noise of its observations.

    Attributes
    ----------
    length_scale : float
        In km.
    time_scale : float
        In days.
    variance : float
        Of the signal.
    noise_variance : float
        Mean over the observations.
    score : float
        Mean log density of the withheld observations, for comparing families.
    groups : int
        Number of withheld groups.
    """

    length_scale: float
    time_scale: float
    variance: float
    noise_variance: float
    score: float
    groups: int


class _Subset:
    """Some observations with their groups, ready to be withheld in turn."""

    def __init__(
        self, points: np.ndarray, values: np.ndarray, noise: np.ndarray, groups: np.ndarray
    ) -> None:
        at = torch.as_tensor(points, dtype=torch.float64)
        self.lag_t = (at[:, None, 0] - at[:, 0]).abs()
        self.lag = torch.hypot(at[:, None, 1] - at[:, 1], at[:, None, 2] - at[:, 2])
        self.values = torch.as_tensor(values, dtype=torch.float64)
        self.noise = torch.as_tensor(noise, dtype=torch.float64)
        _, label, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        order = np.argsort(label, kind="stable")
        place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        members = np.zeros((len(sizes), sizes.max()), dtype=np.int64)
        real = np.zeros(members.shape, dtype=bool)
        members[label[order], place] = order
        real[label[order], place] = True
        self.members, self.real = torch.as_tensor(members), torch.as_tensor(real)

    def withheld(self, theta: np.ndarray, space: str, temporal: str) -> tuple[float, float]:
        """Sums of ``log det`` and of the squared misses of all groups, for variance 1."""
        length, time, ratio = np.exp(theta)
        matrix = SPACE_KERNELS[space](self.lag, length) * TIME_KERNELS[temporal](
            self.lag_t, time
        )
        matrix.diagonal().add_(ratio * self.noise + JITTER)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed:
            return -inf, inf
        inverse = torch.cholesky_inverse(factor)
        dual = inverse @ self.values
        # Groups are padded to one size with the identity, which changes neither sum.
        block = inverse[self.members[:, :, None], self.members[:, None, :]]
        both = self.real[:, :, None] & self.real[:, None, :]
        block = torch.where(both, block, torch.zeros((), dtype=block.dtype))
        block = block + torch.diag_embed((~self.real).to(block.dtype))
        own = torch.where(self.real, dual[self.members], torch.zeros((), dtype=dual.dtype))
        root, failed = torch.linalg.cholesky_ex(block)
        if failed.any():
            return -inf, inf
        white = torch.linalg.solve_triangular(root, own[..., None], upper=False)
        logdet = 2 * root.diagonal(dim1=1, dim2=2).log().sum()
        return float(logdet), float(white.square().sum())


def estimate_scales(
    points: np.ndarray,
    values: np.ndarray,
    groups: np.ndarray,
    *,
    guess: Guess,
    families: tuple[tuple[str, str], ...] = (("gaussian", "gaussian"),),
    bounds: tuple[tuple[float, float], tuple[float, float]],
    fixed: tuple[bool, bool] = (False, False),
    noise: np.ndarray | None = None,
    variance: float | None = None,
    seed: int = 0,
) -> dict[tuple[str, str], ScaleEstimate]:
    """Choose scales, variance and noise by withheld groups of observations.

    Parameters
    ----------
    points : ndarray, shape (m, 3)
        Time (days), y and x (km) of the observations.
    values : ndarray, shape (m,)
        Observations minus background.
    groups : ndarray of int, shape (m,)
        Label of the group with which each observation is withheld.
    guess : Guess
        Defaults.
    families : tuple of (str, str)
        Correlations in space and time to try; names in ``SPACE_KERNELS`` and
        ``TIME_KERNELS``.
    bounds : ((float, float), (float, float))
        Accepted length scales (km) and time scales (days).
    fixed : (bool, bool)
        Keep the length scale, or the time scale, of the guess.
    noise : ndarray, shape (m,), optional
        Standard deviation of the noise, if it is known.
    variance : float, optional
        Variance of the signal, if it is known.
    seed : int
        Seed of the choice of subsets.

    Returns
    -------
    dict of (str, str) to ScaleEstimate
        For each family. Empty if there are too few groups.
    """
    if np.unique(groups).size < FEWEST or not np.ptp(values) > 0:
        return {}
    mean_noise = None if noise is None else float(np.mean(noise**2))
    weights = np.ones(len(values)) if noise is None else noise**2 / mean_noise
    subsets = [
        _Subset(points[chosen], values[chosen], weights[chosen], groups[chosen])
        for chosen in _chosen(points, groups, guess, seed)
    ]
    count = sum(len(s.values) for s in subsets)
    number = sum(len(s.members) for s in subsets)
    start = np.log([guess.length_scale, guess.time_scale, guess.ratio])
    limits = np.log([*bounds, RATIOS])
    own = float(np.var(values))
    free = np.array([not fixed[0], not fixed[1], mean_noise is None or variance is None])
    if mean_noise is not None:  # near what the observations vary by, however small the noise
        likely = max(own - mean_noise, 0.05 * own) if variance is None else variance
        start[2] = log(mean_noise / likely)
        limits[2] = min(limits[2, 0], start[2] - log(10.0)), max(limits[2, 1], start[2])
    elif variance is not None:  # noise within what the observations vary by
        start[2] += log(own / variance)
        limits[2] = np.log([RATIOS[0] * own / variance, own / variance])

    def fitted(theta: np.ndarray, family: tuple[str, str]) -> tuple[float, float]:
        """Mean log density of the withheld values, and the signal variance."""
        sums = [s.withheld(theta, *family) for s in subsets]
        logdet, missed = sum(a for a, _ in sums), sum(b for _, b in sums)
        if not np.isfinite(missed):
            return -inf, inf
        known = variance if mean_noise is None else mean_noise / exp(theta[2])
        scale = missed / count if known is None else known
        return 0.5 * (logdet - missed / scale) / count - 0.5 * log(scale), scale

    found, first = {}, start
    for family in families:

        def score_of(theta: np.ndarray, family: tuple[str, str] = family) -> float:
            return fitted(theta, family)[0]

        first = _search(score_of, first, start, limits, free, number)
        score, scale = fitted(first, family)
        if np.isfinite(score):
            length, time, ratio = np.exp(first)
            found[family] = ScaleEstimate(length, time, scale, ratio * scale, score, number)
    return found


def _chosen(
    points: np.ndarray, groups: np.ndarray, guess: Guess, seed: int
) -> list[np.ndarray]:
    """Subsets: neighbours of some observations, for short scales; whole groups, for long."""
    rng = np.random.default_rng(seed)
    if len(points) <= SUBSET * (DENSE + 1):
        return [np.arange(len(points))]
    scaled = points / np.array([guess.time_scale, guess.length_scale, guess.length_scale])
    subsets = []
    for anchor in rng.choice(len(points), size=DENSE, replace=False):
        distance = ((scaled - scaled[anchor]) ** 2).sum(1)
        subsets.append(np.sort(np.argpartition(distance, SUBSET - 1)[:SUBSET]))
    labels, sizes = np.unique(groups, return_counts=True)
    order = rng.permutation(len(labels))
    taken = labels[order[np.cumsum(sizes[order]) <= SUBSET]]
    thin = np.flatnonzero(np.isin(groups, taken))
    if len(taken) < FEWEST:  # large groups: some observations of each
        thin = np.sort(rng.choice(len(points), size=SUBSET, replace=False))
    return [*subsets, thin]


def _search(
    score: Callable[[np.ndarray], float],
    first: np.ndarray,
    centre: np.ndarray,
    limits: np.ndarray,
    free: np.ndarray,
    number: int,
) -> np.ndarray:
    """Maximise score and prior by steps along each parameter, halved when none helps."""
    spread = np.array(SPREADS)

    def objective(theta: np.ndarray) -> float:
        prior = 0.5 * float((((theta - centre) / spread)[free] ** 2).sum())
        return number * score(theta) - prior

    best = np.where(free, np.clip(first, limits[:, 0], limits[:, 1]), first)
    value, share = objective(best), 1.0
    way = np.ones(3)
    while share > LAST_SHARE:
        moved = False
        for k in np.flatnonzero(free):
            for sign in (way[k], -way[k]):
                trial = best.copy()
                trial[k] = np.clip(trial[k] + sign * share * FIRST_STEPS[k], *limits[k])
                if trial[k] == best[k]:
                    continue
                found = objective(trial)
                if found > value:
                    best, value, way[k], moved = trial, found, sign, True
                    break
        if not moved:
            share /= 2
    return best
