"""The Gaussian posterior equals the dense one in float64, whichever way it is found."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor

import xinverse.solvers.gaussian_posterior as module
from xinverse.priors import CirculantGaussian, GaussianPrior, KroneckerGaussian
from xinverse.priors.noise import white_noise
from xinverse.solvers import GaussianPosterior

WHOLE = [slice(None)] * 3

COVARIANCES = {
    "gaussian": (KroneckerGaussian, {}),
    "gaussian, exponential in time": (KroneckerGaussian, {"temporal": "exponential"}),
    "matern12": (CirculantGaussian, {"space": "matern12"}),
    "matern32": (CirculantGaussian, {"space": "matern32"}),
    "matern52": (CirculantGaussian, {"space": "matern52"}),
    "arhan-colin": (CirculantGaussian, {"space": "arhan-colin", "temporal": "exponential"}),
}
EVERY = pytest.mark.parametrize("covariance", COVARIANCES)
TWO = pytest.mark.parametrize("covariance", ["gaussian", "arhan-colin"])
WAYS = pytest.mark.parametrize("way", ["dense", "double", "single"])


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of observations counts as too many for one factor of them all."""
    monkeypatch.setattr(module, "WHOLE_LIMIT", 0)


def make_prior(
    covariance: str = "gaussian",
    shape: tuple[int, int, int] = (5, 10, 12),
    length_scale: float = 60.0,
    time_scale: float = 3.0,
    variance: float = 2.0,
) -> GaussianPrior:
    kind, names = COVARIANCES[covariance]
    axes = [
        step * torch.arange(n, dtype=torch.float64)
        for n, step in zip(shape, (1.0, 11.0, 13.0), strict=True)
    ]
    return kind(
        *axes, length_scale=length_scale, time_scale=time_scale, variance=variance, **names
    )


def some_cells(prior: GaussianPrior, count: int, seed: int = 0) -> Tensor:
    """Cells drawn with replacement, so that a few are there twice."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack(
        [torch.randint(n, (count,), generator=generator) for n in prior.shape], 1
    )


def posterior(
    prior: GaussianPrior, cells: Tensor, noise_variance: Tensor, way: str
) -> GaussianPosterior:
    """The solver as it is used for few cells, for many in float64 and in float32."""
    iterations = deepcopy(prior).float() if way == "single" else prior
    return GaussianPosterior(
        iterations, cells, noise_variance, exact=prior, dense=way == "dense"
    )


def dense_posterior(
    prior: GaussianPrior, cells: Tensor, noise_variance: Tensor, y: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and error by the textbook, in numpy and float64."""
    grid = torch.cartesian_prod(*(torch.arange(n) for n in prior.shape))
    at = [axis.numpy() for axis in (prior.time, prior.y, prior.x)]

    def covariance(a: Tensor, b: Tensor) -> np.ndarray:
        lag = [np.subtract.outer(x[i], x[j]) for x, i, j in zip(at, a.T, b.T, strict=True)]
        distance = torch.from_numpy(np.hypot(lag[1], lag[2]))
        space = prior.space(distance, prior.length_scale)
        time = prior.temporal(torch.from_numpy(np.abs(lag[0])), prior.time_scale)
        return prior.variance * (space * time).numpy()

    observed = covariance(cells, cells) + np.diag(noise_variance.numpy())
    gain = np.linalg.solve(observed, covariance(cells, grid)).T
    mean = y.numpy() @ gain.T
    variance = prior.variance - (gain * covariance(grid, cells)).sum(1)
    return mean.reshape(-1, *prior.shape), np.sqrt(variance.clip(0)).reshape(prior.shape)


def observations(prior: GaussianPrior, cells: Tensor, noise: Tensor, batch: int = 2) -> Tensor:
    """Of fields of the prior, with their noise."""
    matrix = prior.between(cells, cells) + torch.diag(noise)
    factor = torch.linalg.cholesky(matrix + 1e-12 * torch.eye(len(cells)))
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, len(cells), dtype=torch.float64, generator=generator) @ factor.T


