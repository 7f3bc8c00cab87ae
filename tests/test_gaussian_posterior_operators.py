"""The Gaussian posterior through any linear operator, and of several variables at once.

Everything is compared with the textbook's formulas on dense matrices in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from tensors import random
from torch import Tensor

import xinverse.solvers.gaussian_posterior as module
from xinverse.dynamics import Lorenz63
from xinverse.errors import OptionError
from xinverse.operators import (
    Blur,
    Coarsen,
    Mask,
    Operator,
    Separable,
    TimeWindow,
    Trajectory,
    gaussian_psf,
)
from xinverse.priors import CirculantGaussian, GaussianPrior, KroneckerGaussian
from xinverse.solvers import GaussianPosterior
from xinverse.solvers.seen import Seen, SeenAxes, SeenGrid, matrices

SHAPE = (3, 7, 8)
WHOLE = [slice(None)] * 3
WAYS = pytest.mark.parametrize("way", ["dense", "double", "single"])
PRIORS = {"kronecker": (KroneckerGaussian, {}), "circulant": (CirculantGaussian, {})}
EACH_PRIOR = pytest.mark.parametrize("kind", PRIORS)


def block_means(cells: int, blocks: int) -> Tensor:
    """Means over blocks of equal length, with the cells' share in each: any ratio."""
    edge = torch.linspace(0, cells, blocks + 1, dtype=torch.float64)
    cell = torch.arange(cells, dtype=torch.float64)
    upper = torch.minimum(edge[1:, None], cell + 1)
    share = (upper - torch.maximum(edge[:-1, None], cell)).clamp(min=0)
    area = share * (1 + 0.05 * cell)  # each cell by its area
    return area / area.sum(1, keepdim=True)


def elongated() -> Tensor:
    """A rotated ellipse, which is no outer product."""
    d = torch.arange(-2, 3, dtype=torch.float64)
    along, across = 0.8 * d[:, None] + 0.6 * d, 0.8 * d - 0.6 * d[:, None]
    kernel = torch.exp(-(along**2) / 8 - across**2)
    return kernel / kernel.sum()


def sea() -> Tensor:
    sea = torch.ones(SHAPE[1:], dtype=torch.bool)
    sea[2:4, 3:6] = False
    return sea


def some_array() -> Tensor:
    return random((3, 5), seed=11)


OPERATORS: dict[str, Callable[[], Operator | None]] = {
    "identity": lambda: None,
    "gaussian blur": lambda: Blur(gaussian_psf(1.0)),
    "elongated blur": lambda: Blur(elongated()),
    "blur by an array": lambda: Blur(some_array(), method="direct"),
    "integer block means": lambda: Separable(block_means(7, 7), block_means(8, 4)),
    "other block means": lambda: Separable(block_means(7, 4), block_means(8, 3)),
    "block means of sea": lambda: Separable(block_means(7, 4), block_means(8, 4)) @ Mask(sea()),
    "two block means": lambda: (
        Separable(block_means(5, 4), block_means(6, 3))
        @ Separable(block_means(7, 5), block_means(8, 6))
    ),
    "blur of sea": lambda: Blur(elongated()) @ Mask(sea()),
    "blur, then block means": lambda: (
        Separable(block_means(7, 3), block_means(8, 4)) @ Blur(gaussian_psf(0.8))
    ),
    "coarsen": lambda: Coarsen((7, 2)),
    "means of two days": lambda: TimeWindow(2, 1),
}
EACH_OPERATOR = pytest.mark.parametrize("operator", OPERATORS)


@dataclass
class Case:
    """A problem and its dense solution."""

    prior: GaussianPrior
    operator: Operator | None
    cells: Tensor
    noise: Tensor
    y: Tensor
    H: Tensor
    B: Tensor

    def solver(self, way: str, **keywords: object) -> GaussianPosterior:
        rough = deepcopy(self.prior).float() if way == "single" else self.prior
        return GaussianPosterior(
            rough,
            self.cells,
            self.noise,
            operator=self.operator,
            exact=self.prior,
            dense=way == "dense",
            **keywords,  # type: ignore[arg-type]
        )

    @property
    def gain(self) -> Tensor:
        K = self.H @ self.B @ self.H.T + torch.diag(self.noise)
        return torch.linalg.solve(K, self.H @ self.B).T

    def mean(self, y: Tensor) -> Tensor:
        return (y @ self.gain.T).unflatten(1, self.prior.shape)

    @property
    def error(self) -> Tensor:
        variance = (self.B - self.gain @ self.H @ self.B).diagonal()
        return variance.clamp(min=0).sqrt().reshape(self.prior.shape)


