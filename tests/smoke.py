"""A quick check of an installed xinverse: ``python smoke.py``.

It needs no test tools and no source tree, so that it can run in an environment that holds
only the installed package. It imports the package, fills the gaps of a small field with its
error, reads and writes NetCDF, and maps with weights that come with the package.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

import xinverse

SOURCE_TREE = Path(__file__).resolve().parents[1]


def small_sea() -> xr.DataArray:
    """Fifteen days of sea level on 12 × 12 cells of 0.2°, one cell in four observed."""
    rng = np.random.default_rng(0)
    day = np.arange(15.0)[:, None, None]
    lat, lon = 36 + 0.2 * np.arange(12), 5 + 0.2 * np.arange(12)
    level = 0.2 * np.sin(1.6 * lon + 0.1 * day) * np.cos(2.0 * lat[:, None])
    seen = np.where(rng.random(level.shape) < 0.25, level, np.nan)
    return xr.DataArray(
        seen.astype("float32"),
        dims=("time", "latitude", "longitude"),
        coords={
            "time": np.datetime64("2020-01-01", "ns") + np.arange(15).astype("m8[D]"),
            "latitude": lat,
            "longitude": lon,
        },
        name="sla",
        attrs={"units": "m", "standard_name": "sea_surface_height_above_sea_level"},
    )


def require(condition: object, problem: str) -> None:
    """End the program if something is wrong."""
    if not condition:
        sys.exit(f"smoke test failed: {problem}")


def main() -> None:
    """Run every check, and say which installation was checked."""
    place = Path(xinverse.__file__).resolve().parent
    require(
        place != SOURCE_TREE / "xinverse" or "--source-tree" in sys.argv,
        f"this is the source tree, not an installed package: {place}",
    )

    seen = small_sea()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "l3.nc"
        seen.to_netcdf(path)
        with xr.open_dataset(path) as ds:
            out = ds.inverse.interpolate(method="oi", error=True).load()
        out.to_netcdf(Path(folder) / "l4.nc")
    require(set(out) == {"sla", "sla_error"}, f"optimal interpolation gave {sorted(out)}")
    require(np.isfinite(out.to_array()).all(), "optimal interpolation left gaps")
    require((out.sla_error > 0).all(), "an error is not positive")

    weights = sorted(xinverse.weights.cards())
    require(weights, "the package comes without weights")
    mapped = seen.inverse.interpolate(method="4dvarnet").compute()
    require(np.isfinite(mapped).all(), "4dvarnet left gaps")
    print(f"xinverse {xinverse.__version__} works: {place}; weights: {', '.join(weights)}")


if __name__ == "__main__":
    main()