@pytest.mark.parametrize(
    ("covariance", "share"),
    [
        *((name, 0.5) for name in COVARIANCES),
        *((name, 0.1) for name in COVARIANCES),
        ("gaussian", 0.01),
        ("gaussian", 0.001),
        ("matern32", 0.02),
    ],
)
@WAYS
def test_mean_equals_the_dense_posterior(covariance, way, share):
    """To 1e-4 of the standard deviation, with a noise of its own at each observation."""
    prior = make_prior(covariance)
    cells = some_cells(prior, 150)
    spread = torch.linspace(0.5, 2, len(cells), dtype=torch.float64)
    noise = (share * spread) ** 2 * prior.variance
    y = observations(prior, cells, noise)
    mean = posterior(prior, cells, noise, way).mean(y)
    expected, _ = dense_posterior(prior, cells, noise, y)
    assert mean.shape == (2, *prior.shape)
    assert np.abs(mean.numpy() - expected).max() < 1e-4 * prior.variance**0.5


@pytest.mark.usefixtures("many")
@EVERY
@pytest.mark.parametrize("way", ["dense", "single"])
@pytest.mark.parametrize(("length_scale", "time_scale"), [(60.0, 3.0), (25.0, 1.0)])
def test_error_equals_the_dense_posterior(covariance, way, length_scale, time_scale):
    """To 1e-3 of the standard deviation, though far observations are left out."""
    prior = make_prior(covariance, length_scale=length_scale, time_scale=time_scale)
    cells = some_cells(prior, 150)
    noise = torch.full((len(cells),), 0.01 * prior.variance, dtype=torch.float64)
    error = posterior(prior, cells, noise, way).error(WHOLE)
    _, expected = dense_posterior(prior, cells, noise, torch.zeros(1, len(cells)).double())
    assert error.shape == prior.shape
    assert np.abs(error.numpy() - expected).max() < 1e-3 * prior.variance**0.5
    # What is left out can only raise it.
    assert (error.numpy() - expected).min() > -1e-9
    assert 0 <= error.min() < 0.2 * prior.variance**0.5


@pytest.mark.usefixtures("many")
def test_far_observations_are_left_out_of_an_error():
    """Of a wide tile, so that the check above is one: fewer are used than there are."""
    prior = make_prior("gaussian", (2, 6, 50), length_scale=25.0, time_scale=1.0)
    cells = some_cells(prior, 120)
    noise = torch.full((120,), 0.02, dtype=torch.float64)
    solver = posterior(prior, cells, noise, "single")
    near = solver._near((torch.tensor([1]), torch.tensor([4]), torch.tensor([5, 6])))
    assert len(near) < 60
    _, expected = dense_posterior(prior, cells, noise, torch.zeros(1, 120).double())
    error = solver.error(WHOLE)
    assert np.abs(error.numpy() - expected).max() < 1e-3 * prior.variance**0.5


@pytest.mark.usefixtures("many")
def test_an_observation_where_the_correlation_crosses_zero_counts():
    """Arhan and Colin's is zero at the scale, and not behind it."""
    prior = make_prior("arhan-colin", (1, 2, 40), length_scale=65.0)
    cells = torch.tensor([[0, 0, k] for k in range(0, 40, 5)])  # every 65 km
    noise = torch.full((len(cells),), 1e-4, dtype=torch.float64)
    error = posterior(prior, cells, noise, "single").error(WHOLE)
    _, expected = dense_posterior(prior, cells, noise, torch.zeros(1, len(cells)).double())
    assert np.abs(error.numpy() - expected).max() < 1e-3 * prior.variance**0.5