def axes(shape: tuple[int, ...] = SHAPE) -> list[Tensor]:
    steps = (1.0, 11.0, 13.0)
    return [s * torch.arange(n, dtype=torch.float64) for n, s in zip(shape, steps, strict=True)]


def dense_operator(operator: Operator | None, shape: tuple[int, ...]) -> tuple[Tensor, tuple]:
    """G as a matrix, and the shape of what it gives."""
    size = int(torch.tensor(shape).prod())
    one = torch.eye(size, dtype=torch.float64).unflatten(1, shape)
    seen = one if operator is None else operator(one)
    return seen.flatten(1).T, tuple(seen.shape[1:])


def covariance(prior: GaussianPrior) -> Tensor:
    """B from distances, days and variables, entry by entry."""
    cells = torch.cartesian_prod(*map(torch.arange, prior.shape))
    t, y, x = (a.double()[cells[:, k]] for k, a in enumerate((prior.time, prior.y, prior.x)))
    distance = torch.hypot(y[:, None] - y, x[:, None] - x)
    B = prior.variance * prior.space(distance, prior.length_scale)
    B = B * prior.temporal((t[:, None] - t).abs(), prior.time_scale)
    if prior.series is not None:
        s = prior.series[cells[:, 0]]
        B = B * prior.coupling[s][:, s]
    return B


def case(
    operator: str, kind: str = "kronecker", share: float = 0.7, even: bool = False
) -> Case:
    cls, keywords = PRIORS[kind]
    prior = cls(*axes(), length_scale=40.0, time_scale=2.0, variance=2.0, **keywords)
    return make(prior, OPERATORS[operator](), share, even)


def make(
    prior: GaussianPrior, operator: Operator | None, share: float = 0.7, even: bool = False
) -> Case:
    G, shape = dense_operator(operator, prior.shape)
    order = torch.randperm(len(G), generator=torch.Generator().manual_seed(0))
    chosen = order[: max(1, int(share * len(G)))]
    cells = torch.stack(torch.unravel_index(chosen, shape), 1)
    spread = torch.ones(len(chosen)) if even else torch.linspace(0.5, 2, len(chosen))
    noise = 0.02 * spread.double()
    B, H = covariance(prior), G[chosen]
    root = torch.linalg.cholesky(H @ B @ H.T + torch.diag(noise))
    y = random((2, len(chosen)), seed=1) @ root.T
    return Case(prior, operator, cells, noise, y, H, B)


# One variable ---------------------------------------------------------------------------


@EACH_OPERATOR
@EACH_PRIOR
@WAYS
@pytest.mark.parametrize(("share", "even"), [(1.0, True), (1.0, False), (0.5, True)])
def test_mean_equals_the_dense_posterior(operator, kind, way, share, even):
    """To 1e-4 of the standard deviation; complete data and data with gaps."""
    a = case(operator, kind, share, even)
    mean = a.solver(way).mean(a.y)
    assert mean.shape == (2, *SHAPE)
    assert (mean - a.mean(a.y)).abs().max() < 1e-4 * a.prior.variance**0.5


@EACH_OPERATOR
@EACH_PRIOR
@pytest.mark.parametrize(("share", "even"), [(1.0, True), (1.0, False), (0.5, True)])
def test_error_equals_the_dense_posterior(operator, kind, share, even):
    a = case(operator, kind, share, even)
    for way in ("dense", "single"):
        error = a.solver(way).error(WHOLE)
        torch.testing.assert_close(error, a.error, rtol=1.1e-3, atol=1e-6)


