"""Grid along-track points to L3 with gaps."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from math import prod
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import DataError, OptionError, UnitsError
from xinverse.fields.attributes import describe_call, history_line, prepend_history
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import make_grid
from xinverse.fields.l3 import build_l3, grid_coordinates, in_order_of
from xinverse.fields.seam import across_the_seam
from xinverse.fields.values import in_units_of, unpacked
from xinverse.points.binning import CellSums, nearest_cells
from xinverse.points.positions import (
    Extent,
    PointLayout,
    find_layout,
    find_point_variable,
    flattened,
    read_positions,
    read_values,
)
from xinverse.points.sources import Source, open_each

__all__ = ["grid_tracks"]

_BLOCK = 1_000_000  # points in memory at once


@across_the_seam
def grid_tracks(
    points: Source | Iterable[Source],
    like: xr.Dataset | xr.DataArray,
    *,
    variable: Hashable | None = None,
    noise: float | str | None = None,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Grid along-track points: mean, number and noise of the points in each cell.

    A point belongs to the cell whose centre is nearest along each axis. Points more than half a
    spacing (half a day for a single time step) outside the outer centres are left out. A cell
    with :math:`n` points of values :math:`y_k` and noise :math:`s_k` holds

    .. math:: \bar y = \frac{1}{n} \sum_k y_k, \qquad
              s = \frac{1}{n} \Big(\sum_k s_k^2\Big)^{1/2}.

    Parameters
    ----------
    points : Dataset, DataFrame, path, glob pattern, or an iterable of them
        Values along one dimension with their time, latitude and longitude, found by CF
        attributes, then by name (for a projected grid: variables with the names of its axes).
        Those of a swath or a curvilinear grid may have several dimensions, such as line and
        pixel, with the time along some of them or of its own. A DataFrame has them as
        columns, or in its index.
        One file is open at a time, with at most a million points in memory.
    like : Dataset or DataArray
        The target grid; only its labels are read.
    variable : hashable, optional
        The variable to grid; NaN is left out. Default: the only one of floats along the points.
    noise : float or str, optional
        Standard deviation of the noise of a point, or the name of a variable with it. Default:
        the standard deviation of points about the mean of their cell, pooled over all cells
        with several points. It includes the variability within a cell. If no cell has two
        points, the result has no noise variable.
    dims : mapping, optional
        Dimensions of `like` by role, such as ``{"y": "nlat"}``. Default: found automatically.

    Returns
    -------
    Dataset
        On the grid of `like`, in memory: the variable (NaN in gaps), ``<variable>_count``
        (int32) and ``<variable>_noise``, with the attributes of the first points and one more
        line of history.

    Raises
    ------
    AxesError, GridError, UnitsError
        The axes of `like` or the positions of the points are not recognised, or calendars or
        units differ.
    OptionError
        The variable or the noise does not exist, or the noise is negative.
    DataError
        Values are infinite, noise is missing, or no point lies in the grid.

    Examples
    --------
    >>> obs = xinverse.grid_tracks("tracks/*.nc", like=ds, noise=0.02)  # doctest: +SKIP
    """
    _check_noise(noise)
    axes = find_axes(like, dims)
    grid = make_grid(like, axes)
    sums, extent = CellSums(grid.shape, spread=noise is None), Extent(grid.geographic)
    name: Hashable | None = variable
    first: xr.DataArray | None = None
    above: dict[Any, Any] = {}
    dtype: np.dtype[Any] = np.dtype(np.float32)
    for dataset in open_each(points):
        layout = find_layout(dataset, axes, geographic=grid.geographic, swath=True)
        name = find_point_variable(dataset, layout, name, ignore=noise)
        if isinstance(noise, str):
            find_point_variable(dataset, layout, noise)
        found = unpacked(dataset[name])
        if first is None:
            first, above = found[:0], dict(dataset.attrs)
        _check_units(first, found)
        dtype = np.result_type(dtype, found.dtype)
        names = [layout.time, layout.y, layout.x, name]
        names += [noise] if isinstance(noise, str) else []
        for part in _blocks(dataset, layout):
            block = flattened(part, layout, names)
            days, y, x = read_positions(block, layout, like[axes.time], grid.geographic)
            values = read_values(in_units_of(unpacked(block[name]), first, "points"))
            extent.widen(days, y, x)
            it = nearest_cells(grid.time, days, width=1.0)
            iy = nearest_cells(grid.y, y)
            ix = nearest_cells(grid.x, x, period=360.0 if grid.geographic else None)
            inside = (it >= 0) & (iy >= 0) & (ix >= 0) & ~np.isnan(values)
            deviation = _noise_of(block, noise, inside, first)
            sums.add((it[inside], iy[inside], ix[inside]), values[inside], deviation)
    if not sums.count.any():
        raise DataError(
            f"No point of {name!r} lies in the grid. The points cover "
            f"{extent.describe(like[axes.time])}; the grid covers "
            f"{Extent.of(grid).describe(like[axes.time])}. Check the dates, longitudes and "
            "units of both."
        )
    spread = sums.pooled_deviation
    how = "square root of the summed squared noise of the points, over their number"
    if noise is None:
        how = f"pooled standard deviation within cells, {spread:.4g}, over sqrt(count)"
    known = noise is not None or np.isfinite(spread)
    result = build_l3(
        str(name),
        sums.mean.astype(dtype),
        sums.count,
        sums.noise.astype(dtype) if known else None,
        grid_coordinates(like, axes),
        axes,
        {} if first is None else first.attrs,
        noise_comment=how,
    )
    call = describe_call("grid_tracks", variable=variable, noise=noise)
    result.attrs = prepend_history(above, history_line(call))
    return in_order_of(like, result, axes)


def _blocks(points: xr.Dataset, layout: PointLayout) -> Iterator[xr.Dataset]:
    """Cut points into parts that fit in memory: lines of a swath, or points of a track."""
    first, *rest = layout.dims
    step = max(_BLOCK // max(prod(points.sizes[dim] for dim in rest), 1), 1)
    for start in range(0, points.sizes[first], step):
        yield points.isel({first: slice(start, start + step)})


def _check_noise(noise: float | str | None) -> None:
    if noise is None or isinstance(noise, str):
        return
    if isinstance(noise, bool) or not isinstance(noise, Real):
        raise OptionError(
            f"noise is a {type(noise).__name__}. Expected a number, or the name of a variable."
        )
    if not 0 <= float(noise) < np.inf:
        raise OptionError(f"noise is {noise}. Expected a standard deviation of 0 or more.")


def _check_units(first: xr.DataArray, later: xr.DataArray) -> None:
    """Require units in all files or in none."""
    units = first.attrs.get("units"), later.attrs.get("units")
    if None in units and units != (None, None):
        raise UnitsError(
            f"{first.name!r} is in {units[0]!r} in the first points and in {units[1]!r} in "
            "later ones. State the units of all."
        )


def _noise_of(
    points: xr.Dataset,
    noise: float | str | None,
    inside: NDArray[np.bool_],
    like: xr.DataArray,
) -> NDArray[np.float64] | float:
    if not isinstance(noise, str):
        return 0.0 if noise is None else float(noise)
    given = in_units_of(unpacked(points[noise]), like, "noise", deviation=True)
    values = read_values(given)[inside]
    if not (np.isfinite(values) & (values >= 0)).all():
        raise DataError(
            f"The noise {noise!r} is missing, infinite or negative at points with a value. "
            "Expected a standard deviation for each of them."
        )
    return values
