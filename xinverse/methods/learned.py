"""What the learned methods share: an optimally interpolated background, sliding windows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xinverse.errors import GridError, OptionError
from xinverse.fields.grid import Grid
from xinverse.methods.base import METHODS, Footprint, Method, Problem, background_and_anomaly
from xinverse.methods.footprint import correlation_halo, largest_tile
from xinverse.methods.oi import OIOptions, posterior, statistics

if TYPE_CHECKING:
    import torch

    from xinverse.learning.network import WindowNetwork
    from xinverse.weights import ModelCard, WeightsRef

__all__ = ["LearnedMethod", "LearnedOptions", "normalisation", "window_starts"]

# Cells of context beyond which the network's answer no longer changes noticeably.
NETWORK_HALO = 24

# Windows solved together; the result of one does not depend on the others.
WINDOWS_AT_ONCE = 4


@dataclass(frozen=True)
class LearnedOptions:
    """Keywords of the learned methods.

    Attributes
    ----------
    length_scale, time_scale : float, optional
        Scales of the optimal interpolation that makes the background, in km
        and days; those of the training where not given.
    noise : float, optional
        Standard deviation of the observation noise, in the variable's units
        (or a variable of it), as for ``method="oi"``.
    variance : float, optional
        Variance of the field, as for ``method="oi"``. Its root is the scale by
        which the tile is normalised.
    background : float, optional
        Level of the field, as for ``method="oi"``; a variable is taken as the
        background :math:`x^{(0)}` itself, in place of the optimal interpolation.
    stride : int
        Days by which the time window slides.
    """

    length_scale: float | None = None
    time_scale: float | None = None
    noise: float | None = None
    variance: float | None = None
    background: float | None = None
    stride: int = 5

    def __post_init__(self) -> None:
        self.interpolation(100.0, 10.0)  # checks what the two methods share
        stride: object = self.stride  # whatever the annotation says, a user may give anything
        whole = isinstance(stride, int | np.integer) and not isinstance(stride, bool)
        if not whole or self.stride < 1:
            raise OptionError(f"stride={stride!r}: expected a number of days above 0.")

    def interpolation(self, length_scale: float, time_scale: float) -> OIOptions:
        """Options of the background's optimal interpolation, with defaults for the scales."""
        return OIOptions(
            length_scale=length_scale if self.length_scale is None else self.length_scale,
            time_scale=time_scale if self.time_scale is None else self.time_scale,
            noise=self.noise,
            variance=self.variance,
            tolerance=1e-5,
        )


class LearnedMethod(Method[LearnedOptions]):
    """A network on windows of maps, from an optimally interpolated background.

    A subclass says which network a model card's ``config`` describes.
    """

    options_type = LearnedOptions
    field_options = ("noise", "background")
    learned = True
    bytes_per_cell = 300  # the background's, and the windows that are solved together
    regular = ("time", "space")

    @staticmethod
    @abstractmethod
    def network_type() -> type[WindowNetwork]:
        """Class of the network."""

    def check(
        self, grid: Grid, options: LearnedOptions, weights: WeightsRef | None = None
    ) -> None:
        """A regular grid, at least one window long."""
        super().check(grid, options, weights)
        window = self._card(weights).window
        if grid.time.size < window:
            raise GridError(
                f"The field has {grid.time.size} time steps, and the window of the weights is "
                f"{window}. Give a longer series, or use method='oi'."
            )
        if options.stride > window:
            raise OptionError(
                f"stride={options.stride}: expected at most the window, {window} steps."
            )

    def footprint(
        self,
        grid: Grid,
        options: LearnedOptions,
        weights: WeightsRef | None,
        budget: float,
    ) -> Footprint:
        """Halo of the background's scales, the network's reach and a window."""
        scales = self._interpolation(options, weights)
        t, y, x = correlation_halo(grid, scales.length_scale, scales.time_scale)
        days = max(t, self._card(weights).window)
        halo = (days, max(y, NETWORK_HALO), max(x, NETWORK_HALO))
        return largest_tile(grid, halo, self.bytes_per_cell, budget)

    def solve(
        self,
        problem: Problem,
        options: LearnedOptions,
        weights: WeightsRef | None,
        device: Any,
    ) -> np.ndarray:
        """Mean of one tile: background once, then sliding windows."""
        import torch

        reference = self._reference(weights)
        scales = self._interpolation(options, weights)
        given = problem.inputs.get("background")
        if given is None:
            level, anomaly = background_and_anomaly(problem, options.background)
            solved, y, _ = posterior(problem, scales, anomaly, device)
            with torch.no_grad():
                first = solved.mean(y[None])[0]
            scale = solved.prior.variance**0.5
        else:
            background_and_anomaly(problem, None)  # refuses a background with holes
            level = float(given[:, problem.sea].mean(dtype="float64"))
            anomaly = np.where(problem.observed, problem.y - level, 0.0)
            scale = statistics(problem, anomaly, scales).variance ** 0.5
            filled = np.where(problem.sea, given - level, 0.0)
            first = torch.as_tensor(filled, dtype=torch.float32, device=device)
        network = _network(reference, str(device))
        keep = problem.keep
        starts = window_starts(problem, network.window, options.stride)
        field = _slide(network, problem, first.float() / scale, anomaly / scale, starts)
        mean = field[:, keep[1], keep[2]].double().cpu().numpy() * scale + level
        return mean[None]

    def _reference(self, weights: WeightsRef | None) -> WeightsRef:
        if weights is None:  # the verbs describe the default weights before they come here
            from xinverse.weights import describe

            return describe(None, self.name)
        return weights

    def _card(self, weights: WeightsRef | None) -> ModelCard:
        return self._reference(weights).card

    def _interpolation(self, options: LearnedOptions, weights: WeightsRef | None) -> OIOptions:
        trained = self._card(weights).config["background"]
        return options.interpolation(trained["length_scale"], trained["time_scale"])


