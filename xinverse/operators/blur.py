"""Observations that are blurred, by an instrument or by a mapping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from xinverse.convolution import CONVOLVE
from xinverse.local_grid import LocalGrid
from xinverse.operators.base import OPERATORS, Operator

__all__ = ["Blur", "gaussian_psf"]


@OPERATORS.register("blur")
class Blur(Operator):
    r"""Convolution of the last axes with a point spread function.

    .. math:: H(x)_i = \sum_d h_d \, x_{i - d}

    The observation has the shape of the state. Values beyond an edge are zero,
    unless the axis is periodic. The convolution is the same for every index of
    the axes before the last ones.

    Parameters
    ----------
    kernel : Tensor
        :math:`h`, with one, two or three axes: those that are convolved. It has an
        odd number of cells along each; the middle cell is :math:`d = 0`.
    method : {"fft", "direct"}
        ``"fft"`` costs the same for any size of the kernel; ``"direct"`` is
        faster for a kernel of a few cells. The results differ by round-off.
    periodic : sequence of bool, optional
        Which of the convolved axes are periodic. Default: none.

    Raises
    ------
    ValueError
        A kernel with another number of axes or an even side, an unknown
        method, a wrong number of periodic axes; when it is applied, a state
        with fewer axes than the kernel.

    Notes
    -----
    NaN in a state spreads. Use ``Blur(kernel) @ Mask(sea)`` to count land as zero.
    """

    @classmethod
    def on(
        cls,
        grid: LocalGrid,
        sea: Tensor | None = None,  # noqa: ARG003  land is the state's
        *,
        scale: float | Sequence[float] | None = None,
        angle: float = 0.0,
        reach: float = 4.0,
        psf: np.ndarray | Tensor | None = None,
        **options: Any,
    ) -> Self:
        r"""Build the blur for a grid: a Gaussian in km, or a given array.

        Parameters
        ----------
        grid : LocalGrid
            Cells of the state.
        sea : Tensor, optional
            Not used: solvers keep land at the background.
        scale : float or (float, float), optional
            Standard deviation of a Gaussian in km: one number, or one along y and
            one along x.
        angle : float
            Degrees by which the Gaussian is turned, from the x axis towards the y
            axis (east towards north).
        reach : float
            Where the Gaussian is cut off, in standard deviations.
        psf : ndarray or Tensor, optional
            The kernel itself, one value for each cell, used as it is; in place of
            ``scale``.
        **options
            Arguments of the class. ``periodic`` defaults to that of the grid.

        Raises
        ------
        ValueError
            Both ``scale`` and ``psf``; a scale that is not positive.
        GridError
            A Gaussian on a grid whose step varies.
        """
        kernels = {"scale": scale, "psf": psf, "kernel": options.get("kernel")}
        given = [name for name, value in kernels.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both given: expected only one.")
        if scale is not None:
            grid.require_regular(cls.__name__)
            options["kernel"] = gaussian_psf(scale, grid.spacing[1:], reach=reach, angle=angle)
        elif psf is not None:
            options["kernel"] = torch.as_tensor(psf)
        if "kernel" in options:
            wraps = (False, False, grid.periodic)[3 - options["kernel"].ndim :]
            options.setdefault("periodic", wraps)
        return cls(**options)

    def __init__(
        self,
        kernel: Tensor,
        *,
        method: Literal["fft", "direct"] = "fft",
        periodic: Sequence[bool] | None = None,
    ) -> None:
        super().__init__()
        rank, sides = kernel.ndim, tuple(kernel.shape)
        if rank not in CONVOLVE:
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
        """Convolution with the reversed kernel."""
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
            # Pad with enough zeros that one end does not wrap round to the other.
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
        # PyTorch computes a correlation: reverse the kernel.
        turned = kernel.flip(tuple(range(rank)))[None, None]
        return CONVOLVE[rank](padded, turned, padding=tuple(zeros)).reshape(x.shape)


def gaussian_psf(
    scale: float | Sequence[float],
    spacing: Sequence[float] = (1.0, 1.0),
    *,
    reach: float = 4.0,
    angle: float = 0.0,
) -> Tensor:
    r"""Gaussian point spread function, for `Blur`.

    .. math:: h_d \propto \exp\left( -\sum_a \frac{r_a^2}{2 s_a^2} \right),
        \qquad r_a = d_a \Delta_a, \qquad \sum_d h_d = 1

    with r turned by the angle.

    Parameters
    ----------
    scale : float or sequence of float
        :math:`s`, a standard deviation, in the units of the spacing: one for all
        axes, or one for each. The full width at half maximum is 2.355 standard
        deviations. (The covariances of the package have no factor of one half.)
    spacing : sequence of float
        :math:`\Delta`, the size of a cell along each axis. Default: two axes, in
        units of cells.
    reach : float
        Where the function is cut off, in standard deviations.
    angle : float
        Degrees by which it is turned, from the last axis towards the one before
        (east towards north); two axes only.

    Returns
    -------
    Tensor
        float64, with an odd number of cells along each axis.

    Raises
    ------
    ValueError
        A scale, a spacing or a reach that is not positive; another number of
        scales than of axes; an angle without two axes.
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
    if angle:
        return _turned(scales, spacing, reach, angle)
    kernel = torch.ones((), dtype=torch.float64)
    for s, cell in zip(scales, spacing, strict=True):
        far = math.ceil(reach * s / cell)
        d = torch.arange(-far, far + 1, dtype=torch.float64) * cell
        kernel = kernel[..., None] * torch.exp(-(d**2) / (2 * s**2))
    return kernel / kernel.sum()


def _turned(
    scales: tuple[float, ...], spacing: Sequence[float], reach: float, angle: float
) -> Tensor:
    """An elongated Gaussian whose axes are not those of the grid."""
    if len(scales) != 2:
        raise ValueError(
            f"angle={angle:g} with {len(scales)} axes: expected two axes, y and x."
        )
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along_y, along_x = scales
    # Standard deviations of the turned Gaussian along the axes of the grid.
    wide = (
        math.hypot(along_y * cosine, along_x * sine),
        math.hypot(along_x * cosine, along_y * sine),
    )
    y, x = (
        cell * torch.arange(-far, far + 1, dtype=torch.float64)
        for cell, far in (
            (cell, math.ceil(reach * s / cell)) for s, cell in zip(wide, spacing, strict=True)
        )
    )
    first = cosine * x + sine * y[:, None]
    second = cosine * y[:, None] - sine * x
    kernel = torch.exp(-(first**2) / (2 * along_x**2) - second**2 / (2 * along_y**2))
    return kernel / kernel.sum()
