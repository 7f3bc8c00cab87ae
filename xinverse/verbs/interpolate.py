"""Fill the gaps of labelled fields."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any, overload

import numpy as np
import xarray as xr

from xinverse.device import check_device, require_device
from xinverse.errors import OptionError
from xinverse.fields.attributes import (
    ancillary_attributes,
    describe_call,
    error_attributes,
    history_line,
    prepend_history,
)
from xinverse.fields.field import check_values
from xinverse.methods.tile_solver import TileSolver
from xinverse.options import get_option
from xinverse.tiling.eager import solve_eagerly
from xinverse.verbs.prepare import Job, prepare, variables_to_fill

__all__ = ["interpolate"]


@overload
def interpolate(obj: xr.Dataset, method: str = ..., **keywords: Any) -> xr.Dataset: ...
@overload
def interpolate(
    obj: xr.Dataset | xr.DataArray, method: str = ..., **keywords: Any
) -> xr.DataArray | xr.Dataset: ...
def interpolate(
    obj: xr.Dataset | xr.DataArray,
    method: str = "oi",
    *,
    weights: str | os.PathLike[str] | None = None,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
    background: Any = None,
    error: bool = False,
    members: int | None = None,
    keep_observed: bool = False,
    tile: Any = "auto",
    device: str | None = None,
    progress: bool | None = None,
    **options: Any,
) -> xr.Dataset | xr.DataArray:
    r"""Fill the gaps of every field on (time, y, x), and analyse what was observed.

    Each tile is an inverse problem,

    .. math:: \hat x = \arg\min_x \lambda_1 \| y - H(x) \|^2_\Omega + \lambda_2 U(x),

    with H the mask of what was observed; the method says what U is and how the
    minimum is found (`xinverse.methods` lists them). Lazy in, lazy out: on dask
    arrays nothing is computed, and the result does not depend on the chunks.

    Parameters
    ----------
    obj : Dataset or DataArray
        Fields with gaps (NaN). Of a dataset, every floating-point variable on
        (time, y, x) is filled and the others are kept; variables may have other
        dimensions (depth, member), each element of which is filled by itself.
    method : str
        Such as ``"oi"`` or ``"4dvarnet"``.
    weights : str or path, optional
        Name of registered weights or a safetensors file, for learned methods;
        the method's default where not given.
    mask : DataArray, ndarray or str, optional
        True (or 1) where the sea is, on (y, x), or the name of such a variable.
        Where not given, a variable of the dataset with the standard name
        ``sea_binary_mask`` or ``land_binary_mask`` is used; where there is
        none, every cell is filled.
    dims : mapping, optional
        Dimension names of ``"time"``, ``"y"`` and ``"x"``, where they cannot be found.
    background : float, DataArray or str, optional
        What the field is where nothing is known. The mean of the tile's
        observations where not given.
    error : bool
        Also return the error, one standard deviation of the analysis error in
        the variable's units, as ``<name>_error``.
    members : int, optional
        Also return that many posterior samples, as ``<name>_members``.
    keep_observed : bool
        Copy the observations into the result instead of analysing them.
    tile : "auto", mapping or Plan
        Cells of the cores of the tiles (`xinverse.plan_tiles` shows them).
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``; that of
        `xinverse.set_options` where not given.
    progress : bool, optional
        Show a bar over the tiles; dask has its own for lazy results.
    **options
        The method's own.

    Returns
    -------
    Dataset or DataArray
        As it came: names, dimension order, coordinates, attributes, dtype and
        chunks. Land is NaN, every gap is filled. A DataArray with ``error`` or
        ``members`` becomes a Dataset.

    Raises
    ------
    AxesError, GridError, MaskError, DataError, UnitsError
        The labels or the values are not what the method needs.
    UnknownNameError, OptionError, WeightsError, TileError, DeviceError
        The method, an option, the weights, the tile or the device.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xinverse
    >>> sst = xr.DataArray(
    ...     np.full((3, 8, 9), np.nan, "float32"),
    ...     dims=("time", "lat", "lon"),
    ...     coords={
    ...         "time": np.arange("2020-01-01", "2020-01-04", dtype="M8[D]").astype("M8[ns]"),
    ...         "lat": 40 + 0.25 * np.arange(8),
    ...         "lon": 5 + 0.25 * np.arange(9),
    ...     },
    ...     name="sst",
    ... )
    >>> sst[1, 4, 4], sst[1, 2, 7] = 20.0, 22.0
    >>> full = sst.inverse.interpolate(method="oi", length_scale=50, time_scale=5)
    >>> bool(full.notnull().all()), full.dims, full.name
    (True, ('time', 'lat', 'lon'), 'sst')
    """
    common = _common(error, members, keep_observed, device, progress)
    given = dict(options)
    if background is not None:
        given["background"] = background
    keywords: dict[str, Any] = {
        "weights": weights,
        "mask": mask,
        "dims": dims,
        "tile": tile,
        "options": given,
    }
    line = history_line(
        describe_call(
            "interpolate",
            method=method,
            weights=weights,
            mask=mask,
            background=background,
            error=error or None,
            members=members,
            keep_observed=keep_observed or None,
            tile=None if isinstance(tile, str) else tile,
            **options,
        )
    )
    if isinstance(obj, xr.DataArray):
        filled = _fill(obj, obj._to_temp_dataset(), method, common, keywords, line)
        return next(iter(filled.values())) if len(filled) == 1 else xr.Dataset(filled)
    if not isinstance(obj, xr.Dataset):
        raise OptionError(
            f"Got a {type(obj).__name__} to interpolate; an xarray Dataset or DataArray is "
            "expected. Label an array first: xr.DataArray(values, dims=..., coords=...)."
        )
    names = variables_to_fill(obj, dims, given)
    results: dict[Hashable, xr.DataArray] = {}
    for name in names:
        results |= _fill(obj[name], obj, method, common, keywords, line)
    return obj.assign(results).assign_attrs(prepend_history(obj.attrs, line)).drop_encoding()


def _common(
    error: bool, members: int | None, keep_observed: bool, device: str | None, progress: Any
) -> dict[str, Any]:
    """The keywords that every method shares, checked."""
    switches = {"error": error, "keep_observed": keep_observed, "progress": progress or False}
    for name, value in switches.items():
        if not isinstance(value, bool | np.bool_):
            raise OptionError(f"{name}={value!r}: expected True or False.")
    whole = isinstance(members, int | np.integer) and not isinstance(members, bool)
    if members is not None and not (whole and members > 0):
        raise OptionError(f"members={members!r}: expected a number of samples above 0.")
    device = check_device(get_option("device") if device is None else device)
    require_device(device)
    outputs = ["mean"]
    if error:
        outputs.append("error")
    outputs += [f"member {k}" for k in range(members or 0)]
    return {
        "outputs": tuple(outputs),
        "keep_observed": bool(keep_observed),
        "device": device,
        "progress": get_option("progress") if progress is None else bool(progress),
    }


def _fill(
    da: xr.DataArray,
    ds: xr.Dataset,
    method: str,
    common: Mapping[str, Any],
    keywords: Mapping[str, Any],
    line: str,
) -> dict[Hashable, xr.DataArray]:
    """Fill one variable: it and what was asked for beside it, by name."""
    job = prepare(da, ds, method, **keywords)
    outputs = common["outputs"]
    for wanted, what in (("error", "error"), ("member 0", "members")):
        if wanted in outputs and what not in job.method.gives:
            raise OptionError(
                f"method={method!r} gives no {what}. method='oi' does; "
                "xinverse.methods() lists what each gives."
            )
    field = job.field
    name = "field" if field.name is None else field.name
    _refuse_taken(name, outputs, ds)
    arrays = _solve(job, common)
    attrs = prepend_history(field.template.attrs, line)
    results: dict[Hashable, xr.DataArray] = {}
    if "error" in outputs:
        extra = error_attributes(field.template)
        attrs = ancillary_attributes(attrs, f"{name}_error")
        results[f"{name}_error"] = field.restore(arrays[1], f"{name}_error", extra)
    drawn = [a for a, o in zip(arrays, outputs, strict=True) if o.startswith("member")]
    if drawn:
        label = f"{name}_members"
        stacked = xr.concat([field.restore(a, label) for a in drawn], "member")
        results[label] = stacked.assign_attrs(field.template.attrs)
    mean = field.restore(arrays[0], field.name if not results else name, attrs)
    return {name: mean, **results}


def _refuse_taken(name: Hashable, outputs: tuple[str, ...], ds: xr.Dataset) -> None:
    """Refuse to write over what the data hold already."""
    taken: list[tuple[str, Hashable]] = []
    if "error" in outputs and f"{name}_error" in ds.variables:
        taken.append(("variable", f"{name}_error"))
    if "member 0" in outputs and f"{name}_members" in ds.variables:
        taken.append(("variable", f"{name}_members"))
    if "member 0" in outputs and "member" in ds.sizes:
        taken.append(("dimension", "member"))
    for kind, found in taken:
        raise OptionError(
            f"There is a {kind} {found!r} already, and the result needs the name. Rename it "
            f"first: obj.rename({{{found!r}: ...}})."
        )


def _solve(job: Job, common: Mapping[str, Any]) -> Any:
    """Solve every tile: arrays in memory at once, dask arrays as a graph."""
    field, outputs = job.field, common["outputs"]
    solver = TileSolver(
        variable=str(field.name),
        method=job.method.name,
        options=job.options,
        grid=field.grid,
        outputs=outputs,
        dtype=field.data.dtype,
        weights=job.weights,
        device=common["device"],
        keep_observed=common["keep_observed"],
    )
    inputs = {"y": field.data, **job.inputs}
    if job.sea is not None:
        inputs["sea"] = job.sea
    check_values(field)
    if any(hasattr(array, "__dask_graph__") for array in inputs.values()):
        from xinverse.tiling.graph import solve_lazily

        return solve_lazily(
            job.plan, solver, inputs, len(outputs), field.data.dtype, solver.token
        )
    return solve_eagerly(
        job.plan,
        solver,
        inputs,
        len(outputs),
        field.data.dtype,
        progress=common["progress"],
    )
