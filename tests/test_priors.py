"""Every prior: its gradient, its proximal operator, its place in a batch."""

from __future__ import annotations

import pytest
import torch
from prior_cases import CASES, EACH, EXACTLY, QUADRATIC, STRENGTHS, inner, sharp, two_scale
from tensors import BOTH, random
from torch import Tensor

from xinverse.priors import TotalVariation

# Every prior --------------------------------------------------------------------------


@EACH
@BOTH
def test_cost_is_one_number_a_state_and_not_below_zero(name, dtype):
    case = CASES[name](dtype)
    cost = case.prior.cost(random((4, *case.shape), dtype))
    assert cost.shape == (4,)
    assert cost.dtype == dtype
    assert (cost >= 0).all()


@EACH
@BOTH
def test_gradient_is_that_of_the_cost(name, dtype):
    case = CASES[name](dtype)
    x = random((4, *case.shape), dtype).requires_grad_()
    (expected,) = torch.autograd.grad(case.prior.cost(x).sum(), x)
    gradient = case.prior.gradient(x)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


@EACH
def test_cost_and_gradient_can_be_differentiated(name):
    """By finite differences: the cost twice, the gradient once more."""
    case = CASES[name](torch.float64)
    x = random((1, *case.shape)).requires_grad_()
    # Of a quadratic cost the differences are exact however long the step.
    eps = 1e-1 if isinstance(case.prior, QUADRATIC) else 1e-6
    close = {"eps": eps, "atol": 1e-4, "rtol": 1e-4}
    assert torch.autograd.gradcheck(case.prior.cost, (x,), **close)
    directions = random((2, 1, *case.shape), seed=1)

    def slope(step: Tensor) -> Tensor:
        state = x.detach() + torch.einsum("k,k...->...", step, directions)
        return case.prior.gradient(state, create_graph=True).flatten()

    step = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(slope, (step,), **close)
    assert torch.autograd.gradgradcheck(
        lambda s: case.prior.cost(x.detach() + torch.einsum("k,k...->...", s, directions)),
        (step,),
        **close,
    )


@EACH
def test_a_graph_is_kept_only_where_it_is_asked_for(name):
    case = CASES[name](torch.float64)
    x = random((2, *case.shape))
    assert not case.prior.gradient(x).requires_grad
    with torch.no_grad():
        assert not case.prior.gradient(x).requires_grad
    case.prior.gradient(x, create_graph=True)
    assert not x.requires_grad  # the caller's state is as it was
    assert case.prior.gradient(x.requires_grad_(), create_graph=True).requires_grad


@EACH
@BOTH
def test_an_element_does_not_depend_on_its_batch(name, dtype):
    case = CASES[name](dtype)
    # Elements of unlike size: one may not set the precision of another.
    sizes = torch.logspace(-2, 2, 5, dtype=dtype).reshape(-1, *[1] * len(case.shape))
    x = random((5, *case.shape), dtype) * sizes
    cost, gradient = case.prior.cost(x), case.prior.gradient(x)
    # Convolutions sum in an order that depends on the size of the batch.
    near = 5e-6 if dtype == torch.float32 else 1e-6
    for k in range(len(x)):
        torch.testing.assert_close(case.prior.cost(x[[k]]), cost[[k]], rtol=near, atol=1e-6)
        alone = case.prior.gradient(x[[k]])
        scale = gradient[k].abs().max()
        torch.testing.assert_close(alone / scale, gradient[[k]] / scale, rtol=0, atol=near)


@EACH
def test_single_and_double_precision_agree(name):
    low, high = CASES[name](torch.float32), CASES[name](torch.float64)
    x = random((2, *high.shape))
    low.prior.load_state_dict(high.prior.state_dict())
    torch.testing.assert_close(
        low.prior.cost(x.float()).double(), high.prior.cost(x), rtol=1e-4, atol=1e-4
    )


# Every prior with a proximal operator -------------------------------------------------

WITH_PROX = [name for name, case in CASES.items() if case(torch.float64).prior.has_prox]
EACH_PROX = pytest.mark.parametrize("name", WITH_PROX)
# Total variation has corners: tests of its own prove that its prox is optimal.
EACH_SMOOTH_PROX = pytest.mark.parametrize(
    "name", [name for name in WITH_PROX if not name.startswith("total-variation")]
)


