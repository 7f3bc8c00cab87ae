"""What methods with a network on windows share: solve windows that slide, join them in time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

import numpy as np

from xinverse.device import Precision
from xinverse.errors import GridError, OptionError
from xinverse.fields.grid import Grid
from xinverse.methods.base import Method, Problem

if TYPE_CHECKING:
    import torch

    from xinverse.learning.network import WindowNetwork
    from xinverse.weights import ModelCard, WeightsRef

__all__ = [
    "Start",
    "WindowMethod",
    "WindowOptions",
    "build_network",
    "is_count",
    "window_starts",
]

# Cells of context beyond which the network's answer no longer changes noticeably.
NETWORK_HALO = 24

# Windows solved together; the result of one does not depend on the others.
WINDOWS_AT_ONCE = 4


@dataclass(frozen=True)
class WindowOptions:
    """Keywords of every method that slides a network over the days.

    Attributes
    ----------
    stride : int
        Days by which the time window slides.
    precision : {"float32", "bfloat16"}
        Of the network's convolutions. Half of it is faster on GPUs, and on processors
        that have instructions for it; it moves a map by some thousandths of its
        standard deviation.
    """

    stride: int = 5
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        """Refuse what is no number of days and no precision, since a user may give anything."""
        if not is_count(self.stride):
            raise OptionError(f"stride={self.stride!r}: expected a number of days above 0.")
        if self.precision not in get_args(Precision):
            raise OptionError(
                f"precision={self.precision!r}: expected one of {get_args(Precision)}."
            )


def is_count(value: object) -> bool:
    """Whether a value that a user gave is a whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        return False
    return int(value) >= 1


Options = TypeVar("Options", bound=WindowOptions)


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


class WindowMethod(Method[Options]):
    """A network on windows of maps that slide along the days of a tile.

    A subclass says which network a model card's ``config`` describes, from what
    it starts, and how a tile is normalised.
    """

    learned = True
    regular = ("time", "space")

    @staticmethod
    @abstractmethod
    def network_type() -> type[WindowNetwork]:
        """Class of the network."""

    @abstractmethod
    def start(
        self, problem: Problem, options: Options, weights: WeightsRef | None, device: Any
    ) -> Start:
        """First guess and normalisation of a tile."""

    def passes(self, options: Options, weights: WeightsRef | None) -> int:  # noqa: ARG002  for subclasses
        """How often the windows go over the days, each time from the last time's map."""
        return 1

    def check(self, grid: Grid, options: Options, weights: WeightsRef | None = None) -> None:
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

    def solve(
        self,
        problem: Problem,
        options: Options,
        weights: WeightsRef | None,
        device: Any,
    ) -> np.ndarray:
        """Mean of one tile: first guess once, then sliding windows, once or more."""
        import torch

        start = self.start(problem, options, weights, device)
        half = options.precision == "bfloat16"
        layout = _layout(start.first.device, half)
        network = _network(self._reference(weights), str(device), layout)
        keep, days = problem.keep, len(problem.y)
        for later in reversed(range(self.passes(options, weights))):
            reach = later * (network.window - 1)  # of the windows of the passes to come
            wanted = slice(max(keep[0].start - reach, 0), min(keep[0].stop + reach, days))
            starts = window_starts(problem, network.window, options.stride, wanted)
            with torch.autocast(start.first.device.type, torch.bfloat16, enabled=half):
                field = _slide(network, problem, start, starts, wanted, layout)
            if later:
                first = start.first.clone()
                first[wanted] = field.double() * start.scale
                start = replace(start, first=first).levelled(problem)
        level = np.broadcast_to(start.level, days)[keep[0], None, None]
        mean = field[:, keep[1], keep[2]].double().cpu().numpy() * start.scale + level
        return mean[None]

    def _reference(self, weights: WeightsRef | None) -> WeightsRef:
        if weights is None:  # the verbs describe the default weights before they come here
            from xinverse.weights import describe

            return describe(None, self.name)
        return weights

    def _card(self, weights: WeightsRef | None) -> ModelCard:
        return self._reference(weights).card


def window_starts(problem: Problem, window: int, stride: int, wanted: slice) -> list[int]:
    """First days of the windows that reach into some days of a tile.

    Windows start at multiples of the stride counted from the first day of the
    whole field, so that two tiles use the same ones; at its ends they are
    shifted to lie inside.
    """
    days = problem.cells[0]
    aligned = range(-int(days[0]) % stride - window - stride, len(days), stride)
    reaching = [s for s in aligned if s + window > wanted.start and s < wanted.stop]
    return sorted({min(max(s, 0), len(days) - window) for s in reaching})


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

    def windows(part: torch.Tensor, some: Sequence[int]) -> torch.Tensor:
        cut = torch.stack([part[s : s + network.window] for s in some])
        return cut.contiguous(memory_format=layout)

    for group in range(0, len(starts), WINDOWS_AT_ONCE):
        some = starts[group : group + WINDOWS_AT_ONCE]
        estimates = network.reconstruct(
            windows(first, some),
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


def build_network(card: ModelCard, tensors: Mapping[str, torch.Tensor]) -> WindowNetwork:
    """The network that a card describes, with its weights, to be used and not trained.

    Parameters
    ----------
    card : ModelCard
        Its ``config`` holds the sizes.
    tensors : mapping
        The weights, by the network's own names.
    """
    from xinverse.methods.registry import find

    method = cast(WindowMethod[Any], find(card.method))
    network = method.network_type().from_config(card.config)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)