@EACH_OPERATOR
@pytest.mark.parametrize("share", [1.0, 0.6])
def test_error_of_many_observations(operator, share, monkeypatch):
    """Raised by less than 1e-3 of the deviation, by modes and by blocks."""
    a = case(operator, share=share)
    monkeypatch.setattr(module, "WHOLE_LIMIT", 0)
    for limit in (4000, 0):
        monkeypatch.setattr(module, "MODES_LIMIT", limit)
        solver = a.solver("single")
        if not limit and not solver._seen.separable:
            with pytest.raises(ArithmeticError, match="smaller tile="):
                solver.error(WHOLE)
            continue
        if limit and solver._seen.modes > len(a.cells):
            continue
        raised = solver.error(WHOLE) - a.error
        assert raised.min() > -1e-7
        assert raised.max() < 1e-3 * a.prior.variance**0.5


@pytest.mark.parametrize("operator", ["identity", "gaussian blur", "other block means"])
def test_complete_data_with_an_even_noise_have_a_closed_form(operator, monkeypatch):
    """The error takes no factor, and the mean one iteration."""
    a = case(operator, share=1.0, even=True)
    monkeypatch.setattr(module, "WHOLE_LIMIT", 0)
    monkeypatch.setattr(module, "MAX_ITERATIONS", 1)
    solver = a.solver("double")

    def no_factor(*_: object) -> Tensor:
        raise AssertionError("a factor was asked for")

    monkeypatch.setattr(solver, "_decompose", no_factor)
    torch.testing.assert_close(solver.error(WHOLE), a.error, rtol=0, atol=1e-8)
    torch.testing.assert_close(solver.mean(a.y), a.mean(a.y), rtol=0, atol=1e-8)


@pytest.mark.parametrize("operator", ["identity", "gaussian blur", "blur of sea"])
@pytest.mark.parametrize("share", [1.0, 0.8])
def test_dense_data_of_a_stationary_prior_are_preconditioned_on_a_ring(operator, share):
    """A symmetric, positive definite inverse, with which the system is better conditioned."""
    prior = CirculantGaussian(*axes((2, 10, 11)), length_scale=40.0, time_scale=2.0)
    land = torch.rand(10, 11, generator=torch.Generator().manual_seed(0)) < 0.2
    blur = Blur(elongated())
    seen = {"identity": None, "gaussian blur": blur, "blur of sea": blur @ Mask(~land)}[
        operator
    ]
    a = make(prior, seen, share)
    inverse = a.solver("double")._seen.inverse(a.cells, a.noise)
    if operator == "identity" and share < 1:
        assert inverse is None
        return
    P = inverse(torch.eye(len(a.cells), dtype=torch.float64))
    torch.testing.assert_close(P, P.T, rtol=0, atol=1e-9)
    K = a.H @ a.B @ a.H.T + torch.diag(a.noise)
    root = torch.linalg.cholesky(K)
    both, alone = (torch.linalg.eigvalsh(m) for m in (root.T @ P @ root, K))
    assert both[0] > 0
    assert both[-1] / both[0] < 0.5 * alone[-1] / alone[0]
    twice = torch.cat([a.cells, a.cells])
    assert a.solver("double")._seen.inverse(twice, torch.cat([a.noise, a.noise])) is None


def test_modes_that_are_left_out_are_accounted_for(monkeypatch):
    """A bound from above, also when half of the variance is left out."""
    for operator in ("gaussian blur", "elongated blur"):
        a = case(operator, share=0.9)
        monkeypatch.setattr(module, "WHOLE_LIMIT", 0)
        lowest = None
        for share in (2e-3, 0.3, 3.0):
            monkeypatch.setattr(module, "MODES_SHARE", share)
            error = a.solver("single").error(WHOLE)
            assert (error - a.error).min() > -1e-8
            assert lowest is None or error.mean() >= lowest
            lowest = error.mean()


def test_far_observations_through_an_operator_are_left_out(monkeypatch):
    monkeypatch.setattr(module, "WHOLE_LIMIT", 0)
    monkeypatch.setattr(module, "MODES_LIMIT", 0)
    prior = KroneckerGaussian(*axes((2, 4, 50)), length_scale=25.0, time_scale=1.0)
    a = make(prior, Separable(block_means(4, 2), block_means(50, 30)), share=0.8)
    solver = a.solver("single")
    near = solver._near_through_axes(tuple(torch.tensor([k]) for k in (1, 2, 5)))
    assert 0 < len(near) < 0.6 * len(a.cells)
    raised = solver.error(WHOLE) - a.error
    assert raised.min() > -1e-9
    assert raised.max() < 1e-3
    monkeypatch.setattr(module, "LOCAL_LIMIT", 10)
    with pytest.raises(ArithmeticError, match="smaller tile="):
        solver.error(WHOLE)


