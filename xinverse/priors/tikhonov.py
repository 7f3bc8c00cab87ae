r"""Squared gradient: smooth states.

.. math:: U(x) = \sum_a \| D_a x \|^2

(Tikhonov 1963), with forward differences :math:`D_a` along the chosen axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from xinverse.linear_systems import LinearConjugateGradient
from xinverse.local_grid import LocalGrid
from xinverse.priors.base import PRIORS, Prior
from xinverse.priors.differences import Differences, difference_options, for_each_element

__all__ = ["Tikhonov"]

# Conjugate gradient of a masked prox: relative residual, and maximum number of iterations.
PRECISION = {torch.float32: 1e-6, torch.float64: 1e-11}
ITERATIONS = 10_000


@PRIORS.register("tikhonov")
class Tikhonov(Prior):
    r"""Sum of the squared differences between neighbours.

    .. math:: U(x) = \sum_a \| D_a x \|^2, \qquad
        (D_a x)_i = (x_{i + e_a} - x_i) / h_a

    The corresponding Gaussian has a spectrum that falls with the square of the
    wavenumber, and no preferred mean. The slope across an edge or a coast is free.

    Parameters
    ----------
    axes : sequence of int
        Counted from the end: ``(-2, -1)`` for maps, ``(-3, -2, -1)`` to include
        changes in time.
    spacing : sequence of float, optional
        :math:`h_a`, distance between cells along each axis. Default: 1.
    periodic : sequence of bool, optional
        Which of the axes are periodic. Default: none.
    sea : Tensor, optional
        Boolean, broadcasting to a state. Differences across its coast do not
        count, and values on land, NaN included, have no effect.

    Raises
    ------
    ValueError
        Axes, spacings or mask that do not fit one another, or the state.

    Notes
    -----
    States are ``(batch, *state)`` of any rank.
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
        """
        return cls(**difference_options(grid, sea, options))

    def __init__(
        self,
        axes: Sequence[int] = (-2, -1),
        spacing: Sequence[float] | None = None,
        periodic: Sequence[bool] | None = None,
        *,
        sea: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.differences = Differences(axes, spacing, periodic, sea)

    def cost(self, x: Tensor) -> Tensor:
        """Sum of the squared differences, shape ``(batch,)``."""
        return self.differences(x).square().flatten(1).sum(1)

    def cost_and_gradient(
        self, x: Tensor, *, create_graph: bool = False
    ) -> tuple[Tensor, Tensor]:
        r"""Cost, and :math:`2 D^\top D x`."""
        with torch.set_grad_enabled(create_graph):
            differences = self.differences(x)
            cost = differences.square().flatten(1).sum(1)
            return cost, 2 * self.differences.adjoint(differences)

    def prox(self, x: Tensor, strength: float | Tensor) -> Tensor:
        r""":math:`(I + 2 \tau D^\top D)^{-1} x`; land stays as it is.

        Exact by Fourier transforms without land; by conjugate gradient with land.

        Parameters
        ----------
        x : Tensor
            ``(batch, *state)``.
        strength : float or Tensor
            :math:`\tau`; a tensor holds one for each element of the batch.

        Raises
        ------
        ArithmeticError
            Conjugate gradient does not reach its tolerance.
        """
        strength = for_each_element(strength, x)
        sea = self.differences.sea
        if sea is None:
            return self._smooth(x, strength)
        smooth = _MaskedProx.apply(self, self.differences.at_sea(x), strength)
        return torch.where(sea, smooth, x)

    def _smooth(self, x: Tensor, strength: Tensor) -> Tensor:
        r"""Apply :math:`(I + 2 \tau D^\top D)^{-1}` as if there were no land.

        Waves are the eigenvectors on a ring. A state with natural edges is half of a
        ring, whose other half is its mirror image (the cosine transform).
        """
        d = self.differences
        ring, eigenvalues = x, x.new_zeros(())
        for axis, h, wraps in zip(d.axes, d.spacing, d.periodic, strict=True):
            if not wraps:
                ring = torch.cat([ring, ring.flip(axis)], axis)
            count = ring.shape[axis]
            # The real transform keeps half of the waves of the last axis.
            waves = count // 2 + 1 if axis == d.axes[-1] else count
            wave = torch.arange(waves, dtype=x.dtype, device=x.device)
            values = (2 / h * torch.sin(math.pi * wave / count)).square()
            eigenvalues = eigenvalues + values.reshape(-1, *[1] * (-axis - 1))
        spectrum = torch.fft.rfftn(ring, dim=d.axes) / (1 + 2 * strength * eigenvalues)
        smooth = torch.fft.irfftn(spectrum, [ring.shape[axis] for axis in d.axes], d.axes)
        for axis in d.axes:
            smooth = smooth.narrow(axis, 0, x.shape[axis])
        return smooth

    def _matvec(self, x: Tensor) -> Tensor:
        return self.differences.adjoint(self.differences(x))

    def _solve(self, x: Tensor, strength: Tensor) -> Tensor:
        """The prox of a state that is zero on land, outside of automatic differentiation."""
        # No preconditioner: the solution without land halves the number of iterations, but
        # makes each more than twice as slow.
        solver = LinearConjugateGradient(PRECISION.get(x.dtype, 1e-6), ITERATIONS)
        solution = solver(lambda v: v + 2 * strength * self._matvec(v), x)
        if not solution.converged:
            raise ArithmeticError(
                f"The prox of strength up to {float(strength.max()):g} was not found in "
                f"{solution.iterations} iterations: take a smaller one, or float64."
            )
        return solution.state


class _MaskedProx(torch.autograd.Function):
    r"""The solution of :math:`(I + 2 \tau D^\top D) z = x`, by its own derivative.

    The system is symmetric: :math:`\partial z^\top / \partial x` is one more solve
    :math:`s`, and :math:`\partial z^\top / \partial \tau = - 2 s^\top D^\top D z`.
    """

    @staticmethod
    def forward(ctx: Any, prior: Tikhonov, x: Tensor, strength: Tensor) -> Tensor:
        ctx.prior = prior
        z = prior._solve(x, strength)
        ctx.save_for_backward(z, strength)
        return z

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor]:
        z, strength = ctx.saved_tensors
        prior: Tikhonov = ctx.prior
        solved = _MaskedProx.apply(prior, prior.differences.at_sea(gradients[0]), strength)
        slope = -2 * (solved * prior._matvec(z)).flatten(1).sum(1)
        return None, solved, slope.reshape(-1, *strength.shape[1:]).sum_to_size(strength.shape)
