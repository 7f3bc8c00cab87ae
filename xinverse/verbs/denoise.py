"""Remove the noise of labelled fields."""

from __future__ import annotations

from typing import Any

import xarray as xr

from xinverse.errors import OptionError
from xinverse.fields.seam import across_the_seam
from xinverse.verbs.call import Call, as_dataset
from xinverse.verbs.job import Observation
from xinverse.verbs.run import Results, over_variables, run

__all__ = ["denoise"]


@across_the_seam
def denoise(
    obj: xr.Dataset | xr.DataArray,
    method: str = "oi",
    *,
    noise: float | str | xr.DataArray,
    **keywords: Any,
) -> xr.Dataset | xr.DataArray:
    r"""Estimate the field under noisy observations; gaps stay gaps.

    .. math:: y = x + \epsilon

    Parameters
    ----------
    obj : Dataset or DataArray
        Fields on (time, y, x), complete or with gaps.
    method : str
        Such as ``"oi"``, ``"tikhonov"`` or ``"tv"``.
    noise : float, str or DataArray
        Standard deviation of :math:`\epsilon`, in the units of the field.
    **keywords
        As of `xinverse.interpolate`, and the method's own.

    Returns
    -------
    Dataset or DataArray
        As of `xinverse.interpolate`, NaN where nothing was observed.
    """
    ds = as_dataset(obj, "denoise")
    if noise is None:
        raise OptionError("noise=None: expected the standard deviation of what is to go.")
    call = Call.split("denoise", ds, method, {"noise": noise, **keywords})

    def clean(da: xr.DataArray) -> Results:
        found = run(call, ds, [da], [Observation(da.name, da)])
        return {name: field.where(da.notnull()) for name, field in found.items()}

    return over_variables(obj, call, clean)
