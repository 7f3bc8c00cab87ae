"""Windows of the Lorenz systems, seen now and then and with noise: truth, observations, score.

The settings of the supplementary material of Fablet, Drumetz and Rousseau (2020): one long
series, of which the windows for training are drawn from the first three quarters and those for
the test from the rest; a noise of variance 2. To train longer the series goes on after the part
of the test. Scores are normalised by the variance of the components about their means, averaged
over the components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from xinverse.dynamics import Dynamics, Lorenz63, Lorenz96, Rescaled
from xinverse.operators import Mask

NOISE_VARIANCE = 2.0
LENGTH = 200  # time steps of a window
MEMORY = 60  # time steps: reach of the covariance of the background


@dataclass
class Windows:
    """A batch of windows, normalised: ``(batch, time, component)``."""

    truth: Tensor
    y: Tensor
    observed: Tensor
    background: Tensor  # where learned solvers start

    @property
    def operator(self) -> Mask:
        """H."""
        return Mask(self.observed)

    @property
    def interpolated(self) -> Tensor:
        """Linear interpolation in time of what was seen of each component."""
        return linear_in_time(self.y, self.observed)

    def __getitem__(self, some: slice) -> Windows:
        return Windows(*(part[some] for part in vars(self).values()))

    def __len__(self) -> int:
        return len(self.truth)


class System:
    """A Lorenz system, its series, and how it is observed.

    Parameters
    ----------
    number : {63, 96}
        Which.
    longer : int
        Time steps after the part of the test. Where there are some, windows for training are
        drawn from them; means, scale and covariance stay those of the first part.
    """

    def __init__(self, number: int, longer: int = 0) -> None:
        self.number = number
        self.model: Dynamics = Lorenz63() if number == 63 else Lorenz96()
        self.dt = 0.01 if number == 63 else 0.05
        self.every = 8 if number == 63 else 4
        self.components = 3 if number == 63 else 40
        self.seen = 3 if number == 63 else 20  # of the components, whenever there is a look
        self.test_windows = 2000 if number == 63 else 256
        length = 20000 if number == 63 else 10000
        series = integrate(number, self.components, self.dt, length + longer)
        self.split = 3 * length // 4
        self.parts = {
            "training": (length, length + longer) if longer else (0, self.split),
            "test": (self.split, length),
        }
        training = series[: self.split]
        self.mean = training.mean(0)
        self.scale = (training - self.mean).square().mean().sqrt()
        self.series = (series - self.mean) / self.scale
        self.covariance = lagged(self.series[: self.split]) if number == 96 else None
        # The paper's normalisation: variance of all numbers about one mean, over ours.
        self.papers_way = float(training.var() / self.scale.square())

    @property
    def normalised(self) -> Dynamics:
        """The model of the normalised states."""
        return Rescaled(self.model, self.mean, self.scale)

    def draw(self, count: int, generator: torch.Generator, *, test: bool = False) -> Windows:
        """Windows at random times of either part of the series, with new noise."""
        first, last = self.parts["test" if test else "training"]
        starts = torch.randint(first, last - LENGTH + 1, (count,), generator=generator)
        truth = self.series[starts[:, None] + torch.arange(LENGTH)]
        order = torch.rand(count, LENGTH, self.components, generator=generator).argsort(-1)
        observed = order < self.seen
        observed[:, torch.arange(LENGTH) % self.every != 0] = False
        noise = torch.randn(truth.shape, generator=generator, dtype=torch.float64)
        y = truth + NOISE_VARIANCE**0.5 / self.scale * noise
        y = torch.where(observed, y, 0.0)
        return Windows(truth, y, observed, self.background(y, observed))

    def background(self, y: Tensor, observed: Tensor) -> Tensor:
        """Lines in time, or for Lorenz-96 optimal interpolation with the series' covariance."""
        if self.covariance is None:
            return linear_in_time(y, observed)
        noise_variance = NOISE_VARIANCE / float(self.scale) ** 2
        return optimal(y, observed, self.covariance, noise_variance)

    def test(self, seed: int) -> Windows:
        """The windows that are scored."""
        generator = torch.Generator().manual_seed(10_000 + seed)
        return self.draw(self.test_windows, generator, test=True)


