"""Nature runs: simulated oceans whose truth is known everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from math import ceil

import numpy as np
import xarray as xr

from xinverse.fields.grid import EARTH_RADIUS_KM, KM_PER_DEGREE

__all__ = ["Ocean", "draw_ocean", "nature_runs"]

DAY = 86400.0
EARTH_ROTATION = 7.2921e-5  # s-1


@dataclass(frozen=True)
class Ocean:
    """Parameters of one quasi-geostrophic ocean.

    Attributes
    ----------
    spacing_km : float
        Grid spacing, in km.
    rossby_radius_km : float
        First baroclinic deformation radius, in km.
    shear : float
        Velocity of the upper layer's mean flow, in m/s.
    latitude : float
        Latitude of the box's centre, in degrees north.
    drag : float
        Linear bottom drag, in 1/s.
    depth_ratio : float
        Depth of the upper layer over that of the lower.
    """

    spacing_km: float = 12.0
    rossby_radius_km: float = 30.0
    shear: float = 0.1
    latitude: float = 38.0
    drag: float = 1.0e-7
    depth_ratio: float = 0.25


def draw_ocean(seed: int, spacing_km: tuple[float, float] = (8.0, 18.0)) -> Ocean:
    r"""Draw an ocean at random, so that a model trained on many is not trained on one.

    The shear follows from the criticality :math:`\xi = F_2 U / \beta`: below 1
    the mean flow is stable in the lower layer, far above it the eddies grow
    without a likeness to the ocean's.

    Parameters
    ----------
    seed : int
        Seed of the draw.
    spacing_km : tuple of float
        Range of the grid spacing, in km.

    Returns
    -------
    Ocean
        Deformation radius 16-34 km (never below 1.4 grid spacings),
        criticality 1 to 1.6, latitude 25-50 degrees, drag 0.8e-7 to 1.6e-7 1/s,
        depth ratio 0.2-0.3.
    """
    rng = np.random.default_rng(seed)
    spacing = rng.uniform(*spacing_km)
    radius = rng.uniform(max(16.0, 1.4 * spacing), 34.0)
    latitude = rng.uniform(25.0, 50.0)
    ratio = rng.uniform(0.2, 0.3)
    beta = 2 * EARTH_ROTATION * np.cos(np.deg2rad(latitude)) / (1e3 * EARTH_RADIUS_KM)
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
        Length of what is returned, in days.
    spinup : int
        Days of turbulence discarded before it.
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
        ``ssh`` in metres on ``(time, latitude, longitude)``, one per ocean.
        A box is laid on the sphere with the scale that is true at its centre.

    Raises
    ------
    FloatingPointError
        If the flow outruns the time step within a day.
    """
    import torch

    from xinverse.dynamics.quasi_geostrophic import TwoLayerQG

    table = {f.name: torch.tensor([getattr(o, f.name) for o in oceans]) for f in fields(Ocean)}
    model = TwoLayerQG(
        size,
        spacing=1e3 * table["spacing_km"],
        rossby_radius=1e3 * table["rossby_radius_km"],
        shear=table["shear"],
        latitude=table["latitude"],
        drag=table["drag"],
        depth_ratio=table["depth_ratio"],
    ).float()
    noise = [
        torch.randn(2, size, size, generator=torch.Generator().manual_seed(seed + 1000 * i))
        for i in range(len(oceans))
    ]
    state = 1e-5 * torch.stack(noise)
    steps = ceil(DAY / step)
    heights = []
    with torch.no_grad():
        for day in _days(spinup + days, progress):
            state = model(state, DAY / steps, steps)
            # Runge-Kutta on two thirds of the wavenumbers is stable up to 1.35.
            courant = float(model.courant(state, DAY / steps).max())
            if not courant < 1.35:
                raise FloatingPointError(
                    f"Courant number {courant:.2f} on day {day}, below 1.35 expected: "
                    f"start with a shorter step than {step:g} s."
                )
            steps = max(steps, ceil(steps * courant / 0.9))
            if day >= spinup:
                heights.append(model.sea_surface_height(state).numpy())
    runs = np.stack(heights, axis=1).astype("float32")
    return [_label(run, ocean) for run, ocean in zip(runs, oceans, strict=True)]


def _days(count: int, progress: bool) -> Iterator[int]:
    from tqdm import tqdm

    yield from tqdm(range(count), desc="nature run", unit="day", disable=not progress)


def _label(height: np.ndarray, ocean: Ocean) -> xr.DataArray:
    offset = (np.arange(height.shape[1]) - (height.shape[1] - 1) / 2) * ocean.spacing_km
    latitude = ocean.latitude + offset / KM_PER_DEGREE
    longitude = 300.0 + offset / (KM_PER_DEGREE * np.cos(np.deg2rad(ocean.latitude)))
    time = np.datetime64("2000-01-01", "ns") + np.arange(len(height)) * np.timedelta64(1, "D")
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
