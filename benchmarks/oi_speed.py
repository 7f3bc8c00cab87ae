"""Optimal interpolation: how much faster than dense solves, and how close to them.

    python benchmarks/oi_speed.py [--seed N] [--quick]

Speed, on the Mediterranean case: seconds per day of ``method="oi"``, which solves all days at
once, against one dense Cholesky solve per day in float64 with the observations within two time
scales of that day. Closeness, in a box where a dense solve of all observations is possible: the
mean and the error of ``method="oi"`` against it. Both sides use as many threads as
``OMP_NUM_THREADS`` says.
"""

from __future__ import annotations

import os
import time

import numpy as np
import xarray as xr
from _measure import finish, measured
from _mediterranean import NOISE, mediterranean_case
from _report import parser
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from xinverse.constants import KM_PER_DEGREE

LENGTH, TIME, VARIANCE = 80.0, 10.0, 0.0025
OPTIONS = {"length_scale": LENGTH, "time_scale": TIME, "noise": NOISE, "variance": VARIANCE}
DAYS = (30, 45, 60)  # of the dense solves
BOX = {"time": slice(30, 60), "latitude": slice(30, 70), "longitude": slice(180, 240)}
ROWS = 1024  # of a covariance matrix made at once


class Dense:
    """Optimal interpolation by a Cholesky factor in float64, written out from its equations.

    East-west distances are those at the middle latitude of the field, as within a tile.
    """

    def __init__(self, observations: xr.DataArray) -> None:
        seen = np.argwhere(observations.notnull().values)
        self.points = self.positions(observations, seen)
        self.values = observations.values[tuple(seen.T)]
        matrix = self.covariance(self.points, self.points)
        matrix[np.diag_indices_from(matrix)] += NOISE**2
        self.factor = cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)

    @staticmethod
    def positions(field: xr.DataArray, cells: np.ndarray) -> np.ndarray:
        """Time, north and east of cells, in scales."""
        latitude, longitude = (field[d].values.astype(float) for d in field.dims[1:])
        days = (field["time"].values - field["time"].values[0]) / np.timedelta64(1, "D")
        km = KM_PER_DEGREE / LENGTH
        east = longitude * km * np.cos(np.deg2rad(0.5 * (latitude[0] + latitude[-1])))
        axes = (days / TIME, latitude * km, east)
        return np.stack([a[c] for a, c in zip(axes, cells.T, strict=True)], axis=1)

    @staticmethod
    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Matrix ``(len(a), len(b))``, made a thousand rows at a time."""
        result = np.empty((len(a), len(b)))
        square = (b**2).sum(1)
        for first in range(0, len(a), ROWS):
            some = a[first : first + ROWS]
            block = result[first : first + ROWS]
            np.matmul(some, b.T, out=block)
            block *= 2
            block -= (some**2).sum(1)[:, None]
            block -= square
            np.minimum(block, 0, out=block)
            np.exp(block, out=block)
            block *= VARIANCE
        return result

    def mean(self, at: np.ndarray) -> np.ndarray:
        """Posterior mean at positions."""
        weights = cho_solve(self.factor, self.values, check_finite=False)
        return np.concatenate(
            [
                self.covariance(at[k : k + ROWS], self.points) @ weights
                for k in range(0, len(at), ROWS)
            ]
        )

    def error(self, at: np.ndarray) -> np.ndarray:
        """Posterior standard deviation at positions."""
        explained = []
        for k in range(0, len(at), ROWS):
            gain = self.covariance(self.points, at[k : k + ROWS])
            gain = solve_triangular(self.factor[0], gain, lower=True, check_finite=False)
            explained.append((gain**2).sum(0))
        return np.sqrt(np.maximum(VARIANCE - np.concatenate(explained), 0))


def speed(
    observations: xr.DataArray, sea: xr.DataArray, days: tuple[int, ...]
) -> list[dict[str, object]]:
    """Seconds per day, side by side."""
    rows = []
    with measured() as cost:
        observations.inverse.interpolate(mask=sea, background=0.0, **OPTIONS)
    fast = cost.seconds / observations.sizes["time"]
    rows.append(
        {
            "method": "oi, all days at once",
            "observations": int(observations.notnull().sum()),
            "seconds per day": fast,
            "peak MiB": round(cost.peak_mib),
        }
    )
    slow, number = [], []
    reach = round(2 * TIME)
    for day in days:
        around = observations.isel(time=slice(max(day - reach, 0), day + reach + 1))
        with measured() as cost:
            dense = Dense(around)
            wanted = np.argwhere(sea.values)
            cells = np.column_stack([np.full(len(wanted), min(day, reach)), wanted])
            dense.mean(Dense.positions(around, cells))
        slow.append(cost.seconds)
        number.append(len(dense.values))
        print(f"day {day}: {number[-1]} observations, {slow[-1]:.1f} s", flush=True)
        del dense
    rows.append(
        {
            "method": f"dense Cholesky per day, mean of {len(days)} days",
            "observations": round(np.mean(number)),
            "seconds per day": float(np.mean(slow)),
            "peak MiB": round(cost.peak_mib),
        }
    )
    ratio = float(np.mean(slow)) / fast
    met = "yes" if ratio >= 20 else "NO"
    rows.append(
        {"method": "times faster", "seconds per day": ratio, "required": ">= 20", "met": met}
    )
    return rows


def closeness(observations: xr.DataArray) -> list[dict[str, object]]:
    """Largest difference from the dense posterior over the box, in standard deviations."""
    start = time.perf_counter()
    whole = dict(zip(("time", "y", "x"), observations.shape, strict=True))
    found = observations.inverse.interpolate(background=0.0, error=True, tile=whole, **OPTIONS)
    print(f"oi with its error: {time.perf_counter() - start:.1f} s", flush=True)
    dense = Dense(observations)
    cells = Dense.positions(observations, np.argwhere(np.ones(observations.shape, bool)))
    deviation = VARIANCE**0.5
    rows = []
    for what, exact, limit in (
        ("sla", dense.mean(cells), 1e-4),
        ("sla_error", dense.error(cells), 1e-3),
    ):
        apart = np.abs(found[what].values.ravel() - exact).max() / deviation
        rows.append(
            {
                "method": "oi - dense posterior of a box, "
                + ("mean" if what == "sla" else "error"),
                "observations": len(dense.values),
                "largest difference / std": float(apart),
                "required": f"<= {limit:g}",
                "met": "yes" if apart <= limit else "NO",
            }
        )
    return rows


def main() -> None:
    """Measure both."""
    arguments = parser(__doc__).parse_args()
    _, seen, sea = mediterranean_case(seed=arguments.seed)
    observations = seen["sla"]
    if arguments.quick:
        box = {"latitude": slice(30, 70), "longitude": slice(180, 260)}
        rows = speed(observations.isel(box), sea.isel(box), DAYS[:1])
        rows += closeness(observations.isel({**BOX, "time": slice(30, 45)}))
    else:
        rows = speed(observations, sea, DAYS)
        rows += closeness(observations.isel(BOX))
    finish(
        "oi_speed",
        rows,
        quick=arguments.quick,
        seed=arguments.seed,
        options=OPTIONS,
        threads=os.environ.get("OMP_NUM_THREADS", "all"),
    )


if __name__ == "__main__":
    main()
