"""Give the weights of a trained network to a larger one, which begins where it ended."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["widened"]


def widened(
    known: Mapping[str, Tensor],
    alike: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    window: int,
    wider: int,
) -> dict[str, Tensor]:
    """Weights of a network on windows, in the places of one whose windows are longer.

    A layer that sees maps has the days of a window among its channels: blocks of as many
    channels as there are days, and after them what is no day, such as a hidden state.
    The days that are known are put in the middle of each block. Weights from and to the
    days before and after begin at zero, so that at first nothing is made of them, and
    what comes out for the days between is what came out before.

    Parameters
    ----------
    known : mapping
        Weights of the trained network.
    alike : mapping
        Those of one with the options of the other and the windows of the trained one:
        only so can it be told that nothing but the windows makes shapes differ.
    wanted : mapping
        Those of the other; what the trained one has not stays as it is there.
    window, wider : int
        Time steps of their windows.

    Raises
    ------
    ValueError
        If a weight has no place, or a shape that longer windows do not explain.
    """
    unfit = [n for n, v in known.items() if n not in alike or alike[n].shape != v.shape]
    if unfit:
        raise ValueError(
            f"{len(unfit)} of {len(known)} weights have no place or another shape there, "
            f"the first {unfit[0]!r}"
        )
    placed = {n: _placed(known[n], wanted[n], window, wider) for n in known}
    return {**wanted, **placed}


def _placed(old: Tensor, new: Tensor, window: int, wider: int) -> Tensor:
    for axis, length in enumerate(new.shape):
        if length == old.shape[axis]:
            continue
        blocks = (length - old.shape[axis]) // (wider - window)
        days, rest = old.split([blocks * window, old.shape[axis] - blocks * window], axis)
        days = days.unflatten(axis, (blocks, window))
        before = (wider - window) // 2
        ends = [
            days.new_zeros(*days.shape[: axis + 1], count, *days.shape[axis + 2 :])
            for count in (before, wider - window - before)
        ]
        days = torch.cat([ends[0], days, ends[1]], axis + 1).flatten(axis, axis + 1)
        old = torch.cat([days, rest], axis)
    return old
