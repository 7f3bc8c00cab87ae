"""Any linear operator whose matrix fits in memory."""

from __future__ import annotations

from torch import Tensor

from xinverse.operators.base import OPERATORS, Operator

__all__ = ["Matrix"]


@OPERATORS.register("matrix")
class Matrix(Operator):
    r"""A matrix times the flattened state.

    .. math:: H(x) = A \, \mathrm{vec}(x)

    Parameters
    ----------
    matrix : Tensor
        :math:`A`, ``(m, n)``, for states of n numbers in any shape. The
        observation has the shape ``(batch, m)``.

    Raises
    ------
    ValueError
        A tensor that is not two-dimensional; when it is applied, a state with another
        number of values.
    """

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        if matrix.ndim != 2:
            raise ValueError(f"A tensor of shape {tuple(matrix.shape)}: expected (m, n).")
        self.register_buffer("matrix", matrix)

    matrix: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, m)`` of ``(batch, *state)``."""
        flat, n = x.flatten(1), self.matrix.shape[1]
        if flat.shape[1] != n:
            raise ValueError(
                f"A state of shape {tuple(x.shape[1:])}, {flat.shape[1]} numbers: expected the "
                f"{n} that the matrix has columns."
            )
        return flat @ self.matrix.to(x.dtype).T

    def adjoint(self, y: Tensor, state: Tensor) -> Tensor:
        """The transposed matrix, in the shape of the state."""
        return (y @ self.matrix.to(y.dtype)).reshape(state.shape)
