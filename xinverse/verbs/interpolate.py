"""Fill the gaps of labelled fields."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

import xarray as xr

from xinverse.climatology import climatology
from xinverse.errors import OptionError
from xinverse.fields.seam import across_the_seam
from xinverse.verbs.call import Call, as_dataset
from xinverse.verbs.choose import chosen_variables, names_together, variables_with_gaps
from xinverse.verbs.job import Observation
from xinverse.verbs.run import Results, assembled, over_variables, run

__all__ = ["interpolate"]


@overload
def interpolate(obj: xr.Dataset, method: str = ..., **keywords: Any) -> xr.Dataset: ...
@overload
def interpolate(
    obj: xr.Dataset | xr.DataArray, method: str = ..., **keywords: Any
) -> xr.DataArray | xr.Dataset: ...
@across_the_seam
def interpolate(
    obj: xr.Dataset | xr.DataArray,
    method: str = "oi",
    *,
    weights: str | os.PathLike[str] | None = None,
    variables: str | Sequence[str] | None = None,
    together: bool = False,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
    background: Any = None,
    error: bool = False,
    members: int | None = None,
    keep_observed: bool = False,
    max_distance: float | None = None,
    max_gap: float | None = None,
    transform: str | None = None,
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
        Fields with gaps (NaN). Of a dataset, the fields on (time, y, x) that have gaps on
        the sea are filled, and complete ones, flags and other variables are kept as they
        are. Fields may have other dimensions (depth, member), each element of which is
        filled by itself.
    method : str
        Such as ``"oi"`` or ``"4dvarnet"``.
    weights : str or path, optional
        Name of registered weights or a safetensors file, for learned methods.
        Default: the method's own.
    variables : str or sequence of str, optional
        Variables of a dataset to fill, with gaps or not. Default: its only field on
        (time, y, x), or of several those with gaps. Several dask arrays must be named,
        since their gaps are unknown before they are read.
    together : bool
        Solve the variables as one problem, coupled by the prior: ``method="oi"`` with
        ``correlation=``.
    mask : DataArray, ndarray or str, optional
        True (or 1) where the sea is, on (y, x), or the name of such a variable.
        Default: a variable of the dataset with the standard name
        ``sea_binary_mask`` or ``land_binary_mask``; without one, every cell is filled.
    dims : mapping, optional
        Dimension names of ``"time"``, ``"y"`` and ``"x"``, if they cannot be found.
    background : float, DataArray or str, optional
        The field where nothing is known. ``"climatology"`` is the mean seasonal cycle of
        the data (`xinverse.climatology` makes it from another series). Default: the
        mean of the tile's observations; of a sample of the whole field in a tile without
        observations.
    error : bool
        Also return the error, one standard deviation of the analysis error in
        the variable's units, as ``<name>_error``.
    members : int, optional
        Also return that many posterior samples, as ``<name>_members``.
    keep_observed : bool
        Copy the observations into the result instead of analysing them.
    max_distance : float, optional
        Fill only cells with an observation within so many km, of the same time unless
        ``max_gap`` is given. Default: fill all.
    max_gap : float, optional
        Fill only cells with an observation within so many days, of the cell itself
        unless ``max_distance`` is given. Default: fill all.
    transform : {"log"}, optional
        Solve for the natural logarithm of a positive variable, such as chlorophyll. The
        map is the median of a log-normal distribution and the error its standard
        deviation, in the units of the variable; ``noise`` and ``variance`` are those of
        the logarithm.
    tile : "auto", mapping or Plan
        Cells of the cores of the tiles (`xinverse.plan_tiles` shows them).
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``. Default: that of
        `xinverse.set_options`.
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
    ds = as_dataset(obj, "interpolate")
    names = chosen_variables(obj, variables)
    seasonal = isinstance(background, str) and background == "climatology"
    seasonal = seasonal and background not in ds.variables
    call = Call.of(
        "interpolate",
        ds,
        method,
        options if background is None or seasonal else {"background": background, **options},
        weights=weights,
        mask=mask,
        dims=dims,
        error=error,
        members=members,
        keep_observed=keep_observed,
        max_distance=max_distance,
        max_gap=max_gap,
        transform=transform,
        tile=tile,
        device=device,
        progress=progress,
        variables=variables,
        said={"background": background, "together": together or None},
    )
    if together:
        if seasonal:
            raise OptionError("together=True takes no background='climatology'.")
        fields = [obj[name] for name in names_together(obj, names, dims, call.companions)]
        results = run(call, ds, fields, [Observation(da.name, da) for da in fields])
        return assembled(ds, call, results)

    def fill(da: xr.DataArray) -> Results:
        mine = call
        if seasonal:
            cycle = climatology(da, dims=dims)
            mine = replace(call, companions={**call.companions, "background": cycle})
        return run(mine, ds, [da], [Observation(da.name, da)])

    if names is None and isinstance(obj, xr.Dataset):
        names = variables_with_gaps(obj, dims, call.companions, mask)
    return over_variables(obj, call, fill, names)
