"""Sea surface temperature of the Alboran Sea: clouds filled, scored below withheld clouds.

    python benchmarks/alboran.py [--seed N] [--quick]

Ten dates of AVHRR temperature with 9 to 90 % of the sea below clouds, one date missing between.
A tenth of what was seen on each date is withheld in the shape of clouds: four patches of what
lies below the clouds of another date, each within a circle. Scales are chosen on one set of
such patches, and scored on another that was withheld from the choice as well.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from _baselines import nearest
from _measure import finish, measured, save_figure
from _mediterranean import data_folder
from _report import parser
from _tune import descend

from xinverse.scores import explained_variance, rmse

FILE = "sst_l3_alboran_201705.nc"
SHARE, PATCHES = 0.1, 4  # of the observed cells of each date, in so many patches
LATTICE = {
    "length_scale": (10.0, 15.0, 22.0, 30.0, 45.0, 60.0),
    "time_scale": (0.7, 1.0, 1.5, 2.0, 3.0, 4.5),
    "noise": (0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
    "covariance": ("gaussian", "matern32"),
}
START = {"length_scale": 45.0, "time_scale": 1.5, "noise": 0.5, "covariance": "gaussian"}


def cloud_patches(
    observed: np.ndarray, sea: np.ndarray, avoid: np.ndarray, seed: int
) -> np.ndarray:
    """Cells to withhold, ``(nt, ny, nx)``: the clouds of other dates, in a circle.

    Parameters
    ----------
    observed : ndarray of bool, shape (nt, ny, nx)
        What was seen.
    sea : ndarray of bool, shape (ny, nx)
        Where a cell that was not seen is a cloud.
    avoid : ndarray of bool, shape (nt, ny, nx)
        Cells that are withheld already.
    seed : int
        Draws the date and the circle.
    """
    random = np.random.default_rng(seed)
    clouds = sea & ~observed
    rows, columns = np.indices(sea.shape)
    withheld = np.zeros_like(observed)
    for day, seen in enumerate(observed):
        wanted = int(SHARE * seen.sum() / PATCHES)
        others = [d for d in range(len(observed)) if d != day]
        for _ in range(PATCHES):
            free = seen & ~avoid[day] & ~withheld[day]
            wide = [d for d in others if (free & clouds[d]).sum() >= max(wanted, 1)]
            if wanted == 0 or not wide:
                continue
            patch = free & clouds[random.choice(wide)]
            centre = random.choice(np.argwhere(patch))
            distance = np.hypot(rows - centre[0], columns - centre[1])
            radius = np.sort(distance[patch])[wanted - 1]
            withheld[day] |= patch & (distance <= radius)
    return withheld


def main() -> None:
    """Choose scales, fill, score."""
    arguments = parser(__doc__).parse_args()
    with xr.open_dataset(data_folder() / FILE) as opened:
        ds = opened.load()
    if arguments.quick:
        ds = ds.isel(lat=slice(60, 140), lon=slice(60, 160))
    sst, sea = ds["sst"], ds["mask"] == 1
    observed = (sst.notnull() & sea).values
    none = np.zeros_like(observed)
    scored = cloud_patches(observed, sea.values, none, 2 * arguments.seed)
    tuning = cloud_patches(observed, sea.values, scored, 2 * arguments.seed + 1)
    kept = ds.assign(sst=sst.where(~scored))
    truth, validation = sst.where(scored), sst.where(tuning)
    print(
        f"{sea.sum().item()} sea cells, {observed.sum()} of {observed.size} seen; "
        f"{scored.sum()} withheld to score, {tuning.sum()} to choose scales"
    )

    def fill(given: xr.Dataset, **options: object) -> xr.Dataset:
        return given.inverse.interpolate(method="oi", mask="mask", **options)

    def score(filled: xr.DataArray, wanted: xr.DataArray) -> float:
        return float(rmse(filled, wanted))

    given = kept.assign(sst=kept["sst"].where(~tuning))
    options, trials = descend(
        # A thousandth of the residual is close enough to compare scales.
        lambda trial: score(fill(given, tolerance=1e-3, **trial)["sst"], validation),
        {name: (value,) for name, value in START.items()} if arguments.quick else LATTICE,
        START,
    )

    seen = kept["sst"].where(sea)
    maps, costs = {}, {}
    with measured() as costs["mean of the date"]:
        maps["mean of the date"] = seen.mean(("lat", "lon")).broadcast_like(seen).where(sea)
    with measured() as costs["mean of the cell"]:
        anomaly = seen - seen.mean(("lat", "lon"))
        field = anomaly.mean("time").fillna(0.0) + seen.mean(("lat", "lon"))
        maps["mean of the cell"] = field.transpose(*seen.dims).where(sea)
    with measured() as costs["nearest"]:
        scales = (options["length_scale"], options["time_scale"])
        maps["nearest"] = nearest(seen, sea, *scales)
    with measured() as costs["oi"]:
        filled = fill(kept, **options)
    maps["oi"] = filled["sst"]
    _check(filled["sst"], sea)
    rows = []
    for name, plain in maps.items():
        field = plain.assign_attrs(sst.attrs)
        rows.append(
            {
                "method": name,
                "rmse degC": score(field, truth),
                "explained variance": float(explained_variance(field, truth)),
                **costs[name].columns,
            }
        )
    print("chosen for oi:", options)
    finish(
        "alboran",
        rows,
        quick=arguments.quick,
        seed=arguments.seed,
        chosen=options,
        trials=trials,
        withheld_cells=int(scored.sum()),
        observed_cells=int(observed.sum()),
    )
    if not arguments.quick:
        _draw(sst, kept["sst"], maps["oi"], sea)


def _check(filled: xr.DataArray, sea: xr.DataArray) -> None:
    """Every sea cell is filled, and land is not."""
    if not bool((filled.notnull() == sea).all()):
        raise SystemExit("The filled map is not finite on the sea alone.")


def _draw(
    sst: xr.DataArray, kept: xr.DataArray, filled: xr.DataArray, sea: xr.DataArray
) -> None:
    from xinverse.plot import maps

    # The date that is half below clouds shows most.
    share = (sst.notnull() & sea).sum(("lat", "lon")) / sea.sum()
    day = int(np.abs(share.values - 0.5).argmin())
    panels = {
        "seen": sst.where(sea),
        "seen, without the withheld patches": kept.where(sea),
        "filled by optimal interpolation": filled,
    }
    panels = {k: v.assign_attrs(sst.attrs, long_name="temperature") for k, v in panels.items()}
    save_figure(maps(panels, time=day, sea=sea), "alboran")


if __name__ == "__main__":
    main()
