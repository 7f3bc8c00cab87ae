"""Solvers: the batch does not matter, nor does the tile; minima, fixed points, derivatives.

The table of cases holds one per registered name; a test of the registries says so. What the
Gaussian posterior gives is compared with the textbook in its own file, and what solvers have
in common with filters and smoothers in that of the identities.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from xinverse.dynamics import Lorenz63
from xinverse.operators import Mask, Operator
from xinverse.priors import DynamicsPrior, KroneckerGaussian, Prior, ProjectionPrior, White
from xinverse.priors.two_scale import TwoScale
from xinverse.solvers import (
    LBFGS,
    SOLVERS,
    Adam,
    ConjugateGradient,
    FixedPoint,
    GaussianPosterior,
    GradientDescent,
    LinearConjugateGradient,
    LSTMSolver,
    Solution,
    Solver,
    VariationalSolver,
)
from xinverse.variational import VariationalCost

FLOATS = [torch.float32, torch.float64]


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


def random(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


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
    solver: VariationalSolver, cost: VariationalCost, dtype: torch.dtype, shape=CELLS
) -> SolverCase:
    operator = Mask(random(shape) > 0)

    def apply(solver: Solver, y: Tensor) -> Tensor:
        return solver(cost, torch.zeros_like(y), operator(y), operator).state

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


SOLVER_CASES: dict[str, Callable[[torch.dtype], SolverCase]] = {
    "adam": adam,
    "conjugate-gradient": conjugate_gradient,
    "fixed-point": fixed_point,
    "gaussian-posterior": gaussian_posterior,
    "gradient-descent": gradient_descent,
    "lbfgs": lbfgs,
    "lstm": lstm,
}
VARIATIONAL = [name for name, kind in SOLVERS.items() if issubclass(kind, VariationalSolver)]
MINIMISERS = [name for name in VARIATIONAL if SOLVERS[name].minimises]
EACH = pytest.mark.parametrize("name", SOLVER_CASES)
EACH_VARIATIONAL = pytest.mark.parametrize("name", VARIATIONAL)
EACH_MINIMISER = pytest.mark.parametrize("name", MINIMISERS)
BOTH = pytest.mark.parametrize("dtype", FLOATS, ids=str)


# Every solver --------------------------------------------------------------------------


@EACH
@BOTH
def test_an_element_does_not_depend_on_its_batch(name, dtype):
    case = SOLVER_CASES[name](dtype)
    # Some stop early, and what is large or nothing at all is in the batch with the rest.
    y = random((5, *case.shape), dtype) * torch.tensor([1, 0.01, 1, 0, 3]).to(dtype).reshape(
        -1, *[1] * len(case.shape)
    )
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


# Every solver of a variational cost ----------------------------------------------------


def problem(name: str, batch: int = 3) -> tuple[SolverCase, Tensor, Tensor]:
    """A case in double precision, a background and observations."""
    case = SOLVER_CASES[name](torch.float64)
    x0 = random((batch, *case.shape), seed=1)
    return case, x0, case.operator(random((batch, *case.shape), seed=2))


def solve(case: SolverCase, x0: Tensor, y: Tensor, **options: Any) -> Solution:
    return case.solver(case.cost, x0, y, case.operator, **options)


def coast(shape: tuple[int, ...]) -> Tensor:
    sea = torch.ones(shape, dtype=torch.bool)
    sea[..., 2:4] = False
    return sea


@EACH_VARIATIONAL
def test_land_stays_where_the_background_is(name):
    case, x0, y = problem(name)
    sea = coast(case.shape)
    state = solve(case, x0, y, sea=sea).state
    torch.testing.assert_close(state[..., ~sea], x0[..., ~sea], rtol=0, atol=0)
    assert ((state - x0)[..., sea].abs() > 1e-6).all()


@EACH_VARIATIONAL
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_the_number_of_steps_may_be_given(name, steps):
    case, x0, y = problem(name)
    case.solver.tolerance = 0.0
    solution = solve(case, x0, y, steps=steps)
    assert solution.iterations == steps
    case.solver.steps = steps
    torch.testing.assert_close(solution.state, solve(case, x0, y).state, rtol=0, atol=0)
    if steps == 0:
        torch.testing.assert_close(solution.state, x0, rtol=0, atol=0)


@EACH_VARIATIONAL
def test_the_callback_sees_every_state_with_its_cost(name):
    case, x0, y = problem(name)
    seen: list[tuple[int, Tensor, Tensor]] = []
    solution = solve(case, x0, y, callback=lambda *args: seen.append(args))
    numbers, states, costs = zip(*seen, strict=True)
    assert list(numbers) == list(range(solution.iterations + 1))
    torch.testing.assert_close(states[0], x0, rtol=0, atol=0)
    torch.testing.assert_close(states[-1], solution.state)
    for state, value in zip(states, costs, strict=True):
        torch.testing.assert_close(value, case.cost(state, y, case.operator).detach())
    assert not any(tensor.requires_grad for tensor in (*states, *costs))
    without = solve(case, x0, y)
    torch.testing.assert_close(without.state, solution.state, rtol=0, atol=0)
    assert without.history == solution.history
    assert 0 <= len(solution.history) - solution.iterations <= 1


@EACH_MINIMISER
def test_the_cost_of_every_element_falls(name):
    case, x0, y = problem(name)
    costs: list[Tensor] = []
    solve(case, x0, y, callback=lambda number, state, cost: costs.append(cost))
    fall = torch.stack(costs).diff(dim=0)
    if name != "adam":  # whose steps do not shorten as the minimum comes near
        assert (fall <= 1e-12).all()
    assert (fall.sum(0) < -0.1).all()


@EACH_MINIMISER
def test_an_element_stops_where_its_gradient_is_small_beside_the_first(name):
    case, x0, y = problem(name)
    case.solver.steps = 5000

    def sizes(x: Tensor) -> Tensor:
        return case.cost.gradient(x, y, case.operator).total.flatten(1).norm(dim=1)

    counts = []
    for tolerance in (1e-1, 1e-2, 1e-3):
        case.solver.tolerance = tolerance
        last: list[Any] = []
        solution = solve(case, x0, y, callback=lambda *args, last=last: last.append(args))
        share = sizes(solution.state) / sizes(x0)
        assert solution.converged
        assert (share <= tolerance * (1 + 1e-9)).all()
        # One iteration earlier, at least one of them was not there.
        assert (sizes(last[-2][1]) / sizes(x0)).max() > tolerance
        counts.append(solution.iterations)
    assert counts == sorted(counts)
    hasty = solve(case, x0, y, steps=2)
    assert hasty.iterations == 2
    assert not hasty.converged


@EACH_MINIMISER
def test_who_is_at_the_minimum_stays_there_to_the_last_digit(name):
    case, x0, y = problem(name)
    x0[1], y[1] = 0.0, 0.0
    state = solve(case, x0, y).state
    assert not state[1].any()
    assert state[0].any()


@EACH_VARIATIONAL
def test_nan_is_not_called_converged(name):
    case, x0, y = problem(name)
    x0[1] = torch.nan
    if name == "conjugate-gradient":  # no quadratic cost has it
        with pytest.raises(ValueError, match="gradient is nan"):
            solve(case, x0, y)
        return
    solution = solve(case, x0, y)
    assert solution.converged is (case.solver.tolerance == 0)
    assert torch.isfinite(solution.state[[0, 2]]).all()


@EACH_VARIATIONAL
def test_no_graph_is_kept_unless_it_is_asked_for(name):
    case, x0, y = problem(name)
    state = solve(case, x0.requires_grad_(), y).state
    assert not state.requires_grad
    for mode in ("unroll", "implicit"):
        if mode == "unroll" or name != "lstm":
            differentiable = solve(case, x0, y, mode=mode).state
            assert differentiable.requires_grad
            torch.testing.assert_close(differentiable.detach(), state)
    if name != "lstm":
        with torch.no_grad():
            assert not solve(case, x0, y, mode="implicit").state.requires_grad


@EACH_VARIATIONAL
def test_a_mode_that_does_not_exist_is_an_error(name):
    case, x0, y = problem(name)
    with pytest.raises(ValueError, match="mode='implicitly': expected one of 'iterate'"):
        solve(case, x0, y, mode="implicitly")


@EACH_VARIATIONAL
def test_constructor_arguments_are_checked(name):
    arguments = {"gradient-descent": {"step_size": 0.1}, "lstm": {"channels": 2}}.get(name, {})
    with pytest.raises(ValueError, match="steps=-1: expected"):
        SOLVERS[name](**arguments, steps=-1)
    if name != "lstm":  # of fixed length
        with pytest.raises(ValueError, match="tolerance=-1.0: expected"):
            SOLVERS[name](**arguments, tolerance=-1.0)


# Derivatives ---------------------------------------------------------------------------


def both_slopes(case: SolverCase, mode: str, **options: Any) -> tuple[Tensor, Tensor]:
    """Of a functional of the solution, along a direction of all that it depends on.

    By automatic differentiation, and by central differences of solutions without a graph.
    """
    x0, y = random((2, *case.shape), seed=1), random((2, *case.shape), seed=2)
    inputs = {
        "x0": x0,
        "y": y,
        **{f"cost.{name}": p.detach() for name, p in case.cost.named_parameters()},
        **{f"solver.{name}": p.detach() for name, p in case.solver.named_parameters()},
    }
    away = {
        name: random(tuple(v.shape), seed=40 + k) for k, (name, v) in enumerate(inputs.items())
    }
    functional = random(tuple(x0.shape), seed=3)

    def run(step: Tensor | float, mode: str) -> Tensor:
        at = {name: value + step * away[name] for name, value in inputs.items()}
        state = torch.func.functional_call(
            Bound(case.solver, case.cost),
            {name: value for name, value in at.items() if "." in name},
            (at["x0"], case.operator(at["y"]), case.operator),
            {"mode": mode, **options},
        )
        return (functional * state).sum()

    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(run(zero, mode), zero)
    eps = 1e-5
    with torch.no_grad():
        difference = (run(eps, "iterate") - run(-eps, "iterate")) / (2 * eps)
    return slope, difference


class Bound(nn.Module):
    """A solver and a cost under one roof, so that parameters can be swapped for a moment."""

    def __init__(self, solver: Solver, cost: VariationalCost) -> None:
        super().__init__()
        self.solver, self.cost = solver, cost

    def forward(
        self, x0: Tensor, y: Tensor, operator: Operator, mode: str = "unroll", **options: Any
    ) -> Tensor:
        return self.solver(self.cost, x0, y, operator, mode=mode, **options).state


@EACH_VARIATIONAL
@pytest.mark.parametrize("land", [False, True], ids=["sea", "land"])
def test_unrolled_gradients_by_finite_differences(name, land):
    """Through every step: background, observations, weights, prior and solver."""
    case = SOLVER_CASES[name](torch.float64)
    case.solver.steps, case.solver.tolerance = 5, 0.0
    options = {"sea": coast(case.shape)} if land else {}
    slope, difference = both_slopes(case, "unroll", **options)
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-8)


CONVERGED: dict[str, VariationalSolver] = {
    "adam": Adam(0.3, 1000, 1e-13, epsilon=1.0),
    "conjugate-gradient": ConjugateGradient(100, 1e-13),
    "fixed-point": FixedPoint(300, 1e-14, anderson=3),
    "gradient-descent": GradientDescent(0.2, 1000, 1e-13),
    "lbfgs": LBFGS(200, tolerance=1e-12),
}


def converged(name: str) -> SolverCase:
    case = SOLVER_CASES[name](torch.float64)
    case.solver = CONVERGED[name]
    return case


@pytest.mark.parametrize("name", [name for name in VARIATIONAL if name != "lstm"])
@pytest.mark.parametrize("land", [False, True], ids=["sea", "land"])
def test_implicit_gradients_by_finite_differences(name, land):
    """Of the minimum, or of the fixed point: and on land, of the background too."""
    case = converged(name)
    options = {"sea": coast(case.shape)} if land else {}
    slope, difference = both_slopes(case, "implicit", **options)
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", [name for name in VARIATIONAL if name != "lstm"])
def test_implicit_gradients_are_those_of_unrolling_to_the_end(name):
    case = converged(name)
    x0 = random((2, *case.shape), seed=1)
    gradients = []
    for mode in ("unroll", "implicit"):
        case.cost.zero_grad()
        y = random((2, *case.shape), seed=2).requires_grad_()
        state = solve(case, x0, case.operator(y), mode=mode).state
        (random(tuple(state.shape), seed=3) * state).sum().backward()
        reached = [y.grad, *(p.grad for p in case.cost.prior.parameters())]
        gradients.append(torch.cat([g.flatten() for g in reached]))
        # The weights of the cost: a fixed point does not know them.
        assert (case.cost.log_weights.grad is None) == (name == "fixed-point")
    assert gradients[0].norm() > 0.1
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-6)


class Tally:
    """How many tensors are saved for backward at once, at most."""

    def __init__(self) -> None:
        self.live: weakref.WeakSet[Any] = weakref.WeakSet()
        self.most = 0

    def pack(self, tensor: Tensor) -> Any:
        box = Box()
        box.tensor = tensor
        self.live.add(box)
        self.most = max(self.most, len(self.live))
        return box


class Box:
    """What a tensor is saved in."""

    tensor: Tensor


@pytest.mark.parametrize("name", [name for name in VARIATIONAL if name != "lstm"])
def test_implicit_memory_does_not_grow_with_the_iterations(name):
    case, x0, y = problem(name)
    case.solver.tolerance = 0.0

    def saved(mode: str, steps: int) -> int:
        tally = Tally()
        with torch.autograd.graph.saved_tensors_hooks(tally.pack, lambda box: box.tensor):
            solve(case, x0, y, mode=mode, steps=steps)
        return tally.most

    assert saved("implicit", 3) == saved("implicit", 12) < saved("unroll", 12)
    assert saved("unroll", 12) > 2 * saved("unroll", 3)


def test_what_is_no_minimum_is_not_differentiated_as_one():
    case, x0, y = problem("lstm")
    with pytest.raises(ValueError, match="LSTMSolver returns is none: use mode='unroll'"):
        solve(case, x0, y, mode="implicit")


class Saddle(Prior):
    """Falls without end along the last cell."""

    def cost(self, x: Tensor) -> Tensor:
        return x[:, :-1].square().sum(1) - x[:, -1].square()


def test_a_gradient_that_is_not_solved_for_is_told():
    y = torch.ones(1, 4, requires_grad=True)
    cost, operator = VariationalCost(Saddle()), Mask(torch.tensor([True, True, False, False]))
    solver = GradientDescent(0.1, 3)
    state = solver(cost, torch.ones(1, 4), operator(y), operator, mode="implicit").state
    with pytest.warns(RuntimeWarning, match="relative residual is .* Converge the solver"):
        state.sum().backward()
    assert torch.isfinite(y.grad).all()


def test_the_gradient_of_the_minimum_in_closed_form():
    """x = (4 I + 2 w) y / ... cell by cell: by hand, for a ridge."""

    class Ridge(Prior):
        def cost(self, x: Tensor) -> Tensor:
            return x.square().flatten(1).sum(1)

    cost = VariationalCost(Ridge(), 2.0, 3.0, learned=True).double()
    operator = Mask(torch.ones(5, dtype=torch.bool))
    y = random((1, 5)).requires_grad_()
    state = ConjugateGradient()(cost, torch.zeros(1, 5), y, operator, mode="implicit").state
    torch.testing.assert_close(state, 0.4 * y)
    state.sum().backward()
    torch.testing.assert_close(y.grad, torch.full((1, 5), 0.4).double())
    # x = y a / (a + b): the derivative by log a is y a b / (a + b)^2, by log b its opposite.
    slope = 6 / 25 * y.detach().sum()
    torch.testing.assert_close(
        cost.log_weights.grad.double(), torch.stack([slope, -slope]), rtol=1e-6, atol=1e-6
    )


# Linear systems ------------------------------------------------------------------------


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


# Conjugate gradient --------------------------------------------------------------------


class Quadratic(Prior):
    """Half of x^T A x - b^T x."""

    def __init__(self, matrix: Tensor, b: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.register_buffer("b", b)

    def cost(self, x: Tensor) -> Tensor:
        return 0.5 * (x * (x @ self.matrix)).sum(1) - x @ self.b


def test_conjugate_gradient_finds_the_minimum_of_a_quadratic_cost():
    matrix, b = positive_matrix(12), random((12,), seed=5)
    cost = VariationalCost(Quadratic(matrix, b), 2.0, 3.0)
    observed = random((12,), seed=6) > 0
    y = Mask(observed)(random((3, 12)))
    solver = ConjugateGradient(100, 1e-12)
    solution = solver(cost, random((3, 12), seed=1), y, Mask(observed))
    expected = torch.linalg.solve(
        4 * torch.diag(observed.double()) + 3 * matrix, (4 * y + 3 * b).T
    ).T
    torch.testing.assert_close(solution.state, expected)
    assert solution.converged
    # The covariance of the prior undoes its Hessian: what is left is near the identity.
    helped = ConjugateGradient(100, 1e-12, preconditioner=lambda v: v @ matrix.inverse())
    better = helped(cost, random((3, 12), seed=1), y, Mask(observed))
    torch.testing.assert_close(better.state, expected)
    assert better.iterations < solution.iterations


def test_on_land_the_system_has_no_rows_and_no_columns():
    matrix, b = positive_matrix(12), random((12,), seed=5)
    cost = VariationalCost(Quadratic(matrix, b), 2.0, 3.0)
    sea, operator = coast((12,)), Mask(random((12,), seed=6) > 0)
    x0, y = random((2, 12), seed=1), operator(random((2, 12)))
    state = ConjugateGradient(100, 1e-12)(cost, x0, y, operator, sea=sea).state
    hessian = 4 * torch.diag(operator.observed.double()) + 3 * matrix
    right = (4 * y + 3 * b)[:, sea] - x0[:, ~sea] @ hessian[~sea][:, sea]
    expected = torch.linalg.solve(hessian[sea][:, sea], right.T).T
    torch.testing.assert_close(state[:, sea], expected)


def test_conjugate_gradient_says_what_it_cannot_minimise():
    case, x0, y = problem("lbfgs")
    with pytest.raises(ValueError, match="The cost is not quadratic.*Bowl: use 'lbfgs'"):
        ConjugateGradient()(VariationalCost(Bowl(1.0)), x0, y, case.operator)

    class Square(Operator):
        linear = False

        def forward(self, x: Tensor) -> Tensor:
            return x.square()

    with pytest.raises(ValueError, match="Square is not linear.*Use 'lbfgs'"):
        ConjugateGradient()(VariationalCost(Bowl()), x0, y, Square())


# Adam ----------------------------------------------------------------------------------


def test_adam_is_that_of_the_usual_implementation():
    case, x0, y = problem("adam")
    state = x0.clone().requires_grad_()
    optimiser = torch.optim.Adam([state], lr=0.03, betas=(0.8, 0.99), eps=1e-4)
    for _ in range(25):
        optimiser.zero_grad()
        case.cost(state, y, case.operator).sum().backward()
        optimiser.step()
    case.solver = Adam(0.03, 25, betas=(0.8, 0.99), epsilon=1e-4)
    torch.testing.assert_close(solve(case, x0, y).state, state.detach())


def test_adam_has_derivatives_where_nothing_pulls():
    """The first gradient of a cell that is not observed, far from all that is, is zero."""
    case, _, y = problem("adam")
    x0 = torch.zeros_like(y)
    solve(case, x0, y, mode="unroll", steps=3).state.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in case.cost.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_size": 0.0}, "step_size=0.0: expected a positive number"),
        ({"epsilon": -1.0}, "epsilon=-1.0: expected a positive number"),
        ({"betas": (0.9, 1.0)}, "betas=.*: expected two numbers from 0 to below 1"),
    ],
)
def test_adam_checks_its_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Adam(**options)


# L-BFGS --------------------------------------------------------------------------------


class Rosenbrock(Prior):
    """A bent valley, with its minimum where all is one."""

    def cost(self, x: Tensor) -> Tensor:
        along, across = (1 - x[:, :-1]).square(), (x[:, 1:] - x[:, :-1].square()).square()
        return (along + 100 * across).sum(1)


NOWHERE = Mask(torch.tensor(False))


@BOTH
def test_lbfgs_goes_through_the_valley_of_rosenbrock(dtype):
    start = torch.tensor([[-1.2, 1.0], [0.0, 0.0], [3.0, -2.0], [1.0, 1.0]], dtype=dtype)
    cost = VariationalCost(Rosenbrock())
    tolerance, close = {torch.float32: (1e-6, 1e-3), torch.float64: (1e-12, 1e-8)}[dtype]
    solution = LBFGS(100, tolerance=tolerance)(cost, start, 0 * start, NOWHERE)
    torch.testing.assert_close(solution.state, torch.ones_like(start), rtol=close, atol=close)
    assert solution.iterations <= 60
    many = random((5, 20), dtype)
    solution = LBFGS(1000)(cost, many, torch.zeros_like(many), NOWHERE)
    value = cost(solution.state, torch.zeros_like(many), NOWHERE)
    # The valley of many dimensions has a second, local minimum of cost four.
    assert (torch.minimum(value, (value - 4).abs()) < 0.02).all()


def test_lbfgs_has_one_memory_for_each_element():
    """To the last digit, whatever the partner: of another scale, done at once, or lost."""
    cost = VariationalCost(Rosenbrock())
    start = torch.tensor([[-1.2, 1.0], [300.0, 4e4], [1.0, 1.0], [torch.nan, 0.0]]).double()
    solver = LBFGS(60, memory=3)
    together = solver(cost, start, torch.zeros_like(start), NOWHERE)
    for k in range(3):
        alone = solver(cost, start[[k]], torch.zeros(1, 2), NOWHERE)
        torch.testing.assert_close(alone.state[0], together.state[k], rtol=0, atol=0)
    assert not together.converged


def test_lbfgs_satisfies_the_wolfe_conditions_at_every_step():
    """The cost falls enough, and the slope along the step flattens."""
    cost, start = VariationalCost(Rosenbrock()), torch.tensor([[-1.2, 1.0]]).double()
    states: list[Tensor] = []
    none = torch.zeros_like(start)
    LBFGS(30)(cost, start, none, NOWHERE, callback=lambda k, x, value: states.append(x))
    for before, after in pairwise(states):
        step = after - before
        slopes = [(cost.gradient(x, none, NOWHERE).total * step).sum() for x in (before, after)]
        fall = cost(after, none, NOWHERE) - cost(before, none, NOWHERE)
        assert slopes[0] < 0
        assert fall <= 1e-4 * slopes[0] * (1 - 1e-9)
        assert slopes[1] >= 0.9 * slopes[0] * (1 + 1e-9)


def test_lbfgs_is_exact_on_a_quadratic_cost_after_as_many_steps_as_dimensions_or_so():
    matrix, b = positive_matrix(8), random((8,), seed=5)
    cost, start = VariationalCost(Quadratic(matrix, b)), torch.zeros(1, 8).double()
    solution = LBFGS(100, memory=30, tolerance=1e-10)(cost, start, start, NOWHERE)
    assert solution.converged
    assert solution.iterations <= 30
    torch.testing.assert_close(solution.state[0], torch.linalg.solve(matrix, b))


class Walled(Prior):
    """Infinite beyond one, not a number further out."""

    def cost(self, x: Tensor) -> Tensor:
        return (x.square() - (1 - x).log() - 3 * x).sum(1)


def test_lbfgs_turns_back_where_the_cost_is_not_finite():
    start = torch.tensor([[-50.0, 0.9, 0.0]]).double()
    solution = LBFGS(100)(VariationalCost(Walled()), start, torch.zeros_like(start), NOWHERE)
    # 2 x + 1 / (1 - x) = 3 at one half and at one; the wall keeps it from the second.
    torch.testing.assert_close(solution.state, torch.full_like(start, 0.5), rtol=0, atol=1e-5)


def test_lbfgs_ends_where_rounding_lets_nothing_fall_further():
    case, x0, y = problem("lbfgs")
    cost = case.cost.float()
    solution = LBFGS(500, tolerance=0.0)(cost, x0.float(), y.float(), case.operator)
    assert solution.iterations < 200
    assert not solution.converged
    precise = LBFGS(500, tolerance=1e-12)(cost.double(), x0, y, case.operator).state
    torch.testing.assert_close(solution.state.double(), precise, rtol=1e-4, atol=1e-4)


def test_lbfgs_checks_its_memory():
    with pytest.raises(ValueError, match="memory=0: expected at least one"):
        LBFGS(memory=0)


def test_lbfgs_finds_the_lorenz_trajectory_by_weak_constraint_4dvar():
    """Windows of 200 steps, every eighth seen with noise of variance two.

    From a straight line between observations, at a model weight of 2000. Over many windows
    the mean square error of the minimum is a bit above a thousandth of the variance.
    """
    model = Lorenz63()
    truth = model.trajectory(model(5 * random((8, 3)) + 20, 0.01, 1000), 0.01, 200)
    observed = torch.zeros(200, 1, dtype=torch.bool)
    observed[::8] = True
    operator = Mask(observed.expand(200, 3))
    y = operator(truth + 2**0.5 * random((8, 200, 3), seed=1))
    time = torch.arange(200)
    left = time // 8 * 8
    right = torch.where(left + 8 < 200, left + 8, left)
    x0 = y[:, left].lerp(y[:, right], ((time - left) / 8).double()[:, None])

    def error(x: Tensor) -> float:
        return float((x - truth).square().mean() / truth.var((0, 1)).mean())

    cost = VariationalCost(DynamicsPrior(model, 0.01), 1 / 2000, 1.0)
    solution = LBFGS(300)(cost, x0, y, operator)
    assert error(x0) > 0.02
    assert error(solution.state) < 2e-3
    assert solution.history == sorted(solution.history, reverse=True)


# Fixed point ---------------------------------------------------------------------------


class Basis(ProjectionPrior):
    """Orthogonal projection on a few patterns, as of truncated EOFs."""

    def __init__(self, n: int, kept: int) -> None:
        super().__init__()
        self.register_buffer("patterns", torch.linalg.qr(random((n, kept), seed=9))[0])

    def project(self, x: Tensor) -> Tensor:
        return x @ self.patterns @ self.patterns.T


def gappy(batch: int = 3) -> tuple[VariationalCost, Mask, Tensor, Tensor]:
    """A cost, observations of half the cells, and the fit of the patterns to them."""
    prior = Basis(40, 4)
    operator = Mask(random((40,), seed=4) > 0)
    y = operator(random((batch, 40), seed=5))
    at = operator.observed
    fit = torch.linalg.lstsq(prior.patterns[at], y[:, at].T).solution
    return VariationalCost(prior), operator, y, (prior.patterns @ fit).T


def test_one_iteration_from_zero_is_the_projection_of_the_observations():
    cost, operator, y, _ = gappy()
    state = FixedPoint(1)(cost, torch.zeros_like(y), y, operator).state
    torch.testing.assert_close(state, cost.prior.project(y))


def test_observed_cells_are_replaced_and_the_rest_is_kept():
    cost, operator, y, _ = gappy()
    x0 = random((3, 40), seed=6)
    state = FixedPoint(1)(cost, x0, y, operator).state
    torch.testing.assert_close(state, cost.prior.project(torch.where(operator.observed, y, x0)))


@pytest.mark.parametrize("anderson", [0, 2, 4, 8])
def test_it_converges_to_the_patterns_that_fit_the_observations(anderson):
    """Least squares, as DINEOF without its truncation."""
    cost, operator, y, fit = gappy()
    solver = FixedPoint(2000, 1e-12, anderson=anderson)
    solution = solver(cost, torch.zeros_like(y), y, operator)
    assert solution.converged
    torch.testing.assert_close(solution.state, fit)
    # As many unknowns as patterns: combining as many iterations is exact, as GMRES is.
    assert solution.iterations <= (8 if anderson >= 4 else 200)
    if not anderson:
        plain = FixedPoint(2000, 1e-12, anderson=4)(cost, torch.zeros_like(y), y, operator)
        assert plain.iterations < 0.2 * solution.iterations


@BOTH
def test_anderson_acceleration_is_for_each_element_by_itself(dtype):
    cost, operator, y, _ = gappy()
    y = y.to(dtype) * torch.tensor([[1.0], [1e-4], [1e4]]).to(dtype)
    cost = cost.to(dtype)
    solver = FixedPoint(6, anderson=3)
    together = solver(cost, torch.zeros_like(y), y, operator).state
    for k in range(3):
        alone = solver(cost, torch.zeros(1, 40, dtype=dtype), y[[k]], operator).state[0]
        close = 1e-4 if dtype == torch.float32 else 1e-9
        torch.testing.assert_close(alone, together[k], rtol=close, atol=close * y[k].norm())


def test_relaxed_replacement_has_the_same_fixed_point():
    cost, operator, y, fit = gappy()
    for omega in (0.5, 1.5):
        state = FixedPoint(2000, 1e-13, omega=omega)(cost, y, y, operator).state
        torch.testing.assert_close(state, fit)


def test_a_fixed_point_stops_where_little_changes():
    cost, operator, y, _ = gappy()
    solution = FixedPoint(2000, 1e-4)(cost, torch.zeros_like(y), y, operator)
    assert solution.converged
    assert len(solution.history) == solution.iterations
    assert solution.history[-1] <= 1e-4 < solution.history[-2]
    assert not FixedPoint(3, 1e-4)(cost, torch.zeros_like(y), y, operator).converged


def test_a_prior_without_a_projection_has_no_fixed_point():
    case, x0, y = problem("lbfgs")
    for mode in ("iterate", "unroll", "implicit"):
        with pytest.raises(ValueError, match="Bowl has no projection, and a fixed point"):
            FixedPoint()(case.cost, x0, y, case.operator, mode=mode)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"omega": 0.0}, "omega=0.0: expected"), ({"anderson": -1}, "anderson=-1: expected")],
)
def test_a_fixed_point_checks_its_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        FixedPoint(**options)


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


@pytest.mark.parametrize("sees_state", [False, True])
def test_a_state_that_fits_its_observations_is_seen_where_that_is_asked_for(sees_state):
    """Two states without a gradient: the cell knows them apart only if it sees them."""
    torch.manual_seed(0)
    solver = LSTMSolver(2, 4, 1, sees_state=sees_state)
    torch.nn.init.normal_(solver.update.weight)
    x0, _, operator = fields((1, 2, 6, 7), torch.float32)
    cost = VariationalCost(White(), 1.0, 1e-12)
    steps = [solver(cost, x, operator(x), operator).state - x for x in (x0, x0.flip(2))]
    assert torch.allclose(*steps, atol=1e-5) == (not sees_state)


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


def test_training_reaches_every_parameter_through_every_step():
    solver, cost = learned(torch.float64)
    x0, y, operator = fields((2, 2, 6, 7))
    state = solver(cost, x0, y, operator, mode="unroll").state
    state.square().sum().backward()
    for name, parameter in [*solver.named_parameters(), *cost.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert not x0.requires_grad


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
