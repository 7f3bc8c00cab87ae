"""Patches to train on: boxes drawn at random and read one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xinverse.errors import DataError, GridError

__all__ = ["Box", "PatchSampler", "Reader", "Region", "draw_patch", "stacked"]

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
    level : float or ndarray, shape (nt,)
        Level of the field, or of each day.
    scale : float
        Values are normalised as ``(value - level) / scale``.
    noise : float or callable
        Standard deviation of the observations' noise; or reads it.
    split : int
        First time step of the validation.
    """

    shape: tuple[int, int, int]
    y: Reader
    truth: Reader
    background: Reader
    withheld: Reader | None
    sea: np.ndarray
    level: float | np.ndarray
    scale: float
    noise: float | Reader
    split: int

    def cut(self, box: Box) -> dict[str, np.ndarray]:
        """Read one box: the parts of a `Batch`, normalised."""
        sea = np.broadcast_to(self.sea[box[1:]], tuple(s.stop - s.start for s in box))
        y, truth, background = (
            self._normalised(read(box), box[0])
            for read in (self.y, self.truth, self.background)
        )
        observed = np.isfinite(y) & sea
        counted = np.isfinite(truth) & sea
        if self.withheld is not None:
            hidden = self.withheld(box).astype(bool)
            observed, counted = observed & ~hidden, counted & hidden
        noise = self.noise(box) if callable(self.noise) else self.noise
        return {
            "background": np.where(sea, background, 0.0).astype(np.float32),
            "y": np.where(observed, y, 0.0).astype(np.float32),
            "observed": observed,
            "truth": np.where(counted, truth, 0.0).astype(np.float32),
            "counted": counted,
            "sea": sea[:1],
            "noise": np.where(observed, noise / self.scale, 0.0).astype(np.float32),
        }

    def cut_padded(
        self, start: int, window: int, days: slice, box: tuple[slice, slice]
    ) -> dict[str, np.ndarray]:
        """Read a window that may reach beyond some days, where nothing is observed.

        There the background is that of the nearest day, as in `WindowMethod.solve`.

        Parameters
        ----------
        start : int
            First day of the window.
        window : int
            Its number of days.
        days : slice
            Days that may be read.
        box : tuple of slice
            Cells along (y, x).
        """
        low, high = max(start, days.start), min(start + window, days.stop)
        cut = self.cut((slice(low, high), *box))
        if high - low == window:
            return cut
        sides = ((low - start, start + window - high), (0, 0), (0, 0))
        padded = {n: np.pad(v, sides) for n, v in cut.items() if n not in {"sea", "background"}}
        background = np.pad(cut["background"], sides, mode="edge")
        return {**padded, "background": background, "sea": cut["sea"]}

    def levelled(self) -> Region:
        """The same, with the mean of each day of the background as its level.

        Learned methods normalise a tile in this way. It reads the whole background.
        """
        nt, ny, nx = self.shape
        whole = (slice(nt), slice(ny), slice(nx))
        return replace(self, level=self.background(whole)[:, self.sea].mean(1, dtype="float64"))

    def _normalised(self, values: np.ndarray, days: slice) -> np.ndarray:
        level = self.level
        if isinstance(level, np.ndarray):
            level = level[days, None, None]
        return (values.astype(np.float64) - level) / self.scale


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
    overhang : int
        Time steps by which a box may reach beyond the ends of a region.

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
        overhang: int = 0,
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
        self.overhang = overhang
        self.patch = tuple(
            min(side, *(r.shape[axis] for r in regions))
            for axis, side in enumerate(patch, start=1)
        )

    def at(self, step: int) -> dict[str, np.ndarray]:
        """Draw the boxes of a step, stacked: a function of its number alone."""
        rng = np.random.default_rng((self.seed, 0, step))
        return stacked([self._draw(rng, validation=False) for _ in range(self.batch)])

    def validation(self, count: int) -> list[dict[str, np.ndarray]]:
        """Draw batches from behind the splits, always the same ones."""
        if all(region.split >= region.shape[0] for region in self.regions):
            return []
        rng = np.random.default_rng((self.seed, 1))
        return [
            stacked([self._draw(rng, validation=True) for _ in range(self.batch)])
            for _ in range(count)
        ]

    def _draw(self, rng: np.random.Generator, *, validation: bool) -> dict[str, np.ndarray]:
        regions = [r for r in self.regions if not validation or r.split < r.shape[0]]
        for _ in range(ATTEMPTS):
            region = regions[rng.integers(len(regions))]
            days = slice(region.split, region.shape[0]) if validation else slice(region.split)
            found = draw_patch(region, days, self.window, self.patch, self.overhang, rng)
            if found is not None:
                return found
        raise DataError(
            f"{ATTEMPTS} random patches of {(self.window, *self.patch)} cells (time, y, x) had "
            "no values to compare an estimate with, or almost no sea. Use a larger patch=, "
            "more data, or pass a mask= of the sea."
        )


def draw_patch(
    region: Region,
    days: slice,
    window: int,
    patch: Sequence[int],
    overhang: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray] | None:
    """Draw a box of a region; None if it has no values to compare with, or almost no sea.

    Parameters
    ----------
    region : Region
        The region.
    days : slice
        Its days to draw from.
    window : int
        Time steps of the box. If there are fewer days, it reaches beyond them.
    patch : sequence of int
        Cells along (y, x).
    overhang : int
        Time steps by which the box may reach further.
    rng : Generator
        Draws.
    """
    low = days.start or 0
    spare = days.stop - low - window
    first = max(min(spare, 0) - overhang, 1 - window)
    last = min(max(spare, 0) + overhang, spare + window - 1)
    start = low + int(rng.integers(first, last + 1))
    corner = [
        int(rng.integers(n - m + 1)) for n, m in zip(region.shape[1:], patch, strict=True)
    ]
    y, x = (slice(s, s + side) for s, side in zip(corner, patch, strict=True))
    if region.sea[y, x].mean() < WET:
        return None
    cut = region.cut_padded(start, window, slice(low, days.stop), (y, x))
    return cut if cut["counted"].any() else None


def stacked(cuts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Stack boxes to the parts of a `Batch`.

    Parameters
    ----------
    cuts : sequence of dict
        As of `Region.cut`.
    """
    return {name: np.stack([cut[name] for cut in cuts]) for name in cuts[0]}
