"""Oceans that the bundled weights never saw: 4DVarNet, what it is compared with, and tuned OI.

    python benchmarks/osse_ssh.py [--seed N] [--quick] [--cache FOLDER]

Three simulated oceans with parameters inside the range of the training and one outside it
(``_oceans.py``), each seen by one nadir altimeter, by four, and by four and SWOT, with 2 cm of
white noise. Optimal interpolation is given, for each ocean and each observing system, the
scales that are best for that very run, found with the truth of 60 of its days. The learned
methods take their weights as they are: those of the bundled 4DVarNet, and those that
``train_ssh.py`` makes of a U-Net and of a gradient descent (``--networks FOLDER``). Each
starts once from an interpolation with the fixed scales of its card, as it does by default,
and once, where the table says "from oi", from the very map that it is compared with. Where it
says "one pass", the windows of a network that is trained to go over the days twice go once.

Scored over the whole box, without the first and last 20 days: normalised mean-square error, its
gain over optimal interpolation, and the effective resolution in longitude and time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from _measure import finish, measured, save_figure
from _oceans import unseen_runs
from _report import parser
from _tune import descend

import xinverse
from xinverse.osse import observe
from xinverse.scores import mu_sigma, normalised_mse, spectral_scores

SYSTEMS = {
    "one nadir": ("nadir:1",),
    "four nadirs": ("nadir:4",),
    "four nadirs + SWOT": ("nadir:4", "swot"),
}
# Gain in mean-square error, and λx over that of optimal interpolation.
REQUIRED = {
    "one nadir": (0.0, None),
    "four nadirs": (30.0, 0.8),
    "four nadirs + SWOT": (40.0, 0.75),
}
FROM_OI, ONE_PASS = " from oi", ", one pass"
NOISE = 0.02
SCORED = slice(20, -20)
TUNED, INSIDE = slice(60, 140), slice(10, -10)
LATTICE = {
    "length_scale": tuple(float(round(60 * 1.15**k)) for k in range(-6, 12)),
    "time_scale": tuple(round(10 * 1.2**k, 1) for k in range(-6, 7)),
}
START = {"length_scale": LATTICE["length_scale"][8], "time_scale": 10.0}
SHOWN = ("200", "four nadirs + SWOT")


def rows_of(
    truth: xr.DataArray,
    name: str,
    system: str,
    networks: dict[str, Path | None],
    seed: int,
    quick: bool,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of all methods for one ocean and one observing system, and their maps."""
    l3 = observe(truth, list(SYSTEMS[system]), noise=NOISE, seed=seed)
    wanted = truth.isel(time=SCORED)

    def fill(seen: xr.Dataset, method: str, **options: Any) -> xr.DataArray:
        return seen.inverse.interpolate(
            method=method, noise="ssh_noise", background=0.0, **options
        )["ssh"]

    def missed(trial: dict[str, float]) -> float:
        found = fill(some, "oi", tolerance=1e-3, **trial).isel(time=INSIDE)
        return float(normalised_mse(found, truth.sel(time=found.time)))

    some = l3 if quick else l3.isel(time=TUNED)
    lattice = {n: (v,) for n, v in START.items()} if quick else LATTICE
    chosen, trials = descend(missed, lattice, START)
    maps: dict[str, xr.DataArray] = {}
    rows: list[dict[str, Any]] = []
    learned = [name + start for name in networks for start in ("", FROM_OI)]
    for method in ("oi", *learned, "4dvarnet" + FROM_OI + ONE_PASS):
        with measured() as cost:
            if method == "oi":
                found = fill(l3, "oi", **chosen)
            else:
                network = method.removesuffix(ONE_PASS).removesuffix(FROM_OI)
                given: dict[str, Any] = dict(chosen) if FROM_OI in method else {}
                given |= {"passes": 1} if ONE_PASS in method else {}
                kind = "unet" if network == "unet" else "4dvarnet"
                found = fill(l3, kind, weights=networks[network], **given)
        maps[method] = found.isel(time=SCORED)
        scores, mu = spectral_scores(maps[method], wanted), mu_sigma(maps[method], wanted)
        rows.append(
            {
                "ocean": name,
                "observations": system,
                "method": method,
                "scales": (
                    "{length_scale:g} km, {time_scale:g} days".format(**chosen)
                    if method == "oi"
                    else ""
                ),
                "nmse": float(normalised_mse(maps[method], wanted)),
                "mu": float(mu["mu"]),
                "rmse cm": 100 * float(mu["rmse"]),
                "lambda_x km": float(scores["lambda_x_km"]),
                "lambda_t days": float(scores["lambda_t"]),
                "seconds": round(cost.seconds, 1),
            }
        )
        first, last = rows[0], rows[-1]
        last["gain %"] = 100 * (1 - last["nmse"] / first["nmse"])
        last["lambda_x over OI"] = last["lambda_x km"] / first["lambda_x km"]
        print(last, flush=True)
    return rows, {"trials": trials, "l3": l3["ssh"], "maps": maps, "truth": wanted}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and spread over the oceans inside the range, and what was asked."""
    found = []
    for system, (gain, resolution) in REQUIRED.items():
        for method in dict.fromkeys(row["method"] for row in rows):
            own = [
                row
                for row in rows
                if (row["observations"], row["method"]) == (system, method)
                and row["ocean"] != "outside"
            ]
            if not own:
                continue
            gains = [row["gain %"] for row in own]
            ratios = [row["lambda_x over OI"] for row in own]
            line: dict[str, Any] = {
                "ocean": "mean inside",
                "observations": system,
                "method": method,
                "nmse": float(np.mean([row["nmse"] for row in own])),
                "gain %": float(np.mean(gains)),
                "spread of gain": float(np.std(gains, ddof=1)) if len(gains) > 1 else np.nan,
                "lambda_x over OI": float(np.nanmean(ratios)),
            }
            if method.removesuffix(FROM_OI) == "4dvarnet":
                met = line["gain %"] >= gain
                line["required"] = f"gain >= {gain:g}"
                if resolution is not None:
                    met = met and line["lambda_x over OI"] <= resolution
                    line["required"] += f", lambda_x <= {resolution:g}"
                line["met"] = "yes" if met else "NO"
            found.append(line)
    return found


def main() -> None:
    """Compare on four oceans."""
    options = parser(__doc__)
    options.add_argument("--cache", type=Path, default=Path("training-cache"))
    options.add_argument("--networks", type=Path, default=Path("benchmarks/weights"))
    arguments = options.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    networks: dict[str, Path | None] = {"4dvarnet": None}
    for other in ("unet", "gradient-descent"):
        file = arguments.networks / f"ssh-{other}.safetensors"
        if file.exists():
            networks[other] = file
    rows: list[dict[str, Any]] = []
    trials: dict[str, Any] = {}
    days = slice(0, 70 if arguments.quick else None)
    for number, (name, run) in enumerate(unseen_runs(arguments.cache).items()):
        truth = run.isel(time=days)
        print(
            f"ocean {name}: spacing {truth.attrs['spacing_km']:.1f} km, deformation radius "
            f"{truth.attrs['rossby_radius_km']:.0f} km, standard deviation "
            f"{float(truth.std()):.3f} m",
            flush=True,
        )
        for system in SYSTEMS:
            seed = 500 + number + 1000 * arguments.seed
            found, details = rows_of(truth, name, system, networks, seed, arguments.quick)
            rows += found
            trials[f"{name}, {system}"] = details["trials"]
            if (name, system) == SHOWN and not arguments.quick:
                drawn = {m: f for m, f in details["maps"].items() if FROM_OI not in m}
                figure = xinverse.compare(drawn, details["truth"]).plot()
                save_figure(figure, "osse_ssh")
        if arguments.quick:
            break
    rows += summary(rows)
    finish(
        "osse_ssh", rows, quick=arguments.quick, seed=arguments.seed, noise=NOISE, trials=trials
    )


if __name__ == "__main__":
    main()
