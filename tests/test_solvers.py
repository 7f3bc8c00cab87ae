"""Solvers: the batch does not matter, nor does the tile; conjugate gradient; learned descent.

The table of cases holds one per registered name; a test of the registries says so. What the
Gaussian posterior gives is compared with the textbook in its own file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from xinverse.operators import Mask
from xinverse.priors import KroneckerGaussian
from xinverse.priors.two_scale import TwoScale
from xinverse.solvers import ConjugateGradient, GaussianPosterior, LSTMSolver, Solver
from xinverse.variational import VariationalCost

FLOATS = [torch.float32, torch.float64]


@dataclass
class SolverCase:
    """A solver, how it is applied to observations, and the shape of these."""

    solver: Solver
    apply: Callable[[Solver, Tensor], Tensor]
    shape: tuple[int, ...]


def random(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def positive_matrix(n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Symmetric, with eigenvalues from 0.1 to 100 or so."""
    q, _ = torch.linalg.qr(random((n, n), seed=7))
    return (q * torch.logspace(-1, 2, n, dtype=torch.float64) @ q.T).to(dtype)


def conjugate_gradient(dtype: torch.dtype) -> SolverCase:
    matrix = positive_matrix(12, dtype) + 20 * torch.eye(12, dtype=dtype)

    def apply(solver: Solver, y: Tensor) -> Tensor:
        return solver(lambda v: v @ matrix, y).state

    return SolverCase(ConjugateGradient(tolerance=1e-6), apply, (12,))


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
    solver, cost = learned(dtype)
    operator = Mask(random((2, 8, 9)) > 0)

    def apply(solver: Solver, y: Tensor) -> Tensor:
        return solver(cost, torch.zeros_like(y), operator(y), operator).state

    return SolverCase(solver, apply, (2, 8, 9))


SOLVER_CASES: dict[str, Callable[[torch.dtype], SolverCase]] = {
    "conjugate-gradient": conjugate_gradient,
    "gaussian-posterior": gaussian_posterior,
    "lstm": lstm,
}
EACH = pytest.mark.parametrize("name", SOLVER_CASES)
BOTH = pytest.mark.parametrize("dtype", FLOATS, ids=str)


# Every solver --------------------------------------------------------------------------


@EACH
@BOTH
def test_an_element_does_not_depend_on_its_batch(name, dtype):
    case = SOLVER_CASES[name](dtype)
    y = random((5, *case.shape), dtype)
    with torch.no_grad():
        together = case.apply(case.solver, y)
        for k in range(len(y)):
            alone = case.apply(case.solver, y[[k]])
            torch.testing.assert_close(alone[0], together[k], rtol=1e-6, atol=1e-6)


