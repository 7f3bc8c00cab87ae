"""Coordinates of a tile in days and km: what operators and priors are built on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["LocalGrid"]


@dataclass(frozen=True, eq=False)
class LocalGrid:
    """A tile's coordinates in the local metric.

    Attributes
    ----------
    time : ndarray, shape (nt,)
        Days.
    y, x : ndarray
        Kilometres.
    periodic : bool
        Whether the last column touches the first.
    """

    time: np.ndarray
    y: np.ndarray
    x: np.ndarray
    periodic: bool = False
