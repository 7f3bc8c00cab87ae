r"""Gaussian priors on maps: covariances separable in space and time.

.. math::

    B(\Delta t, \Delta y, \Delta x) = \sigma^2 \, C_s(\Delta y, \Delta x) \, C_t(\Delta t)

Both classes multiply fields by :math:`B` without building the matrix, and give its
rows and columns at a set of cells, as optimal interpolation needs.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from xinverse.errors import OptionError
from xinverse.linear_systems import LinearConjugateGradient
from xinverse.priors.base import PRIORS, Prior
from xinverse.priors.factors import Factors, along_axes
from xinverse.priors.kernels import SPACE_KERNELS, TIME_KERNELS, Kernel, reach

__all__ = ["CirculantGaussian", "GaussianPrior", "KroneckerGaussian"]

# A factor leaves out modes whose variance is below this share of the largest. It keeps the same
# ones in either precision, so that a float32 solve can be corrected in float64.
NEGLIGIBLE = 1e-10

# Least nugget over the largest eigenvalue of the correlation that the cost accepts. Each of
# its eigenvalues is known to float64 rounding of the largest, 2e-16, and the small ones must
# be known to 1e-4: whether a smaller nugget serves differs from processor to processor.
LEAST_NUGGET = 1e4 * torch.finfo(torch.float64).eps

# Conjugate gradient solves for (B + epsilon I)^-1; each further one on what the last left.
MAX_SWEEPS = 3

# How far a coupling matrix may be from symmetric, unit diagonal and positive semi-definite:
# what rounding to float32 leaves.
ROUNDING = 1e-6


class GridAxes(Protocol):
    """Coordinates that a prior can be built on: days, and kilometres along y and x."""

    @property
    def time(self) -> Any: ...
    @property
    def y(self) -> Any: ...
    @property
    def x(self) -> Any: ...


class GaussianPrior(Prior):
    r"""Zero-mean Gaussian prior, :math:`U(x) = x^\top (B + \epsilon I)^{-1} x`.

    Parameters
    ----------
    time : Tensor
        Days, shape ``(nt,)``: one for each entry of the first axis of the state.
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
        :math:`\epsilon / \sigma^2`. It keeps the cost finite for fields that are
        less smooth than the covariance allows. The posterior does not use it. The
        cost needs at least 2e-12 of the largest eigenvalue of the correlation and
        raises ArithmeticError below that.
    series : Tensor, optional
        Which variable each entry of the first axis is: integers from 0, shape
        ``(nt,)``. Default: one variable.
    coupling : Tensor, optional
        :math:`V`, ``(n_var, n_var)``: covariances between the variables, each
        scaled to the variance :math:`\sigma^2`. Symmetric, positive semi-definite,
        with a diagonal of 1. Required with ``series``.

    Raises
    ------
    OptionError
        ``series`` without ``coupling`` or the reverse, of another shape, or not
        as described above.

    Notes
    -----
    States have the shape ``(batch, nt, ny, nx)``. Several variables are stacked
    along the first axis, and share the correlations in space and time:

    .. math::

        \operatorname{cov}(x_{i,p}, x_{j,q}) = \sigma^2 \, V_{s_i s_j} \,
        C_t(|t_i - t_j|) \, C_s(|p - q|)

    with :math:`s_i` the variable and :math:`t_i` the day of entry i. Variables
    may have different days.
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
        series: Tensor | None = None,
        coupling: Tensor | None = None,
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
        _check_coupling(time, series, coupling)
        self.register_buffer(
            "series", None if series is None else series.to(time.device, torch.int64)
        )
        self.register_buffer("coupling", None if coupling is None else coupling.to(time))

    time: Tensor
    y: Tensor
    x: Tensor
    series: Tensor | None
    coupling: Tensor | None

    @classmethod
    def on(
        cls,
        grid: GridAxes,
        sea: object = None,  # noqa: ARG003  every prior has it
        *,
        length_scale: float = 100.0,
        time_scale: float = 10.0,
        coupling: Any = None,
        series: Any = None,
        **options: Any,
    ) -> Self:
        """Build the prior on a grid, in float64.

        Parameters
        ----------
        grid : object
            With ``time`` in days and ``y`` and ``x`` in km, 1-D arrays. An axis
            that closes on itself is treated as open: the halo of a tile holds
            the cells from across the seam.
        sea : object, optional
            Not used: this covariance is a function of distance alone, and
            crosses land.
        length_scale : float
            In km. Default: 100.
        time_scale : float
            In days. Default: 10.
        coupling : array, optional
            Covariances between variables, ``(n_var, n_var)``. Without
            ``series``, each variable is on all the times of the grid and the
            first axis of the state has ``n_var * nt`` entries: all times of the
            first variable, then all of the second.
        series : array, optional
            The variable of each entry of ``grid.time``, which then holds the
            days of all variables one after another.
        **options
            The other keywords of the class.

        Returns
        -------
        GaussianPrior
            Of the class that it is called on.
        """
        # From zero, so that float32 keeps the digits of the distances.
        time, y, x = (
            torch.as_tensor(axis, dtype=torch.float64) for axis in (grid.time, grid.y, grid.x)
        )
        time, y, x = time - time.min(), y - y[0], x - x[0]
        if coupling is not None:
            coupling = torch.as_tensor(coupling, dtype=torch.float64, device=time.device)
            if series is None:
                variables = torch.arange(len(coupling), device=time.device)
                series = variables.repeat_interleave(len(time))
                time = time.repeat(len(coupling))
        if series is not None:
            series = torch.as_tensor(series, device=time.device)
        return cls(
            time,
            y,
            x,
            length_scale=length_scale,
            time_scale=time_scale,
            series=series,
            coupling=coupling,
            **options,
        )

    @abstractmethod
    def restrict(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`S B S^\top v` for values ``(batch, m)`` at cells ``(m, 3)``."""

    @abstractmethod
    def spread(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`B S^\top v`, fields ``(batch, nt, ny, nx)``, for values at cells."""

    @abstractmethod
    def colour(self, noise: Tensor) -> Tensor:
        """Samples of the prior, made from white noise.

        Parameters
        ----------
        noise : Tensor
            ``(members, *noise_shape)``. Along its first axis is a block for each
            variable of ``coupling``, in order; a block holds the days of
            ``times`` with ``margins[0]`` more at each end. Tiles that share
            cells draw the same noise there, and so get the same sample.

        Returns
        -------
        Tensor
            ``(members, nt, ny, nx)``.
        """

    @property
    def times(self) -> Tensor:
        """Days that any variable has, each once; ``time`` itself for one variable."""
        return self.time if self.series is None else torch.unique(self.time)

    @property
    def margins(self) -> tuple[int, int, int]:
        """Cells of white noise that a sample needs on each side of (time, y, x)."""
        return (
            _margin(self.times, self.time_scale, self.temporal),
            _margin(self.y, self.length_scale, self.space),
            _margin(self.x, self.length_scale, self.space),
        )

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """Shape of the white noise of one sample, margins included."""
        t, y, x = self.margins
        blocks = 1 if self.coupling is None else len(self.coupling)
        _, ny, nx = self.shape
        return blocks * (len(self.times) + 2 * t), ny + 2 * y, nx + 2 * x

    def between_times(self, a: Tensor, b: Tensor) -> Tensor:
        """Correlation of entries ``a`` with entries ``b`` of the first axis."""
        lag = (self.time[a, None] - self.time[b]).abs()
        return self._coupled(self.temporal(lag, self.time_scale), a, b)

    def _coupled(self, correlation: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Correlation in time, times that of the variables of the entries."""
        if self.series is None or self.coupling is None:
            return correlation
        between = self.coupling[self.series[a], :][:, self.series[b]]
        return correlation * between.to(correlation.dtype)

    def _time_modes(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues and eigenvectors of the correlation along the first axis, float64."""
        entries = torch.arange(len(self.time), device=self.time.device)
        correlation = _correlation(self.time, self.time_scale, self.temporal)
        return _modes(self._coupled(correlation, entries, entries))

    def _time_root(self) -> Tensor:
        """Matrix from white noise to samples along the first axis."""
        root = _root(self.times, self.time_scale, self.temporal)
        if self.series is None or self.coupling is None:
            return root
        # The symmetric root exists and is unique for a singular coupling too.
        values, vectors = _modes(self.coupling.to(torch.float64))
        mix = (vectors * values.sqrt() @ vectors.T).to(root.dtype)[self.series]
        day = torch.searchsorted(self.times, self.time.contiguous())
        return (mix[:, :, None] * root[day][:, None, :]).flatten(1)

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """Covariance of the cells ``a`` with the cells ``b``, ``(len(a), len(b))``."""
        lag_y = self.y[a[:, 1], None] - self.y[b[:, 1]]
        lag_x = self.x[a[:, 2], None] - self.x[b[:, 2]]
        correlation = self.space(torch.hypot(lag_y, lag_x), self.length_scale)
        return self.variance * correlation * self.between_times(a[:, 0], b[:, 0])

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
    of each small matrix that carry variance (see `Factors` for its products).
    Coordinates may be irregular. Several variables are coupled by
    :math:`C_t`, whose entries are then multiplied by :math:`V`.
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
        series: Tensor | None = None,
        coupling: Tensor | None = None,
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
            series=series,
            coupling=coupling,
        )
        self.register_buffer("factor_t", _factor(*self._time_modes()).to(time.dtype))
        for name, axis in (("factor_y", y), ("factor_x", x)):
            modes = _modes(_correlation(axis, self.length_scale, self.space))
            self.register_buffer(name, _factor(*modes).to(axis.dtype))

    def solve(self, x: Tensor) -> Tensor:
        r""":math:`(B + \epsilon I)^{-1} x` for fields, exactly, by the eigenvectors of B."""
        values_t, t = self._time_modes()
        values_y, y = _modes(_correlation(self.y, self.length_scale, self.space))
        values_x, x_ = _modes(_correlation(self.x, self.length_scale, self.space))
        spectrum = values_t[:, None, None] * values_y[:, None] * values_x
        self._require_nugget(spectrum.max())
        modes = along_axes(x.to(torch.float64), t.T, y.T, x_.T) / (spectrum + self.nugget)
        return (along_axes(modes, t, y, x_) / self.variance).to(x.dtype)

    factor_t: Tensor
    factor_y: Tensor
    factor_x: Tensor

    @property
    def mode_variance(self) -> Tensor:
        r"""Diagonal of :math:`F^\top F`: the variance of each mode, ``(rt, ry, rx)``."""
        return self.factors.mode_variance

    @property
    def factors(self) -> Factors:
        """F as one matrix for each axis."""
        return Factors(self.factor_t, self.factor_y, self.factor_x, self.variance)

    def to_modes(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`F^\top S^\top v`, modes ``(batch, rt, ry, rx)`` of values at cells."""
        return self.factors.to_modes(v, cells)

    def from_modes(self, modes: Tensor, cells: Tensor | None = None) -> Tensor:
        r""":math:`F z` on the grid, or :math:`S F z` ``(batch, m)`` at cells."""
        return self.factors.from_modes(modes, cells)

    def restrict(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`S B S^\top v` for values ``(batch, m)`` at cells ``(m, 3)``."""
        return self.from_modes(self.to_modes(v, cells), cells)

    def spread(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`B S^\top v`, shape ``(batch, nt, ny, nx)``."""
        return self.from_modes(self.to_modes(v, cells))

    def matvec(self, x: Tensor) -> Tensor:
        """Apply B to fields ``(batch, nt, ny, nx)``."""
        return self.from_modes(self.factors.field_to_modes(x))

    def colour(self, noise: Tensor) -> Tensor:
        """Samples of the prior from white noise; see `GaussianPrior.colour`."""
        roots = (
            self._time_root(),
            _root(self.y, self.length_scale, self.space),
            _root(self.x, self.length_scale, self.space),
        )
        return math.sqrt(self.variance) * along_axes(noise, *roots)


@PRIORS.register("gaussian-circulant")
class CirculantGaussian(GaussianPrior):
    r"""Isotropic correlation in space on a regular grid, by circulant embedding.

    .. math:: C_s v = \mathcal{F}^{-1} [\hat c \, \mathcal{F} v]

    on a ring so long that the correlation across its ends equals that of the
    plane, or is negligible. The correlation in time is a small dense matrix,
    multiplied entry by entry by :math:`V` for several variables.
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
        series: Tensor | None = None,
        coupling: Tensor | None = None,
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
            series=series,
            coupling=coupling,
        )
        far = reach(self.space, 1e-7) * self.length_scale
        sizes = []
        for axis in (y, x):
            wanted = axis.numel() + math.ceil(far / _spacing(axis))
            sizes.append(_fast_length(min(wanted, 2 * axis.numel() - 1)))
        self.register_buffer("spectrum", self._spectrum(sizes).to(y.dtype))
        entries = torch.arange(len(time), device=time.device)
        self.register_buffer("matrix_t", self.between_times(entries, entries))
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
        weights, vectors = self._time_modes()
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

    def ring_inverse(
        self, noise_variance: float, kernel: Tensor | None = None
    ) -> Callable[[Tensor], Tensor]:
        r"""Approximate inverse of :math:`G B G^\top + r I`, exact on the ring (Chan 1988).

        Parameters
        ----------
        noise_variance : float
            r.
        kernel : Tensor, optional
            Point spread function along y and x, with odd sides, whose convolution
            is G. Default: the identity.

        Returns
        -------
        callable
            From fields ``(batch, nt, ny, nx)`` to such fields, in either precision.
            Symmetric and positive definite.
        """
        weights, vectors = self._time_modes()
        spectrum = self._spectrum(self.sizes).clamp(min=0)
        if kernel is not None:
            spectrum = spectrum * torch.fft.rfft2(self._around(kernel)).abs().square()
        total = self.variance * weights[:, None, None] * spectrum
        inverse = 1 / (total + noise_variance)

        def apply(field: Tensor) -> Tensor:
            turn = vectors.to(field.dtype)
            modes = torch.einsum("ta,btyx->bayx", turn, field)
            modes = self._convolve(modes, inverse.to(field.dtype))
            return torch.einsum("ta,bayx->btyx", turn, modes)

        return apply

    def _around(self, kernel: Tensor) -> Tensor:
        """The kernel on the ring, its middle in the first cell."""
        ring = kernel.to(torch.float64)
        for axis, (side, size) in enumerate(zip(kernel.shape, self.sizes, strict=True)):
            place = (torch.arange(side, device=ring.device) - side // 2) % size
            shape = list(ring.shape)
            shape[axis] = size
            ring = ring.new_zeros(shape).index_add(axis, place, ring)
        return ring

    def spread(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`B S^\top v`, shape ``(batch, nt, ny, nx)``."""
        nt, ny, nx = self.shape
        flat = (cells[:, 0] * ny + cells[:, 1]) * nx + cells[:, 2]
        field = v.new_zeros(len(v), nt * ny * nx).index_add_(1, flat, v)
        return self.matvec(field.unflatten(1, self.shape))

    def matvec(self, x: Tensor) -> Tensor:
        """Apply B to fields ``(batch, nt, ny, nx)``."""
        field = self._convolve(x, self.spectrum)
        return self.variance * torch.einsum("ts,bsyx->btyx", self.matrix_t, field)

    def restrict(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`S B S^\top v` for values ``(batch, m)`` at cells ``(m, 3)``."""
        return self.spread(v, cells)[:, cells[:, 0], cells[:, 1], cells[:, 2]]

    def colour(self, noise: Tensor) -> Tensor:
        """Samples of the prior from white noise; see `GaussianPrior.colour`."""
        _, my, mx = self.margins
        _, ny, nx = self.shape
        sizes = [ny + 2 * my, nx + 2 * mx]
        # The ring is short: its spectrum may dip below zero by rounding or truncation.
        root = self._spectrum(sizes).clamp(min=0).sqrt().to(noise.dtype)
        sample = torch.fft.irfft2(torch.fft.rfft2(noise) * root, s=sizes)
        sample = sample[..., my : my + ny, mx : mx + nx]
        sample = torch.einsum("ts,bsyx->btyx", self._time_root(), sample)
        return math.sqrt(self.variance) * sample


def _check_coupling(time: Tensor, series: Tensor | None, coupling: Tensor | None) -> None:
    """Raise an OptionError unless the two describe variables that are coupled."""
    if series is None and coupling is None:
        return
    if series is None or coupling is None:
        given, missing = ("coupling", "series") if series is None else ("series", "coupling")
        raise OptionError(f"{given} without {missing}: expected both, or neither.")
    if series.shape != time.shape or series.is_floating_point():
        raise OptionError(
            f"series of shape {tuple(series.shape)} and {series.dtype}: expected integers of "
            f"shape {tuple(time.shape)}, the variable of each entry of the first axis."
        )
    if coupling.ndim != 2 or coupling.shape[0] != coupling.shape[1]:
        raise OptionError(
            f"coupling of shape {tuple(coupling.shape)}: expected a square matrix, one row for "
            "each variable."
        )
    low, high = (int(series.min()), int(series.max())) if len(series) else (0, 0)
    if low < 0 or high >= len(coupling):
        raise OptionError(
            f"series from {low} to {high} with a coupling of {len(coupling)} variables: "
            f"expected numbers from 0 to {len(coupling) - 1}."
        )
    matrix = coupling.to(torch.float64)
    asymmetry = float((matrix - matrix.T).abs().max())
    diagonal = float((matrix.diagonal() - 1).abs().max())
    if not (asymmetry <= ROUNDING and diagonal <= ROUNDING):
        raise OptionError(
            f"coupling={matrix.tolist()}: expected a symmetric matrix with a diagonal of 1; "
            "divide each variable by its standard deviation."
        )
    least = float(torch.linalg.eigvalsh(matrix).min())
    if least < -ROUNDING * len(matrix):
        raise OptionError(
            f"coupling={matrix.tolist()} has an eigenvalue of {least:.2g}: expected none below "
            "0, as in every matrix of correlations. Lower the correlations between variables."
        )


def _correlation(axis: Tensor, scale: float, kernel: Kernel) -> Tensor:
    """Correlation matrix of the cells of an axis, in float64."""
    fine = axis.to(torch.float64)
    return kernel((fine[:, None] - fine).abs(), scale)


def _modes(correlation: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, raised to zero where negative, and eigenvectors of a matrix in float64."""
    values, vectors = torch.linalg.eigh(correlation)
    return values.clamp(min=0), vectors


def _factor(values: Tensor, vectors: Tensor) -> Tensor:
    """Columns F with F F^T the matrix of these modes, without those that are negligible."""
    kept = values > NEGLIGIBLE * values.max()
    return vectors[:, kept] * values[kept].sqrt()


def _spacing(axis: Tensor) -> float:
    """Mean spacing; 1 for a single cell, which has none."""
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

    On a regular axis W is a moving average of white noise with margins on both
    sides, so that two tiles that share noise share the sample. On an irregular
    axis it is the symmetric square root.
    """
    n, margin = axis.numel(), _margin(axis, scale, kernel)
    if margin == 0:
        values, vectors = _modes(_correlation(axis, scale, kernel))
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
