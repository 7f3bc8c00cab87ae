r"""Gaussian priors on maps: covariances separable in space and time.

.. math::

    B(\Delta t, \Delta y, \Delta x) = \sigma^2 \, C_s(\Delta y, \Delta x) \, C_t(\Delta t)

Both classes apply :math:`B` to a field without ever forming it, and restrict it
to a set of observed cells, which is what optimal interpolation asks for.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from xinverse.linear_systems import LinearConjugateGradient
from xinverse.priors.base import PRIORS, Prior
from xinverse.priors.kernels import SPACE_KERNELS, TIME_KERNELS, Kernel, reach

__all__ = ["CirculantGaussian", "GaussianPrior", "KroneckerGaussian"]

# Modes whose variance is below this share of the largest are left out of a factor. The same
# ones in either precision, so that a float32 solve can be corrected in float64.
NEGLIGIBLE = 1e-10

# Least nugget over the largest eigenvalue of the correlation that the cost accepts. Each of
# its eigenvalues is known to float64 rounding of the largest, 2e-16, and the small ones must
# be known to 1e-4: whether a smaller nugget serves differs from processor to processor.
LEAST_NUGGET = 1e4 * torch.finfo(torch.float64).eps

# Conjugate gradient solves for (B + epsilon I)^-1; each further one on what the last left.
MAX_SWEEPS = 3


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
        fields that the covariance can produce. The posterior does not use it. The
        cost needs at least 2e-12 of the largest eigenvalue of the correlation and
        raises ArithmeticError below that.

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

    @abstractmethod
    def solve(self, x: Tensor) -> Tensor:
        r""":math:`(B + \epsilon I)^{-1} x` for fields, outside of automatic differentiation."""

    def _require_nugget(self, largest: Tensor) -> None:
        """Raise if rounding of the correlation's largest eigenvalue hides the nugget."""
        least = LEAST_NUGGET * float(largest)
        if not self.nugget >= least:
            raise ArithmeticError(
                f"The covariance cannot be inverted in float64: the largest eigenvalue of its "
                f"correlation is {float(largest):.3g}. Give the prior a larger nugget than "
                f"{self.nugget:g}: at least {1.1 * least:.1e}."
            )

    def cost(self, x: Tensor) -> Tensor:
        """Squared Mahalanobis norm of each field, shape ``(batch,)``."""
        return (x * _Inverse.apply(self, x)).flatten(1).sum(1)

    def cost_and_gradient(
        self, x: Tensor, *, create_graph: bool = False
    ) -> tuple[Tensor, Tensor]:
        r"""The norm, and :math:`2 (B + \epsilon I)^{-1} x`, from one solve."""
        with torch.set_grad_enabled(create_graph):
            solved = _Inverse.apply(self, x)
            return (x * solved).flatten(1).sum(1), 2 * solved