@EACH
def test_single_and_double_precision_agree(name):
    low, high = SOLVER_CASES[name](torch.float32), SOLVER_CASES[name](torch.float64)
    y = random((2, *high.shape))
    single = low.apply(low.solver, y.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(
        single.double(), high.apply(high.solver, y), rtol=1e-4, atol=1e-4
    )


@EACH
def test_what_goes_in_is_not_changed(name):
    case = SOLVER_CASES[name](torch.float64)
    y = random((2, *case.shape))
    before = y.clone()
    case.apply(case.solver, y)
    torch.testing.assert_close(y, before, rtol=0, atol=0)
    assert not y.requires_grad


@EACH
def test_the_same_twice(name):
    case = SOLVER_CASES[name](torch.float32)
    y = random((2, *case.shape), torch.float32)
    first, second = case.apply(case.solver, y), case.apply(case.solver, y)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


# Conjugate gradient --------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("shape", [(20,), (4, 5), (2, 2, 5)], ids=str)
def test_conjugate_gradient_solves_the_system(dtype, shape):
    matrix = positive_matrix(20, dtype)
    b = random((3, *shape), dtype)

    def matvec(v: Tensor) -> Tensor:
        return (v.flatten(1) @ matrix).reshape(v.shape)

    tolerance = {torch.float32: 1e-6, torch.float64: 1e-12}[dtype]
    solution = ConjugateGradient(tolerance)(matvec, b)
    expected = torch.linalg.solve(matrix.double(), b.flatten(1).double().T).T.reshape(b.shape)
    assert solution.converged
    assert solution.state.shape == b.shape
    close = {torch.float32: 1e-4, torch.float64: 1e-10}[dtype]
    assert (solution.state - expected).abs().max() < close * expected.abs().max()


def test_each_element_may_have_a_system_of_its_own():
    matrices = torch.stack([positive_matrix(8), 1e4 * torch.eye(8), torch.eye(8)]).double()
    b = random((3, 8))
    solution = ConjugateGradient(1e-10)(lambda v: torch.einsum("bij,bj->bi", matrices, v), b)
    torch.testing.assert_close(solution.state, torch.linalg.solve(matrices, b))


def test_an_element_that_is_done_stays_where_it_is():
    """Whatever else is in the batch, to the last digit: each its own steps, its own end."""
    matrix = positive_matrix(30)
    b = random((4, 30)) * torch.tensor([[1.0], [1e6], [1e-6], [0.0]])
    # The second element alone is done at once: it is an eigenvector.
    b[1] = 1e6 * torch.linalg.eigh(matrix).eigenvectors[:, 3]
    solver = ConjugateGradient(1e-8)

    def matvec(v: Tensor) -> Tensor:  # row by row, so that rounding is the same in any batch
        return torch.stack([matrix @ one for one in v])

    together = solver(matvec, b)
    for k in range(4):
        alone = solver(matvec, b[[k]])
        assert alone.iterations <= together.iterations
        torch.testing.assert_close(alone.state[0], together.state[k], rtol=1e-12, atol=0)
    assert solver(matvec, b[[1]]).iterations <= 2
    assert not together.state[3].any()


def test_it_stops_at_the_tolerance():
    matrix, b = positive_matrix(40), random((2, 40))
    counts = []
    for tolerance in (1e-2, 1e-5, 1e-8):
        solution = ConjugateGradient(tolerance)(lambda v: v @ matrix, b)
        assert solution.converged
        assert len(solution.history) == solution.iterations + 1
        assert solution.history[0] == pytest.approx(1)
        assert solution.history[-1] <= tolerance < solution.history[-2]
        residual = (b - solution.state @ matrix).norm(dim=1) / b.norm(dim=1)
        assert residual.max() <= 1.01 * tolerance
        counts.append(solution.iterations)
    assert counts == sorted(set(counts))


def test_each_element_may_have_a_tolerance_of_its_own():
    matrix, b = positive_matrix(40), random((2, 40))
    loose = ConjugateGradient(1e-2)(lambda v: v @ matrix, b).state[0]
    both = ConjugateGradient()(lambda v: v @ matrix, b, tolerance=torch.tensor([1e-2, 1e-9]))
    torch.testing.assert_close(both.state[0], loose, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(both.state[1], torch.linalg.solve(matrix, b[1]))


def test_it_stops_after_so_many_iterations_and_says_so():
    matrix, b = positive_matrix(40), random((1, 40))
    solution = ConjugateGradient(1e-12, max_iterations=5)(lambda v: v @ matrix, b)
    assert solution.iterations == 5
    assert not solution.converged


def test_in_exact_arithmetic_it_takes_as_many_iterations_as_eigenvalues():
    q, _ = torch.linalg.qr(random((30, 30)))
    values = torch.tensor([1.0, 3.0, 10.0]).double().repeat(10)
    solution = ConjugateGradient(1e-10)(
        lambda v: v @ (q * values @ q.T), random((2, 30), seed=1)
    )
    assert solution.iterations == 3


def test_a_first_guess_is_where_it_starts():
    matrix, b = positive_matrix(20), random((2, 20))
    exact = torch.linalg.solve(matrix, b.T).T
    guess = exact.clone()
    solution = ConjugateGradient(1e-8)(lambda v: v @ matrix, b, x0=guess)
    assert solution.iterations == 0
    torch.testing.assert_close(solution.state, exact, rtol=0, atol=0)
    near = ConjugateGradient(1e-8)(lambda v: v @ matrix, b, x0=exact + 1e-5 * random((2, 20)))
    far = ConjugateGradient(1e-8)(lambda v: v @ matrix, b)
    assert near.iterations < far.iterations
    torch.testing.assert_close(near.state, exact, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(guess, exact, rtol=0, atol=0)  # the caller's is left alone


def test_a_preconditioner_saves_iterations_and_changes_no_solution():
    scales = torch.logspace(-3, 3, 40, dtype=torch.float64)
    matrix = scales[:, None] * (positive_matrix(40) + 40 * torch.eye(40)) * scales
    b = random((2, 40))
    plain = ConjugateGradient(1e-10, 5000)(lambda v: v @ matrix, b)
    helped = ConjugateGradient(1e-10, 5000)(
        lambda v: v @ matrix, b, preconditioner=lambda v: v / matrix.diagonal()
    )
    assert helped.converged
    assert helped.iterations < 0.2 * plain.iterations
    expected = torch.linalg.solve(matrix, b.T).T
    torch.testing.assert_close(helped.state, expected, rtol=1e-6, atol=1e-9)
    inverse = torch.linalg.inv(matrix)
    exact = ConjugateGradient(1e-6)(
        lambda v: v @ matrix, b, preconditioner=lambda v: v @ inverse
    )
    assert exact.iterations == 1


@pytest.mark.parametrize("shape", [(2, 5), (0, 5), (2, 0)], ids=str)
def test_nothing_to_solve(shape):
    solution = ConjugateGradient()(lambda v: 2 * v, torch.zeros(shape))
    assert solution.converged
    assert solution.iterations == 0
    assert solution.state.shape == shape
    assert not solution.state.any()


def test_a_matrix_that_is_not_positive_is_not_called_solved():
    solution = ConjugateGradient(1e-8, 50)(lambda v: v * torch.nan, torch.ones(1, 3))
    assert not solution.converged


# Learned descent -----------------------------------------------------------------------


def fields(
    shape: tuple[int, ...], dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Mask]:
    """A background, observations and their mask."""
    operator = Mask(random(shape, seed=3) > 1)
    return random(shape, dtype, 1), operator(random(shape, dtype, 2)), operator


def test_untrained_it_returns_the_background():
    solver, cost = LSTMSolver(2, 4, 5), VariationalCost(TwoScale(2, 3))
    x0, y, operator = fields((3, 2, 6, 7), torch.float32)
    solution = solver(cost, x0, y, operator)
    assert solution.iterations == 5
    assert solution.converged
    torch.testing.assert_close(solution.state, x0, rtol=0, atol=0)


def test_land_stays_where_the_background_is():
    solver, cost = learned(torch.float64)
    x0, y, operator = fields((2, 2, 6, 7))
    sea = torch.ones(6, 7, dtype=torch.bool)
    sea[2:4, 3:] = False
    state = solver(cost, x0, y, operator, sea=sea).state
    torch.testing.assert_close(state[..., ~sea], x0[..., ~sea], rtol=0, atol=0)
    assert ((state - x0)[..., sea].abs() > 1e-6).all()


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_the_number_of_steps_may_be_given(steps):
    solver, cost = learned(torch.float64)
    x0, y, operator = fields((2, 2, 6, 7))
    solution = solver(cost, x0, y, operator, steps=steps)
    assert solution.iterations == steps
    solver.steps = steps
    torch.testing.assert_close(solution.state, solver(cost, x0, y, operator).state)


def test_a_step_does_not_depend_on_the_size_of_the_tile():
    """Inside, beyond the reach of two steps, a tile of a map is the map of a tile."""
    solver, cost = learned(torch.float64, steps=2)
    x0, y, operator = fields((1, 2, 108, 104))
    whole = solver(cost, x0, y, operator).state
    cut = (..., slice(4, 100), slice(6, 102))
    small = solver(cost, x0[cut], y[cut], Mask(operator.observed[cut])).state
    # A gradient reaches 18 cells, the gates and the update one each, and there are two steps.
    inside = (..., slice(40, -40), slice(40, -40))
    assert small[inside].numel() > 100
    torch.testing.assert_close(whole[cut][inside], small[inside], rtol=0, atol=1e-6)
    assert (small[inside] - x0[cut][inside]).abs().min() > 1e-6


def test_no_graph_is_kept_to_apply_it():
    solver, cost = learned(torch.float32)
    x0, y, operator = fields((1, 2, 6, 7), torch.float32)
    state = solver(cost, x0.requires_grad_(), y, operator).state
    assert not state.requires_grad
    assert state.grad_fn is None


def test_training_reaches_every_parameter_through_every_step():
    solver, cost = learned(torch.float64)
    x0, y, operator = fields((2, 2, 6, 7))
    state = solver(cost, x0, y, operator, train=True).state
    state.square().sum().backward()
    for name, parameter in [*solver.named_parameters(), *cost.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert not x0.requires_grad


class Bound(torch.nn.Module):
    """A solver and a cost under one roof, so that parameters can be swapped for a moment."""

    def __init__(self, solver: LSTMSolver, cost: VariationalCost) -> None:
        super().__init__()
        self.solver, self.cost = solver, cost

    def forward(self, x0: Tensor, y: Tensor, operator: Mask) -> Tensor:
        return self.solver(self.cost, x0, y, operator, train=True).state


def test_training_gradients_by_finite_differences():
    """Through the gradient of the cost: by second derivatives of the prior."""
    model = Bound(*learned(torch.float64, hidden=2, steps=2))
    inputs = fields((1, 2, 4, 4))
    values = {name: p.detach() for name, p in model.named_parameters()}
    away = {k: random(tuple(v.shape), seed=n) for n, (k, v) in enumerate(values.items())}

    def run(step: Tensor) -> Tensor:
        moved = {name: value + step * away[name] for name, value in values.items()}
        return torch.func.functional_call(model, moved, inputs)

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (step,), atol=1e-6)
