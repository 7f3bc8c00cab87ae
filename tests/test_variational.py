"""The variational cost: its value, its gradient, and that OI is its minimiser."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch
from tensors import BOTH, FLOATS, random, rounding
from torch import Tensor

from xinverse.learning.networks.reference import MeanCost
from xinverse.operators import Mask, Operator
from xinverse.priors import CirculantGaussian, GaussianPrior, KroneckerGaussian, Prior, White
from xinverse.priors.two_scale import TwoScale
from xinverse.solvers import GaussianPosterior
from xinverse.variational import CostGradient, Inversion, VariationalCost


class Ridge(Prior):
    """U(x) = |x|^2 of each state."""

    def cost(self, x: Tensor) -> Tensor:
        return x.square().flatten(1).sum(1)


class Product(Operator):
    """An operator that is not linear, to differentiate at the state."""

    linear = False

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 1:] * x[:, :-1]


def two_scale(dtype: torch.dtype = torch.float64) -> TwoScale:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return TwoScale(2, 3).to(dtype)


def masked(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Mask]:
    operator = Mask(random(shape, seed=8) > 0)
    return operator(random(shape, dtype, 9)), operator


# Value and gradient --------------------------------------------------------------------


def test_the_cost_is_the_sum_of_its_two_halves():
    """Worked out by hand: 3 (1 - 2)^2 + 0.5 (2^2 + 4^2), no misfit where nothing was seen."""
    cost = VariationalCost(Ridge(), 3.0, 0.5).double()
    operator = Mask(torch.tensor([True, False]))
    x, y = torch.tensor([[2.0, 4.0]]).double(), torch.tensor([[1.0, 0.0]]).double()
    assert cost(x, y, operator).item() == pytest.approx(13.0, rel=1e-6)
    gradient = cost.gradient(x, y, operator)
    assert isinstance(gradient, CostGradient)
    assert gradient.observation.tolist() == [pytest.approx([6.0, 0.0], rel=1e-6)]
    assert gradient.prior.tolist() == [pytest.approx([2.0, 4.0], rel=1e-6)]
    torch.testing.assert_close(gradient.total, gradient.observation + gradient.prior)


@pytest.mark.parametrize("learned", [False, True])
def test_weights_are_kept_as_logarithms(learned):
    """Exact where they are given, in the networks' precision where they are learned."""
    cost = VariationalCost(Ridge(), 4.0, 0.25, learned=learned)
    precision = torch.float32 if learned else torch.float64
    torch.testing.assert_close(
        cost.log_weights.exp(), torch.tensor([4.0, 0.25], dtype=precision)
    )
    assert cost.log_weights.requires_grad is learned
    assert "log_weights" in cost.state_dict()


@pytest.mark.parametrize(
    ("prior", "shape"),
    [("ridge", (5,)), ("two-scale", (2, 6, 7)), ("kronecker", (2, 3, 4))],
)
@BOTH
def test_the_gradient_is_that_of_the_cost(prior, shape, dtype):
    axes = [torch.arange(n, dtype=dtype) for n in (2, 3, 4)]
    chosen = {
        "ridge": Ridge(),
        "two-scale": two_scale(dtype),
        "kronecker": KroneckerGaussian(*axes, length_scale=1.0, time_scale=1.0, nugget=1e-2),
    }[prior]
    cost = VariationalCost(chosen, 3.0, 0.5).to(dtype)
    x = random((4, *shape), dtype).requires_grad_()
    y, operator = masked((4, *shape), dtype)
    (expected,) = torch.autograd.grad(cost(x, y, operator).sum(), x)
    for create_graph in (False, True):
        total = cost.gradient(x, y, operator, create_graph=create_graph).total
        assert total.dtype == dtype
        torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_of_an_operator_that_is_not_linear():
    cost = VariationalCost(Ridge(), 2.0, 0.1).double()
    x, y = random((3, 6)).requires_grad_(), random((3, 5), seed=1)
    (expected,) = torch.autograd.grad(cost(x, y, Product()).sum(), x)
    with torch.no_grad():
        torch.testing.assert_close(cost.gradient(x, y, Product()).total, expected)


