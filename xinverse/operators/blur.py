"""The state is seen smeared, by an instrument or by a mapping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from xinverse.operators.base import OPERATORS, Operator

__all__ = ["Blur", "gaussian_psf"]

_CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


@OPERATORS.register("blur")
class Blur(Operator):
    r"""Convolution of the last axes with a point spread function.

    .. math:: H(x)_i = \sum_d h_d \, x_{i - d}

    The observation has the shape of the state. Beyond an edge lie zeros, or
    the other edge where an axis closes on itself. The axes before the last
    ones are treated alike.

    Parameters
    ----------
    kernel : Tensor
        :math:`h`, of as many axes as are convolved: one, two or three; an odd
        number of cells along each, the middle one being :math:`d = 0`.
    method : {"fft", "direct"}
        ``"fft"`` costs the same whatever the size of the kernel, ``"direct"``
        is quicker for a kernel of a few cells. The results differ by round-off.
    periodic : sequence of bool, optional
        Which of the convolved axes close on themselves; none where it is not given.

    Raises
    ------
    ValueError
        A kernel with another number of axes or an even side, an unknown
        method, a wrong number of periodic axes; when it is applied, a state
        with fewer axes than the kernel.

    Notes
    -----
    A state with NaN comes out as NaN. With ``Blur(kernel) @ Mask(sea)``, land
    counts as zero.
    """

    def __init__(
        self,
        kernel: Tensor,
        *,
        method: Literal["fft", "direct"] = "fft",
        periodic: Sequence[bool] | None = None,
    ) -> None:
        super().__init__()
        rank, sides = kernel.ndim, tuple(kernel.shape)
        if rank not in _CONVOLVE:
            raise ValueError(
                f"A kernel of shape {sides}: expected 1, 2 or 3 axes, those to be convolved."
            )
        if any(side % 2 == 0 for side in sides):
            raise ValueError(
                f"A kernel of shape {sides}: expected an odd number of cells along each axis, "
                "so that it has a middle; pad it with zeros."
            )
        if method not in ("fft", "direct"):
            raise ValueError(f"method={method!r}: expected 'fft' or 'direct'.")
        wraps = (False,) * rank if periodic is None else tuple(map(bool, periodic))
        if len(wraps) != rank:
            raise ValueError(
                f"periodic={wraps}: expected one value for each of the kernel's {rank} axes."
            )
        self.register_buffer("kernel", kernel)
        self.method = method
        self.periodic = wraps

    kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Convolve the last axes of ``(batch, *state)``."""
        return self._convolve(x, self.kernel)

    def adjoint(self, y: Tensor, state: Tensor) -> Tensor:  # noqa: ARG002  it is linear
        """Convolution with the kernel turned around."""
        return self._convolve(y, self.kernel.flip(tuple(range(self.kernel.ndim))))

    def _convolve(self, x: Tensor, kernel: Tensor) -> Tensor:
        if x.ndim <= kernel.ndim:
            raise ValueError(
                f"A state of shape {tuple(x.shape[1:])}: expected at least {kernel.ndim} axes "
                "after that of the batch, as many as the kernel has."
            )
        apply = self._by_fft if self.method == "fft" else self._directly
        return apply(x, kernel.to(x.dtype))

    def _by_fft(self, x: Tensor, kernel: Tensor) -> Tensor:
        cells, axes = x.shape[-kernel.ndim :], tuple(range(-kernel.ndim, 0))
        ring = kernel
        for axis, side in enumerate(kernel.shape):
            reach, shape = side // 2, list(ring.shape)
            # Zeros enough that what leaves at one end does not come back at the other.
            shape[axis] = cells[axis] + (0 if self.periodic[axis] else reach)
            place = torch.arange(-reach, reach + 1, device=x.device) % shape[axis]
            ring = ring.new_zeros(shape).index_add(axis, place, ring)
        spectrum = torch.fft.rfftn(x, ring.shape, axes) * torch.fft.rfftn(ring)
        blurred = torch.fft.irfftn(spectrum, ring.shape, axes)
        return blurred[(..., *(slice(n) for n in cells))]

    def _directly(self, x: Tensor, kernel: Tensor) -> Tensor:
        rank = kernel.ndim
        padded = x.flatten(0, -rank - 1).unsqueeze(1)
        zeros = []
        for axis, side in enumerate(kernel.shape):
            reach, n = side // 2, x.shape[axis - rank]
            zeros.append(0 if self.periodic[axis] else reach)
            if self.periodic[axis]:
                around = torch.arange(-reach, n + reach, device=x.device) % n
                padded = padded.index_select(axis - rank, around)
        # What torch calls a convolution is a correlation: the kernel is turned around first.
        turned = kernel.flip(tuple(range(rank)))[None, None]
        return _CONVOLVE[rank](padded, turned, padding=tuple(zeros)).reshape(x.shape)


def gaussian_psf(
    scale: float | Sequence[float],
    spacing: Sequence[float] = (1.0, 1.0),
    *,
    reach: float = 4.0,
) -> Tensor:
    r"""Gaussian point spread function, for `Blur`.

    .. math:: h_d \propto \exp\left( -\sum_a \frac{(d_a \Delta_a)^2}{2 s_a^2} \right),
        \qquad \sum_d h_d = 1

    Parameters
    ----------
    scale : float or sequence of float
        :math:`s`, a standard deviation (the full width at half maximum is
        2.355 of them), in the units of the spacing: one for all axes, or one
        for each. Mind that the covariances of the package are written without
        the half.
    spacing : sequence of float
        :math:`\Delta`, the size of a cell along each axis; as many axes as it
        has values. In cells where it is not given, along two axes.
    reach : float
        Where the function is cut, in standard deviations.

    Returns
    -------
    Tensor
        In float64, of odd sides.

    Raises
    ------
    ValueError
        A scale, a spacing or a reach that is not positive, or as many scales
        as there are no axes.
    """
    scales = (float(scale),) * len(spacing) if isinstance(scale, int | float) else tuple(scale)
    if len(scales) != len(spacing):
        raise ValueError(
            f"{len(scales)} scales for {len(spacing)} spacings: expected one for each axis."
        )
    if not all(value > 0 for value in (*scales, *spacing, reach)):
        raise ValueError(
            f"scale={scale}, spacing={tuple(spacing)}, reach={reach}: expected positive "
            "numbers; leave out an axis that is not blurred."
        )
    kernel = torch.ones((), dtype=torch.float64)
    for s, cell in zip(scales, spacing, strict=True):
        far = math.ceil(reach * s / cell)
        d = torch.arange(-far, far + 1, dtype=torch.float64) * cell
        kernel = kernel[..., None] * torch.exp(-(d**2) / (2 * s**2))
    return kernel / kernel.sum()
