"""The exact minimum of total variation, against another convex solver and known answers.

The reference is the alternating direction method of multipliers in numpy, with dense matrices
built here and exact linear solves, run until its residuals are 1e-10.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from tensors import random
from torch import Tensor

from xinverse.local_grid import LocalGrid
from xinverse.operators import (
    Blur,
    Coarsen,
    Composition,
    Mask,
    NoiseWeighted,
    Operator,
    Separable,
    TimeWindow,
    gaussian_psf,
)
from xinverse.priors import Tikhonov, TotalVariation
from xinverse.solvers import ConjugateGradient, PrimalDual
from xinverse.variational import Inversion, VariationalCost

SHAPE = (6, 8)
MISFIT, ROUGHNESS = 2.0, 0.7


def slopes(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    periodic: tuple[bool, ...],
    sea: np.ndarray | None = None,
) -> np.ndarray:
    """Matrix (axis, cell, state) of the differences, none across edges and coasts."""
    n = math.prod(shape)
    unit = np.eye(n).reshape(n, *shape)
    everywhere = np.ones(shape, dtype=bool) if sea is None else sea
    parts = []
    for axis, (step, wraps) in enumerate(zip(spacing, periodic, strict=True)):
        there = everywhere & np.roll(everywhere, -1, axis)
        if not wraps:
            there[(slice(None),) * axis + (-1,)] = False
        parts.append((np.roll(unit, -1, axis + 1) - unit) * there / step)
    return np.stack([part.reshape(n, n).T for part in parts])


def admm(H: np.ndarray, D: np.ndarray, y: np.ndarray, weight: float) -> np.ndarray:
    """Minimum of MISFIT |y - H x|^2 + weight TV(x), with over-relaxed steps."""
    axes, cells, n = D.shape
    flat, rho = D.reshape(-1, n), 3 * weight
    # What is added makes the system regular where neither H nor D sees a state.
    system = 2 * MISFIT * H.T @ H + rho * flat.T @ flat + 1e-13 * np.eye(n)
    inverse = np.linalg.inv(system)
    inverse = (inverse + inverse.T) / 2
    seen, spread = 2 * MISFIT * inverse @ (H.T @ y), rho * inverse @ flat.T
    x, z, u = np.zeros(n), np.zeros((axes, cells)), np.zeros((axes, cells))
    for _ in range(60_000):
        x = seen + spread @ (z - u).ravel()
        v, before = 1.7 * (D @ x) - 0.7 * z + u, z
        size = np.sqrt((v**2).sum(0))
        z = v * np.maximum(1 - weight / rho / np.maximum(size, 1e-300), 0)
        u = v - z
        if max(np.abs(z - D @ x).max(), np.abs(z - before).max()) < 1e-10:
            return x
    raise AssertionError("the reference did not converge")


def value(H: np.ndarray, D: np.ndarray, y: np.ndarray, weight: float, x: np.ndarray) -> float:
    return MISFIT * ((y - H @ x) ** 2).sum() + weight * np.sqrt(((D @ x) ** 2).sum(0)).sum()


def observed() -> np.ndarray:
    return np.random.default_rng(3).random(SHAPE) < 0.4


def operators() -> dict[str, tuple[Operator, np.ndarray]]:
    """Operators of the package, and their matrices by other means."""
    n = math.prod(SHAPE)
    unit = np.eye(n).reshape(n, *SHAPE)
    kernel = gaussian_psf(0.7)
    rows = np.random.default_rng(4).random((4, SHAPE[0]))
    columns = np.random.default_rng(5).random((5, SHAPE[1]))
    blurred = ndimage.convolve(unit, kernel.numpy()[None], mode="constant").reshape(n, n).T
    blocks = unit.reshape(n, 3, 2, 4, 2).mean((2, 4)).reshape(n, -1).T
    noise = np.random.default_rng(6).uniform(0.3, 2.0, SHAPE)
    mask = np.diag(observed().ravel().astype(float))
    there = Mask(torch.from_numpy(observed()))
    pair = Separable(torch.from_numpy(rows), torch.from_numpy(columns))
    return {
        "identity": (Mask(torch.ones(SHAPE, dtype=torch.bool)), np.eye(n)),
        "mask": (there, mask),
        "noise": (NoiseWeighted(there, torch.from_numpy(noise)), mask / noise.reshape(-1, 1)),
        "blur": (Blur(kernel), blurred),
        "block mean": (Coarsen((2, 2)), blocks),
        "separable": (pair, np.kron(rows, columns)),
        "mask of a blur": (Composition(there, Blur(kernel)), mask @ blurred),
    }


@pytest.mark.parametrize("name", operators())
def test_the_minimum_is_that_of_another_convex_solver(name):
    operator, H = operators()[name]
    y = operator(random((2, *SHAPE), seed=9))
    prior = TotalVariation(spacing=(1.0, 2.0), periodic=(False, True))
    inversion = Inversion(VariationalCost(prior, MISFIT, ROUGHNESS), y, operator)
    solution = PrimalDual(60_000, 1e-9)(inversion, torch.zeros(2, *SHAPE).double())
    assert solution.converged
    D = slopes(SHAPE, (1.0, 2.0), (False, True))
    flat = solution.state.flatten(1).numpy(), y.flatten(1).numpy()
    for x, data in zip(*flat, strict=True):
        expected = admm(H, D, data, ROUGHNESS)
        best = value(H, D, data, ROUGHNESS, expected)
        assert abs(value(H, D, data, ROUGHNESS, x) - best) <= 1e-7 * best
        # What is seen of the minimum is unique, and all of it where H is one to one.
        np.testing.assert_allclose(H @ x, H @ expected, rtol=0, atol=1e-5)
        if name in ("identity", "blur"):
            np.testing.assert_allclose(x, expected, rtol=0, atol=1e-5)


def test_with_a_coast_land_keeps_the_background_and_the_sea_does_not_see_it():
    sea = np.ones(SHAPE, dtype=bool)
    sea[1:4, 2:4] = False
    sea[0, 0] = False
    mask = torch.from_numpy(sea)
    y = random((1, *SHAPE), seed=5) * mask
    prior = TotalVariation(sea=mask)
    inversion = Inversion(VariationalCost(prior, MISFIT, ROUGHNESS), y, Mask(mask), mask)
    background = torch.full((1, *SHAPE), 7.0, dtype=torch.float64)
    state = PrimalDual(20_000, 1e-12)(inversion, background).state[0].numpy()
    assert (state[~sea] == 7).all()
    D = slopes(SHAPE, (1.0, 1.0), (False, False), sea)
    H = np.diag(sea.ravel().astype(float)) + np.diag(~sea.ravel())
    expected = admm(H, D, y.numpy().ravel(), ROUGHNESS).reshape(SHAPE)
    np.testing.assert_allclose(state[sea], expected[sea], rtol=0, atol=1e-5)


def test_in_space_and_time_on_a_grid_in_km_and_days():
    grid = LocalGrid(np.arange(3.0), 20 * np.arange(4.0), 25 * np.arange(5.0))
    prior = TotalVariation.on(grid, axes=(-3, -2, -1), km_per_day=10.0)
    y = random((1, *grid.shape), seed=8)
    operator = TimeWindow(2, 1)
    inversion = Inversion(VariationalCost(prior, MISFIT, 9.0), operator(y), operator)
    x = PrimalDual(60_000, 1e-9)(inversion, torch.zeros_like(y)).require_convergence().state
    D = slopes(grid.shape, (10.0, 20.0, 25.0), (False,) * 3)
    cells = 20
    H = np.kron(np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]), np.eye(cells))
    data = operator(y).numpy().ravel()
    expected = admm(H, D, data, 9.0)
    best, found = (value(H, D, data, 9.0, at) for at in (expected, x.numpy().ravel()))
    assert abs(found - best) <= 1e-7 * best
    np.testing.assert_allclose(H @ x.numpy().ravel(), H @ expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("left", [3, 5])
def test_a_step_loses_of_its_height_what_the_weight_takes(left):
    """Each side moves by w / (2 m n): the minimum of m n d^2 - w d over its n cells."""
    height = torch.cat([torch.zeros(left), torch.ones(9 - left)]).double()[None]
    operator = Mask(torch.ones(9, dtype=torch.bool))
    cost = VariationalCost(TotalVariation((-1,)), MISFIT, ROUGHNESS)
    state = PrimalDual(5000, 1e-12)(Inversion(cost, height, operator), 0 * height).state[0]
    rise, fall = (ROUGHNESS / (2 * MISFIT * n) for n in (left, 9 - left))
    torch.testing.assert_close(state[:left], torch.full_like(state[:left], rise))
    torch.testing.assert_close(state[left:], torch.full_like(state[left:], 1 - fall))


def test_denoising_is_the_proximal_operator():
    """Which is another algorithm: argmin |x - y|^2 / 2 + t TV."""
    y, everywhere = random((3, *SHAPE)), Mask(torch.ones(SHAPE, dtype=torch.bool))
    prior = TotalVariation(iterations=20_000, tolerance=1e-7)
    inversion = Inversion(VariationalCost(prior, 0.5, 0.4), y, everywhere)
    state = PrimalDual(20_000, 1e-13)(inversion, torch.zeros_like(y)).state
    torch.testing.assert_close(state, prior.prox(y, 0.4), rtol=0, atol=1e-5)
    torch.testing.assert_close(state, inversion.prox(y, 1.0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("name", ["mask", "blur", "block mean"])
def test_the_cost_is_as_near_its_minimum_as_the_tolerance_says(name, tolerance):
    operator, H = operators()[name]
    y = operator(random((2, *SHAPE), seed=9))
    cost = VariationalCost(TotalVariation(), MISFIT, ROUGHNESS)
    solution = PrimalDual(60_000, tolerance)(
        Inversion(cost, y, operator), 0 * random((2, *SHAPE))
    )
    assert solution.converged
    D = slopes(SHAPE, (1.0, 1.0), (False, False))
    flat = solution.state.flatten(1).numpy(), y.flatten(1).numpy()
    for x, data in zip(*flat, strict=True):
        best = value(H, D, data, ROUGHNESS, admm(H, D, data, ROUGHNESS))
        above = value(H, D, data, ROUGHNESS, x) - best
        assert above <= tolerance * MISFIT * (data**2).sum()


def test_nothing_observed_and_a_flat_background_is_left_alone():
    nowhere = Mask(torch.zeros(SHAPE, dtype=torch.bool))
    background = torch.full((1, *SHAPE), 3.0, dtype=torch.float64)
    inversion = Inversion(VariationalCost(TotalVariation()), 0 * background, nowhere)
    solution = PrimalDual()(inversion, background)
    assert solution.converged
    torch.testing.assert_close(solution.state, background, rtol=0, atol=0)


def test_too_few_steps_are_told():
    operator, _ = operators()["mask"]
    y = operator(random((1, *SHAPE)))
    inversion = Inversion(VariationalCost(TotalVariation()), y, operator)
    solution = PrimalDual(3, 1e-8)(inversion, torch.zeros_like(y))
    assert not solution.converged
    with pytest.raises(ArithmeticError, match="did not converge in 3 iterations"):
        solution.require_convergence()


def test_what_it_cannot_minimise_is_an_error():
    class Square(Operator):
        linear = False

        def forward(self, x: Tensor) -> Tensor:
            return x.square()

    y = random((1, *SHAPE))
    with pytest.raises(ValueError, match="Square is not linear.*'lbfgs'"):
        PrimalDual()(Inversion(VariationalCost(TotalVariation()), y, Square()), y)
    everywhere = Mask(torch.ones(SHAPE, dtype=torch.bool))
    with pytest.raises(ValueError, match="Tikhonov has no dual projection.*conjugate-grad"):
        PrimalDual()(Inversion(VariationalCost(Tikhonov()), y, everywhere), y)


@pytest.mark.parametrize("name", operators())
def test_smoothness_by_conjugate_gradient_is_the_dense_solution(name):
    """The other prior of differences: (m H'H + w D'D) x = m H'y, for the same operators."""
    operator, H = operators()[name]
    y = operator(random((2, *SHAPE), seed=11))
    prior = Tikhonov(spacing=(1.0, 2.0), periodic=(False, True))
    inversion = Inversion(VariationalCost(prior, MISFIT, ROUGHNESS), y, operator)
    solution = ConjugateGradient(1000, 1e-12)(inversion, torch.zeros(2, *SHAPE).double())
    solution.require_convergence()
    D = slopes(SHAPE, (1.0, 2.0), (False, True)).reshape(-1, math.prod(SHAPE))
    system = MISFIT * H.T @ H + ROUGHNESS * D.T @ D
    expected = np.linalg.solve(system, MISFIT * H.T @ y.reshape(2, -1).numpy().T).T
    np.testing.assert_allclose(solution.state.reshape(2, -1), expected, rtol=0, atol=1e-8)
