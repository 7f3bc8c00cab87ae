r"""Total variation: flat states with sharp fronts.

.. math:: \mathrm{TV}(x) = \sum_i | (\nabla x)_i |

(Rudin, Osher and Fatemi 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from xinverse.linear_systems import dot
from xinverse.local_grid import LocalGrid
from xinverse.priors.base import PRIORS, Prior
from xinverse.priors.differences import Differences, difference_options, for_each_element

__all__ = ["TotalVariation"]

SMOOTHING = 1e-3  # default change from one cell to the next below which U is smoothed
BETWEEN_CHECKS = 10  # iterations; a check costs about as much as one of them
ROUNDING = 4  # of a sum, in units of the last digit


@PRIORS.register("total-variation")
class TotalVariation(Prior):
    r"""Sum over the cells of the length of the gradient, isotropic.

    .. math:: U(x) = \sum_i \sqrt{| (\nabla x)_i |^2 + \epsilon^2} - \epsilon, \qquad
        (\nabla x)_{a, i} = (x_{i + e_a} - x_i) / h_a

    A front costs its height, not the square of it, so it stays sharp where
    `Tikhonov` would spread it.

    Parameters
    ----------
    axes : sequence of int
        Axes of the gradient, counted from the end: ``(-2, -1)`` for maps.
    spacing : sequence of float, optional
        :math:`h_a`, distance between cells along each axis. Default: 1.
    periodic : sequence of bool, optional
        Which of the axes are periodic. Default: none.
    sea : Tensor, optional
        Boolean, broadcasting to a state. Differences across its coast do not
        count, and values on land, NaN included, have no effect.
    smoothing : float
        :math:`\epsilon`, the slope (the state's unit over that of the spacing) below
        which the cost is smoothed, so that it has a gradient.
    iterations : int
        Maximum number of iterations of ``prox``.
    tolerance : float
        Bound on the error of ``prox``, relative to its distance from the given
        state; an element stops when the bound is met. The error itself is often a
        tenth of the bound, or less.

    Raises
    ------
    ValueError
        Axes, spacings or mask that do not fit one another, or the state;
        ``smoothing`` that is not positive.

    Notes
    -----
    States are ``(batch, *state)`` of any rank. ``prox`` and the solver
    ``"primal-dual"`` are exact for TV itself; U is smaller by at most
    :math:`\epsilon` for each cell.
    """

    has_prox = True

    @classmethod
    def on(cls, grid: LocalGrid, sea: Tensor | None = None, **options: Any) -> Self:
        """Build the prior for a grid: differences per km, none across the coast.

        Parameters
        ----------
        grid : LocalGrid
            Cells of the state.
        sea : Tensor, optional
            Boolean, broadcasting to a state, False on land.
        **options
            Arguments of the class, which replace those of the grid, and
            ``km_per_day``: with time among the axes, the distance that counts
            like a day (default: 10 km).
            ``smoothing`` defaults to a change of 1e-3 from one cell to the next.
        """
        made = difference_options(grid, sea, options)
        made.setdefault("smoothing", SMOOTHING / max(made["spacing"]))
        return cls(**made)

    def __init__(
        self,
        axes: Sequence[int] = (-2, -1),
        spacing: Sequence[float] | None = None,
        periodic: Sequence[bool] | None = None,
        *,
        sea: Tensor | None = None,
        smoothing: float = SMOOTHING,
        iterations: int = 1000,
        tolerance: float = 1e-2,
    ) -> None:
        super().__init__()
        if smoothing <= 0:
            raise ValueError(
                f"smoothing={smoothing}: expected a slope above zero and smaller than "
                "those of the state; without it the cost has no gradient."
            )
        self.differences = Differences(axes, spacing, periodic, sea)
        self.smoothing = float(smoothing)
        self.iterations = iterations
        self.tolerance = tolerance

    def cost(self, x: Tensor) -> Tensor:
        """Smoothed total variation, shape ``(batch,)``."""
        square = self.differences(x).square().sum(1)
        # The difference of the two roots, without cancellation where the state is flat.
        cells = square / ((square + self.smoothing**2).sqrt() + self.smoothing)
        return cells.flatten(1).sum(1)

    def variation(self, slopes: Tensor) -> Tensor:
        """Total variation itself, ``(batch,)``, of differences ``(batch, axis, *state)``."""
        return slopes.square().sum(1).sqrt().flatten(1).sum(1)

    def project_dual(self, q: Tensor, limit: Tensor) -> Tensor:
        r"""Projection on :math:`|q_i| \le` ``limit``, where the dual variables of TV lie.

        Parameters
        ----------
        q : Tensor
            ``(batch, axis, *state)``.
        limit : Tensor
            Positive, broadcasting to ``q``.
        """
        return _shorten(q, limit)

    def prox(self, x: Tensor, strength: float | Tensor) -> Tensor:
        r"""Denoise by total variation; land stays as it is.

        By the dual problem (Chambolle 2004),

        .. math:: z = x - D^\top q, \qquad
            q = \arg\min_{|q_i| \le \tau} \tfrac12 \| x - D^\top q \|^2,

        projected gradient with momentum (Beck and Teboulle 2009), which restarts
        when it points uphill (O'Donoghue and Candès 2015).

        Parameters
        ----------
        x : Tensor
            ``(batch, *state)``.
        strength : float or Tensor
            :math:`\tau`; a tensor holds one for each element of the batch.
        """
        d = self.differences
        strength = for_each_element(strength, x)
        state, limit = d.at_sea(x), strength.unsqueeze(1)
        q = ahead = torch.zeros_like(d(state))
        momentum = x.new_ones(len(x), *[1] * x.ndim)  # for each element
        active = torch.ones_like(momentum, dtype=torch.bool)
        for number in range(1, self.iterations + 1):
            moved = _shorten(ahead + d(state - d.adjoint(ahead)) / d.bound, limit)
            with torch.no_grad():
                uphill = dot(ahead - moved, moved - q) > 0
                later = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
                push = torch.where(uphill, 0.0, (momentum - 1) / later)
                momentum = torch.where(uphill, 1.0, later)
            ahead = torch.where(active, moved + push * (moved - q), ahead)
            q = torch.where(active, moved, q)
            if number % BETWEEN_CHECKS == 0:
                active = active & (self._error(state, q, limit) > self.tolerance)
                if not bool(active.any()):
                    break
        z = state - d.adjoint(q)
        return z if d.sea is None else torch.where(d.sea, z, x)

    @torch.no_grad()
    def _error(self, x: Tensor, q: Tensor, limit: Tensor) -> Tensor:
        r"""A bound of the error of ``prox``, relative to its distance from the state.

        The objective is strongly convex: :math:`\| z - z^* \|^2` is at most twice
        the duality gap, :math:`\tau \mathrm{TV}(z) - \langle \nabla z, q \rangle`.
        """
        change = self.differences.adjoint(q)
        slopes = self.differences(x - change)
        lengths = limit * slopes.square().sum(1, keepdim=True).sqrt()
        most = lengths.flatten(1).sum(1)
        gap = most - (slopes * q).flatten(1).sum(1)
        # A gap as small as its rounding cannot be reduced further.
        gap = torch.where(gap > ROUNDING * torch.finfo(x.dtype).eps * most, gap, 0.0)
        square = 2 * gap / change.square().flatten(1).sum(1)
        # Zero over zero, if there is nothing to change, as in a flat state.
        return square.nan_to_num(0.0).sqrt().reshape(-1, *[1] * x.ndim)


def _shorten(p: Tensor, limit: Tensor) -> Tensor:
    """Vectors ``(batch, axis, *state)``, none longer than the limit."""
    square = p.square().sum(1, keepdim=True)
    over = square > limit.square()
    # Only their root is taken: at zero it has no derivative.
    return torch.where(over, limit / torch.where(over, square, 1.0).sqrt(), 1.0) * p
