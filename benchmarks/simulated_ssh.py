"""Simulated oceans that the bundled 4DVarNet never saw: its gain over optimal interpolation.

    python benchmarks/simulated_ssh.py [--seed N] [--quick] [--cache FOLDER]

Three quasi-geostrophic runs, simulated as those of ``train_ssh.py`` but of oceans that it does
not use, are seen by four nadir altimeters with 2 cm of white noise. Optimal interpolation
is given the noise of every cell, and for each run the scales that are best for that very run,
found with its truth: the strongest of its kind. 4DVarNet takes what is bundled, as it is.
Scored over the whole box, without the first and last 20 days.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from _measure import finish, measured, save_figure
from _report import parser
from _tune import descend
from train_ssh import UNSEEN, simulate

from xinverse.osse import observe
from xinverse.scores import explained_variance, mu_sigma, normalised_mse

OCEANS = (200, 201, 202)
SYSTEMS, NOISE = "nadir:4", 0.02
SCORED = slice(20, -20)
LATTICE = {
    "length_scale": tuple(float(round(60 * 1.15**k)) for k in range(-4, 10)),
    "time_scale": tuple(round(10 * 1.2**k, 1) for k in range(-5, 6)),
}
START = {"length_scale": LATTICE["length_scale"][6], "time_scale": 10.0}
REQUIRED = 15.0  # % of mean-square error


def compare(
    truth: xr.DataArray, seed: int, quick: bool
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of both methods for one run, and their maps."""
    observations = observe(truth, SYSTEMS, noise=NOISE, seed=seed)
    wanted = truth.isel(time=SCORED)

    def fill(method: str, **options: float) -> xr.DataArray:
        return observations.inverse.interpolate(
            method=method, noise="ssh_noise", background=0.0, **options
        )["ssh"]

    def score(filled: xr.DataArray) -> float:
        return float(normalised_mse(filled.isel(time=SCORED), wanted))

    lattice = {name: (value,) for name, value in START.items()} if quick else LATTICE
    chosen, trials = descend(
        lambda trial: score(fill("oi", tolerance=1e-3, **trial)), lattice, START
    )
    maps, rows = {}, []
    for method, options in (("oi", chosen), ("4dvarnet", {})):
        with measured() as cost:
            maps[method] = fill(method, **options)
        found = maps[method].isel(time=SCORED)
        mu = mu_sigma(found, wanted)
        rows.append(
            {
                "ocean": seed,
                "method": method,
                "normalised mse": score(maps[method]),
                "explained variance": float(explained_variance(found, wanted)),
                "mu": float(mu["mu"]),
                "rmse cm": 100 * float(mu["rmse"]),
                "length km": options.get("length_scale", ""),
                "time days": options.get("time_scale", ""),
                **cost.columns,
            }
        )
    gain = 100 * (1 - rows[1]["normalised mse"] / rows[0]["normalised mse"])
    rows[1]["gain in mse %"] = gain
    for row in rows:
        print(row, flush=True)
    return rows, {"observations": observations["ssh"], "trials": trials, **maps}


def main() -> None:
    """Compare on three runs."""
    options = parser(__doc__)
    options.add_argument("--cache", type=Path, default=Path("training-cache"))
    arguments = options.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    runs = simulate(*UNSEEN, arguments.cache)
    rows: list[dict[str, Any]] = []
    trials = {}
    for ocean in OCEANS[:1] if arguments.quick else OCEANS:
        truth = runs[ocean]
        if arguments.quick:
            truth = truth.isel(time=slice(0, 80))
        print(
            f"ocean {ocean}: spacing {truth.attrs['spacing_km']:.1f} km, "
            f"deformation radius {truth.attrs['rossby_radius_km']:.0f} km, "
            f"standard deviation {float(truth.std()):.3f} m"
        )
        found, details = compare(truth, ocean + 1000 * arguments.seed, arguments.quick)
        rows += [{**row, "ocean": ocean} for row in found]
        trials[ocean] = details["trials"]
        if ocean == OCEANS[0] and not arguments.quick:
            _draw(truth, details)
    gains = [row["gain in mse %"] for row in rows if "gain in mse %" in row]
    spread = float(np.std(gains, ddof=1)) if len(gains) > 1 else float("nan")
    rows.append(
        {
            "ocean": "all",
            "method": f"4dvarnet, mean (spread {spread:.1f})",
            "gain in mse %": float(np.mean(gains)),
            "required": f">= {REQUIRED:g} %",
            "met": "yes" if np.mean(gains) >= REQUIRED else "NO",
        }
    )
    finish(
        "simulated_ssh",
        rows,
        quick=arguments.quick,
        seed=arguments.seed,
        systems=SYSTEMS,
        noise=NOISE,
        gains=gains,
        spread=spread,
        trials=trials,
    )


def _draw(truth: xr.DataArray, details: dict[str, Any]) -> None:
    from xinverse.plot import comparison

    shown = {"oi, best scales": details["oi"], "4dvarnet": details["4dvarnet"]}
    truth = truth.assign_attrs(long_name="sea surface height")
    day = truth.sizes["time"] // 2
    save_figure(comparison(truth, details["observations"], shown, time=day), "simulated_ssh")


if __name__ == "__main__":
    main()
