"""Tikhonov and total variation: two convex costs, each minimised."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from xinverse.checks import check_count, check_number
from xinverse.errors import DataError
from xinverse.local_grid import LocalGrid
from xinverse.methods.base import METHODS
from xinverse.methods.problem import Problem
from xinverse.methods.variational import CostMethod

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from xinverse.operators import Operator
    from xinverse.priors import Prior
    from xinverse.solvers import VariationalSolver

__all__ = ["TikhonovMethod", "TotalVariationMethod"]


@dataclass(frozen=True, kw_only=True)
class _Regularised(CostMethod):
    """A cost on the differences of the field, in units of its scales."""

    double: ClassVar[bool] = True

    weight: float = 1.0
    iterations: int = 5000
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        """Check every option."""
        super().__post_init__()
        check_number("weight", self.weight, above=0)
        check_number("tolerance", self.tolerance, above=0, below=1)
        check_count("iterations", self.iterations)

    def scaled(self, grid: LocalGrid) -> tuple[dict[str, Any], float]:
        """Spacings in units of the scales, and their product: 1 / (cells per unit volume).

        Parameters
        ----------
        grid : LocalGrid
            Grid of the tile.
        """
        grid.require_regular(f"method={self.name!r}", (-3, -2, -1))
        days, y, x = grid.spacing
        spacing = days / self.time_scale, y / self.length_scale, x / self.length_scale
        axes = [a for a, n in zip((-3, -2, -1), grid.shape, strict=True) if n > 1]
        return {"axes": axes, "spacing": [spacing[a] for a in axes]}, prod(
            spacing[a] for a in axes
        )

    def judge(self, solution: Any, state: np.ndarray, problem: Problem) -> None:
        """Require convergence."""
        super().judge(solution, state, problem)
        if not solution.converged:
            raise DataError(
                f"method={self.name!r} did not reach its minimum in {solution.iterations} "
                f"iterations in {problem.place.words}. Raise noise=, iterations= or tolerance=."
            )


@METHODS.register("tikhonov")
@dataclass(frozen=True, kw_only=True)
class TikhonovMethod(_Regularised):
    r"""The smoothest field that fits the observations.

    .. math::

        \hat x = \arg\min_x \| (y - H x) / \sigma \|^2_\Omega
                 + \frac{\lambda}{N} \| D x \|^2

    for anomalies divided by their standard deviation. D holds the differences along time,
    y and x per scale, and N is the number of cells in a box of one scale along each axis
    (Tikhonov 1963).

    Attributes
    ----------
    weight : float
        :math:`\lambda`.
    iterations : int
        Largest number of iterations.
    tolerance : float
        Relative residual of the normal equations.
    length_scale, time_scale : float
        Scales, in km and days.
    noise, variance, background
        As for ``method="oi"``.
    """

    name: ClassVar[str] = "tikhonov"
    summary: ClassVar[str] = "squared differences, conjugate gradient"

    # The best of 0.3 to 100 for complete maps with noise of half their deviation, and within
    # 10 % of the best for maps that are 15 % observed.
    weight: float = 10.0

    def parts(
        self, grid: LocalGrid, sea: Tensor | None
    ) -> tuple[Operator | None, Prior, float, VariationalSolver]:
        """Tikhonov prior and conjugate gradient."""
        from xinverse.priors import Tikhonov
        from xinverse.solvers import ConjugateGradient

        options, volume = self.scaled(grid)
        solver = ConjugateGradient(self.iterations, self.tolerance)
        return None, Tikhonov.on(grid, sea, **options), self.weight * volume, solver


@METHODS.register("tv")
@dataclass(frozen=True, kw_only=True)
class TotalVariationMethod(_Regularised):
    r"""The field of least total variation that fits the observations.

    .. math::

        \hat x = \arg\min_x \| (y - H x) / \sigma \|^2_\Omega
                 + \frac{\lambda}{N} \sum_i | (D x)_i |

    as in `TikhonovMethod`, with the length of the gradient instead of its square, which
    keeps fronts sharp (Rudin, Osher and Fatemi 1992).

    Attributes
    ----------
    weight : float
        :math:`\lambda`.
    iterations : int
        Largest number of iterations.
    tolerance : float
        Tolerance of the primal-dual iterations.
    length_scale, time_scale : float
        Scales, in km and days.
    noise, variance, background
        As for ``method="oi"``.
    """

    name: ClassVar[str] = "tv"
    summary: ClassVar[str] = "total variation, primal-dual iterations"

    # As for Tikhonov: near the best for complete maps, and harmless for maps with gaps.
    weight: float = 30.0
    iterations: int = 20000
    tolerance: float = 1e-3

    def parts(
        self, grid: LocalGrid, sea: Tensor | None
    ) -> tuple[Operator | None, Prior, float, VariationalSolver]:
        """Total variation and primal-dual iterations."""
        from xinverse.priors import TotalVariation
        from xinverse.solvers import PrimalDual

        options, volume = self.scaled(grid)
        solver = PrimalDual(self.iterations, self.tolerance)
        return None, TotalVariation.on(grid, sea, **options), self.weight * volume, solver
