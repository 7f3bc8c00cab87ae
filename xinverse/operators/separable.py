r"""From one grid to another, one axis at a time."""

from __future__ import annotations

from torch import Tensor

from xinverse.operators.base import OPERATORS, Operator

__all__ = ["Separable"]


@OPERATORS.register("separable")
class Separable(Operator):
    r"""A matrix along y and another along x: interpolation, block means, sections.

    .. math:: H(x) = A_y \, x \, A_x^\top

    Parameters
    ----------
    along_y, along_x : Tensor
        :math:`A_y`, ``(my, ny)``, and :math:`A_x`, ``(mx, nx)``.

    Notes
    -----
    States are ``(batch, ..., ny, nx)``, observations ``(batch, ..., my, mx)``.
    """

    def __init__(self, along_y: Tensor, along_x: Tensor) -> None:
        super().__init__()
        for name, matrix in (("along_y", along_y), ("along_x", along_x)):
            if matrix.ndim != 2:
                raise ValueError(
                    f"{name} has the shape {tuple(matrix.shape)}: expected a matrix, one row "
                    "for each cell that comes out."
                )
            self.register_buffer(name, matrix)

    along_y: Tensor
    along_x: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Apply both matrices."""
        return self.along_y @ x @ self.along_x.mT

    def adjoint(self, y: Tensor, state: Tensor) -> Tensor:  # noqa: ARG002  linear
        """Apply both transposes."""
        return self.along_y.mT @ y @ self.along_x
