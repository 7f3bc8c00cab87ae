r"""The exact posterior of a Gaussian prior and a linear observation.

For :math:`x \sim N(0, B)` and :math:`y = H x + \epsilon`, with
:math:`\epsilon \sim N(0, R)`, R diagonal and H linear,

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
from itertools import pairwise, product
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from xinverse.linear_systems import LinearConjugateGradient
from xinverse.priors.factors import along_axes
from xinverse.priors.kernels import envelope, gaussian
from xinverse.solvers.base import SOLVERS, Solver
from xinverse.solvers.seen import Kept, Seen, SeenAxes, at_whole_times, seen_through

if TYPE_CHECKING:  # a solver takes any prior; only the type is named here
    from xinverse.operators.base import Operator
    from xinverse.priors.gaussian import GaussianPrior

__all__ = ["GaussianPosterior"]

# Numbers of the cells of a block along each axis, and the variance of the posterior there.
Block: TypeAlias = tuple[Tensor, Tensor, Tensor]
Variance: TypeAlias = Callable[[Block], Tensor]

# Below this many observations a Cholesky factor is cheaper than the iterations (measured
# on 2 cores, 10 to 40 thousand cells), and it serves mean, error and samples at once.
DENSE_LIMIT = 1200

# The same where each row of the matrix takes a product on the whole grid.
DENSE_GRID_LIMIT = 200

# Up to this many, one factor of a tile's observations serves the errors of all its cells.
WHOLE_LIMIT = 3000

# Up to this many modes of the prior, one factor in their space serves the errors of all cells.
MODES_LIMIT = 4000

# Modes that are left out of that factor raise the variance of the posterior by at most this
# share, all together. About a third of the modes is kept.
MODES_SHARE = 2e-3

# Beyond, the error of a cell is computed from the observations whose prior correlation with its
# block is above this. The others together lower it by less than 1e-3 of the field's standard
# deviation where the noise is a tenth of that; the smoother the field, the farther they matter.
NEGLIGIBLE_CORRELATION = 3e-4
NEGLIGIBLE_IF_SMOOTH = 1e-5
LOCAL_LIMIT = 3000

# The same through a separable operator: means over blocks are smoother than the field.
NEGLIGIBLE_THROUGH_AXES = 1e-7

# Up to this many, a Cholesky factor is used when the iterations do not converge.
RESCUE_LIMIT = 5000

# Numbers in the largest array of a block of errors.
BLOCK_NUMBERS = 2**24

MAX_SWEEPS = 4
MAX_ITERATIONS = 1000


@SOLVERS.register("gaussian-posterior")
class GaussianPosterior(Solver):
    r"""Mean, error and samples of the posterior.

    Few observations are solved by a dense Cholesky factor in float64. Many are
    solved by preconditioned conjugate gradient with the prior's fast products
    in its own precision, in the space of the prior's modes if it has them and
    of the observations otherwise. The residual is then evaluated in float64
    and the solve repeated on it until it meets the tolerance (iterative
    refinement), so that float32 costs no accuracy.

    Parameters
    ----------
    prior : GaussianPrior
        B, in the precision of the iterations.
    cells : Tensor
        Observed cells, integers ``(m, 3)`` for (time, y, x) of what the operator
        gives. With several variables the first number is the entry of the
        prior's first axis.
    noise_variance : Tensor
        Diagonal of R, ``(m,)``.
    operator : Operator, optional
        G, linear, from states ``(batch, nt, ny, nx)`` to observations ``(batch,
        mt, my, mx)``: :math:`H = S G`, with S the selection of ``cells``.
        Default: the identity.
    exact : GaussianPrior, optional
        B in float64, for the refinement. Default: ``prior`` in float64.
    tolerance : float
        Relative residual at which the conjugate gradient stops, in the norm of
        the preconditioner.
    dense : bool, optional
        Force or forbid the Cholesky factor.

    Raises
    ------
    OptionError
        An operator that is not linear, or does not fit the states of the prior.
    """

    def __init__(
        self,
        prior: GaussianPrior,
        cells: Tensor,
        noise_variance: Tensor,
        *,
        operator: Operator | None = None,
        exact: GaussianPrior | None = None,
        tolerance: float = 1e-7,
        dense: bool | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior
        self.exact = deepcopy(prior).double() if exact is None else exact
        whole = at_whole_times(self.exact, cells) if operator is None else None
        self._seen = seen_through(self.exact, operator) if whole is None else whole
        if whole is not None:
            times = torch.searchsorted(whole.times, cells[:, :1].contiguous())
            cells = torch.cat([times, cells[:, 1:]], 1)
        # A copy, so that both have the same modes with the same signs.
        plain = type(self._seen) is Seen
        self._rough = Seen(prior) if plain else deepcopy(self._seen).to(prior.time)
        self.register_buffer("cells", cells)
        self.register_buffer("noise_variance", noise_variance.to(self.exact.time.dtype))
        self.tolerance = tolerance
        limit = DENSE_LIMIT if self._seen.separable else DENSE_GRID_LIMIT
        self.dense = len(cells) <= limit if dense is None else dense
        self.register_buffer("_cholesky", None, persistent=False)

    cells: Tensor
    noise_variance: Tensor
    _cholesky: Tensor | None

    def _factor(self) -> Tensor:
        if self._cholesky is None:
            self._cholesky = self._decompose(self.cells, self.noise_variance)
        return self._cholesky

    def _decompose(self, cells: Tensor, noise_variance: Tensor) -> Tensor:
        matrix = self._seen.between(cells, cells) + torch.diag(noise_variance)
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
            by_modes = self._seen.modes is not None
            solved = self._mean_by_modes(y) if by_modes else self._mean_by_weights(y)
            if solved is not None:
                return solved
            if len(self.cells) > RESCUE_LIMIT:
                raise ArithmeticError(
                    f"{MAX_SWEEPS * MAX_ITERATIONS} iterations did not reach the posterior of "
                    f"{len(self.cells)} observations. {self._smallness()}"
                )
        weights = torch.cholesky_solve(y.T, self._factor()).T
        return self._seen.spread(weights, self.cells)

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

    def _mean_by_modes(self, y: Tensor) -> Tensor | None:
        r"""Mean by control variables, :math:`\hat x = F z`.

        .. math:: (I + F^\top H^\top R^{-1} H F) z = F^\top H^\top R^{-1} y

        The modes of the prior are the control variables. The preconditioner is
        the diagonal that the system has when observations are spread evenly:
        :math:`1 + \bar\rho \lambda` with :math:`\lambda` the variances of the
        modes after the operator, and :math:`\bar\rho` the mean of :math:`R^{-1}`
        over all cells of the observation.
        """
        precision = 1 / self.noise_variance
        even = 1 + precision.sum() / math.prod(self._seen.shape) * self._seen.mode_variance
        modes = self._refine(
            self._seen.to_modes(precision * y, self.cells),
            self._system(self._rough, precision),
            self._system(self._seen, precision),
            1 / even,
            # Modes that a precise observation holds weigh more in the state than in the norm.
            self.tolerance * min(1.0, 30 * self._least_noise()),
        )
        return None if modes is None else self._seen.state_factors.from_modes(modes)

    def _system(self, seen: Seen, precision: Tensor) -> Callable[[Tensor], Tensor]:
        r""":math:`I + F^\top H^\top R^{-1} H F`, for modes ``(batch, rt, ry, rx)``."""
        precision = precision.to(seen.prior.time.dtype)
        return lambda z: (
            z + seen.to_modes(precision * seen.from_modes(z, self.cells), self.cells)
        )

    def _mean_by_weights(self, y: Tensor) -> Tensor | None:
        r"""Mean :math:`B H^\top w` with :math:`(H B H^\top + R) w = y`."""
        noise = self.noise_variance.to(self.prior.time.dtype)
        weights = self._refine(
            y,
            lambda v: self._rough.restrict(v, self.cells) + noise * v,
            lambda v: self._seen.restrict(v, self.cells) + self.noise_variance * v,
            self._seen.inverse(self.cells, self.noise_variance)
            or 1 / (self.exact.variance + self.noise_variance),
            self.tolerance,
        )
        # In float64: large weights of opposite signs cancel in the sum.
        return None if weights is None else self._seen.spread(weights, self.cells)

    def _refine(
        self,
        b: Tensor,
        rough: Callable[[Tensor], Tensor],
        exact: Callable[[Tensor], Tensor],
        inverse: Tensor | Callable[[Tensor], Tensor],
        tolerance: float,
    ) -> Tensor | None:
        """Solve in the prior's precision, correct the residual found in float64.

        ``inverse`` preconditions: a diagonal, or a function. Returns None if the
        residual stays above ten times the tolerance.
        """
        low = self.prior.time.dtype
        precondition = inverse.to(low).mul if isinstance(inverse, Tensor) else inverse

        def norm(r: Tensor) -> Tensor:
            weighed = r * inverse * r if isinstance(inverse, Tensor) else r * inverse(r)
            square = weighed.flatten(1).sum(1)
            return square.sqrt().reshape(-1, *[1] * (r.ndim - 1))

        solver = LinearConjugateGradient(max_iterations=MAX_ITERATIONS)
        target, solution, residual = tolerance * norm(b), torch.zeros_like(b), b
        for _ in range(MAX_SWEEPS):
            scale = torch.where(norm(residual) > 0, norm(residual), 1.0)
            # What is left to gain; iterations in float32 gain six digits at most. Each element
            # has its own, and stops when it is done, so that none depends on the others.
            gain = (target / scale).flatten()
            wanted = torch.where(gain < 0.5, gain.clamp(min=2e-6), 2.0)
            start = (residual / scale).to(low)
            step = solver(rough, start, preconditioner=precondition, tolerance=wanted)
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
            White noise ``(members, *prior.noise_shape)``; see
            `GaussianPrior.colour`.
        observation_noise : Tensor
            White noise ``(members, m)``.

        Returns
        -------
        Tensor
            ``(members, nt, ny, nx)``.
        """
        free = self.prior.colour(noise)
        field = self._rough.see(free)
        seen = field[:, self.cells[:, 0], self.cells[:, 1], self.cells[:, 2]]
        perturbed = y - seen - self.noise_variance.sqrt() * observation_noise
        return free + self.mean(perturbed)

    def error(self, region: Sequence[slice], wanted: Tensor | None = None) -> Tensor:
        r"""Standard deviation of the posterior, :math:`\sqrt{\operatorname{diag} A}`.

        Computed in the first of these ways that applies:

        1. Every cell observed once with the same noise, a Kronecker prior and a
           separable operator (or none and more than ``WHOLE_LIMIT``
           observations): closed form. Likewise if some times are observed as a
           whole and the others not at all, as in a forecast.
        2. At most ``WHOLE_LIMIT`` observations and no operator, or a separable
           one: one factor of all observations.
        3. At most ``MODES_LIMIT`` modes of the prior that the observations can
           tell from noise, and fewer than observations, with an operator: one
           factor in the space of the modes. An upper bound of the effect of the
           other modes is added; it raises the error by at most 0.1 %.
        4. At most ``WHOLE_LIMIT`` observations: one factor of all observations.

        Beyond, without an operator or with a separable one, cells are taken in
        blocks of about half a correlation scale. Each block uses the
        observations that are correlated with it: above 3e-4, 1e-5 for the Gaussian
        covariance, 1e-7 through an operator. Leaving out the others can only raise
        the error, by less than 1e-3 of the field's standard deviation when the
        noise is a tenth of it. Without an operator, a block uses the
        ``LOCAL_LIMIT`` most correlated at most.

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

        Raises
        ------
        ArithmeticError
            Too many observations and modes for an exact error through the
            operator. The text says to give a smaller tile.
        """
        prior = self.exact
        axes = [
            torch.arange(n, device=self.cells.device)[s]
            for n, s in zip(prior.shape, region, strict=True)
        ]
        result = prior.time.new_zeros([len(a) for a in axes])
        variance, sizes = self._variance(axes)
        groups = (None if prior.series is None else prior.series[axes[0]], None, None)
        for block in product(*map(_blocks, axes, sizes, groups)):
            t, y, x = (a[b] for a, b in zip(axes, block, strict=True))
            if wanted is not None and not bool(wanted[y][:, x].any()):
                continue
            std = variance((t, y, x)).clamp(min=0).sqrt()
            result[block] = std.reshape(len(t), len(y), len(x))
        return result

    def _variance(self, axes: Sequence[Tensor]) -> tuple[Variance, tuple[int, int, int]]:
        """How the variance of a block is computed, and the size of the blocks."""
        seen, count = self._seen, len(self.cells)
        few = self.dense or count <= WHOLE_LIMIT
        plain = type(seen) is Seen
        if self._is_even() and not (plain and few):
            return self._variance_in_closed_form(), _slab(axes, 1)
        if few and seen.separable:
            return self._variance_by_factor(), self._block_sizes()
        kept = None if plain or self.dense else self._kept_modes()
        if kept is not None and len(kept.numbers) <= min(count, MODES_LIMIT):
            return self._variance_by_modes(kept), _slab(axes, len(kept.numbers))
        if few:
            return self._variance_by_factor(), _slab(axes, count)
        if plain:
            return self._variance_nearby(self._near), self._block_sizes()
        if isinstance(seen, SeenAxes):
            return self._variance_nearby(self._near_through_axes), self._block_sizes()
        raise ArithmeticError(self._too_many())

    def _too_many(self) -> str:
        kept = self._kept_modes()
        found = "" if kept is None else f" and {len(kept.numbers)} modes of the prior"
        expected = "" if kept is None else f" or {MODES_LIMIT} modes"
        return (
            f"The error of {len(self.cells)} observations{found} through an operator would not "
            f"be exact: expected at most {WHOLE_LIMIT} observations{expected}. Give a smaller "
            "tile=."
        )

    def _kept_modes(self) -> Kept | None:
        """Modes that matter to the error; None without modes or observations."""
        if self._seen.modes is None or not len(self.noise_variance):
            return None
        return self._seen.kept_modes(float(self.noise_variance.min()), MODES_SHARE)

    def _is_even(self) -> bool:
        r"""Whether :math:`F^\top H^\top R^{-1} H F` is diagonal and known."""
        noise, seen = self.noise_variance, self._seen
        if seen.modes is None or not seen.separable or not seen.covers(self.cells):
            return False
        return bool(noise.min() == noise.max())

    def _variance_in_closed_form(self) -> Variance:
        r""":math:`\operatorname{diag} A = (F \circ F) \, (1 + \lambda / r)^{-1}`."""
        factors = self._seen.state_factors
        share = 1 / (1 + self._seen.mode_variance / self.noise_variance[0])

        def variance(block: Block) -> Tensor:
            t, y, x = (f[b].square() for f, b in zip(factors[:3], block, strict=True))
            return self.exact.variance * along_axes(share[None], t, y, x)

        return variance

    def _variance_by_modes(self, kept: Kept) -> Variance:
        r""":math:`\operatorname{diag} F N^{-1} F^\top`, N the system in the modes kept."""
        shape, numbers = self._seen.mode_variance.shape, kept.numbers
        factors = self._seen.state_factors
        system = self._system(self._seen, 1 / self.noise_variance)
        flat = (numbers[:, 0] * shape[1] + numbers[:, 1]) * shape[2] + numbers[:, 2]
        size = max(1, BLOCK_NUMBERS // (4 * max(math.prod(self.exact.shape), math.prod(shape))))
        rows = []
        for some in flat.split(size):
            one = factors.t.new_zeros(len(some), math.prod(shape))
            one[torch.arange(len(some), device=one.device), some] = 1
            rows.append(system(one.unflatten(1, shape)).flatten(1)[:, flat])
        matrix = torch.cat(rows)
        factor = torch.linalg.cholesky((matrix + matrix.T) / 2)

        def variance(block: Block) -> Tensor:
            t, y, x = (
                f[b][:, k] for f, b, k in zip(factors[:3], block, numbers.T, strict=True)
            )
            at = torch.einsum("tk,yk,xk->ktyx", t, y, x).reshape(len(numbers), -1)
            at = math.sqrt(self.exact.variance) * at
            left_out = self.exact.variance - at.square().sum(0)
            found = torch.linalg.solve_triangular(factor, at, upper=False).square().sum(0)
            return kept.raised * found + kept.left_out * left_out.clamp(min=0)

        return variance

    def _variance_by_factor(self) -> Variance:
        """Variance given all observations."""

        def variance(block: Block) -> Tensor:
            return self._left(self._factor(), self.cells, torch.cartesian_prod(*block))

        return variance

    def _variance_nearby(self, near: Callable[[Block], Tensor]) -> Variance:
        """Variance given the observations near each block."""

        def variance(block: Block) -> Tensor:
            chosen = near(block)
            cells = self.cells[chosen]
            factor = self._decompose(cells, self.noise_variance[chosen])
            return self._left(factor, cells, torch.cartesian_prod(*block))

        return variance

    def _left(self, factor: Tensor, cells: Tensor, targets: Tensor) -> Tensor:
        """Variance of targets that observed cells with this factor leave."""
        shared = self._seen.towards(cells, targets)
        gain = torch.linalg.solve_triangular(factor, shared, upper=False)
        return self.exact.variance - gain.square().sum(0)

    def _block_sizes(self) -> tuple[int, int, int]:
        def cells(axis: Tensor, scale: float) -> int:
            step = float(axis.diff().abs().median()) if axis.numel() > 1 else scale
            return max(1, min(8, round(0.6 * scale / step)))

        p = self.exact
        return (
            cells(p.times, p.time_scale),
            cells(p.y, p.length_scale),
            cells(p.x, p.length_scale),
        )

    def _near(self, block: Block) -> Tensor:
        """Observations correlated with a block, the most correlated first."""
        prior = self.exact
        outside = []
        for axis, k in ((prior.time, 0), (prior.y, 1), (prior.x, 2)):
            at, inside = axis[self.cells[:, k]], axis[block[k]]
            outside.append((inside.min() - at).clamp(min=0) + (at - inside.max()).clamp(min=0))
        correlation = envelope(
            prior.space, torch.hypot(outside[1], outside[2]), prior.length_scale
        ) * prior.temporal(outside[0], prior.time_scale)
        if prior.series is not None and prior.coupling is not None:
            # The entries of a block are of one variable.
            with_block = prior.coupling[:, prior.series[block[0][0]]].abs()
            correlation = correlation * with_block[prior.series[self.cells[:, 0]]]
        smooth = prior.space is gaussian
        negligible = NEGLIGIBLE_IF_SMOOTH if smooth else NEGLIGIBLE_CORRELATION
        correlation = correlation * (correlation > negligible)
        kept = int(min(LOCAL_LIMIT, int((correlation > 0).sum())))
        return correlation.topk(kept).indices

    def _near_through_axes(self, block: Block) -> Tensor:
        """Observations through a separable operator that are correlated with a block."""
        seen = self._seen
        if not isinstance(seen, SeenAxes):
            raise TypeError(f"{type(seen).__name__}: expected a separable operator.")
        correlation = seen.correlation(self.cells, block)
        chosen = (correlation > NEGLIGIBLE_THROUGH_AXES).nonzero()[:, 0]
        if len(chosen) > LOCAL_LIMIT:
            raise ArithmeticError(self._too_many())
        return chosen


def _blocks(axis: Tensor, size: int, groups: Tensor | None = None) -> Iterator[slice]:
    """Slices of an axis, at most ``size`` long and within one group each."""
    starts = list(range(0, len(axis), size))
    if groups is not None:
        edges = [0, *((groups.diff() != 0).nonzero()[:, 0] + 1).tolist(), len(axis)]
        starts = [k for a, b in pairwise(edges) for k in range(a, b, size)]
    for start, end in pairwise([*starts, len(axis)]):
        yield slice(start, end)


def _slab(axes: Sequence[Tensor], columns: int) -> tuple[int, int, int]:
    """Size of blocks as large as memory allows, with this many numbers for each cell."""
    cells, sizes = max(1, BLOCK_NUMBERS // max(columns, 1)), []
    for axis in reversed(axes):
        size = max(1, min(len(axis), cells))
        sizes.append(size)
        cells //= size
    x, y, t = sizes
    return t, y, x
