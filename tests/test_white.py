"""The prior of control variables: that of standard normal numbers, and its closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from tensors import random

from xinverse.operators import Matrix
from xinverse.priors import PRIORS
from xinverse.priors.white import White
from xinverse.solvers.lbfgs import LBFGS
from xinverse.variational import Inversion, VariationalCost

FLOATS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
SHAPES = pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4)])


def test_its_name_stands_for_it():
    assert PRIORS["white"] is White


@SHAPES
def test_the_cost_is_the_density_of_standard_normal_numbers(shape):
    """Minus twice its logarithm, up to a constant."""
    v = random((5, *shape))
    density = torch.distributions.Normal(0.0, 1.0).log_prob(v).flatten(1).sum(1)
    constant = math.prod(shape) * math.log(2 * math.pi)
    torch.testing.assert_close(White().cost(v), -2 * density - constant)


@SHAPES
@FLOATS
def test_the_gradient_is_that_of_the_cost(shape, dtype):
    v = random((3, *shape)).to(dtype)
    cost, gradient = White().cost_and_gradient(v)
    assert cost.dtype == gradient.dtype == dtype
    torch.testing.assert_close(cost, White().cost(v))
    torch.testing.assert_close(gradient, torch.func.grad(lambda x: White().cost(x).sum())(v))


def test_a_graph_is_kept_where_it_is_wanted():
    v = random((2, 4)).requires_grad_()
    cost, gradient = White().cost_and_gradient(v)
    assert not cost.requires_grad
    assert not gradient.requires_grad
    cost, gradient = White().cost_and_gradient(v, create_graph=True)
    (slope,) = torch.autograd.grad(gradient.square().sum() + cost.sum(), v)
    torch.testing.assert_close(slope, 10 * v.detach())


@FLOATS
def test_the_prox_is_where_it_says(dtype):
    """z - v + tau grad U(z) = 0, with a strength for all or one for each."""
    v = random((3, 2, 4)).to(dtype)
    for strength in (0.3, torch.tensor([0.1, 1.0, 10.0])):
        z = White().prox(v, strength)
        tau = torch.as_tensor(strength, dtype=dtype).reshape(-1, 1, 1)
        assert z.dtype == dtype
        left = z - v + tau * White().gradient(z)
        torch.testing.assert_close(left, torch.zeros_like(v), rtol=0, atol=1e-6)


def test_a_change_of_variables_never_inverts_the_covariance():
    """The least cost of white controls is the optimal interpolation of what they make."""
    root, observe, y = random((6, 6), seed=1), random((3, 6), seed=2), random((1, 3), seed=3)
    solution = LBFGS(200, tolerance=1e-12)(
        Inversion(VariationalCost(White()), y, Matrix(observe @ root)),
        torch.zeros(1, 6).double(),
    )
    covariance = root @ root.T
    inner = observe @ covariance @ observe.T + torch.eye(3)
    expected = covariance @ observe.T @ torch.linalg.solve(inner, y[0])
    torch.testing.assert_close(root @ solution.state[0], expected, rtol=0, atol=1e-8)
