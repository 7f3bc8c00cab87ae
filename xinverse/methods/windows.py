"""Networks on time windows: solve windows that slide along the series, and join them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_args

import numpy as np

from xinverse.checks import check_choice, check_count
from xinverse.device import Precision
from xinverse.errors import OptionError
from xinverse.methods.base import Method
from xinverse.methods.network_file import build_network
from xinverse.methods.problem import Estimate, Layout, Problem, Wanted
from xinverse.schema import Schema

if TYPE_CHECKING:
    import torch

    from xinverse.learning.networks import WindowNetwork
    from xinverse.weights import ModelCard, WeightsRef

__all__ = ["Start", "WindowMethod", "window_starts"]

# Cells of context beyond which the network's answer no longer changes noticeably.
NETWORK_HALO = 24

# Windows solved together; the result of one does not depend on the others.
WINDOWS_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class Start:
    """What the network is given of a tile, and how it is normalised.

    Attributes
    ----------
    level : float or ndarray, shape (nt,)
        Subtracted, of all days or of each.
    scale : float
        Divided by.
    anomaly : ndarray, shape (nt, ny, nx)
        Observations minus the level, zero where there is none.
    first : Tensor, shape (nt, ny, nx)
        First guess minus the level.
    noise : ndarray, shape (nt, ny, nx), optional
        Standard deviation of the observations' noise, where it is known; zero where
        nothing was observed.
    """

    level: float | np.ndarray
    scale: float
    anomaly: np.ndarray
    first: torch.Tensor
    noise: np.ndarray | None = None

    def levelled(self, problem: Problem) -> Start:
        """The same, with the mean of each day of the first guess counted to the level.

        Parameters
        ----------
        problem : Problem
            The tile.
        """
        import torch

        sea = torch.as_tensor(problem.sea, device=self.first.device)
        daily = self.first[:, sea].mean(1)
        days = daily.cpu().numpy()
        anomaly = np.where(problem.observed, self.anomaly - days[:, None, None], 0.0)
        first = self.first - daily[:, None, None]
        return replace(self, level=self.level + days, anomaly=anomaly, first=first)


@dataclass(frozen=True, kw_only=True)
class WindowMethod(Method):
    """A network on windows of maps that slide along the times of a tile.

    A subclass names the network, and says from what it starts and how a tile is
    normalised.

    Attributes
    ----------
    weights : WeightsRef
        Described, not read.
    stride : int
        Time steps by which the window slides.
    precision : {"float32", "bfloat16"}
        Precision of the network's convolutions. The second is faster on GPUs, and on
        processors that have instructions for it; it changes a map by some thousandths
        of its standard deviation.
    """

    learned: ClassVar[bool] = True
    regular: ClassVar[tuple[str, ...]] = ("time", "space")
    # "module:class", so that naming a method does not import PyTorch; or the class.
    network: ClassVar[str | type[Any]]
    # What model cards hold for the method, beside the arguments of the network.
    settings: ClassVar[Schema] = Schema()

    weights: WeightsRef
    stride: int = 5
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        """Check every option."""
        check_count("stride", self.stride, what="a number of time steps")
        check_choice("precision", self.precision, get_args(Precision))

    @abstractmethod
    def start(self, problem: Problem, device: Any) -> Start:
        """First guess and normalisation of a tile."""

    @classmethod
    def check_settings(cls, config: Mapping[str, Any]) -> None:
        """Require settings that belong together.

        Parameters
        ----------
        config : mapping
            The settings of a model card.

        Raises
        ------
        ValueError
            They do not.
        """

    @property
    def card(self) -> ModelCard:
        """The model card of the weights."""
        return self.weights.card

    @property
    def rounds(self) -> int:
        """Passes over the series, each from the map of the one before."""
        return 1

    @property
    def overhang(self) -> int:
        """Days by which windows reach beyond the ends of a series, as in training."""
        return int(self.card.config.get("overhang", 0))

    def check(self, layout: Layout) -> None:
        """Require a regular grid, and a stride within the window."""
        super().check(layout)
        window = self.card.window
        if self.stride > window:
            raise OptionError(f"stride={self.stride}: expected at most the window, {window}.")

    def solve(self, problem: Problem, wanted: Wanted, device: Any) -> Estimate:  # noqa: ARG002  the mean is all
        """Mean of one tile: first guess once, then sliding windows, in one pass or more."""
        import torch

        start = self.start(problem, device)
        half = self.precision == "bfloat16"
        layout = _layout(start.first.device, half)
        network = _network(self.weights, str(device), layout)
        keep, times = problem.place.keep, problem.grid.shape[0]
        for later in reversed(range(self.rounds)):
            reach = later * (network.window - 1)  # of the windows of the passes to come
            part = slice(max(keep[0].start - reach, 0), min(keep[0].stop + reach, times))
            starts = window_starts(problem, network.window, self.stride, part, self.overhang)
            with torch.autocast(start.first.device.type, torch.bfloat16, enabled=half):
                field = _slide(network, problem, start, starts, part, layout)
            if later:
                first = start.first.clone()
                first[part] = field.double() * start.scale
                start = replace(start, first=first).levelled(problem)
        level = np.broadcast_to(start.level, times)[keep[0], None, None]
        mean = field[:, keep[1], keep[2]].double().cpu().numpy() * start.scale + level
        return Estimate({problem.variable: mean})


def window_starts(
    problem: Problem, window: int, stride: int, wanted: slice, overhang: int = 0
) -> list[int]:
    """First days of the windows that reach into some days of a tile.

    Windows start at multiples of the stride counted from the first day of the
    whole field, so that two tiles use the same ones; at its ends they are
    shifted to reach no further beyond it than the overhang. In a series shorter
    than a window they reach beyond it at both ends.

    Parameters
    ----------
    problem : Problem
        The tile.
    window, stride : int
        Time steps of a window, and between two.
    wanted : slice
        Days of the tile.
    overhang : int
        Time steps by which a window may reach beyond the days.
    """
    days = problem.place.cells[0]
    spare = len(days) - window
    first, last = min(spare, 0) - overhang, max(spare, 0) + overhang
    early = window + stride * (2 + window // stride)  # before any window that reaches a day
    aligned = range(-int(days[0]) % stride - early, len(days) + stride, stride)
    starts = sorted({min(max(s, first), last) for s in aligned})
    return [s for s in starts if s + window > wanted.start and s < wanted.stop]


def window_days(start: int, window: int, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Days of a window, the nearest one where it reaches beyond them; and which are its own.

    Parameters
    ----------
    start, window : int
        First day of the window, and its number of days.
    days : int
        Number of days of the series.
    """
    wanted = np.arange(start, start + window)
    nearest = np.clip(wanted, 0, days - 1)
    return nearest, nearest == wanted


