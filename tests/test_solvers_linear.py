"""Linear systems, and conjugate gradients down a convex cost."""

from __future__ import annotations

import pytest
import torch
from solver_cases import Bowl, Quadratic, coast, positive_matrix, problem
from tensors import BOTH, random
from torch import Tensor

from xinverse.operators import Mask, Operator
from xinverse.solvers import ConjugateGradient, LinearConjugateGradient
from xinverse.variational import Inversion, VariationalCost

# Linear systems -----------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("shape", [(20,), (4, 5), (2, 2, 5)], ids=str)
def test_conjugate_gradient_solves_the_system(dtype, shape):
    matrix = positive_matrix(20, dtype)
    b = random((3, *shape), dtype)

    def matvec(v: Tensor) -> Tensor:
        return (v.flatten(1) @ matrix).reshape(v.shape)

    tolerance = {torch.float32: 1e-6, torch.float64: 1e-12}[dtype]
    solution = LinearConjugateGradient(tolerance)(matvec, b)
    expected = torch.linalg.solve(matrix.double(), b.flatten(1).double().T).T.reshape(b.shape)
    assert solution.converged
    assert solution.state.shape == b.shape
    close = {torch.float32: 1e-4, torch.float64: 1e-10}[dtype]
    assert (solution.state - expected).abs().max() < close * expected.abs().max()


def test_each_element_may_have_a_system_of_its_own():
    matrices = torch.stack([positive_matrix(8), 1e4 * torch.eye(8), torch.eye(8)]).double()
    b = random((3, 8))
    solution = LinearConjugateGradient(1e-10)(
        lambda v: torch.einsum("bij,bj->bi", matrices, v), b
    )
    torch.testing.assert_close(solution.state, torch.linalg.solve(matrices, b))