def integrate(number: int, components: int, dt: float, length: int) -> Tensor:
    """One long series on the attractor, by the Runge-Kutta pair of Dormand and Prince."""

    def lorenz63(_: float, x: np.ndarray) -> list[float]:
        return [
            10 * (x[1] - x[0]),
            x[0] * (28 - x[2]) - x[1],
            x[0] * x[1] - 8 / 3 * x[2],
        ]

    def lorenz96(_: float, x: np.ndarray) -> np.ndarray:
        return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + 8

    start = np.ones(components)
    start[0] += 1
    spinup = 2000
    solved = solve_ivp(
        lorenz63 if number == 63 else lorenz96,
        (0, (spinup + length) * dt),
        start,
        t_eval=dt * np.arange(spinup, spinup + length),
        rtol=1e-8,
        atol=1e-8,
    )
    return torch.from_numpy(solved.y.T.copy())


def lagged(series: Tensor) -> Tensor:
    """Covariance of two cells of a ring by lag in time and on the ring, ``(2 LENGTH, ring)``.

    Lag ``-k`` is at ``2 LENGTH - k``. A triangle over the lags in time takes away what a sample
    knows nothing of, and leaves a covariance a covariance.
    """
    count, ring = series.shape
    spectrum = torch.fft.fft2(series, s=(2 * count, ring)).abs().square()
    covariance = torch.fft.ifft2(spectrum).real / (count * ring)
    taper = (1 - torch.arange(LENGTH, dtype=series.dtype) / MEMORY).clamp(min=0)
    table = torch.zeros(2 * LENGTH, ring, dtype=series.dtype)
    table[:LENGTH] = covariance[:LENGTH] * taper[:, None]
    table[LENGTH + 1 :] = covariance[-LENGTH + 1 :] * taper[1:, None].flip(0)
    return table


def optimal(y: Tensor, observed: Tensor, covariance: Tensor, noise_variance: float) -> Tensor:
    """Mean of the Gaussian posterior of each window, for a covariance by lag (`lagged`)."""
    ring, single = covariance.shape[1], covariance.float()
    spectrum = torch.fft.rfft2(single)
    found = torch.empty_like(y)
    for k, (values, mask) in enumerate(zip(y, observed, strict=True)):
        time, cell = mask.nonzero(as_tuple=True)
        seen = single[time[:, None] - time, (cell[:, None] - cell) % ring]
        factor = torch.linalg.cholesky(seen + noise_variance * torch.eye(len(time)))
        weights = torch.cholesky_solve(values[mask].float()[:, None], factor)[:, 0]
        spread = torch.zeros_like(single)
        spread[time, cell] = weights
        found[k] = torch.fft.irfft2(spectrum * torch.fft.rfft2(spread), s=single.shape)[:LENGTH]
    return found


def linear_in_time(y: Tensor, observed: Tensor) -> Tensor:
    """Linear interpolation along axis 1, constant beyond the first and the last observation."""
    times = torch.arange(y.shape[1], dtype=y.dtype, device=y.device)[None, :, None].expand(
        y.shape
    )
    far = 10.0 * y.shape[1]
    before = torch.where(observed, times, -far).cummax(1)
    after = torch.where(observed, times, far).flip(1).cummin(1)
    left, right = before.values, after.values.flip(1)
    value_left = y.gather(1, before.indices)
    value_right = y.flip(1).gather(1, after.indices).flip(1)
    weight = torch.where(right > left, (times - left) / (right - left).clamp(min=1), 0.0)
    weight = torch.where(left < 0, 1.0, torch.where(right >= far, 0.0, weight))
    return (1 - weight) * value_left + weight * value_right


def r_scores(estimate: Tensor, truth: Tensor) -> Tensor:
    """Normalised mean square error of each window, ``(batch,)``."""
    return (estimate - truth).square().flatten(1).mean(1)
