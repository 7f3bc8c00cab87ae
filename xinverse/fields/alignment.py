"""Checks that an analysis and a truth share their coordinates and units."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from xinverse.errors import DataError, GridError, OptionError, UnitsError

__all__ = ["aligned_error", "check_alignment", "check_units", "variable_of"]

_SAME_WITHIN = 1e-3  # of a spacing: coordinates in files are rounded


def aligned_error(analysis: xr.DataArray, truth: xr.DataArray) -> xr.Dataset:
    """Subtract the truth from an analysis that can be scored.

    Parameters
    ----------
    analysis, truth : DataArray
        On the same coordinates, in any order of dimensions. NaN in the truth is land.

    Returns
    -------
    Dataset
        ``error`` (analysis minus truth) and ``truth``, float64, NaN on land, loaded.

    Raises
    ------
    GridError, UnitsError, OptionError
        As in :func:`check_alignment`.
    DataError
        If the truth is NaN everywhere, or the analysis is not finite at a cell with a truth.
    """
    check_alignment(analysis, truth)
    # Loaded together, so that a shared dask graph runs once.
    both = xr.Dataset(
        {
            "analysis": analysis.variable.transpose(*truth.dims),
            "truth": truth.variable,
        },
        {dim: truth.coords[dim] for dim in truth.dims if dim in truth.coords},
    ).compute()
    wanted, found = both["truth"].astype(np.float64), both["analysis"].astype(np.float64)
    sea = wanted.notnull()
    missing = int((sea & ~np.isfinite(found)).sum())
    total = int(sea.sum())
    if not total:
        raise DataError("The truth is NaN everywhere. Expected values at sea.")
    if missing:
        raise DataError(
            f"The analysis is missing or infinite at {missing} of the {total} cells with a "
            "truth. Gaps left unfilled would improve the scores: fill them, or set the truth "
            "to NaN there."
        )
    return xr.Dataset({"error": found - wanted, "truth": wanted})


def check_alignment(analysis: xr.DataArray, truth: xr.DataArray) -> None:
    """Check that an analysis has the coordinates and units of the truth, without loading it.

    Parameters
    ----------
    analysis, truth : DataArray
        In any order of dimensions.

    Raises
    ------
    GridError
        If dimensions or coordinates differ.
    UnitsError
        If both have units and these differ.
    OptionError
        If one is not a DataArray.
    """
    for what, given in (("analysis", analysis), ("truth", truth)):
        if not isinstance(given, xr.DataArray):
            raise OptionError(
                f"The {what} is a {type(given).__name__}. Expected a DataArray: select "
                "a variable, such as ds['ssh']."
            )
    check_units(analysis, truth)
    if set(analysis.dims) != set(truth.dims):
        raise GridError(
            f"The analysis has the dimensions {analysis.dims} and the truth {truth.dims}. "
            "Expected the same: rename or select them."
        )
    for dim in truth.dims:
        _check_coordinate(analysis, truth, dim)


def variable_of(found: xr.DataArray | xr.Dataset, name: Hashable | None) -> xr.DataArray:
    """Select a variable from a dataset; return a DataArray unchanged.

    Parameters
    ----------
    found : DataArray or Dataset
        The object.
    name : hashable, optional
        Name of the truth.

    Returns
    -------
    DataArray

    Raises
    ------
    OptionError
        If the dataset has no such variable.
    """
    if not isinstance(found, xr.Dataset):
        return found
    if name not in found:
        raise OptionError(
            f"The dataset has {', '.join(map(repr, found))}, but not {name!r}, the name of the "
            "truth. Give the variable itself: dataset['name']."
        )
    return found[name]


def check_units(first: xr.DataArray, second: xr.DataArray) -> None:
    """Check that two variables are in the same units.

    Parameters
    ----------
    first, second : DataArray
        Only the attributes are read.

    Raises
    ------
    UnitsError
        If both have units and these differ.
    """
    one, two = first.attrs.get("units"), second.attrs.get("units")
    if None not in (one, two) and one != two:
        raise UnitsError(
            f"{first.name!r} is in {one!r} and {second.name!r} in {two!r}. Convert one, and "
            "set its 'units' attribute."
        )


def _check_coordinate(analysis: xr.DataArray, truth: xr.DataArray, dim: Hashable) -> None:
    sizes = analysis.sizes[dim], truth.sizes[dim]
    if sizes[0] != sizes[1]:
        raise GridError(
            f"The analysis has {sizes[0]} values along {dim!r} and the truth {sizes[1]}. "
            f"Expected the same coordinates: use analysis.sel({dim}=truth[{str(dim)!r}]), or "
            ".interp."
        )
    if dim not in analysis.coords or dim not in truth.coords:
        return
    one, two = analysis[dim].to_numpy(), truth[dim].to_numpy()
    same = one == two
    if one.dtype.kind in "iuf" and two.dtype.kind in "iuf":
        spacing = np.abs(np.diff(two)).min() if two.size > 1 else 1.0
        same = np.abs(one - two) <= _SAME_WITHIN * spacing
    if not np.all(same):
        first = int(np.flatnonzero(~np.broadcast_to(same, two.shape))[0])
        raise GridError(
            f"The analysis and the truth differ along {dim!r}, first at position {first}: "
            f"{one[first]} and {two[first]}. Expected the same coordinates: use "
            "analysis.interp_like(truth)."
        )
