"""What a sampling design is asked: grid, prior, constraints and a sample of the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from xinverse.fields.grid import Grid
from xinverse.sampling.positions import Positions

__all__ = ["Constraints", "FieldPrior", "Platforms", "SamplingProblem"]


@dataclass(frozen=True, eq=False)
class FieldPrior:
    r"""Gaussian prior of the field's anomaly, as optimal interpolation has it.

    .. math:: B_{ij} = \sigma_i \sigma_j \, C_s(|x_i - x_j|) \, C_t(|t_i - t_j|)

    Attributes
    ----------
    deviation : ndarray, shape (ny, nx)
        :math:`\sigma`, in the units of the field.
    noise : float
        Standard deviation of the noise of one observation.
    length_scale, time_scale : float
        In km and days.
    covariance, temporal : str
        Correlations in space and time, as of `xinverse.methods.oi`.
    """

    deviation: np.ndarray
    noise: float
    length_scale: float
    time_scale: float
    covariance: str = "gaussian"
    temporal: str = "gaussian"


@dataclass(frozen=True, eq=False)
class Platforms:
    """Moving platforms, each of which observes one cell at each time.

    Attributes
    ----------
    number : int
        How many.
    speed : float
        Largest speed, km a day.
    start : sequence of (int, int), optional
        The first cell (y, x) of each platform, at the first time. Default: free.
    """

    number: int
    speed: float
    start: Sequence[tuple[int, int]] | None = None


@dataclass(frozen=True, eq=False)
class Constraints:
    """What a design must keep to.

    Attributes
    ----------
    budget : float
        Number of places, or the sum of their costs.
    allowed : ndarray of bool
        Where observations may be taken, in the shape of the design.
    cost : ndarray, optional
        Cost of each place (or track). Default: the budget counts places.
    spacing : float
        Least distance between places of the same time, km; 0 for none.
    even : bool
        Whether each time step gets the same share of the budget.
    platforms : Platforms, optional
        Only these observe.
    tracks : mapping of str to ndarray of bool, optional
        Candidates ``(nt, ny, nx)`` of which whole ones are chosen.
    """

    budget: float
    allowed: np.ndarray
    cost: np.ndarray | None = None
    spacing: float = 0.0
    even: bool = False
    platforms: Platforms | None = None
    tracks: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SamplingProblem:
    """One question for a design.

    Attributes
    ----------
    grid : Grid
        Positions of the cells, and the times that the design serves.
    fixed : bool
        Whether a place is a station that reports at all times, shape ``(1, ny, nx)``.
        Otherwise a place is a cell at one time, shape ``(nt, ny, nx)``.
    sea : ndarray of bool, shape (ny, nx)
        Where the field is wanted.
    prior : FieldPrior
        Covariance of the field.
    constraints : Constraints
        What the design must keep to.
    windows : ndarray, shape (n, times, ny, nx)
        Sample of the field's anomaly: n windows of consecutive times.
    existing : ndarray, shape (nt, ny, nx), optional
        Noise of the observations that are made anyway; NaN where there is none.
    """

    grid: Grid
    fixed: bool
    sea: np.ndarray
    prior: FieldPrior
    constraints: Constraints
    windows: np.ndarray
    existing: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the design."""
        nt, ny, nx = self.grid.shape
        return (1 if self.fixed else nt), ny, nx

    @cached_property
    def positions(self) -> Positions:
        """Positions of the cells, for distances."""
        return Positions.of(self.grid)

    def cells(self, place: int) -> np.ndarray:
        """Cells (time, y, x) that a place observes, ``(q, 3)``.

        Parameters
        ----------
        place : int
            Number in the flattened design, or of a track.
        """
        if self.constraints.tracks:
            track = list(self.constraints.tracks.values())[place]
            return np.argwhere(track & self.sea)
        t, y, x = np.unravel_index(place, self.shape)
        times = np.arange(self.grid.time.size) if self.fixed else np.array([t])
        return np.stack([times, np.full_like(times, y), np.full_like(times, x)], axis=1)
