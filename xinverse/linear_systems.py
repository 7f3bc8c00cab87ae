"""Symmetric positive-definite systems, solved by preconditioned conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["LinearConjugateGradient", "Solution", "dot", "norm"]


@dataclass
class Solution:
    """What a solver returns.

    Attributes
    ----------
    state : Tensor
        The solution, ``(batch, *state)``.
    iterations : int
        Number of iterations.
    converged : bool
        Whether the stopping rule was met. Always True for a fixed number of steps.
    history : list of float
        What the solver watches at each iteration: the cost, mean over the batch,
        or the largest relative residual of a linear system or a fixed point.
    """

    state: Tensor
    iterations: int
    converged: bool = True
    history: list[float] = field(default_factory=list)

    def require_convergence(self) -> Solution:
        """Return the solution, or raise if the solver stopped early.

        Raises
        ------
        ArithmeticError
            The stopping rule was not met.
        """
        if not self.converged:
            left = f" (last value watched: {self.history[-1]:.1e})" if self.history else ""
            raise ArithmeticError(
                f"The solver did not converge in {self.iterations} iterations{left}. Allow "
                "more steps, or a larger tolerance."
            )
        return self


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each element of the batch, shaped to broadcast."""
    return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.ndim - 1))


def norm(x: Tensor) -> Tensor:
    """Euclidean norm of each element of the batch, shaped to broadcast."""
    return x.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))


class LinearConjugateGradient:
    r"""Solve :math:`A x = b` for a batch of right-hand sides.

    Each element of the batch has its own step lengths, so its solution does not
    depend on the other elements (Hestenes and Stiefel 1952). An element stops when
    it has converged. It also stops, without having converged, at a direction of
    no positive curvature: A is then not positive definite. With grad mode on, all
    iterations can be differentiated.

    Parameters
    ----------
    tolerance : float
        Stop when :math:`\|b - A x\|_M \le` ``tolerance`` :math:`\|b\|_M` for all,
        in the norm of the preconditioner, :math:`\|r\|_M^2 = r^\top M^{-1} r`.
    max_iterations : int
        Upper limit; ``Solution.converged`` is False if it is reached first.
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
            First guess. Default: zero.
        preconditioner : callable, optional
            Applies an approximate inverse of A.
        tolerance : Tensor, optional
            One for each element of the batch, ``(batch,)``. Default: the solver's.
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
            # A stopped element divides by one: a graph through 0 / 0 would carry NaN.
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
