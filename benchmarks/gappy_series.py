"""Two gappy series filled by every method: temperature under clouds, chlorophyll with patches.

    python benchmarks/gappy_series.py [--seed N] [--quick]

Daily temperature of the Tasman Sea is hidden under the clouds of the Alboran Sea, shifted and
drawn at random, and scored on the hidden cells. Of the chlorophyll series off Hawaii (log10),
patches of observations are hidden in the shape of the gaps of other months, and scored there.
A method is a name and a function of a field with gaps: add a line to ``METHODS``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from _measure import finish, measured
from _mediterranean import data_folder
from _report import parser

import xinverse
from xinverse.scores import rmse
from xinverse.solvers.dineof import dineof
from xinverse.solvers.withheld import withheld_points

Method = Callable[[xr.DataArray, xr.DataArray], xr.DataArray]
DAYS = 365


def tasman(seed: int, quick: bool) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Temperature, what is seen of it, and the sea."""
    with xr.open_dataset(data_folder() / "sst_l4_tasman_1993_2010.nc") as ds:
        truth = ds["sst"].isel(time=slice(0, 60 if quick else DAYS)).load()
    with xr.open_dataset(data_folder() / "sst_l3_alboran_201705.nc") as ds:
        clouds = (ds["sst"].isnull() & (ds["mask"] == 1)).values
        whole = (ds["mask"] == 1).values
    random = np.random.default_rng(seed)
    ny, nx = truth.shape[1:]
    # Places where the window lies in the Alboran Sea alone.
    area = np.lib.stride_tricks.sliding_window_view(whole, (ny, nx)).all((2, 3))
    corners = np.argwhere(area)
    seen = np.ones(truth.shape, dtype=bool)
    for day in range(len(seen)):
        row, column = corners[random.integers(len(corners))]
        cloud = clouds[random.integers(len(clouds)), row : row + ny, column : column + nx]
        seen[day] = ~cloud
    return truth, truth.where(seen), truth.notnull().any("time")


def chlorophyll(seed: int, quick: bool) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """log10 of chlorophyll, the same without the patches, and the cells ever seen."""
    with xr.open_dataset(data_folder() / "chl_hawaii_monthly_1998_2022.nc") as ds:
        truth = np.log10(ds["chlor_a"].isel(time=slice(0, 60 if quick else None)).load())
    sea = truth.notnull().any("time")
    patches = withheld_points(
        torch.from_numpy(truth.notnull().values),
        share=0.05,
        seed=seed,
        shape="clouds",
        sea=torch.from_numpy(sea.values),
    )
    return truth, truth.where(~patches.numpy()), sea


def mean_of_cell(seen: xr.DataArray, sea: xr.DataArray) -> xr.DataArray:
    """Mean in time; that of everything where a cell was never seen."""
    cells = seen.mean("time").fillna(seen.mean()).where(sea)
    return cells.broadcast_like(seen).transpose(*seen.dims)


def linear_in_time(seen: xr.DataArray, sea: xr.DataArray) -> xr.DataArray:
    """Lines between the dates of each cell, the nearest beyond; else its mean."""
    filled = mean_of_cell(seen, sea).values.copy()
    dates = seen["time"].values.astype(float)
    for row, column in np.argwhere(seen.notnull().any("time").values):
        series = seen.values[:, row, column]
        known = np.isfinite(series)
        filled[:, row, column] = np.interp(dates, dates[known], series[known])
    return seen.copy(data=filled)


def by_dineof(seen: xr.DataArray, sea: xr.DataArray) -> xr.DataArray:
    """DINEOF, with as many modes as withheld gaps ask for."""
    observed = torch.from_numpy(seen.notnull().values)
    at = torch.from_numpy(sea.values)
    held = withheld_points(observed, shape="clouds", sea=at)
    values = torch.from_numpy(seen.values.astype("float64"))
    dates = seen["time"].values
    found = dineof(
        values[:, at],
        observed[:, at],
        max_modes=40,
        withheld=held[:, at],
        time=torch.from_numpy((dates - dates[0]) / np.timedelta64(1, "D")),
        smooth=None,
    )
    smoothed = "smoothed" if found.smoothed else "not smoothed"
    print(
        f"dineof: {found.modes} modes, {smoothed} in time, "
        f"expected error {found.expected_error:.3g}"
    )
    filled = np.full(seen.shape, np.nan)
    filled[:, sea.values] = found.state.numpy()
    return seen.copy(data=filled)


def by_verb(method: str, **options: float) -> Method:
    """A method of `xinverse.interpolate`, on anomalies from the mean of each cell.

    Dates are spaced evenly over the series: some methods need that, and months are not.
    """

    def fill(seen: xr.DataArray, sea: xr.DataArray) -> xr.DataArray:
        mean = mean_of_cell(seen, sea)
        dates = seen["time"].values
        step = (dates[-1] - dates[0]) / (len(dates) - 1)
        even = dates[0] + np.arange(len(dates)) * step
        anomaly = (seen - mean).assign_attrs(seen.attrs).assign_coords(time=even)
        filled = xinverse.interpolate(anomaly, method, mask=sea, **options)
        return mean + filled.assign_coords(time=dates)

    return fill


METHODS: dict[str, Method] = {
    "mean of the cell": mean_of_cell,
    "linear in time": linear_in_time,
    "dineof": by_dineof,
    "oi": by_verb("oi"),
    "tikhonov": by_verb("tikhonov"),
    "tv": by_verb("tv"),
}


def main() -> None:
    """Hide, fill, score."""
    arguments = parser(__doc__).parse_args()
    rows = []
    for name, unit, case in (
        ("Tasman temperature", "degC", tasman),
        ("chlorophyll", "log10", chlorophyll),
    ):
        truth, seen, sea = case(arguments.seed, arguments.quick)
        hidden = truth.where(seen.isnull())
        print(f"{name}: {int(hidden.notnull().sum())} hidden, {int(seen.notnull().sum())} seen")
        for method, fill in METHODS.items():
            with measured() as cost:
                filled = fill(seen, sea)
            score = float(rmse(filled.assign_attrs(truth.attrs), hidden))
            rows.append(
                {"series": name, "method": method, "rmse": score, "unit": unit, **cost.columns}
            )
    finish("gappy_series", rows, quick=arguments.quick, seed=arguments.seed, days=DAYS)


if __name__ == "__main__":
    main()
