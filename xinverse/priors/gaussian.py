r"""Gaussian priors on maps: covariances separable in space and time.

.. math::

    B(\Delta t, \Delta y, \Delta x) = \sigma^2 \, C_s(\Delta y, \Delta x) \, C_t(\Delta t)

Both classes apply :math:`B` to a field without ever forming it, and restrict it
to a set of observed cells, which is what optimal interpolation asks for.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from xinverse.priors.base import PRIORS, Prior
from xinverse.priors.kernels import SPACE_KERNELS, TIME_KERNELS, Kernel, reach
from xinverse.solvers.conjugate_gradient import ConjugateGradient

__all__ = ["CirculantGaussian", "GaussianPrior", "KroneckerGaussian"]

# Modes whose variance is below this share of the largest are left out of a factor:
# in float32 they are below rounding, in float64 they change no result at 1e-9.
_NEGLIGIBLE = {torch.float32: 1e-8, torch.float64: 1e-12}


class GaussianPrior(Prior):
    r"""Zero-mean Gaussian prior, :math:`U(x) = x^\top (B + \epsilon I)^{-1} x`.

    Parameters
    ----------
    time : Tensor
        Days, shape ``(nt,)``.
    y, x : Tensor
        Kilometres, shapes ``(ny,)`` and ``(nx,)``, ascending.
    length_scale : float
        Scale of the correlation in space, in km.
    time_scale : float
        Scale of the correlation in time, in days.
    variance : float
        :math:`\sigma^2`, in the field's units squared.
    space, temporal : str
        Names in ``SPACE_KERNELS`` and ``TIME_KERNELS``.
    nugget : float
        :math:`\epsilon / \sigma^2`; makes the cost finite off the smooth
        fields that the covariance can produce. The posterior does not use it.

    Notes
    -----
    States have the shape ``(batch, nt, ny, nx)``.
    """

    def __init__(
        self,
        time: Tensor,
        y: Tensor,
        x: Tensor,
        *,
        length_scale: float,
        time_scale: float,
        variance: float = 1.0,
        space: str = "gaussian",
        temporal: str = "gaussian",
        nugget: float = 1e-5,
    ) -> None:
        super().__init__()
        self.register_buffer("time", time)
        self.register_buffer("y", y)
        self.register_buffer("x", x)
        self.length_scale = float(length_scale)
        self.time_scale = float(time_scale)
        self.variance = float(variance)
        self.space = SPACE_KERNELS[space]
        self.temporal = TIME_KERNELS[temporal]
        self.nugget = nugget
        self.shape = (time.numel(), y.numel(), x.numel())

    time: Tensor
    y: Tensor
    x: Tensor

    @abstractmethod
    def restrict(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`H B H^\top v` for values ``(batch, m)`` at cells ``(m, 3)``."""

    @abstractmethod
    def spread(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`B H^\top v`, the field that values at cells imply."""

    @abstractmethod
    def colour(self, noise: Tensor) -> Tensor:
        """Sample of the prior made from white noise with ``margins`` around it."""

    @property
    @abstractmethod
    def margins(self) -> tuple[int, int, int]:
        """Cells of white noise that a sample needs on each side of (time, y, x)."""

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """Covariance of the cells ``a`` with the cells ``b``, ``(len(a), len(b))``."""
        lag_t = (self.time[a[:, 0], None] - self.time[b[:, 0]]).abs()
        lag_y = self.y[a[:, 1], None] - self.y[b[:, 1]]
        lag_x = self.x[a[:, 2], None] - self.x[b[:, 2]]
        correlation = self.space(torch.hypot(lag_y, lag_x), self.length_scale)
        return self.variance * correlation * self.temporal(lag_t, self.time_scale)

    def matvec(self, x: Tensor) -> Tensor:
        """Apply B to fields ``(batch, nt, ny, nx)``."""
        cells = torch.cartesian_prod(*(torch.arange(n, device=x.device) for n in self.shape))
        return self.spread(x.flatten(1), cells)

    def _solve(self, x: Tensor) -> Tensor:
        epsilon = self.nugget * self.variance
        solver = ConjugateGradient(tolerance=1e-8, max_iterations=2000)
        solution: Tensor = solver(lambda v: self.matvec(v) + epsilon * v, x).state
        return solution

    def cost(self, x: Tensor) -> Tensor:
        """Squared Mahalanobis norm of each field, shape ``(batch,)``."""
        return (x * self._solve(x)).flatten(1).sum(1)

    def gradient(self, x: Tensor, *, create_graph: bool = False) -> Tensor:  # noqa: ARG002  linear
        r""":math:`2 (B + \epsilon I)^{-1} x`."""
        return 2 * self._solve(x)


@PRIORS.register("gaussian-kronecker")
class KroneckerGaussian(GaussianPrior):
    r"""Gaussian correlation in each of (time, y, x): a Kronecker product.

    .. math:: B = \sigma^2 \, C_t \otimes C_y \otimes C_x = F F^\top

    The factor :math:`F = F_t \otimes F_y \otimes F_x` keeps the eigenvectors
    of each small matrix that carry variance, and is applied to values at cells
    without building the field that holds them: for m cells and r kept columns
    a product costs O(m r_x) + O(nt ny r_x r_y). Coordinates may be irregular.
    """

    def __init__(
        self,
        time: Tensor,
        y: Tensor,
        x: Tensor,
        *,
        length_scale: float,
        time_scale: float,
        variance: float = 1.0,
        temporal: str = "gaussian",
        nugget: float = 1e-5,
    ) -> None:
        super().__init__(
            time,
            y,
            x,
            length_scale=length_scale,
            time_scale=time_scale,
            variance=variance,
            temporal=temporal,
            nugget=nugget,
        )
        self.register_buffer("factor_t", _factor(time, self.time_scale, self.temporal))
        self.register_buffer("factor_y", _factor(y, self.length_scale, self.space))
        self.register_buffer("factor_x", _factor(x, self.length_scale, self.space))

    factor_t: Tensor
    factor_y: Tensor
    factor_x: Tensor

    def _up(self, v: Tensor, cells: Tensor) -> Tensor:
        """Modes ``(batch, rt, ry, rx)`` of values at cells."""
        nt, ny, _ = self.shape
        row = cells[:, 0] * ny + cells[:, 1]
        lines = v.new_zeros(len(v), nt * ny, self.factor_x.shape[1])
        at_x = self.factor_x[cells[:, 2]]
        for line, values in zip(lines, v, strict=True):
            line.index_add_(0, row, values[:, None] * at_x)
        modes = torch.einsum("yr,btyk->btrk", self.factor_y, lines.unflatten(1, (nt, ny)))
        return torch.einsum("ts,btrk->bsrk", self.factor_t, modes)

    def _lines(self, modes: Tensor) -> Tensor:
        """Field on (time, y), still in modes along x."""
        modes = torch.einsum("ts,bsrk->btrk", self.factor_t, modes)
        return torch.einsum("yr,btrk->btyk", self.factor_y, modes)

    def restrict(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`H B H^\top v` for values ``(batch, m)`` at cells ``(m, 3)``."""
        lines = self._lines(self._up(v, cells)).flatten(1, 2)
        row = cells[:, 0] * self.shape[1] + cells[:, 1]
        at_x = self.factor_x[cells[:, 2]]
        return self.variance * torch.stack([(line[row] * at_x).sum(1) for line in lines])

    def spread(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`B H^\top v`, shape ``(batch, nt, ny, nx)``."""
        return self.variance * self._lines(self._up(v, cells)) @ self.factor_x.T

    @property
    def margins(self) -> tuple[int, int, int]:
        """Cells of white noise that a sample needs on each side of (time, y, x)."""
        return (
            _margin(self.time, self.time_scale, self.temporal),
            _margin(self.y, self.length_scale, self.space),
            _margin(self.x, self.length_scale, self.space),
        )

    def colour(self, noise: Tensor) -> Tensor:
        """Sample of the prior made from white noise with ``margins`` around it."""
        roots = (
            _root(self.time, self.time_scale, self.temporal),
            _root(self.y, self.length_scale, self.space),
            _root(self.x, self.length_scale, self.space),
        )
        sample = torch.einsum("ts,bsyx->btyx", roots[0], noise)
        sample = torch.einsum("yr,btrx->btyx", roots[1], sample)
        return math.sqrt(self.variance) * sample @ roots[2].T


@PRIORS.register("gaussian-circulant")
class CirculantGaussian(GaussianPrior):
    r"""Isotropic correlation in space on a regular grid, by circulant embedding.

    .. math:: C_s v = \mathcal{F}^{-1} [\hat c \, \mathcal{F} v]

    on a ring long enough that the correlation across its ends is that of the
    plane, or nothing; the time correlation is a small dense matrix.
    """

    def __init__(
        self,
        time: Tensor,
        y: Tensor,
        x: Tensor,
        *,
        length_scale: float,
        time_scale: float,
        variance: float = 1.0,
        space: str = "matern32",
        temporal: str = "gaussian",
        nugget: float = 1e-5,
    ) -> None:
        super().__init__(
            time,
            y,
            x,
            length_scale=length_scale,
            time_scale=time_scale,
            variance=variance,
            space=space,
            temporal=temporal,
            nugget=nugget,
        )
        far = reach(self.space, 1e-7) * self.length_scale
        sizes = []
        for axis in (y, x):
            wanted = axis.numel() + math.ceil(far / float(axis[1] - axis[0]))
            sizes.append(_fast_length(min(wanted, 2 * axis.numel() - 1)))
        self.register_buffer("spectrum", self._spectrum(sizes))
        lags = (time[:, None] - time).abs()
        self.register_buffer("matrix_t", self.temporal(lags, self.time_scale))
        self.sizes = sizes

    spectrum: Tensor
    matrix_t: Tensor

    def _spectrum(self, sizes: list[int]) -> Tensor:
        lags = []
        for axis, size in zip((self.y, self.x), sizes, strict=True):
            step = torch.arange(size, dtype=torch.float64, device=axis.device)
            lags.append(torch.minimum(step, size - step) * float(axis[1] - axis[0]))
        distance = torch.hypot(lags[0][:, None], lags[1])
        return torch.fft.rfft2(self.space(distance, self.length_scale)).real.to(self.y.dtype)

    def _convolve(self, field: Tensor) -> Tensor:
        _, ny, nx = self.shape
        spectrum = torch.fft.rfft2(field, s=self.sizes) * self.spectrum
        return torch.fft.irfft2(spectrum, s=self.sizes)[..., :ny, :nx]

    def spread(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`B H^\top v`, shape ``(batch, nt, ny, nx)``."""
        nt, ny, nx = self.shape
        flat = (cells[:, 0] * ny + cells[:, 1]) * nx + cells[:, 2]
        field = v.new_zeros(len(v), nt * ny * nx).index_add_(1, flat, v)
        field = self._convolve(field.unflatten(1, self.shape))
        return self.variance * torch.einsum("ts,bsyx->btyx", self.matrix_t, field)

    def restrict(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`H B H^\top v` for values ``(batch, m)`` at cells ``(m, 3)``."""
        return self.spread(v, cells)[:, cells[:, 0], cells[:, 1], cells[:, 2]]

    @property
    def margins(self) -> tuple[int, int, int]:
        """Cells of white noise that a sample needs on each side of (time, y, x)."""
        return (
            _margin(self.time, self.time_scale, self.temporal),
            _margin(self.y, self.length_scale, self.space),
            _margin(self.x, self.length_scale, self.space),
        )

    def colour(self, noise: Tensor) -> Tensor:
        """Sample of the prior made from white noise with ``margins`` around it."""
        _, my, mx = self.margins
        _, ny, nx = self.shape
        sizes = [ny + 2 * my, nx + 2 * mx]
        # The ring is short: its spectrum may dip below zero by rounding or truncation.
        root = self._spectrum(sizes).clamp(min=0).sqrt()
        sample = torch.fft.irfft2(torch.fft.rfft2(noise) * root, s=sizes)
        sample = sample[..., my : my + ny, mx : mx + nx]
        time_root = _root(self.time, self.time_scale, self.temporal)
        return math.sqrt(self.variance) * torch.einsum("ts,bsyx->btyx", time_root, sample)


def _factor(axis: Tensor, scale: float, kernel: Kernel) -> Tensor:
    """Columns F with F F^T the axis's correlation matrix, negligible modes left out."""
    fine = axis.to(torch.float64)
    matrix = kernel((fine[:, None] - fine).abs(), scale)
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > _NEGLIGIBLE[axis.dtype] * values.max()
    return (vectors[:, kept] * values[kept].sqrt()).to(axis.dtype)


def _is_regular(axis: Tensor) -> bool:
    steps = axis.diff()
    return steps.numel() == 0 or bool((steps - steps.mean()).abs().max() < 0.02 * steps.mean())


def _margin(axis: Tensor, scale: float, kernel: Kernel) -> int:
    if axis.numel() < 2 or not _is_regular(axis):
        return 0
    far = reach(kernel, 1e-3) * scale
    return math.ceil(far / float(axis.diff().mean()))


def _root(axis: Tensor, scale: float, kernel: Kernel) -> Tensor:
    r"""Matrix W with W W^T the axis's correlation matrix.

    On a regular axis W is a moving average of white noise, with margins on both
    sides, so that two tiles that share noise share the sample; on an irregular
    one it is the symmetric square root.
    """
    n, margin = axis.numel(), _margin(axis, scale, kernel)
    fine = axis.to(torch.float64)
    if margin == 0:
        matrix = kernel((fine[:, None] - fine).abs(), scale)
        values, vectors = torch.linalg.eigh(matrix)
        root = vectors * values.clamp(min=0).sqrt() @ vectors.T
        return root.to(axis.dtype)
    size = n + 2 * margin
    step = torch.arange(size, dtype=torch.float64, device=axis.device)
    lag = torch.minimum(step, size - step) * fine.diff().mean()
    spectrum = torch.fft.rfft(kernel(lag, scale)).real.clamp(min=0)
    average = torch.fft.irfft(spectrum.sqrt(), n=size)
    row = torch.arange(n, device=axis.device)[:, None] + margin
    return average[(row - torch.arange(size, device=axis.device)) % size].to(axis.dtype)


def _fast_length(n: int) -> int:
    """Smallest number from ``n`` on whose prime factors are 2, 3 and 5."""
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1
