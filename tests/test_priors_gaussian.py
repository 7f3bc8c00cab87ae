"""Gaussian priors: kernels that are covariances, fast products equal to dense ones, samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from prior_cases import axes
from tensors import BOTH, random
from torch import Tensor

from xinverse.errors import OptionError
from xinverse.priors import CirculantGaussian, GaussianPrior, KroneckerGaussian
from xinverse.priors.factors import Factors
from xinverse.priors.kernels import SPACE_KERNELS, TIME_KERNELS, reach
from xinverse.priors.noise import white_noise

# Kernels ------------------------------------------------------------------------------

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


# Gaussian priors: products ------------------------------------------------------------

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


# Gaussian priors: cost ----------------------------------------------------------------


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


@EVERY_VARIANT
@pytest.mark.parametrize("nugget", [1e-14, 0.0])
def test_a_covariance_that_cannot_be_inverted_is_an_error(variant, nugget):
    """The numbers decide it, and what the error asks for is enough, whatever the processor."""
    prior = gaussian(variant, (1, 12, 12), length_scale=500.0)  # largest eigenvalue: near 144
    prior.nugget = nugget
    x = random((1, *prior.shape))
    with pytest.raises(ArithmeticError, match=f"larger nugget than {nugget:g}: at least") as e:
        prior.cost(x)
    prior.nugget = float(str(e.value).split()[-1].rstrip("."))
    assert 1e-11 < prior.nugget < 1e-8
    half = prior.gradient(x) / 2
    image = dense(prior) @ half.flatten() + prior.nugget * prior.variance * half.flatten()
    assert (image - x.flatten()).norm() < 1e-3 * x.norm()


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


# Gaussian priors: samples -------------------------------------------------------------


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


# Gaussian priors: several variables ---------------------------------------------------


def coupled(
    variant: str, coupling: list[list[float]], days: list[float], series: list[int]
) -> GaussianPrior:
    kind, names = VARIANTS[variant]
    _, y, x = axes((1, 3, 4))
    return kind(
        torch.tensor(days, dtype=torch.float64),
        y,
        x,
        length_scale=20.0,
        time_scale=1.5,
        variance=3.0,
        series=torch.tensor(series),
        coupling=torch.tensor(coupling, dtype=torch.float64),
        **names,
    )  # type: ignore[arg-type]  # numbers and names


def joint(prior: GaussianPrior) -> Tensor:
    """B of several variables, entry by entry."""
    assert prior.series is not None
    assert prior.coupling is not None
    series = prior.series[all_cells(prior)[:, 0]]
    return dense(prior) * prior.coupling[series][:, series]


HALF, ONE = [[1.0, 0.6], [0.6, 1.0]], [[1.0, 1.0], [1.0, 1.0]]
THREE = [[1.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, 1.0]]
LAYOUTS = {
    "the same days": (HALF, [0.0, 1.0, 2.0, 0.0, 1.0, 2.0], [0, 0, 0, 1, 1, 1]),
    "one and the same": (ONE, [0.0, 1.0, 0.0, 1.0], [0, 0, 1, 1]),
    "other days": (HALF, [0.0, 1.0, 2.0, 3.0, 1.0, 3.0], [0, 0, 0, 0, 1, 1]),
    "by day": (HALF, [0.0, 0.0, 1.0, 1.0], [1, 0, 1, 0]),
    "three, the first not in the state": (THREE, [0.0, 1.0, 0.0], [1, 1, 2]),
}
EVERY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS)


@EVERY_VARIANT
@EVERY_LAYOUT
def test_products_of_several_variables_equal_the_joint_matrix(variant, layout):
    prior = coupled(variant, *LAYOUTS[layout])
    B, cells = joint(prior), all_cells(prior)
    torch.testing.assert_close(prior.between(cells, cells), B, rtol=1e-12, atol=1e-12)
    x = random((2, *prior.shape))
    torch.testing.assert_close(prior.matvec(x).flatten(1), x.flatten(1) @ B, rtol=0, atol=1e-9)
    some = torch.randperm(len(cells), generator=torch.Generator().manual_seed(2))[:9]
    v = random((2, 9), seed=1)
    spread = prior.spread(v, cells[some]).flatten(1)
    torch.testing.assert_close(spread, v @ B[some], rtol=0, atol=1e-9)
    restricted = prior.restrict(v, cells[some])
    torch.testing.assert_close(restricted, v @ B[some][:, some], rtol=0, atol=1e-9)


@EVERY_VARIANT
@EVERY_LAYOUT
def test_inverse_of_several_variables(variant, layout):
    prior = coupled(variant, *LAYOUTS[layout])
    prior.nugget = 1e-2
    x = random((1, *prior.shape))
    matrix = joint(prior) + prior.nugget * prior.variance * torch.eye(x.numel())
    expected = torch.linalg.solve(matrix, x.flatten(1).T).T
    torch.testing.assert_close(prior.solve(x).flatten(1), expected, rtol=0, atol=1e-4)


@EVERY_VARIANT
@EVERY_LAYOUT
def test_colour_of_several_variables_gives_the_joint_matrix(variant, layout):
    """As for one variable: W' W of coloured unit vectors, a block of noise per variable."""
    coupling, days, series = LAYOUTS[layout]
    prior = coupled(variant, coupling, days, series)
    prior.length_scale, prior.time_scale = 5.0, 0.5
    shape = prior.noise_shape
    assert shape[0] == len(coupling) * (len(set(days)) + 2 * prior.margins[0])
    size, count = int(np.prod(shape)), len(all_cells(prior))
    covariance = torch.zeros(count, count, dtype=torch.float64)
    for rows in torch.arange(size).split(2000):
        unit = torch.zeros(len(rows), size, dtype=torch.float64)
        unit[torch.arange(len(rows)), rows] = 1
        w = prior.colour(unit.unflatten(1, shape)).flatten(1)
        covariance += w.T @ w
    torch.testing.assert_close(covariance, joint(prior), rtol=0, atol=2e-3 * prior.variance)


