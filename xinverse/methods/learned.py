"""Learned methods on maps: a network on windows, with an interpolated background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np

from xinverse.checks import check_count
from xinverse.fields.grid import Grid
from xinverse.methods.auto_scales import AUTO, Request, number, spread_of_tile
from xinverse.methods.base import METHODS, Footprint
from xinverse.methods.footprint import largest_tile
from xinverse.methods.oi import OptimalInterpolation, posterior
from xinverse.methods.problem import Layout, Place, Problem, Source
from xinverse.methods.tile_statistics import Centred, anomalies, background_of, spread_of
from xinverse.methods.windows import NETWORK_HALO, Start, WindowMethod
from xinverse.schema import Later, Number, Schema, Whole

__all__ = ["LearnedMethod", "normalisation", "register_network"]

Network = TypeVar("Network", bound=type)


@dataclass(frozen=True, kw_only=True)
class LearnedMethod(WindowMethod):
    """A network on windows of maps, with a background from optimal interpolation.

    Attributes
    ----------
    length_scale, time_scale : float or "auto"
        Scales of the optimal interpolation of the background, in km and days. Default:
        estimated from the data, as for ``method="oi"``, by networks that use the noise;
        those of the training by others, and with too few observations.
    noise : float or "auto"
        Standard deviation of the observation noise, in the variable's units (or a
        variable). Default: estimated likewise, or a tenth of the standard deviation of
        the tile's observations.
    variance : float or "auto"
        Variance of the field, as for ``method="oi"``. Its square root is the scale of
        the normalisation.
    background : float, optional
        Level of the field, as for ``method="oi"``; a variable is used as the background
        :math:`x^{(0)}` itself, instead of the optimal interpolation.
    stride : int
        Time steps by which the window moves.
    precision : {"float32", "bfloat16"}
        Precision of the network's convolutions, as in training.
    passes : int, optional
        Number of passes over the series; each starts from the previous map, as if that
        were ``background``. A window covers a few days; each pass spreads its information
        by another window. Default: the number that the weights were trained for.
    """

    companions: ClassVar[tuple[str, ...]] = ("noise", "background")
    bytes_per_cell: ClassVar[float] = 300  # the background, and windows solved together
    settings: ClassVar[Schema] = Schema(
        background=Schema(length_scale=Number(1e-3, 4e4), time_scale=Number(1e-3, 4e4)),
        passes=Later(Whole(1, 100), 1),
        overhang=Later(Whole(0, 1000), 0),
    )

    length_scale: float | str | None = AUTO
    time_scale: float | str | None = AUTO
    noise: float | str | None = AUTO
    variance: float | str | None = AUTO
    background: float | None = None
    passes: int | None = None

    def __post_init__(self) -> None:
        """Check every option."""
        super().__post_init__()
        if self.passes is not None:
            check_count("passes", self.passes, what="a number of passes")
        self._interpolation(self.length_scale, self.time_scale)  # checks options shared with oi

    @property
    def interpolation(self) -> OptimalInterpolation:
        """The optimal interpolation of the background.

        Scales are estimated for networks that use the noise, which were trained with many
        backgrounds. Others get the scales and the default noise that they were trained with.
        """
        if self._adapts:
            return self._interpolation(self.length_scale, self.time_scale)
        trained = self.card.config["background"]
        length, time = number(self.length_scale), number(self.time_scale)
        return self._interpolation(
            trained["length_scale"] if length is None else length,
            trained["time_scale"] if time is None else time,
        )

    @property
    def _adapts(self) -> bool:
        return self.card.config.get("representation") is not None

    def _interpolation(
        self, length_scale: float | str | None, time_scale: float | str | None
    ) -> OptimalInterpolation:
        return OptimalInterpolation(
            length_scale=AUTO if length_scale is None else length_scale,
            time_scale=AUTO if time_scale is None else time_scale,
            noise=self.noise,
            variance=self.variance,
            covariance="gaussian",
            temporal="gaussian",
            tolerance=1e-5,
        )

    def request(self, layout: Layout) -> Request | None:
        """Estimate what the background's optimal interpolation is not given."""
        return self.interpolation.request(layout) if self._adapts else None

    @property
    def rounds(self) -> int:
        """Number of passes: the option, or that of the model card."""
        if self.passes is not None:
            return self.passes
        return int(self.settings.read(self.card.config)["passes"])

    def footprint(self, layout: Layout, budget: float) -> Footprint:
        """Halo of the background's scales, the network's reach and one window."""
        t, y, x = self.interpolation.halo(layout)
        reach = self.rounds * NETWORK_HALO
        halo = (max(t, self.rounds * self.card.window), max(y, reach), max(x, reach))
        return largest_tile(layout.grid, halo, self.bytes_per_cell, budget)

    def start(self, problem: Problem, device: Any) -> Start:
        """The background, interpolated or given, with the tile's level and scale."""
        import torch

        variable = problem.variable
        trained = self.card.config["background"]
        scales = self.interpolation.resolved(
            problem, trained["length_scale"], trained["time_scale"]
        )
        given = problem.backgrounds.get(variable)
        level: float
        if given is None:
            centred = anomalies(problem, self.background)
            level, anomaly = float(centred.background[variable]), centred.anomaly
            with torch.no_grad():
                found = posterior(problem, scales, centred, device)
                first = found.solved.mean(found.y[None])[0].double()
        else:
            background_of(problem, variable, None)  # checks for gaps in the background
            level = float(given[:, problem.sea].mean(dtype="float64"))
            # In float64: a level much larger than the anomaly would cost it digits.
            y, guess = (np.subtract(v, level, dtype=np.float64) for v in (problem.y, given))
            anomaly = np.where(problem.observed, y, 0.0)
            filled = np.where(problem.sea, guess, 0.0)
            first = torch.as_tensor(filled, dtype=torch.float64, device=device)
            centred = Centred({variable: level}, (anomaly,))
        spread = spread_of_tile(problem, centred, variable, scales)
        noise = np.zeros(problem.y.shape, np.float32)
        noise[problem.observed] = np.sqrt(spread.noise_variance[0])
        # Remove each day's mean, in double precision: it drives no flow, the first guess
        # already contains it, and the training boxes had none.
        start = Start(level, spread.variance**0.5, anomaly, first, noise)
        return start.levelled(problem)