def test_cost_and_gradient_of_any_rank():
    """A time series of a Lorenz model is a state as a map is."""
    cost = VariationalCost(Ridge())
    for shape in ((7,), (3, 40), (2, 3, 4, 5)):
        y, operator = masked((2, *shape), torch.float32)
        x = random((2, *shape), torch.float32)
        assert cost(x, y, operator).shape == (2,)
        assert cost.gradient(x, y, operator).total.shape == x.shape


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_an_element_does_not_depend_on_its_batch(dtype):
    cost = VariationalCost(two_scale(dtype)).to(dtype)
    x = random((5, 2, 6, 7), dtype)
    y, operator = masked((5, 2, 6, 7), dtype)
    value, gradient = cost(x, y, operator), cost.gradient(x, y, operator).total
    for k in range(5):
        own = Mask(operator.observed[[k]])
        alone = cost(x[[k]], y[[k]], own)[0]
        torch.testing.assert_close(alone, value[k], rtol=0, atol=rounding(value[k]))
        alone = cost.gradient(x[[k]], y[[k]], own).total
        torch.testing.assert_close(alone[0], gradient[k], rtol=0, atol=rounding(gradient[k]))


def test_the_gradient_does_not_depend_on_the_size_of_the_tile():
    """It is that of a sum, not of a mean: a cell knows what is near it, and nothing else."""
    cost = VariationalCost(two_scale()).double()
    x = random((1, 2, 60, 56))
    y, operator = masked((1, 2, 60, 56))
    whole = cost.gradient(x, y, operator).total
    cut, inside = (..., slice(4, 52), slice(2, 50)), (..., slice(18, -18), slice(18, -18))
    small = cost.gradient(x[cut], y[cut], Mask(operator.observed[cut])).total
    torch.testing.assert_close(whole[cut][inside], small[inside], rtol=0, atol=1e-9)


def test_nan_where_nothing_was_observed_does_not_reach_the_misfit():
    """A state may be torn where a prior does not look; the observation half never sees it."""
    cost = VariationalCost(Ridge())
    y, operator = masked((2, 9), torch.float32)
    x = random((2, 9), torch.float32)
    torn = torch.where(operator.observed, x, torch.nan)
    torch.testing.assert_close(
        cost.gradient(torn, y, operator).observation, cost.gradient(x, y, operator).observation
    )


# Graphs --------------------------------------------------------------------------------


def test_no_second_order_graph_is_kept_unless_asked_for():
    cost = VariationalCost(two_scale(), learned=True).double()
    x, (y, operator) = random((2, 2, 6, 7)), masked((2, 2, 6, 7))
    with torch.no_grad():
        gradient = cost.gradient(x, y, operator)
    assert not gradient.total.requires_grad
    assert cost.gradient(x, y, operator, create_graph=True).prior.requires_grad
    assert not x.requires_grad


def test_the_gradient_can_be_differentiated_to_learn_prior_and_weights():
    cost = VariationalCost(two_scale(), 2.0, 0.5, learned=True).double()
    x, (y, operator) = random((1, 2, 4, 4)), masked((1, 2, 4, 4))
    total = cost.gradient(x, y, operator, create_graph=True).total
    total.square().sum().backward()
    for name, parameter in cost.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


# Optimal interpolation is 4DVar with a Gaussian prior ------------------------------------


def problem(kind: str) -> tuple[GaussianPrior, Tensor, Tensor, float, Tensor]:
    """A prior, observations of one of its fields at a third of the cells, dense matrices."""
    axes = [torch.arange(n, dtype=torch.float64) for n in (3, 5, 6)]
    scales = {"length_scale": 1.5, "time_scale": 1.5, "variance": 2.0}
    prior = (
        KroneckerGaussian(*axes, **scales, temporal="exponential", nugget=0.01)
        if kind == "kronecker"
        else CirculantGaussian(
            *axes, **scales, space="matern12", temporal="exponential", nugget=1e-9
        )
    )
    cells = torch.cartesian_prod(*(torch.arange(n) for n in prior.shape))
    B = prior.between(cells, cells) + prior.nugget * prior.variance * torch.eye(len(cells))
    observed = (random((len(cells),), seed=4) > 0.5).reshape(1, *prior.shape)
    truth = torch.linalg.cholesky(B) @ random((len(cells),), seed=5)
    noise = 0.3
    y = truth + noise * random((len(cells),), seed=6)
    return prior, Mask(observed)(y.reshape(1, *prior.shape)), observed, noise, B


def dense_mean(B: Tensor, y: Tensor, observed: Tensor, noise: float) -> Tensor:
    at = observed.flatten()
    matrix = B[at][:, at] + noise**2 * torch.eye(int(at.sum()))
    return (B[:, at] @ torch.linalg.solve(matrix, y.flatten()[at])).reshape(y.shape)


