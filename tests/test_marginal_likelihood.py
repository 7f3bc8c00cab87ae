"""Scales estimated from observations: those that a simulated field was made with come back."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest
import torch

from xinverse.priors.kernels import SPACE_KERNELS, TIME_KERNELS
from xinverse.solvers.marginal_likelihood import FittedScales, fit_scales

TRUE = FittedScales(length_scale=90.0, time_scale=8.0, variance=0.02, noise_factor=1.0)
NOISE = 0.03**2


def tracks(seed: int, passes: int = 40, along: int = 30) -> np.ndarray:
    """Points (days, km, km) along lines, as an altimeter leaves them."""
    rng = np.random.default_rng(seed)
    day = rng.uniform(0, 30, passes).repeat(along)
    start = rng.uniform(0, 600, passes).repeat(along)
    distance = np.tile(np.linspace(0, 600, along), passes)
    slope = rng.choice([-0.4, 0.4], passes).repeat(along)
    return np.stack([day, distance, start + slope * distance], axis=1)


def observe(
    points: np.ndarray,
    true: FittedScales = TRUE,
    noise: float | np.ndarray = NOISE,
    space: str = "gaussian",
    temporal: str = "gaussian",
    seed: int = 0,
) -> np.ndarray:
    """Values of one Gaussian field at the points, and their noise, by a dense factor."""
    at = torch.from_numpy(points)
    distance = torch.hypot(*(at[:, None, k] - at[None, :, k] for k in (1, 2)))
    lag = (at[:, None, 0] - at[None, :, 0]).abs()
    matrix = SPACE_KERNELS[space](distance, true.length_scale)
    matrix = true.variance * matrix * TIME_KERNELS[temporal](lag, true.time_scale)
    variances = torch.as_tensor(np.broadcast_to(noise, len(points)).copy())
    factor = torch.linalg.cholesky(matrix + torch.diag(variances))
    white = np.random.default_rng(seed).standard_normal(len(points))
    return (factor @ torch.from_numpy(white)).numpy()


def fit(
    points: np.ndarray, values: np.ndarray, guess: FittedScales, **keywords
) -> FittedScales:
    keywords.setdefault("noise_variance", np.full(len(values), NOISE))
    return fit_scales(
        points,
        values,
        length_scale=guess.length_scale,
        time_scale=guess.time_scale,
        variance=guess.variance,
        **keywords,
    )


@pytest.fixture(scope="module")
def seen() -> tuple[np.ndarray, np.ndarray]:
    points = tracks(1)
    return points, observe(points)


@pytest.mark.parametrize(
    ("space", "temporal"),
    [("gaussian", "gaussian"), ("matern32", "gaussian"), ("arhan-colin", "gaussian")],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_scales_of_a_known_field_come_back(space, temporal, seed):
    """Within 30 %, from a guess that is wrong by a factor of two and a half."""
    points = tracks(seed)
    values = observe(points, space=space, temporal=temporal, seed=seed)
    guess = replace(TRUE, length_scale=225.0, time_scale=3.2, variance=0.05)
    found = fit(points, values, guess, space=space, temporal=temporal)
    assert found.length_scale == pytest.approx(TRUE.length_scale, rel=0.3)
    assert found.time_scale == pytest.approx(TRUE.time_scale, rel=0.3)
    # The variance of one sample of few scales is what it is: within a factor of 1.6.
    assert abs(np.log(found.variance / TRUE.variance)) < np.log(1.6)
    assert found.noise_factor == pytest.approx(1.0, rel=0.3)


def test_an_exponential_in_time_comes_back():
    """In the mean of four fields: a month holds few scales of so rough a process."""
    found = []
    for seed in range(4):
        points = tracks(seed)
        values = observe(points, temporal="exponential", seed=seed)
        found.append(fit(points, values, TRUE, temporal="exponential").time_scale)
    assert np.exp(np.log(found).mean()) == pytest.approx(TRUE.time_scale, rel=0.3)


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_a_noise_known_up_to_a_factor_is_found(factor):
    """Though it differs from one observation to the next."""
    points = tracks(2)
    shares = np.random.default_rng(0).uniform(0.5, 1.5, len(points))
    values = observe(points, noise=NOISE * shares)
    found = fit(points, values, TRUE, noise_variance=NOISE * shares / factor)
    assert found.noise_factor == pytest.approx(factor, rel=0.3)


def test_the_guess_hardly_matters(seen):
    found = [
        fit(*seen, replace(TRUE, length_scale=90 * k, time_scale=8 / k)) for k in (0.4, 1, 2.5)
    ]
    # It says which observations are neighbours, and so which of them are used.
    for other in found[1:]:
        assert astuple(other) == pytest.approx(astuple(found[0]), rel=0.2)


def test_the_seed_decides_the_subsample_and_nothing_else_does(seen):
    first, second = fit(*seen, TRUE, seed=3), fit(*seen, TRUE, seed=3)
    assert first == second
    other = fit(*seen, TRUE, seed=4)
    assert other != first
    assert other.length_scale == pytest.approx(first.length_scale, rel=0.3)


def test_other_units_change_nothing_else(seen):
    """Centimetres for metres, and hours for days."""
    points, values = seen
    found = fit(points, values, TRUE)
    scaled = fit(
        points * [24, 1, 1],
        100 * values,
        replace(TRUE, time_scale=8.0 * 24, variance=200.0),
        noise_variance=np.full(len(values), 1e4 * NOISE),
    )
    assert scaled.length_scale == pytest.approx(found.length_scale, rel=1e-3)
    assert scaled.time_scale == pytest.approx(24 * found.time_scale, rel=1e-3)
    assert scaled.variance == pytest.approx(1e4 * found.variance, rel=1e-3)
    assert scaled.noise_factor == pytest.approx(found.noise_factor, rel=1e-3)


def test_it_makes_the_observations_more_likely(seen):
    """Than the guess does, on observations that it was given."""
    points, values = (a[:150] for a in seen)
    guess = replace(TRUE, length_scale=40.0, time_scale=20.0, variance=0.01)
    found = fit(points, values, guess)

    def minus_log_likelihood(scales: FittedScales) -> float:
        at = torch.from_numpy(points)
        distance = torch.hypot(*(at[:, None, k] - at[None, :, k] for k in (1, 2)))
        lag = (at[:, None, 0] - at[None, :, 0]).abs()
        matrix = SPACE_KERNELS["gaussian"](distance, scales.length_scale)
        matrix = scales.variance * matrix * TIME_KERNELS["gaussian"](lag, scales.time_scale)
        matrix = matrix + scales.noise_factor * NOISE * torch.eye(len(points))
        y = torch.from_numpy(values)
        return float(y @ torch.linalg.solve(matrix, y) + torch.logdet(matrix))

    best = minus_log_likelihood(found)
    assert best < minus_log_likelihood(guess) - 10
    for name in ("length_scale", "time_scale", "variance", "noise_factor"):
        for factor in (0.8, 1.25):
            moved = replace(found, **{name: factor * getattr(found, name)})
            assert minus_log_likelihood(moved) > best - 1e-3


def test_the_fit_stays_within_a_factor_of_twenty():
    """White noise has no scale to find; what comes back is finite and bounded."""
    points = tracks(0)
    values = np.random.default_rng(0).standard_normal(len(points))
    guess = FittedScales(100.0, 10.0, 1.0, 1.0)
    found = fit(points, values, guess, noise_variance=np.full(len(values), 0.1))
    for new, old in zip(astuple(found), astuple(guess), strict=True):
        assert 1 / 20 <= new / old <= 20


@pytest.mark.parametrize("count", [0, 1])
def test_one_observation_tells_nothing(count):
    points, values = tracks(0)[:count], np.ones(count)
    found = fit(points, values, TRUE)
    assert found == TRUE


@pytest.mark.parametrize("count", [2, 3, 10])
def test_few_observations_give_something_finite(count):
    points = tracks(0)[:count]
    found = fit(points, observe(points), TRUE)
    assert np.isfinite(astuple(found)).all()
    assert min(astuple(found)) > 0


def test_many_observations_of_one_cell():
    """As grid_tracks leaves them where passes cross: the same place, a noise each."""
    points = np.repeat(tracks(0)[::7], 3, axis=0)
    found = fit(points, observe(points), TRUE)
    assert found.noise_factor == pytest.approx(1.0, rel=0.3)
    assert np.isfinite(astuple(found)).all()
