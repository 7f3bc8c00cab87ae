"""What the learned methods share: an optimally interpolated background, its level and scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xinverse.errors import OptionError
from xinverse.fields.grid import Grid
from xinverse.methods.base import Footprint, Problem, background_and_anomaly
from xinverse.methods.footprint import correlation_halo, largest_tile
from xinverse.methods.oi import OIOptions, posterior, statistics
from xinverse.methods.windows import NETWORK_HALO, Start, WindowMethod, WindowOptions, is_count

if TYPE_CHECKING:
    from xinverse.weights import WeightsRef

__all__ = ["LearnedMethod", "LearnedOptions", "check_passes", "normalisation"]


@dataclass(frozen=True)
class LearnedOptions(WindowOptions):
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
    precision : {"float32", "bfloat16"}
        Of the network's convolutions, as in training.
    passes : int, optional
        How many times the windows go over the days, each time from the map of the
        time before, as if it were given as ``background``: what a window knows is
        a few days long, and each pass carries it as far again. As many as the
        weights were trained for where not given.
    """

    length_scale: float | None = None
    time_scale: float | None = None
    noise: float | None = None
    variance: float | None = None
    background: float | None = None
    passes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_passes(self.passes)
        self.interpolation(100.0, 10.0)  # checks what the two methods share

    def interpolation(self, length_scale: float, time_scale: float) -> OIOptions:
        """Options of the background's optimal interpolation, with defaults for the scales."""
        return OIOptions(
            length_scale=length_scale if self.length_scale is None else self.length_scale,
            time_scale=time_scale if self.time_scale is None else self.time_scale,
            noise=self.noise,
            variance=self.variance,
            tolerance=1e-5,
        )


class LearnedMethod(WindowMethod[LearnedOptions]):
    """A network on windows of maps, from an optimally interpolated background.

    A subclass says which network a model card's ``config`` describes.
    """

    options_type = LearnedOptions
    field_options = ("noise", "background")
    bytes_per_cell = 300  # the background's, and the windows that are solved together

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
        passes = self.passes(options, weights)
        reach = passes * NETWORK_HALO
        halo = (max(t, passes * self._card(weights).window), max(y, reach), max(x, reach))
        return largest_tile(grid, halo, self.bytes_per_cell, budget)

    def start(
        self,
        problem: Problem,
        options: LearnedOptions,
        weights: WeightsRef | None,
        device: Any,
    ) -> Start:
        """The background, interpolated or given, and the level and scale of the tile."""
        import torch

        scales = self._interpolation(options, weights)
        given = problem.inputs.get("background")
        if given is None:
            level, anomaly = background_and_anomaly(problem, options.background)
            solved, y, _ = posterior(problem, scales, anomaly, device)
            with torch.no_grad():
                first = solved.mean(y[None])[0].double()
        else:
            background_and_anomaly(problem, None)  # refuses a background with holes
            level = float(given[:, problem.sea].mean(dtype="float64"))
            # In float64: a level that is large beside the anomaly would take digits from it.
            y, guess = (np.subtract(v, level, dtype=np.float64) for v in (problem.y, given))
            anomaly = np.where(problem.observed, y, 0.0)
            filled = np.where(problem.sea, guess, 0.0)
            first = torch.as_tensor(filled, dtype=torch.float64, device=device)
        found = statistics(problem, anomaly, scales)
        noise = np.zeros(problem.y.shape, np.float32)
        noise[problem.observed] = np.sqrt(found.noise_variance)
        # A level of each day moves no water, and the first guess knows it best: boxes that
        # networks are trained on have none, and they would take it for an error. In double
        # precision: it may be large beside what is left.
        return Start(level, found.variance**0.5, anomaly, first, noise).levelled(problem)

    def passes(self, options: LearnedOptions, weights: WeightsRef | None) -> int:
        """As the options say, else the model card."""
        if options.passes is not None:
            return options.passes
        return int(self._card(weights).config.get("passes", 1))

    def _interpolation(self, options: LearnedOptions, weights: WeightsRef | None) -> OIOptions:
        trained = self._card(weights).config["background"]
        return options.interpolation(trained["length_scale"], trained["time_scale"])


def check_passes(passes: object) -> None:
    """Refuse what is no number of passes.

    Parameters
    ----------
    passes : object
        What a user gave; None leaves it to the weights.

    Raises
    ------
    OptionError
        Neither None nor an integer above zero.
    """
    if passes is not None and not is_count(passes):
        raise OptionError(f"passes={passes!r}: expected a number of times, 1 or more.")


def normalisation(
    y: np.ndarray, grid: Grid, sea: np.ndarray, noise: float | None
) -> tuple[float, float, float]:
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
    noise : float
        Standard deviation of the observations' noise, in the units of the field.
    """
    whole = (slice(None), slice(None), slice(None))
    cells = (np.arange(y.shape[0]), np.arange(y.shape[1]), np.arange(y.shape[2]))
    days = Problem(y, grid, sea, {}, cells, whole, where="the days that were looked at")
    level, anomaly = background_and_anomaly(days, None)
    found = statistics(days, anomaly, OIOptions(noise=noise))
    return float(level), found.variance**0.5, float(found.noise_variance.mean()) ** 0.5
