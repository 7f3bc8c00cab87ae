"""Every solver: the batch does not matter, nor does the tile; minima and derivatives."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from solver_cases import (
    EACH,
    EACH_MINIMISER,
    EACH_VARIATIONAL,
    IMPLICIT,
    SOLVER_CASES,
    Bound,
    SolverCase,
    coast,
    problem,
    solve,
)
from tensors import BOTH, random
from torch import Tensor

from xinverse.operators import Mask
from xinverse.priors import Prior
from xinverse.solvers import (
    LBFGS,
    SOLVERS,
    Adam,
    ConjugateGradient,
    FixedPoint,
    GradientDescent,
    VariationalSolver,
)
from xinverse.variational import Inversion, VariationalCost

# Every solver -------------------------------------------------------------------------


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


# Every solver of a variational cost ---------------------------------------------------


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
        if mode == "unroll" or name in IMPLICIT:
            differentiable = solve(case, x0, y, mode=mode).state
            assert differentiable.requires_grad
            torch.testing.assert_close(differentiable.detach(), state)
    if name in IMPLICIT:
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


# Derivatives --------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", IMPLICIT)
@pytest.mark.parametrize("land", [False, True], ids=["sea", "land"])
def test_implicit_gradients_by_finite_differences(name, land):
    """Of the minimum, or of the fixed point: and on land, of the background too."""
    case = converged(name)
    options = {"sea": coast(case.shape)} if land else {}
    slope, difference = both_slopes(case, "implicit", **options)
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", IMPLICIT)
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


@pytest.mark.parametrize("name", IMPLICIT)
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


@pytest.mark.parametrize("name", ["lstm", "primal-dual"])
def test_what_is_no_minimum_is_not_differentiated_as_one(name):
    case, x0, y = problem(name)
    text = f"{SOLVERS[name].__name__} does not return one: use mode='unroll'"
    with pytest.raises(ValueError, match=text):
        solve(case, x0, y, mode="implicit")


class Saddle(Prior):
    """Falls without end along the last cell."""

    def cost(self, x: Tensor) -> Tensor:
        return x[:, :-1].square().sum(1) - x[:, -1].square()


def test_a_gradient_that_is_not_solved_for_is_told():
    y = torch.ones(1, 4, requires_grad=True)
    cost, operator = VariationalCost(Saddle()), Mask(torch.tensor([True, True, False, False]))
    solver = GradientDescent(0.1, 3)
    state = solver(
        Inversion(cost, operator(y), operator), torch.ones(1, 4), mode="implicit"
    ).state
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
    state = ConjugateGradient()(
        Inversion(cost, y, operator), torch.zeros(1, 5), mode="implicit"
    ).state
    torch.testing.assert_close(state, 0.4 * y)
    state.sum().backward()
    torch.testing.assert_close(y.grad, torch.full((1, 5), 0.4).double())
    # x = y a / (a + b): the derivative by log a is y a b / (a + b)^2, by log b its opposite.
    slope = 6 / 25 * y.detach().sum()
    torch.testing.assert_close(
        cost.log_weights.grad.double(), torch.stack([slope, -slope]), rtol=1e-6, atol=1e-6
    )