@pytest.mark.usefixtures("many")
@TWO
def test_error_of_a_part(covariance):
    prior = make_prior(covariance)
    cells = some_cells(prior, 80)
    noise = torch.full((80,), 0.02, dtype=torch.float64)
    region = [slice(1, 4), slice(2, 9), slice(0, 7)]
    for way in ("dense", "single"):
        solver = posterior(prior, cells, noise, way)
        torch.testing.assert_close(
            solver.error(region), solver.error(WHOLE)[tuple(region)], rtol=0, atol=2e-3
        )


def test_error_is_worked_out_only_where_it_is_wanted():
    prior = make_prior()
    solver = posterior(prior, some_cells(prior, 30), torch.full((30,), 0.1), "dense")
    sea = torch.zeros(prior.shape[1:], dtype=torch.bool)
    sea[0, 0] = True
    partly, whole = solver.error(WHOLE, sea), solver.error(WHOLE)
    torch.testing.assert_close(partly[:, 0, 0], whole[:, 0, 0], rtol=0, atol=0)
    assert (partly == 0).any()


@pytest.mark.usefixtures("many")
@TWO
@WAYS
def test_without_observations_the_posterior_is_the_prior(covariance, way):
    prior = make_prior(covariance, (3, 4, 5))
    none = torch.zeros(0, 3, dtype=torch.long)
    solver = posterior(prior, none, torch.zeros(0, dtype=torch.float64), way)
    assert not solver.mean(torch.zeros(2, 0, dtype=torch.float64)).any()
    torch.testing.assert_close(
        solver.error(WHOLE), torch.full(prior.shape, prior.variance**0.5, dtype=torch.float64)
    )
    noise = torch.from_numpy(
        white_noise(0, 0, [np.arange(n) for n in prior.shape], prior.margins)
    )[None].to(solver.prior.time.dtype)
    sample = solver.sample(torch.zeros(0).double(), noise, torch.zeros(1, 0).double())
    torch.testing.assert_close(sample.to(noise.dtype), solver.prior.colour(noise))


@pytest.mark.usefixtures("many")
@EVERY
@WAYS
def test_one_observation_by_the_formula(covariance, way):
    """mean = B_j y / (B_jj + R), variance = B_ii - B_ij^2 / (B_jj + R)."""
    prior = make_prior(covariance, (3, 6, 5))
    cell = torch.tensor([[1, 2, 3]])
    y, noise = torch.tensor([[1.7]]).double(), torch.tensor([0.3]).double()
    solver = posterior(prior, cell, noise, way)
    grid = torch.cartesian_prod(*(torch.arange(n) for n in prior.shape))
    column = prior.between(grid, cell).reshape(prior.shape)
    total = prior.variance + 0.3
    torch.testing.assert_close(
        solver.mean(y)[0].double(), column * 1.7 / total, rtol=0, atol=1e-5
    )
    expected = (prior.variance - column**2 / total).sqrt()
    torch.testing.assert_close(solver.error(WHOLE), expected, rtol=0, atol=1e-3)


@pytest.mark.usefixtures("many")
@TWO
@WAYS
def test_two_of_a_cell_are_one_of_half_the_variance(covariance, way):
    prior = make_prior(covariance)
    once = some_cells(prior, 40, seed=3).unique(dim=0)
    y = observations(prior, once, torch.full((len(once),), 0.2).double())
    twice = torch.cat([once, once])
    noise = torch.full((len(twice),), 0.2, dtype=torch.float64)
    one = posterior(prior, once, noise[: len(once)] / 2, way)
    two = posterior(prior, twice, noise, way)
    together = torch.cat([y - 0.3, y + 0.3], dim=1)  # whose mean counts
    torch.testing.assert_close(two.mean(together), one.mean(y), rtol=0, atol=1e-4)
    torch.testing.assert_close(two.error(WHOLE), one.error(WHOLE), rtol=0, atol=1e-3)


