"""Every solver in a small case: one per registered name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tensors import random
from torch import Tensor, nn

from xinverse.operators import Mask, Operator
from xinverse.priors import KroneckerGaussian, Prior, ProjectionPrior, TotalVariation
from xinverse.priors.two_scale import TwoScale
from xinverse.solvers import (
    LBFGS,
    SOLVERS,
    Adam,
    ConjugateGradient,
    FixedPoint,
    GaussianPosterior,
    GradientDescent,
    LSTMSolver,
    PrimalDual,
    Solution,
    Solver,
    VariationalSolver,
)
from xinverse.variational import Inversion, VariationalCost


@dataclass
class SolverCase:
    """A solver, how it is applied to observations, and the shape of these.

    What takes a variational cost has one, whose parameters it can be differentiated by.
    """

    solver: Solver
    apply: Callable[[Solver, Tensor], Tensor]
    shape: tuple[int, ...]
    cost: VariationalCost | None = None
    operator: Operator | None = None


def positive_matrix(n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Symmetric, with eigenvalues from 0.1 to 100 or so."""
    q, _ = torch.linalg.qr(random((n, n), seed=7))
    return (q * torch.logspace(-1, 2, n, dtype=torch.float64) @ q.T).to(dtype)


class Bowl(Prior):
    """Small differences between neighbours, small values: convex, with one minimum."""

    def __init__(self, quartic: float = 0.0) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.tensor([0.7, 1.0], dtype=torch.float64))
        self.quartic = quartic

    def cost(self, x: Tensor) -> Tensor:
        rough, size = self.strength
        bent = self.quartic * x.pow(4)
        return rough * x.diff().square().flatten(1).sum(1) + (size * x.square() + bent).flatten(
            1
        ).sum(1)


class Blend(ProjectionPrior):
    """A cell becomes a mean of itself, of what is on its left and of a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([0.5, 0.3, 0.1], dtype=torch.float64))

    def project(self, x: Tensor) -> Tensor:
        own, left, constant = self.weights
        return torch.tanh(own * x + left * x.roll(1, -1) + constant)


CELLS = (2, 9)


def case_of(
    solver: VariationalSolver,
    cost: VariationalCost,
    dtype: torch.dtype,
    shape: tuple[int, ...] = CELLS,
    operator: Operator | None = None,
) -> SolverCase:
    operator = Mask(random(shape) > 0) if operator is None else operator

    def apply(solver: Solver, y: Tensor) -> Tensor:
        return solver(Inversion(cost, operator(y), operator), torch.zeros_like(y)).state

    return SolverCase(solver.to(dtype), apply, shape, cost.to(dtype), operator)


def bowl(solver: VariationalSolver, dtype: torch.dtype, quartic: float = 0.1) -> SolverCase:
    return case_of(solver, VariationalCost(Bowl(quartic), 2.0, 0.5, learned=True), dtype)


def gradient_descent(dtype: torch.dtype) -> SolverCase:
    return bowl(GradientDescent(0.2, 30, 1e-3), dtype)


def adam(dtype: torch.dtype) -> SolverCase:
    # Without a large epsilon, cells with next to no gradient go as far as those with much.
    return bowl(Adam(0.2, 40, 1e-3, epsilon=1.0), dtype)


def lbfgs(dtype: torch.dtype) -> SolverCase:
    return bowl(LBFGS(30, memory=4, tolerance=1e-3), dtype)


def conjugate_gradient(dtype: torch.dtype) -> SolverCase:
    return bowl(ConjugateGradient(30, 1e-3), dtype, quartic=0.0)


def fixed_point(dtype: torch.dtype) -> SolverCase:
    return case_of(FixedPoint(30, 1e-3, anderson=2), VariationalCost(Blend()), dtype)


def gaussian_posterior(dtype: torch.dtype) -> SolverCase:
    axes = [torch.arange(n, dtype=dtype) for n in (2, 3, 4)]
    prior = KroneckerGaussian(*axes, length_scale=2.0, time_scale=1.0)
    cells = torch.tensor([[0, 0, 0], [1, 2, 3], [0, 1, 2], [1, 2, 0]])
    noise = torch.tensor([0.1, 0.2, 0.1, 0.3], dtype=dtype)
    return SolverCase(
        GaussianPosterior(prior, cells, noise), lambda solver, y: solver.mean(y).to(dtype), (4,)
    )


def learned(
    dtype: torch.dtype, hidden: int = 4, steps: int = 3
) -> tuple[LSTMSolver, VariationalCost]:
    """A solver and a prior with random weights, such that a step changes the state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        solver = LSTMSolver(2, hidden, steps)
        torch.nn.init.normal_(solver.update.weight, std=0.2)
        torch.nn.init.normal_(solver.update.bias, std=0.1)
        cost = VariationalCost(TwoScale(2, 3), learned=True)
    return solver.to(dtype), cost.to(dtype)


