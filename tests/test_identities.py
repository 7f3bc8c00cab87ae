"""What variational solvers have in common with the textbook, and with each other.

Weak-constraint 4DVar is the Kalman smoother, optimal interpolation is 4DVar with a Gaussian
prior, strong-constraint 4DVar descends along the adjoint model, and a convex cost has one
minimum, whoever looks for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from tensors import random
from torch import Tensor

from xinverse.dynamics import Dynamics, Lorenz63
from xinverse.operators import Mask
from xinverse.operators.trajectory import Trajectory
from xinverse.priors import DynamicsPrior, KroneckerGaussian, Prior
from xinverse.solvers import (
    LBFGS,
    Adam,
    ConjugateGradient,
    GaussianPosterior,
    GradientDescent,
)
from xinverse.variational import Inversion, VariationalCost

# Weak-constraint 4DVar is the Kalman smoother --------------------------------------------

TIMES, STATES, DT = 25, 4, 0.2
MODEL_NOISE, NOISE = 0.15, 0.4


class Linear(Dynamics):
    """dx/dt = A x."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__("rk4")
        self.register_buffer("matrix", matrix)

    def tendency(
        self,
        x: Tensor,
        parameters: Mapping[str, Tensor] | None = None,  # noqa: ARG002  it has none
    ) -> Tensor:
        return x @ self.matrix.T


class WeakConstraint(DynamicsPrior):
    """Model error of variance q^2 at every step, and a background of the first state."""

    def __init__(self, model: Dynamics, background: Tensor, covariance: Tensor) -> None:
        super().__init__(model, DT)
        self.register_buffer("background", background)
        self.register_buffer("precision", torch.linalg.inv(covariance))

    def cost(self, x: Tensor) -> Tensor:
        off = x[:, 0] - self.background
        return (off * (off @ self.precision)).sum(1) + super().cost(x) / MODEL_NOISE**2


