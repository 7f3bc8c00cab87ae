"""Learned methods on maps: a network on windows, from an optimally interpolated background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np

from xinverse.checks import check_count
from xinverse.fields.grid import Grid
from xinverse.methods.base import METHODS, Footprint
from xinverse.methods.footprint import correlation_halo, largest_tile
from xinverse.methods.oi import OptimalInterpolation, posterior
from xinverse.methods.problem import Layout, Place, Problem, Source
from xinverse.methods.tile_statistics import Centred, anomalies, background_of, spread_of
from xinverse.methods.windows import NETWORK_HALO, Start, WindowMethod

__all__ = ["LearnedMethod", "normalisation", "register_network"]

Network = TypeVar("Network", bound=type)


@dataclass(frozen=True, kw_only=True)
class LearnedMethod(WindowMethod):
    """A network on windows of maps, from an optimally interpolated background.

    Attributes
    ----------
    length_scale, time_scale : float, optional
        Scales of the optimal interpolation that makes the background, in km
        and days. Default: those of the training.
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
        Time steps by which the window slides.
    precision : {"float32", "bfloat16"}
        Precision of the network's convolutions, as in training.
    passes : int, optional
        Passes over the series, each starting from the map of the one before, as if that
        were given as ``background``. A window knows a few days; each pass carries what
        it knows as far again. Default: the number that the weights were trained for.
    """

    companions: ClassVar[tuple[str, ...]] = ("noise", "background")
    bytes_per_cell: ClassVar[float] = 300  # the background's, and the windows solved together

    length_scale: float | None = None
    time_scale: float | None = None
    noise: float | None = None
    variance: float | None = None
    background: float | None = None
    passes: int | None = None

    def __post_init__(self) -> None:
        """Check every option."""
        super().__post_init__()
        if self.passes is not None:
            check_count("passes", self.passes, what="a number of passes")
        self.interpolation(100.0, 10.0)  # checks the options that the two methods share

    def interpolation(self, length_scale: float, time_scale: float) -> OptimalInterpolation:
        """The background's optimal interpolation, with defaults for the scales."""
        return OptimalInterpolation(
            length_scale=length_scale if self.length_scale is None else self.length_scale,
            time_scale=time_scale if self.time_scale is None else self.time_scale,
            noise=self.noise,
            variance=self.variance,
            tolerance=1e-5,
        )

    @property
    def rounds(self) -> int:
        """Passes: as given, else as on the model card."""
        if self.passes is not None:
            return self.passes
        return int(self.card.config.get("passes", 1))

    def footprint(self, layout: Layout, budget: float) -> Footprint:
        """Halo of the background's scales, the network's reach and a window."""
        scales = self._interpolation()
        t, y, x = correlation_halo(layout.grid, scales.length_scale, scales.time_scale)
        reach = self.rounds * NETWORK_HALO
        halo = (max(t, self.rounds * self.card.window), max(y, reach), max(x, reach))
        return largest_tile(layout.grid, halo, self.bytes_per_cell, budget)

    def start(self, problem: Problem, device: Any) -> Start:
        """The background, interpolated or given, and the level and scale of the tile."""
        import torch

        variable, scales = problem.variable, self._interpolation()
        given = problem.backgrounds.get(variable)
        level: float
        if given is None:
            centred = anomalies(problem, self.background)
            level, anomaly = float(centred.background[variable]), centred.anomaly
            with torch.no_grad():
                found = posterior(problem, scales, centred, device)
                first = found.solved.mean(found.y[None])[0].double()
        else:
            background_of(problem, variable, None)  # requires a background without holes
            level = float(given[:, problem.sea].mean(dtype="float64"))
            # In float64: a level that is large beside the anomaly would take digits from it.
            y, guess = (np.subtract(v, level, dtype=np.float64) for v in (problem.y, given))
            anomaly = np.where(problem.observed, y, 0.0)
            filled = np.where(problem.sea, guess, 0.0)
            first = torch.as_tensor(filled, dtype=torch.float64, device=device)
            centred = Centred({variable: level}, (anomaly,))
        spread = spread_of(problem, centred, variable, noise=self.noise, variance=self.variance)
        noise = np.zeros(problem.y.shape, np.float32)
        noise[problem.observed] = np.sqrt(spread.noise_variance[0])
        # Remove each day's mean, in double precision: it drives no flow, the first guess
        # already contains it, and the training boxes had none.
        start = Start(level, spread.variance**0.5, anomaly, first, noise)
        return start.levelled(problem)

    def _interpolation(self) -> OptimalInterpolation:
        trained = self.card.config["background"]
        return self.interpolation(trained["length_scale"], trained["time_scale"])


def register_network(
    name: str, summary: str, network: Any = None
) -> Callable[[Network], Network]:
    """Register a network, and so make the learned method of that name.

    Parameters
    ----------
    name : str
        Name of the method.
    summary : str
        What it is, in a line.
    network : str, optional
        ``"module:class"`` of a network that is imported when it is used. Default: the
        class that is decorated.

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
    >>> _ = METHODS.remove("nothing")
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
    """Pickle by the registered name: the class was made at run time."""
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
    name = "field"
    source = Source(name, grid, np.where(sea, y, np.nan))
    place = Place(cells, whole, "the days that were looked at")
    days = Problem((name,), grid, sea, (source,), {}, place)
    centred = anomalies(days, None)
    found = spread_of(days, centred, name, noise=noise, variance=None)
    (noise_variance,) = found.noise_variance
    level = float(centred.background[name])
    return level, found.variance**0.5, float(noise_variance.mean()) ** 0.5