@pytest.mark.parametrize("variant", ["kronecker", "circulant, matern32"])
def test_samples_of_several_variables_agree_between_tiles(variant):
    """Noise is drawn for each variable alone, as the cells' own; variables may be left out."""
    kind, names = VARIANTS[variant]
    coupling = torch.tensor(HALF, dtype=torch.float64)
    tiles = {
        (0, 1): [np.arange(2, 8), np.arange(10, 18), np.arange(30, 39)],
        (1,): [np.arange(4, 8), np.arange(7, 15), np.arange(34, 46)],
    }
    fields = []
    for variables, cells in tiles.items():
        t, y, x = axes(tuple(map(len, cells)))
        prior = kind(
            t.repeat(len(variables)),
            y,
            x,
            length_scale=30.0,
            time_scale=1.5,
            series=torch.tensor(variables).repeat_interleave(len(t)),
            coupling=coupling,
            **names,
        )  # type: ignore[arg-type]  # numbers and names
        noise = [white_noise(9, 2, cells, prior.margins, stream=2 * v) for v in (0, 1)]
        block = torch.from_numpy(np.concatenate(noise))[None]
        assert block.shape[1:] == prior.noise_shape
        fields.append(prior.colour(block)[0])
    second = fields[0][len(tiles[0, 1][0]) :][2:6, 0:5, 4:9]
    alone = fields[1][0:4, 3:8, 0:5]
    assert second.shape == alone.shape
    assert (second - alone).square().mean().sqrt() < 5e-3
    # The first variable is another field, correlated with the second.
    first = fields[0][: len(tiles[0, 1][0])]
    assert 0.1 < (fields[0][len(first) :] - first).square().mean().sqrt() < 1.5


@pytest.mark.parametrize("kind", [KroneckerGaussian, CirculantGaussian])
def test_one_coupled_variable_is_one_variable(kind):
    t, y, x = axes((3, 4, 5))
    scales = {"length_scale": 25.0, "time_scale": 2.0}
    plain = kind(t, y, x, **scales)
    one = kind(
        t, y, x, **scales, series=torch.zeros(3, dtype=torch.int32), coupling=torch.eye(1)
    )
    v = random((2, *plain.shape))
    torch.testing.assert_close(one.matvec(v), plain.matvec(v))
    noise = random((1, *plain.noise_shape))
    assert one.noise_shape == plain.noise_shape
    torch.testing.assert_close(one.colour(noise), plain.colour(noise))


