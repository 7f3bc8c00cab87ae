"""Solvers that go down a cost: Adam, L-BFGS, and the learned descent."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from solver_cases import Bound, Quadratic, learned, positive_matrix, problem, solve
from tensors import BOTH, random
from torch import Tensor

from xinverse.dynamics import Lorenz63
from xinverse.operators import Mask
from xinverse.priors import DynamicsPrior, Prior, White
from xinverse.priors.two_scale import TwoScale
from xinverse.solvers import LBFGS, Adam, GradientDescent, LSTMSolver
from xinverse.variational import Inversion, VariationalCost

# Adam ---------------------------------------------------------------------------------


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


def test_gradient_descent_goes_down():
    with pytest.raises(ValueError, match="step_size=-0.1: expected a positive number"):
        GradientDescent(-0.1)


# L-BFGS -------------------------------------------------------------------------------


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
    solution = LBFGS(100, tolerance=tolerance)(Inversion(cost, 0 * start, NOWHERE), start)
    torch.testing.assert_close(solution.state, torch.ones_like(start), rtol=close, atol=close)
    assert solution.iterations <= 60
    many = random((5, 20), dtype)
    solution = LBFGS(1000)(Inversion(cost, torch.zeros_like(many), NOWHERE), many)
    value = cost(solution.state, torch.zeros_like(many), NOWHERE)
    # The valley of many dimensions has a second, local minimum of cost four.
    assert (torch.minimum(value, (value - 4).abs()) < 0.02).all()


def test_lbfgs_has_one_memory_for_each_element():
    """To the last digit, whatever the partner: of another scale, done at once, or lost.

    In batches of one size: a batch of another may take another kernel, which rounds
    otherwise, and the descent multiplies that.
    """
    cost = VariationalCost(Rosenbrock())
    start = torch.tensor([[-1.2, 1.0], [300.0, 4e4], [1.0, 1.0], [torch.nan, 0.0]]).double()
    solver = LBFGS(60, memory=3)
    together = solver(Inversion(cost, torch.zeros_like(start), NOWHERE), start)
    for k in range(3):
        among_its_like = start[[k]].repeat(len(start), 1)
        same = solver(Inversion(cost, torch.zeros_like(start), NOWHERE), among_its_like)
        torch.testing.assert_close(same.state[k], together.state[k], rtol=0, atol=0)
    assert not together.converged


def test_lbfgs_satisfies_the_wolfe_conditions_at_every_step():
    """The cost falls enough, and the slope along the step flattens."""
    cost, start = VariationalCost(Rosenbrock()), torch.tensor([[-1.2, 1.0]]).double()
    states: list[Tensor] = []
    none = torch.zeros_like(start)
    LBFGS(30)(
        Inversion(cost, none, NOWHERE), start, callback=lambda k, x, value: states.append(x)
    )
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
    solution = LBFGS(100, memory=30, tolerance=1e-10)(Inversion(cost, start, NOWHERE), start)
    assert solution.converged
    assert solution.iterations <= 30
    torch.testing.assert_close(solution.state[0], torch.linalg.solve(matrix, b))


class Walled(Prior):
    """Infinite beyond one, not a number further out."""

    def cost(self, x: Tensor) -> Tensor:
        return (x.square() - (1 - x).log() - 3 * x).sum(1)


def test_lbfgs_turns_back_where_the_cost_is_not_finite():
    start = torch.tensor([[-50.0, 0.9, 0.0]]).double()
    solution = LBFGS(100)(
        Inversion(VariationalCost(Walled()), torch.zeros_like(start), NOWHERE), start
    )
    # 2 x + 1 / (1 - x) = 3 at one half and at one; the wall keeps it from the second.
    torch.testing.assert_close(solution.state, torch.full_like(start, 0.5), rtol=0, atol=1e-5)


def test_lbfgs_ends_where_rounding_lets_nothing_fall_further():
    case, x0, y = problem("lbfgs")
    cost = case.cost.float()
    solution = LBFGS(500, tolerance=0.0)(Inversion(cost, y.float(), case.operator), x0.float())
    assert solution.iterations < 200
    assert not solution.converged
    precise = LBFGS(500, tolerance=1e-12)(Inversion(cost.double(), y, case.operator), x0).state
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
    solution = LBFGS(300)(Inversion(cost, y, operator), x0)
    assert error(x0) > 0.02
    assert error(solution.state) < 2e-3
    assert solution.history == sorted(solution.history, reverse=True)


# Learned descent ----------------------------------------------------------------------


def fields(
    shape: tuple[int, ...], dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Mask]:
    """A background, observations and their mask."""
    operator = Mask(random(shape, seed=3) > 1)
    return random(shape, dtype, 1), operator(random(shape, dtype, 2)), operator


def test_untrained_it_returns_the_background():
    solver, cost = LSTMSolver(2, 4, 5), VariationalCost(TwoScale(2, 3))
    x0, y, operator = fields((3, 2, 6, 7), torch.float32)
    solution = solver(Inversion(cost, y, operator), x0)
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
    steps = [
        solver(Inversion(cost, operator(x), operator), x).state - x for x in (x0, x0.flip(2))
    ]
    assert torch.allclose(*steps, atol=1e-5) == (not sees_state)


@pytest.mark.parametrize("sees_coverage", [False, True])
def test_no_observation_is_told_from_one_that_fits_where_that_is_asked_for(sees_coverage):
    torch.manual_seed(0)
    x = fields((1, 2, 6, 7), torch.float32)[0]
    cost = VariationalCost(White(), 1.0, 1e-12)
    solver = LSTMSolver(2, 4, 1, sees_coverage=sees_coverage)
    for layer in (solver.update, solver.coverage):
        if layer is not None:
            torch.nn.init.normal_(layer.weight)
    seen = [Mask(torch.full(x.shape, known)) for known in (True, False)]
    steps = [solver(Inversion(cost, operator(x), operator), x).state - x for operator in seen]
    assert torch.allclose(*steps, atol=1e-5) == (not sees_coverage)


def test_a_step_does_not_depend_on_the_size_of_the_tile():
    """Inside, beyond the reach of two steps, a tile of a map is the map of a tile."""
    solver, cost = learned(torch.float64, steps=2)
    x0, y, operator = fields((1, 2, 108, 104))
    whole = solver(Inversion(cost, y, operator), x0).state
    cut = (..., slice(4, 100), slice(6, 102))
    small = solver(Inversion(cost, y[cut], Mask(operator.observed[cut])), x0[cut]).state
    # A gradient reaches 18 cells, the gates and the update one each, and there are two steps.
    inside = (..., slice(40, -40), slice(40, -40))
    assert small[inside].numel() > 100
    torch.testing.assert_close(whole[cut][inside], small[inside], rtol=0, atol=1e-6)
    assert (small[inside] - x0[cut][inside]).abs().min() > 1e-6


def test_training_reaches_every_parameter_through_every_step():
    solver, cost = learned(torch.float64)
    x0, y, operator = fields((2, 2, 6, 7))
    state = solver(Inversion(cost, y, operator), x0, mode="unroll").state
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
