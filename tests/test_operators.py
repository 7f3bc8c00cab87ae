"""Observation operators: each has the adjoint that it says it has.

The table of cases holds one per registered name (a test of the registries says so) and
two that live here only, a blur and a square, which have no adjoint but the one that every
operator has from automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from xinverse.operators import Mask, Operator

FLOATS = [torch.float32, torch.float64]
PRECISION = {torch.float32: 1e-5, torch.float64: 1e-12}


@dataclass
class OperatorCase:
    """An operator, the shape of the states that it observes, and where it sees nothing."""

    operator: Operator
    shape: tuple[int, ...]
    unseen: Tensor


class Blur(Operator):
    """A linear operator that leaves its adjoint to automatic differentiation."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.tensor([[1.0, 2.0, 0.5]], dtype=dtype)[None])

    kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv1d(x[:, None], self.kernel, stride=2)[:, 0]


class Square(Operator):
    """An operator that is not linear."""

    linear = False

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 1:] * x[:, :-1]


def mask(dtype: torch.dtype) -> OperatorCase:
    shape = (3, 4, 5)
    observed = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.4
    return OperatorCase(Mask(observed), shape, ~observed)


OPERATOR_CASES: dict[str, Callable[[torch.dtype], OperatorCase]] = {"mask": mask}
HERE_ONLY = {
    "blur": lambda dtype: OperatorCase(Blur(dtype), (9,), torch.zeros(9, dtype=torch.bool)),
    "square": lambda dtype: OperatorCase(Square(), (7,), torch.zeros(7, dtype=torch.bool)),
}

EACH = pytest.mark.parametrize("name", [*OPERATOR_CASES, *HERE_ONLY])
BOTH = pytest.mark.parametrize("dtype", FLOATS, ids=str)


def build(name: str, dtype: torch.dtype = torch.float64) -> OperatorCase:
    return (OPERATOR_CASES | HERE_ONLY)[name](dtype)


def random(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


@EACH
@BOTH
def test_dot_product_of_operator_and_adjoint(name, dtype):
    """<H' dx, y> = <dx, H'^T y>, where H' is H itself for a linear operator."""
    case = build(name, dtype)
    x, dx = random((4, *case.shape), dtype), random((4, *case.shape), dtype, seed=1)
    hx, moved = torch.autograd.functional.jvp(case.operator, x, dx)
    if case.operator.linear:
        torch.testing.assert_close(moved, case.operator(dx))
    y = random(tuple(hx.shape), dtype, seed=2)
    left, right = inner(moved, y), inner(dx, case.operator.adjoint(y, x))
    assert ((left - right).abs() / torch.maximum(left.abs(), right.abs())).max() < PRECISION[
        dtype
    ]


@EACH
@BOTH
def test_adjoint_is_the_one_of_automatic_differentiation(name, dtype):
    case = build(name, dtype)
    x = random((4, *case.shape), dtype)
    hx = case.operator(x)
    y = random(tuple(hx.shape), dtype, seed=1)
    adjoint = case.operator.adjoint(y, x)
    assert adjoint.shape == x.shape
    assert adjoint.dtype == dtype
    expected = torch.autograd.functional.vjp(case.operator, x, y)[1]
    torch.testing.assert_close(adjoint, expected)


@EACH
def test_operator_and_adjoint_can_be_differentiated_twice(name):
    case = build(name)
    x = random((2, *case.shape), torch.float64).requires_grad_()
    y = random(tuple(case.operator(x).shape), torch.float64, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(case.operator, (x,))
    assert torch.autograd.gradgradcheck(case.operator, (x,))
    assert torch.autograd.gradcheck(case.operator.adjoint, (y, x))
    assert torch.autograd.gradgradcheck(case.operator.adjoint, (y, x))


@EACH
def test_the_adjoint_keeps_no_graph_where_none_is_wanted(name):
    case = build(name)
    x = random((2, *case.shape), torch.float64)
    y = random(tuple(case.operator(x).shape), torch.float64, seed=1)
    with torch.no_grad():
        assert not case.operator.adjoint(y, x).requires_grad
    assert not x.requires_grad  # the caller's state is as it was


@EACH
def test_nan_where_nothing_is_seen_does_not_spread(name):
    case = build(name)
    clean = random((3, *case.shape), torch.float64)
    torn = torch.where(case.unseen, torch.nan, clean).requires_grad_()
    hx = case.operator(torn)
    torch.testing.assert_close(hx, case.operator(clean), rtol=0, atol=0)
    hx.square().sum().backward()
    assert torch.isfinite(torn.grad).all()
    assert not torn.grad[:, case.unseen].any()
    assert torch.isfinite(case.operator.adjoint(hx.detach(), torn.detach())).all()


@EACH
@BOTH
def test_an_element_does_not_depend_on_its_batch(name, dtype):
    case = build(name, dtype)
    x = random((5, *case.shape), dtype)
    hx = case.operator(x)
    y = random(tuple(hx.shape), dtype, seed=1)
    adjoint = case.operator.adjoint(y, x)
    for k in range(len(x)):
        torch.testing.assert_close(case.operator(x[[k]]), hx[[k]], rtol=0, atol=1e-6)
        alone = case.operator.adjoint(y[[k]], x[[k]])
        torch.testing.assert_close(alone, adjoint[[k]], rtol=0, atol=1e-6)


@EACH
def test_linear_means_linear(name):
    case = build(name)
    a, b = (random((2, *case.shape), torch.float64, seed) for seed in (0, 1))
    together = case.operator(2 * a - 3 * b)
    apart = 2 * case.operator(a) - 3 * case.operator(b)
    assert torch.allclose(together, apart) == case.operator.linear


def test_a_mask_may_be_a_map_under_all_times():
    sea = torch.tensor([[True, False], [False, True]])
    x = random((3, 4, 2, 2), torch.float32)
    seen = Mask(sea)(x)
    torch.testing.assert_close(seen, x * sea, rtol=0, atol=0)


def test_a_mask_applied_twice_is_applied_once():
    operator = build("mask").operator
    x = random((2, 3, 4, 5), torch.float64)
    torch.testing.assert_close(operator(operator(x)), operator(x), rtol=0, atol=0)


def test_a_mask_drops_infinity_as_it_drops_nan():
    operator = Mask(torch.tensor([True, False, False]))
    x = torch.tensor([[1.0, torch.inf, torch.nan]])
    assert operator(x).tolist() == [[1.0, 0.0, 0.0]]
