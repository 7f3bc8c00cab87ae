"""The reference 4DVarNet package beside xinverse: the same numbers, and how fast.

    python benchmarks/reference_package.py [--environment FOLDER] [--seed N] [--quick]

Random weights of the package's own network are written by Lightning, read with
`xinverse.load_model`, and both map the same observations. Then both are timed on one
architecture, that of the reference's ``base.yaml``: a patch, a training step, and sixty days of
one region from labelled field to labelled field, with weights that the package has trained a
little, so that errors can be told. Here the window may also slide by five days, as it does by
default with weights of this package, and the convolutions be in bfloat16.

The package pins old versions of its libraries: it gets an environment of its own, made at the
first run (some minutes, and downloads), and works in another process, with as many threads. The
fastest of some repeats counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from _measure import finish, measured, seconds
from _report import parser

import xinverse
from xinverse.learning import ReferenceFourDVarNet, background_loss

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
NORMALISATION = (0.4, 0.25)
NETWORK = {
    "n_step": 10,
    "lbd": 1.0,
    "bilin_quad": False,
    "downsamp": 2,
    "solver_downsamp": 1,
}
# How this package may map the same days with the same weights.
OURS: dict[str, dict[str, Any]] = {
    "": {},
    ", ours every 5 days": {"stride": 5},
    ", and in bfloat16": {"stride": 5, "precision": "bfloat16"},
}
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


def field(days: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field that drifts, about the normalisation's level."""
    k = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    noise = np.fft.rfft2(rng.standard_normal((side, side)))
    still = np.fft.irfft2(noise * np.exp(-((k * side / 6) ** 2)), s=(side, side))
    drifting = np.stack([np.roll(still, day, axis=1) for day in range(days)])
    mean, std = NORMALISATION
    return (mean + std * drifting / drifting.std()).astype("f4")


def seen(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A twentieth of it, in stripes as altimeters leave them."""
    y, x = np.indices(truth.shape[-2:])
    out = np.full_like(truth, np.nan)
    for day, one in enumerate(truth):
        slope, start = rng.uniform(0.3, 0.6), rng.uniform(0, 40)
        stripes = (x + slope * y + start) % 40 < 2
        out[day][stripes] = one[stripes]
    return out


def normalised(values: np.ndarray) -> np.ndarray:
    mean, std = NORMALISATION
    return ((values - mean) / std).astype("f4")


def sizes(quick: bool) -> dict[str, Any]:
    """What is solved: the reference's own sizes, or tiny ones."""
    if quick:
        widths = {"window": 5, "prior_hidden": 4, "solver_hidden": 6, "border": 3}
        return {
            **widths,
            "side": 32,
            "small": 24,
            "train": (3, 2, 24),
            "days": 12,
            "repeats": 1,
        }
    widths = {"window": 15, "prior_hidden": 32, "solver_hidden": 48, "border": 20}
    train = (120, 2, 64)  # steps, batch, side
    return {**widths, "side": 240, "small": 64, "train": train, "days": 60, "repeats": 3}


def write_case(folder: Path, size: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """What both are given."""
    rng = np.random.default_rng(seed)
    widths = {k: size[k] for k in ("window", "prior_hidden", "solver_hidden", "border")}
    base = {**widths, "seed": seed, "normalisation": NORMALISATION}
    agreement = {
        name: base | {"network": options(size["small"], **changes), "gain": gain}
        for name, (changes, gain) in VARIANTS.items()
    }
    base |= {"network": options(size["side"]), "learns": options(size["train"][-1])}
    whole = {"base": base, "agreement": agreement, "repeats": size["repeats"]}
    (folder / "case.json").write_text(json.dumps(whole))
    window, (steps, batch, train_side) = size["window"], size["train"]
    small, truth = field(window, size["small"], rng), field(size["days"], size["side"], rng)
    train = [field(window, train_side, rng) for _ in range(steps * batch)]
    shape = (steps, batch, window, train_side, train_side)
    series = seen(truth, rng)
    fields = {
        "small": normalised(seen(small, rng))[None],
        "series": series,
        "patch": normalised(series[:window])[None],
        "truth": truth,
        "training": normalised(np.stack([seen(one, rng) for one in train])).reshape(shape),
        "training_truth": normalised(np.stack(train)).reshape(shape),
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


def train_step(size: dict[str, Any], y: np.ndarray, truth: np.ndarray) -> Callable[[], None]:
    """A step of xinverse's loss: field, slopes and projections, as the reference's."""
    sides = (size["window"], size["prior_hidden"], size["solver_hidden"])
    network = ReferenceFourDVarNet(*sides, **options(size["side"])).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    given, whole = torch.from_numpy(y), torch.from_numpy(truth)
    zero = torch.zeros_like(given)

    def step() -> None:
        estimate = network.reconstruct(zero, given, given.isfinite(), mode="unroll")
        loss = background_loss(network, estimate, whole, zero)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimiser.step()

    return step


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
            step = train_step(size, fields["training"][0], fields["training_truth"][0])
            spent = seconds(step, size["repeats"])
        shape = " x ".join(map(str, fields["training"].shape[1:]))
        ours = {"seconds": spent, "MiB": cost.peak_mib}
        rows.append(cost_row(f"a training step, {shape}", theirs["training"], ours))

        file = model.save(folder / "base.safetensors")
        da = labelled(fields["series"])
        call = {"method": "4dvarnet-reference", "weights": file, "device": "cpu"}
        what = f"{size['days']} days of {size['side']} x {size['side']}"
        for words, faster in OURS.items():
            with measured() as cost:
                filled = da.inverse.interpolate(**call, **faster, progress=False)
            ours = {"seconds": cost.seconds, "MiB": cost.peak_mib}
            row = cost_row(f"{what}{words}", theirs["series"], ours)
            if not faster:
                level = NORMALISATION[0]
                row = (
                    agreement_row(what, filled.values - level, outputs["series"] - level) | row
                )
            errors = error_columns(fields["truth"], outputs["series"], filled.values)
            rows.append(row | errors)
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
