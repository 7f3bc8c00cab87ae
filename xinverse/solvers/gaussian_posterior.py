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

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from xinverse.solvers.base import SOLVERS, Solver
from xinverse.solvers.conjugate_gradient import ConjugateGradient

if TYPE_CHECKING:  # a solver takes any prior; only the type is named here
    from xinverse.priors.gaussian import GaussianPrior

__all__ = ["GaussianPosterior"]

# Below this many observations a Cholesky factor is cheaper than the iterations (measured
# on 2 cores, 10 to 40 thousand cells), and it serves mean, error and samples at once.
DENSE_LIMIT = 1200

# A cell's error is worked out from the observations whose prior correlation with its block
# is above this; what the others add is of the order of its square.
NEGLIGIBLE_CORRELATION = 1e-3
LOCAL_LIMIT = 3000


@SOLVERS.register("gaussian-posterior")
class GaussianPosterior(Solver):
    r"""Mean, error and samples of the posterior, in observation space.

    Few observations are solved by a dense Cholesky factor in float64. Many are
    solved by conjugate gradient, preconditioned by the diagonal, with the
    prior's fast products in its own precision; the residual is then evaluated
    in float64 and the solve repeated on it until it meets the tolerance
    (iterative refinement), so that float32 costs no accuracy.

    Parameters
    ----------
    prior : GaussianPrior
        B, in the precision of the iterations.
    cells : Tensor
        Observed cells, integers ``(m, 3)`` for (time, y, x).
    noise_variance : Tensor
        Diagonal of R, ``(m,)``.
    exact : GaussianPrior, optional
        B in float64, for the refinement; ``prior`` itself where not given.
    tolerance : float
        Relative residual at which the conjugate gradient stops.
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
        tolerance: float = 1e-5,
        dense: bool | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior
        self.exact = exact or prior
        self.cells = cells
        self.noise_variance = noise_variance.to(self.exact.time.dtype)
        self.tolerance = tolerance
        self.dense = len(cells) <= DENSE_LIMIT if dense is None else dense
        self._cholesky: Tensor | None = None

    def _factor(self) -> Tensor:
        if self._cholesky is None:
            matrix = self.exact.between(self.cells, self.cells)
            self._cholesky = torch.linalg.cholesky(matrix + torch.diag(self.noise_variance))
        return self._cholesky

    def weights(self, y: Tensor) -> Tensor:
        r""":math:`(H B H^\top + R)^{-1} y` for ``(batch, m)``."""
        y = y.to(self.noise_variance.dtype)
        if self.dense:
            return torch.cholesky_solve(y.T, self._factor()).T
        rough = self.prior.time.dtype
        noise = self.noise_variance.to(rough)
        diagonal = 1 / (self.prior.variance + noise)
        # Each sweep of the refinement gains about three digits in float32.
        solver = ConjugateGradient(max(self.tolerance, 1e-3), max_iterations=1000)
        norm = y.norm(dim=1, keepdim=True).clamp(min=torch.finfo(y.dtype).tiny)
        solution, residual = torch.zeros_like(y), y
        for _ in range(8):
            scale = residual.norm(dim=1, keepdim=True).clamp(min=torch.finfo(y.dtype).tiny)
            step = solver(
                lambda v: self.prior.restrict(v, self.cells) + noise * v,
                (residual / scale).to(rough),
                preconditioner=lambda v: diagonal * v,
            )
            solution = solution + scale * step.state
            image = self.exact.restrict(solution, self.cells) + self.noise_variance * solution
            residual = y - image
            if bool((residual.norm(dim=1, keepdim=True) <= self.tolerance * norm).all()):
                break
        return solution

    def mean(self, y: Tensor) -> Tensor:
        r"""Posterior mean :math:`\hat x` of observations ``(batch, m)``, on the grid."""
        return self.prior.spread(self.weights(y).to(self.prior.time.dtype), self.cells)

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
        solved with the observations correlated with it, the nearest
        ``LOCAL_LIMIT`` at most: leaving some out can only raise the error.

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
            if self.dense:
                factor, near = self._factor(), self.cells
            else:
                near, noise = self._near(targets)
                matrix = prior.between(near, near) + torch.diag(noise)
                factor = torch.linalg.cholesky(matrix)
            gain = torch.linalg.solve_triangular(factor, prior.between(near, targets), upper=False)
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
        correlation = prior.space(torch.hypot(outside[1], outside[2]), prior.length_scale)
        correlation = correlation.abs() * prior.temporal(outside[0], prior.time_scale)
        correlation = correlation * (correlation > NEGLIGIBLE_CORRELATION)
        kept = int(min(LOCAL_LIMIT, int((correlation > 0).sum())))
        chosen = correlation.topk(kept).indices
        return self.cells[chosen], self.noise_variance[chosen]


def _blocks(axis: Tensor, size: int) -> Iterator[slice]:
    for start in range(0, len(axis), size):
        yield slice(start, start + size)
