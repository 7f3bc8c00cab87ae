"""The reference 4DVarNet package beside xinverse: the same numbers, and how fast.

    python benchmarks/reference_package.py [--environment FOLDER] [--seed N] [--quick]

Random weights of the package's own network are written by Lightning, read with
`xinverse.load_model`, and both map the same observations. Then both are timed on one
architecture, that of the reference's ``base.yaml``: a patch, a training, and sixty days of one
region from labelled field to labelled field. Each trains that network in its own way, on the
same patches and for as many steps; the reference maps with what it has learned, every window,
and this package with the same weights and with its own. Here the window may also slide by
several days, as it does by default with weights of this package, and the convolutions be in
bfloat16.

The package pins old versions of its libraries: it gets an environment of its own, made at the
first run (some minutes, and downloads), and works in another process, with as many threads. The
fastest of some repeats counts for a patch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from _measure import finish, measured, seconds
from _report import parser
from _stripes import LEVEL, SPREAD, batch_at, field, normalised, seen

import xinverse
from xinverse.learning import (
    Batch,
    ReferenceFourDVarNet,
    Settings,
    background_loss,
    train,
)

PACKAGE = "ocean4dvarnet==1.0.6"
LIBRARIES = (
    "numpy==1.26.4",
    "xarray==2025.1.2",
    "pytorch-lightning==2.3.3",
    "setuptools<81",
    "kornia",
    "omegaconf",
    "hydra-core",
    "xrft",
    "metpy",
    "tabulate",
)
TOLERANCE = 1e-5
NORMALISATION = (LEVEL, SPREAD)
NETWORK = {
    "n_step": 10,
    "lbd": 1.0,
    "bilin_quad": False,
    "downsamp": 2,
    "solver_downsamp": 1,
}
# How this package may map the same days: whose weights, and its options.
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "": ("reference", {}),
    ", ours every 5 days": ("reference", {"stride": 5}),
    ", ours every 5 days in bfloat16": ("reference", {"stride": 5, "precision": "bfloat16"}),
    ", trained here, every 5 days in bfloat16": (
        "xinverse",
        {"stride": 5, "precision": "bfloat16"},
    ),
    ", trained here, every 7 days in bfloat16": (
        "xinverse",
        {"stride": 7, "precision": "bfloat16"},
    ),
}
WANTED = 10  # times as fast, at no larger error
# What the tensors do not show, one by one. With stretched weights the terms matter more.
VARIANTS: dict[str, tuple[dict[str, Any], float]] = {
    "as in base.yaml": ({}, 1.0),
    "stretched weights": ({"n_step": 5}, 2.0),
    "square for product": ({"bilin_quad": True}, 1.0),
    "one resolution": ({"downsamp": 1}, 1.0),
    "lbd and coarse LSTM": ({"lbd": 1.5, "solver_downsamp": 2}, 1.0),
}


def options(side: int, **changes: Any) -> dict[str, Any]:
    """What the tensors do not show; the rate makes the same step at a cell on any patch."""
    return {**NETWORK, "lr_grad": 1e3 * (side / 240) ** 2, **changes}


def prepared(folder: Path) -> Path:
    """The Python of an environment that has the package; made where there is none."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "complete"
    if done.exists():
        return python
    print(f"making an environment for {PACKAGE} in {folder}", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    install = [str(python), "-m", "pip", "install", "--quiet"]
    same = f"torch=={torch.__version__.partition('+')[0]}"
    subprocess.run([*install, *LIBRARIES, same], check=True)
    # Without what it asks for: it also pins what it does not use here.
    subprocess.run([*install, "--no-deps", PACKAGE], check=True)
    done.touch()
    return python


def sizes(quick: bool) -> dict[str, Any]:
    """What is solved: the reference's own sizes, or tiny ones."""
    if quick:
        widths = {"window": 9, "prior_hidden": 4, "solver_hidden": 6, "border": 3}
        learns = {"steps": 3, "batch": (2, 24)}
        return {**widths, **learns, "side": 32, "small": 24, "days": 18, "repeats": 1}
    widths = {"window": 15, "prior_hidden": 32, "solver_hidden": 48, "border": 20}
    learns = {"steps": 600, "batch": (2, 64)}  # patches, and their side
    return {**widths, **learns, "side": 240, "small": 64, "days": 60, "repeats": 3}


def write_case(folder: Path, size: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """What both are given."""
    rng = np.random.default_rng(seed)
    same = ("window", "prior_hidden", "solver_hidden", "border", "steps", "batch")
    base = {**{k: size[k] for k in same}, "seed": seed, "normalisation": NORMALISATION}
    agreement = {
        name: base | {"network": options(size["small"], **changes), "gain": gain}
        for name, (changes, gain) in VARIANTS.items()
    }
    patch = size["batch"][1]
    learns = {"network": options(patch), "border": size["border"] * patch // size["side"]}
    base |= {"network": options(size["side"]), "learns": learns}
    whole = {"base": base, "agreement": agreement, "repeats": size["repeats"]}
    (folder / "case.json").write_text(json.dumps(whole))
    window = size["window"]
    small, truth = field(window, size["small"], rng), field(size["days"], size["side"], rng)
    series = seen(truth, rng)
    fields = {
        "small": normalised(seen(small, rng))[None],
        "series": series,
        "patch": normalised(series[:window])[None],
        "truth": truth,
    }
    np.savez(folder / "fields.npz", **fields)
    return fields


def read(path: Path, network: dict[str, Any]) -> xinverse.Model:
    return xinverse.load_model(
        path,
        variables=("ssh",),
        units="m",
        grid_spacing_km=(1, 20),
        normalisation=NORMALISATION,
        network=network,
    )


def reconstruct(network: Any, y: np.ndarray) -> np.ndarray:
    given = torch.from_numpy(y)
    return network.reconstruct(torch.zeros_like(given), given, given.isfinite()).numpy()


def trained(size: dict[str, Any], seed: int) -> ReferenceFourDVarNet:
    """The same network, trained on the same patches with this package's loop and loss."""
    sides = (size["window"], size["prior_hidden"], size["solver_hidden"])
    count, patch = size["batch"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ReferenceFourDVarNet(*sides, **options(patch)).train()

    def batch(step: int) -> Batch:
        y, truth = map(torch.from_numpy, batch_at(step, seed, count, size["window"], patch))
        return Batch(torch.zeros_like(truth), y, y.isfinite(), truth)

    def loss(model: ReferenceFourDVarNet, some: Batch, steps: int) -> torch.Tensor:
        found = model.reconstruct(
            some.background, some.y, some.observed, steps=steps, mode="unroll"
        )
        return background_loss(model, found, some.truth, some.background)

    settings = Settings(
        steps=size["steps"],
        learning_rate=1e-3,
        warm_steps=NETWORK["n_step"],
        precision="bfloat16",
    )
    train(network, batch, settings, objective=loss, progress=False)
    return network.eval()


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative difference, root mean square, where the reference gives anything."""
    given = np.isfinite(expected)
    difference = found[given].astype("f8") - expected[given]
    return float(np.sqrt((difference**2).sum() / (expected[given].astype("f8") ** 2).sum()))


def agreement_row(what: str, found: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    difference = apart(found, expected)
    met = "yes" if difference <= TOLERANCE else "NO"
    return {"what": what, "relative difference": difference, "<= 1e-5": met}


def cost_row(what: str, theirs: dict[str, float], ours: dict[str, float]) -> dict[str, Any]:
    return {
        "what": what,
        "reference, s": theirs["seconds"],
        "xinverse, s": ours["seconds"],
        "ratio": theirs["seconds"] / ours["seconds"],
        "reference, MiB": round(theirs["MiB"]),
        "xinverse, MiB": round(ours["MiB"]),
    }


def error_columns(truth: np.ndarray, theirs: np.ndarray, ours: np.ndarray) -> dict[str, float]:
    """Normalised mean-square errors, where the reference gives anything."""
    given = np.isfinite(theirs)
    spread = truth[given].var(dtype="f8")

    def missed(found: np.ndarray) -> float:
        return float(np.square(found[given].astype("f8") - truth[given]).mean() / spread)

    return {"reference, nmse": missed(theirs), "xinverse, nmse": missed(ours)}


def mapping_rows(
    fields: dict[str, np.ndarray],
    mapped: np.ndarray,
    theirs: dict[str, float],
    weights: dict[str, Path],
) -> list[dict[str, Any]]:
    """The series from labelled field to labelled field, in several ways, and what is missed."""
    da = labelled(fields["series"])
    what = "{} days of {} x {}".format(*da.shape)
    rows = []
    for words, (whose, faster) in OURS.items():
        with measured() as cost:
            filled = da.inverse.interpolate(
                method="4dvarnet-reference",
                weights=weights[whose],
                device="cpu",
                progress=False,
                **faster,
            )
        ours = {"seconds": cost.seconds, "MiB": cost.peak_mib}
        row = cost_row(f"{what}{words}", theirs, ours)
        if not faster:
            row = agreement_row(what, filled.values - LEVEL, mapped - LEVEL) | row
        errors = error_columns(fields["truth"], mapped, filled.values)
        better = errors["xinverse, nmse"] <= errors["reference, nmse"]
        met = "yes" if better and row["ratio"] >= WANTED else "NO"
        rows.append(row | errors | {f"{WANTED} times, no worse": met})
    return rows


def labelled(series: np.ndarray) -> xr.DataArray:
    days, side, _ = series.shape
    start = np.datetime64("2020-01-01", "ns")
    return xr.DataArray(
        series,
        dims=("time", "latitude", "longitude"),
        coords={
            "time": start + np.arange(days) * np.timedelta64(1, "D"),
            "latitude": 32 + 0.05 * np.arange(side),
            "longitude": -66 + 0.05 * np.arange(side),
        },
        name="ssh",
        attrs={"units": "m"},
    )


def main() -> None:
    made = parser(__doc__)
    cached = Path(tempfile.gettempdir()) / "xinverse-reference-package"
    made.add_argument("--environment", type=Path, default=cached, metavar="FOLDER")
    made.add_argument("--verbose", action="store_true", help="show what the package says")
    arguments = made.parse_args()
    python = prepared(arguments.environment.absolute())
    size = sizes(arguments.quick)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fields = write_case(folder, size, arguments.seed)
        threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        side = Path(__file__).with_name("_reference_side.py")
        subprocess.run(
            [str(python), str(side), str(folder)],
            check=True,
            env={**os.environ, **threads, "PYTHONPATH": str(side.parent)},
            stdout=subprocess.DEVNULL,
            stderr=None if arguments.verbose else subprocess.DEVNULL,
        )
        theirs = json.loads((folder / "costs.json").read_text())
        outputs = np.load(folder / "outputs.npz")

        for variant, (changes, _) in VARIANTS.items():
            network = read(
                folder / f"{variant}.ckpt", options(size["small"], **changes)
            ).network
            found = reconstruct(network, fields["small"])
            rows.append(agreement_row(f"a patch, {variant}", found, outputs[variant]))

        model = read(folder / "base.ckpt", options(size["side"]))
        with measured() as cost:
            spent = seconds(
                lambda: reconstruct(model.network, fields["patch"]), size["repeats"]
            )
        shape = " x ".join(map(str, fields["patch"].shape[1:]))
        ours = {"seconds": spent, "MiB": cost.peak_mib}
        found = reconstruct(model.network, fields["patch"])
        what = f"a patch of {shape}"
        rows.append(
            agreement_row(what, found, outputs["patch"]) | cost_row(what, theirs["patch"], ours)
        )

        with measured() as cost:
            own = trained(size, arguments.seed)
        count, patch = size["batch"]
        shape = f"{count} x {size['window']} x {patch} x {patch}"
        ours = {"seconds": cost.seconds, "MiB": cost.peak_mib}
        what = f"{size['steps']} training steps, {shape}, ours in bfloat16"
        rows.append(cost_row(what, theirs["training"], ours))

        larger = ReferenceFourDVarNet.from_config(
            {**own.config, "lr_grad": model.network.config["lr_grad"]}
        )
        larger.load_state_dict(own.state_dict())
        weights = {
            "reference": model.save(folder / "base.safetensors"),
            "xinverse": replace(model, network=larger).save(folder / "own.safetensors"),
        }
        rows += mapping_rows(fields, outputs["series"], theirs["series"], weights)
    finish(
        "reference_package",
        rows,
        quick=arguments.quick,
        seed=arguments.seed,
        package=PACKAGE,
        threads=theirs["threads"],
    )
    if any(row.get("<= 1e-5") == "NO" for row in rows):
        sys.exit("The outputs are further apart than 1e-5.")


if __name__ == "__main__":
    main()
