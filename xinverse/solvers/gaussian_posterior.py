r"""The exact posterior of a Gaussian prior and a linear observation.

For :math:`x \sim N(0, B)` and :math:`y = H x + \epsilon`,
:math:`\epsilon \sim N(0, R)` with R diagonal and H a selection of cells,

.. math::

    \hat x &= B H^\top (H B H^\top + R)^{-1} y, \\
    A &= B - B H^\top (H B H^\top + R)^{-1} H B,

which is also the minimiser and the inverse Hessian of
:math:`\| y - H x \|^2_{R^{-1}} + \| x \|^2_{B^{-1}}` (Bretherton, Davis and
Fandry 1976; Rasmussen and Williams 2006, section 2.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from itertools import product
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from xinverse.linear_systems import LinearConjugateGradient
from xinverse.priors.kernels import envelope, gaussian
from xinverse.solvers.base import SOLVERS, Solver

if TYPE_CHECKING:  # a solver takes any prior; only the type is named here
    from xinverse.priors.gaussian import GaussianPrior

__all__ = ["GaussianPosterior"]

# Below this many observations a Cholesky factor is cheaper than the iterations (measured
# on 2 cores, 10 to 40 thousand cells), and it serves mean, error and samples at once.
DENSE_LIMIT = 1200

# Up to this many, one factor of a tile's observations serves the errors of all its cells.
WHOLE_LIMIT = 3000

# Beyond, a cell's error is worked out from the observations whose prior correlation with its
# block is above this. The others, all together, raise it by less than 1e-3 of the field's
# standard deviation where the noise is a tenth of that; the smoother the field, the farther
# they tell.
NEGLIGIBLE_CORRELATION = 3e-4
NEGLIGIBLE_IF_SMOOTH = 1e-5
LOCAL_LIMIT = 3000

# Up to this many, a Cholesky factor comes to help where the iterations do not converge.
RESCUE_LIMIT = 5000

MAX_SWEEPS = 4
MAX_ITERATIONS = 1000


@runtime_checkable
class Factored(Protocol):
    r"""A prior whose covariance is :math:`F F^\top`, with few columns in F."""

    time: Tensor
    shape: tuple[int, int, int]

    @property
    def mode_variance(self) -> Tensor: ...
    def to_modes(self, v: Tensor, cells: Tensor) -> Tensor: ...
    def from_modes(self, modes: Tensor, cells: Tensor | None = None) -> Tensor: ...


@SOLVERS.register("gaussian-posterior")
class GaussianPosterior(Solver):
    r"""Mean, error and samples of the posterior.

    Few observations are solved by a dense Cholesky factor in float64. Many are
    solved by preconditioned conjugate gradient with the prior's fast products
    in its own precision, in the space of the prior's modes where it has them
    and of the observations otherwise; the residual is then evaluated in float64
    and the solve repeated on it until it meets the tolerance (iterative
    refinement), so that float32 costs no accuracy.

    Parameters
    ----------
    prior : GaussianPrior
        B, in the precision of the iterations.
    cells : Tensor
        Observed cells, integers ``(m, 3)`` for (time, y, x).
    noise_variance : Tensor
        Diagonal of R, ``(m,)``.
    exact : GaussianPrior, optional
        B in float64, for the refinement; ``prior`` in float64 where not given.
    tolerance : float
        Relative residual at which the conjugate gradient stops, in the norm of
        the preconditioner.
    dense : bool, optional
        Force or forbid the Cholesky factor.
    """

    def __init__(
        self,
        prior: GaussianPrior,
        cells: Tensor,
        noise_variance: Tensor,
        *,
        exact: GaussianPrior | None = None,
        tolerance: float = 1e-7,
        dense: bool | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior
        self.exact = deepcopy(prior).double() if exact is None else exact
        self.register_buffer("cells", cells)
        self.register_buffer("noise_variance", noise_variance.to(self.exact.time.dtype))
        self.tolerance = tolerance
        self.dense = len(cells) <= DENSE_LIMIT if dense is None else dense
        self.register_buffer("_cholesky", None, persistent=False)

    cells: Tensor
    noise_variance: Tensor
    _cholesky: Tensor | None

    def _factor(self) -> Tensor:
        if self._cholesky is None:
            self._cholesky = self._decompose(self.cells, self.noise_variance)
        return self._cholesky

    def _decompose(self, cells: Tensor, noise_variance: Tensor) -> Tensor:
        matrix = self.exact.between(cells, cells) + torch.diag(noise_variance)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        # Whether a noise below the rounding of the matrix serves differs from processor to
        # processor. Ten times less still did, for 20 to 2500 observations that are all alike.
        rounding = torch.finfo(matrix.dtype).eps * len(cells) * self.exact.variance
        if bool(failed) or bool((noise_variance < rounding).any()):
            raise ArithmeticError(
                f"The covariance of {len(cells)} observations cannot be inverted. "
                f"{self._smallness()}"
            )
        return factor

    def mean(self, y: Tensor) -> Tensor:
        r"""Posterior mean :math:`\hat x` of observations ``(batch, m)``, on the grid."""
        y = y.to(self.noise_variance.dtype)
        if not self.dense:
            if isinstance(self.prior, Factored) and isinstance(self.exact, Factored):
                solved = self._mean_by_modes(y, self.prior, self.exact)
            else:
                solved = self._mean_by_weights(y)
            if solved is not None:
                return solved
            if len(self.cells) > RESCUE_LIMIT:
                raise ArithmeticError(
                    f"{MAX_SWEEPS * MAX_ITERATIONS} iterations did not reach the posterior of "
                    f"{len(self.cells)} observations. {self._smallness()}"
                )
        weights = torch.cholesky_solve(y.T, self._factor()).T
        return self.exact.spread(weights, self.cells)

    def _least_noise(self) -> float:
        """Smallest standard deviation of the noise over that of the field."""
        if not len(self.noise_variance):
            return 1.0
        return float((self.noise_variance.min() / self.exact.variance).sqrt())

    def _smallness(self) -> str:
        return (
            f"The smallest noise is {self._least_noise():.1g} of the field's standard "
            "deviation, and above a thousandth of it is expected: give a larger noise."
        )

    def _mean_by_modes(self, y: Tensor, rough: Factored, exact: Factored) -> Tensor | None:
        r"""Mean by control variables, :math:`\hat x = F z`.

        .. math:: (I + F^\top H^\top R^{-1} H F) z = F^\top H^\top R^{-1} y

        The modes of the prior are the control variables. The preconditioner is
        the diagonal that the system would have, were the observations spread
        evenly: :math:`1 + \bar\rho \lambda` with :math:`\lambda` the modes'
        variances and :math:`\bar\rho` the mean of :math:`R^{-1}` over all cells.
        """
        precision = 1 / self.noise_variance
        even = 1 + precision.sum() / math.prod(exact.shape) * exact.mode_variance

        def system(prior: Factored, precision: Tensor) -> Callable[[Tensor], Tensor]:
            return lambda z: (
                z + prior.to_modes(precision * prior.from_modes(z, self.cells), self.cells)
            )

        modes = self._refine(
            exact.to_modes(precision * y, self.cells),
            system(rough, precision.to(rough.time.dtype)),
            system(exact, precision),
            1 / even,
            # Modes that a precise observation holds weigh more in the state than in the norm.
            self.tolerance * min(1.0, 30 * self._least_noise()),
        )
        return None if modes is None else exact.from_modes(modes)

    def _mean_by_weights(self, y: Tensor) -> Tensor | None:
        r"""Mean :math:`B H^\top w` with :math:`(H B H^\top + R) w = y`."""
        noise = self.noise_variance.to(self.prior.time.dtype)
        weights = self._refine(
            y,
            lambda v: self.prior.restrict(v, self.cells) + noise * v,
            lambda v: self.exact.restrict(v, self.cells) + self.noise_variance * v,
            1 / (self.exact.variance + self.noise_variance),
            self.tolerance,
        )
        # In float64: large weights of unlike signs cancel in the sum.
        return None if weights is None else self.exact.spread(weights, self.cells)

    def _refine(
        self,
        b: Tensor,
        rough: Callable[[Tensor], Tensor],
        exact: Callable[[Tensor], Tensor],
        diagonal: Tensor,
        tolerance: float,
    ) -> Tensor | None:
        """Solve in the prior's precision, correct the residual found in float64.

        None where that does not come within ten times the tolerance.
        """
        low = self.prior.time.dtype
        precondition = diagonal.to(low)

        def norm(r: Tensor) -> Tensor:
            square = (r * diagonal * r).flatten(1).sum(1)
            return square.sqrt().reshape(-1, *[1] * (r.ndim - 1))

        solver = LinearConjugateGradient(max_iterations=MAX_ITERATIONS)
        target, solution, residual = tolerance * norm(b), torch.zeros_like(b), b
        for _ in range(MAX_SWEEPS):
            scale = torch.where(norm(residual) > 0, norm(residual), 1.0)
            # What is left to gain; iterations in float32 gain six digits at most. Each element
            # has its own, and rests when it is done, so that none depends on the others.
            gain = (target / scale).flatten()
            wanted = torch.where(gain < 0.5, gain.clamp(min=2e-6), 2.0)
            start = (residual / scale).to(low)
            step = solver(rough, start, preconditioner=precondition.mul, tolerance=wanted)
            solution = solution + scale * step.state
            residual = b - exact(solution)
            if bool((norm(residual) <= 2 * target).all()):
                break
        return solution if bool((norm(residual) <= 10 * target).all()) else None

    def sample(self, y: Tensor, noise: Tensor, observation_noise: Tensor) -> Tensor:
        r"""Posterior samples by Matheron's rule.

        .. math:: x = \hat x(y - H x_b - \epsilon) + x_b

        with :math:`x_b` a sample of the prior (Wilson et al. 2020).

        Parameters
        ----------
        y : Tensor
            Observations, ``(m,)``.
        noise : Tensor
            White noise ``(members, *state)`` with the prior's margins around it.
        observation_noise : Tensor
            White noise ``(members, m)``.

        Returns
        -------
        Tensor
            ``(members, nt, ny, nx)``.
        """
        free = self.prior.colour(noise)
        seen = free[:, self.cells[:, 0], self.cells[:, 1], self.cells[:, 2]]
        perturbed = y - seen - self.noise_variance.sqrt() * observation_noise
        return free + self.mean(perturbed)

    def error(self, region: Sequence[slice], wanted: Tensor | None = None) -> Tensor:
        r"""Standard deviation of the posterior, :math:`\sqrt{\operatorname{diag} A}`.

        Exact where a Cholesky factor serves the whole tile. Elsewhere cells are
        taken in blocks of about half a correlation scale, and each block is
        solved with the observations correlated with it, the ``LOCAL_LIMIT``
        most correlated at most: leaving some out can only raise the error.

        Parameters
        ----------
        region : sequence of slice
            Cells that are wanted, along (time, y, x).
        wanted : Tensor, optional
            Boolean ``(ny, nx)``; blocks without a wanted cell are left at zero.

        Returns
        -------
        Tensor
            Shape of the region, in the field's units.
        """
        prior = self.exact
        axes = [torch.arange(n)[s] for n, s in zip(prior.shape, region, strict=True)]
        result = prior.time.new_zeros([len(a) for a in axes])
        for block in product(*map(_blocks, axes, self._block_sizes())):
            targets = torch.cartesian_prod(*(a[b] for a, b in zip(axes, block, strict=True)))
            targets = targets.to(self.cells.device)
            if wanted is not None and not bool(wanted[targets[:, 1], targets[:, 2]].any()):
                continue
            if self.dense or len(self.cells) <= WHOLE_LIMIT:
                factor, near = self._factor(), self.cells
            else:
                near, noise = self._near(targets)
                factor = self._decompose(near, noise)
            shared = prior.between(near, targets)
            gain = torch.linalg.solve_triangular(factor, shared, upper=False)
            explained = gain.square().sum(0)
            std = (prior.variance - explained).clamp(min=0).sqrt()
            result[block] = std.reshape([len(a[b]) for a, b in zip(axes, block, strict=True)])
        return result

    def _block_sizes(self) -> tuple[int, int, int]:
        def cells(axis: Tensor, scale: float) -> int:
            step = float(axis.diff().abs().median()) if axis.numel() > 1 else scale
            return max(1, min(8, round(0.6 * scale / step)))

        p = self.exact
        return (
            cells(p.time, p.time_scale),
            cells(p.y, p.length_scale),
            cells(p.x, p.length_scale),
        )

    def _near(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Observations correlated with a block, the most correlated first."""
        prior = self.exact
        outside = []
        for axis, k in ((prior.time, 0), (prior.y, 1), (prior.x, 2)):
            at, block = axis[self.cells[:, k]], axis[targets[:, k]]
            outside.append((block.min() - at).clamp(min=0) + (at - block.max()).clamp(min=0))
        correlation = envelope(
            prior.space, torch.hypot(outside[1], outside[2]), prior.length_scale
        ) * prior.temporal(outside[0], prior.time_scale)
        smooth = prior.space is gaussian
        negligible = NEGLIGIBLE_IF_SMOOTH if smooth else NEGLIGIBLE_CORRELATION
        correlation = correlation * (correlation > negligible)
        kept = int(min(LOCAL_LIMIT, int((correlation > 0).sum())))
        chosen = correlation.topk(kept).indices
        return self.cells[chosen], self.noise_variance[chosen]


def _blocks(axis: Tensor, size: int) -> Iterator[slice]:
    for start in range(0, len(axis), size):
        yield slice(start, start + size)