@TWO
@WAYS
def test_an_element_does_not_depend_on_its_batch(covariance, way):
    """Though the others be a million times as large, or zero."""
    prior = make_prior(covariance)
    cells = some_cells(prior, 100)
    noise = torch.full((100,), 0.02, dtype=torch.float64)
    y = observations(prior, cells, noise, batch=4)
    y[1] *= 1e6
    y[2] = 0
    solver = posterior(prior, cells, noise, way)
    together = solver.mean(y)
    assert not together[2].any()
    for k, size in ((0, 1.0), (1, 1e6), (3, 1.0)):
        alone = solver.mean(y[[k]])[0]
        # Where iterations stop at a tolerance, rounding decides after which of them.
        close = 1e-6 if way == "dense" else 1e-5
        torch.testing.assert_close(alone / size, together[k] / size, rtol=0, atol=close)


@pytest.mark.usefixtures("many")
@TWO
@WAYS
def test_the_state_beyond_its_edge_does_not_matter(covariance, way):
    """A larger tile with the same observations has the same posterior inside."""
    small, large = make_prior(covariance), make_prior(covariance, (9, 16, 15))
    cells, noise = some_cells(small, 60), torch.full((60,), 0.02, dtype=torch.float64)
    y = observations(small, cells, noise)
    moved = cells + torch.tensor([2, 5, 1])
    one, other = (posterior(p, c, noise, way) for p, c in ((small, cells), (large, moved)))
    inside = (slice(2, 7), slice(5, 15), slice(1, 13))
    torch.testing.assert_close(one.mean(y), other.mean(y)[:, *inside], rtol=0, atol=1e-4)
    # In blocks of other cells, other far observations are left out.
    torch.testing.assert_close(one.error(WHOLE), other.error(inside), rtol=0, atol=2e-3)


@TWO
def test_order_of_observations_does_not_matter(covariance):
    prior = make_prior(covariance)
    cells, noise = some_cells(prior, 60), torch.linspace(0.01, 1, 60).double()
    y, order = observations(prior, cells, noise), torch.randperm(60)
    one = posterior(prior, cells, noise, "single").mean(y)
    other = posterior(prior, cells[order], noise[order], "single").mean(y[:, order])
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("covariance", "way"),
    [("gaussian", "single"), ("matern32", "single"), ("matern32", "dense")],
)
def test_samples_have_the_mean_and_the_error_of_the_posterior(covariance, way):
    """Within five standard errors, everywhere; and they scatter about it as a normal does."""
    prior = make_prior(covariance, (2, 5, 6), length_scale=30.0, time_scale=1.0)
    cells = some_cells(prior, 25)
    noise = torch.full((25,), 0.1, dtype=torch.float64)
    y = observations(prior, cells, noise, batch=1)
    solver = posterior(prior, cells, noise, way)
    members, axes = 500, [np.arange(n) for n in prior.shape]
    like = solver.prior.time.dtype
    white = [white_noise(2, k, axes, prior.margins) for k in range(members)]
    shocks = [
        white_noise(2, k, [cells.numpy()[:, 0], cells.numpy()[:, 1], np.arange(25)], stream=1)
        for k in range(members)
    ]
    samples = solver.sample(
        y[0], torch.from_numpy(np.stack(white)).to(like), torch.from_numpy(np.stack(shocks))
    )
    mean, error = dense_posterior(prior, cells, noise, y)
    scaled = (samples.double().numpy() - mean) / error
    assert np.abs(scaled.mean(0)).max() < 5 / np.sqrt(members)
    assert np.abs(scaled.std(0) - 1).max() < 5 / np.sqrt(2 * members)
    assert abs((scaled**3).mean()) < 0.2
    # Neighbours of a sample are correlated as the posterior says, not drawn cell by cell.
    grid = torch.cartesian_prod(*(torch.arange(n) for n in prior.shape))
    K = prior.between(cells, cells) + torch.diag(noise)
    to_cells = prior.between(grid, cells)
    A = prior.between(grid, grid) - to_cells @ torch.linalg.solve(K, to_cells.T)
    flat = samples.double().flatten(1)
    covariance_of_samples = torch.cov(flat.T)
    bound = 5 * ((A**2 + A.diagonal()[:, None] * A.diagonal()) / members).sqrt()
    assert ((covariance_of_samples - A).abs() < bound).all()


