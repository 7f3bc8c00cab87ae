"""Tiles: the same numbers with and without dask, no seams, and what plans and imports cost.

    python benchmarks/tiles.py [--seed N] [--quick]

The Mediterranean case is filled in memory, from dask arrays of several chunkings, and through a
cluster of worker processes. Then the error along the edges of small tiles is compared with the
error elsewhere, a plan of ten thousand tiles is built, and the package is imported.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numpy as np
import xarray as xr
from _measure import finish
from _mediterranean import NOISE, mediterranean_case
from _report import parser

import xinverse
from xinverse.scores import rmse

OPTIONS = {"length_scale": 80.0, "time_scale": 10.0, "noise": NOISE, "variance": 0.0025}
CHUNKS = (
    {"time": 10, "latitude": -1, "longitude": -1},
    {"time": -1, "latitude": 32, "longitude": 86},
    {"time": 7, "latitude": 50, "longitude": 111},
)
TILES: tuple[dict[str, int], ...] = (
    {"x": 115},
    {"y": 43, "x": 86},
    {"time": 23, "y": 43, "x": 86},
)
REPEATS = 5


def row(
    check: str, value: float, required: str = "", met: bool | None = None
) -> dict[str, Any]:
    """One line of the table."""
    return {
        "check": check,
        "value": value,
        "required": required,
        "met": "" if met is None else "yes" if met else "NO",
    }


def agreement(
    observations: xr.DataArray, sea: xr.DataArray, tile: dict[str, int]
) -> list[dict[str, Any]]:
    """Compare dask with memory, whatever the chunks and the scheduler."""
    common = {**OPTIONS, "background": 0.0, "mask": sea, "tile": tile, "method": "oi"}
    eager = observations.inverse.interpolate(**common)
    deviation = OPTIONS["variance"] ** 0.5

    def compare(name: str, lazy: xr.DataArray) -> dict[str, Any]:
        apart = float(abs(lazy - eager).max()) / deviation
        return row(name, apart, "<= 1e-5 of the standard deviation", apart <= 1e-5)

    rows = []
    for chunks in CHUNKS:
        lazy = observations.chunk(chunks).inverse.interpolate(**common)
        rows.append(compare(f"eager - dask, chunks {tuple(chunks.values())}", lazy.compute()))
        print(rows[-1], flush=True)
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        lazy = observations.chunk(CHUNKS[-1]).inverse.interpolate(**common)
        rows.append(compare("eager - dask, two worker processes", lazy.compute()))
    return rows


def seams(
    truth: xr.DataArray, observations: xr.DataArray, sea: xr.DataArray
) -> list[dict[str, Any]]:
    """Compare the error along the edges of tiles with the error elsewhere.

    Where tiles meet, tracks and eddies differ from elsewhere; the same two places in a map
    made with the fewest tiles show by how much, and the ratio is divided by that.
    """
    common = {**OPTIONS, "background": 0.0, "mask": sea, "method": "oi"}
    whole = observations.inverse.interpolate(**common)
    base = xinverse.plan_tiles(observations, **OPTIONS)
    rows = []
    for tile in TILES:
        plan = xinverse.plan_tiles(observations, tile=tile, **OPTIONS)
        tiled = observations.inverse.interpolate(**{**common, "tile": tile})
        near = _near_edges(plan, truth)
        edge, elsewhere = truth.where(near), truth.where(~near)
        ratio = [float(rmse(m, edge) / rmse(m, elsewhere)) for m in (tiled, whole)]
        name = f"{plan.size} tiles {plan.counts}"
        excess = ratio[0] / ratio[1] - 1
        rows.append(row(f"{name}: error along edges / elsewhere", ratio[0]))
        rows.append(row(f"   the same cells of {base.size} tiles", ratio[1]))
        rows.append(row("   excess along edges, %", 100 * excess, "<= 2 %", excess <= 0.02))
        worse = 100 * (float(rmse(tiled, truth) / rmse(whole, truth)) - 1)
        rows.append(row("   error of the whole map, % more", worse))
        print(rows[-4:], flush=True)
    return rows


def _near_edges(plan: xinverse.tiling.Plan, like: xr.DataArray) -> xr.DataArray:
    """Cells within a ramp of an edge between tiles, along any axis."""
    near = np.zeros(like.shape, bool)
    for k, axis in enumerate(plan.axes):
        cells = np.arange(axis.size)
        along = np.zeros(axis.size, bool)
        for edge in axis.edges[1:-1]:
            along |= (cells >= edge - axis.ramp) & (cells < edge + axis.ramp)
        near |= along.reshape([-1 if a == k else 1 for a in range(3)])
    return xr.DataArray(near, like.coords, like.dims)


def ten_thousand() -> list[dict[str, Any]]:
    """Plan and build ten thousand tiles over a field that is never computed."""
    import dask.array as da

    size, core, chunk = (200, 1000, 2500), (20, 40, 62), (50, 250, 500)
    field = xr.DataArray(
        da.zeros(size, chunks=chunk, dtype="float32"),
        {
            "time": np.datetime64("2000-01-01", "ns")
            + np.arange(size[0]) * np.timedelta64(1, "D"),
            "latitude": -30 + 0.06 * np.arange(size[1]),
            "longitude": 0.06 * np.arange(size[2]),
        },
        ("time", "latitude", "longitude"),
        name="sla",
    )
    options = {"length_scale": 30.0, "time_scale": 3.0, "noise": 0.02}
    tile = dict(zip(("time", "y", "x"), core, strict=True))
    start = time.perf_counter()
    plan = xinverse.plan_tiles(field, tile=tile, **options)
    lazy = field.inverse.interpolate(tile=tile, **options)
    seconds = time.perf_counter() - start
    tasks = len(dict(lazy.__dask_graph__())) - len(dict(field.__dask_graph__()))
    most = max(plan.size, field.data.npartitions)
    per = tasks / most
    return [
        row(f"{plan.size} tiles, plan and build: seconds", seconds, "< 10", seconds < 10),
        row("tasks per tile or chunk, whichever are more", per, "<= 4", per <= 4),
    ]


def import_cost() -> list[dict[str, Any]]:
    """Seconds that importing the package takes when xarray is there: the best of several."""
    code = (
        "import time, xarray; start = time.perf_counter(); import xinverse; "
        "print(time.perf_counter() - start)"
    )
    costs = [
        float(
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        )
        for _ in range(REPEATS)
    ]
    best = min(costs)
    return [row("import xinverse on top of xarray: seconds", best, "< 0.3", best < 0.3)]


def main() -> None:
    """Run all checks."""
    arguments = parser(__doc__).parse_args()
    rows = [*import_cost(), *ten_thousand()]
    truth, seen, sea = mediterranean_case(seed=arguments.seed)
    observations = seen["sla"]
    box = {"latitude": slice(16, 80), "longitude": slice(120, 280)}
    few = {"time": slice(0, 40)}
    cut = few | box if arguments.quick else few
    tile = {"time": 20, "y": 40, "x": 86}
    rows += agreement(
        observations.isel(cut), sea.isel({d: s for d, s in cut.items() if d in sea.dims}), tile
    )
    truth = truth.where(sea)
    if arguments.quick:
        truth, observations, sea = truth.isel(box), observations.isel(box), sea.isel(box)
    rows += seams(truth, observations, sea)
    finish("tiles", rows, quick=arguments.quick, seed=arguments.seed, options=OPTIONS)


if __name__ == "__main__":
    main()
