"""Symmetric positive-definite systems, solved by preconditioned conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["LinearConjugateGradient", "Solution", "dot"]


@dataclass
class Solution:
    """What a solver returns.

    Attributes
    ----------
    state : Tensor
        The solution, ``(batch, *state)``.
    iterations : int
        How many iterations it took.
    converged : bool
        Whether the stopping rule was met; True for solvers of fixed length.
    history : list of float
        What the solver watches, once an iteration: the cost, mean over the
        batch, or the largest relative residual of a linear solve or of a fixed
        point.
    """

    state: Tensor
    iterations: int
    converged: bool = True
    history: list[float] = field(default_factory=list)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each element of the batch, shaped to broadcast."""
    return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.ndim - 1))


class LinearConjugateGradient:
    r"""Solve :math:`A x = b` for a batch of right-hand sides.

    Each element of the batch has its own step lengths, so that a solution does
    not depend on what it was solved with; an element that has converged stays
    where it is (Hestenes and Stiefel 1952). So does one that meets a direction
    without positive curvature: A is not positive definite there, and it has not
    converged. Differentiable, iteration by iteration, where grad mode is on.

    Parameters
    ----------
    tolerance : float
        Stop when :math:`\|b - A x\|_M \le` ``tolerance`` :math:`\|b\|_M` for all,
        in the norm of the preconditioner, :math:`\|r\|_M^2 = r^\top M^{-1} r`.
    max_iterations : int
        Stop there in any case; ``Solution.converged`` says so.
    """

    def __init__(self, tolerance: float = 1e-6, max_iterations: int = 1000) -> None:
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def __call__(
        self,
        matvec: Callable[[Tensor], Tensor],
        b: Tensor,
        x0: Tensor | None = None,
        preconditioner: Callable[[Tensor], Tensor] | None = None,
        tolerance: Tensor | None = None,
        callback: Callable[[int, Tensor], object] | None = None,
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
        callback : callable, optional
            Called as ``callback(iteration, x)`` before every iteration and after
            the last.

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
        slope = dot(residual, z)
        scale = slope if x0 is None else dot(b, precondition(b))
        scale = torch.where(scale > 0, scale, torch.ones_like(scale)).detach()
        wanted = torch.as_tensor(self.tolerance if tolerance is None else tolerance).to(scale)
        limit = wanted.reshape(-1, *[1] * (b.ndim - 1)) ** 2 * scale
        positive = torch.ones_like(slope, dtype=torch.bool)
        active = slope > limit
        history = [_worst(slope / scale)]
        iterations = 0
        while bool(active.any()) and iterations < self.max_iterations:
            if callback is not None:
                callback(iterations, x)
            image = matvec(direction)
            curvature = dot(direction, image)
            positive = positive & ((curvature > 0) | ~active)
            active = active & positive
            # An element at rest divides by one: a graph through 0 / 0 would carry NaN.
            step = torch.where(active, slope, 0.0) / torch.where(active, curvature, 1.0)
            x = torch.addcmul(x, step, direction)
            residual = torch.addcmul(residual, step, image, value=-1)
            z = precondition(residual)
            previous, slope = slope, torch.where(active, dot(residual, z), slope)
            ratio = torch.where(active, slope, 0.0) / torch.where(active, previous, 1.0)
            direction = torch.addcmul(z, ratio, direction)
            active = (slope > limit) & positive
            iterations += 1
            history.append(_worst(slope / scale))
        if callback is not None:
            callback(iterations, x)
        watched = torch.stack(history).tolist()
        return Solution(x, iterations, bool((slope.abs() <= limit).all()), watched)


def _worst(squares: Tensor) -> Tensor:
    """Largest relative residual of the batch."""
    if not squares.numel():
        return squares.new_zeros(())
    return squares.detach().max().clamp(min=0).sqrt()
