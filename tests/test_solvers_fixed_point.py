"""Fixed points of a projection, with and without acceleration."""

from __future__ import annotations

import pytest
import torch
from solver_cases import problem
from tensors import BOTH, random
from torch import Tensor

from xinverse.operators import Mask
from xinverse.priors import ProjectionPrior
from xinverse.solvers import FixedPoint
from xinverse.variational import Inversion, VariationalCost


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
    state = FixedPoint(1)(Inversion(cost, y, operator), torch.zeros_like(y)).state
    torch.testing.assert_close(state, cost.prior.project(y))


def test_observed_cells_are_replaced_and_the_rest_is_kept():
    cost, operator, y, _ = gappy()
    x0 = random((3, 40), seed=6)
    state = FixedPoint(1)(Inversion(cost, y, operator), x0).state
    torch.testing.assert_close(state, cost.prior.project(torch.where(operator.observed, y, x0)))


@pytest.mark.parametrize("anderson", [0, 2, 4, 8])
def test_it_converges_to_the_patterns_that_fit_the_observations(anderson):
    """Least squares, as DINEOF without its truncation."""
    cost, operator, y, fit = gappy()
    solver = FixedPoint(2000, 1e-12, anderson=anderson)
    solution = solver(Inversion(cost, y, operator), torch.zeros_like(y))
    assert solution.converged
    torch.testing.assert_close(solution.state, fit)
    # As many unknowns as patterns: combining as many iterations is exact, as GMRES is.
    assert solution.iterations <= (8 if anderson >= 4 else 200)
    if not anderson:
        plain = FixedPoint(2000, 1e-12, anderson=4)(
            Inversion(cost, y, operator), torch.zeros_like(y)
        )
        assert plain.iterations < 0.2 * solution.iterations


@BOTH
def test_anderson_acceleration_is_for_each_element_by_itself(dtype):
    cost, operator, y, _ = gappy()
    y = y.to(dtype) * torch.tensor([[1.0], [1e-4], [1e4]]).to(dtype)
    cost = cost.to(dtype)
    solver = FixedPoint(6, anderson=3)
    together = solver(Inversion(cost, y, operator), torch.zeros_like(y)).state
    for k in range(3):
        alone = solver(
            Inversion(cost, y[[k]], operator), torch.zeros(1, 40, dtype=dtype)
        ).state[0]
        close = 1e-4 if dtype == torch.float32 else 1e-9
        torch.testing.assert_close(alone, together[k], rtol=close, atol=close * y[k].norm())


def test_relaxed_replacement_has_the_same_fixed_point():
    cost, operator, y, fit = gappy()
    for omega in (0.5, 1.5):
        state = FixedPoint(2000, 1e-13, omega=omega)(Inversion(cost, y, operator), y).state
        torch.testing.assert_close(state, fit)


def test_a_fixed_point_stops_where_little_changes():
    cost, operator, y, _ = gappy()
    solution = FixedPoint(2000, 1e-4)(Inversion(cost, y, operator), torch.zeros_like(y))
    assert solution.converged
    assert len(solution.history) == solution.iterations
    assert solution.history[-1] <= 1e-4 < solution.history[-2]
    assert not FixedPoint(3, 1e-4)(Inversion(cost, y, operator), torch.zeros_like(y)).converged


def test_a_prior_without_a_projection_has_no_fixed_point():
    case, x0, y = problem("lbfgs")
    for mode in ("iterate", "unroll", "implicit"):
        with pytest.raises(ValueError, match="Bowl has no projection, and a fixed point"):
            FixedPoint()(Inversion(case.cost, y, case.operator), x0, mode=mode)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"omega": 0.0}, "omega=0.0: expected"), ({"anderson": -1}, "anderson=-1: expected")],
)
def test_a_fixed_point_checks_its_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        FixedPoint(**options)
