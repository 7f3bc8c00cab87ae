"""Γ: how the minimum is found."""

from xinverse.linear_systems import LinearConjugateGradient
from xinverse.solvers.adam import Adam
from xinverse.solvers.base import (
    SOLVERS,
    DescentSolver,
    Solution,
    Solver,
    VariationalSolver,
)
from xinverse.solvers.conjugate_gradient import ConjugateGradient
from xinverse.solvers.fixed_point import FixedPoint
from xinverse.solvers.gaussian_posterior import GaussianPosterior
from xinverse.solvers.gradient_descent import GradientDescent
from xinverse.solvers.lbfgs import LBFGS
from xinverse.solvers.lstm import LSTMSolver
from xinverse.solvers.primal_dual import PrimalDual

__all__ = [
    "LBFGS",
    "SOLVERS",
    "Adam",
    "ConjugateGradient",
    "DescentSolver",
    "FixedPoint",
    "GaussianPosterior",
    "GradientDescent",
    "LSTMSolver",
    "LinearConjugateGradient",
    "PrimalDual",
    "Solution",
    "Solver",
    "VariationalSolver",
]