@pytest.mark.parametrize("operator", ["identity", "elongated blur", "block means of sea"])
@EACH_PRIOR
@WAYS
def test_error_of_a_part(operator, kind, way):
    a = case(operator, kind)
    region = [slice(1, 3), slice(2, 6), slice(0, 5)]
    part, whole = (a.solver(way).error(r) for r in (region, WHOLE))
    torch.testing.assert_close(part, whole[tuple(region)], rtol=1e-6, atol=1e-9)


@EACH_OPERATOR
@EACH_PRIOR
@pytest.mark.parametrize("way", ["dense", "single"])
def test_samples_follow_matherons_rule(operator, kind, way):
    """x = xb + K (y - H xb - e), with xb and e the same white noise, coloured."""
    a = case(operator, kind)
    solver = a.solver(way)
    noise = random((2, *a.prior.noise_shape), seed=3).to(solver.prior.time.dtype)
    shocks = random((2, len(a.cells)), seed=4).to(noise.dtype)
    samples = solver.sample(a.y[0], noise, shocks)
    free = a.prior.colour(noise.double())
    left = a.y[0] - free.flatten(1) @ a.H.T - a.noise.sqrt() * shocks.double()
    torch.testing.assert_close(samples.double(), free + a.mean(left), rtol=0, atol=2e-4)


@EACH_OPERATOR
@WAYS
def test_an_element_does_not_depend_on_its_batch(operator, way):
    a = case(operator)
    y = torch.cat([a.y, 1e6 * a.y[:1], 0 * a.y[:1]])
    solver = a.solver(way)
    together = solver.mean(y)
    assert not together[3].any()
    for k, size in ((0, 1.0), (2, 1e6)):
        alone = solver.mean(y[[k]])[0]
        torch.testing.assert_close(alone / size, together[k] / size, rtol=0, atol=2e-5)


def test_block_means_of_the_analysis_are_within_the_noise_of_the_data():
    """H(x) = y to the noise: what downscaling promises."""
    a = case("other block means", share=1.0)
    mean = a.solver("single").mean(a.y)
    misfit = mean.flatten(1) @ a.H.T - a.y
    assert (misfit.square() / a.noise).mean().sqrt() < 1


def test_mean_through_an_operator_can_be_differentiated():
    a = case("elongated blur", share=0.1)
    y = a.y[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(a.solver("dense").mean(y)[0, 1, 2, 3], y)
    row = a.gain[1 * 56 + 2 * 8 + 3]
    torch.testing.assert_close(gradient[0], row, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("identity", Seen),
        ("gaussian blur", SeenAxes),
        ("elongated blur", SeenGrid),
        ("other block means", SeenAxes),
        ("two block means", SeenAxes),
        ("blur, then block means", SeenAxes),
        ("block means of sea", SeenGrid),
        ("coarsen", SeenGrid),
    ],
)
def test_separable_operators_are_recognised(operator, expected):
    assert type(case(operator).solver("single")._seen) is expected
    assert type(case(operator, "circulant").solver("single")._seen) in (Seen, SeenGrid)


@pytest.mark.parametrize("periodic", [None, (False, True), (True, True)])
@pytest.mark.parametrize("sides", [(3, 5), (1, 7), (9, 3)])
def test_a_blur_by_an_outer_product_is_two_matrices(periodic, sides):
    kernel = torch.outer(random((sides[0],)), random((sides[1],), seed=1))
    blur = Blur(kernel, periodic=periodic)
    found = matrices(blur, (1, 9, 10))
    assert found is not None
    x = random((2, 1, 9, 10), seed=2)
    expected = blur(x)
    torch.testing.assert_close(found[0] @ x @ found[1].T, expected, rtol=0, atol=1e-10)


def test_an_operator_may_be_in_another_precision():
    a = case("other block means")
    for operator in (deepcopy(a.operator).float(), a.operator):
        for prior in (a.prior, deepcopy(a.prior).float()):
            solver = GaussianPosterior(prior, a.cells, a.noise, operator=operator)
            mean = solver.mean(a.y)
            assert (mean - a.mean(a.y)).abs().max() < 1e-3
            assert operator is not solver._seen


