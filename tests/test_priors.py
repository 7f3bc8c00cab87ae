"""Priors: kernels that are covariances, fast products equal to dense ones, gradients.

The table of cases holds one per registered name; a test of the registries says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from xinverse.dynamics import DYNAMICS, BilinearODE, Lorenz63
from xinverse.priors import (
    EOF,
    Autoencoder,
    CirculantGaussian,
    DynamicsPrior,
    GaussianPrior,
    KroneckerGaussian,
    Prior,
    ProjectionPrior,
    Tikhonov,
    TotalVariation,
    TwoScale,
    UNet,
    White,
)
from xinverse.priors.differences import Differences
from xinverse.priors.kernels import SPACE_KERNELS, TIME_KERNELS, reach
from xinverse.priors.noise import white_noise

FLOATS = [torch.float32, torch.float64]


@dataclass
class PriorCase:
    """A prior and the shape of the states that it speaks of."""

    prior: Prior
    shape: tuple[int, ...]


def axes(shape: tuple[int, int, int], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Days, and kilometres 10 and 12 apart."""
    steps = zip(shape, (1.0, 10.0, 12.0), strict=True)
    return [step * torch.arange(n, dtype=dtype) for n, step in steps]


def kronecker(dtype: torch.dtype) -> PriorCase:
    prior = KroneckerGaussian(
        *axes((3, 4, 5), dtype), length_scale=25.0, time_scale=2.0, variance=2.0, nugget=1e-3
    )
    return PriorCase(prior, prior.shape)


def circulant(dtype: torch.dtype) -> PriorCase:
    prior = CirculantGaussian(
        *axes((3, 4, 5), dtype), length_scale=25.0, time_scale=2.0, variance=2.0, nugget=1e-3
    )
    return PriorCase(prior, prior.shape)


def two_scale(dtype: torch.dtype) -> PriorCase:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return PriorCase(TwoScale(3, hidden=4, depth=2).to(dtype), (3, 7, 8))


def white(dtype: torch.dtype) -> PriorCase:
    return PriorCase(White(), (3, 4))


def dynamics(dtype: torch.dtype) -> PriorCase:
    return PriorCase(DynamicsPrior(Lorenz63(), dt=0.002, substeps=2).to(dtype), (5, 3))


def learned_dynamics(dtype: torch.dtype) -> PriorCase:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return PriorCase(DynamicsPrior(BilinearODE(3, 4), dt=0.01).to(dtype), (4, 3))


def coast(*shape: int) -> Tensor:
    """Sea with an island, a lake of one cell, and land on an edge."""
    sea = torch.ones(shape, dtype=torch.bool)
    sea[..., 1, 1:4] = False
    sea[..., -1, :2] = False
    sea[..., 0, 0] = False
    sea[..., 0, 2] = True
    sea[..., 0, 1] = sea[..., 0, 3] = False
    return sea


def tikhonov(dtype: torch.dtype) -> PriorCase:
    return PriorCase(Tikhonov(spacing=(1.0, 2.0)), (3, 4, 5))


def masked_tikhonov(dtype: torch.dtype) -> PriorCase:
    prior = Tikhonov((-3, -2, -1), (0.5, 1.0, 2.0), (False, False, True), sea=coast(5, 6))
    return PriorCase(prior, (3, 5, 6))


# Float32 does not prove more.
EXACTLY = {torch.float32: 5e-3, torch.float64: 1e-6}


def total_variation(dtype: torch.dtype) -> PriorCase:
    prior = TotalVariation(spacing=(1.0, 2.0), iterations=3000, tolerance=EXACTLY[dtype])
    return PriorCase(prior, (2, 4, 5))


def masked_total_variation(dtype: torch.dtype) -> PriorCase:
    return PriorCase(
        TotalVariation(
            periodic=(False, True), sea=coast(5, 6), iterations=3000, tolerance=EXACTLY[dtype]
        ),
        (5, 6),
    )


def eof(dtype: torch.dtype) -> PriorCase:
    return PriorCase(EOF.fit(random((20, 3, 4), seed=5), modes=3).to(dtype), (3, 4))


def autoencoder(dtype: torch.dtype) -> PriorCase:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        return PriorCase(Autoencoder((3, 4), latent=2, hidden=(8, 5)).to(dtype), (3, 4))


def unet(dtype: torch.dtype) -> PriorCase:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return PriorCase(UNet(3, hidden=4).to(dtype), (3, 5, 6))


def unet_of_series(dtype: torch.dtype) -> PriorCase:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        prior = UNet(2, hidden=4, levels=1, rank=1, channel=2, periodic=[True], residual=False)
        return PriorCase(prior.to(dtype), (8, 2))


PRIOR_CASES: dict[str, Callable[[torch.dtype], PriorCase]] = {
    "gaussian-kronecker": kronecker,
    "gaussian-circulant": circulant,
    "two-scale": two_scale,
    "dynamics": dynamics,
    "tikhonov": tikhonov,
    "total-variation": total_variation,
    "eof": eof,
    "autoencoder": autoencoder,
    "unet": unet,
    "white": white,
}
# The same, in other settings.
MORE_CASES: dict[str, Callable[[torch.dtype], PriorCase]] = {
    "dynamics, learned": learned_dynamics,
    "tikhonov, masked": masked_tikhonov,
    "total-variation, masked": masked_total_variation,
    "unet of series": unet_of_series,
}
CASES = PRIOR_CASES | MORE_CASES
EACH = pytest.mark.parametrize("name", CASES)
BOTH = pytest.mark.parametrize("dtype", FLOATS, ids=str)
QUADRATIC = (GaussianPrior, Tikhonov, EOF, White)