def _slide(
    network: WindowNetwork,
    problem: Problem,
    start: Start,
    starts: Sequence[int],
    wanted: slice,
    layout: torch.memory_format,
) -> torch.Tensor:
    """Solve every window and join them in time by a taper, over the wanted days."""
    import torch

    first = start.first.float() / start.scale
    device = first.device
    values = torch.as_tensor((start.anomaly / start.scale).astype("float32"), device=device)
    deviation = None
    if start.noise is not None:
        deviation = torch.as_tensor(start.noise / start.scale, dtype=first.dtype).to(device)
    observed = torch.as_tensor(problem.observed, device=device)
    sea = torch.as_tensor(problem.sea.copy(), device=device)
    begin, end = wanted.start, wanted.stop
    total = first.new_zeros((end - begin, *first.shape[1:]))
    share = first.new_zeros(end - begin)
    taper = network.taper(first)

    def windows(
        part: torch.Tensor, some: Sequence[int], *, repeat: bool = False
    ) -> torch.Tensor:
        """Windows of a part, which beyond its ends is zero or repeats the nearest day."""
        cuts = []
        for s in some:
            nearest, own = window_days(s, network.window, len(part))
            cut = part[torch.as_tensor(nearest, device=device)]
            if not repeat and not own.all():
                cut[torch.as_tensor(~own, device=device)] = 0
            cuts.append(cut)
        return torch.stack(cuts).contiguous(memory_format=layout)

    for group in range(0, len(starts), WINDOWS_AT_ONCE):
        some = starts[group : group + WINDOWS_AT_ONCE]
        estimates = network.reconstruct(
            windows(first, some, repeat=True),
            windows(values, some),
            windows(observed, some),
            noise=None if deviation is None else windows(deviation, some),
            sea=sea,
        )
        for s, estimate in zip(some, estimates, strict=True):
            low, high = max(s, begin), min(s + network.window, end)
            of, into = slice(low - s, high - s), slice(low - begin, high - begin)
            total[into] += taper[of, None, None] * estimate[of]
            share[into] += taper[of]
    return total / share[:, None, None]


def _layout(device: torch.device, half: bool) -> torch.memory_format:
    """Channels last where convolutions want them so: else they reorder what they are given."""
    import torch

    last = device.type == "cpu" or half
    return torch.channels_last if last else torch.contiguous_format


@lru_cache(maxsize=4)
def _network(reference: WeightsRef, device: str, layout: torch.memory_format) -> WindowNetwork:
    """The network of some weights on a device, built once per process."""
    network: Any = build_network(reference.card, reference.load()).to(device)
    return cast("WindowNetwork", network.to(memory_format=layout))  # torch's types know none
