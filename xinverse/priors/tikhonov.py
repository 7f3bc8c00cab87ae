r"""Squared gradient: smooth states, the oldest regularisation there is.

.. math:: U(x) = \sum_a \| D_a x \|^2

(Tikhonov 1963), with forward differences :math:`D_a` along the chosen axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from xinverse.linear_systems import LinearConjugateGradient
from xinverse.priors.base import PRIORS, Prior
from xinverse.priors.differences import Differences, for_each_element

__all__ = ["Tikhonov"]

# Of conjugate gradient, for a masked prox: relative residual, and iterations at most.
PRECISION = {torch.float32: 1e-6, torch.float64: 1e-11}
ITERATIONS = 10_000


@PRIORS.register("tikhonov")
class Tikhonov(Prior):
    r"""Sum of the squared differences between neighbours.

    .. math:: U(x) = \sum_a \| D_a x \|^2, \qquad
        (D_a x)_i = (x_{i + e_a} - x_i) / h_a

    Its Gaussian has a spectrum that falls with the square of the wavenumber,
    and says nothing of the mean. Nothing is asked of the slope over an edge or
    a coast.

    Parameters
    ----------
    axes : sequence of int
        Counted from the end: ``(-2, -1)`` for maps, ``(-3, -2, -1)`` where
        changes in time count too.
    spacing : sequence of float, optional
        :math:`h_a`, distance of the cells along each axis; 1 where it is not given.
    periodic : sequence of bool, optional
        Which of the axes close on themselves; none where it is not given.
    sea : Tensor, optional
        Boolean, broadcasting to a state. Differences across its coast do not
        count, and what stands on land, NaN included, changes nothing.

    Raises
    ------
    ValueError
        If the axes, spacings or mask do not fit one another, or the state.

    Notes
    -----
    States are ``(batch, *state)`` of any rank.
    """

    has_prox = True

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

        Exact by Fourier transforms where there is no mask, by conjugate gradient
        where there is one.

        Parameters
        ----------
        x : Tensor
            ``(batch, *state)``.
        strength : float or Tensor
            :math:`\tau`; a tensor holds one for each element of the batch.

        Raises
        ------
        ArithmeticError
            If conjugate gradient does not reach its tolerance.
        """
        strength = for_each_element(strength, x)
        sea = self.differences.sea
        if sea is None:
            return self._smooth(x, strength)
        smooth = _MaskedProx.apply(self, self.differences.at_sea(x), strength)
        return torch.where(sea, smooth, x)

    def _smooth(self, x: Tensor, strength: Tensor) -> Tensor:
        r"""Apply :math:`(I + 2 \tau D^\top D)^{-1}` as if there were no land.

        Waves are the eigenvectors on a ring. A state with natural edges is half
        of a ring: beyond the edge lies its mirror image (the cosine transform).
        """
        d = self.differences
        ring, eigenvalues = x, x.new_zeros(())
        for axis, h, wraps in zip(d.axes, d.spacing, d.periodic, strict=True):
            if not wraps:
                ring = torch.cat([ring, ring.flip(axis)], axis)
            count = ring.shape[axis]
            # The last axis is transformed as real numbers are: half of its waves.
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
        # Without a preconditioner: that of an ocean without land halves the iterations, and
        # makes each take more than twice as long.
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
