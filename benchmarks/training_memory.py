"""Train from Zarr stores larger than the memory that the process may have.

    python benchmarks/training_memory.py [--seed N] [--quick]

Fields of one simulated ocean, repeated over years until truth, observations and background take
0.25, 1 and 4 GiB, are trained on in processes that may allocate 2 GiB beside what the libraries
take (``RLIMIT_DATA``). The peak of their memory should not know the size of the store.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from _measure import finish, measured, peak_mib
from _report import parser

import xinverse
from xinverse.osse import Ocean, nature_runs, observe

GIB = 2**30
SIZES = (0.25, 1.0, 4.0)  # GiB
CAP = 2 * GIB
SIDE, DAYS, STEPS = 256, 40, 30
FLAT = 1.2  # of the smallest store's peak: what the largest may take


def make_store(store: Path, gib: float, seed: int) -> float:
    """Write truth, observations and background; their size, in GiB."""
    (run,) = nature_runs([Ocean()], days=DAYS, spinup=100, size=64, seed=seed)
    seen = observe(run, ["nadir:4"], noise=0.02, seed=seed)["ssh"]
    block = xr.Dataset({"truth": run, "seen": seen.variable, "background": 0.8 * run})
    tiled = block.isel(
        latitude=np.arange(SIDE) % 64, longitude=np.arange(SIDE) % 64
    ).assign_coords(latitude=20 + 0.1 * np.arange(SIDE), longitude=300 + 0.1 * np.arange(SIDE))
    tiled = tiled.astype("float32").chunk(time=10, latitude=64, longitude=64)
    for name in ("truth", "seen", "background"):
        tiled[name].attrs = dict(run.attrs)
    repeats = max(1, round(gib * GIB / tiled.nbytes))
    first = tiled["time"].values[0]
    for number in range(repeats):
        days = first + np.arange(number * DAYS, (number + 1) * DAYS) * np.timedelta64(1, "D")
        part = tiled.assign_coords(time=("time", days, {"standard_name": "time"}))
        if number == 0:
            part.to_zarr(store, consolidated=False)
        else:
            part.drop_vars(["latitude", "longitude"]).to_zarr(
                store, append_dim="time", consolidated=False
            )
    return repeats * tiled.nbytes / GIB


def child(store: Path) -> None:
    """Train within the cap; print what it took."""
    import torch

    torch.set_num_threads(1)
    torch.randn(64, 64) @ torch.randn(64, 64)  # the libraries take what they take
    used = _data_bytes()
    resource.setrlimit(resource.RLIMIT_DATA, (used + CAP, used + CAP))
    before = peak_mib()
    ds = xr.open_zarr(store, chunks=None, consolidated=False)
    with measured() as cost:
        model = xinverse.train(
            "4dvarnet",
            ds["truth"],
            ds["seen"],
            background=ds["background"],
            steps=STEPS,
            every=STEPS,
            network={"steps": 3},
            noise=0.02,
        )
    print(
        json.dumps(
            {
                "seconds": cost.seconds,
                "peak": peak_mib(),
                "before": before,
                "loss": model.history[-1]["loss"],
            }
        )
    )


def _data_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not say how much data a process has")


def main() -> None:
    """Make stores, train on them, compare."""
    options = parser(__doc__)
    options.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for gib in SIZES[:1] if arguments.quick else SIZES:
            store = Path(folder) / f"{gib}.zarr"
            size = make_store(store, gib, arguments.seed)
            command = [sys.executable, __file__, "--child", str(store)]
            found = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
            rows.append(
                {
                    "store GiB": round(size, 2),
                    "cap GiB": CAP / GIB,
                    "steps": STEPS,
                    "seconds": round(found["seconds"], 1),
                    "peak MiB": round(found["peak"]),
                    "over its start MiB": round(found["peak"] - found["before"]),
                }
            )
            print(rows[-1], flush=True)
    flat = rows[-1]["over its start MiB"] <= FLAT * rows[0]["over its start MiB"]
    rows[-1] |= {"required": f"<= {FLAT:g} x the first", "met": "yes" if flat else "NO"}
    finish("training_memory", rows, quick=arguments.quick, seed=arguments.seed, cap_bytes=CAP)


if __name__ == "__main__":
    main()
