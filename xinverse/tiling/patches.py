"""Patches to train on: boxes drawn at random and read one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xinverse.errors import DataError, GridError

__all__ = ["Box", "PatchSampler", "Reader", "Region"]

Box = tuple[slice, slice, slice]
Reader = Callable[[Box], np.ndarray]

WET = 0.2  # share of a patch that must be sea
ATTEMPTS = 50  # draws until a patch has something to learn from


@dataclass(frozen=True, eq=False)
class Region:
    """One field on (time, y, x), read box by box.

    Attributes
    ----------
    shape : tuple of int
        Cells along (time, y, x).
    y, truth, background : callable
        Read the values of a box: observations (NaN in gaps), truth (NaN if unknown), first
        guess.
    withheld : callable or None
        Reads which observations of a box are withheld from the network, to be compared with.
    sea : ndarray of bool, shape (ny, nx)
        Where the field is wanted.
    level, scale : float
        Values are normalised as ``(value - level) / scale``.
    noise : float
        Standard deviation of the observations' noise.
    split : int
        First time step of the validation.
    """

    shape: tuple[int, int, int]
    y: Reader
    truth: Reader
    background: Reader
    withheld: Reader | None
    sea: np.ndarray
    level: float
    scale: float
    noise: float
    split: int

    def cut(self, box: Box) -> dict[str, np.ndarray]:
        """Read one box: the parts of a `Batch`, normalised."""
        sea = np.broadcast_to(self.sea[box[1:]], tuple(s.stop - s.start for s in box))
        y, truth, background = (
            self._normalised(read(box)) for read in (self.y, self.truth, self.background)
        )
        observed = np.isfinite(y) & sea
        counted = np.isfinite(truth) & sea
        if self.withheld is not None:
            hidden = self.withheld(box).astype(bool)
            observed, counted = observed & ~hidden, counted & hidden
        return {
            "background": np.where(sea, background, 0.0).astype(np.float32),
            "y": np.where(observed, y, 0.0).astype(np.float32),
            "observed": observed,
            "truth": np.where(counted, truth, 0.0).astype(np.float32),
            "counted": counted,
            "sea": sea[:1],
            "noise": np.full((1, 1, 1), self.noise / self.scale, np.float32),
        }

    def _normalised(self, values: np.ndarray) -> np.ndarray:
        return (values.astype(np.float64) - self.level) / self.scale


class PatchSampler:
    """Boxes of several regions; each step has its own random generator.

    Parameters
    ----------
    regions : sequence of Region
        All with the same probability.
    window : int
        Time steps of a box.
    patch : tuple of int
        Cells along (y, x), limited to those of the smallest region.
    batch : int
        Boxes of a step.
    seed : int
        Seed of the draws.

    Raises
    ------
    GridError
        A region is shorter than a window before or after its split.
    """

    def __init__(
        self,
        regions: Sequence[Region],
        window: int,
        patch: tuple[int, int],
        batch: int,
        seed: int,
    ) -> None:
        for number, region in enumerate(regions):
            before, after = region.split, region.shape[0] - region.split
            if before < window or 0 < after < window:
                raise GridError(
                    f"Field {number} has {before} time steps to train with and {after} to "
                    f"validate with, and the window has {window}. Use a longer series, a "
                    "shorter window, or another validation=."
                )
        self.regions, self.window, self.batch, self.seed = list(regions), window, batch, seed
        self.patch = tuple(
            min(side, *(r.shape[axis] for r in regions))
            for axis, side in enumerate(patch, start=1)
        )

    def at(self, step: int) -> dict[str, np.ndarray]:
        """Draw the boxes of a step, stacked: a function of its number alone."""
        rng = np.random.default_rng((self.seed, 0, step))
        return self._stack([self._draw(rng, validation=False) for _ in range(self.batch)])

    def validation(self, count: int) -> list[dict[str, np.ndarray]]:
        """Draw batches from behind the splits, always the same ones."""
        if all(region.split >= region.shape[0] for region in self.regions):
            return []
        rng = np.random.default_rng((self.seed, 1))
        return [
            self._stack([self._draw(rng, validation=True) for _ in range(self.batch)])
            for _ in range(count)
        ]

    def _draw(self, rng: np.random.Generator, *, validation: bool) -> dict[str, np.ndarray]:
        regions = [r for r in self.regions if not validation or r.split < r.shape[0]]
        for _ in range(ATTEMPTS):
            region = regions[rng.integers(len(regions))]
            low, high = (region.split, region.shape[0]) if validation else (0, region.split)
            sides = (self.window, *self.patch)
            room = (high - low, *region.shape[1:])
            starts = [int(rng.integers(n - m + 1)) for n, m in zip(room, sides, strict=True)]
            starts[0] += low
            t, y, x = (slice(s, s + m) for s, m in zip(starts, sides, strict=True))
            if region.sea[y, x].mean() < WET:
                continue
            cut = region.cut((t, y, x))
            if cut["counted"].any():
                return cut
        raise DataError(
            f"{ATTEMPTS} random patches of {sides} cells (time, y, x) had no values to compare "
            "an estimate with, or almost no sea. Use a larger patch=, more data, or pass a "
            "mask= of the sea."
        )

    @staticmethod
    def _stack(cuts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return {name: np.stack([cut[name] for cut in cuts]) for name in cuts[0]}
