"""Estimate labelled fields on a finer grid than that on which they were observed."""

from __future__ import annotations

from typing import Any

import xarray as xr

from xinverse.errors import GridError
from xinverse.fields.axes import find_axes
from xinverse.fields.coordinates import FULL_CIRCLE
from xinverse.fields.grid import make_grid
from xinverse.fields.seam import across_the_seam
from xinverse.fields.templates import meet, on_axes
from xinverse.fields.values import unpacked
from xinverse.verbs.call import Call, as_dataset
from xinverse.verbs.job import Observation
from xinverse.verbs.run import Results, over_variables, run

__all__ = ["downscale"]


@across_the_seam
def downscale(
    obj: xr.Dataset | xr.DataArray,
    like: xr.Dataset | xr.DataArray,
    method: str = "oi",
    **keywords: Any,
) -> xr.Dataset | xr.DataArray:
    r"""Estimate the field whose means over larger cells were observed.

    .. math:: y_B = \frac{1}{|B|} \int_B x + \epsilon

    Parameters
    ----------
    obj : Dataset or DataArray
        Coarse fields on (time, y, x), complete or with gaps.
    like : Dataset or DataArray
        Holds the finer y and x; a coarse cell that it covers in part does not count.
        The ratio need not be a whole number.
    method : str
        Such as ``"oi"``, ``"tikhonov"`` or ``"tv"``.
    **keywords
        As of `xinverse.interpolate`, and the method's own. ``mask`` is on the finer grid.

    Returns
    -------
    Dataset or DataArray
        On the grid of ``like``; its means over the coarse cells are the observations
        within their noise.
    """
    ds, target = as_dataset(obj, "downscale"), as_dataset(like, "take the grid from")
    call = Call.split("downscale", ds, method, keywords, {"like": like})

    def refine(da: xr.DataArray) -> Results:
        axes, coarse = find_axes(da, call.dims), unpacked(da)
        found = {dim: target[dim] for dim in (axes.y, axes.x) if dim in target.coords}
        fine = {dim: axis for dim, axis in found.items() if axis.ndim == 1}
        if len(fine) < 2 or any(a.size <= coarse.sizes[d] for d, a in fine.items()):
            raise GridError(
                f"like has {dict(target.sizes)}, {da.name!r} has {dict(da.sizes)}: expected "
                f"1-D coordinates {axes.y!r} and {axes.x!r}, each with more cells. Rename "
                "those of like if they have other names."
            )
        round_globe = FULL_CIRCLE if make_grid(coarse, axes).geographic else None
        for dim, period in ((axes.y, None), (axes.x, round_globe)):
            if not meet(coarse[dim], fine[dim], period):
                raise GridError(
                    f"{da.name!r} and like lie apart along {dim!r}: select its region."
                )
        template = on_axes(coarse, fine)
        return run(call, target, [template], [Observation(da.name, coarse)])

    return over_variables(obj, call, refine)