def random(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


# Every prior ---------------------------------------------------------------------------


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


# Every prior with a proximal operator --------------------------------------------------

WITH_PROX = [name for name, case in CASES.items() if case(torch.float64).prior.has_prox]
EACH_PROX = pytest.mark.parametrize("name", WITH_PROX)
# Total variation has corners: tests of its own prove that its prox is optimal.
EACH_SMOOTH_PROX = pytest.mark.parametrize(
    "name", [name for name in WITH_PROX if not name.startswith("total-variation")]
)
STRENGTHS = torch.tensor([0.01, 0.3, 2.0, 40.0], dtype=torch.float64)


def inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


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


# Kernels -------------------------------------------------------------------------------

KERNELS = [("space", name) for name in SPACE_KERNELS] + [("time", n) for n in TIME_KERNELS]
EVERY_KERNEL = pytest.mark.parametrize(("family", "kernel"), KERNELS)


def kernel_of(family: str, name: str) -> Callable[[Tensor, float], Tensor]:
    return {"space": SPACE_KERNELS, "time": TIME_KERNELS}[family][name]


@EVERY_KERNEL
@BOTH
def test_a_kernel_is_one_at_zero_and_below_elsewhere(family, kernel, dtype):
    distance = torch.linspace(0, 400, 800, dtype=dtype)
    values = kernel_of(family, kernel)(distance, 40.0)
    assert values.dtype == dtype
    assert values[0] == 1
    assert (values[1:].abs() < 1).all()
    assert values[-1].abs() < 1e-3


@EVERY_KERNEL
def test_a_kernel_is_a_function_of_distance_over_scale(family, kernel):
    distance = torch.linspace(0, 5, 60, dtype=torch.float64)
    function = kernel_of(family, kernel)
    torch.testing.assert_close(function(distance, 1.0), function(70 * distance, 70.0))


@EVERY_KERNEL
@pytest.mark.parametrize("extent", [0.3, 2.0, 8.0, 30.0])
def test_a_kernel_gives_covariance_matrices(family, kernel, extent):
    """Of random points, in the plane (on the line for time), as close as they come."""
    rng = np.random.default_rng(7)
    points = rng.uniform(0, extent, (150, 2 if family == "space" else 1))
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    matrix = kernel_of(family, kernel)(torch.from_numpy(distance), 1.0)
    assert torch.linalg.eigvalsh(matrix).min() >= -1e-8


@pytest.mark.parametrize("kernel", SPACE_KERNELS)
def test_the_spectrum_in_the_plane_is_not_negative(kernel):
    """On a fine torus, far larger than the correlation: all wavenumbers at once."""
    lag = torch.fft.fftfreq(512, dtype=torch.float64) * 512 * 0.1
    ring = SPACE_KERNELS[kernel](torch.hypot(lag[:, None], lag), 1.0)
    spectrum = torch.fft.rfft2(ring).real
    assert spectrum.min() > -1e-6 * spectrum.max()


def test_arhan_colin_first_crosses_zero_at_its_scale():
    before = torch.linspace(0, 149.9, 1500, dtype=torch.float64)
    kernel = SPACE_KERNELS["arhan-colin"]
    assert (kernel(before, 150.0) > 0).all()
    at = torch.tensor([150.0], dtype=torch.float64)
    assert kernel(at, 150.0).abs() < 1e-5
    assert kernel(at + 1, 150.0) < 0


@pytest.mark.parametrize(
    ("kernel", "distance", "value"),
    [
        ("gaussian", 1.0, np.exp(-1)),
        ("matern12", 2.0, np.exp(-2)),
        ("matern32", 1 / np.sqrt(3), 2 / np.e),
        ("matern52", 1 / np.sqrt(5), (7 / 3) / np.e),
    ],
)
def test_kernels_at_a_distance_worked_out_by_hand(kernel, distance, value):
    at = torch.tensor([distance], dtype=torch.float64)
    assert SPACE_KERNELS[kernel](at, 1.0).item() == pytest.approx(value, rel=1e-12)


@EVERY_KERNEL
@pytest.mark.parametrize("below", [1e-1, 1e-3, 1e-7])
def test_reach_is_where_the_correlation_has_died(family, kernel, below):
    function = kernel_of(family, kernel)
    far = reach(function, below)
    beyond = far + torch.arange(0, 60, 0.003, dtype=torch.float64)
    assert (function(beyond, 1.0).abs() < below).all()
    just_before = torch.tensor([far - 0.01], dtype=torch.float64)
    assert function(just_before - 1e-9, 1.0).abs() >= below * 0.999


# Gaussian priors: products -------------------------------------------------------------

VARIANTS: dict[str, tuple[type[GaussianPrior], dict[str, str]]] = {
    "kronecker": (KroneckerGaussian, {}),
    "kronecker, exponential in time": (KroneckerGaussian, {"temporal": "exponential"}),
    **{
        f"circulant, {space}": (CirculantGaussian, {"space": space})
        for space in SPACE_KERNELS
        if space != "gaussian"
    },
    "circulant, exponential in time": (
        CirculantGaussian,
        {"space": "matern32", "temporal": "exponential"},
    ),
}
EVERY_VARIANT = pytest.mark.parametrize("variant", VARIANTS)


def gaussian(
    variant: str,
    shape: tuple[int, int, int] = (3, 6, 7),
    dtype: torch.dtype = torch.float64,
    coordinates: list[Tensor] | None = None,
    **keywords: float,
) -> GaussianPrior:
    kind, names = VARIANTS[variant]
    scales = {"length_scale": 25.0, "time_scale": 1.5, "variance": 3.0} | keywords
    return kind(*(coordinates or axes(shape, dtype)), **scales, **names)  # type: ignore[arg-type]  # numbers and names


def all_cells(prior: GaussianPrior) -> Tensor:
    return torch.cartesian_prod(*(torch.arange(n) for n in prior.shape))


def dense(prior: GaussianPrior) -> Tensor:
    """B, entry by entry, from the distances between the cells in float64."""
    cells = all_cells(prior)
    at = [
        axis.to(torch.float64)[cells[:, k]]
        for k, axis in enumerate((prior.time, prior.y, prior.x))
    ]
    lags = [(a[:, None] - a).abs() for a in at]
    space = prior.space(torch.hypot(lags[1], lags[2]), prior.length_scale)
    return prior.variance * space * prior.temporal(lags[0], prior.time_scale)


@EVERY_VARIANT
@pytest.mark.parametrize(
    "shape", [(3, 6, 7), (1, 5, 4), (4, 2, 9), (2, 1, 6), (2, 6, 1)], ids=str
)
def test_fast_products_equal_the_dense_matrix(variant, shape):
    prior = gaussian(variant, shape)
    B, cells = dense(prior), all_cells(prior)
    torch.testing.assert_close(prior.between(cells, cells), B, rtol=1e-12, atol=1e-12)
    x = random((2, *shape))
    torch.testing.assert_close(prior.matvec(x).flatten(1), x.flatten(1) @ B, rtol=0, atol=1e-9)
    # At cells in any order, two of them twice.
    generator = torch.Generator().manual_seed(2)
    some = torch.randint(len(cells), (len(cells) // 2,), generator=generator)
    some = torch.cat([some, some[:2]])
    v = random((2, len(some)), seed=1)
    spread = prior.spread(v, cells[some])
    assert spread.shape == (2, *shape)
    torch.testing.assert_close(spread.flatten(1), v @ B[some], rtol=0, atol=1e-9)
    restricted = prior.restrict(v, cells[some])
    torch.testing.assert_close(restricted, v @ B[some][:, some], rtol=0, atol=1e-9)
    torch.testing.assert_close(
        prior.between(cells[some], cells), B[some], rtol=1e-12, atol=1e-12
    )


@EVERY_VARIANT
def test_fast_products_in_single_precision(variant):
    prior = gaussian(variant, dtype=torch.float32)
    x = random((2, *prior.shape), torch.float32)
    exact = x.double().flatten(1) @ dense(prior)
    error = prior.matvec(x).flatten(1).double() - exact
    assert error.abs().max() < 3e-6 * exact.abs().max()


@EVERY_VARIANT
def test_a_short_ring_is_long_enough(variant):
    """The ring ends where the correlation has died, before twice the length of the axis."""
    prior = gaussian(variant, (1, 3, 120), length_scale=15.0)
    if isinstance(prior, CirculantGaussian) and variant != "circulant, matern12":
        assert prior.sizes[1] < 2 * 120 - 1
    x = random((1, *prior.shape))
    exact = x.flatten(1) @ dense(prior)
    error = prior.matvec(x).flatten(1) - exact
    assert error.abs().max() < 1e-6 * prior.variance


def test_products_on_irregular_coordinates():
    """The Kronecker product asks for no regular axis."""
    rng = np.random.default_rng(0)
    coordinates = [
        torch.from_numpy(np.sort(rng.uniform(0, extent, n)))
        for n, extent in ((4, 5.0), (5, 60.0), (6, 80.0))
    ]
    prior = gaussian("kronecker", coordinates=coordinates)
    x = random((2, *prior.shape))
    torch.testing.assert_close(
        prior.matvec(x).flatten(1), x.flatten(1) @ dense(prior), rtol=0, atol=1e-9
    )


def rounded_axes() -> list[Tensor]:
    """Thirds of a degree written with two decimals."""
    line = 111.195 * torch.from_numpy(np.round(np.arange(40) / 3, 2))
    return [torch.zeros(1, dtype=torch.float64), line[:4].clone(), line]


@EVERY_VARIANT
def test_rounded_coordinates_are_regular_ones(variant):
    """The first spacing of a rounded axis is not the mean: 0.33 degrees for a third."""
    prior = gaussian(variant, coordinates=rounded_axes(), length_scale=200.0)
    x = random((1, *prior.shape))
    product = prior.matvec(x).flatten(1)
    line = [torch.linspace(float(a[0]), float(a[-1]), len(a)).double() for a in rounded_axes()]
    ideal = dense(gaussian(variant, coordinates=line, length_scale=200.0))
    near = dense(prior) if isinstance(prior, KroneckerGaussian) else ideal
    assert (product - x.flatten(1) @ near).abs().max() < 1e-4 * prior.variance
    assert min(prior.margins[1:]) > 0


# Gaussian priors: cost -----------------------------------------------------------------


@EVERY_VARIANT
@pytest.mark.parametrize("nugget", [1e-2, 1e-5])
def test_cost_and_gradient_equal_the_dense_formula(variant, nugget):
    """U(x) = x' (B + epsilon I)^-1 x, on a state of the prior and on white noise."""
    prior = gaussian(variant)
    prior.nugget = nugget
    matrix = dense(prior) + nugget * prior.variance * torch.eye(int(np.prod(prior.shape)))
    smooth = torch.linalg.cholesky(matrix) @ random((len(matrix), 1))
    x = torch.stack([smooth[:, 0], random((len(matrix),), seed=1)])
    solved = torch.linalg.solve(matrix, x.T).T
    field = x.unflatten(1, prior.shape)
    torch.testing.assert_close(prior.cost(field), (x * solved).sum(1), rtol=1e-5, atol=0)
    gradient = prior.gradient(field).flatten(1)
    for one, expected in zip(gradient, 2 * solved, strict=True):
        assert (one - expected).norm() < 1e-4 * expected.norm()


def test_a_covariance_that_cannot_be_inverted_is_an_error():
    prior = gaussian("circulant, matern52", (1, 12, 12), length_scale=500.0)
    prior.nugget = 1e-14
    with pytest.raises(ArithmeticError, match="larger nugget than 1e-14"):
        prior.cost(random((1, *prior.shape)))


@pytest.mark.parametrize(
    "variant", ["kronecker", "circulant, matern32", "circulant, arhan-colin"]
)
def test_cost_of_a_map_of_common_size(variant):
    """Where a dense matrix has no place: the inverse applied to B + epsilon I gives x back."""
    prior = gaussian(variant, (8, 24, 24), length_scale=40.0, time_scale=4.0)
    x = random((1, *prior.shape))
    image = prior.matvec(x) + prior.nugget * prior.variance * x
    half = prior.gradient(image) / 2
    # The residual is small; the state is as far off as the conditioning allows.
    again = prior.matvec(half) + prior.nugget * prior.variance * half
    assert (again - image).norm() < 3e-6 * image.norm()


# Gaussian priors: samples --------------------------------------------------------------


def noise_shape(prior: GaussianPrior) -> tuple[int, ...]:
    return tuple(n + 2 * m for n, m in zip(prior.shape, prior.margins, strict=True))


@EVERY_VARIANT
def test_colour_gives_the_covariance(variant):
    """Coloured unit vectors are the rows of W, and W' W is the covariance, exactly."""
    prior = gaussian(variant, (2, 3, 3), length_scale=6.0, time_scale=0.4)
    size = int(np.prod(noise_shape(prior)))
    covariance, group = torch.zeros(18, 18, dtype=torch.float64), 2000
    for start in range(0, size, group):
        rows = torch.arange(start, min(start + group, size))
        unit = torch.zeros(len(rows), size, dtype=torch.float64)
        unit[torch.arange(len(rows)), rows] = 1
        w = prior.colour(unit.unflatten(1, noise_shape(prior))).flatten(1)
        covariance += w.T @ w
    # A ring is a torus: what is left of the correlation at its ends, 1e-3, is folded back.
    torch.testing.assert_close(covariance, dense(prior), rtol=0, atol=2e-3 * prior.variance)


@pytest.mark.parametrize("variant", ["kronecker", "circulant, matern32"])
def test_covariance_of_samples(variant):
    """Of 2000 members, within five standard errors, as they are drawn for a tile."""
    prior = gaussian(variant, (2, 4, 4), length_scale=20.0, time_scale=1.0)
    cells = [np.arange(n) for n in prior.shape]
    members = 2000
    samples = []
    for start in range(0, members, 100):
        noise = [white_noise(5, start + k, cells, prior.margins) for k in range(100)]
        samples.append(prior.colour(torch.from_numpy(np.stack(noise))).flatten(1))
    x, B = torch.cat(samples), dense(prior)
    variance = B.diagonal()
    standard_error = ((B**2 + variance[:, None] * variance) / members).sqrt()
    assert ((x.T @ x / members - B).abs() < 5 * standard_error).all()
    assert (x.mean(0).abs() < 4 * (variance / members).sqrt()).all()


def test_covariance_of_samples_on_irregular_times():
    time = torch.tensor([0.0, 0.4, 2.0, 2.5], dtype=torch.float64)
    _, y, x = axes((4, 2, 2))
    prior = gaussian("kronecker", coordinates=[time, y, x], length_scale=5.0)
    assert prior.margins[0] == 0
    size = int(np.prod(noise_shape(prior)))
    unit = torch.eye(size, dtype=torch.float64).unflatten(1, noise_shape(prior))
    w = prior.colour(unit).flatten(1)
    torch.testing.assert_close(w.T @ w, dense(prior), rtol=0, atol=2e-3 * prior.variance)


@EVERY_VARIANT
def test_samples_of_rounded_coordinates(variant):
    """Rounding takes no margin away: the ends of an axis are not neighbours."""
    prior = gaussian(variant, coordinates=[a[:12] for a in rounded_axes()], length_scale=50.0)
    cells = [np.arange(n) for n in prior.shape]
    noise = [white_noise(1, k, cells, prior.margins) for k in range(800)]
    ends = prior.colour(torch.from_numpy(np.stack(noise)))[:, 0, 0, [0, -1]]
    assert abs(float(np.corrcoef(ends.T.numpy())[0, 1])) < 4 / np.sqrt(800)


@EVERY_VARIANT
@pytest.mark.parametrize("period", [None, 40])
def test_samples_of_overlapping_tiles_agree(variant, period):
    """Tiles of unlike size and place, the second over the edge of a periodic grid."""
    first = [np.arange(2, 8), np.arange(10, 18), np.arange(30, 39)]
    second = [np.arange(4, 8), np.arange(7, 15), np.arange(34, 46)]
    if period:
        second[2] = second[2] % period
    fields = []
    for cells in (first, second):
        prior = gaussian(variant, tuple(len(c) for c in cells), length_scale=30.0)
        noise = white_noise(9, 2, cells, prior.margins, period=period)
        fields.append(prior.colour(torch.from_numpy(noise)[None])[0])
    shared = [
        (slice(2, 6), slice(0, 4)),
        (slice(0, 5), slice(3, 8)),
        (slice(4, 9), slice(0, 5)),
    ]
    a = fields[0][tuple(s[0] for s in shared)]
    b = fields[1][tuple(s[1] for s in shared)]
    assert a.shape == b.shape
    # A covariance of no net weight has a moving average with a long tail.
    share = 5e-2 if variant == "circulant, arhan-colin" else 5e-3
    assert (a - b).square().mean().sqrt() < share * prior.variance**0.5


def test_samples_know_which_cell_is_which():
    """The same cells in another tile give the same sample, other cells another one."""
    prior = gaussian("kronecker", length_scale=12.0)
    cells = [np.arange(n) for n in prior.shape]
    moved = [c + 1 for c in cells]
    draw = [torch.from_numpy(white_noise(0, 0, c, prior.margins))[None] for c in (cells, moved)]
    a, b = (prior.colour(noise)[0] for noise in draw)
    torch.testing.assert_close(a[1:, 1:, 1:], b[:-1, :-1, :-1], rtol=0, atol=1e-2)
    assert (a - b).abs().max() > 0.5


# Two scales ----------------------------------------------------------------------------


@pytest.mark.parametrize("sides", [(8, 8), (7, 8), (8, 5), (9, 11)], ids=str)
@pytest.mark.parametrize("factor", [2, 3])
def test_projection_has_the_shape_of_the_state(sides, factor):
    x = random((2, 3, *sides), torch.float32)
    assert TwoScale(3, hidden=4, factor=factor).project(x).shape == x.shape


def test_units_that_start_at_zero_deepen_a_network_without_changing_it():
    x = random((2, 3, 8, 8), torch.float32)
    shallow, deep = TwoScale(3, hidden=4), TwoScale(3, hidden=4, depth=2, coarse_depth=3)
    missing = deep.load_state_dict(shallow.state_dict(), strict=False).missing_keys
    assert {name.split(".")[1] for name in missing} == {"deeper"}
    for network in (deep.fine, deep.coarse):
        for unit in network.deeper:
            torch.nn.init.zeros_(unit.join.weight)
            torch.nn.init.zeros_(unit.join.bias)
    torch.testing.assert_close(deep.project(x), shallow.project(x))


def test_cost_of_a_projection_prior_is_the_distance_from_the_projection():
    class Half(ProjectionPrior):
        def project(self, x: Tensor) -> Tensor:
            return x / 2

    x = random((3, 2, 2))
    torch.testing.assert_close(Half().cost(x), (x / 2).square().sum((1, 2)))
    torch.testing.assert_close(Half().gradient(x), x / 2)


@BOTH
def test_a_tile_of_the_projection_is_the_projection_of_a_tile(dtype):
    """Beyond the reach of the networks from its edge, cut where the coarse grid begins."""
    prior = two_scale(dtype).prior
    x = random((1, 3, 60, 56), dtype)
    whole, small = prior.gradient(x), prior.gradient(x[..., 4:52, 2:50])
    # Up to 9 cells for the projection, as many again for its transpose.
    inside = (..., slice(18, -18), slice(18, -18))
    assert small[inside].numel()
    torch.testing.assert_close(whole[..., 4:52, 2:50][inside], small[inside], rtol=0, atol=1e-6)


def test_a_prior_that_says_nothing_of_its_cost_is_an_error():
    with pytest.raises(NotImplementedError, match="must define cost"):
        Prior().cost(torch.zeros(1, 2))
    with pytest.raises(NotImplementedError, match="must define project"):
        ProjectionPrior().cost(torch.zeros(1, 2))


# Differences between neighbours --------------------------------------------------------

SETTINGS = {
    "a series": ((7,), {"axes": (-1,)}),
    "a ring": ((7,), {"axes": (-1,), "spacing": (0.3,), "periodic": (True,)}),
    "a map": ((5, 6), {"spacing": (2.0, 0.5)}),
    "a band round the globe": ((5, 6), {"periodic": (False, True)}),
    "a torus": ((5, 4), {"periodic": (True, True)}),
    "along y only, not the last axis": ((4, 5, 3), {"axes": (-2,), "spacing": (3.0,)}),
    "time too": ((3, 5, 4), {"axes": (-3, -2, -1), "spacing": (1.0, 2.0, 3.0)}),
    "time last": ((3, 4, 3), {"axes": (-1, -3), "periodic": (False, True)}),
    "one row": ((1, 6), {}),
    "land": ((5, 6), {"sea": coast(5, 6), "spacing": (2.0, 0.5)}),
    "land round the globe": ((5, 6), {"sea": coast(5, 6), "periodic": (False, True)}),
    "land and time": ((2, 5, 6), {"sea": coast(5, 6), "axes": (-3, -2, -1)}),
    "land that comes and goes": ((3, 5, 6), {"sea": coast(3, 5, 6), "axes": (-3, -1)}),
}
EACH_SETTING = pytest.mark.parametrize("setting", SETTINGS)


def matrix_of(differences: Differences, shape: tuple[int, ...]) -> Tensor:
    """D, pair by pair, from its definition."""
    cells = list(np.ndindex(*shape))
    sea = None if differences.sea is None else differences.sea.expand(shape)
    rows = []
    along = zip(differences.axes, differences.spacing, differences.periodic, strict=True)
    for axis, h, wraps in along:
        for cell in cells:
            row = torch.zeros(shape, dtype=torch.float64)
            after = list(cell)
            after[axis] += 1
            if wraps:
                after[axis] %= shape[axis]
            inside = after[axis] < shape[axis]
            if inside and (sea is None or (sea[cell] and sea[tuple(after)])):
                row[tuple(after)] += 1 / h
                row[cell] -= 1 / h
            rows.append(row.flatten())
    return torch.stack(rows)


@EACH_SETTING
def test_differences_and_their_adjoint_equal_the_dense_matrix(setting):
    shape, keywords = SETTINGS[setting]
    differences = Differences(**keywords)
    D = matrix_of(differences, shape)
    x = random((3, *shape))
    d = differences(x)
    assert d.shape == (3, len(differences.axes), *shape)
    torch.testing.assert_close(d.flatten(1), x.flatten(1) @ D.T)
    p = random(d.shape, seed=1)
    torch.testing.assert_close(differences.adjoint(p).flatten(1), p.flatten(1) @ D)
    assert torch.linalg.matrix_norm(D, 2).square() <= differences.bound


@EACH_SETTING
def test_tikhonov_equals_the_dense_matrix(setting):
    """Its cost and gradient, and its prox: Fourier transforms and conjugate gradient."""
    shape, keywords = SETTINGS[setting]
    prior = Tikhonov(**keywords)
    D = matrix_of(prior.differences, shape)
    x = random((4, *shape))
    flat = x.flatten(1)
    torch.testing.assert_close(prior.cost(x), (flat @ D.T).square().sum(1))
    torch.testing.assert_close(prior.gradient(x).flatten(1), 2 * flat @ D.T @ D)
    system = torch.eye(len(D.T)) + 2 * STRENGTHS[:, None, None] * (D.T @ D)
    expected = torch.linalg.solve(system, flat)
    near = 1e-12 if prior.differences.sea is None else 1e-9
    prox = prior.prox(x, STRENGTHS).flatten(1)
    torch.testing.assert_close(prox, expected, rtol=0, atol=near)


@pytest.mark.parametrize("prior", [Tikhonov, TotalVariation])
@BOTH
def test_what_stands_on_land_changes_nothing(prior, dtype):
    sea = coast(5, 6)
    masked = prior(sea=sea)
    x = random((2, 5, 6), dtype)
    zero, nan = x.masked_fill(~sea, 0.0), x.masked_fill(~sea, float("nan"))
    for function in (masked.cost, masked.gradient):
        torch.testing.assert_close(function(nan), function(zero), rtol=0, atol=0)
    assert torch.isfinite(masked.cost(nan)).all()
    assert (masked.gradient(nan)[:, ~sea] == 0).all()
    smooth = masked.prox(nan, 1.0)
    torch.testing.assert_close(smooth[:, sea], masked.prox(x, 1.0)[:, sea], rtol=0, atol=0)
    assert torch.isfinite(smooth[:, sea]).all()
    assert smooth[:, ~sea].isnan().all()  # as it was
    lake = smooth[:, 0, 2]  # one cell with land all round
    torch.testing.assert_close(lake, x[:, 0, 2], rtol=0, atol=1e-6)


@pytest.mark.parametrize("prior", [Tikhonov, TotalVariation])
def test_two_basins_do_not_see_each_other(prior):
    sea = torch.ones(4, 9, dtype=torch.bool)
    sea[:, 4] = False
    masked, free = prior(sea=sea), prior()
    x = random((3, 4, 9))
    west, east = x[..., :4], x[..., 5:]
    torch.testing.assert_close(masked.cost(x), free.cost(west) + free.cost(east))
    gradient = torch.cat([free.gradient(west), 0 * x[..., :1], free.gradient(east)], -1)
    torch.testing.assert_close(masked.gradient(x), gradient)
    if prior is Tikhonov:  # a very strong prox is the mean of each
        means = masked.prox(x, 1e7)[..., [0, -1]]
        expected = torch.stack([west.mean((1, 2)), east.mean((1, 2))], -1)
        torch.testing.assert_close(
            means, expected[:, None].expand(means.shape), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("prior", [Tikhonov, TotalVariation])
@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ({"axes": (1, 2)}, "counted from the end"),
        ({"axes": (-1, -1)}, "different axes"),
        ({"axes": ()}, "different axes"),
        ({"spacing": (1.0,)}, r"spacing=\(1.0,\): give one for each of axes=\(-2, -1\)"),
        ({"periodic": (True, False, True)}, "periodic=.*give one for each"),
        ({"spacing": (1.0, 0.0)}, "positive distances"),
        ({"sea": torch.ones(4, 5)}, "sea is torch.float32: expected booleans"),
    ],
)
def test_axes_and_masks_that_do_not_fit_are_errors(prior, keywords, match):
    with pytest.raises(ValueError, match=match):
        prior(**keywords)


def test_states_that_do_not_fit_the_axes_or_the_mask_are_errors():
    with pytest.raises(ValueError, match=r"shape \(7,\).*at least 2 axes"):
        Tikhonov().cost(torch.zeros(2, 7))
    with pytest.raises(ValueError, match=r"sea has the shape \(4, 5\).*\(4, 6\)"):
        Tikhonov(sea=torch.ones(4, 5, dtype=torch.bool)).cost(torch.zeros(2, 4, 6))


# Tikhonov ------------------------------------------------------------------------------


def test_tikhonov_of_a_plane_is_its_slope_and_asks_nothing_inside():
    y, x = torch.meshgrid(
        torch.arange(6, dtype=torch.float64),
        torch.arange(5, dtype=torch.float64),
        indexing="ij",
    )
    plane = (3.0 * 2.0 * y - 4.0 * 0.5 * x)[None]  # slopes 3 and -4 at spacings 2 and 0.5
    prior = Tikhonov(spacing=(2.0, 0.5))
    assert prior.cost(plane).item() == pytest.approx(3**2 * 5 * 5 + 4**2 * 6 * 4, rel=1e-12)
    gradient = prior.gradient(plane)[0]
    assert gradient[1:-1, 1:-1].abs().max() < 1e-10
    # It would have the edges less steep.
    assert (gradient[-1, 1:-1] > 1).all()
    assert (gradient[0, 1:-1] < -1).all()


@pytest.mark.parametrize("periodic", [True, False])
def test_tikhonov_of_a_wave_is_its_eigenvalue(periodic):
    """4 sin^2(pi k / n) / h^2 on a ring; a cosine between natural edges, with k / 2."""
    n, k, h = 24, 3, 0.7
    cell = torch.arange(n, dtype=torch.float64)
    phase = 2 * torch.pi * k / n * cell if periodic else torch.pi * k / n * (cell + 0.5)
    wave = phase.cos()[None]
    turns = k if periodic else k / 2
    eigenvalue = (2 / h * np.sin(np.pi * turns / n)) ** 2
    prior = Tikhonov((-1,), (h,), (periodic,))
    torch.testing.assert_close(prior.cost(wave), eigenvalue * wave.square().sum(1))
    torch.testing.assert_close(prior.gradient(wave), 2 * eigenvalue * wave)
    torch.testing.assert_close(prior.prox(wave, 5.0), wave / (1 + 10 * eigenvalue))


def test_a_prox_that_is_not_found_is_an_error(monkeypatch):
    prior = Tikhonov(sea=coast(5, 6))
    monkeypatch.setattr("xinverse.priors.tikhonov.ITERATIONS", 1)
    with pytest.raises(ArithmeticError, match="The prox of strength up to 100 was not found"):
        prior.prox(random((1, 5, 6)), 100.0)


# Total variation -----------------------------------------------------------------------


def sharp(prior: TotalVariation) -> Callable[[Tensor], Tensor]:
    """Total variation, not rounded off."""
    return lambda x: prior.differences(x).square().sum(1).sqrt().flatten(1).sum(1)


def exact(**keywords: object) -> TotalVariation:
    return TotalVariation(iterations=5000, tolerance=1e-6, **keywords)  # type: ignore[arg-type]  # axes and such


def test_total_variation_of_a_front_is_its_height_times_its_length():
    x = torch.zeros(1, 6, 8, dtype=torch.float64)
    x[..., 3:] = 2.5
    front = TotalVariation(smoothing=1e-9)
    assert front.cost(x).item() == pytest.approx(2.5 * 6, rel=1e-6)
    # However steep it is: what Tikhonov would have halved stays.
    ramp = x.clone()
    ramp[..., 3] = 1.0
    torch.testing.assert_close(front.cost(ramp), front.cost(x), rtol=1e-6, atol=0)
    assert Tikhonov().cost(ramp) < 0.6 * Tikhonov().cost(x)


def test_total_variation_is_isotropic_and_rounded_off_from_below():
    x = random((5, 4, 6))
    prior = TotalVariation(smoothing=0.01)
    missing = sharp(prior)(x) - prior.cost(x)
    assert (missing > 0).all()
    assert (missing < 0.01 * 4 * 6).all()
    # Steps of 3 and 4 in one cell make a gradient of 5.
    corner = torch.tensor([[[0.0, 3.0], [4.0, 0.0]]], dtype=torch.float64)
    assert sharp(prior)(corner).item() == pytest.approx(5 + 3 + 4)


@pytest.mark.parametrize("spacing", [1.0, 0.5])
@pytest.mark.parametrize(("few", "many"), [(1, 5), (4, 3)])
def test_prox_of_two_levels_moves_each_by_the_strength_over_its_length(spacing, few, many):
    x = torch.tensor([[1.0] * few + [4.0] * many], dtype=torch.float64)
    prior = exact(axes=(-1,), spacing=(spacing,))
    for strength in (0.05, 0.4, 1.0):
        tau = strength / spacing
        low, high = 1 + tau / few, 4 - tau / many
        if low >= high:  # the front is gone
            low = high = float(x.mean())
        expected = torch.tensor([[low] * few + [high] * many], dtype=torch.float64)
        torch.testing.assert_close(prior.prox(x, strength), expected, rtol=0, atol=1e-7)
    flat = prior.prox(x, 100.0)
    torch.testing.assert_close(flat, x.mean().expand(x.shape), rtol=0, atol=1e-7)


def test_prox_of_a_bump_takes_twice_the_strength_from_its_top():
    """It has two fronts; on a ring so has the rest."""
    x = torch.tensor([[0.0] * 3 + [5.0] * 4 + [0.0] * 5], dtype=torch.float64)
    strength = 1.2
    natural = [strength / 3] * 3 + [5 - 2 * strength / 4] * 4 + [strength / 5] * 5
    ring = [2 * strength / 8] * 3 + [5 - 2 * strength / 4] * 4 + [2 * strength / 8] * 5
    for periodic, expected in ((False, natural), (True, ring)):
        z = exact(axes=(-1,), periodic=(periodic,)).prox(x, strength)
        torch.testing.assert_close(z, torch.tensor([expected]).to(z), rtol=0, atol=1e-7)


def test_prox_leaves_a_constant_as_it_is():
    x = torch.full((2, 5, 6), 3.25)
    assert (TotalVariation().prox(x, 10.0) == x).all()


@EACH_SETTING
def test_prox_of_total_variation_is_optimal(setting):
    """What it takes away is a subgradient: of all w, <x - z, w> <= tau TV(w), equal at z."""
    shape, keywords = SETTINGS[setting]
    prior = exact(**keywords)
    variation = sharp(prior)
    x = random((4, *shape)) * 2
    sea = torch.ones(shape, dtype=torch.bool)
    if prior.differences.sea is not None:
        sea = sea & prior.differences.sea
    z = prior.prox(x, STRENGTHS)
    taken = x - z
    assert (taken[:, ~sea] == 0).all()
    torch.testing.assert_close(
        inner(taken, z * sea), STRENGTHS * variation(z), rtol=1e-6, atol=1e-5
    )
    for seed in range(200):
        w = random(x.shape, seed=seed)
        assert (inner(taken, w) <= STRENGTHS * variation(w) + 1e-8).all()


def test_the_tolerance_of_a_prox_is_kept():
    """The bound is no smaller than the error, at any tolerance that stopped the iterations."""
    x = random((3, 8, 8))
    nearest = TotalVariation(iterations=5000, tolerance=1e-6).prox(x, 0.8)
    previous = 0
    for tolerance in (0.1, 1e-2, 1e-3):
        z = TotalVariation(iterations=5000, tolerance=tolerance).prox(x, 0.8)
        error = (z - nearest).flatten(1).norm(dim=1) / (z - x).flatten(1).norm(dim=1)
        assert (error <= tolerance + 1e-6).all()
        assert (error != previous).all()
        previous = error


def test_the_derivative_of_a_prox_averages_over_the_levels():
    x = torch.tensor([[0.0] * 3 + [4.0] * 2], dtype=torch.float64)
    prior = exact(axes=(-1,))
    jacobian = torch.autograd.functional.jacobian(lambda v: prior.prox(v, 0.5)[0], x)[:, 0]
    expected = torch.block_diag(torch.full((3, 3), 1 / 3), torch.full((2, 2), 1 / 2))
    torch.testing.assert_close(jacobian, expected.to(jacobian), rtol=0, atol=1e-6)


def test_a_total_variation_that_is_not_smoothed_has_no_gradient():
    with pytest.raises(ValueError, match="smoothing=0.0: expected a slope above zero"):
        TotalVariation(smoothing=0.0)


# Empirical orthogonal functions --------------------------------------------------------


def ocean(samples: int = 40) -> Tensor:
    """States of four patterns of falling variance, and noise."""
    amplitudes = random((samples, 4), seed=11) * torch.tensor([8.0, 4.0, 2.0, 1.0])
    patterns = torch.linalg.qr(random((30, 4), seed=12))[0].T
    return (10 + amplitudes @ patterns + 0.05 * random((samples, 30), seed=13)).unflatten(
        1, (5, 6)
    )


def test_modes_are_eigenvectors_of_the_covariance():
    states = ocean()
    prior = EOF.fit(states, modes=4)
    flat = states.flatten(1)
    torch.testing.assert_close(prior.mean, flat.mean(0))
    covariance = torch.cov(flat.T)
    torch.testing.assert_close(
        prior.modes @ covariance, prior.variance[:, None] * prior.modes, rtol=0, atol=1e-9
    )
    torch.testing.assert_close(prior.modes @ prior.modes.T, torch.eye(4).to(flat))
    torch.testing.assert_close(prior.variance, torch.linalg.eigvalsh(covariance).flip(0)[:4])
    # The amplitudes are uncorrelated, each with the variance of its mode.
    scores = torch.cov(prior.scores(states).T)
    torch.testing.assert_close(scores, prior.variance.diag(), rtol=0, atol=1e-9)


def test_modes_equal_those_of_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    states = ocean()
    flat = states.flatten(1).numpy()
    pca = decomposition.PCA(3, svd_solver="full").fit(flat)
    prior = EOF.fit(states, modes=3)
    sign = np.sign((pca.components_ * prior.modes.numpy()).sum(1))
    near = {"rtol": 0, "atol": 1e-10}
    np.testing.assert_allclose(prior.modes, sign[:, None] * pca.components_, **near)
    np.testing.assert_allclose(prior.variance, pca.explained_variance_, rtol=1e-10)
    np.testing.assert_allclose(prior.scores(states), sign * pca.transform(flat), **near)
    again = pca.inverse_transform(pca.transform(flat))
    np.testing.assert_allclose(prior.project(states).flatten(1), again, **near)


@BOTH
def test_a_projection_on_modes_is_a_projection(dtype):
    """Twice is once, what is left out is orthogonal, and the modes' own states cost nothing."""
    prior = EOF.fit(ocean(), modes=3).to(dtype)
    x = 10 + random((4, 5, 6), dtype)
    once = prior.project(x)
    near = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(prior.project(once), once, rtol=0, atol=near)
    assert prior.scores(x - once + prior.mean.unflatten(0, (5, 6))).abs().max() < near
    some = prior.mean + random((6, 3), dtype, seed=2) @ prior.modes
    assert prior.cost(some.unflatten(1, (5, 6))).max() < near
    torch.testing.assert_close(prior.prox(once, 50.0), once, rtol=0, atol=near)


def test_a_fit_leaves_out_the_variance_of_the_modes_that_it_drops():
    states = ocean()
    whole = EOF.fit(states, modes=30).variance
    for modes in (1, 2, 5):
        left = EOF.fit(states, modes=modes).cost(states).sum() / (len(states) - 1)
        torch.testing.assert_close(left, whole[modes:].sum())


def test_as_many_modes_as_explain_a_share_of_the_variance():
    states = ocean()
    whole = EOF.fit(states, modes=30).variance
    share = (whole.cumsum(0) / whole.sum()).tolist()
    assert len(EOF.fit(states, explained=share[0] - 1e-9).modes) == 1
    assert len(EOF.fit(states, explained=share[0] + 1e-9).modes) == 2
    assert len(EOF.fit(states, explained=0.999).modes) == 4
    assert len(EOF.fit(states, explained=1.0).modes) >= 29
    # Fewer states than numbers: as many modes as states, less the mean.
    few = EOF.fit(states[:6], explained=1.0)
    assert len(few.modes) <= 5
    assert few.cost(states[:6]).max() < 1e-20


def test_refits_agree():
    """Whatever the order of the states, and their sign about the mean."""
    states = ocean()
    first = EOF.fit(states, modes=4)
    assert (first.modes.gather(1, first.modes.abs().argmax(1, keepdim=True)) > 0).all()
    mirrored = 2 * states.mean(0) - states
    for other in (states.flip(0), states[random((40,)).argsort()], mirrored):
        torch.testing.assert_close(EOF.fit(other, modes=4).modes, first.modes)
    low = EOF.fit(states.float(), modes=4)
    assert low.modes.dtype == torch.float32
    torch.testing.assert_close(low.modes.double(), first.modes, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ({}, "either modes=, a number, or explained="),
        ({"modes": 2, "explained": 0.9}, "either modes=, a number, or explained="),
        ({"modes": 0}, "modes=0: 40 states of 30 numbers have 1 to 30"),
        ({"modes": 31}, "modes=31: 40 states of 30 numbers have 1 to 30"),
        ({"explained": 0.0}, "explained=0.0.*share above 0"),
        ({"explained": 1.5}, "explained=1.5.*up to 1"),
    ],
)
def test_a_fit_that_cannot_be_is_an_error(keywords, match):
    with pytest.raises(ValueError, match=match):
        EOF.fit(ocean(), **keywords)


def test_modes_of_other_states_are_errors():
    with pytest.raises(ValueError, match="missing or infinite values: fill them first"):
        EOF.fit(torch.tensor([[1.0, float("nan")], [0.0, 1.0]]), modes=1)
    with pytest.raises(ValueError, match="two states or more"):
        EOF.fit(torch.zeros(1, 4), explained=0.9)
    with pytest.raises(
        ValueError, match=r"\(4, 6\), 24 numbers: these modes are of states of 30"
    ):
        EOF.fit(ocean(), modes=2).project(torch.zeros(1, 4, 6, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"expected \(n,\), \(k, n\) and \(k,\)"):
        EOF(torch.zeros(4), torch.zeros(2, 5), torch.zeros(2))


# Autoencoder ---------------------------------------------------------------------------


def test_the_autoencoder_of_an_image_has_the_size_of_the_papers():
    prior = Autoencoder((28, 28))
    count = sum(p.numel() for p in prior.parameters())
    layers = (784 * 256 + 256) + (256 * 128 + 128) + (128 * 20 + 20)
    back = (20 * 128 + 128) + (128 * 256 + 256) + (256 * 784 + 784)
    assert count == layers + back == 473_636
    assert prior.encoder(torch.zeros(2, 784)).shape == (2, 20)
    assert Autoencoder(784).project(torch.zeros(2, 784)).shape == (2, 784)


def test_a_linear_autoencoder_can_be_the_projection_on_modes():
    """E x - E m, then E' z + m."""
    modes = EOF.fit(ocean(), modes=3)
    prior = Autoencoder((5, 6), latent=3, hidden=()).double()
    weights = [modes.modes, -modes.modes @ modes.mean, modes.modes.T, modes.mean]
    with torch.no_grad():
        for parameter, value in zip(prior.parameters(), weights, strict=True):
            parameter.copy_(value)
    x = random((4, 5, 6))
    torch.testing.assert_close(prior.project(x), modes.project(x))


def test_what_an_autoencoder_gives_lies_on_few_numbers():
    """The Jacobian has the rank of the latent space at most, and values go below zero."""
    case = autoencoder(torch.float64)
    x = random((1, *case.shape))
    jacobian = torch.autograd.functional.jacobian(case.prior.project, x).reshape(12, 12)
    assert torch.linalg.matrix_rank(jacobian) <= 2
    assert case.prior.project(random((20, *case.shape))).min() < 0


def test_an_autoencoder_of_other_states_is_an_error():
    with pytest.raises(ValueError, match=r"shape \(4, 3\): this network.*\(3, 4\)"):
        autoencoder(torch.float32).prior.project(torch.zeros(1, 4, 3))
    with pytest.raises(ValueError, match="latent=0: expected sizes of 1 or more"):
        Autoencoder((3, 4), latent=0)


# U-Net ---------------------------------------------------------------------------------

LAYOUTS = {
    "maps": ((3, 9, 10), {"channels": 3}),
    "images": ((9, 7), {"channels": 1, "channel": None}),
    "one cell": ((2, 1, 1), {"channels": 2}),
    "series": ((11, 3), {"channels": 3, "rank": 1, "channel": 2}),
    "one series": ((11,), {"channels": 1, "rank": 1, "channel": None}),
    "maps with depth": ((2, 3, 5, 6), {"channels": 2, "rank": 3}),
    "time convolved too": ((3, 5, 6), {"channels": 1, "rank": 3, "channel": None}),
    "channels last": ((5, 6, 2), {"channels": 2, "channel": 3}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("levels", [1, 2, 3])
@BOTH
def test_a_unet_keeps_the_shape_of_states_of_any_rank(layout, levels, dtype):
    shape, keywords = LAYOUTS[layout]
    prior = UNet(hidden=2, levels=levels, **keywords).to(dtype)
    x = random((2, *shape), dtype)
    projection = prior.project(x)
    assert projection.shape == x.shape
    assert projection.dtype == dtype
    assert prior.gradient(x).shape == x.shape
    with torch.no_grad():
        for part in prior.leave.parameters():
            part.zero_()
    torch.testing.assert_close(prior.project(x), x)  # the network gives the change
    prior.residual = False
    assert (prior.project(x) == 0).all()


def test_a_unet_has_no_edge_where_the_state_has_none():
    """Turned by as many cells as the coarsest are wide, it gives the same, turned."""
    prior = UNet(2, hidden=4, periodic=[False, True]).double()
    x = random((1, 2, 6, 16))
    turned = prior.project(x.roll(4, -1)).roll(-4, -1)
    torch.testing.assert_close(turned, prior.project(x))
    edged = UNet(2, hidden=4).double()
    edged.load_state_dict(prior.state_dict())
    assert (edged.project(x.roll(4, -1)).roll(-4, -1) - edged.project(x)).abs().max() > 1e-3


def test_a_tile_of_a_unet_is_that_of_the_whole():
    """Beyond its reach from the edge, cut where the coarsest grid begins."""
    prior = UNet(1, hidden=3, levels=1).double()
    x = random((1, 1, 48, 44))
    inside = (..., slice(12, -12), slice(12, -12))
    whole, tile = prior.project(x)[..., 4:40, 6:42], prior.project(x[..., 4:40, 6:42])
    torch.testing.assert_close(tile[inside], whole[inside])


def test_a_coarser_level_sees_farther():
    reach = []
    for levels in (1, 2):
        prior = UNet(1, hidden=16, levels=levels, rank=1, channel=None).double()
        x = random((1, 64)).requires_grad_()
        (slope,) = torch.autograd.grad(prior.project(x)[0, 32], x)
        reach.append(int((slope != 0).sum()))
    assert reach[0] < reach[1] < 64


def test_a_unet_that_cannot_be_is_an_error():
    with pytest.raises(ValueError, match="4 must divide a periodic side"):
        UNet(1, periodic=[False, True]).project(torch.zeros(1, 1, 8, 10))
    with pytest.raises(ValueError, match="levels=0: expected 1 or more"):
        UNet(1, levels=0)
    with pytest.raises(ValueError, match="expected 1, 2 or 3 convolved axes"):
        UNet(1, rank=4)


# Dynamics ------------------------------------------------------------------------------


def test_a_trajectory_of_the_model_costs_nothing():
    model = Lorenz63()
    prior = DynamicsPrior(model, dt=0.05, substeps=5)
    x = model.trajectory(random((3, 3)), 0.05, times=8, substeps=5)
    assert prior.cost(x).max() == 0
    torch.testing.assert_close(prior.project(x), x, rtol=0, atol=0)
    # An error at one time is paid for there and, by the flow, at the time after.
    off = x.clone()
    off[:, 3, 0] += 1e-3
    flown = model(off[:, 3], 0.01, 5) - x[:, 4]
    torch.testing.assert_close(prior.cost(off), 1e-6 + flown.square().sum(1))
    last = x.clone()
    last[:, -1, 2] += 0.5
    torch.testing.assert_close(prior.cost(last), torch.full((3,), 0.25).double())


def test_a_bilinear_model_can_be_lorenz_63():
    """Two products are enough: of the first component with the third, and the second."""
    truth = Lorenz63()
    learned = BilinearODE(3, 2).double()
    assert DYNAMICS["bilinear"] is BilinearODE
    with torch.no_grad():
        for parameter in learned.parameters():
            parameter.zero_()
        learned.linear.weight.copy_(
            torch.tensor([[-10.0, 10.0, 0.0], [28.0, -1.0, 0.0], [0.0, 0.0, 0.0]])
        )
        learned.linear.weight[2, 2] = -truth.beta
        learned.first.weight[:, 0] = 1.0
        learned.second.weight[0, 2] = learned.second.weight[1, 1] = 1.0
        learned.leave.weight[1, 0], learned.leave.weight[2, 1] = -1.0, 1.0
    x = 10 * random((5, 3))
    torch.testing.assert_close(learned.tendency(x), truth.tendency(x))
    torch.testing.assert_close(learned(x, 0.01, 100), truth(x, 0.01, 100), rtol=0, atol=1e-8)
    # With more products than it needs, the others are silent.
    wide = BilinearODE(3, 7).double()
    with torch.no_grad():
        wide.leave.weight.zero_()
        wide.linear.load_state_dict(learned.linear.state_dict())
        wide.leave.weight[:, :2] = learned.leave.weight
        wide.first.weight[:2], wide.second.weight[:2] = (
            learned.first.weight,
            learned.second.weight,
        )
    torch.testing.assert_close(wide(x, 0.01, 100), truth(x, 0.01, 100), rtol=0, atol=1e-8)


def test_a_bilinear_model_is_of_second_degree():
    """Third differences along a line vanish; second ones do not."""
    model = BilinearODE(4, 6).double()
    x, way = random((1, 4)), random((1, 4), seed=1)
    values = torch.cat([model.tendency(x + k * way) for k in range(6)])
    assert values.diff(3, 0).abs().max() < 1e-12
    assert values.diff(2, 0).abs().max() > 1e-2


def test_a_bilinear_model_that_cannot_be_is_an_error():
    with pytest.raises(ValueError, match="hidden=0: expected 1 or more"):
        BilinearODE(3, 0)
    with pytest.raises(ValueError, match="a learned model has none to replace"):
        BilinearODE(3, 2).tendency(torch.zeros(1, 3), {"rho": torch.tensor(28.0)})