@pytest.mark.parametrize("kind", ["kronecker", "circulant"])
def test_the_minimiser_of_the_cost_is_the_posterior_mean(kind):
    """By L-BFGS on |y - Hx|^2 / R + U(x), and in closed form in the space of observations."""
    prior, y, observed, noise, B = problem(kind)
    cost = VariationalCost(prior, noise**-2, 1.0).double()
    operator = Mask(observed)
    state = torch.zeros_like(y, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [state],
        max_iter=400,
        history_size=40,
        tolerance_grad=1e-9,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = cost(state, y, operator).sum()
        value.backward()
        return value

    optimiser.step(closure)
    expected = dense_mean(B, y, observed, noise)
    std = prior.variance**0.5
    assert (state.detach() - expected).abs().max() < 1e-4 * std
    # The gradient that solvers are fed with vanishes there.
    at_minimum = cost.gradient(expected, y, operator)
    assert at_minimum.total.abs().max() < 1e-4 * at_minimum.prior.abs().max()


def test_gradient_descent_and_the_gaussian_posterior_meet():
    """Descent with the analytic gradient, against the solver of method="oi"."""
    prior, y, observed, noise, _ = problem("circulant")
    cost = VariationalCost(prior, noise**-2, 1.0).double()
    operator, state = Mask(observed), torch.zeros_like(y)
    speed = torch.zeros_like(y)
    for _ in range(400):
        speed = 0.9 * speed - 0.01 * cost.gradient(state, y, operator).total
        state = state + speed
    cells = observed[0].nonzero()
    solver = GaussianPosterior(prior, cells, torch.full((len(cells),), noise**2).double())
    mean = solver.mean(y[0][observed[0]][None])
    assert (state - mean).abs().max() < 1e-4 * prior.variance**0.5


def test_the_inverse_hessian_of_the_cost_is_the_error_covariance():
    prior, y, observed, noise, B = problem("circulant")
    at = observed.flatten().double()
    hessian = torch.diag(at / noise**2) + torch.linalg.inv(B)
    cells = observed[0].nonzero()
    solver = GaussianPosterior(prior, cells, torch.full((len(cells),), noise**2).double())
    error = solver.error([slice(None)] * 3)
    expected = torch.linalg.inv(hessian).diagonal().sqrt().reshape(prior.shape)
    torch.testing.assert_close(error, expected, rtol=1e-5, atol=0)
    # Half the curvature that the cost itself has along a direction.
    cost = VariationalCost(prior, noise**-2, 1.0).double()
    d = random(tuple(y.shape))
    slopes = [cost.gradient(s * d, y, Mask(observed)).total for s in (0.0, 1.0)]
    torch.testing.assert_close(
        ((slopes[1] - slopes[0]) * d).sum() / 2,
        d.flatten() @ hessian @ d.flatten(),
        rtol=1e-5,
        atol=0,
    )


# The inverse problem that solvers take -------------------------------------------------


def test_an_inversion_is_its_cost_at_its_observations():
    cost = VariationalCost(Ridge(), 3.0, 0.5).double()
    x, (y, operator) = random((2, 5)), masked((2, 5))
    inversion = Inversion(cost, y, operator)
    torch.testing.assert_close(inversion.value(x), cost(x, y, operator), rtol=0, atol=0)
    expected = cost.gradient(x, y, operator)
    for half, same in zip(inversion.gradient(x), expected, strict=True):
        torch.testing.assert_close(half, same, rtol=0, atol=0)
    other = inversion.replace(y=2 * y)
    torch.testing.assert_close(other.value(x), cost(x, 2 * y, operator), rtol=0, atol=0)
    torch.testing.assert_close(inversion.at_sea(x), x, rtol=0, atol=0)
    sea = torch.tensor([True, False, True, True, False])
    torch.testing.assert_close(inversion.replace(sea=sea).at_sea(x), x * sea, rtol=0, atol=0)
    with pytest.raises(FrozenInstanceError):
        inversion.y = x


@pytest.mark.parametrize("kind", [VariationalCost, MeanCost])
def test_the_prox_of_an_inversion_counts_the_weight_of_the_prior(kind):
    """Where it is, the gradient of |z - x|^2 / 2 plus tau times the prior's term is zero."""
    y, operator = masked((3, 5))
    inversion = Inversion(kind(White(), 3.0, 0.5).double(), y, operator)
    x, tau = random((3, 5)), torch.tensor([0.1, 1.0, 7.0], dtype=torch.float64)
    z = inversion.prox(x, tau)
    slope = z - x + tau[:, None] * inversion.gradient(z).prior
    torch.testing.assert_close(slope, torch.zeros_like(z), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="Ridge has no proximal operator: use a prior"):
        Inversion(VariationalCost(Ridge()), y, operator).prox(x, 1.0)
