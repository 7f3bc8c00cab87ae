r"""Differences between neighbouring cells: what smoothness is measured by.

.. math:: (D_a x)_i = (x_{i + e_a} - x_i) / h_a

Over an edge where nothing follows, and between a sea cell and land, the
difference is zero: nothing is known of the slope there (the natural, or
Neumann, condition).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Differences", "for_each_element"]


class Differences(nn.Module):
    r"""Forward differences along some axes of a state.

    Parameters
    ----------
    axes : sequence of int
        Counted from the end: ``(-2, -1)`` for maps, whatever stands before.
    spacing : sequence of float, optional
        :math:`h_a`, distance of the cells along each axis; 1 where it is not given.
    periodic : sequence of bool, optional
        Which of the axes close on themselves; none where it is not given.
    sea : Tensor, optional
        Boolean, broadcasting to a state; False on land.

    Raises
    ------
    ValueError
        If an axis is not counted from the end, or comes twice; if there is not
        one spacing and one ``periodic`` for each; if a spacing is not positive
        or ``sea`` is not boolean.
    """

    def __init__(
        self,
        axes: Sequence[int] = (-2, -1),
        spacing: Sequence[float] | None = None,
        periodic: Sequence[bool] | None = None,
        sea: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.axes = tuple(axes)
        self.spacing = tuple(
            float(h) for h in (spacing if spacing is not None else (1,) * len(self.axes))
        )
        self.periodic = tuple(
            bool(p) for p in (periodic if periodic is not None else (False,) * len(self.axes))
        )
        if not self.axes or len(set(self.axes)) < len(self.axes) or max(self.axes) >= 0:
            raise ValueError(
                f"axes={self.axes}: expected different axes counted from the end of the "
                "state, below zero; (-2, -1) are those of a map."
            )
        for name, values in (("spacing", self.spacing), ("periodic", self.periodic)):
            if len(values) != len(self.axes):
                raise ValueError(f"{name}={values}: give one for each of axes={self.axes}.")
        if min(self.spacing) <= 0:
            raise ValueError(f"spacing={self.spacing}: expected positive distances.")
        if sea is not None and sea.dtype != torch.bool:
            raise ValueError(f"sea is {sea.dtype}: expected booleans, True on the sea.")
        self.register_buffer("sea", sea)

    sea: Tensor | None

    @property
    def bound(self) -> float:
        r"""An upper bound of :math:`\| D \|^2`, :math:`4 \sum_a h_a^{-2}`."""
        return 4 * sum(h**-2 for h in self.spacing)

    def forward(self, x: Tensor) -> Tensor:
        """Differences ``(batch, axis, *state)`` of states ``(batch, *state)``."""
        self._check(x)
        x = self.at_sea(x)
        along = zip(self.axes, self.spacing, self.periodic, strict=True)
        parts = [(_next(x, axis, wraps) - x) / h for axis, h, wraps in along]
        return self._counted(torch.stack(parts, 1))

    def adjoint(self, p: Tensor) -> Tensor:
        r""":math:`D^\top p`, of a state's shape, for ``p`` of ``(batch, axis, *state)``."""
        parts = []
        along = zip(self.axes, self.spacing, self.periodic, strict=True)
        counted = self._counted(p).unbind(1)
        for q, (axis, h, wraps) in zip(counted, along, strict=True):
            if wraps:
                parts.append((q.roll(1, axis) - q) / h)
            else:  # the last one is no difference of two cells
                none = torch.zeros_like(q.narrow(axis, 0, 1))
                inside = q.narrow(axis, 0, q.shape[axis] - 1)
                parts.append(-torch.diff(inside, dim=axis, prepend=none, append=none) / h)
        return torch.stack(parts).sum(0)

    def at_sea(self, x: Tensor) -> Tensor:
        """Zero on land, whatever stands there."""
        return x if self.sea is None else x.masked_fill(~self.sea, 0.0)

    def _counted(self, p: Tensor) -> Tensor:
        """Zero where one of the two cells is land."""
        if self.sea is None:
            return p
        sea = self.sea.expand(p.shape[2:])
        both = [
            sea & _next(sea, axis, wraps)
            for axis, wraps in zip(self.axes, self.periodic, strict=True)
        ]
        return p.masked_fill(~torch.stack(both), 0.0)

    def _check(self, x: Tensor) -> None:
        if -min(self.axes) >= x.ndim:
            raise ValueError(
                f"The state has the shape {tuple(x.shape[1:])}: axes={self.axes} asks for "
                f"at least {-min(self.axes)} axes beside the batch's."
            )
        if self.sea is None:
            return
        sides = zip(reversed(self.sea.shape), reversed(x.shape[1:]), strict=False)
        if self.sea.ndim >= x.ndim or any(mask not in {1, side} for mask, side in sides):
            raise ValueError(
                f"sea has the shape {tuple(self.sea.shape)}: expected one that broadcasts to "
                f"the state's, {tuple(x.shape[1:])}."
            )


def _next(x: Tensor, axis: int, wraps: bool) -> Tensor:
    """The cell that follows; itself over an edge where nothing does."""
    count = x.shape[axis]
    last = x.narrow(axis, 0 if wraps else count - 1, 1)
    return torch.cat([x.narrow(axis, 1, count - 1), last], axis)


def for_each_element(strength: float | Tensor, x: Tensor) -> Tensor:
    """Strength of a proximal operator, one for each element, shaped to broadcast."""
    return torch.as_tensor(strength, dtype=x.dtype, device=x.device).reshape(
        -1, *[1] * (x.ndim - 1)
    )
