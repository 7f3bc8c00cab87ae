"""The mean seasonal cycle of a series with gaps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xinverse.checks import check_number
from xinverse.errors import DataError, GridError
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import make_grid
from xinverse.fields.seam import across_the_seam
from xinverse.fields.values import unpacked

__all__ = ["climatology"]

YEAR = 365.25  # days
YEARS = 2  # the shortest series, in years: of one year, the cycle is the data themselves
# Weight, in observations, of the cell's mean in its cycle: little, for it damps the cycle; and
# of the mean of all cells in the cell's.
CYCLE_COUNT, MEAN_COUNT = 0.1, 1.0


@across_the_seam
def climatology(
    series: xr.DataArray,
    like: xr.DataArray | xr.Dataset | None = None,
    *,
    window: float = 15.0,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.DataArray:
    r"""Mean of the same time of the year in all years, smoothed, at each cell.

    .. math::

        c(d) = \frac{\sum_t w(d, t) \, y_t + \epsilon \bar y}{\sum_t w(d, t) + \epsilon},
        \qquad w(d, t) = \exp\left( - \frac{\Delta(d, t)^2}{2 s^2} \right)

    with the sums over the observed times, :math:`\Delta` the distance of two days of
    the year and :math:`\epsilon = 0.1`. Where little was observed, the mean of the cell
    :math:`\bar y` takes over, and in cells that were hardly seen that of all cells.

    Parameters
    ----------
    series : DataArray
        On (time, y, x), NaN in the gaps, two years long at least, with dates.
    like : DataArray or Dataset, optional
        Holds the dates of the result. Default: those of the series.
    window : float
        The s of the weights, in days.
    dims : mapping, optional
        Dimension names of ``"time"``, ``"y"`` and ``"x"``, if they cannot be found.

    Returns
    -------
    DataArray
        Complete, at the dates of ``like``; lazy if the series is. Give it as
        ``background=``.

    Raises
    ------
    DataError
        The series is too short.
    GridError
        The times are not dates.
    """
    check_number("window", window, above=0)
    axes = find_axes(series, dims)
    days = make_grid(series, axes).time
    if days[-1] < (YEARS - 0.1) * YEAR:
        raise DataError(
            f"{series.name!r} spans {days[-1]:.0f} days, and a climatology needs {YEARS} "
            "years. Make it from a longer series: "
            "background=xinverse.climatology(series, like=...)."
        )
    time: Any = axes.time
    values = unpacked(series)
    target = values[time] if like is None else like[find_axes(like, dims).time]
    wanted, place = np.unique(np.floor(_phase(target)), return_inverse=True)
    lag = np.abs(wanted[:, None] + 0.5 - _phase(values[time]))
    lag = np.minimum(lag, YEAR - lag)
    dtype = values.dtype if values.dtype.kind == "f" else np.dtype("float64")
    weights: Any = xr.DataArray(
        np.exp(-0.5 * (lag / window) ** 2).astype(dtype),
        dims=("day_of_year", time),
        coords={time: values[time]},
    )
    seen = values.notnull().astype(dtype)
    filled = values.fillna(0)
    everywhere = filled.sum() / seen.sum().clip(1)
    mean = (filled.sum(time) + MEAN_COUNT * everywhere) / (seen.sum(time) + MEAN_COUNT)
    total = xr.dot(weights, filled, dim=time) + CYCLE_COUNT * mean
    cycle = total / (xr.dot(weights, seen, dim=time) + CYCLE_COUNT)
    found = cycle.isel(day_of_year=xr.DataArray(place, dims=target.dims))
    found = found.assign_coords({str(target.dims[0]): target}).rename(series.name)
    order = [target.dims[0] if d == time else d for d in series.dims]
    return found.transpose(*order).astype(dtype).assign_attrs(values.attrs)


def _phase(time: xr.DataArray) -> np.ndarray:
    """Days since the start of the year."""
    if not np.issubdtype(time.dtype, np.datetime64) and time.dtype.kind != "O":
        raise GridError(
            f"The times {time.name!r} hold {time.dtype} values: expected dates, whose day of "
            "the year is known. Decode them with xarray.decode_cf."
        )
    clock = time.dt
    phase: np.ndarray = (clock.dayofyear - 1 + clock.hour / 24).to_numpy().astype("float64")
    return phase
