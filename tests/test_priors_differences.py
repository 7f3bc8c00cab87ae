"""Differences between neighbours, and the priors made of them: Tikhonov, total variation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prior_cases import STRENGTHS, coast, inner, sharp
from tensors import BOTH, random
from torch import Tensor

from xinverse.priors import Tikhonov, TotalVariation
from xinverse.priors.differences import Differences

# Differences between neighbours -------------------------------------------------------

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


# Tikhonov -----------------------------------------------------------------------------


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


# Total variation ----------------------------------------------------------------------


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