class _Inverse(torch.autograd.Function):
    r"""The linear, symmetric :math:`(B + \epsilon I)^{-1}`: its own derivative's transpose."""

    @staticmethod
    def forward(ctx: Any, prior: GaussianPrior, x: Tensor) -> Tensor:
        ctx.prior = prior
        return prior.solve(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, _Inverse.apply(ctx.prior, gradients[0])


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

    def solve(self, x: Tensor) -> Tensor:
        r""":math:`(B + \epsilon I)^{-1} x` for fields, exactly, by the eigenvectors of B."""
        values_t, t = _modes(self.time, self.time_scale, self.temporal)
        values_y, y = _modes(self.y, self.length_scale, self.space)
        values_x, x_ = _modes(self.x, self.length_scale, self.space)
        spectrum = values_t[:, None, None] * values_y[:, None] * values_x
        self._require_nugget(spectrum.max())
        modes = _turn(x.to(torch.float64), t.T, y.T, x_.T) / (spectrum + self.nugget)
        return (_turn(modes, t, y, x_) / self.variance).to(x.dtype)

    factor_t: Tensor
    factor_y: Tensor
    factor_x: Tensor

    @property
    def mode_variance(self) -> Tensor:
        r"""Diagonal of :math:`F^\top F`: the variance of each mode, ``(rt, ry, rx)``."""
        t, y, x = (f.square().sum(0) for f in (self.factor_t, self.factor_y, self.factor_x))
        return self.variance * t[:, None, None] * y[:, None] * x

    def to_modes(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`F^\top H^\top v`, modes ``(batch, rt, ry, rx)`` of values at cells."""
        nt, ny, _ = self.shape
        row = cells[:, 0] * ny + cells[:, 1]
        rows = torch.arange(len(v), device=row.device)[:, None] * (nt * ny) + row
        at_x = self.factor_x[cells[:, 2]]
        lines = v.new_zeros(len(v) * nt * ny, at_x.shape[1])
        lines = lines.index_add_(0, rows.flatten(), (v[..., None] * at_x).flatten(0, 1))
        lines = lines.unflatten(0, (len(v), nt, ny))
        modes = torch.einsum("yr,btyk->btrk", self.factor_y, lines)
        return math.sqrt(self.variance) * torch.einsum("ts,btrk->bsrk", self.factor_t, modes)

    def _lines(self, modes: Tensor) -> Tensor:
        """Field on (time, y), still in modes along x."""
        modes = torch.einsum("ts,bsrk->btrk", self.factor_t, modes)
        return torch.einsum("yr,btrk->btyk", self.factor_y, modes)

    def from_modes(self, modes: Tensor, cells: Tensor | None = None) -> Tensor:
        r""":math:`F z` on the grid, or :math:`H F z` ``(batch, m)`` at cells."""
        lines = math.sqrt(self.variance) * self._lines(modes)
        if cells is None:
            return lines @ self.factor_x.T
        row = cells[:, 0] * self.shape[1] + cells[:, 1]
        at_x = self.factor_x[cells[:, 2]]
        return torch.stack([(line[row] * at_x).sum(1) for line in lines.flatten(1, 2)])

    def restrict(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`H B H^\top v` for values ``(batch, m)`` at cells ``(m, 3)``."""
        return self.from_modes(self.to_modes(v, cells), cells)

    def spread(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`B H^\top v`, shape ``(batch, nt, ny, nx)``."""
        return self.from_modes(self.to_modes(v, cells))

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
        return math.sqrt(self.variance) * _turn(noise, *roots)


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
            wanted = axis.numel() + math.ceil(far / _spacing(axis))
            sizes.append(_fast_length(min(wanted, 2 * axis.numel() - 1)))
        self.register_buffer("spectrum", self._spectrum(sizes).to(y.dtype))
        lags = (time[:, None] - time).abs()
        self.register_buffer("matrix_t", self.temporal(lags, self.time_scale))
        self.sizes = sizes

    spectrum: Tensor
    matrix_t: Tensor

    def _spectrum(self, sizes: list[int]) -> Tensor:
        lags = []
        for axis, size in zip((self.y, self.x), sizes, strict=True):
            step = torch.arange(size, dtype=torch.float64, device=axis.device)
            lags.append(torch.minimum(step, size - step) * _spacing(axis))
        distance = torch.hypot(lags[0][:, None], lags[1])
        return torch.fft.rfft2(self.space(distance, self.length_scale)).real

    def _convolve(self, field: Tensor, spectrum: Tensor) -> Tensor:
        _, ny, nx = self.shape
        product = torch.fft.rfft2(field, s=self.sizes) * spectrum
        return torch.fft.irfft2(product, s=self.sizes)[..., :ny, :nx]

    def solve(self, x: Tensor) -> Tensor:
        r""":math:`(B + \epsilon I)^{-1} x` for fields, by conjugate gradient in float64.

        The eigenvectors of :math:`C_t` part the system into one per mode, each
        in space only; the inverse on the ring preconditions it (Chan 1988).
        """
        weights, vectors = _modes(self.time, self.time_scale, self.temporal)
        modes = torch.einsum("ta,ntyx->nayx", vectors, x.to(torch.float64))
        spectrum = self._spectrum(self.sizes)
        self._require_nugget(weights.max() * spectrum.max())
        spectrum = weights.repeat(len(x))[:, None, None] * spectrum
        # A short ring's spectrum dips below zero; what is smaller than the dip means nothing.
        dip = -spectrum.amin((1, 2), keepdim=True)
        inverse = 1 / (torch.maximum(spectrum, dip).clamp(min=0) + self.nugget)
        modes = modes.flatten(0, 1)

        def apply(v: Tensor) -> Tensor:
            return self._convolve(v, spectrum) + self.nugget * v

        def share(v: Tensor) -> float:
            norms = [
                u.unflatten(0, (len(x), len(weights))).flatten(1).norm(dim=1)
                for u in (v, modes)
            ]
            return float((norms[0] / norms[1].clamp(min=1e-300)).max())

        conjugate_gradient = LinearConjugateGradient(tolerance=1e-6, max_iterations=5000)
        state, residual, iterations = torch.zeros_like(modes), modes, 0
        # The solver watches another norm than this one: correct what it left.
        for _ in range(MAX_SWEEPS):
            step = conjugate_gradient(
                apply, residual, preconditioner=lambda v: self._convolve(v, inverse)
            )
            state, iterations = state + step.state, iterations + step.iterations
            residual = modes - apply(state)
            left = share(residual)
            if left < 1e-5:
                break
        if not left < 1e-4:
            raise ArithmeticError(
                f"The covariance was not inverted in {iterations} iterations: the "
                f"relative residual is {left:.1e}, below 1e-4 expected. Give the prior a "
                f"larger nugget than {self.nugget:g}."
            )
        modes = state.unflatten(0, (len(x), len(weights))) / self.variance
        return torch.einsum("ta,nayx->ntyx", vectors, modes).to(x.dtype)

    def spread(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`B H^\top v`, shape ``(batch, nt, ny, nx)``."""
        nt, ny, nx = self.shape
        flat = (cells[:, 0] * ny + cells[:, 1]) * nx + cells[:, 2]
        field = v.new_zeros(len(v), nt * ny * nx).index_add_(1, flat, v)
        field = self._convolve(field.unflatten(1, self.shape), self.spectrum)
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
        root = self._spectrum(sizes).clamp(min=0).sqrt().to(noise.dtype)
        sample = torch.fft.irfft2(torch.fft.rfft2(noise) * root, s=sizes)
        sample = sample[..., my : my + ny, mx : mx + nx]
        time_root = _root(self.time, self.time_scale, self.temporal)
        return math.sqrt(self.variance) * torch.einsum("ts,bsyx->btyx", time_root, sample)


def _turn(field: Tensor, t: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Apply one matrix along each axis of fields ``(batch, time, y, x)``."""
    field = torch.einsum("ts,bsyx->btyx", t, field)
    return torch.einsum("yr,btrx->btyx", y, field) @ x.T


def _modes(axis: Tensor, scale: float, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Eigenvalues, none below zero, and eigenvectors of the axis's correlation, in float64."""
    fine = axis.to(torch.float64)
    values, vectors = torch.linalg.eigh(kernel((fine[:, None] - fine).abs(), scale))
    return values.clamp(min=0), vectors


def _factor(axis: Tensor, scale: float, kernel: Kernel) -> Tensor:
    """Columns F with F F^T the axis's correlation matrix, negligible modes left out."""
    values, vectors = _modes(axis, scale, kernel)
    kept = values > NEGLIGIBLE * values.max()
    return (vectors[:, kept] * values[kept].sqrt()).to(axis.dtype)


def _spacing(axis: Tensor) -> float:
    """Mean spacing; a single cell has none, and any serves."""
    return float(axis[-1] - axis[0]) / max(axis.numel() - 1, 1) or 1.0


def _is_regular(axis: Tensor) -> bool:
    """Whether every cell is within 5 % of a spacing of the regular axis.

    Coordinates are rounded: a grid whose cells are within 2 % counts as regular,
    and a tile of it is within 4 % of its own regular axis.
    """
    cells = torch.arange(axis.numel(), dtype=torch.float64, device=axis.device)
    off = axis.to(torch.float64) - axis[0] - cells * _spacing(axis)
    return bool(off.abs().max() <= 0.05 * _spacing(axis))


def _margin(axis: Tensor, scale: float, kernel: Kernel) -> int:
    if axis.numel() < 2 or not _is_regular(axis):
        return 0
    return math.ceil(reach(kernel, 1e-3) * scale / _spacing(axis))


def _root(axis: Tensor, scale: float, kernel: Kernel) -> Tensor:
    r"""Matrix W with W W^T the axis's correlation matrix.

    On a regular axis W is a moving average of white noise, with margins on both
    sides, so that two tiles that share noise share the sample; on an irregular
    one it is the symmetric square root.
    """
    n, margin = axis.numel(), _margin(axis, scale, kernel)
    if margin == 0:
        values, vectors = _modes(axis, scale, kernel)
        return (vectors * values.sqrt() @ vectors.T).to(axis.dtype)
    size = n + 2 * margin
    step = torch.arange(size, dtype=torch.float64, device=axis.device)
    lag = torch.minimum(step, size - step) * _spacing(axis)
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