def test_an_element_that_is_done_stays_where_it_is():
    """Whatever else is in the batch, to the last digit: each its own steps, its own end."""
    matrix = positive_matrix(30)
    b = random((4, 30)) * torch.tensor([[1.0], [1e6], [1e-6], [0.0]])
    # The second element alone is done at once: it is an eigenvector.
    b[1] = 1e6 * torch.linalg.eigh(matrix).eigenvectors[:, 3]
    solver = LinearConjugateGradient(1e-8)

    # A sum for each row of the product, so that rounding is the same in any batch: how a
    # library multiplies depends on where in memory an element of the batch begins.
    def matvec(v: Tensor) -> Tensor:
        return (matrix * v[:, None]).sum(-1)

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
        solution = LinearConjugateGradient(tolerance)(lambda v: v @ matrix, b)
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
    loose = LinearConjugateGradient(1e-2)(lambda v: v @ matrix, b).state[0]
    both = LinearConjugateGradient()(
        lambda v: v @ matrix, b, tolerance=torch.tensor([1e-2, 1e-9])
    )
    torch.testing.assert_close(both.state[0], loose, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(both.state[1], torch.linalg.solve(matrix, b[1]))


def test_it_stops_after_so_many_iterations_and_says_so():
    matrix, b = positive_matrix(40), random((1, 40))
    solution = LinearConjugateGradient(1e-12, max_iterations=5)(lambda v: v @ matrix, b)
    assert solution.iterations == 5
    assert not solution.converged


def test_in_exact_arithmetic_it_takes_as_many_iterations_as_eigenvalues():
    q, _ = torch.linalg.qr(random((30, 30)))
    values = torch.tensor([1.0, 3.0, 10.0]).double().repeat(10)
    solution = LinearConjugateGradient(1e-10)(
        lambda v: v @ (q * values @ q.T), random((2, 30), seed=1)
    )
    assert solution.iterations == 3


def test_a_first_guess_is_where_it_starts():
    matrix, b = positive_matrix(20), random((2, 20))
    exact = torch.linalg.solve(matrix, b.T).T
    guess = exact.clone()
    solution = LinearConjugateGradient(1e-8)(lambda v: v @ matrix, b, x0=guess)
    assert solution.iterations == 0
    torch.testing.assert_close(solution.state, exact, rtol=0, atol=0)
    near = LinearConjugateGradient(1e-8)(
        lambda v: v @ matrix, b, x0=exact + 1e-5 * random((2, 20))
    )
    far = LinearConjugateGradient(1e-8)(lambda v: v @ matrix, b)
    assert near.iterations < far.iterations
    torch.testing.assert_close(near.state, exact, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(guess, exact, rtol=0, atol=0)  # the caller's is left alone


def test_a_preconditioner_saves_iterations_and_changes_no_solution():
    scales = torch.logspace(-3, 3, 40, dtype=torch.float64)
    matrix = scales[:, None] * (positive_matrix(40) + 40 * torch.eye(40)) * scales
    b = random((2, 40))
    plain = LinearConjugateGradient(1e-10, 5000)(lambda v: v @ matrix, b)
    helped = LinearConjugateGradient(1e-10, 5000)(
        lambda v: v @ matrix, b, preconditioner=lambda v: v / matrix.diagonal()
    )
    assert helped.converged
    assert helped.iterations < 0.2 * plain.iterations
    expected = torch.linalg.solve(matrix, b.T).T
    torch.testing.assert_close(helped.state, expected, rtol=1e-6, atol=1e-9)
    inverse = torch.linalg.inv(matrix)
    exact = LinearConjugateGradient(1e-6)(
        lambda v: v @ matrix, b, preconditioner=lambda v: v @ inverse
    )
    assert exact.iterations == 1


@pytest.mark.parametrize("shape", [(2, 5), (0, 5), (2, 0)], ids=str)
def test_nothing_to_solve(shape):
    solution = LinearConjugateGradient()(lambda v: 2 * v, torch.zeros(shape))
    assert solution.converged
    assert solution.iterations == 0
    assert solution.state.shape == shape
    assert not solution.state.any()


def test_a_matrix_that_is_not_positive_is_not_called_solved():
    solution = LinearConjugateGradient(1e-8, 50)(lambda v: v * torch.nan, torch.ones(1, 3))
    assert not solution.converged


# Conjugate gradient -------------------------------------------------------------------


def test_conjugate_gradient_finds_the_minimum_of_a_quadratic_cost():
    matrix, b = positive_matrix(12), random((12,), seed=5)
    cost = VariationalCost(Quadratic(matrix, b), 2.0, 3.0)
    observed = random((12,), seed=6) > 0
    y = Mask(observed)(random((3, 12)))
    solver = ConjugateGradient(100, 1e-12)
    solution = solver(Inversion(cost, y, Mask(observed)), random((3, 12), seed=1))
    expected = torch.linalg.solve(
        4 * torch.diag(observed.double()) + 3 * matrix, (4 * y + 3 * b).T
    ).T
    torch.testing.assert_close(solution.state, expected)
    assert solution.converged
    # The covariance of the prior undoes its Hessian: what is left is near the identity.
    helped = ConjugateGradient(100, 1e-12, preconditioner=lambda v: v @ matrix.inverse())
    better = helped(Inversion(cost, y, Mask(observed)), random((3, 12), seed=1))
    torch.testing.assert_close(better.state, expected)
    assert better.iterations < solution.iterations


def test_on_land_the_system_has_no_rows_and_no_columns():
    matrix, b = positive_matrix(12), random((12,), seed=5)
    cost = VariationalCost(Quadratic(matrix, b), 2.0, 3.0)
    sea, operator = coast((12,)), Mask(random((12,), seed=6) > 0)
    x0, y = random((2, 12), seed=1), operator(random((2, 12)))
    state = ConjugateGradient(100, 1e-12)(Inversion(cost, y, operator, sea), x0).state
    hessian = 4 * torch.diag(operator.observed.double()) + 3 * matrix
    right = (4 * y + 3 * b)[:, sea] - x0[:, ~sea] @ hessian[~sea][:, sea]
    expected = torch.linalg.solve(hessian[sea][:, sea], right.T).T
    torch.testing.assert_close(state[:, sea], expected)


def test_conjugate_gradient_says_what_it_cannot_minimise():
    case, x0, y = problem("lbfgs")
    with pytest.raises(ValueError, match="The cost is not quadratic.*Bowl: use 'lbfgs'"):
        ConjugateGradient()(Inversion(VariationalCost(Bowl(1.0)), y, case.operator), x0)

    class Square(Operator):
        linear = False

        def forward(self, x: Tensor) -> Tensor:
            return x.square()

    with pytest.raises(ValueError, match="Square is not linear.*Use 'lbfgs'"):
        ConjugateGradient()(Inversion(VariationalCost(Bowl()), y, Square()), x0)
