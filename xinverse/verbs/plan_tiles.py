"""Show how a field would be tiled, without solving anything."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import xarray as xr

from xinverse.fields.seam import across_the_seam
from xinverse.tiling.plan import Plan
from xinverse.verbs.call import Call, as_dataset
from xinverse.verbs.choose import chosen_variables, variables_to_fill
from xinverse.verbs.job import Observation, prepare

__all__ = ["plan_tiles"]


@across_the_seam
def plan_tiles(
    obj: xr.Dataset | xr.DataArray,
    method: str = "oi",
    *,
    weights: str | os.PathLike[str] | None = None,
    variables: str | Sequence[str] | None = None,
    dims: Mapping[str, Hashable] | None = None,
    tile: Any = "auto",
    **options: Any,
) -> Plan:
    """Say how `xinverse.interpolate` would cut a field into tiles.

    Parameters
    ----------
    obj : Dataset or DataArray
        Of a dataset, its first field is planned for.
    method : str
        As for `xinverse.interpolate`, and so are all that follow. The plan depends on
        nothing else but the grid and the option ``memory_budget``.
    weights : str or path, optional
        Of learned methods.
    variables : str or sequence of str, optional
        Variables of a dataset; the first is planned for.
    dims : mapping, optional
        Dimension names of ``"time"``, ``"y"`` and ``"x"``.
    tile : "auto", mapping or Plan
        Cells of the cores of the tiles.
    **options
        The method's own.

    Returns
    -------
    Plan
        It shows itself as text, and ``plan.plot()`` draws it. For dask arrays
        it says how many tiles read a chunk on average, and which chunks would be
        read by less than half as many: those of the cores.
    """
    ds = as_dataset(obj, "plan_tiles")
    call = Call.of("plan_tiles", ds, method, options, weights=weights, dims=dims, tile=tile)
    names = chosen_variables(obj, variables)
    if isinstance(obj, xr.DataArray):
        da = obj
    else:
        da = obj[(names or variables_to_fill(ds, dims, options))[0]]
    job = prepare(call, ds, [da], [Observation(da.name, da)])
    chunks = getattr(job.field.data, "chunks", None)
    if chunks is None:
        return job.plan
    reads = job.plan.misfit(chunks[-3:])
    reason = f"{job.plan.reason}; each chunk is read by {reads:.1f} tiles on average"
    along = [_chunks(axis.size, axis.core) for axis in job.plan.axes]
    fewer = job.plan.misfit((along[0], along[1], along[2]))
    if 2 * fewer <= reads:
        better = {d: c[0] for d, c in zip(job.field.dims[-3:], along, strict=True)}
        reason += f", and by {fewer:.1f} if rechunked: obj.chunk({better})"
    return replace(job.plan, reason=reason)


def _chunks(size: int, length: int) -> tuple[int, ...]:
    """Chunks of one length along an axis, and the rest."""
    whole, rest = divmod(size, length)
    return (length,) * whole + ((rest,) if rest else ())
