"""Random tensors, and the floating-point types that tests go over."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

FLOATS = [torch.float32, torch.float64]
BOTH = pytest.mark.parametrize("dtype", FLOATS, ids=str)


def random(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Normal numbers, the same for the same seed."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def rounding(like: Tensor, times: int = 64) -> float:
    """Some roundings of the largest number of a tensor, in its own precision.

    What another order of sums changes: kernels differ from processor to processor, and
    with the size of a batch. In float64 the bound is too tight for a real error to pass.
    """
    return times * torch.finfo(like.dtype).eps * float(like.detach().abs().max())
