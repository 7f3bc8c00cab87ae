"""Templates of results on another grid: labels and chunks, no values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr

__all__ = ["meet", "on_axes"]


def on_axes(da: xr.DataArray, axes: Mapping[Hashable, xr.DataArray]) -> xr.DataArray:
    """Return a field of NaN with the labels and dtype of a variable, on other coordinates.

    Parameters
    ----------
    da : DataArray
        The variable.
    axes : mapping
        New one-dimensional coordinate variable of some of its dimensions.

    Returns
    -------
    DataArray
        Float, without memory of its own; lazy if the variable is, with chunks scaled with
        the axes. Other coordinates along the replaced dimensions are left out.
    """
    sizes = {d: axes[d].size if d in axes else n for d, n in da.sizes.items()}
    kept = {
        name: coordinate
        for name, coordinate in da.coords.items()
        if not set(coordinate.dims) & set(axes)
    }
    fresh = {d: (d, axis.to_numpy(), axis.attrs) for d, axis in axes.items()}
    dtype = da.dtype if da.dtype.kind == "f" else np.dtype("float64")
    values = np.broadcast_to(np.array(np.nan, dtype), tuple(sizes.values()))
    template = xr.DataArray(
        values, dims=tuple(sizes), coords={**kept, **fresh}, name=da.name, attrs=da.attrs
    )
    if da.chunks is None:
        return template
    lengths = {d: max(c) for d, c in zip(da.dims, da.chunks, strict=True)}
    for dim, axis in axes.items():
        lengths[dim] = max(1, lengths[dim] * axis.size // max(da.sizes[dim], 1))
    return template.chunk(lengths)


def meet(one: xr.DataArray, other: xr.DataArray, period: float | None = None) -> bool:
    """Whether two axes share a part of the line that they lie on.

    Parameters
    ----------
    one, other : DataArray
        One-dimensional coordinates, ascending or descending.
    period : float, optional
        Length after which the line repeats.
    """
    ends = [np.sort(axis.to_numpy()[[0, -1]].astype("float64")) for axis in (one, other)]
    apart = float(ends[0].mean() - ends[1].mean())
    if period is not None:
        apart = (apart + period / 2) % period - period / 2
    return abs(apart) <= 0.5 * float(sum(np.diff(pair)[0] for pair in ends))