def test_up_to_a_limit_one_factor_serves_every_error(monkeypatch):
    """Exactly, whatever is far from what."""
    prior = make_prior(length_scale=25.0, time_scale=1.0)
    cells, noise = some_cells(prior, 120), torch.full((120,), 1e-4, dtype=torch.float64)
    solver = posterior(prior, cells, noise, "single")
    expected = posterior(prior, cells, noise, "dense").error(WHOLE)
    torch.testing.assert_close(solver.error(WHOLE), expected, rtol=0, atol=1e-12)
    monkeypatch.setattr(module, "WHOLE_LIMIT", 100)
    assert (solver.error(WHOLE) - expected).abs().max() > 1e-6


def test_few_observations_are_solved_densely_and_many_are_not(monkeypatch):
    monkeypatch.setattr(module, "DENSE_LIMIT", 10)
    prior = make_prior(shape=(2, 3, 8))
    few, many = some_cells(prior, 10), some_cells(prior, 11)
    assert GaussianPosterior(prior, few, torch.ones(10)).dense
    assert not GaussianPosterior(prior, many, torch.ones(11)).dense


def test_a_prior_in_single_precision_is_enough():
    """Its double stands in where none is given."""
    prior = make_prior("matern32", (2, 6, 7))
    cells, noise = some_cells(prior, 40), torch.full((40,), 0.02, dtype=torch.float64)
    y = observations(prior, cells, noise)
    expected, error = dense_posterior(prior, cells, noise, y)
    for dense in (True, False):
        solver = GaussianPosterior(deepcopy(prior).float(), cells, noise, dense=dense)
        assert np.abs(solver.mean(y.float()).numpy() - expected).max() < 3e-4
        assert np.abs(solver.error(WHOLE).numpy() - error).max() < 2e-3


@TWO
def test_a_noise_too_small_for_iterations_is_solved_densely(covariance, monkeypatch):
    prior = make_prior(covariance)
    cells = some_cells(prior, 120).unique(dim=0)
    noise = torch.full((len(cells),), 1e-9, dtype=torch.float64)
    y = observations(prior, cells, noise)
    monkeypatch.setattr(module, "MAX_ITERATIONS", 5)
    solver = posterior(prior, cells, noise, "single")
    expected, _ = dense_posterior(prior, cells, noise, y)
    assert np.abs(solver.mean(y).numpy() - expected).max() < 1e-3
    monkeypatch.setattr(module, "RESCUE_LIMIT", 10)
    with pytest.raises(ArithmeticError, match="give a larger noise"):
        solver.mean(y)


@pytest.mark.parametrize("length_scale", [5.0, 5000.0])
def test_a_covariance_that_cannot_be_inverted_is_an_error(length_scale):
    """The noise decides it, not the processor; alike for fields that hardly vary and others."""
    prior = make_prior(length_scale=length_scale)
    cells, n = some_cells(prior, 60), 60
    rounding = n * torch.finfo(torch.float64).eps * prior.variance
    y = torch.ones(1, n)
    for noise in (0.0, 0.9 * rounding):
        solver = posterior(prior, cells, torch.full((n,), noise).double(), "dense")
        with pytest.raises(ArithmeticError, match="60 observations cannot be inverted"):
            solver.mean(y)
    solver = posterior(prior, cells, torch.full((n,), 1.1 * rounding).double(), "dense")
    assert solver.mean(y).isfinite().all()


def test_mean_can_be_differentiated_with_respect_to_the_observations():
    """It is linear in them: what a sampling plan will be optimised through."""
    prior = make_prior(shape=(2, 3, 4))
    cells, noise = some_cells(prior, 5), torch.full((5,), 0.1, dtype=torch.float64)
    solver = posterior(prior, cells, noise, "dense")
    y = torch.randn(1, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(solver.mean, (y,))
