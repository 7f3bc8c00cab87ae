"""The demonstration: simulate a sea, observe it along orbits, fill the gaps, score and plot.

The sea is two-layer quasi-geostrophic turbulence with the statistics of the extension of a
western boundary current; no weights were trained on it. An island, which the simulation does
not have, shows that land stays land.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from xinverse.fields.axes import find_axes
from xinverse.fields.grid import make_grid
from xinverse.files import open_lazily, write
from xinverse.osse.nature import Ocean, nature_runs
from xinverse.osse.observe import observe
from xinverse.scores.map import explained_variance, mu_sigma, normalised_mse
from xinverse.verbs.interpolate import interpolate

__all__ = ["linear", "run", "simulate"]

OCEAN = Ocean(spacing_km=12.0, rossby_radius_km=22.0, shear=0.07, latitude=36.0)
SEED = 300
SYSTEMS = ("nadir:4",)
NOISE = 0.02  # m
SCALES = {"length_scale": 90.0, "time_scale": 10.0}  # km, days
MEMBERS = 16  # samples of the posterior; their spread is accurate to about 20 %
CHUNKS = {"time": 20, "latitude": 48, "longitude": 48}
OUTPUTS = ("truth.zarr", "l3.zarr", "l4-oi.zarr", "l4-4dvarnet.zarr", "scores.csv", "maps.png")


@dataclass(frozen=True)
class Size:
    """Size of the demonstration.

    Attributes
    ----------
    cells : int
        Cells along each side of the box.
    spinup, days : int
        Days of turbulence before the record, and of the record.
    margin : int
        Days at both ends of the record to leave out of the scores, since observations lie on
        one side of them only.
    """

    cells: int
    spinup: int
    days: int
    margin: int


FULL = Size(cells=96, spinup=300, days=60, margin=10)
QUICK = Size(cells=48, spinup=200, days=24, margin=6)


def run(
    folder: str | os.PathLike[str] = "demo",
    quick: bool = False,
    progress: bool = True,
    say: Callable[[str], object] = print,
) -> xr.Dataset:
    """Simulate a sea, observe it, fill the gaps with three methods, score and plot the maps.

    Parameters
    ----------
    folder : path
        Folder for ``truth.zarr``, ``l3.zarr`` (observations with gaps), ``l4-oi.zarr``,
        ``l4-4dvarnet.zarr`` (complete maps), ``scores.csv`` and ``maps.png``; existing ones are
        replaced.
    quick : bool
        Use a small sea and a short record, to check that everything works.
    progress : bool
        Show progress bars.
    say : callable
        Called with each line of text.

    Returns
    -------
    Dataset
        The scores along ``analysis``.
    """
    folder = Path(folder)
    size = QUICK if quick else FULL
    start = time.perf_counter()
    say(f"A sea of {size.cells} x {size.cells} cells of {OCEAN.spacing_km:g} km ...")
    truth = simulate(size, progress=progress)
    write(truth, folder / "truth.zarr", overwrite=True)
    seen = observe(truth["ssh"], SYSTEMS, noise=NOISE, seed=SEED).assign(sea=truth["sea"])
    write(seen.chunk(CHUNKS), folder / "l3.zarr", overwrite=True)

    l3 = open_lazily(folder / "l3.zarr")
    share = float(seen["ssh"].notnull().sum() / truth["ssh"].notnull().sum())
    say(f"... of which four altimeters see {100 * share:.1f} % a day, with 2 cm of noise.\n")
    say(f"{l3.inverse!r}\n")

    say("Filling: linear interpolation, method='oi', method='4dvarnet' ...\n")
    maps: dict[str, xr.Dataset] = {"linear": linear(seen["ssh"]).to_dataset()}
    with _one_thread():
        write(optimal(l3), folder / "l4-oi.zarr", overwrite=True, progress=progress)
        learned = interpolate(l3, "4dvarnet", noise=NOISE)
        write(learned, folder / "l4-4dvarnet.zarr", overwrite=True, progress=progress)
    maps |= {name: open_lazily(folder / f"l4-{name}.zarr") for name in ("oi", "4dvarnet")}

    scores = score(maps, truth["ssh"], size.margin)
    say(
        f"Scores on the days {size.margin} to {size.days - size.margin - 1}:\n\n{table(scores)}"
    )
    scores.to_dataframe().to_csv(folder / "scores.csv", float_format="%.5g")
    draw(truth["ssh"], seen, maps, folder / "maps.png")
    say(f"\nWritten in {time.perf_counter() - start:.0f} s:")
    for name in OUTPUTS:
        say(f"  {folder.name}/{name}")
    return scores


def simulate(size: Size = FULL, *, progress: bool = False) -> xr.Dataset:
    """Simulate the sea of the demonstration.

    Parameters
    ----------
    size : Size
        Its size.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Dataset
        ``ssh`` in metres on (time, latitude, longitude), NaN on the island, and ``sea``, 1 on
        the sea, on (latitude, longitude).
    """
    with _one_thread():
        (height,) = nature_runs(
            [OCEAN],
            days=size.days,
            spinup=size.spinup,
            size=size.cells,
            seed=SEED,
            progress=progress,
        )
    height.attrs["long_name"] = "sea surface height"
    sea = ~_island(height)
    attrs = {"standard_name": "sea_binary_mask", "long_name": "1 on the sea, 0 on land"}
    return xr.Dataset({"ssh": height.where(sea), "sea": sea.astype("int8").assign_attrs(attrs)})


def _island(height: xr.DataArray) -> xr.DataArray:
    """Mark a lobed island of about 100 km in the north-west of the box."""
    y, x = height["latitude"], height["longitude"]
    north = y - float(y.quantile(0.75))
    east = (x - float(x.quantile(0.3))) * np.cos(np.deg2rad(OCEAN.latitude))
    angle = np.arctan2(north, east)
    shore = 0.45 + 0.12 * np.cos(3 * angle + 1) + 0.08 * np.sin(2 * angle)
    return (np.hypot(north, east) < shore).transpose("latitude", "longitude").drop_attrs()


def linear(seen: xr.DataArray) -> xr.DataArray:
    """Interpolate linearly between observations in time and space.

    Parameters
    ----------
    seen : DataArray
        On (time, latitude, longitude), NaN in gaps.

    Returns
    -------
    DataArray
        Complete, including land; the nearest observation outside their hull. The ratio of days
        to km is that of the optimal interpolation.
    """
    from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

    axes = find_axes(seen)
    dy, dx = make_grid(seen, axes).spacing_km
    day = SCALES["length_scale"] / SCALES["time_scale"]
    values = seen.transpose(axes.time, axes.y, axes.x).to_numpy()
    observed = np.isfinite(values)
    # Many points of a lattice lie on one sphere, which slows the triangulation down: shift them
    # by about a metre.
    disorder = 1e-3 * np.random.default_rng(0).standard_normal((int(observed.sum()), 3))
    places = np.argwhere(observed) * np.array([day, dy, dx]) + disorder
    wanted = np.argwhere(np.ones_like(observed)) * np.array([day, dy, dx])
    found = LinearNDInterpolator(places, values[observed])(wanted)
    outside = np.isnan(found)
    found[outside] = NearestNDInterpolator(places, values[observed])(wanted[outside])
    return seen.transpose(axes.time, axes.y, axes.x).copy(data=found.reshape(values.shape))


def optimal(l3: xr.Dataset) -> xr.Dataset:
    """Interpolate optimally, with the error from samples of the posterior.

    Parameters
    ----------
    l3 : Dataset
        ``ssh`` with gaps.

    Returns
    -------
    Dataset
        With ``ssh`` filled, and ``ssh_error``, the spread of the samples. With thousands of
        observations this is much faster than the exact ``error=True``.
    """
    filled = interpolate(l3, "oi", noise=NOISE, members=MEMBERS, **SCALES)
    spread = filled["ssh_members"].std("member", ddof=1, skipna=False)
    attrs = {"long_name": f"spread of {MEMBERS} samples of the posterior", "units": "m"}
    return filled.drop_vars("ssh_members").assign(ssh_error=spread.assign_attrs(attrs))


def score(maps: dict[str, xr.Dataset], truth: xr.DataArray, margin: int) -> xr.Dataset:
    """Score maps against the truth, without days at both ends.

    Parameters
    ----------
    maps : dict of str to Dataset
        With ``ssh`` and optionally ``ssh_error``.
    truth : DataArray
        On the same grid; NaN is land.
    margin : int
        Days to leave out at each end.

    Returns
    -------
    Dataset
        Along ``analysis``. ``predicted_rmse`` is the root mean square of ``ssh_error``, or NaN
        without it.
    """
    days = {"time": slice(margin, truth.sizes["time"] - margin)}
    wanted = truth.isel(days)
    rows = []
    for name, found in maps.items():
        ssh = found["ssh"].isel(days)
        row = mu_sigma(ssh, wanted)[["mu", "sigma", "rmse"]]
        row["normalised_mse"] = normalised_mse(ssh, wanted)
        row["explained_variance"] = explained_variance(ssh, wanted)
        row["predicted_rmse"] = xr.DataArray(np.nan, attrs={"units": "m"})
        if "ssh_error" in found:
            error = found["ssh_error"].isel(days).where(wanted.notnull()).compute()
            row["predicted_rmse"] = ((error**2).mean() ** 0.5).assign_attrs(units="m")
        rows.append(row.assign_coords(analysis=name))
    return xr.concat(rows, "analysis", combine_attrs="override")


def table(scores: xr.Dataset) -> str:
    """Format the scores as a text table.

    Parameters
    ----------
    scores : Dataset
        From :func:`run`.
    """
    columns = {
        "normalised MSE": "{normalised_mse:.4f}",
        "µ": "{mu:.3f}",
        "σ": "{sigma:.3f}",
        "explained variance": "{explained_variance:.4f}",
        "RMSE (cm)": "{cm:.2f}",
        "predicted (cm)": "{predicted:.2f}",
    }
    widths = [max(len(head), 6) for head in columns]
    heads = [head.rjust(width) for head, width in zip(columns, widths, strict=True)]
    lines = ["  ".join(["analysis".ljust(10), *heads])]
    for name in scores["analysis"].values:
        row = scores.sel(analysis=name).data_vars
        one = {str(key): float(value) for key, value in row.items()}
        one |= {"cm": 100 * one["rmse"], "predicted": 100 * one["predicted_rmse"]}
        cells = [form.format(**one).replace("nan", "-") for form in columns.values()]
        cells = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append("  ".join([str(name).ljust(10), *cells]))
    return "\n".join(lines)


def draw(
    truth: xr.DataArray, seen: xr.Dataset, maps: dict[str, xr.Dataset], path: Path
) -> None:
    """Plot the middle day of the record.

    Parameters
    ----------
    truth : DataArray
        The truth.
    seen : Dataset
        Its observations.
    maps : dict of str to Dataset
        ``"oi"`` and ``"4dvarnet"``.
    path : Path
        Of the figure.
    """
    import matplotlib.pyplot as plt

    from xinverse.plot import comparison

    named = {"OI": maps["oi"], "4DVarNet": maps["4dvarnet"]}
    figure = comparison(truth, seen, named)
    figure.savefig(path, dpi=130)
    plt.close(figure)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one torch thread, since small fields gain little from more."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
