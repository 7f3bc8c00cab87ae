"""Mean and variance of a field, from a sample of dates: what is known of cells never seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xinverse.fields.field import Field

__all__ = ["sample_statistics"]

DATES = 32  # read of a lazy field, however long it is; enough for a mean of the whole


def sample_statistics(field: Field) -> Any:
    """Mean and variance of the observations on evenly spaced dates, lazy if the field is.

    They depend on the dates alone, and not on chunks.

    Parameters
    ----------
    field : Field
        Observations, NaN in the gaps.

    Returns
    -------
    array, shape (*extra, 1, 1, 2)
        NaN if the sample has no observation.
    """
    axes = field.axes
    dates = np.unique(np.linspace(0, field.grid.time.size - 1, DATES).astype(int))
    sample = field.template.isel({axes.time: dates}).drop_vars(field.template.coords)
    over = [axes.time, axes.y, axes.x]
    moments = [sample.mean(over, dtype="float64"), sample.var(over, dtype="float64")]
    stacked = xr.concat(moments, "moment").transpose(*field.extra, "moment")
    return stacked.data[..., None, None, :]