@pytest.mark.parametrize(
    ("series", "coupling", "message"),
    [
        (torch.tensor([0, 1]), None, "series without coupling: expected both"),
        (None, torch.eye(2), "coupling without series: expected both"),
        (torch.tensor([0, 1, 1]), torch.eye(2), r"expected integers of shape \(2,\)"),
        (torch.tensor([0.0, 1.0]), torch.eye(2), "torch.float32: expected integers"),
        (torch.tensor([0, 2]), torch.eye(2), "expected numbers from 0 to 1"),
        (torch.tensor([0, 1]), torch.ones(2, 3), "expected a square matrix"),
        (torch.tensor([0, 1]), 2 * torch.eye(2), "diagonal of 1"),
        (torch.tensor([0, 1]), torch.tensor([[1, 0.5], [0.2, 1]]), "expected a symmetric"),
        (torch.tensor([0, 1]), torch.tensor([[1, 1.5], [1.5, 1]]), "an eigenvalue of -0.5"),
        (torch.tensor([0, 1]), torch.full((2, 2), torch.nan), "expected a symmetric"),
    ],
)
def test_an_invalid_coupling_is_an_error(series, coupling, message):
    t, y, x = axes((2, 3, 4))
    with pytest.raises(OptionError, match=message):
        KroneckerGaussian(
            t, y, x, length_scale=25.0, time_scale=2.0, series=series, coupling=coupling
        )


# Gaussian priors: on a grid -----------------------------------------------------------


@dataclass
class Grid:
    """Days and km, as plain arrays."""

    time: np.ndarray
    y: np.ndarray
    x: np.ndarray
    periodic: bool = False


def grid() -> Grid:
    return Grid(np.arange(5.0, 8), 1000 + 11.0 * np.arange(4), -300 + 13.0 * np.arange(5))


@pytest.mark.parametrize("kind", [KroneckerGaussian, CirculantGaussian])
def test_a_prior_on_a_grid(kind):
    found = kind.on(grid(), sea=np.ones((4, 5), bool), variance=2.0, temporal="exponential")
    t, y, x = (torch.arange(n).double() for n in (3, 4, 5))
    expected = kind(
        t,
        11 * y,
        13 * x,
        length_scale=100.0,
        time_scale=10.0,
        variance=2.0,
        temporal="exponential",
    )
    assert type(found) is kind
    v = random((1, 3, 4, 5))
    torch.testing.assert_close(found.matvec(v), expected.matvec(v))


@pytest.mark.parametrize("kind", [KroneckerGaussian, CirculantGaussian])
def test_several_variables_on_a_grid_are_stacked(kind):
    coupling = np.array(HALF)
    found = kind.on(grid(), coupling=coupling)
    assert found.shape == (6, 4, 5)
    assert found.series.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.time.tolist() == [0, 1, 2, 0, 1, 2]
    several = Grid(np.array([5.0, 6.0, 7.0, 6.0]), grid().y, grid().x)
    other = kind.on(several, coupling=coupling, series=np.array([0, 0, 0, 1]))
    kept = [0, 1, 2, 4]
    cells = all_cells(other)
    same = cells.clone()
    same[:, 0] = torch.tensor(kept)[cells[:, 0]]
    torch.testing.assert_close(other.between(cells, cells), found.between(same, same))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_at_cells_are_those_of_the_whole_matrix(dtype: torch.dtype) -> None:
    """Cells in any order, one of them twice, and lines without a cell."""
    torch.manual_seed(0)
    factors = Factors(torch.randn(3, 2), torch.randn(4, 3), torch.randn(5, 4), 2.0)
    factors = Factors(*(f.to(dtype) for f in factors[:3]), 2.0)
    cells = torch.tensor([[2, 3, 4], [0, 1, 0], [2, 0, 1], [0, 1, 3], [0, 1, 0]])
    t, y, x = (f.double() for f in factors[:3])
    whole = 2.0**0.5 * torch.einsum("tr,yk,xl->tyxrkl", t, y, x)
    rows = whole[cells[:, 0], cells[:, 1], cells[:, 2]].flatten(1)
    v, z = torch.randn(2, 5, dtype=dtype), torch.randn(2, 2, 3, 4, dtype=dtype)
    torch.testing.assert_close(
        factors.to_modes(v, cells).flatten(1), (v.double() @ rows).to(dtype)
    )
    seen = (z.double().flatten(1) @ rows.T).to(dtype)
    torch.testing.assert_close(factors.from_modes(z, cells), seen)
    followed = factors.from_modes(z.requires_grad_(), cells)
    torch.testing.assert_close(followed, seen)
