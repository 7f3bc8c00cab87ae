"""Carry labelled fields beyond the end of their series."""

from __future__ import annotations

from math import floor
from typing import Any

import numpy as np
import xarray as xr

from xinverse.checks import check_number, in_days
from xinverse.errors import GridError, OptionError
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import make_grid
from xinverse.fields.seam import across_the_seam
from xinverse.fields.values import unpacked
from xinverse.verbs.call import Call, as_dataset
from xinverse.verbs.job import Observation
from xinverse.verbs.run import Results, over_variables, run

__all__ = ["forecast"]


@across_the_seam
def forecast(
    obj: xr.Dataset | xr.DataArray, days: float, method: str = "oi", **keywords: Any
) -> xr.Dataset | xr.DataArray:
    """Estimate the field after the last observation.

    The state grid is longer than the observed one, and its last times are a gap.

    Parameters
    ----------
    obj : Dataset or DataArray
        Fields on (time, y, x), with an even time step.
    days : float
        How far beyond the last time, in days.
    method : str
        Such as ``"oi"``, which returns to its background, or ``"4dvar"``.
    **keywords
        As of `xinverse.interpolate`, and the method's own. A ``background`` or ``noise``
        must be a number.

    Returns
    -------
    Dataset or DataArray
        As of `xinverse.interpolate`, at the new times alone.
    """
    days = in_days(days)
    check_number("days", days, above=0)
    ds = as_dataset(obj, "forecast")
    call = Call.split("forecast", ds, method, keywords, {"days": days})
    if call.companions:
        raise OptionError(f"{', '.join(call.companions)}: expected a number in a forecast.")

    def ahead(da: xr.DataArray) -> Results:
        axes = find_axes(da, call.dims)
        grid, time = make_grid(da, axes), da[axes.time]
        if time.size < 2:
            raise GridError(f"{da.name!r} has one time. A forecast needs two, for the step.")
        steps = floor(days / grid.time_step + 1e-6) if grid.regular_time else 0
        if steps < 1:
            raise GridError(
                f"days={days:g} is less than a time step of {da.name!r}, or its steps vary "
                f"(median {grid.time_step:g} days). Give an even series, and a step at least."
            )
        step = time.to_numpy()[-1] - time.to_numpy()[-2]
        later = time.to_numpy()[-1] + step * np.arange(1, steps + 1)
        times = np.concatenate([time.to_numpy(), later])
        longer = unpacked(da).reindex({axes.time: times})
        longer[axes.time].attrs.update(time.attrs)
        found = run(call, ds, [longer], [Observation(da.name, longer)])
        return {n: f.isel({axes.time: slice(-steps, None)}) for n, f in found.items()}

    return over_variables(obj, call, ahead)
