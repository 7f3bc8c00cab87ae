"""Ten days of one altimeter, gridded and filled over the whole globe, from and to Zarr.

    python benchmarks/global_tracks.py [--seed N] [--quick]

Real along-track data at 1/4 degree, 720 x 1440 cells and ten days. Passes with number mod 5 = 0
are left out of the gridding and scored on; the scales are chosen on passes with number
mod 5 = 1, left out of the gridding as well while choosing. (The file itself lacks mod 5 = 2.)
The field is filled about its mean, and, in a second row, about a first map of broad scales.
Nothing in the tracks tells land: the cells where a global L4 map has no value are taken.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
from _baselines import nearest
from _measure import finish, measured, peak_mib, save_figure
from _mediterranean import TRACKS, data_folder
from _report import parser
from _tune import descend

import xinverse
from xinverse.scores import along_track

GLOBAL = "ssh_l4_global_20181231_20190103.nc"
SCORED, TUNING = 0, 1  # passes with this number modulo 5
CHUNKS = {"time": 10, "latitude": 120, "longitude": 360}
LATTICE = {
    "length_scale": (100.0, 125.0, 150.0, 200.0, 250.0, 300.0),
    "time_scale": (7.0, 10.0, 15.0),
    "noise": (0.03, 0.05, 0.07, 0.1),
    "covariance": ("gaussian", "matern32"),
}
START = {"length_scale": 150.0, "time_scale": 10.0, "noise": 0.05, "covariance": "matern32"}
# What is broader than eddies: for this pass they are noise.
BROAD = {"length_scale": 600.0, "time_scale": 20.0, "noise": 0.15}
LIMIT = 6 * 1024  # MiB


def target(folder: Path, quick: bool) -> tuple[xr.Dataset, xr.DataArray]:
    """Noon of the ten days on the grid of a global map, and where that map has sea."""
    with xr.open_dataset(folder / GLOBAL) as opened:
        sea = opened["adt"].notnull().all("time").load()
    if quick:
        sea = sea.isel(latitude=slice(300, 420))
    noon = np.datetime64("2022-01-01T12:00", "ns") + np.arange(10) * np.timedelta64(1, "D")
    like = xr.Dataset(coords={"time": noon, **sea.coords})
    return like, sea.rename("sea")


def read(folder: Path) -> tuple[xr.Dataset, np.ndarray]:
    """Points along the tracks, and the number of the pass of each modulo 5."""
    with xr.open_dataset(folder / TRACKS) as opened:
        tracks = opened[["ssh", "pass"]].load()
    return tracks[["ssh"]], tracks["pass"].values % 5


def fill(
    store: Path, sea: xr.DataArray, options: dict[str, Any], *, broad: bool = False
) -> xr.Dataset:
    """Fill what a Zarr store holds, lazily, about the mean or about a map of broad scales."""
    gridded = xr.open_zarr(store, chunks={}, consolidated=False)[["ssh"]]
    level: Any = gridded["ssh"].attrs["mean_of_points"]
    if broad:
        first = gridded["ssh"].inverse.interpolate(mask=sea, background=level, **BROAD)
        gridded, level = gridded.assign(broad=first), "broad"
    filled = gridded.inverse.interpolate(method="oi", mask=sea, background=level, **options)
    return filled[["ssh"]]


def write(points: xr.Dataset, like: xr.Dataset, store: Path) -> None:
    """Grid points and write them, with the mean that takes the place of a climatology."""
    gridded = xinverse.grid_tracks(points, like=like)
    gridded["ssh"].attrs["mean_of_points"] = float(points["ssh"].mean())
    gridded.chunk(CHUNKS).to_zarr(store, mode="w", consolidated=False)


def row(name: str, field: xr.DataArray, points: xr.Dataset, **more: Any) -> dict[str, Any]:
    """Scores along the withheld passes."""
    scores = along_track(field, points)
    return {
        "method": name,
        "mu": float(scores["mu"]),
        "mu daily": float(scores["mu_daily"]),
        "sigma": float(scores["sigma"]),
        "explained variance": float(scores["explained_variance"]),
        "rmse cm": 100 * float(scores["rmse"]),
        "points": int(scores["count"]),
        **more,
    }


def main() -> None:
    """Grid, choose, fill, score."""
    arguments = parser(__doc__).parse_args()
    folder = data_folder()
    like, sea = target(folder, arguments.quick)
    points, group = read(folder)
    withheld = points.isel(time=group == SCORED)
    validation = points.isel(time=group == TUNING)
    peaks, costs, maps = [], {}, {}
    with tempfile.TemporaryDirectory() as place:
        given, trial_store, result = (Path(place) / f"{n}.zarr" for n in ("l3", "trial", "l4"))
        write(points.isel(time=(group != SCORED) & (group != TUNING)), like, trial_store)

        def score(options: dict[str, Any]) -> float:
            filled = fill(trial_store, sea, {**options, "tolerance": 1e-3})["ssh"].load()
            return float(along_track(filled, validation)["rmse"])

        lattice = {n: (v,) for n, v in START.items()} if arguments.quick else LATTICE
        chosen, trials = descend(score, lattice, START)
        peaks.append(peak_mib())

        write(points.isel(time=group != SCORED), like, given)
        for name, broad in (("oi", False), ("oi about broad scales", True)):
            with measured() as costs[name]:
                lazy = fill(given, sea, chosen, broad=broad)
                lazy.to_zarr(result, mode="w", consolidated=False)
            peaks.append(costs[name].peak_mib)
            maps[name] = xr.open_zarr(result, chunks=None, consolidated=False)["ssh"].load()
        print(
            xinverse.plan_tiles(
                xr.open_zarr(given, chunks={}, consolidated=False)[["ssh"]], **chosen
            )
        )
        seen = xr.open_zarr(given, chunks=None, consolidated=False)["ssh"].load()
    if not all(bool((m.notnull() == sea).all()) for m in maps.values()):
        raise SystemExit("A filled map is not finite on the sea alone.")
    level = seen.attrs["mean_of_points"]
    rows = [row("mean", xr.full_like(seen, level).where(sea), withheld)]
    with measured() as near_cost:
        near = nearest(seen, sea, chosen["length_scale"], chosen["time_scale"])
    rows.append(row("nearest", near, withheld, **near_cost.columns))
    rows += [row(name, m, withheld, **costs[name].columns) for name, m in maps.items()]
    peaks.append(peak_mib())
    peak = max(peaks)
    met = "yes" if peak < LIMIT else "NO"
    rows.append(
        {"method": "whole program", "peak MiB": round(peak), "required": "< 6 GB", "met": met}
    )
    print("chosen for oi:", chosen)
    finish(
        "global_tracks",
        rows,
        quick=arguments.quick,
        seed=arguments.seed,
        chosen=chosen,
        broad=BROAD,
        trials=trials,
        background=level,
        observed_share=float((seen.notnull() & sea).sum() / (sea.sum() * seen.sizes["time"])),
        tiles=xinverse.plan_tiles(seen, **chosen).size,
        threads=dask.config.get("num_workers", "dask's default"),
    )
    if not arguments.quick:
        _draw(seen, maps["oi about broad scales"], sea)


def _draw(seen: xr.DataArray, filled: xr.DataArray, sea: xr.DataArray) -> None:
    from xinverse.plot import maps

    day = 5
    panels = {"one day's tracks": seen.isel(time=[day]), "filled": filled.isel(time=[day])}
    panels = {title: p.assign_attrs(filled.attrs) for title, p in panels.items()}
    save_figure(maps(panels, time=0, sea=sea, limits=(-0.4, 0.4), columns=1), "global_tracks")


if __name__ == "__main__":
    main()
