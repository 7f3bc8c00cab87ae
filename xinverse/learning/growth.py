"""Use the weights of a trained network in a larger one that gives the same results."""

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
    """Place the weights of a network on windows in one with longer windows.

    The channels of a layer on maps are blocks of one channel per day, followed by other
    channels such as a hidden state. The known days are placed in the middle of each block.
    Weights from and to the new days are zero, so that the results for the known days are
    the same as before.

    Parameters
    ----------
    known : mapping
        Weights of the trained network.
    alike : mapping
        Weights of an untrained network with the options of the larger one and the windows
        of the trained one. They show that shapes differ by the window alone.
    wanted : mapping
        Weights of the larger network, untrained; kept where `known` has none.
    window, wider : int
        Time steps of the windows of `known` and of `wanted`.

    Raises
    ------
    ValueError
        The larger network lacks a weight, or has it in a shape that longer windows do not
        explain.
    """
    unfit = [n for n, v in known.items() if n not in alike or alike[n].shape != v.shape]
    if unfit:
        raise ValueError(
            f"{len(unfit)} of {len(known)} weights are absent or of another shape there, "
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
