r"""DINEOF: missing values from truncated EOFs, with a cross-validated number of modes.

.. math:: x \leftarrow 1_\Omega \, y + (1 - 1_\Omega) \, U_P S_P V_P^\top

(Beckers and Rixen 2003, doi:10.1175/1520-0426(2003)020<1839:ECADFF>2.0.CO;2;
Alvera-Azcárate et al. 2005 and 2009).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from xinverse.errors import DataError, OptionError
from xinverse.solvers.amplitudes import in_time
from xinverse.solvers.rare import (
    MARGIN,
    MIN_OBSERVED,
    bounds_of,
    mode_error,
    rarely_observed,
    regress,
)
from xinverse.solvers.time_filter import days_of, time_smoother
from xinverse.solvers.withheld import withheld_points

__all__ = ["DINEOFResult", "dineof", "mode_error"]

# Up to this size of the smaller side, an eigenvalue problem is solved as it is.
DIRECT = 128
# More modes than are kept make the leading ones of a large matrix converge sooner.
SPARE = 5
# Steps of the subspace iteration, at most; from the last modes, one or two are enough.
SUBSPACE_STEPS = 30
# Increases of the cross-validation error in a row that end the search for modes.
STOP_AFTER = 3
# Observations spread less information about an amplitude than their number says, as what the
# modes lack is correlated in space: the noise times one of these, by cross-validation.
INFLATIONS = (1.0, 2.0, 4.0)


@dataclass(frozen=True)
class DINEOFResult:
    r"""What :func:`dineof` finds.

    Attributes
    ----------
    state : Tensor
        The field from the modes, ``(nt, n)``, at all dates and cells, observed
        or not.
    error : Tensor
        Its expected error (standard deviation), ``(nt, n)``, in the units of the
        field. See the notes of :func:`dineof`.
    modes : int
        Number of modes, P.
    mean : float
        Mean that was subtracted.
    singular_values : Tensor
        ``(P,)``, descending.
    spatial : Tensor
        Spatial EOFs, ``(P, n)``, orthonormal over the cells of the decomposition.
    temporal : Tensor
        Temporal EOFs, ``(P, nt)``, orthonormal over the dates of the decomposition,
        unless ``smoothed``.
    explained_variance : Tensor
        Share of the variance of the filled field, for each mode, ``(P,)``.
    tested : tuple of int
        Numbers of modes that were tried.
    cross_validation : Tensor
        RMS error at the withheld points for each of them.
    iterations : tuple of int
        Iterations for each of them.
    final_iterations : int
        Iterations with all observations and P modes.
    converged : bool
        Whether the last of them changed the field by less than the tolerance.
    expected_error : float
        RMS error at the withheld points with P modes.
    withheld : int
        Number of withheld points that were scored.
    rare_cells, rare_dates : Tensor
        Boolean, ``(n,)`` and ``(nt,)``: left out of the decomposition, because too
        little of them was observed.
    bounded : int
        Number of values of ``state`` that the bounds of ``margin`` changed.
    smoothed : bool
        Whether amplitudes also follow from the dates before and after.
    memory : Tensor
        Time in days after which each amplitude is forgotten, ``(P,)``; empty unless
        ``smoothed``.
    """

    state: Tensor
    error: Tensor
    modes: int
    mean: float
    singular_values: Tensor
    spatial: Tensor
    temporal: Tensor
    explained_variance: Tensor
    tested: tuple[int, ...]
    cross_validation: Tensor
    iterations: tuple[int, ...]
    final_iterations: int
    converged: bool
    expected_error: float
    withheld: int
    rare_cells: Tensor
    rare_dates: Tensor
    bounded: int
    smoothed: bool
    memory: Tensor


def dineof(
    values: Tensor,
    observed: Tensor,
    *,
    max_modes: int,
    min_modes: int = 1,
    withheld: Tensor | None = None,
    seed: int = 0,
    tolerance: float = 1e-3,
    max_iterations: int = 300,
    time: Tensor | None = None,
    time_filter: tuple[float, int] | None = None,
    smooth: bool | None = False,
    min_observed: float = MIN_OBSERVED,
    margin: float = MARGIN,
) -> DINEOFResult:
    r"""Fill a series of maps by the fixed point of its leading EOFs.

    The mean of all observations is subtracted and missing values start at zero.
    For P = 1, 2, ..., ``max_modes``, the missing values are replaced by
    the sum of the P leading modes of the filled field until they no longer
    change; three increases of the error at the withheld points in a row end the
    search. The P with the least error at the withheld points is kept; then the
    withheld points are put back, and the iteration is repeated with P modes.

    Parameters
    ----------
    values : Tensor
        ``(nt, n)``: dates and cells. Missing values may be anything, such as NaN.
    observed : Tensor
        Boolean, ``(nt, n)``.
    max_modes, min_modes : int
        Range of the number of modes. Equal numbers set it. Fewer modes than
        ``min_modes`` are only a step on the way: each number of modes starts from
        the field of the one before, as the result depends on where it starts.
    withheld : Tensor, optional
        Boolean, ``(nt, n)``: observations to withhold for cross-validation.
        Default:
        :func:`xinverse.solvers.withheld.withheld_points` with ``seed``.
    seed : int
        Draws the withheld points.
    tolerance : float
        An iteration stops when the missing values change by less than this share
        (RMS) of the standard deviation of the observations.
    max_iterations : int
        Iterations for each number of modes, at most.
    time : Tensor, optional
        Dates in days, ``(nt,)``, increasing. Required by ``time_filter`` and ``smooth``.
    time_filter : tuple of float and int, optional
        :math:`\alpha` (days squared) and number of steps of a diffusion in time
        that smooths the temporal covariance, such as ``(0.01, 3)``
        (Alvera-Azcárate et al. 2009). Default: no filter.
    smooth : bool, optional
        Whether the amplitudes of each date also follow from the dates before and after
        (:func:`xinverse.solvers.amplitudes.smoothed`). None: if that lowers the error
        at the withheld points.
    min_observed : float
        Cells observed on less than this share of the dates, and dates with less
        than this share of the cells, are left out of the decomposition.
    margin : float
        What is filled stays within the range of the observations, widened at each
        end by this share of it. Infinity sets no bounds.

    Returns
    -------
    DINEOFResult
        In float64.

    Raises
    ------
    DataError
        Wrong shapes, observed values that are not finite, or too few observations.
    OptionError
        An option that is out of range.

    Notes
    -----
    A mode can take any value at a cell with a handful of observations: the fit
    has as many unknowns as modes, and extrapolates. Such cells and dates are
    left out of the decomposition (for DINEOF, the usual advice is 5 %), and are
    then regressed on the modes, with the mean and variance of each mode as prior
    and the expected error as noise. A date without observations is the mean map, a
    cell without observations has the mean series, and those with few observations
    stay within what the modes usually do.

    A mode can also run away on a date that sees little of it, and what it fills
    there feeds the mode. In the iteration and in the result, what is filled is
    therefore bounded by the range of the observations, widened by ``margin``.

    ``error`` has three parts, added as variances: the amplitudes of the modes
    on that date, given the observations of the date; the pattern of the modes
    in that cell, given the observations of the cell (:func:`mode_error`), with
    the product of the two; and the expected error, for what the modes do not
    hold. The first is the error of optimal interpolation with the covariance of
    the EOFs (Beckers, Barth and Alvera-Azcárate 2006).

    With ``smooth``, amplitudes are those of autoregressive processes, given the
    observations of all dates. Their noise is the expected error times 1, 2 or 4,
    whichever has the least error at the withheld points, because the error of a
    truncated sum of modes is correlated in space.

    Without ``smooth`` and ``time_filter``, the order of dates or cells does not change
    the result, beyond rounding.
    """
    _check_options(max_modes, min_modes, tolerance, max_iterations)
    _check_shares(min_observed, margin)
    values, observed = _check_data(values, observed)
    rare_dates, rare_cells = rarely_observed(observed, min_observed)
    dates, cells = ~rare_dates, ~rare_cells
    days = None if smooth is False else days_of(time, observed)
    seen = observed[dates][:, cells]
    most = min(seen.shape) - 1
    if min_modes > most:
        raise OptionError(
            f"min_modes={min_modes}: {seen.shape[0]} dates of {seen.shape[1]} cells are "
            f"observed often enough, which is enough for {max(most, 0)} modes. Give fewer "
            "modes, a smaller min_observed, or a longer series."
        )
    withheld = _check_withheld(withheld, observed, seed)
    held = withheld[dates][:, cells] & seen
    count = int(held.sum())
    if not 0 < count < int(seen.sum()):
        raise DataError(
            f"{count} of {int(seen.sum())} observations are withheld: expected one or more, "
            "and some left. Give another withheld=."
        )
    y = torch.where(seen, values[dates][:, cells], 0.0)
    mean = float(y.sum() / seen.sum())
    y = torch.where(seen, y - mean, 0.0)
    spread = float((y.square().sum() / seen.sum()).sqrt())
    if spread == 0:
        raise DataError("All observations are equal: there are no modes to find.")
    smoother = time_smoother(time, time_filter, dates)
    bounds = bounds_of(y[seen], margin)
    iteration = _Iteration(y, smoother, bounds, tolerance * spread, max_iterations)

    choice = _cross_validate(iteration, seen, held, range(min_modes, min(max_modes, most) + 1))
    modes = choice.modes
    anomaly = torch.where(observed, values - mean, 0.0)
    inner = anomaly[:, cells], observed[:, cells]
    timing = None
    if days is not None:
        timing = _time_from_withheld(iteration, choice, *inner, withheld[:, cells], dates, days)
        if smooth is None and timing.error >= choice.error:
            timing = None
    expected = choice.error if timing is None else timing.error
    noise = max(expected, 1e-9 * spread)
    iteration.restart()
    x, final, converged = iteration(torch.where(seen, y, choice.filled), seen, modes)
    temporal, singular, spatial = _signed(*iteration.modes_of(x, modes))

    # All amplitudes, or those of rarely observed dates, from the modes; then the patterns of
    # rarely observed cells from the amplitudes.
    usual = (temporal * singular[:, None]).T
    amplitudes, amplitude_spread, memory = _amplitudes(
        *inner, spatial.T, usual, noise, dates, timing
    )
    all_temporal = _over(amplitudes, singular).T
    all_spatial = _embed(spatial, cells)
    patterns, pattern_spread = regress(
        anomaly[dates].T,
        observed[dates].T,
        all_temporal[:, dates].T,
        (spatial * singular[:, None]).T,
        noise,
    )
    all_spatial[:, rare_cells] = _over(patterns, singular)[rare_cells].T
    free = (all_temporal.T * singular) @ all_spatial
    state = free.clamp(*bounds)
    both = _over(pattern_spread, singular[:, None] * singular)
    variance = (
        _quadratic(all_spatial.T, amplitude_spread)
        + _quadratic(all_temporal.T, pattern_spread).T
        + amplitude_spread.flatten(1) @ both.flatten(1).T
    )
    return DINEOFResult(
        state=mean + state,
        error=(variance + expected**2).sqrt(),
        modes=modes,
        mean=mean,
        singular_values=singular,
        spatial=all_spatial,
        temporal=all_temporal,
        explained_variance=singular.square() / x.square().sum(),
        tested=tuple(range(1, len(choice.errors) + 1)),
        cross_validation=torch.tensor(choice.errors, dtype=torch.float64),
        iterations=tuple(choice.iterations),
        final_iterations=final,
        converged=converged,
        expected_error=expected,
        withheld=count,
        rare_cells=rare_cells,
        rare_dates=rare_dates,
        bounded=int((state != free).sum()),
        smoothed=timing is not None,
        memory=memory,
    )


def _quadratic(vectors: Tensor, matrices: Tensor) -> Tensor:
    """Variances of ``vectors`` ``(k, P)`` in ``matrices`` ``(m, P, P)``: ``(m, k)``."""
    products = (vectors[:, :, None] * vectors[:, None, :]).flatten(1)
    return (matrices.flatten(1) @ products.T).clamp_min(0)


def _embed(modes: Tensor, kept: Tensor) -> Tensor:
    """Modes ``(P, k)`` among all cells or dates, ``(P, n)``."""
    full = modes.new_zeros(len(modes), len(kept))
    full[:, kept] = modes
    return full


def _over(a: Tensor, b: Tensor) -> Tensor:
    """Divide; zero by zero is zero, as of a mode without variance."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1.0), 0.0)