def normalisation(
    y: np.ndarray, grid: Grid, sea: np.ndarray, noise: float | None
) -> tuple[float, float]:
    """Level and scale by which some days of observations are normalised, as a tile's are.

    Parameters
    ----------
    y : ndarray, shape (nt, ny, nx)
        Observations, NaN where there is none.
    grid : Grid
        Theirs.
    sea : ndarray of bool, shape (ny, nx)
        Where the field is wanted.
    noise : float, optional
        As the option of the learned methods.

    Returns
    -------
    level, scale : float
    """
    whole = (slice(None), slice(None), slice(None))
    cells = (np.arange(y.shape[0]), np.arange(y.shape[1]), np.arange(y.shape[2]))
    days = Problem(y, grid, sea, {}, cells, whole, where="the days that were looked at")
    level, anomaly = background_and_anomaly(days, None)
    return float(level), statistics(days, anomaly, OIOptions(noise=noise)).variance ** 0.5


def window_starts(problem: Problem, window: int, stride: int) -> list[int]:
    """First days of the windows that reach into the part that is kept.

    Windows start at multiples of the stride counted from the first day of the
    whole field, so that two tiles use the same ones; at its ends they are
    shifted to lie inside.
    """
    days = problem.cells[0]
    first, last = problem.keep[0].start, problem.keep[0].stop
    aligned = range(-int(days[0]) % stride - window - stride, len(days), stride)
    reaching = [s for s in aligned if s + window > first and s < last]
    return sorted({min(max(s, 0), len(days) - window) for s in reaching})


def _slide(
    network: WindowNetwork,
    problem: Problem,
    first: torch.Tensor,
    y: np.ndarray,
    starts: Sequence[int],
) -> torch.Tensor:
    """Solve every window and join them in time by a taper, over the kept days."""
    import torch

    from xinverse.learning.losses import time_taper

    device = first.device
    values = torch.as_tensor(y.astype("float32"), device=device)
    observed = torch.as_tensor(problem.observed, device=device)
    sea = torch.as_tensor(problem.sea.copy(), device=device)
    begin, end = problem.keep[0].start, problem.keep[0].stop
    total = first.new_zeros((end - begin, *first.shape[1:]))
    share = first.new_zeros(end - begin)
    taper = time_taper(network.window, first)
    for group in range(0, len(starts), WINDOWS_AT_ONCE):
        some = starts[group : group + WINDOWS_AT_ONCE]
        cut = [slice(s, s + network.window) for s in some]
        estimates = network.reconstruct(
            torch.stack([first[c] for c in cut]),
            torch.stack([values[c] for c in cut]),
            torch.stack([observed[c] for c in cut]),
            sea=sea,
        )
        for s, estimate in zip(some, estimates, strict=True):
            low, high = max(s, begin), min(s + network.window, end)
            of, into = slice(low - s, high - s), slice(low - begin, high - begin)
            total[into] += taper[of, None, None] * estimate[of]
            share[into] += taper[of]
    return total / share[:, None, None]


@lru_cache(maxsize=4)
def _network(reference: WeightsRef, device: str) -> WindowNetwork:
    """The network of some weights on a device, built once per process."""
    method = cast(type[LearnedMethod], METHODS[reference.card.method])
    network = method.network_type().from_config(reference.card.config)
    network.load_state_dict(reference.load())
    return network.to(device).eval().requires_grad_(False)
