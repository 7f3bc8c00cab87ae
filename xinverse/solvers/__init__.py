"""Γ: how the minimum is found."""

from xinverse.solvers.base import SOLVERS, Solution, Solver
from xinverse.solvers.conjugate_gradient import ConjugateGradient
from xinverse.solvers.gaussian_posterior import GaussianPosterior
from xinverse.solvers.lstm import LSTMSolver

__all__ = [
    "SOLVERS",
    "ConjugateGradient",
    "GaussianPosterior",
    "LSTMSolver",
    "Solution",
    "Solver",
]