def _signed(
    temporal: Tensor, singular: Tensor, spatial: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Modes whose largest entry in space is positive."""
    largest = spatial.gather(1, spatial.abs().argmax(1, keepdim=True))
    sign = torch.where(largest < 0, -1.0, 1.0).to(spatial.dtype)
    return temporal * sign, singular, spatial * sign


@dataclass
class _Choice:
    """The best number of modes so far, and the field that it fills."""

    filled: Tensor
    modes: int = 0
    error: float = math.inf
    errors: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)


def _cross_validate(
    iteration: _Iteration, seen: Tensor, held: Tensor, allowed: range
) -> _Choice:
    """Iterate with more and more modes, each from the field of the last."""
    y, used = iteration.y, seen & ~held
    x = torch.where(used, y, 0.0)
    choice = _Choice(x)
    for modes in range(1, allowed.stop):
        x, steps, _ = iteration(x, used, modes)
        error = float((x - y)[held].square().mean().sqrt())
        choice.errors.append(error)
        choice.iterations.append(steps)
        if modes in allowed and error < choice.error:
            choice.filled, choice.modes, choice.error = x, modes, error
        last = choice.errors[-STOP_AFTER - 1 :]
        rising = len(last) > STOP_AFTER and all(a < b for a, b in pairwise(last))
        if rising and modes >= allowed.start:
            break
    return choice


@dataclass(frozen=True)
class _Timing:
    """Dates, inflation of the noise of amplitudes, and the error at the withheld points."""

    days: Tensor
    inflation: float
    error: float


def _amplitudes(
    y: Tensor,
    observed: Tensor,
    basis: Tensor,
    usual: Tensor,
    noise: float,
    dates: Tensor,
    timing: _Timing | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Amplitudes of all dates, their covariance, and their memory if they have one."""
    if timing is None:
        amplitudes, covariance = regress(y, observed, basis, usual, noise)
        amplitudes[dates] = usual
        return amplitudes, covariance, usual.new_zeros(0)
    noise = timing.inflation * noise
    return in_time(y, observed, basis, usual, noise, dates, timing.days)


def _time_from_withheld(
    iteration: _Iteration,
    choice: _Choice,
    y: Tensor,
    observed: Tensor,
    held: Tensor,
    dates: Tensor,
    days: Tensor,
) -> _Timing:
    """The best inflation of the noise, without the withheld points."""
    temporal, singular, spatial = iteration.modes_of(choice.filled, choice.modes)
    usual = (temporal * singular[:, None]).T
    used = observed & ~held
    floor = 1e-9 * float(y[observed].square().mean()) ** 0.5
    best = _Timing(days, INFLATIONS[0], math.inf)
    for inflation in INFLATIONS:
        noise = inflation * max(choice.error, floor)
        found, _, _ = in_time(
            torch.where(used, y, 0.0), used, spatial.T, usual, noise, dates, days
        )
        miss = (found @ spatial).clamp(*iteration.bounds) - y
        error = float(miss[dates][held[dates] & observed[dates]].square().mean().sqrt())
        if error < best.error:
            best = _Timing(days, inflation, error)
    return best


class _Iteration:
    """The fixed point, and what it remembers from one number of modes to the next."""

    def __init__(
        self,
        y: Tensor,
        smoother: Tensor | None,
        bounds: tuple[float, float],
        change: float,
        most: int,
    ) -> None:
        self.y = y
        self.smoother = smoother
        self.bounds = bounds
        self.change = change
        self.most = most
        self.basis: Tensor | None = None
        self.last: Tensor | None = None

    def restart(self) -> None:
        """Forget the last fill, which was of other missing values."""
        self.last = None

    def __call__(self, x: Tensor, used: Tensor, modes: int) -> tuple[Tensor, int, bool]:
        """Fill what is not used; return the field, the iterations, and if they converged."""
        missing = max(int((~used).sum()), 1)
        last = torch.zeros_like(x) if self.last is None else self.last
        steps, converged = 0, False
        while steps < self.most and not converged:
            temporal, singular, spatial = self.modes_of(x, modes)
            fill = ((temporal.T * singular) @ spatial).clamp(*self.bounds)
            fill = torch.where(used, 0.0, fill)
            moved = float((fill - last).square().sum() / missing) ** 0.5
            x, last = torch.where(used, self.y, fill), fill
            steps += 1
            converged = moved < self.change
        self.last = last
        return x, steps, converged

    def modes_of(self, x: Tensor, modes: int) -> tuple[Tensor, Tensor, Tensor]:
        """Temporal EOFs ``(P, nt)``, singular values and spatial EOFs ``(P, n)``."""
        smooth = x if self.smoother is None else self.smoother @ x
        wide = x.shape[0] <= x.shape[1]
        matrix = smooth if wide else smooth.T
        short, singular = self._leading(matrix, modes)
        temporal = short if wide else _over(smooth @ short, singular)
        spatial = x.T @ temporal
        return temporal.T, singular, _over(spatial, spatial.norm(dim=0)).T

    def _leading(self, matrix: Tensor, modes: int) -> tuple[Tensor, Tensor]:
        """Left singular vectors ``(r, P)`` and values of ``(r, c)``, r the smaller side.

        From the r x r products; where those are many, by subspace iteration from
        the modes of the last call.
        """
        if len(matrix) <= DIRECT or self.basis is None:
            squares, vectors = torch.linalg.eigh(matrix @ matrix.T)
            squares, vectors = squares.flip(0), vectors.flip(1)
            self.basis = vectors
            return vectors[:, :modes], squares[:modes].clamp_min(0).sqrt()
        block = min(modes + SPARE, len(matrix))
        vectors, before = self.basis[:, :block], None
        for _ in range(SUBSPACE_STEPS):
            basis = torch.linalg.qr(matrix @ (matrix.T @ vectors))[0]
            right = matrix.T @ basis
            squares, turn = torch.linalg.eigh(right.T @ right)
            squares, vectors = squares.flip(0), basis @ turn.flip(1)
            power = squares[:modes].sum()
            if before is not None and bool((power - before).abs() <= 1e-8 * power):
                break
            before = power
        self.basis = torch.cat([vectors, self.basis[:, block:]], 1)
        return vectors[:, :modes], squares[:modes].clamp_min(0).sqrt()


def _check_options(
    max_modes: int,
    min_modes: int,
    tolerance: float,
    max_iterations: int,
) -> None:
    if not 1 <= min_modes <= max_modes:
        raise OptionError(
            f"min_modes={min_modes}, max_modes={max_modes}: expected 1 or more, in this order."
        )
    if not tolerance > 0:
        raise OptionError(f"tolerance={tolerance}: expected a positive number.")
    if max_iterations < 1:
        raise OptionError(f"max_iterations={max_iterations}: expected 1 or more.")


def _check_shares(min_observed: float, margin: float) -> None:
    if not margin >= 0:
        raise OptionError(f"margin={margin}: expected zero or a positive number.")
    if not 0 <= min_observed < 1:
        raise OptionError(f"min_observed={min_observed}: expected a share from 0 to below 1.")


def _check_data(values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    if values.ndim != 2 or values.shape != observed.shape or observed.dtype != torch.bool:
        raise DataError(
            f"values {tuple(values.shape)} and observed {tuple(observed.shape)}, "
            f"{observed.dtype}: expected two of shape (dates, cells), the second of booleans."
        )
    values = torch.where(observed, values.detach().to(torch.float64), 0.0)
    if not bool(torch.isfinite(values).all()):
        raise DataError("An observed value is not finite. Mark it as missing in observed=.")
    if not bool(observed.any()):
        raise DataError("Nothing is observed.")
    return values, observed


def _check_withheld(withheld: Tensor | None, observed: Tensor, seed: int) -> Tensor:
    if withheld is None:
        return withheld_points(observed, seed=seed)
    if withheld.shape != observed.shape or withheld.dtype != torch.bool:
        raise DataError(
            f"withheld has the shape {tuple(withheld.shape)}, {withheld.dtype}: expected "
            f"booleans of the shape {tuple(observed.shape)}."
        )
    return withheld & observed
