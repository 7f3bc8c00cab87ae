"""Nature runs: simulated oceans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from math import ceil

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.constants import (
    EARTH_RADIUS,
    EARTH_ROTATION,
    KM_PER_DEGREE,
    SECONDS_PER_DAY,
)

__all__ = ["Ocean", "daily_heights", "draw_ocean", "label_heights", "nature_runs"]

# Grid spacings that must fit into a deformation radius for its eddies to grow.
CELLS_A_RADIUS = 1.4
COARSEST_KM = 18.0  # above it, draw_ocean assumes a grid twice as fine


@dataclass(frozen=True)
class Ocean:
    """Parameters of one quasi-geostrophic ocean.

    Parameters
    ----------
    spacing_km : float
        Grid spacing, in km.
    rossby_radius_km : float
        First baroclinic deformation radius, in km.
    shear : float
        Mean flow of the upper layer, in m/s.
    latitude : float
        Latitude of the centre of the box, in degrees north.
    drag : float
        Linear bottom drag, in 1/s.
    depth_ratio : float
        Depth of the upper layer divided by that of the lower.
    """

    spacing_km: float = 12.0
    rossby_radius_km: float = 30.0
    shear: float = 0.1
    latitude: float = 38.0
    drag: float = 1.0e-7
    depth_ratio: float = 0.25

    @property
    def refinement(self) -> int:
        """Cells of the simulation along each side of a grid cell.

        The smallest whole number for which 1.4 cells fit into the deformation radius.
        """
        return max(ceil(CELLS_A_RADIUS * self.spacing_km / self.rossby_radius_km - 1e-9), 1)


def draw_ocean(seed: int, spacing_km: tuple[float, float] = (8.0, 18.0)) -> Ocean:
    r"""Draw the parameters of an ocean at random, to train on a variety of oceans.

    The shear follows from the criticality :math:`\xi = F_2 U / \beta`: below 1 the mean flow is
    stable in the lower layer, and far above 1 eddies grow unrealistically strong.

    Parameters
    ----------
    seed : int
        Seed of the draw.
    spacing_km : tuple of float
        Range of the grid spacing, in km; (8, 28) for fine and coarse grids.

    Returns
    -------
    Ocean
        Deformation radius 16-34 km and at least 1.4 grid spacings (or 1.4 spacings of a grid
        twice as fine, for spacings above 18 km: :func:`simulate` then refines), criticality 1
        to 1.6, latitude 25-50 degrees, drag 0.8e-7 to 1.6e-7 1/s, depth ratio 0.2-0.3.
    """
    rng = np.random.default_rng(seed)
    spacing = rng.uniform(*spacing_km)
    finest = spacing / ceil(spacing / COARSEST_KM)
    radius = rng.uniform(max(16.0, CELLS_A_RADIUS * finest), 34.0)
    latitude = rng.uniform(25.0, 50.0)
    ratio = rng.uniform(0.2, 0.3)
    beta = 2 * EARTH_ROTATION * np.cos(np.deg2rad(latitude)) / EARTH_RADIUS
    shear = rng.uniform(1.0, 1.6) * beta * (1e3 * radius) ** 2 * (1 + ratio) / ratio
    return Ocean(
        spacing_km=float(spacing),
        rossby_radius_km=float(radius),
        shear=float(shear),
        latitude=float(latitude),
        drag=float(rng.uniform(0.8e-7, 1.6e-7)),
        depth_ratio=float(ratio),
    )


def nature_runs(
    oceans: Sequence[Ocean],
    *,
    days: int = 300,
    spinup: int = 600,
    size: int = 96,
    seed: int = 0,
    step: float = 4320.0,
    progress: bool = False,
) -> list[xr.DataArray]:
    """Simulate daily sea surface height in several oceans at once.

    Parameters
    ----------
    oceans : sequence of Ocean
        One box each; they are integrated as one batch.
    days : int
        Length of the result, in days.
    spinup : int
        Days to discard before it.
    size : int
        Cells along each side of the doubly periodic box.
    seed : int
        Seed of the initial potential vorticity.
    step : float
        Longest time step, in seconds; it is shortened as the flow speeds up.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of xarray.DataArray
        ``ssh`` in metres on ``(time, latitude, longitude)``, one per ocean. The box is placed
        on the sphere with distances that are exact at its centre.

    Raises
    ------
    FloatingPointError
        The flow becomes too fast for the time step within a day.
    """
    seeds = [seed + 1000 * i for i in range(len(oceans))]
    heights = daily_heights(
        oceans, seeds, days=days, spinup=spinup, size=size, step=step, progress=progress
    )
    runs = np.stack(list(heights), axis=1).astype("float32")
    return [label_heights(run, ocean) for run, ocean in zip(runs, oceans, strict=True)]


def daily_heights(
    oceans: Sequence[Ocean],
    seeds: Sequence[int],
    *,
    days: int,
    spinup: int,
    size: int,
    step: float,
    refinement: int = 1,
    progress: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Integrate several oceans as one batch and yield their sea surface height, day by day.

    Parameters
    ----------
    oceans : sequence of Ocean
        One box each.
    seeds : sequence of int
        Seed of the initial potential vorticity of each ocean.
    days, spinup, size, step, progress
        As in :func:`nature_runs`.
    refinement : int
        Cells of the simulation along each side of a grid cell, whose heights are averaged.

    Yields
    ------
    ndarray of float32, shape (oceans, size, size)
        Metres, after the spin-up.

    Raises
    ------
    FloatingPointError
        The flow becomes too fast for the time step within a day.
    """
    import torch

    from xinverse.dynamics.quasi_geostrophic import TwoLayerQG

    table = {f.name: torch.tensor([getattr(o, f.name) for o in oceans]) for f in fields(Ocean)}
    cells = size * refinement
    model = TwoLayerQG(
        cells,
        spacing=1e3 * table["spacing_km"] / refinement,
        rossby_radius=1e3 * table["rossby_radius_km"],
        shear=table["shear"],
        latitude=table["latitude"],
        drag=table["drag"],
        depth_ratio=table["depth_ratio"],
    ).float()
    noise = [
        torch.randn(2, cells, cells, generator=torch.Generator().manual_seed(seed))
        for seed in seeds
    ]
    state = 1e-5 * torch.stack(noise)
    steps = ceil(SECONDS_PER_DAY / step)
    for day in _days(spinup + days, progress):
        with torch.no_grad():
            state = model(state, SECONDS_PER_DAY / steps, steps)
            # Runge-Kutta on two thirds of the wavenumbers is stable up to 1.35.
            courant = float(model.courant(state, SECONDS_PER_DAY / steps).max())
        if not courant < 1.35:
            raise FloatingPointError(
                f"Courant number {courant:.2f} on day {day}. Expected less than 1.35: "
                f"start with a shorter step than {step:g} s."
            )
        steps = max(steps, ceil(steps * courant / 0.9))
        if day >= spinup:
            height = model.sea_surface_height(state).numpy()
            blocks = height.reshape(-1, size, refinement, size, refinement)
            yield blocks.mean((2, 4))


