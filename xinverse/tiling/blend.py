"""Blend tiles with a partition of unity over their kept parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from xinverse.tiling.axis import AxisPlan
from xinverse.tiling.plan import Index, Plan

__all__ = ["axis_shares", "axis_weights", "contributions", "joined"]

Region = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
Share = tuple[slice, slice, np.ndarray]
Box = tuple[slice, slice, slice]


def axis_weights(axis: AxisPlan, k: int) -> np.ndarray:
    r"""Weights of tile ``k`` along one axis, over its kept part.

    One on the core. On the ramps the weights rise and fall as :math:`\sin^2`. The two
    tiles at an edge add up to one, because :math:`\sin^2 + \cos^2 = 1`, so the weights
    need no normalisation.
    """
    keep, ramp = axis.keep(k), axis.ramp
    weights = np.ones(keep.stop - keep.start)
    if ramp == 0:
        return weights
    rise = np.sin(0.5 * np.pi * (np.arange(2 * ramp) + 0.5) / (2 * ramp)) ** 2
    if axis.periodic or axis.edges[k] > 0:
        weights[: 2 * ramp] *= rise
    if axis.periodic or axis.edges[k + 1] < axis.size:
        weights[-2 * ramp :] *= rise[::-1]
    return weights


def axis_shares(axis: AxisPlan, begin: int, end: int) -> dict[int, list[Share]]:
    """Contribution of each tile of an axis to the cells ``begin`` to ``end``.

    Returns
    -------
    dict
        For each contributing tile, a list of ``(into, of, weights)``: its kept cells
        ``of``, times the weights, are added to the cells ``into``, counted from
        ``begin``. A tile that wraps may have two or three entries.
    """
    shares: dict[int, list[Share]] = {}
    for k, first, last, offset in axis.overlapping(begin, end):
        of = slice(first + offset, last + offset)
        share = (slice(first - begin, last - begin), of, axis_weights(axis, k)[of])
        shares.setdefault(k, []).append(share)
    return shares


def joined(
    along: Sequence[Mapping[int, Sequence[Share]]], index: Index
) -> Iterator[tuple[Box, Box, np.ndarray]]:
    """Contribution of one tile, from its shares along (time, y, x)."""
    for t, y, x in product(*(shares[k] for shares, k in zip(along, index, strict=True))):
        weights = t[2][:, None, None] * y[2][:, None] * x[2]
        yield (t[0], y[0], x[0]), (t[1], y[1], x[1]), weights


def contributions(plan: Plan, region: Region) -> Iterator[tuple[Index, Box, Box, np.ndarray]]:
    """Contributions of the tiles to a box of the grid.

    Parameters
    ----------
    plan : Plan
        The tiles.
    region : tuple of (int, int)
        First and last-plus-one cell along (time, y, x).

    Yields
    ------
    index, into, of, weights
        Tile ``index`` adds ``weights * kept[of]`` to ``box[into]``.
    """
    along = [axis_shares(axis, *ends) for axis, ends in zip(plan.axes, region, strict=True)]
    for t, y, x in product(*along):
        for into, of, weights in joined(along, (t, y, x)):
            yield (t, y, x), into, of, weights
