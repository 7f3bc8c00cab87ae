r"""What a solver is: :math:`\hat x = \Gamma(U, x^{(0)})`."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from xinverse.registry import Registry

__all__ = ["SOLVERS", "Solution", "Solver"]


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
        What the solver watches, once an iteration (cost or relative residual).
    """

    state: Tensor
    iterations: int
    converged: bool = True
    history: list[float] = field(default_factory=list)


class Solver(nn.Module):
    """How the minimum of the variational cost is found."""


SOLVERS: Registry[type[Solver]] = Registry("solver")
