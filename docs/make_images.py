"""Draw the pictures of the documentation that need no data.

python docs/make_images.py [plan] [scores] [osse]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import cmocean
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter, map_coordinates

from xinverse.constants import EARTH_ROTATION, GRAVITY, SECONDS_PER_DAY
from xinverse.osse import Ocean, SwathError, nature_runs, observe
from xinverse.tiling import plan

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"
OCEAN = Ocean(spacing_km=14.0, rossby_radius_km=28.0, shear=0.1, drag=1.5e-7)
SEED, WHEN = 1, 12  # a day on which SWOT passes twice


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    pictures = {"plan": draw_plan, "scores": draw_scores, "osse": draw_osse}
    for name in sys.argv[1:] or pictures:
        pictures[name]()


def draw_plan() -> None:
    tiles = plan((90, 240, 320), tile=(30, 80, 80), halo=(20, 24, 24))
    axes = tiles.plot(tile=(1, 1))
    axes.figure.savefig(IMAGES / "plan.png", dpi=110)


def draw_scores() -> None:
    """The comparison of the page about scores: what it shows is what its first block says."""
    page = (DOCS / "scores.md").read_text("utf-8")
    space: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], space)
    space["comparison"].plot().savefig(IMAGES / "scores.png", dpi=90)


def draw_osse() -> None:
    """A truth and what is seen of it: sea level by altimeters, temperature between clouds."""
    (ssh,) = nature_runs([OCEAN], days=50, spinup=300, size=64, progress=True)
    sst = stirred(ssh)
    last = {"time": slice(-25, None)}
    ssh, sst = ssh.isel(last), sst.isel(last)
    tracks = observe(ssh, ["nadir:4", "swot"], noise=0.02, seed=SEED, swath_error=SwathError())[
        "ssh"
    ]
    clear = observe(sst, clouds={"cover": 0.5}, noise=0.2, seed=SEED)["sst"]
    figure, axes = plt.subplots(2, 2, figsize=(8, 6.6), layout="constrained", sharey=True)
    height = {"vmin": -30, "vmax": 30, "cmap": cmocean.cm.balance}
    warmth = {"vmin": 14, "vmax": 26, "cmap": cmocean.cm.thermal}
    for row, panels, colours, label in (
        (
            axes[0],
            {"Sea level": ssh * 100, "4 altimeters and SWOT": tracks * 100},
            height,
            "cm",
        ),
        (axes[1], {"Temperature": sst, "Radiometer between clouds": clear}, warmth, "°C"),
    ):
        for ax, (title, field) in zip(row, panels.items(), strict=True):
            map_ = field.isel(time=WHEN)
            mesh = ax.pcolormesh(map_.longitude, map_.latitude, map_, **colours)
            ax.set_title(title)
            ax.set_aspect(1 / np.cos(np.deg2rad(OCEAN.latitude)))
        row[0].set_ylabel("Latitude (°N)")
        figure.colorbar(mesh, ax=row, extend="both", label=label)
    for ax in axes[1]:
        ax.set_xlabel("Longitude (°E)")
    figure.savefig(IMAGES / "osse.png", dpi=110)


def stirred(ssh: xr.DataArray, slope: float = -1.1e-5, substeps: int = 4) -> xr.DataArray:
    """A temperature that falls towards the north (K/m) and is carried by the flow.

    Semi-Lagrangian and doubly periodic, but for the mean slope; in degrees Celsius.
    """
    spacing, size = 1e3 * OCEAN.spacing_km, ssh.sizes["latitude"]
    f0 = 2 * EARTH_ROTATION * np.sin(np.deg2rad(OCEAN.latitude))
    psi = GRAVITY / f0 * ssh.values.astype(float)
    u = OCEAN.shear - (np.roll(psi, -1, 1) - np.roll(psi, 1, 1)) / (2 * spacing)
    v = (np.roll(psi, -1, 2) - np.roll(psi, 1, 2)) / (2 * spacing)
    north, east = np.mgrid[:size, :size].astype(float)
    anomaly, maps, dt = np.zeros((size, size)), [], SECONDS_PER_DAY / substeps
    for day in range(ssh.sizes["time"]):
        anomaly = gaussian_filter(anomaly, 0.6, mode="wrap")  # of what a cell cannot hold
        maps.append(anomaly)
        for _ in range(substeps):
            start = [north - v[day] * dt / spacing, east - u[day] * dt / spacing]
            carried = map_coordinates(anomaly, start, order=3, mode="grid-wrap")
            anomaly = carried - v[day] * dt * slope
    mean = 20 + slope * spacing * (north - size / 2)
    return xr.DataArray(mean + np.stack(maps), ssh.coords, ssh.dims, "sst", {"units": "degC"})


if __name__ == "__main__":
    main()
