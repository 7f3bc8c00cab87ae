"""Quasi-geostrophic 4DVar on simulated altimetry, beside tuned optimal interpolation.

    python benchmarks/qg_4dvar.py [--seed N] [--quick] [--cache FOLDER]

Two oceans of two quasi-geostrophic layers, 64 x 64 cells and 40 days, are seen by four nadir
altimeters with 2 cm of white noise. Optimal interpolation gets the scales that are best for
that very run, found with its truth. ``method="4dvar"`` knows one layer only, the deformation
radius, and the length scale found for optimal interpolation; its other options are its
defaults, chosen on a third run. Scored without the first and last 8 days.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr
from _measure import finish, measured, save_figure
from _report import parser
from _tune import descend

import xinverse  # noqa: F401  the accessor
from xinverse.osse import observe
from xinverse.osse.nature import Ocean, draw_ocean, nature_runs
from xinverse.scores import normalised_mse

SYSTEMS, NOISE = "nadir:4", 0.02
OCEANS = {"development": Ocean(), "first": Ocean(), "second": draw_ocean(301)}
SCORED = slice(8, -8)
LATTICE = {
    "length_scale": tuple(float(round(60 * 1.2**k)) for k in range(-3, 6)),
    "time_scale": tuple(round(10 * 1.25**k, 1) for k in range(-3, 7)),
}
START = {"length_scale": LATTICE["length_scale"][5], "time_scale": LATTICE["time_scale"][5]}


def simulate(cache: Path, seed: int, days: int = 40) -> dict[str, xr.DataArray]:
    """The runs by name, simulated or from the cache."""
    files = {name: cache / f"qg-4dvar-{name}-{seed}.nc" for name in OCEANS}
    if not all(file.exists() for file in files.values()):
        runs = nature_runs(
            list(OCEANS.values()), days=days, spinup=500, size=64, seed=5 + seed, progress=True
        )
        for file, run in zip(files.values(), runs, strict=True):
            run.to_netcdf(file)
    return {name: xr.load_dataarray(file) for name, file in files.items()}


def compare(truth: xr.DataArray, seed: int, quick: bool) -> tuple[list[dict[str, Any]], Any]:
    """Rows of one run, and its maps."""
    observations = observe(truth, SYSTEMS, noise=NOISE, seed=seed)

    def fill(method: str, **options: Any) -> xr.DataArray:
        return observations.inverse.interpolate(
            method=method, noise="ssh_noise", background=0.0, **options
        )["ssh"]

    def score(filled: xr.DataArray) -> float:
        return float(normalised_mse(filled.isel(time=SCORED), truth.isel(time=SCORED)))

    lattice = {name: (value,) for name, value in START.items()} if quick else LATTICE
    best, _ = descend(lambda trial: score(fill("oi", tolerance=1e-3, **trial)), lattice, START)
    dynamics = {
        "length_scale": best["length_scale"],
        "rossby_radius": float(truth.attrs["rossby_radius_km"]),
        "iterations": 3 if quick else 50,
    }
    maps, rows = {}, []
    for name, method, options in (
        ("oi, best scales", "oi", best),
        ("4dvar, quasi-geostrophic", "4dvar", dynamics),
    ):
        with measured() as cost:
            maps[name] = fill(method, **options)
        rows.append(
            {"method": name, "normalised mse": score(maps[name]), **options, **cost.columns}
        )
        print(rows[-1], flush=True)
    gain = 1 - rows[1]["normalised mse"] / rows[0]["normalised mse"]
    rows[1] |= {
        "gain in mse %": 100 * gain,
        "required": "> 0",
        "met": "yes" if gain > 0 else "NO",
    }
    return rows, {"observations": observations["ssh"], **maps}


def main() -> None:
    """Compare on two runs."""
    options = parser(__doc__)
    options.add_argument("--cache", type=Path, default=Path("training-cache"))
    arguments = options.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    runs = simulate(arguments.cache, arguments.seed)
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(("first", "second")):
        truth = runs[name]
        found, maps = compare(truth, 100 * arguments.seed + number + 1, arguments.quick)
        rows += [{"ocean": name, **row} for row in found]
        if name == "first" and not arguments.quick:
            _draw(truth, maps)
    finish(
        "qg_4dvar",
        rows,
        quick=arguments.quick,
        seed=arguments.seed,
        systems=SYSTEMS,
        noise=NOISE,
    )


def _draw(truth: xr.DataArray, maps: dict[str, xr.DataArray]) -> None:
    from xinverse.plot import comparison

    seen = maps.pop("observations")
    truth = truth.assign_attrs(long_name="sea surface height")
    save_figure(comparison(truth, seen, maps, time=truth.sizes["time"] // 2), "qg_4dvar")


if __name__ == "__main__":
    main()