def _days(count: int, progress: bool) -> Iterator[int]:
    from tqdm import tqdm

    yield from tqdm(range(count), desc="nature run", unit="day", disable=not progress)


def label_heights(
    height: NDArray[np.floating], ocean: Ocean, first_day: int = 0
) -> xr.DataArray:
    """Place a box on the sphere, with distances that are exact at its centre.

    Parameters
    ----------
    height : ndarray, shape (days, size, size)
        Metres.
    ocean : Ocean
        Its parameters.
    first_day : int
        Days from 2000-01-01 to the first height.

    Returns
    -------
    DataArray
        ``ssh`` on (time, latitude, longitude), with the parameters as attributes.
    """
    offset = (np.arange(height.shape[1]) - (height.shape[1] - 1) / 2) * ocean.spacing_km
    latitude = ocean.latitude + offset / KM_PER_DEGREE
    longitude = 300.0 + offset / (KM_PER_DEGREE * np.cos(np.deg2rad(ocean.latitude)))
    days = first_day + np.arange(len(height))
    time = np.datetime64("2000-01-01", "ns") + days * np.timedelta64(1, "D")
    return xr.DataArray(
        height,
        dims=("time", "latitude", "longitude"),
        coords={
            "time": ("time", time, {"standard_name": "time"}),
            "latitude": (
                "latitude",
                latitude,
                {"standard_name": "latitude", "units": "degrees_north"},
            ),
            "longitude": (
                "longitude",
                longitude,
                {"standard_name": "longitude", "units": "degrees_east"},
            ),
        },
        name="ssh",
        attrs={
            "standard_name": "sea_surface_height_above_geoid",
            "long_name": "sea surface height",
            "units": "m",
            **asdict(ocean),
        },
    )