def test_an_operator_that_does_not_fit_is_an_error():
    prior = case("identity").prior
    cells, noise = torch.zeros(1, 3, dtype=torch.long), torch.ones(1)
    with pytest.raises(OptionError, match="Trajectory is not linear"):
        GaussianPosterior(prior, cells, noise, operator=Trajectory(Lorenz63(), 0.1, 2))
    wrong = Separable(block_means(7, 3), block_means(9, 3))
    with pytest.raises(OptionError, match="along_x has 9 columns: expected 8"):
        GaussianPosterior(prior, cells, noise, operator=wrong)


# Several variables ----------------------------------------------------------------------

# Three days of the first variable, two of the second.
DAYS = torch.tensor([0.0, 1.0, 2.0, 0.0, 2.0], dtype=torch.float64)
SERIES = torch.tensor([0, 0, 0, 1, 1])


def coupled(kind: str, correlation: float, variance: float = 1.5) -> GaussianPrior:
    cls, keywords = PRIORS[kind]
    _, y, x = axes((1, 6, 7))
    coupling = torch.tensor([[1.0, correlation], [correlation, 1.0]], dtype=torch.float64)
    return cls(
        DAYS,
        y,
        x,
        length_scale=30.0,
        time_scale=1.5,
        variance=variance,
        series=SERIES,
        coupling=coupling,
        **keywords,
    )


CORRELATIONS = pytest.mark.parametrize("correlation", [0.6, -0.6, 1.0, 0.0])


@EACH_PRIOR
@CORRELATIONS
@pytest.mark.parametrize("operator", ["identity", "blur"])
@WAYS
def test_two_variables_equal_the_joint_gaussian(kind, correlation, operator, way, monkeypatch):
    """Other cells and another noise of each; mean, error and sample."""
    prior = coupled(kind, correlation)
    a = make(prior, Blur(elongated()) if operator == "blur" else None, share=0.4)
    second = prior.series[a.cells[:, 0]] == 1
    a.noise[second] *= 5
    solver = a.solver(way)
    bound = 1e-4 * prior.variance**0.5
    assert (solver.mean(a.y) - a.mean(a.y)).abs().max() < bound
    torch.testing.assert_close(solver.error(WHOLE), a.error, rtol=1.1e-3, atol=1e-6)
    noise = random((1, *prior.noise_shape), seed=3).to(solver.prior.time.dtype)
    shocks = random((1, len(a.cells)), seed=4).to(noise.dtype)
    free = prior.colour(noise.double())
    left = a.y[0] - free.flatten(1) @ a.H.T - a.noise.sqrt() * shocks.double()
    sample = solver.sample(a.y[0], noise, shocks).double()
    torch.testing.assert_close(sample, free + a.mean(left), rtol=0, atol=2e-4)
    if operator == "identity":
        monkeypatch.setattr(module, "WHOLE_LIMIT", 0)
        raised = a.solver(way).error(WHOLE) - a.error
        assert raised.min() > -1e-9
        assert raised.max() < 1e-3 * prior.variance**0.5


@EACH_PRIOR
def test_one_variable_informs_the_other_as_far_as_they_are_coupled(kind):
    """With the first alone observed, without noise, the second's error is sqrt(1 - r^2)."""
    found = []
    for correlation in (0.0, 0.6, 1.0):
        prior = coupled(kind, correlation, variance=1.0)
        cells = torch.tensor([[0, 3, 3]])
        solver = GaussianPosterior(prior, cells, torch.tensor([1e-10]))
        found.append(float(solver.error(WHOLE)[3, 3, 3]))
    assert found == pytest.approx([1.0, 0.8, 0.0], abs=1e-4)


@EACH_PRIOR
def test_observations_of_a_variable_that_is_not_coupled_are_left_out(kind, monkeypatch):
    monkeypatch.setattr(module, "WHOLE_LIMIT", 0)
    for correlation, others in ((0.0, False), (0.6, True)):
        a = make(coupled(kind, correlation), None, share=0.9)
        near = a.solver("single")._near(tuple(torch.tensor([2]) for _ in range(3)))
        assert bool((SERIES[a.cells[near, 0]] == 1).any()) is others
