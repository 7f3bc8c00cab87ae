r"""Differences between neighbouring cells, as a measure of smoothness.

.. math:: (D_a x)_i = (x_{i + e_a} - x_i) / h_a

The difference is zero at the last cell of an axis that is not periodic, and
between sea and land: the slope there is unknown (natural or Neumann condition).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xinverse.local_grid import LocalGrid

__all__ = ["Differences", "difference_options", "for_each_element"]

# Default ratio of time to distance: eddies of 100 km live for 10 days or so.
KM_PER_DAY = 10.0


class Differences(nn.Module):
    r"""Forward differences along some axes of a state.

    Parameters
    ----------
    axes : sequence of int
        Counted from the end: ``(-2, -1)`` for maps, with any axes before.
    spacing : sequence of float, optional
        :math:`h_a`, distance between cells along each axis. Default: 1.
    periodic : sequence of bool, optional
        Which of the axes are periodic. Default: none.
    sea : Tensor, optional
        Boolean, broadcasting to a state; False on land.

    Raises
    ------
    ValueError
        An axis that is not counted from the end, or comes twice; another number
        of spacings or ``periodic`` than of axes; a spacing that is not positive;
        ``sea`` that is not boolean.
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
            else:  # the last cell has no next one
                none = torch.zeros_like(q.narrow(axis, 0, 1))
                inside = q.narrow(axis, 0, q.shape[axis] - 1)
                parts.append(-torch.diff(inside, dim=axis, prepend=none, append=none) / h)
        return torch.stack(parts).sum(0)

    def at_sea(self, x: Tensor) -> Tensor:
        """The state with zero on land."""
        return x if self.sea is None else x.masked_fill(~self.sea, 0.0)

    def _counted(self, p: Tensor) -> Tensor:
        """The differences with zero where one of the two cells is land."""
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
                f"The state has the shape {tuple(x.shape[1:])}: axes={self.axes} needs "
                f"at least {-min(self.axes)} axes after that of the batch."
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
    """The next cell; at the end of an axis that is not periodic, the cell itself."""
    count = x.shape[axis]
    last = x.narrow(axis, 0 if wraps else count - 1, 1)
    return torch.cat([x.narrow(axis, 1, count - 1), last], axis)


def difference_options(
    grid: LocalGrid, sea: Tensor | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of `Differences` on a grid, in km.

    Parameters
    ----------
    grid : LocalGrid
        Cells of the state.
    sea : Tensor, optional
        Boolean, broadcasting to a state, False on land.
    options : mapping
        ``axes`` (-3 is time, -2 is y, -1 is x; default ``(-2, -1)``), and
        ``km_per_day``, the distance that counts like a day (default: 10 km).
        ``spacing`` and ``periodic``, if given, replace those of the grid. Other
        options are kept.

    Raises
    ------
    ValueError
        An axis that a grid does not have; ``km_per_day`` that is not positive.
    GridError
        The step varies along one of the axes.
    """
    made = dict(options)
    axes = tuple(made.setdefault("axes", (-2, -1)))
    ratio = made.pop("km_per_day", KM_PER_DAY)
    if not ratio > 0:
        raise ValueError(f"km_per_day={ratio!r}: expected a number above 0.")
    if not set(axes) <= {-3, -2, -1}:
        raise ValueError(f"axes={axes}: expected some of -3 (time), -2 (y) and -1 (x).")
    if "spacing" not in made:
        grid.require_regular("A prior of differences", axes)
        days, y, x = grid.spacing
        made["spacing"] = tuple((days * ratio, y, x)[axis] for axis in axes)
    made.setdefault("periodic", tuple(axis == -1 and grid.periodic for axis in axes))
    # Without land the products are cheaper, and the prox of Tikhonov is exact.
    if sea is not None and not bool(sea.all()):
        made["sea"] = sea
    return made


def for_each_element(strength: float | Tensor, x: Tensor) -> Tensor:
    """Strength of a proximal operator for each element, shaped to broadcast."""
    return torch.as_tensor(strength, dtype=x.dtype, device=x.device).reshape(
        -1, *[1] * (x.ndim - 1)
    )
