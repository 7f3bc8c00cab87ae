"""One state, observed by several operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import cast

import torch
from torch import Tensor, nn

from xinverse.operators.base import OPERATORS, Operator

__all__ = ["Stack"]


@OPERATORS.register("stack")
class Stack(Operator):
    r"""Several operators on the same state, with joined observations.

    .. math::

        H(x) = \begin{pmatrix} H_1(x) \\ \vdots \\ H_k(x) \end{pmatrix}, \qquad
        \| y - H(x) \|^2 = \sum_k \| y_k - H_k(x) \|^2

    Parameters
    ----------
    operators : sequence of Operator
        :math:`H_1, \ldots, H_k`. Their observations may differ in shape.

    Attributes
    ----------
    linear : bool
        Whether all of them are.

    Raises
    ------
    ValueError
        No operator; observations that do not match the operators.

    Notes
    -----
    The observation is ``(batch, m)``, with m the total number of values.
    """

    def __init__(self, operators: Sequence[Operator]) -> None:
        super().__init__()
        if not operators:
            raise ValueError("No operators: expected one at least.")
        self.parts = nn.ModuleList(operators)
        self.linear = all(operator.linear for operator in operators)

    @property
    def operators(self) -> list[Operator]:
        """The operators, in order."""
        return [cast(Operator, part) for part in self.parts]

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, m)`` of ``(batch, *state)``."""
        return self.join([operator(x) for operator in self.operators])

    def join(self, observations: Sequence[Tensor]) -> Tensor:
        """Join the observations of the operators.

        Parameters
        ----------
        observations : sequence of Tensor
            In the order of the operators, ``(batch, *observation)`` each.

        Returns
        -------
        Tensor
            ``(batch, m)``.
        """
        if len(observations) != len(self.parts):
            raise ValueError(
                f"{len(observations)} observations: expected {len(self.parts)}, one for "
                "each operator."
            )
        return torch.cat([y.flatten(1) for y in observations], 1)

    def split(self, y: Tensor, state: Tensor) -> list[Tensor]:
        """Undo `join`.

        Parameters
        ----------
        y : Tensor
            ``(batch, m)``.
        state : Tensor
            Any state of the right shape; it gives the shapes of the observations.

        Returns
        -------
        list of Tensor
            The observations of the operators, in their order.
        """
        with torch.no_grad():
            shapes = [operator(state).shape[1:] for operator in self.operators]
        return _cut(y, shapes)

    def adjoint(self, y: Tensor, state: Tensor) -> Tensor:
        """Sum of the adjoints of the operators."""
        parts = zip(self.operators, self.split(y, state), strict=True)
        return reduce(torch.add, (part.adjoint(seen, state) for part, seen in parts))

    def linearise(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """H(x) and the adjoint there, from one evaluation of each operator."""
        seen, adjoints = zip(*(part.linearise(x) for part in self.operators), strict=True)
        shapes = [part.shape[1:] for part in seen]

        def adjoint(y: Tensor) -> Tensor:
            parts = zip(adjoints, _cut(y, shapes), strict=True)
            return reduce(torch.add, (back(part) for back, part in parts))

        return self.join(seen), adjoint


def _cut(y: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    sizes = [math.prod(shape) for shape in shapes]
    if y.ndim != 2 or y.shape[1] != sum(sizes):
        raise ValueError(
            f"An observation of shape {tuple(y.shape)}: expected (batch, {sum(sizes)}), the "
            f"numbers of {len(sizes)} operators."
        )
    parts = y.split(sizes, 1)
    return [part.reshape(len(y), *shape) for part, shape in zip(parts, shapes, strict=True)]
