"""Read the truth, and label its observations, for all observing systems."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from xinverse.errors import AxesError, OptionError
from xinverse.fields.axes import Axes
from xinverse.fields.grid import Grid
from xinverse.fields.l3 import build_l3, geographic_grid, grid_coordinates, in_order_of
from xinverse.fields.values import refuse_unusable, unpacked
from xinverse.points.binning import CellSums

__all__ = ["Noise", "deviation_of", "gridded", "name_of", "read_field"]

Noise = float | Mapping[str, float]


def read_field(truth: xr.DataArray) -> tuple[xr.DataArray, Axes, Grid]:
    """Return the truth on (time, latitude, longitude), its axes and its grid."""
    axes, grid = geographic_grid(truth, "an orbit")
    others = set(truth.dims) - {axes.time, axes.y, axes.x}
    if others:
        first = dict.fromkeys(sorted(map(str, others)), 0)
        raise AxesError(
            f"{name_of(truth)!r} has the dimensions {tuple(truth.dims)}. Expected time, "
            f"latitude and longitude: select along the others with truth.isel({first})."
        )
    field = unpacked(truth).transpose(axes.time, axes.y, axes.x)
    refuse_unusable(field.to_numpy(), f"The truth {name_of(truth)!r}")
    return field, axes, grid


def gridded(
    truth: xr.DataArray, field: xr.DataArray, axes: Axes, sums: CellSums, how: str
) -> xr.Dataset:
    """Label the means of cells as L3, with `how` they were observed in the comment."""
    mean = sums.mean.astype(field.dtype if field.dtype.kind == "f" else np.float64)
    seen = build_l3(
        name_of(truth),
        mean,
        sums.count,
        sums.noise.astype(mean.dtype),
        grid_coordinates(field, axes),
        axes,
        field.attrs,
    )
    seen.attrs["comment"] = f"simulated observations: {how}"
    return in_order_of(truth, seen, axes)


def deviation_of(noise: Noise, orbit: str) -> float:
    """Return the standard deviation of the noise of the samples of an orbit, checked."""
    if isinstance(noise, Mapping):
        if orbit not in noise:
            raise OptionError(
                f"noise has no entry for {orbit!r}, only for {sorted(noise)}. Expected one for "
                "every orbit in use."
            )
        noise = noise[orbit]
    if not (np.isfinite(noise) and noise >= 0):
        raise OptionError(f"The noise of {orbit!r} is {noise}. Expected 0 or more.")
    return float(noise)


def name_of(truth: xr.DataArray) -> str:
    """Return the name of the observed variable."""
    return "observation" if truth.name is None else str(truth.name)
