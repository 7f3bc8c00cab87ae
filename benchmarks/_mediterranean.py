"""The Mediterranean case: a real field seen along real ground tracks, with a known truth.

Truth is the sea level anomaly of a gap-free L4 product (absolute dynamic topography minus its
time mean). Four altimeters see it: the ten days of real ground tracks of the reference mission,
repeated, and the same tracks shifted in longitude and delayed by some days. An L4 field is
itself smooth, so absolute scores flatter smooth methods; gains over optimal interpolation are
fairer.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import xarray as xr

import xinverse

FIELD = "ssh_l4_mediterranean_2005q2.nc"
TRACKS = "ssh_tracks_global_20220101_10.nc"
CYCLE = 10  # days after which the tracks of the file are flown again
SHIFTS = {0.0: 0, 1.4: 3, -0.7: 6, 0.7: 8}  # degrees east: days of delay
NOISE = 0.02  # m, white, of each observed cell and day
SCORED = slice(15, 76)  # days 15 to 75, both in


def data_folder() -> Path:
    """Where the real data are; ends the program where they are not."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("XINVERSE_REAL_DATA", beside))
    if not (folder / FIELD).is_file():
        raise SystemExit(f"{FIELD} is not in {folder}: set XINVERSE_REAL_DATA to its folder.")
    return folder


def mediterranean_case(
    data_dir: str | os.PathLike[str] | None = None, *, noise: float = NOISE, seed: int = 0
) -> tuple[xr.DataArray, xr.Dataset, xr.DataArray]:
    """Build the case.

    Parameters
    ----------
    data_dir : path, optional
        Folder of the two files; by default :func:`data_folder`.
    noise : float
        Standard deviation of the noise of each observed cell and day, m.
    seed : int
        Of the noise.

    Returns
    -------
    truth : DataArray
        ``sla`` (m) on (time, latitude, longitude), NaN on land.
    observations : Dataset
        ``sla`` with gaps, ``sla_count`` and ``sla_noise``.
    sea : DataArray of bool
        On (latitude, longitude).
    """
    folder = data_folder() if data_dir is None else Path(data_dir)
    with xr.open_dataset(folder / FIELD) as opened:
        adt = opened["adt"].load()
    truth = (adt - adt.mean("time")).rename("sla")
    truth.attrs = {
        "units": "m",
        "long_name": "sea level anomaly",
        "standard_name": "sea_surface_height_above_sea_level",
    }
    sea = truth.notnull().all("time").rename("sea")
    count = xinverse.grid_tracks(_flown(folder, truth), like=truth)["seen_count"]
    count = count.where(sea, 0)
    random = np.random.default_rng(seed)
    values = truth + noise * random.standard_normal(truth.shape)
    seen = count > 0
    observations = xr.Dataset(
        {
            "sla": values.where(seen).assign_attrs(truth.attrs),
            "sla_count": count.astype(np.int32),
            "sla_noise": xr.full_like(truth, noise).where(seen).assign_attrs(units="m"),
        }
    )
    share = float((seen & sea).sum() / (sea.sum() * truth.sizes["time"]))
    print(f"Mediterranean case: {share:.2%} of the sea cells are observed a day")
    return truth, observations, sea


def _flown(folder: Path, truth: xr.DataArray) -> xr.Dataset:
    """Points of all four altimeters over the period of the truth, near its box."""
    with xr.open_dataset(folder / TRACKS) as opened:
        tracks = opened[["latitude", "longitude"]].load()
    start = tracks["time"].values[0].astype("datetime64[D]")
    west, east = float(truth["longitude"][0]), float(truth["longitude"][-1])
    margin = max(abs(shift) for shift in SHIFTS) + 1.0
    longitude = tracks["longitude"].values.astype(np.float64)
    near = (
        ((longitude - west + margin) % 360.0 < east - west + 2 * margin)
        & (tracks["latitude"].values > float(truth["latitude"][0]) - 1.0)
        & (tracks["latitude"].values < float(truth["latitude"][-1]) + 1.0)
    )
    latitude, longitude = tracks["latitude"].values[near], longitude[near]
    days = (tracks["time"].values[near] - start) / np.timedelta64(1, "D")
    length = truth.sizes["time"]
    parts = [
        (days + lag + cycle * CYCLE, latitude, longitude + shift)
        for shift, lag in SHIFTS.items()
        for cycle in range(-1, length // CYCLE + 1)
    ]
    when, north, east_of = (np.concatenate(column) for column in zip(*parts, strict=True))
    # A map is labelled by the midnight at which its day begins; cells take the nearest label.
    noon = np.timedelta64(12, "h")
    time = truth["time"].values[0] + (when * 86400e3).astype("timedelta64[ms]") - noon
    return xr.Dataset(
        {"seen": ("point", np.ones(when.size))},
        {
            "time": ("point", time),
            "latitude": ("point", north),
            "longitude": ("point", east_of),
        },
    )
