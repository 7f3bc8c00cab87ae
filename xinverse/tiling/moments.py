"""Mean and variance of a whole field, for tiles in which nothing was observed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["block_sums", "field_moments", "from_sums", "sample_cells"]

# Four windows along time, y and x, of so many cells: a sample that reads a few blocks of a
# field, however large it is, and always the same cells, however it is chunked.
WINDOWS, WIDTHS = 4, (8, 16, 16)

Cells = tuple[np.ndarray, np.ndarray, np.ndarray]


def field_moments(array: Any) -> Any:
    """Mean and variance of the observations in `sample_cells`.

    Parameters
    ----------
    array : array, shape (*extra, nt, ny, nx)
        NaN in the gaps.

    Returns
    -------
    array, shape (*extra, 1, 1, 2)
        NaN if the sample has no observation.
    """
    return from_sums([block_sums(array, sample_cells(array.shape))])


def sample_cells(shape: tuple[int, ...]) -> Cells:
    """Cells of the sample along (time, y, x): a function of the shape alone.

    Parameters
    ----------
    shape : tuple of int
        ``(*extra, nt, ny, nx)``.
    """
    t, y, x = (_windows(n, width) for n, width in zip(shape[-3:], WIDTHS, strict=True))
    return t, y, x


def _windows(size: int, width: int) -> np.ndarray:
    """Cells of the windows along one axis."""
    starts = np.linspace(0, max(size - width, 0), WINDOWS).astype(int)
    return np.unique(np.clip(starts[:, None] + np.arange(width), 0, size - 1))


def block_sums(block: Any, cells: Cells) -> Any:
    """Number, sum and sum of squares of some cells of a block, ``(3, *extra)``.

    Parameters
    ----------
    block : array, shape (*extra, nt, ny, nx)
        NaN in the gaps.
    cells : tuple of ndarray
        Positions along (time, y, x).
    """
    t, y, x = cells
    sample = block[..., t, :, :][..., y, :][..., x]
    sample = sample.reshape(*sample.shape[:-3], -1)
    seen = np.isfinite(sample)
    known = np.where(seen, sample, 0).astype(np.float64)
    return np.stack([seen.sum(-1), known.sum(-1), (known**2).sum(-1)])


def from_sums(sums: Sequence[Any]) -> Any:
    """Mean and variance from the sums of all blocks, ``(*extra, 1, 1, 2)``.

    Parameters
    ----------
    sums : sequence of array
        Of `block_sums`.
    """
    number, first, second = sum(sums[1:], start=sums[0])
    known = np.where(number > 0, number, 1)
    mean = np.where(number > 0, first / known, np.nan)
    variance = np.clip(second / known - mean**2, 0, None)
    return np.stack([mean, variance], -1)[..., None, None, :]
