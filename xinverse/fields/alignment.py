"""An analysis and a truth on the same coordinates, in the same units."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from xinverse.errors import DataError, GridError, OptionError
from xinverse.fields.values import in_units_of, refuse_fill_values, refuse_unusable, unpacked

__all__ = ["aligned_error", "comparable", "variable_of"]

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
        ``error`` (analysis minus truth) and ``truth``, float64, in the units of the truth,
        NaN on land, loaded.

    Raises
    ------
    GridError, UnitsError, OptionError
        As in :func:`comparable`.
    DataError
        If the truth is NaN everywhere, or the analysis is not finite at a cell with a truth;
        or one of them has infinite or fill values.
    """
    analysis, truth = comparable(analysis, truth)
    # Loaded together, so that a shared dask graph runs once.
    both = xr.Dataset(
        {
            "analysis": analysis.variable.transpose(*truth.dims),
            "truth": truth.variable,
        },
        {dim: truth.coords[dim] for dim in truth.dims if dim in truth.coords},
    ).compute()
    wanted, found = both["truth"].astype(np.float64), both["analysis"].astype(np.float64)
    refuse_unusable(wanted.values, f"The truth {truth.name!r}")
    refuse_fill_values(found.values, f"The analysis {analysis.name!r}")
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


def comparable(
    analysis: xr.DataArray, truth: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray]:
    """Decode an analysis and a truth and check that one can be compared with the other.

    Parameters
    ----------
    analysis, truth : DataArray
        In any order of dimensions; packed ones are unpacked. Nothing is loaded.

    Returns
    -------
    analysis, truth : DataArray
        Both in the units of the truth.

    Raises
    ------
    GridError
        If dimensions or coordinates differ.
    UnitsError
        If both have units, and no conversion from one to the other is known.
    OptionError
        If one is not a DataArray.
    """
    for what, given in (("analysis", analysis), ("truth", truth)):
        if not isinstance(given, xr.DataArray):
            raise OptionError(
                f"The {what} is a {type(given).__name__}. Expected a DataArray: select "
                "a variable, such as ds['ssh']."
            )
    if set(analysis.dims) != set(truth.dims):
        raise GridError(
            f"The analysis has the dimensions {analysis.dims} and the truth {truth.dims}. "
            "Expected the same: rename or select them."
        )
    for dim in truth.dims:
        _check_coordinate(analysis, truth, dim)
    truth = unpacked(truth)
    return in_units_of(unpacked(analysis), truth, "analysis"), truth


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
    one, two = unpacked(analysis[dim]).to_numpy(), unpacked(truth[dim]).to_numpy()
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
