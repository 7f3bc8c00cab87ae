"""Sharpen labelled fields that an instrument or a mapping has smeared."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xinverse.fields.seam import across_the_seam
from xinverse.verbs.call import Call, as_dataset
from xinverse.verbs.job import Observation
from xinverse.verbs.point_spread import blur_of
from xinverse.verbs.run import Results, over_variables, run

__all__ = ["deconvolve"]


@across_the_seam
def deconvolve(
    obj: xr.Dataset | xr.DataArray,
    method: str = "oi",
    *,
    psf: float | tuple[float, float] | np.ndarray,
    angle: float = 0.0,
    **keywords: Any,
) -> xr.Dataset | xr.DataArray:
    r"""Estimate the field whose blurred version was observed, and fill its gaps.

    .. math:: y = h * x + \epsilon

    Beyond an edge the anomaly of x counts as zero: set observations to NaN that are nearer
    to it than the blur reaches.

    Parameters
    ----------
    obj : Dataset or DataArray
        Blurred fields on (time, y, x), complete or with gaps.
    method : str
        Such as ``"oi"``, ``"tikhonov"`` or ``"tv"``.
    psf : float, (float, float) or ndarray
        The point spread function h: a Gaussian by its standard deviation in km, or by
        those along y and x; or its values on cells of the grid, of odd sides.
    angle : float
        Degrees by which the Gaussian is turned, from east towards north.
    **keywords
        As of `xinverse.interpolate`, and the method's own.

    Returns
    -------
    Dataset or DataArray
        As of `xinverse.interpolate`.
    """
    ds = as_dataset(obj, "deconvolve")
    blur = blur_of(psf, angle)
    call = Call.split("deconvolve", ds, method, keywords, {"psf": psf, "angle": angle or None})

    def sharpen(da: xr.DataArray) -> Results:
        return run(call, ds, [da], [Observation(da.name, da, blur)])

    return over_variables(obj, call, sharpen)
