"""Preconditioned conjugate gradient for symmetric positive-definite systems."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xinverse.solvers.base import SOLVERS, Solution, Solver

__all__ = ["ConjugateGradient"]


@SOLVERS.register("conjugate-gradient")
class ConjugateGradient(Solver):
    r"""Solve :math:`A x = b` for a batch of right-hand sides.

    Each element of the batch has its own step lengths, so that a solution does
    not depend on what it was solved with; an element that has converged stays
    where it is (Hestenes and Stiefel 1952).

    Parameters
    ----------
    tolerance : float
        Stop when :math:`\|b - A x\|_M \le` ``tolerance`` :math:`\|b\|_M` for all,
        in the norm of the preconditioner, :math:`\|r\|_M^2 = r^\top M^{-1} r`.
    max_iterations : int
        Stop there in any case; ``Solution.converged`` says so.
    """

    def __init__(self, tolerance: float = 1e-6, max_iterations: int = 1000) -> None:
        super().__init__()
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def forward(
        self,
        matvec: Callable[[Tensor], Tensor],
        b: Tensor,
        x0: Tensor | None = None,
        preconditioner: Callable[[Tensor], Tensor] | None = None,
        tolerance: Tensor | None = None,
    ) -> Solution:
        """Solve for ``b`` of shape ``(batch, *shape)``.

        Parameters
        ----------
        matvec : callable
            Applies the symmetric positive-definite A to ``(batch, *shape)``.
        b : Tensor
            Right-hand sides.
        x0 : Tensor, optional
            First guess; zero where none is given.
        preconditioner : callable, optional
            Applies an approximate inverse of A.
        tolerance : Tensor, optional
            One for each element of the batch, ``(batch,)``, in place of the solver's.

        Returns
        -------
        Solution
            With the largest relative residual of the batch as history.
        """
        precondition = preconditioner or (lambda v: v)
        x = torch.zeros_like(b) if x0 is None else x0.clone()
        residual = b.clone() if x0 is None else b - matvec(x)
        z = precondition(residual)
        direction = z.clone()
        slope = _dot(residual, z)
        scale = slope if x0 is None else _dot(b, precondition(b))
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        wanted = torch.as_tensor(self.tolerance if tolerance is None else tolerance).to(scale)
        limit = wanted.reshape(-1, *[1] * (b.ndim - 1)) ** 2 * scale
        active = slope > limit
        history = [_worst(slope / scale)]
        iterations = 0
        while bool(active.any()) and iterations < self.max_iterations:
            image = matvec(direction)
            step = torch.where(active, slope / _dot(direction, image), torch.zeros_like(slope))
            x += step * direction
            residual -= step * image
            z = precondition(residual)
            previous, slope = slope, torch.where(active, _dot(residual, z), slope)
            ratio = torch.where(active, slope / previous, torch.zeros_like(slope))
            direction = z + ratio * direction
            active = slope > limit
            iterations += 1
            history.append(_worst(slope / scale))
        watched = torch.stack(history).tolist()
        return Solution(x, iterations, bool((slope.abs() <= limit).all()), watched)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each element of the batch, shaped to broadcast."""
    return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.ndim - 1))


def _worst(squares: Tensor) -> Tensor:
    """Largest relative residual of the batch."""
    return squares.max().clamp(min=0).sqrt() if squares.numel() else squares.new_zeros(())