def kalman_smoother(
    M: np.ndarray, y: np.ndarray, seen: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means and covariances of a linear Gaussian model given all observations.

    The filter of Kalman (1960), then backwards Rauch, Tung and Striebel (1965).
    """
    n = len(mean)
    Q, forecasts, analyses = MODEL_NOISE**2 * np.eye(n), [], []
    m, P = mean, covariance
    for k, (values, there) in enumerate(zip(y, seen, strict=True)):
        if k:
            m, P = M @ m, M @ P @ M.T + Q
        forecasts.append((m, P))
        H = np.eye(n)[there]
        K = P @ H.T @ np.linalg.inv(H @ P @ H.T + NOISE**2 * np.eye(len(H)))
        m, P = m + K @ (values[there] - H @ m), (np.eye(n) - K @ H) @ P
        analyses.append((m, P))
    smooth = [analyses[-1]]
    for (m, P), (m_next, P_next) in zip(analyses[-2::-1], forecasts[:0:-1], strict=True):
        G = P @ M.T @ np.linalg.inv(P_next)
        later, P_later = smooth[-1]
        smooth.append((m + G @ (later - m_next), P + G @ (P_later - P_next) @ G.T))
    means, covariances = zip(*smooth[::-1], strict=True)
    return np.stack(means), np.stack(covariances)


def assimilation() -> tuple[VariationalCost, Mask, Tensor, np.ndarray, np.ndarray]:
    """A cost, observations of two series, and their smoothed means and covariances."""
    A = random((STATES, STATES), seed=1)
    A = A - A.T - 0.1 * torch.eye(STATES)  # turns, and fades
    h = DT * A.numpy()
    M = sum(np.linalg.matrix_power(h, k) / f for k, f in enumerate((1, 1, 2, 6, 24)))
    root = random((STATES, STATES), seed=2)
    mean, covariance = random((STATES,), seed=3), root @ root.T + torch.eye(STATES)
    seen = random((TIMES, STATES), seed=4) > 0.3
    seen[8:14] = False
    operator = Mask(seen)
    y = operator(2 * random((2, TIMES, STATES), seed=5))
    smooth = [
        kalman_smoother(M, one.numpy(), seen.numpy(), mean.numpy(), covariance.numpy())
        for one in y
    ]
    prior = WeakConstraint(Linear(A), mean, covariance)
    means, covariances = (np.stack(part) for part in zip(*smooth, strict=True))
    return VariationalCost(prior, NOISE**-2, 1.0), operator, y, means, covariances


@pytest.mark.parametrize(
    "solver", [ConjugateGradient(500, 1e-12), LBFGS(1000, 30, 1e-9)], ids=["cg", "lbfgs"]
)
def test_weak_constraint_4dvar_is_the_kalman_smoother(solver):
    cost, operator, y, means, _ = assimilation()
    solution = solver(Inversion(cost, y, operator), torch.zeros_like(y))
    assert solution.converged
    np.testing.assert_allclose(solution.state.numpy(), means, rtol=0, atol=1e-6)


def test_the_inverse_hessian_of_4dvar_is_the_covariance_of_the_smoother():
    """Half the Hessian, column by column, of every time at once."""
    cost, operator, _, _, covariances = assimilation()
    size = TIMES * STATES
    columns = torch.eye(size, dtype=torch.float64).reshape(size, TIMES, STATES)
    nothing = torch.zeros_like(columns)
    slopes = [cost.gradient(x, nothing, operator).total for x in (columns, nothing)]
    hessian = (slopes[0] - slopes[1]).reshape(size, size) / 2
    inverse = torch.linalg.inv(hessian).reshape(TIMES, STATES, TIMES, STATES)
    blocks = torch.stack([inverse[k, :, k] for k in range(TIMES)])
    np.testing.assert_allclose(blocks.numpy(), covariances[0], rtol=0, atol=1e-9)


# Optimal interpolation is 4DVar with a Gaussian prior ------------------------------------


def interpolations(nugget: float) -> tuple[Tensor, Tensor]:
    """The posterior mean, and the minimum of the cost, of the same observations."""
    axes = [torch.arange(n, dtype=torch.float64) for n in (4, 7, 8)]
    prior = KroneckerGaussian(*axes, length_scale=2.0, time_scale=2.0, nugget=nugget)
    observed = random(prior.shape, seed=6) > 0.8
    y, noise = Mask(observed)(random((2, *prior.shape), seed=7)), 0.3
    cells = observed.nonzero()
    posterior = GaussianPosterior(prior, cells, torch.full((len(cells),), noise**2))
    cost = VariationalCost(prior, noise**-2, 1.0)
    # In the prior's own metric the system is the identity and a part of few dimensions.
    solver = ConjugateGradient(
        500, 1e-10, preconditioner=lambda v: prior.matvec(v) + nugget * v
    )
    solution = solver(Inversion(cost, y, Mask(observed)), torch.zeros_like(y))
    assert solution.converged
    assert solution.iterations < 2 * len(cells)
    return posterior.mean(y[:, observed]), solution.state


def test_optimal_interpolation_is_4dvar_with_a_gaussian_prior():
    """But for the nugget, which the cost needs and the posterior does not: to first order."""
    apart = []
    for nugget in (1e-3, 1e-4, 1e-5):
        mean, state = interpolations(nugget)
        apart.append(float((mean - state).abs().max() / mean.abs().max()))
    assert apart[2] < 1e-4
    assert apart[0] / apart[1] == pytest.approx(10, rel=0.1)
    assert apart[1] / apart[2] == pytest.approx(10, rel=0.1)


# Strong-constraint 4DVar -----------------------------------------------------------------


class Background(Prior):
    """Squared distance from a background."""

    def __init__(self, background: Tensor) -> None:
        super().__init__()
        self.register_buffer("background", background)

    def cost(self, x: Tensor) -> Tensor:
        return (x - self.background).square().flatten(1).sum(1)


def twin() -> tuple[VariationalCost, Trajectory, Tensor, Tensor]:
    """A cost of the first state of a Lorenz trajectory, and the truth."""
    model = Lorenz63()
    truth = model(5 * random((3, 3)) + 20, 0.01, 500)
    operator = Trajectory(model, 0.05, 11, substeps=2)
    cost = VariationalCost(Background(truth + random((3, 3), seed=1)), 0.5, 0.1)
    return cost, operator, truth, operator(truth) + random((3, 11, 3), seed=2)


def test_the_gradient_of_strong_constraint_4dvar_by_finite_differences():
    """The adjoint model, against the model run twice."""
    cost, operator, truth, y = twin()
    x = truth + 0.1 * random((3, 3), seed=3)
    for away in random((4, 3, 3), seed=4):
        eps = 1e-6
        ahead, behind = (cost(x + s * eps * away, y, operator) for s in (1, -1))
        slope = (cost.gradient(x, y, operator).total * away).sum(1)
        torch.testing.assert_close(slope, (ahead - behind) / (2 * eps), rtol=1e-6, atol=1e-4)


def test_strong_constraint_4dvar_finds_where_a_trajectory_began():
    """Seen without noise, and told nothing beforehand, to the last digits."""
    cost, operator, truth, _ = twin()
    told_nothing = VariationalCost(cost.prior, 1.0, 1e-300)
    solution = LBFGS(100, tolerance=1e-12)(
        Inversion(told_nothing, operator(truth), operator), truth + 0.3 * random((3, 3), seed=5)
    )
    torch.testing.assert_close(solution.state, truth, rtol=0, atol=1e-7)


def test_the_minimum_of_strong_constraint_4dvar_moves_with_its_observations():
    """The implicit gradient by the second derivatives of the model, by finite differences."""
    cost, operator, truth, y = twin()
    solver, away = LBFGS(200, tolerance=1e-12), random(tuple(y.shape), seed=6)

    def follow(step: Tensor | float, mode: str) -> Tensor:
        return solver(Inversion(cost, y + step * away, operator), truth, mode=mode).state.sum()

    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(follow(zero, "implicit"), zero)
    eps = 1e-5
    difference = (follow(eps, "iterate") - follow(-eps, "iterate")) / (2 * eps)
    torch.testing.assert_close(slope, difference, rtol=1e-4, atol=0)


# One minimum, whoever looks for it -------------------------------------------------------


class Smooth(Prior):
    """Small differences, small values, and where ``bent`` is not zero not quadratic."""

    def __init__(self, bent: float) -> None:
        super().__init__()
        self.bent = bent

    def cost(self, x: Tensor) -> Tensor:
        size = x.square() + self.bent * (1 + x.square()).sqrt() + self.bent * x.pow(4)
        return x.diff().square().flatten(1).sum(1) + 0.2 * size.flatten(1).sum(1)


@pytest.mark.parametrize("bent", [0.0, 0.5], ids=["quadratic", "convex"])
def test_all_solvers_meet_at_the_minimum_of_a_convex_cost(bent):
    cost, operator = VariationalCost(Smooth(bent), 2.0, 1.0), Mask(random((3, 10), seed=8) > 0)
    y, x0 = operator(random((4, 3, 10), seed=9)), random((4, 3, 10), seed=10)
    sea = random((3, 10), seed=11) > -1.5
    exact = LBFGS(500, tolerance=1e-11)(Inversion(cost, y, operator, sea), x0)
    assert exact.converged
    slope = cost.gradient(exact.state, y, operator).total
    assert slope[:, sea].abs().max() < 1e-9
    others = {GradientDescent(0.08, 3000, 1e-11): 1e-8, Adam(0.01, 1000): 0.03}
    if not bent:
        others[ConjugateGradient(200, 1e-12)] = 1e-9
    for solver, close in others.items():
        state = solver(Inversion(cost, y, operator, sea), x0).state
        torch.testing.assert_close(state, exact.state, rtol=0, atol=close)