def register_network(
    name: str, summary: str, network: Any = None
) -> Callable[[Network], Network]:
    """Register a network as a learned method.

    Parameters
    ----------
    name : str
        Name of the method.
    summary : str
        Description in one line.
    network : str, optional
        ``"module:class"`` of a network that is imported on first use. Default: the
        decorated class.

    Returns
    -------
    callable
        The decorator.

    Examples
    --------
    >>> from xinverse.learning import WindowNetwork
    >>> @register_network("nothing", "learned: the background as it is")
    ... class Nothing(WindowNetwork):
    ...     def reconstruct(self, background, y, observed, **others):
    ...         return background
    >>> METHODS["nothing"].learned
    True
    >>> _ = METHODS._entries.pop("nothing")
    """

    def enter(chosen: Any) -> Any:
        method = type(
            "".join(word.capitalize() for word in name.split("-")) + "Method",
            (LearnedMethod,),
            {
                "__doc__": f"{summary}. Keywords as of `LearnedMethod`.",
                "__module__": __name__,
                "__reduce__": _reduce,
                "name": name,
                "summary": summary,
                "network": chosen,
            },
        )
        METHODS.register(name)(dataclass(frozen=True, kw_only=True)(method))
        return chosen

    if network is not None:
        enter(network)
    return enter


def _reduce(method: LearnedMethod) -> tuple[Any, ...]:
    """Pickle by the registered name, because the class was made at run time."""
    options = {f.name: getattr(method, f.name) for f in fields(method)}
    return _rebuilt, (method.name, options)


def _rebuilt(name: str, options: dict[str, Any]) -> Any:
    return METHODS[name](**options)


register_network(
    "4dvarnet",
    "learned: mask, two-scale bilinear prior, LSTM gradient solver",
    "xinverse.learning.networks:FourDVarNet",
)
register_network(
    "unet",
    "learned: residual U-Net from background and observations, no cost",
    "xinverse.learning.networks:DirectUNet",
)


def normalisation(
    y: np.ndarray, grid: Grid, sea: np.ndarray, noise: float | np.ndarray | None
) -> tuple[float, float, float]:
    """Level and scale that normalise some days of observations, as for a tile.

    Parameters
    ----------
    y : ndarray, shape (nt, ny, nx)
        Observations, NaN in gaps.
    grid : Grid
        Grid of the observations.
    sea : ndarray of bool, shape (ny, nx)
        True on the sea.
    noise : float or ndarray, optional
        As in the options of the learned methods; an array is that of each observation.

    Returns
    -------
    level, scale : float
    noise : float
        Standard deviation of the observation noise, in the units of the field.
    """
    whole = (slice(None), slice(None), slice(None))
    cells = (np.arange(y.shape[0]), np.arange(y.shape[1]), np.arange(y.shape[2]))
    name = "field"
    source = Source(name, grid, np.where(sea, y, np.nan), noise)
    place = Place(cells, whole, "the given days")
    days = Problem((name,), grid, sea, (source,), {}, place)
    centred = anomalies(days, None)
    found = spread_of(days, centred, name, noise=None, variance=None)
    (noise_variance,) = found.noise_variance
    level = float(centred.background[name])
    return level, found.variance**0.5, float(noise_variance.mean()) ** 0.5
