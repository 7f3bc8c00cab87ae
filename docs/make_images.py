"""Draw the pictures of the documentation that need no data.

python docs/make_images.py [plan] [scores] [osse] [verbs]
"""

from __future__ import annotations

import re
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import cmocean
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.ticker import MultipleLocator
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
    pictures = {
        "plan": draw_plan,
        "scores": draw_scores,
        "osse": draw_osse,
        "verbs": draw_verbs,
    }
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


def draw_verbs() -> None:
    """Before, after and error of each verb, from the blocks of its page."""
    page = (DOCS / "verbs.md").read_text("utf-8")
    space: dict[str, Any] = {}
    with redirect_stdout(StringIO()):
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(block, space)
    truth, sea = space["truth"].isel(time=slice(0, 6)), space["sea"]
    days = f"{space['ahead'].sizes['time']} days later"
    pictures: dict[str, tuple[list[tuple[str, xr.DataArray]], xr.DataArray]] = {
        "denoise": (
            [
                ("Truth", truth),
                ("Observed, noise of 4 cm", space["noisy"]),
                ("Denoised", space["clean"].ssh),
            ],
            space["clean"].ssh_error,
        ),
        "deconvolve": (
            [
                ("Truth", truth),
                ("Observed, blurred by 35 km", space["blurred"]),
                ("Sharpened", space["sharp"].ssh),
            ],
            space["sharp"].ssh_error,
        ),
        "downscale": (
            [
                ("Truth", truth.where(sea)),
                ("Observed, means over 3 x 3 cells", space["coarse"]),
                ("Finer", space["fine"].ssh),
            ],
            space["fine"].ssh_error,
        ),
        "forecast": (
            [
                (f"Truth, {days}", space["future"]),
                ("Last day of the series", space["series"]),
                (f"Forecast, {days}", space["ahead"].ssh),
            ],
            space["ahead"].ssh_error,
        ),
    }
    for verb, (panels, error) in pictures.items():
        draw_verb(panels, error).savefig(IMAGES / f"verb_{verb}.png", dpi=110)


def draw_verb(panels: list[tuple[str, xr.DataArray]], error: xr.DataArray) -> Any:
    """Three maps of sea level on one scale, and the error on its own; the last time of each."""
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.3), layout="constrained", sharey=True)
    first = panels[0][1]
    most = float(np.ceil(100 * abs(first).quantile(0.99) / 5) * 5)
    height = {"vmin": -most, "vmax": most, "cmap": cmocean.cm.balance}
    for ax, (title, field) in zip(axes, panels, strict=False):
        heights = panel(ax, 100 * field.isel(time=-1), **height)
        ax.set_title(title, fontsize="medium")
    top = np.ceil(float(100 * error.isel(time=-1).max()))
    errors = panel(axes[3], 100 * error.isel(time=-1), vmin=0, vmax=top, cmap=cmocean.cm.tempo)
    axes[3].set_title("Error of the result", fontsize="medium")
    west, east, south, north = (
        float(edge) for edge in (*span(first.longitude), *span(first.latitude))
    )
    for ax in axes:
        ax.set(xlim=(west, east), ylim=(south, north), xlabel="Longitude (°E)")
        ax.set_aspect(1 / np.cos(np.deg2rad((south + north) / 2)))
        ax.set_facecolor("0.7")
        ax.xaxis.set_major_locator(MultipleLocator(1))
    axes[0].set_ylabel("Latitude (°N)")
    figure.colorbar(
        heights, ax=axes[:3], extend="both", label="Sea level (cm)", shrink=0.8, pad=0.01
    )
    figure.colorbar(errors, ax=axes[3:], label="Standard deviation (cm)", shrink=0.8, pad=0.03)
    return figure


def panel(ax: Any, field: xr.DataArray, **colours: Any) -> Any:
    return ax.pcolormesh(field.longitude, field.latitude, field, rasterized=True, **colours)


def span(axis: xr.DataArray) -> tuple[float, float]:
    """Outer edges of its cells."""
    half = 0.5 * float(axis[1] - axis[0])
    return float(axis[0]) - half, float(axis[-1]) + half


if __name__ == "__main__":
    main()