def lstm(dtype: torch.dtype) -> SolverCase:
    return case_of(*learned(dtype), dtype, shape=(2, 8, 9))


def primal_dual(dtype: torch.dtype) -> SolverCase:
    # Everything is observed: in a gap the minimum of total variation need not be unique.
    cost = VariationalCost(TotalVariation(), 2.0, 0.5, learned=True)
    everywhere = Mask(torch.ones(CELLS, dtype=torch.bool))
    return case_of(PrimalDual(400, 1e-12), cost, dtype, operator=everywhere)


SOLVER_CASES: dict[str, Callable[[torch.dtype], SolverCase]] = {
    "adam": adam,
    "conjugate-gradient": conjugate_gradient,
    "fixed-point": fixed_point,
    "gaussian-posterior": gaussian_posterior,
    "gradient-descent": gradient_descent,
    "lbfgs": lbfgs,
    "lstm": lstm,
    "primal-dual": primal_dual,
}
VARIATIONAL = [name for name, kind in SOLVERS.items() if issubclass(kind, VariationalSolver)]
MINIMISERS = [name for name in VARIATIONAL if SOLVERS[name].minimises]
# Those whose solution satisfies an equation that can be differentiated.
IMPLICIT = [name for name in VARIATIONAL if name not in ("lstm", "primal-dual")]
EACH = pytest.mark.parametrize("name", SOLVER_CASES)
EACH_VARIATIONAL = pytest.mark.parametrize("name", VARIATIONAL)
EACH_MINIMISER = pytest.mark.parametrize("name", MINIMISERS)


def problem(name: str, batch: int = 3) -> tuple[SolverCase, Tensor, Tensor]:
    """A case in double precision, a background and observations."""
    case = SOLVER_CASES[name](torch.float64)
    x0 = random((batch, *case.shape), seed=1)
    return case, x0, case.operator(random((batch, *case.shape), seed=2))


def solve(
    case: SolverCase, x0: Tensor, y: Tensor, *, sea: Tensor | None = None, **options: Any
) -> Solution:
    return case.solver(Inversion(case.cost, y, case.operator, sea), x0, **options)


def coast(shape: tuple[int, ...]) -> Tensor:
    sea = torch.ones(shape, dtype=torch.bool)
    sea[..., 2:4] = False
    return sea


class Bound(nn.Module):
    """A solver and a cost under one roof, so that parameters can be swapped for a moment."""

    def __init__(self, solver: Solver, cost: VariationalCost) -> None:
        super().__init__()
        self.solver, self.cost = solver, cost

    def forward(
        self,
        x0: Tensor,
        y: Tensor,
        operator: Operator,
        mode: str = "unroll",
        sea: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        inversion = Inversion(self.cost, y, operator, sea)
        return self.solver(inversion, x0, mode=mode, **options).state


class Quadratic(Prior):
    """Half of x^T A x - b^T x."""

    def __init__(self, matrix: Tensor, b: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.register_buffer("b", b)

    def cost(self, x: Tensor) -> Tensor:
        return 0.5 * (x * (x @ self.matrix)).sum(1) - x @ self.b
