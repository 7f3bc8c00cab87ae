r"""A Gaussian prior as its observations see it: covariances of :math:`y = S G x`.

:math:`G` is a linear operator on states and :math:`S` selects cells of what it gives.
With :math:`H = S G`, these classes apply :math:`H B H^\top` and :math:`B H^\top`, and
:math:`H F` where the prior has a factor, :math:`B = F F^\top`. There are three:

* `Seen`, without an operator: :math:`G = I`.
* `SeenAxes`, for a Kronecker prior and an operator that is one matrix along y and one
  along x, at some of the times. Every product stays one small matrix for each axis.
* `SeenGrid`, for any other linear operator, which is applied on the whole grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from xinverse.errors import OptionError
from xinverse.operators.base import Composition, Operator
from xinverse.operators.blur import Blur
from xinverse.operators.mask import Mask
from xinverse.operators.separable import Separable

if TYPE_CHECKING:  # a solver takes any prior; only the types are named here
    from xinverse.priors.factors import Factors
    from xinverse.priors.gaussian import GaussianPrior

__all__ = ["Seen", "SeenAxes", "SeenGrid", "at_whole_times", "matrices", "seen_through"]

# Numbers in the fields that are worked on at once where there is one for each observation.
CHUNK = 2**22

# Modes along y and x whose gain is measured; the gains of the others are interpolated.
PROBES = 24

# Power iterations for the norm of an operator.
POWERS = 10


@runtime_checkable
class Factored(Protocol):
    r"""A prior whose covariance is :math:`F F^\top`, with few columns in F."""

    @property
    def factors(self) -> Factors: ...
    @property
    def mode_variance(self) -> Tensor: ...


@runtime_checkable
class Ringed(Protocol):
    """A prior that is diagonal in wavenumbers, but for the edges of the grid."""

    def ring_inverse(
        self, noise_variance: float, kernel: Tensor | None = None
    ) -> Callable[[Tensor], Tensor]: ...


class Kept(NamedTuple):
    r"""Modes of the prior that matter to the error, and the effect of the others.

    The variance of the posterior is at most ``raised`` times that with these modes alone,
    plus ``left_out`` times the prior variance of the others.

    Attributes
    ----------
    numbers : Tensor
        In t, y and x, ``(k, 3)``.
    raised, left_out : float
        Factors of at least 1.
    """

    numbers: Tensor
    raised: float
    left_out: float


class Seen(nn.Module):
    """A Gaussian prior and a selection of its cells.

    Parameters
    ----------
    prior : GaussianPrior
        The covariance B of the states.

    Attributes
    ----------
    shape : tuple of int
        Cells of the observation along (time, y, x), before the selection.
    separable : bool
        Whether the covariances are products of one number for each axis.
    """

    separable: bool = True

    def __init__(self, prior: GaussianPrior) -> None:
        super().__init__()
        self.prior = prior
        self.shape: tuple[int, int, int] = prior.shape

    def see(self, field: Tensor) -> Tensor:
        r""":math:`G x` of fields ``(batch, nt, ny, nx)``."""
        return field

    def covers(self, cells: Tensor) -> bool:
        """Whether the cells are all those of the observation, each once."""
        return len(cells) == math.prod(self.shape) and len(cells.unique(dim=0)) == len(cells)

    def inverse(
        self, cells: Tensor, noise_variance: Tensor
    ) -> Callable[[Tensor], Tensor] | None:
        r"""Approximate inverse of :math:`H B H^\top + R`, where data are dense enough.

        Returns
        -------
        callable or None
            From values ``(batch, m)`` to such values, symmetric and positive
            definite; None if a diagonal is better or as good.
        """
        return self._ring(cells, noise_variance, None) if self.covers(cells) else None

    def _ring(
        self, cells: Tensor, noise_variance: Tensor, kernel: Tensor | None
    ) -> Callable[[Tensor], Tensor] | None:
        if not isinstance(self.prior, Ringed):
            return None
        apply = self.prior.ring_inverse(float(noise_variance.mean()), kernel)
        return lambda v: _gather(apply(_scatter(v, cells, self.shape)), cells)

    def restrict(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`H B H^\top v` for values ``(batch, m)`` at cells ``(m, 3)``."""
        return self.prior.restrict(v, cells)

    def spread(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`B H^\top v`, fields ``(batch, nt, ny, nx)``."""
        return self.prior.spread(v, cells)

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """Covariance of observed cells ``a`` with observed cells ``b``."""
        return self.prior.between(a, b)

    def towards(self, a: Tensor, targets: Tensor) -> Tensor:
        """Covariance of observed cells ``a`` with cells ``targets`` of the state."""
        return self.prior.between(a, targets)

    @property
    def modes(self) -> int | None:
        """How many modes the prior's factor has; None without a factor."""
        return self.mode_variance.numel() if isinstance(self.prior, Factored) else None

    @property
    def state_factors(self) -> Factors:
        """F, which takes modes to the state."""
        return _factored(self.prior).factors

    @property
    def mode_variance(self) -> Tensor:
        r"""Diagonal of :math:`F^\top G^\top G F`, exact if separable, else estimated."""
        return _factored(self.prior).mode_variance

    def kept_modes(self, noise_variance: float, share: float) -> Kept:
        r"""Modes that matter to the error.

        Write :math:`\Delta` for the covariance of the modes left out, :math:`\bar A` for
        the posterior without them and :math:`K` for its gain. A is concave in B, and
        :math:`K R K^\top \le \bar A`. So, for any :math:`\eta > 0`,

        .. math::

            \bar A \le A \le \bar A + (I - K H) \Delta (I - K H)^\top, \qquad
            A_{ii} \le \bar A_{ii} \left(1 + (1 + 1 / \eta) \frac{\|G \Delta G^\top\|}{\min R}
            \right) + (1 + \eta) \Delta_{ii}

        Here :math:`\eta = 1`: what is left out has little variance in the state.

        Parameters
        ----------
        noise_variance : float
            The smallest of R.
        share : float
            By how much the error variance may be raised at most.
        """
        variance, scale = (
            _factored(self.prior).mode_variance,
            noise_variance / self._square_norm(),
        )
        kept = variance > share / 2 * scale
        most = float(variance[~kept].max()) if not bool(kept.all()) else 0.0
        return Kept(kept.nonzero(), 1 + 2 * most / scale, 2.0)

    def _square_norm(self) -> float:
        r""":math:`\|G\|^2`, by power iterations from a smooth field, and a margin."""
        field = self.prior.time.new_ones(1, *self.prior.shape)
        value = 1.0
        for _ in range(POWERS):
            seen = self.see(field)
            value = float(seen.square().sum() / field.square().sum())
            field = self._adjoint(seen)
            field = field / field.norm().clamp(min=1e-30)
        return max(1.5 * value, 1e-30)

    def _adjoint(self, v: Tensor) -> Tensor:
        return v

    def to_modes(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`F^\top H^\top v` of values ``(batch, m)`` at cells."""
        return self.state_factors.to_modes(v, cells)

    def from_modes(self, modes: Tensor, cells: Tensor) -> Tensor:
        r""":math:`H F z`, values ``(batch, m)`` at cells."""
        return self.state_factors.from_modes(modes, cells)


class SeenAxes(Seen):
    r"""A Kronecker prior through :math:`G = S_t \otimes A_y \otimes A_x`.

    .. math:: G F = \sigma \, S_t F_t \otimes A_y F_y \otimes A_x F_x

    with :math:`S_t` the selection of some times. The columns of :math:`F_y` are
    turned so that those of :math:`A_y F_y` are orthogonal, and likewise along x and,
    if some times are left out, along time. Then :math:`F^\top G^\top G F` is diagonal:
    with all cells observed and an even noise, the posterior is known in closed form.

    Parameters
    ----------
    prior : GaussianPrior
        With a Kronecker factor.
    along_y, along_x : Tensor
        :math:`A_y`, ``(my, ny)``, and :math:`A_x`, ``(mx, nx)``.
    times : Tensor, optional
        Entries of the prior's first axis that are observed, ascending integers; an
        observed cell's first number counts among these. Default: all.
    """

    def __init__(
        self,
        prior: GaussianPrior,
        along_y: Tensor,
        along_x: Tensor,
        times: Tensor | None = None,
    ) -> None:
        super().__init__(prior)
        entries = torch.arange(prior.shape[0], device=prior.time.device)
        self.register_buffer("times", entries if times is None else times, persistent=False)
        self.shape = (len(self.times), len(along_y), len(along_x))
        factors, dtype = _factored(prior).factors, prior.time.dtype
        matrices = {
            "y": (along_y, prior.y, factors.y),
            "x": (along_x, prior.x, factors.x),
        }
        for name, (matrix, axis, factor) in matrices.items():
            fine = axis.to(torch.float64)
            A, F = matrix.to(fine), factor.to(torch.float64)
            B = prior.space((fine[:, None] - fine).abs(), prior.length_scale)
            _, turn = torch.linalg.eigh((A @ F).T @ (A @ F))
            parts = {"state": F @ turn, "seen": A @ F @ turn, "to": A @ B, "own": A @ B @ A.T}
            for part, value in parts.items():
                self.register_buffer(f"{part}_{name}", value.to(dtype), persistent=False)
        state_t = factors.t
        if times is not None:
            fine_t = state_t.to(torch.float64)
            _, turn = torch.linalg.eigh(fine_t[times].T @ fine_t[times])
            state_t = (fine_t @ turn).to(dtype)
        self.register_buffer("state_t", state_t, persistent=False)
        self.register_buffer("along_y", along_y.to(prior.time), persistent=False)
        self.register_buffer("along_x", along_x.to(prior.time), persistent=False)

    times: Tensor
    along_y: Tensor
    along_x: Tensor
    state_t: Tensor
    state_y: Tensor
    state_x: Tensor
    seen_y: Tensor
    seen_x: Tensor
    to_y: Tensor
    to_x: Tensor
    own_y: Tensor
    own_x: Tensor

    def see(self, field: Tensor) -> Tensor:
        """The selection of times, and both matrices."""
        return self.along_y @ field[:, self.times] @ self.along_x.mT

    @property
    def state_factors(self) -> Factors:
        """F, its columns turned."""
        factors = _factored(self.prior).factors
        return factors._replace(t=self.state_t, y=self.state_y, x=self.state_x)

    @property
    def seen_factors(self) -> Factors:
        r""":math:`G F`."""
        factors, times = _factored(self.prior).factors, self.state_t[self.times]
        return factors._replace(t=times, y=self.seen_y, x=self.seen_x)

    @property
    def mode_variance(self) -> Tensor:
        r"""Diagonal of :math:`F^\top G^\top G F`, which has nothing off its diagonal."""
        return self.seen_factors.mode_variance

    def to_modes(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`F^\top H^\top v` of values ``(batch, m)`` at cells."""
        if self._fills(cells):  # a product of whole matrices is faster than one of rows
            return self.seen_factors.field_to_modes(_scatter(v, cells, self.shape))
        return self.seen_factors.to_modes(v, cells)

    def from_modes(self, modes: Tensor, cells: Tensor) -> Tensor:
        r""":math:`H F z`, values ``(batch, m)`` at cells."""
        if self._fills(cells):
            return _gather(self.seen_factors.from_modes(modes), cells)
        return self.seen_factors.from_modes(modes, cells)

    def kept_modes(self, noise_variance: float, share: float) -> Kept:
        r"""As for any operator, with :math:`\eta` = ``share``.

        The columns of :math:`G F` are orthogonal, so that the norm of
        :math:`G \Delta G^\top` is the largest variance left out after the operator. Modes that
        the operator hides may have much variance in the state.
        """
        variance = self.mode_variance
        kept = variance > share**2 / (1 + share) * noise_variance
        most = float(variance[~kept].max()) if not bool(kept.all()) else 0.0
        return Kept(kept.nonzero(), 1 + (1 + 1 / share) * most / noise_variance, 1 + share)

    def _fills(self, cells: Tensor) -> bool:
        return 4 * len(cells) >= math.prod(self.shape)

    def restrict(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`H B H^\top v` for values ``(batch, m)`` at cells ``(m, 3)``."""
        return self.from_modes(self.to_modes(v, cells), cells)

    def spread(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`B H^\top v`, fields ``(batch, nt, ny, nx)``."""
        return self.state_factors.from_modes(self.to_modes(v, cells))

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """Covariance of observed cells ``a`` with observed cells ``b``."""
        return self._product(a, b, self.times[b[:, 0]], self.own_y, self.own_x)

    def towards(self, a: Tensor, targets: Tensor) -> Tensor:
        """Covariance of observed cells ``a`` with cells ``targets`` of the state."""
        return self._product(a, targets, targets[:, 0], self.to_y, self.to_x)

    def _product(self, a: Tensor, b: Tensor, times: Tensor, y: Tensor, x: Tensor) -> Tensor:
        in_space = y[a[:, 1, None], b[:, 1]] * x[a[:, 2, None], b[:, 2]]
        in_time = self.prior.between_times(self.times[a[:, 0]], times)
        return self.prior.variance * in_space * in_time

    def correlation(self, cells: Tensor, block: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Largest size of each observed cell's correlation with a block of the state.

        Parameters
        ----------
        cells : Tensor
            ``(m, 3)``.
        block : tuple of Tensor
            Numbers of the block's cells along (time, y, x).
        """
        largest = [
            matrix.abs().amax(1)
            for matrix in (
                self.prior.between_times(self.times, block[0]),
                self.to_y[:, block[1]] / self.own_y.diagonal().sqrt().clamp(min=1e-30)[:, None],
                self.to_x[:, block[2]] / self.own_x.diagonal().sqrt().clamp(min=1e-30)[:, None],
            )
        ]
        return math.prod(a[cells[:, k]] for k, a in enumerate(largest))  # type: ignore[return-value]  # of tensors


class SeenGrid(Seen):
    """A Gaussian prior through any linear operator.

    Parameters
    ----------
    prior : GaussianPrior
        The covariance B of the states.
    operator : Operator
        G, linear, from ``(batch, nt, ny, nx)`` to ``(batch, mt, my, mx)``.
    """

    separable = False

    def __init__(self, prior: GaussianPrior, operator: Operator) -> None:
        super().__init__(prior)
        self.operator = operator
        with torch.no_grad():
            seen = operator(prior.time.new_zeros(1, *prior.shape))
            if seen.ndim != 4:
                raise OptionError(
                    f"{type(operator).__name__} gives observations of shape "
                    f"{tuple(seen.shape[1:])}: expected three axes, time, y and x."
                )
            self.shape = (seen.shape[1], seen.shape[2], seen.shape[3])
            gain = self._gain() if isinstance(prior, Factored) else None
        self.register_buffer("gain", gain, persistent=False)

    gain: Tensor | None

    def see(self, field: Tensor) -> Tensor:
        """The operator."""
        seen: Tensor = self.operator(field)
        return seen

    def inverse(
        self, cells: Tensor, noise_variance: Tensor
    ) -> Callable[[Tensor], Tensor] | None:
        """For a blur of at least half of the cells, where it at least halves the iterations."""
        kernel = _point_spread(self.operator)
        # Two values of one cell would make it singular.
        sparse = 2 * len(cells) < math.prod(self.shape) or len(cells.unique(dim=0)) < len(cells)
        return None if kernel is None or sparse else self._ring(cells, noise_variance, kernel)

    def _back(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`H^\top v`, fields."""
        return self._adjoint(_scatter(v, cells, self.shape))

    def _adjoint(self, v: Tensor) -> Tensor:
        state = v.new_zeros(1).expand(len(v), *self.prior.shape)
        return self.operator.adjoint(v, state)

    def spread(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`B H^\top v`, fields ``(batch, nt, ny, nx)``."""
        return self.prior.matvec(self._back(v, cells))

    def restrict(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`H B H^\top v` for values ``(batch, m)`` at cells ``(m, 3)``."""
        return _gather(self.see(self.spread(v, cells)), cells)

    def to_modes(self, v: Tensor, cells: Tensor) -> Tensor:
        r""":math:`F^\top H^\top v` of values ``(batch, m)`` at cells."""
        return self.state_factors.field_to_modes(self._back(v, cells))

    def from_modes(self, modes: Tensor, cells: Tensor) -> Tensor:
        r""":math:`H F z`, values ``(batch, m)`` at cells."""
        return _gather(self.see(self.state_factors.from_modes(modes)), cells)

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """Covariance of observed cells ``a`` with observed cells ``b``."""
        rows = [_gather(self.see(fields), b) for fields in self._columns(a)]
        return torch.cat(rows) if rows else self.prior.time.new_zeros(0, len(b))

    def towards(self, a: Tensor, targets: Tensor) -> Tensor:
        """Covariance of observed cells ``a`` with cells ``targets`` of the state."""
        rows = [_gather(fields, targets) for fields in self._columns(a)]
        return torch.cat(rows) if rows else self.prior.time.new_zeros(0, len(targets))

    def _columns(self, cells: Tensor) -> Iterator[Tensor]:
        r"""Columns of :math:`B G^\top`, some at a time, as fields."""
        size = max(1, CHUNK // max(math.prod(self.prior.shape), math.prod(self.shape)))
        for some in cells.split(size):
            one = torch.eye(len(some), dtype=self.prior.time.dtype, device=cells.device)
            yield self.spread(one, some)

    @property
    def mode_variance(self) -> Tensor:
        r"""Estimate of the diagonal of :math:`F^\top G^\top G F`."""
        variance = _factored(self.prior).mode_variance
        return variance if self.gain is None else variance * self.gain

    def _gain(self) -> Tensor:
        r"""By how much G multiplies the square norm of each mode in space, ``(ry, rx)``.

        Measured on some modes, and interpolated between them: neighbouring modes have
        neighbouring wavenumbers. Several modes share one field, each in a time of its own,
        as if G acted on one time at once. Only the speed of the iterations depends on it.
        """
        factors, nt = _factored(self.prior).factors, self.prior.shape[0]
        y, x = (f / f.norm(dim=0) for f in (factors.y, factors.x))
        if self.shape[0] != nt:
            return y.new_ones(y.shape[1], x.shape[1])
        at = [
            torch.linspace(0, f.shape[1] - 1, min(PROBES, f.shape[1]))
            .round()
            .long()
            .to(f.device)
            for f in (y, x)
        ]
        probes = torch.einsum("yr,xk->rkyx", y[:, at[0]], x[:, at[1]]).flatten(0, 1)
        empty = probes.new_zeros(-len(probes) % nt, *probes.shape[1:])
        fields = torch.cat([probes, empty]).unflatten(0, (-1, nt))
        size = max(1, CHUNK // math.prod(self.prior.shape))
        energy = torch.cat([self.see(some).square().sum((2, 3)) for some in fields.split(size)])
        measured = energy.flatten()[: len(probes)].reshape(1, 1, len(at[0]), len(at[1]))
        sides = (y.shape[1], x.shape[1])
        return functional.interpolate(
            measured, size=sides, mode="bilinear", align_corners=True
        )[0, 0]


def seen_through(prior: GaussianPrior, operator: Operator | None) -> Seen:
    """The prior through an operator, by the cheapest of the three classes.

    Parameters
    ----------
    prior : GaussianPrior
        Its precision is that of the products.
    operator : Operator or None
        Linear; None for the identity. It is copied to the prior's precision.

    Raises
    ------
    OptionError
        An operator that is not linear, or does not fit the states of the prior.
    """
    if operator is None:
        return Seen(prior)
    if not operator.linear:
        raise OptionError(
            f"{type(operator).__name__} is not linear: expected a linear operator, for which "
            "the posterior is Gaussian. Use a variational method instead."
        )
    operator = deepcopy(operator).to(prior.time)
    found = matrices(operator, prior.shape) if isinstance(prior, Factored) else None
    if found is None:
        return SeenGrid(prior, operator)
    for name, matrix, cells in zip("yx", found, prior.shape[1:], strict=True):
        if matrix.shape[1] != cells:
            raise OptionError(
                f"along_{name} has {matrix.shape[1]} columns: expected {cells}, one for each "
                "cell of the state."
            )
    return SeenAxes(prior, *found)


def at_whole_times(prior: GaussianPrior, cells: Tensor) -> SeenAxes | None:
    """The prior at some of its times, if these are observed as a whole and others not at all.

    So it is in the forecast of a complete series. None in any other case.

    Parameters
    ----------
    prior : GaussianPrior
        The covariance B of the states.
    cells : Tensor
        Observed cells, integers ``(m, 3)``.
    """
    nt, ny, nx = prior.shape
    times = cells[:, 0].unique()
    some = isinstance(prior, Factored) and 0 < len(times) < nt
    if not some or len(cells) != len(times) * ny * nx:
        return None
    if len(cells.unique(dim=0)) < len(cells):
        return None
    along_y, along_x = (torch.eye(n).to(prior.time) for n in (ny, nx))
    return SeenAxes(prior, along_y, along_x, times)


def matrices(operator: Operator, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor] | None:
    """The operator as one matrix along y and one along x; None if it is not separable.

    Parameters
    ----------
    operator : Operator
        A `Separable`, a `Blur` whose kernel is an outer product, or a `Composition` of
        these is recognised.
    shape : tuple of int
        Cells of the state along (time, y, x).
    """
    if isinstance(operator, Separable):
        return operator.along_y, operator.along_x
    if isinstance(operator, Composition):
        inner = matrices(operator.inner, shape)
        if inner is None:
            return None
        outer = matrices(operator.outer, (shape[0], len(inner[0]), len(inner[1])))
        return None if outer is None else (outer[0] @ inner[0], outer[1] @ inner[1])
    if isinstance(operator, Blur) and operator.kernel.ndim == 2:
        kernel = operator.kernel
        left, values, right = torch.linalg.svd(kernel.to(torch.float64), full_matrices=False)
        if float(values[1:].sum()) > 8 * torch.finfo(kernel.dtype).eps * float(values[0]):
            return None
        sides = zip(
            (left[:, 0] * values[0], right[0]), shape[1:], operator.periodic, strict=True
        )
        along_y, along_x = (_convolution(*side).to(kernel.dtype) for side in sides)
        return along_y, along_x
    return None


def _convolution(kernel: Tensor, cells: int, periodic: bool) -> Tensor:
    """Matrix of a convolution along one axis, with zeros or the other end beyond an edge."""
    reach = len(kernel) // 2
    out, offset = torch.meshgrid(
        torch.arange(cells, device=kernel.device),
        torch.arange(-reach, reach + 1, device=kernel.device),
        indexing="ij",
    )
    source = out - offset
    kept = torch.ones_like(source, dtype=torch.bool)
    if not periodic:
        kept = (source >= 0) & (source < cells)
    matrix = kernel.new_zeros(cells, cells)
    place = (out[kept], source[kept] % cells)
    return matrix.index_put_(place, kernel.expand(cells, -1)[kept], accumulate=True)


def _point_spread(operator: Operator) -> Tensor | None:
    """Kernel along y and x of a blur, of the whole state or of a part; None for others."""
    if isinstance(operator, Blur) and operator.kernel.ndim == 2:
        return operator.kernel
    if isinstance(operator, Mask):
        return torch.ones(1, 1, device=operator.observed.device)
    if isinstance(operator, Composition):
        for one, other in ((operator.outer, operator.inner), (operator.inner, operator.outer)):
            if isinstance(other, Mask):
                return _point_spread(one)
    return None


def _factored(prior: GaussianPrior) -> Factored:
    if not isinstance(prior, Factored):
        raise TypeError(f"{type(prior).__name__} has no factor: expected a Kronecker prior.")
    return prior


def _scatter(v: Tensor, cells: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Fields ``(batch, *shape)`` with the sums of the values at each cell."""
    _, ny, nx = shape
    flat = (cells[:, 0] * ny + cells[:, 1]) * nx + cells[:, 2]
    return v.new_zeros(len(v), math.prod(shape)).index_add(1, flat, v).unflatten(1, shape)


def _gather(field: Tensor, cells: Tensor) -> Tensor:
    """Values ``(batch, m)`` at cells."""
    return field[:, cells[:, 0], cells[:, 1], cells[:, 2]]
