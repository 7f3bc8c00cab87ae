"""How tiles are joined: a partition of unity over their kept parts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from xinverse.tiling.plan import AxisPlan, Index, Plan

__all__ = ["axis_weights", "contributions"]

Region = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def axis_weights(axis: AxisPlan, k: int) -> np.ndarray:
    r"""Weights of tile ``k`` along one axis, over its kept part.

    One on the core but for the ramps, where it rises and falls as
    :math:`\sin^2`: the two tiles that meet at an edge add up to one because
    :math:`\sin^2 + \cos^2 = 1`, so the weights are a partition of unity by
    construction and nothing is renormalised.
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


def contributions(
    plan: Plan, region: Region
) -> Iterator[tuple[Index, tuple[slice, ...], tuple[slice, ...], np.ndarray]]:
    """What each tile gives to a box of the grid.

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
    along = [
        [
            (k, slice(first - begin, last - begin), slice(first + offset, last + offset))
            for k, first, last, offset in axis.overlapping(begin, end)
        ]
        for axis, (begin, end) in zip(plan.axes, region, strict=True)
    ]
    for parts in product(*along):
        index = (parts[0][0], parts[1][0], parts[2][0])
        t, y, x = (
            axis_weights(axis, k)[of] for axis, (k, _, of) in zip(plan.axes, parts, strict=True)
        )
        weights = t[:, None, None] * y[:, None] * x
        yield index, tuple(p[1] for p in parts), tuple(p[2] for p in parts), weights

