"""Observe a field where a sampling design says."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xinverse.errors import GridError, OptionError
from xinverse.osse.truth import Noise, deviation_of, gridded, name_of, read_field
from xinverse.points.binning import CellSums

__all__ = ["Design", "design_points", "observe_design"]

Design = xr.Dataset | xr.DataArray


def observe_design(truth: xr.DataArray, design: Design, noise: Noise, seed: int) -> xr.Dataset:
    """Sample the cells of a design; see :func:`xinverse.osse.observe`."""
    sampling = _sampling(design)
    deviation = deviation_of(noise, "design")
    field, axes, _ = read_field(truth)
    unknown = [d for d in sampling.dims if d not in field.dims]
    missing = [d for d in (axes.y, axes.x) if d not in sampling.dims]
    if unknown or missing:
        raise GridError(
            f"The design has the dimensions {sampling.dims} and {name_of(truth)!r} "
            f"{truth.dims}: expected the same, or without time."
        )
    for name in sampling.dims:
        wanted = sampling[name].values
        if not np.isin(wanted, field[name].values).all() or (
            name != axes.time and wanted.size != field.sizes[name]
        ):
            raise GridError(
                f"The design has other cells along {name!r} than {name_of(truth)!r}. Design "
                "on the grid of the truth, or interpolate the truth to the design's."
            )
    # Times that the design does not have are not observed.
    sampling = sampling.reindex({d: field[d] for d in sampling.dims}, fill_value=0)
    chosen = (sampling == 1).broadcast_like(field).transpose(*field.dims).to_numpy()
    values = field.to_numpy().astype(np.float64)
    # Drawn for every cell, so that the noise does not depend on the design.
    values += deviation * np.random.default_rng([seed, 1]).standard_normal(values.shape)
    seen = chosen & np.isfinite(values)
    if not seen.any():
        raise OptionError(
            f"The design observes no cell of the sea of {name_of(truth)!r} at its times."
        )
    sums = CellSums(field.shape)
    it, iy, ix = (index.astype(np.int64) for index in np.nonzero(seen))
    sums.add((it, iy, ix), values[seen], deviation)
    return gridded(truth, field, axes, sums, f"a sampling design, seed {seed}")


def design_points(design: xr.Dataset) -> xr.Dataset:
    """List the places of a sampling design.

    Parameters
    ----------
    design : Dataset
        Of `xinverse.design_sampling`.

    Returns
    -------
    Dataset
        Along ``point``, in the order of choice: the coordinates of each place, ``order``,
        ``priority`` if the design has it, ``error_before`` and ``error_after``.
        ``.to_dataframe()`` makes a table.

    Raises
    ------
    OptionError
        The dataset is not a design.
    """
    sampling = _sampling(design)
    names = ("order", "priority", "error_before", "error_after")
    stacked = design[[n for n in names if n in design]].stack(point=sampling.dims)
    chosen = stacked.isel(point=np.nonzero(sampling.stack(point=sampling.dims).values == 1)[0])
    chosen = chosen.reset_index("point")
    return chosen.isel(point=np.argsort(chosen["order"].values, kind="stable"))


def _sampling(design: Design) -> xr.DataArray:
    if isinstance(design, xr.DataArray):
        return design
    if "sampling" not in design:
        raise OptionError(
            f"The dataset has the variables {list(design.data_vars)}: expected 'sampling', as "
            "of xinverse.design_sampling."
        )
    return design["sampling"]