def test_these_have_a_prox():
    assert {"tikhonov", "total-variation", "eof", "white"} <= set(WITH_PROX)
    with pytest.raises(NotImplementedError, match="TwoScale has no proximal operator"):
        two_scale(torch.float32).prior.prox(torch.zeros(1, 3, 8, 8), 1.0)


@EACH_SMOOTH_PROX
def test_prox_of_a_smooth_prior_is_where_its_gradient_vanishes(name):
    """z - x + tau grad U(z) = 0, each element with a strength of its own."""
    case = CASES[name](torch.float64)
    x = random((4, *case.shape))
    z = case.prior.prox(x, STRENGTHS)
    strength = STRENGTHS.reshape(-1, *[1] * len(case.shape))
    torch.testing.assert_close(z + strength * case.prior.gradient(z), x, rtol=0, atol=1e-8)


@EACH_PROX
def test_no_state_near_the_prox_has_a_lower_objective(name):
    case = CASES[name](torch.float64)
    x = random((4, *case.shape))
    z = case.prior.prox(x, STRENGTHS)
    cost = sharp(case.prior) if isinstance(case.prior, TotalVariation) else case.prior.cost

    def objective(state: Tensor) -> Tensor:
        return inner(state - x, state - x) / 2 + STRENGTHS * cost(state)

    least = objective(z)
    assert (least < objective(x)).all()
    for k, size in enumerate(torch.logspace(-6, 1, 40, dtype=torch.float64)):
        assert (objective(z + size * random(x.shape, seed=k)) >= least - 1e-9).all()


@EACH_PROX
def test_prox_is_firmly_non_expansive(name):
    """Of a convex cost: |P x - P y|^2 <= <P x - P y, x - y>."""
    case = CASES[name](torch.float64)
    x = random((4, *case.shape))
    for y in (random(x.shape, seed=1), x + 1e-3 * random(x.shape, seed=2), 30 * x, -x):
        moved = case.prior.prox(x, STRENGTHS) - case.prior.prox(y, STRENGTHS)
        slack = 1e-6 * (1 + inner(x - y, x - y))
        assert (inner(moved, moved) <= inner(moved, x - y) + slack).all()


@EACH_PROX
@BOTH
def test_prox_of_an_element_does_not_depend_on_its_batch(name, dtype):
    case = CASES[name](dtype)
    sizes = torch.logspace(-1, 2, 4, dtype=dtype).reshape(-1, *[1] * len(case.shape))
    x = random((4, *case.shape), dtype) * sizes
    together = case.prior.prox(x, STRENGTHS.to(dtype))
    assert together.dtype == dtype
    for k, strength in enumerate(STRENGTHS.tolist()):
        alone = case.prior.prox(x[[k]], strength)
        scale = x[k].abs().max()
        torch.testing.assert_close(alone / scale, together[[k]] / scale, rtol=0, atol=1e-6)
    double = case.prior.double().prox(x.double(), STRENGTHS)
    torch.testing.assert_close(
        together.double() / sizes, double / sizes, rtol=0, atol=1e-8 + 2 * EXACTLY[dtype]
    )


@EACH_PROX
def test_a_weak_prox_changes_nothing(name):
    case = CASES[name](torch.float64)
    x = random((2, *case.shape))
    torch.testing.assert_close(case.prior.prox(x, 0.0), x, rtol=0, atol=1e-12)
    torch.testing.assert_close(case.prior.prox(x, 1e-9), x, rtol=0, atol=1e-7)


@EACH_PROX
def test_prox_can_be_differentiated(name):
    """With respect to the state and to the strength, once, and twice where it is smooth."""
    case = CASES[name](torch.float64)
    if isinstance(case.prior, TotalVariation):
        case.prior.iterations, case.prior.tolerance = 60, 0.0  # a function of as many steps
    x = random((2, *case.shape)).requires_grad_()
    strength = torch.tensor([0.4, 1.5], dtype=torch.float64, requires_grad=True)
    close = {"atol": 1e-5, "rtol": 1e-4, "fast_mode": True}
    assert torch.autograd.gradcheck(case.prior.prox, (x, strength), **close)
    if not isinstance(case.prior, TotalVariation):
        assert torch.autograd.gradgradcheck(case.prior.prox, (x, strength), **close)
    shared = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(case.prior.prox, (x, shared), **close)
