"""The reference package's half of `reference_package.py`, run by a Python that has it.

    python benchmarks/_reference_side.py FOLDER

Reads ``case.json`` and ``fields.npz`` in the folder, writes checkpoints, outputs and
``costs.json`` beside them. It knows the package by its public names only.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ocean4dvarnet.data as reference_data
import ocean4dvarnet.models as reference_models
import ocean4dvarnet.utils as reference_utils
import pytorch_lightning as pl
import torch
import xarray as xr
from _measure import measured, seconds
from _stripes import batch_at

warnings.filterwarnings("ignore")


def build(case: dict[str, Any], patch: tuple[int, int], gain: float = 1.0) -> Any:
    """An untrained network, its weights stretched."""
    torch.manual_seed(case["seed"])
    window, options = case["window"], case["network"]

    def factor(name: str) -> int | None:
        return options[name] if options[name] > 1 else None

    solver = reference_models.GradSolver(
        reference_models.BilinAEPriorCost(
            window,
            case["prior_hidden"],
            downsamp=factor("downsamp"),
            bilin_quad=options["bilin_quad"],
        ),
        reference_models.BaseObsCost(),
        reference_models.ConvLstmGradModel(
            window, case["solver_hidden"], downsamp=factor("solver_downsamp")
        ),
        n_step=options["n_step"],
        lr_grad=options["lr_grad"],
        lbd=options["lbd"],
    )
    with torch.no_grad():
        for parameter in solver.parameters():
            parameter.mul_(gain)
    sides = {"time": window, "lat": patch[0], "lon": patch[1]}
    weight = reference_utils.get_triang_time_wei(
        sides, offset=1, crop={"time": 0, "lat": case["border"], "lon": case["border"]}
    )
    return reference_models.Lit4dVarNet(
        solver,
        weight,
        lambda module: reference_utils.cosanneal_lr_adam(module, lr=1e-3, T_max=case["steps"]),
        norm_stats=tuple(case["normalisation"]),
    )


def trainer() -> Any:
    """A trainer that writes and shows nothing."""
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        inference_mode=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def item(y: np.ndarray, truth: np.ndarray | None = None) -> Any:
    """What the package's networks take."""
    given = torch.from_numpy(y)
    return reference_data.TrainingItem(
        given, given if truth is None else torch.from_numpy(truth)
    )


def checkpoint(network: Any, path: Path) -> None:
    """A checkpoint as Lightning writes it."""
    writer = trainer()
    writer.strategy.connect(network)
    writer.save_checkpoint(path)


def train_step(network: Any) -> Callable[[np.ndarray, np.ndarray], None]:
    """A step of the package's own loss, clipped, with its optimiser and schedule."""
    given = network.train().configure_optimizers()
    optimiser, schedule = given["optimizer"], given["lr_scheduler"]

    def step(y: np.ndarray, truth: np.ndarray) -> None:
        loss = network.training_step(item(y, truth), 0)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimiser.step()
        schedule.step()

    return step


def trained(case: dict[str, Any], side: int) -> Any:
    """A network that has learned from small patches, for those of the series."""
    count, small_side = case["batch"]
    small = build({**case, **case["learns"]}, (small_side, small_side))
    step = train_step(small)
    for number in range(case["steps"]):
        step(*batch_at(number, case["seed"], count, case["window"], small_side))
    network = build(case, (side, side))
    network.solver.load_state_dict(small.solver.state_dict())
    return network.eval()


def mapped(case: dict[str, Any], network: Any, y: np.ndarray) -> np.ndarray:
    """A series, every window of it, through the package's own data module and test."""
    days, ny, nx = y.shape
    da = xr.DataArray(
        np.stack([y, y]),
        dims=("variable", "time", "lat", "lon"),
        coords={
            "variable": ["input", "tgt"],
            "time": np.arange(days),
            "lat": np.arange(ny),
            "lon": np.arange(nx),
        },
    )
    module = reference_data.BaseDataModule(
        da,
        {"train": {}, "val": {}, "test": {}},
        {"patch_dims": {"time": case["window"], "lat": ny, "lon": nx}, "strides": {"time": 1}},
        {"batch_size": 1, "num_workers": 0},
        norm_stats=tuple(case["normalisation"]),
    )
    trainer().test(network, datamodule=module, verbose=False)
    return network.test_data["out"].values


def main(folder: Path) -> None:
    """Do everything that the case asks for."""
    cases = json.loads((folder / "case.json").read_text())
    fields = np.load(folder / "fields.npz")
    outputs: dict[str, np.ndarray] = {}
    for name, case in cases["agreement"].items():
        y = fields["small"]
        network = build(case, y.shape[-2:], case["gain"]).eval()
        checkpoint(network, folder / f"{name}.ckpt")
        outputs[name] = network(item(y)).detach().numpy()
    case, repeats = cases["base"], cases["repeats"]
    costs: dict[str, Any] = {}
    with measured() as cost:
        network = trained(case, fields["series"].shape[-1])
    costs["training"] = {"seconds": cost.seconds, "MiB": cost.peak_mib}
    checkpoint(network, folder / "base.ckpt")
    one = item(fields["patch"])
    with measured() as cost:
        spent = seconds(lambda: network(one), repeats)
    costs["patch"] = {"seconds": spent, "MiB": cost.peak_mib}
    outputs["patch"] = network(one).detach().numpy()
    with measured() as cost:
        outputs["series"] = mapped(case, network, fields["series"])
    costs["series"] = {"seconds": cost.seconds, "MiB": cost.peak_mib}
    costs["threads"] = torch.get_num_threads()
    np.savez(folder / "outputs.npz", **outputs)
    (folder / "costs.json").write_text(json.dumps(costs))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
