"""Observation operators: each has the adjoint that it says it has.

The table of cases holds one per registered name (a test of the registries says so) and
some that live here only: a strided sum and a square, which have no adjoint but the one that
every operator has from automatic differentiation, and what is made of operators that are
not linear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal, stats
from tensors import BOTH, random, rounding
from torch import Tensor
from torch.nn import functional

from xinverse.dynamics import Advection, Lorenz63, Lorenz96
from xinverse.operators import (
    AreaMean,
    Blur,
    Coarsen,
    Composition,
    DrivenTrajectory,
    Mask,
    Matrix,
    NoiseWeighted,
    Operator,
    Separable,
    SpectralColour,
    Stack,
    TimeWindow,
    Trajectory,
    cell_area,
    gaussian_psf,
    inner,
    weighted_adjoint,
)
from xinverse.operators.area_mean import overlaps


@dataclass
class OperatorCase:
    """An operator, the shape of the states that it observes, and where it sees nothing."""

    operator: Operator
    shape: tuple[int, ...]
    unseen: Tensor


class Strided(Operator):
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


def seen_everywhere(operator: Operator, *shape: int) -> OperatorCase:
    return OperatorCase(operator, shape, torch.zeros(shape, dtype=torch.bool))


def mask(dtype: torch.dtype) -> OperatorCase:
    shape = (3, 4, 5)
    observed = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.4
    return OperatorCase(Mask(observed), shape, ~observed)


def blur(dtype: torch.dtype) -> OperatorCase:
    kernel = random((3, 5), dtype, seed=11)
    return seen_everywhere(Blur(kernel, periodic=(False, True)), 2, 3, 4)


def coarsen(dtype: torch.dtype) -> OperatorCase:
    area = random((6, 8), dtype, seed=12).abs() + 0.1
    area[1:3, 2:5] = 0
    area[3:, 6:] = 0  # a whole block of land
    return OperatorCase(Coarsen((3, 2), area), (2, 6, 8), (area == 0).expand(2, 6, 8))


def time_window(dtype: torch.dtype) -> OperatorCase:
    unseen = torch.zeros(8, 2, 3, dtype=torch.bool)
    unseen[7] = True
    weights = torch.tensor([0.2, 0.5, 0.4], dtype=dtype)
    return OperatorCase(TimeWindow(3, 2, weights), (8, 2, 3), unseen)


def matrix(dtype: torch.dtype) -> OperatorCase:
    return seen_everywhere(Matrix(random((5, 12), dtype, seed=13)), 3, 4)


def composition(dtype: torch.dtype) -> OperatorCase:
    observed = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1)) < 0.4
    return seen_everywhere(Mask(observed) @ blur(dtype).operator, 2, 3, 4)


def stack(dtype: torch.dtype) -> OperatorCase:
    parts = [Coarsen((3, 2)), TimeWindow(2), blur(dtype).operator]
    return seen_everywhere(Stack(parts), 2, 3, 4)


def noise_weighted(dtype: torch.dtype) -> OperatorCase:
    case = mask(dtype)
    noise = random(case.shape, dtype, seed=14).abs() + 0.1
    return OperatorCase(NoiseWeighted(case.operator, noise), case.shape, case.unseen)


def trajectory(dtype: torch.dtype) -> OperatorCase:
    model = Lorenz63(scheme="heun")
    operator = Trajectory(model, 0.04, 3, 2, parameters=("rho",), shape=(3,))
    return seen_everywhere(operator, 4)


def separable(dtype: torch.dtype) -> OperatorCase:
    along_y, along_x = random((2, 3), dtype, seed=15), random((5, 4), dtype, seed=16)
    return seen_everywhere(Separable(along_y, along_x), 2, 3, 4)


def area_mean(dtype: torch.dtype) -> OperatorCase:
    """Cells of 1.7 fine ones, one of them on land."""
    sea = torch.ones(6, 7, dtype=torch.bool)
    sea[:2, :2] = False
    sea[3, 4] = False
    along = [
        overlaps(np.arange(n) + 0.5, 1.7 * (np.arange(m) + 0.5)).to(dtype)
        for n, m in ((6, 3), (7, 4))
    ]
    unseen = ~sea
    unseen[5, :] |= along[0][:, 5].sum() == 0
    return OperatorCase(AreaMean(*along, sea), (2, 6, 7), unseen.expand(2, 6, 7))


def driven_trajectory(dtype: torch.dtype) -> OperatorCase:
    """A flow that is estimated with what it carries, and errs, along a short section."""
    grid = (1, 3), (15.0, 12.0)
    operator = DrivenTrajectory(
        Advection(*grid),
        SpectralColour(*grid, length_scale=10.0, deviation=0.8),
        0.5,
        3,
        memory=4.0,
        error_scale=0.7,
        parameters={"u": (0.1, 0.2)},
    )
    return seen_everywhere(operator.to(dtype), operator.size)


OPERATOR_CASES: dict[str, Callable[[torch.dtype], OperatorCase]] = {
    "mask": mask,
    "blur": blur,
    "coarsen": coarsen,
    "time-window": time_window,
    "matrix": matrix,
    "composition": composition,
    "stack": stack,
    "noise-weighted": noise_weighted,
    "trajectory": trajectory,
    "separable": separable,
    "area-mean": area_mean,
    "driven-trajectory": driven_trajectory,
}


def strong_constraint(dtype: torch.dtype) -> OperatorCase:
    """Two of three numbers of each state seen, over their noise, and the first mean."""
    path = Trajectory(Lorenz63(scheme="heun"), 0.04, 3)
    seen = Mask(torch.tensor([True, False, True])) @ path
    return seen_everywhere(Stack([NoiseWeighted(seen, 0.5), TimeWindow(2) @ path]), 3)


HERE_ONLY: dict[str, Callable[[torch.dtype], OperatorCase]] = {
    "strided": lambda dtype: seen_everywhere(Strided(dtype), 9),
    "square": lambda dtype: seen_everywhere(Square(), 7),
    "square-of-strided": lambda dtype: seen_everywhere(Square() @ Strided(dtype), 9),
    "strided-of-square": lambda dtype: seen_everywhere(Strided(dtype) @ Square(), 8),
    "strong-constraint": strong_constraint,
}

EACH = pytest.mark.parametrize("name", [*OPERATOR_CASES, *HERE_ONLY])


def build(name: str, dtype: torch.dtype = torch.float64) -> OperatorCase:
    return (OPERATOR_CASES | HERE_ONLY)[name](dtype)


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
    # Of the lengths and not of the product, which may happen to be small.
    lengths = moved.flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1)
    assert ((left - right).abs() / lengths).max() < 64 * torch.finfo(dtype).eps


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
        alone = case.operator(x[[k]])
        torch.testing.assert_close(alone, hx[[k]], rtol=0, atol=rounding(hx))
        alone = case.operator.adjoint(y[[k]], x[[k]])
        torch.testing.assert_close(alone, adjoint[[k]], rtol=0, atol=rounding(adjoint))


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


# Blur ----------------------------------------------------------------------------------


def kernel_and_cells(rank: int) -> st.SearchStrategy[tuple[tuple[int, ...], tuple[int, ...]]]:
    odd = st.sampled_from([1, 3, 5, 9])
    sides = st.tuples(*[odd] * rank)
    return st.tuples(sides, st.tuples(*[st.integers(1, 7)] * rank))


@given(
    st.integers(1, 3).flatmap(kernel_and_cells), st.lists(st.booleans(), min_size=3, max_size=3)
)
def test_blur_by_fft_is_blur_directly_is_the_convolution_of_scipy(shapes, wraps):
    """Also of a kernel that is larger than the field, and of one that is not symmetric."""
    sides, cells = shapes
    kernel, x = random(sides, torch.float64), random((2, 3, *cells), torch.float64, seed=1)
    periodic = wraps[: len(sides)]
    by_fft = Blur(kernel, periodic=periodic)(x)
    directly = Blur(kernel, method="direct", periodic=periodic)(x)
    torch.testing.assert_close(by_fft, directly, rtol=0, atol=1e-12)
    for element in np.ndindex(2, 3):
        around = x[element].numpy()
        for axis, (side, wrap) in enumerate(zip(sides, periodic, strict=True)):
            width = [(side // 2 if a == axis else 0,) * 2 for a in range(len(sides))]
            around = np.pad(around, width, mode="wrap" if wrap else "constant")
        expected = signal.convolve(around, kernel.numpy(), mode="valid")
        np.testing.assert_allclose(by_fft[element].numpy(), expected, rtol=0, atol=1e-12)


@BOTH
@pytest.mark.parametrize("method", ["fft", "direct"])
def test_a_blur_of_a_point_is_the_point_spread_function(method, dtype):
    kernel = random((3, 5), dtype)
    point = torch.zeros(1, 7, 9, dtype=dtype)
    point[0, 3, 4] = 1
    seen = Blur(kernel, method=method)(point)[0]
    torch.testing.assert_close(seen[2:5, 2:7], kernel, rtol=0, atol=1e-6)
    assert seen.abs().sum() == pytest.approx(float(kernel.abs().sum()), rel=1e-5)


@pytest.mark.parametrize("method", ["fft", "direct"])
@pytest.mark.parametrize("periodic", [None, (True, False)])
def test_the_adjoint_of_a_blur_whichever_way_it_is_computed(method, periodic):
    operator = Blur(random((5, 3), torch.float64), method=method, periodic=periodic)
    x, y = (random((2, 4, 5), torch.float64, seed) for seed in (1, 2))
    expected = torch.autograd.functional.vjp(operator, x, y)[1]
    torch.testing.assert_close(operator.adjoint(y, x), expected)


def test_a_periodic_blur_forgets_where_longitudes_begin():
    x = random((1, 6, 8), torch.float64)
    operator = Blur(random((3, 5), torch.float64), periodic=(False, True))
    torch.testing.assert_close(operator(x.roll(3, -1)), operator(x).roll(3, -1))


def test_gaussian_psf_has_the_scale_that_it_says():
    scales, spacing = (20.0, 60.0), (5.0, 10.0)
    kernel = gaussian_psf(scales, spacing, reach=6)
    assert kernel.shape == (2 * 24 + 1, 2 * 36 + 1)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-14)
    for axis, (scale, cell) in enumerate(zip(scales, spacing, strict=True)):
        marginal = kernel.sum(1 - axis)
        d = (torch.arange(len(marginal)) - len(marginal) // 2) * cell
        assert float((marginal * d).sum()) == pytest.approx(0, abs=1e-12)
        assert float((marginal * d**2).sum()) ** 0.5 == pytest.approx(scale, rel=1e-6)


def test_two_gaussian_blurs_are_one_that_is_wider():
    x = random((1, 40), torch.float64)
    psf = [gaussian_psf(s, (1.0,), reach=8) for s in (3.0, 4.0, 5.0)]
    twice = Blur(psf[0], periodic=[True]) @ Blur(psf[1], periodic=[True])
    torch.testing.assert_close(twice(x), Blur(psf[2], periodic=[True])(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Blur(torch.ones(3, 4)), r"\(3, 4\): expected an odd number"),
        (lambda: Blur(torch.ones(1, 1, 1, 1)), "expected 1, 2 or 3 axes"),
        (lambda: Blur(torch.tensor(1.0)), "expected 1, 2 or 3 axes"),
        (lambda: Blur(torch.ones(3), method="slow"), "method='slow': expected 'fft' or"),
        (lambda: Blur(torch.ones(3, 3), periodic=(True,)), "each of the kernel's 2 axes"),
        (lambda: Blur(torch.ones(3, 3))(torch.ones(4, 5)), "at least 2 axes after that of the"),
        (lambda: gaussian_psf(0.0), "expected positive numbers"),
        (lambda: gaussian_psf((1.0, 1.0, 1.0)), "3 scales for 2 spacings"),
        (lambda: Coarsen((0, 2)), r"factor=\(0, 2\): expected one cell at least"),
        (lambda: Coarsen((2, 2), torch.ones(5, 4)), "5 x 4 cells .* leave out 1 rows and 0"),
        (lambda: Coarsen((2, 2), torch.ones(5)), "5 x 2 cells .* leave out 1 rows"),
        (lambda: Coarsen((2, 2), torch.ones(1, 4, 4)), r"\(1, 4, 4\): expected \(ny, nx\)"),
        (lambda: Coarsen((1, 1), -torch.ones(2, 2)), "area of -1: expected zero on land"),
        (lambda: Coarsen((1, 1), torch.ones(2) / 0 * 0), "area of nan: expected zero on land"),
        (lambda: Coarsen((2, 3))(torch.ones(1, 4, 4)), "4 x 4 cells .* 0 rows and 1 columns"),
        (lambda: Coarsen((2, 2))(torch.ones(2, 4)), "expected two axes at least"),
        (
            lambda: Coarsen((2, 2), torch.ones(4, 4))(torch.ones(1, 4, 6)),
            "4 x 6 cells, an area of shape .* of the state's own grid",
        ),
        (lambda: cell_area(torch.tensor([40.0])), r"expected \(ny,\), two at least"),
        (lambda: cell_area(torch.tensor([0.0, 2.0, 1.0])), "all ascending or all descending"),
        (lambda: cell_area(torch.tensor([0.0, 100.0])), "between -90 and 90"),
        (lambda: cell_area(torch.tensor([0.0, torch.nan])), "between -90 and 90"),
        (lambda: TimeWindow(0), "length=0, stride=0: expected one"),
        (lambda: TimeWindow(3, 0), "stride=0: expected one"),
        (lambda: TimeWindow(3, weights=torch.ones(2)), r"\(2,\): expected \(3,\)"),
        (lambda: TimeWindow(3)(torch.ones(1, 2, 5)), "the 3 times of a window at least"),
        (lambda: Matrix(torch.ones(3)), r"\(3,\): expected \(m, n\)"),
        (lambda: Matrix(torch.ones(2, 3))(torch.ones(1, 4)), "4 numbers: expected the 3 that"),
        (lambda: Stack([]), "No operators"),
        (lambda: Stack([Matrix(torch.eye(2))]).join([]), "0 observations: expected 1"),
        (
            lambda: Stack([Matrix(torch.eye(2))]).split(torch.ones(1, 3), torch.ones(1, 2)),
            r"\(1, 3\): expected \(batch, 2\)",
        ),
        (lambda: NoiseWeighted(Matrix(torch.eye(2)), 0.0), "Noise of 0: expected a standard"),
        (
            lambda: NoiseWeighted(Matrix(torch.eye(2)), torch.tensor([1.0, torch.nan])),
            "Noise of nan: expected a standard",
        ),
        (
            lambda: NoiseWeighted(Matrix(torch.eye(2)), torch.ones(4, 1, 1)).weigh(
                torch.ones(1, 2)
            ),
            "does not broadcast",
        ),
        (lambda: Trajectory(Lorenz63(), 0.1, 0), "times=0, substeps=1: expected one at least"),
        (lambda: Trajectory(Lorenz63(), 0.1, 2, 0), "substeps=0: expected one at least"),
        (
            lambda: Trajectory(Lorenz63(), 0.1, 2, parameters=("r",), shape=(3,)),
            "Lorenz63 has no parameter named r: expected some of beta, rho, sigma",
        ),
        (lambda: Trajectory(Lorenz63(), 0.1, 2, parameters=("rho",)), "without shape="),
        (
            lambda: Trajectory(Lorenz63(), 0.1, 2, parameters=("rho",), shape=(3,))(
                torch.ones(1, 3)
            ),
            r"\(3,\): expected \(4,\), the 3 numbers of the first state and 1 parameters",
        ),
    ],
)
def test_what_cannot_be_is_told(make, says):
    with pytest.raises(ValueError, match=says):
        make()


# Coarsen -------------------------------------------------------------------------------


@given(st.tuples(*[st.integers(1, 4)] * 4), st.sampled_from(["cells", "rows", "column"]))
def test_a_constant_stays_and_the_integral_is_conserved(numbers, given_as):
    fy, fx, by, bx = numbers
    ny, nx = fy * by, fx * bx
    area = random((ny, nx) if given_as == "cells" else (ny,), torch.float64).abs() + 0.1
    if given_as == "column":
        area = area[:, None]
    operator = Coarsen((fy, fx), area)
    cells = (area[:, None] if area.ndim == 1 else area).expand(ny, nx)
    blocks = cells.reshape(by, fy, bx, fx).sum((1, 3))
    x = random((2, 3, ny, nx), torch.float64, seed=1)
    torch.testing.assert_close(
        (operator(x) * blocks).sum((-2, -1)), (x * cells).sum((-2, -1)), rtol=0, atol=1e-12
    )
    constant = operator(torch.full_like(x, 7.25))
    torch.testing.assert_close(constant, torch.full((2, 3, by, bx), 7.25, dtype=x.dtype))


def test_without_an_area_a_block_is_a_plain_mean():
    x = torch.arange(16.0).reshape(1, 4, 4)
    assert Coarsen((2, 2))(x).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]
    torch.testing.assert_close(Coarsen((2, 2), torch.full((4, 4), 3.0))(x), Coarsen((2, 2))(x))


def test_land_counts_for_nothing_in_a_block():
    area = torch.tensor([[1.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0]])
    x = torch.tensor([[[2.0, torch.nan, 9.0, 9.0], [6.0, torch.nan, torch.nan, 9.0]]])
    assert Coarsen((2, 2), area)(x).tolist() == [[[5.0, 0.0]]]


def test_cell_areas_are_those_of_the_sphere():
    latitude = torch.arange(-89.5, 90, dtype=torch.float64)
    area = cell_area(latitude)
    assert area.shape == (180, 1)
    assert float(area.sum()) == pytest.approx(2, rel=1e-14)  # 4 pi R2 over 2 pi R2
    cosine = torch.cos(torch.deg2rad(latitude))[:, None]
    torch.testing.assert_close(area / area.max(), cosine / cosine.max())
    torch.testing.assert_close(cell_area(latitude.flip(0)), area.flip(0))
    # Rows on the poles are caps of half the height; rows may be of unlike heights.
    capped = cell_area(torch.tensor([-90, -45, 0, 60, 90]))[:, 0]
    edges = torch.deg2rad(torch.tensor([-90, -67.5, -22.5, 30, 75, 90], dtype=torch.float64))
    torch.testing.assert_close(capped, edges.sin().diff())


def test_areas_of_fine_cells_add_up_to_those_of_coarse_ones():
    fine = cell_area(torch.arange(30.25, 36, 0.5)).reshape(6, 2).sum(1)
    torch.testing.assert_close(fine, cell_area(torch.arange(30.5, 36))[:, 0])


# Time windows --------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 9), st.booleans())
def test_each_window_is_the_mean_of_its_times(length, stride, more, weighted):
    times = length + more
    x = random((2, times, 3), torch.float64)
    weights = random((length,), torch.float64, seed=1) if weighted else None
    seen = TimeWindow(length, stride, weights)(x)
    each = torch.full((length,), 1 / length, dtype=x.dtype) if weights is None else weights
    starts = range(0, times - length + 1, stride)
    expected = torch.stack([(x[:, k : k + length] * each[:, None]).sum(1) for k in starts], 1)
    torch.testing.assert_close(seen, expected)


def test_composites_of_eight_days_follow_on_each_other():
    days = torch.arange(30.0).reshape(1, 30, 1)
    assert TimeWindow(8)(days).flatten().tolist() == [3.5, 11.5, 19.5]  # six days unseen


# Matrix --------------------------------------------------------------------------------


def test_any_linear_operator_is_a_matrix():
    """Of its columns, what it sees of each unit vector; the transpose is its adjoint."""
    case = build("coarsen")
    n = case.unseen.numel()
    columns = case.operator(torch.eye(n, dtype=torch.float64).reshape(n, *case.shape))
    operator = Matrix(columns.flatten(1).T)
    x = random((3, *case.shape), torch.float64)
    y = random((3, columns[0].numel()), torch.float64, seed=1)
    torch.testing.assert_close(operator(x), case.operator(x).flatten(1))
    torch.testing.assert_close(
        operator.adjoint(y, x), case.operator.adjoint(y.reshape(3, *columns[0].shape), x)
    )


# What is made of operators -------------------------------------------------------------


class Counting(Operator):
    """A cube that counts how often it is evaluated."""

    linear = False

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return x**3


def test_at_composes_one_after_another():
    case = build("composition")
    x = random((2, *case.shape), torch.float64)
    outer, inside = case.operator.outer, case.operator.inner
    assert isinstance(outer @ inside, Composition)
    torch.testing.assert_close((outer @ inside)(x), outer(inside(x)), rtol=0, atol=0)
    three = (TimeWindow(2) @ outer) @ inside, TimeWindow(2) @ (outer @ inside)
    torch.testing.assert_close(three[0](x), three[1](x), rtol=0, atol=0)
    y = random((2, 1, 3, 4), torch.float64, seed=1)
    torch.testing.assert_close(three[0].adjoint(y, x), three[1].adjoint(y, x))


def test_only_operators_compose():
    with pytest.raises(TypeError, match="@|must be Tensor"):
        build("mask").operator @ torch.eye(3)


def test_what_is_made_of_linear_operators_is_linear():
    linear, square = Matrix(torch.eye(3)), Square()
    assert (linear @ linear).linear
    assert not (linear @ square).linear
    assert not (square @ linear).linear
    assert Stack([linear, linear]).linear
    assert not Stack([linear, square]).linear
    assert NoiseWeighted(linear, 1.0).linear
    assert not NoiseWeighted(square, 1.0).linear


@EACH
@pytest.mark.parametrize("grad", [True, False])
def test_linearise_gives_what_is_seen_and_the_adjoint_there(name, grad):
    case = build(name)
    x = random((2, *case.shape), torch.float64)
    expected = case.operator(x)
    y = random(tuple(expected.shape), torch.float64, seed=1)
    with torch.set_grad_enabled(grad):
        seen, adjoint = case.operator.linearise(x)
        gradient = adjoint(y)
    torch.testing.assert_close(seen, expected)
    torch.testing.assert_close(gradient, torch.autograd.functional.vjp(case.operator, x, y)[1])
    assert not seen.requires_grad
    assert not gradient.requires_grad


@EACH
def test_the_cost_of_an_observation_can_be_differentiated_through_linearise(name):
    """What unrolled solvers do: the gradient of the misfit, and the gradient of that."""
    case = build(name)
    x = random((1, *case.shape), torch.float64).requires_grad_()
    y = random(tuple(case.operator(x).shape), torch.float64, seed=1)

    def gradient(state: Tensor) -> Tensor:
        seen, adjoint = case.operator.linearise(state)
        return adjoint(seen - y)

    misfit = 0.5 * (case.operator(x) - y).square().sum()
    (expected,) = torch.autograd.grad(misfit, x)
    torch.testing.assert_close(gradient(x), expected)
    assert torch.autograd.gradcheck(gradient, (x,))


def test_one_evaluation_gives_what_is_seen_and_the_adjoint():
    cube = Counting()
    made = Stack([NoiseWeighted(TimeWindow(2) @ cube, 0.1), Matrix(torch.eye(4))])
    with torch.no_grad():
        _, adjoint = made.linearise(torch.ones(1, 4))
        adjoint(torch.ones(1, 6))
    assert cube.count == 1


def test_a_stack_is_each_operator_by_itself():
    case = build("stack")
    x = random((2, *case.shape), torch.float64)
    apart = [operator(x) for operator in case.operator.operators]
    y = case.operator(x)
    assert y.shape == (2, sum(part[0].numel() for part in apart))
    torch.testing.assert_close(case.operator.join(apart), y, rtol=0, atol=0)
    for part, expected in zip(case.operator.split(y, x), apart, strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=0)
    misfits = sum((part - 1).square().flatten(1).sum(1) for part in apart)
    torch.testing.assert_close((y - 1).square().sum(1), misfits)


def test_the_cost_over_the_noise_is_the_gaussian_log_likelihood():
    """Up to a constant, the same for all states."""
    matrix = random((5, 4), torch.float64)
    sigma = random((5,), torch.float64, seed=1).abs() + 0.1
    operator = NoiseWeighted(Matrix(matrix), sigma)
    states, y = random((6, 4), torch.float64, seed=2), random((1, 5), torch.float64, seed=3)
    cost = (operator.weigh(y) - operator(states)).square().sum(1)
    likelihood = torch.tensor(
        [
            stats.multivariate_normal(matrix @ x, torch.diag(sigma**2)).logpdf(y[0])
            for x in states
        ]
    )
    constant = cost + 2 * likelihood
    expected = -torch.log(2 * torch.pi * sigma**2).sum()
    torch.testing.assert_close(constant, expected.expand(6), rtol=0, atol=1e-10)


@BOTH
def test_gaps_stay_zero_whatever_their_noise(dtype):
    observed = torch.tensor([True, False, True])
    noise = torch.tensor([0.1, torch.inf, 0.5], dtype=torch.float64)
    operator = NoiseWeighted(Mask(observed), noise)
    y = torch.tensor([[1.0, 0.0, 1.0]], dtype=dtype)
    assert operator.weigh(y).dtype == dtype
    torch.testing.assert_close(operator.weigh(y), torch.tensor([[10.0, 0.0, 2.0]], dtype=dtype))
    assert operator(torch.full((1, 3), torch.nan, dtype=dtype))[0, 1] == 0


def test_a_number_is_the_noise_of_all():
    x = random((2, 4), torch.float64)
    operator = NoiseWeighted(Matrix(torch.eye(4)), 0.1)
    torch.testing.assert_close(operator(x), x / 0.1, rtol=0, atol=0)  # not in float32


# Trajectory ----------------------------------------------------------------------------


def test_a_trajectory_is_the_flow_of_the_model():
    model = Lorenz96()
    x = random((2, 6), torch.float64)
    path = Trajectory(model, 0.1, 3, 2)(x)
    assert path.shape == (2, 3, 6)
    torch.testing.assert_close(path[:, 0], x, rtol=0, atol=0)
    torch.testing.assert_close(path[:, 2], model(x, 0.05, 4))


def test_parameters_in_the_state_are_those_of_the_model():
    x = random((2, 3), torch.float64)
    own = Trajectory(Lorenz63(rho=21.0, beta=2.0), 0.02, 5)(x)
    values = torch.tensor([[2.0, 21.0]], dtype=x.dtype).expand(2, 2)
    operator = Trajectory(Lorenz63(), 0.02, 5, parameters=("beta", "rho"), shape=(3,))
    state = torch.cat([x, values], 1)
    torch.testing.assert_close(operator(state), own)
    first, parameters = operator.unpack(state)
    torch.testing.assert_close(first, x)
    assert list(parameters) == ["beta", "rho"]
    assert parameters["rho"].tolist() == [[21.0], [21.0]]


def test_each_element_has_its_own_parameters():
    x = torch.tensor([[1.0, 2.0, 20.0]], dtype=torch.float64).repeat(2, 1)
    rho = torch.tensor([[28.0], [21.0]], dtype=torch.float64)
    operator = Trajectory(Lorenz63(), 0.02, 5, parameters=("rho",), shape=(3,))
    seen = operator(torch.cat([x, rho], 1))
    for k, value in enumerate((28.0, 21.0)):
        alone = Trajectory(Lorenz63(rho=value), 0.02, 5)(x[[k]])
        torch.testing.assert_close(seen[[k]], alone)


def test_the_gradient_with_respect_to_start_and_parameter_is_that_of_differences():
    operator = Trajectory(Lorenz63(), 0.05, 8, 2, parameters=("rho",), shape=(3,))
    x = torch.tensor(
        [[1.5, -1.5, 25.5, 28.0], [-8.0, -7.0, 27.0, 24.0]], dtype=torch.float64
    ).requires_grad_()
    assert torch.autograd.gradcheck(operator, (x,), rtol=1e-5)
    truth = operator(x.detach() + 0.1)

    def cost(state: Tensor) -> Tensor:
        return (truth - operator(state)).square().flatten(1).sum(1)

    assert torch.autograd.gradcheck(cost, (x,), rtol=1e-5)


def test_start_and_parameter_are_found_from_one_number_of_three():
    """Strong-constraint 4DVar, by Gauss-Newton, from perfect observations of the first."""
    path = Trajectory(Lorenz63(), 0.05, 20, 2, parameters=("rho",), shape=(3,))
    operator = Mask(torch.tensor([True, False, False])) @ path
    truth = torch.tensor([[1.5, -1.5, 25.5, 28.0]], dtype=torch.float64)
    y, x = operator(truth), torch.tensor([[1.0, -1.0, 23.0, 26.0]], dtype=torch.float64)
    for _ in range(12):
        each = x.expand(4, 4), torch.eye(4, dtype=x.dtype)  # a direction for each element
        slope = torch.autograd.functional.jvp(operator, *each)[1].flatten(1).T
        misfit = (y - operator(x)).flatten()[:, None]
        x = x + torch.linalg.lstsq(slope, misfit).solution.T
    torch.testing.assert_close(x, truth, rtol=0, atol=1e-8)


# Inner products ------------------------------------------------------------------------


def test_an_inner_product_is_of_each_element():
    a, b = (random((3, 2, 4, 5), torch.float64, seed) for seed in (0, 1))
    weight = random((4, 1), torch.float64, seed=2).abs()
    expected = torch.stack([(weight * a[k] * b[k]).sum() for k in range(3)])
    torch.testing.assert_close(inner(a, b, weight), expected)
    torch.testing.assert_close(inner(a, b), inner(a, b, torch.ones(())))


@EACH
def test_the_weighted_adjoint_is_adjoint_in_the_weighted_inner_products(name):
    case = build(name)
    x, dx = (random((3, *case.shape), torch.float64, seed) for seed in (0, 1))
    hx, moved = torch.autograd.functional.jvp(case.operator, x, dx)
    y = random(tuple(hx.shape), torch.float64, seed=2)
    areas = [random(tuple(v.shape[1:]), v.dtype, seed=3).abs() + 0.1 for v in (x, hx)]
    adjoint = weighted_adjoint(case.operator, y, x, *areas)
    left, right = inner(moved, y, areas[1]), inner(dx, adjoint, areas[0])
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        weighted_adjoint(case.operator, y, x), case.operator.adjoint(y, x), rtol=0, atol=0
    )


def test_the_weighted_adjoint_of_a_block_mean_gives_each_cell_the_value_of_its_block():
    """Whatever the latitude; the plain adjoint gives small cells less."""
    area = cell_area(torch.linspace(60, 80, 6, dtype=torch.float64))
    blocks = area.expand(6, 4).reshape(3, 2, 2, 2).sum((1, 3))
    y = random((1, 3, 2), torch.float64)
    x = torch.zeros(1, 6, 4, dtype=torch.float64)
    spread = weighted_adjoint(Coarsen((2, 2), area), y, x, area, blocks)
    torch.testing.assert_close(spread, y.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_the_weighted_adjoint_is_zero_where_there_is_no_area():
    case = build("coarsen")
    area, y = case.operator.area, random((1, 2, 2, 4), torch.float64)
    adjoint = weighted_adjoint(case.operator, y, torch.zeros(1, 2, 6, 8), area).double()
    assert torch.isfinite(adjoint).all()
    assert not adjoint[:, case.unseen].any()


# Area means ----------------------------------------------------------------------------


@dataclass
class CellGrid:
    """Centres of cells."""

    y: np.ndarray
    x: np.ndarray
    geographic: bool = False


FINE = CellGrid(np.arange(6.0), np.arange(9.0))
THIRDS = CellGrid(1 + 3 * np.arange(2.0), 1 + 3 * np.arange(3.0))


def test_area_means_of_whole_cells_are_those_of_coarsen():
    x = random((2, 4, 6, 9))
    torch.testing.assert_close(AreaMean.on(FINE, onto=THIRDS)(x), Coarsen((3, 3))(x))
    sea = torch.rand(6, 9, generator=torch.Generator().manual_seed(0)) < 0.6
    found = AreaMean.on(FINE, sea, onto=THIRDS)(x)
    torch.testing.assert_close(found, Coarsen((3, 3), sea.double())(x))


@given(st.floats(1.05, 4.0), st.floats(1.05, 4.0), st.booleans())
def test_area_means_keep_a_constant_and_the_integral(ratio_y, ratio_x, geographic):
    """For any ratio: rows sum to one, and the overlaps with a fine cell to its own size."""
    counts = 12, 16
    coarse = [int(n // r) for n, r in zip(counts, (ratio_y, ratio_x), strict=True)]
    onto = CellGrid(
        *(r * (np.arange(m) + 0.5) for r, m in zip((ratio_y, ratio_x), coarse, strict=True))
    )
    if min(coarse) < 2:
        return
    grid = CellGrid(*(np.arange(n) + 0.5 for n in counts))
    grid.geographic = onto.geographic = geographic
    operator = AreaMean.on(grid, onto=onto)
    ones = torch.ones(1, 2, *counts, dtype=torch.float64)
    torch.testing.assert_close(operator(ones), torch.ones(1, 2, *coarse, dtype=torch.float64))
    shares = overlaps(grid.x, onto.x)
    torch.testing.assert_close(
        shares.sum(1), torch.full((coarse[1],), ratio_x, dtype=torch.float64)
    )
    inside = grid.x + 0.5 <= ratio_x * coarse[1]
    assert np.allclose(shares.sum(0)[inside], 1)


def test_area_means_weigh_rows_by_their_area():
    """A band from 60 to 62 degrees: the sines of its rows' edges."""
    grid = CellGrid(np.array([60.5, 61.5]), np.array([0.5, 1.5]), geographic=True)
    along = overlaps(grid.y, np.array([61.0, 63.0]), sine=True)[0]
    edges = np.sin(np.deg2rad([60, 61, 62]))
    np.testing.assert_allclose(along / along.sum(), np.diff(edges) / (edges[2] - edges[0]))


def test_area_means_take_no_other_option():
    with pytest.raises(TypeError, match="area-mean has no option 'factor'"):
        AreaMean.on(FINE, onto=THIRDS, factor=2)
