"""Plan where the next observations should be taken."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xinverse.checks import check_switch
from xinverse.errors import OptionError, UnknownNameError
from xinverse.fields.attributes import describe_call, history_line
from xinverse.fields.axes import Axes
from xinverse.verbs.call import as_dataset

if TYPE_CHECKING:
    from xinverse.sampling.outcome import Outcome
    from xinverse.sampling.problem import SamplingProblem
    from xinverse.verbs.design_request import Wishes

__all__ = ["design_sampling"]


def design_sampling(
    obj: xr.Dataset | xr.DataArray,
    var: Hashable | None = None,
    budget: float | None = None,
    method: str = "variance",
    *,
    placement: str = "fixed",
    archive: xr.DataArray | xr.Dataset | None = None,
    existing: xr.DataArray | xr.Dataset | str | None = None,
    forbidden: xr.DataArray | str | None = None,
    cost: xr.DataArray | Mapping[str, float] | str | None = None,
    spacing: float = 0.0,
    platforms: Mapping[str, Any] | None = None,
    tracks: xr.DataArray | Mapping[str, xr.DataArray] | None = None,
    even: bool = True,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
    **options: Any,
) -> xr.Dataset:
    r"""Choose where to observe a field, so that its map has a small error.

    Places are taken one after another, always the best of those that the constraints allow.
    The expected error is that of optimal interpolation,

    .. math:: A = B - B H^\top (H B H^\top + R)^{-1} H B,

    with H the observations made anyway and those of the design.

    Parameters
    ----------
    obj : Dataset or DataArray
        A field on (time, y, x): its grid, the times of the design, and the statistics.
    var : hashable, optional
        The variable of a dataset. Not for a DataArray.
    budget : int or float
        A number of places, a share of the cells of the sea (0 to 1), or with `cost` a cost.
        With ``placement="daily"`` a place is one cell at one time. With `tracks`, a number
        of tracks. Not needed with `platforms`.
    method : str
        ``"random"``, ``"regular"``, ``"variance"``, ``"qr"`` or ``"learned"``.
    placement : {"fixed", "daily"}
        Stations that report at all times, or cells that are chosen again at each time.
    archive : DataArray or Dataset, optional
        A long series on the same cells (a model, or L4) to take the statistics from. A
        bounded sample of it is read. Default: the field itself.
    existing : DataArray, Dataset or str, optional
        Observations that are made anyway, with gaps: the design adds to them. A dataset of
        `xinverse.osse.observe` also gives their noise.
    forbidden : DataArray or str, optional
        True or 1 where nothing may be placed, on (y, x) or (time, y, x). Land always is.
    cost : DataArray, mapping or str, optional
        Cost of an observation, on (y, x) or (time, y, x), or of each track by name.
    spacing : float
        Least distance between places of the same time, in km.
    platforms : mapping, optional
        ``number``, ``speed`` (km a day) and optionally ``start``, a list of (y, x): each
        platform observes one cell at each time and moves no faster.
    tracks : DataArray or mapping, optional
        Candidate tracks, observed as a whole: maps on (time, y, x) by name, or an array
        with one more dimension. True, non-zero or finite where a track observes.
    even : bool
        With ``placement="daily"``, whether each time gets the same share of the budget.
    mask : DataArray, ndarray or str, optional
        As in `xinverse.interpolate`. Default: cells without any value are land.
    dims : mapping, optional
        Dimension names of ``"time"``, ``"y"`` and ``"x"``, if they cannot be found.
    **options
        Of the prior: ``length_scale``, ``time_scale`` (fitted by default), ``noise``,
        ``variance``, ``energy``, ``covariance``, ``temporal``
        (`xinverse.sampling.options.PriorOptions`). And the method's own.

    Returns
    -------
    Dataset
        ``sampling`` (1 where to observe), ``order`` (1 for the place chosen first),
        ``priority`` (0 to 1), ``error_before`` and ``error_after`` (one standard deviation,
        in the units of the field), on (y, x) for stations and (time, y, x) else. The
        attributes hold the budget used and the numbers of the prior.
        `xinverse.osse.design_points` lists the places.

    Raises
    ------
    OptionError
        A keyword is invalid, or the constraints cannot be met: the text says by how much.
    UnknownNameError, AxesError, GridError, MaskError, DataError
        The method, or the labels or values of an input.

    Notes
    -----
    The design is computed at the call, from a sample of at most 17 million numbers of the
    field. Stations without `existing` are designed for the first ten times, which stand for
    all.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xinverse
    >>> sst = xr.DataArray(
    ...     np.random.default_rng(0).normal(size=(3, 12, 12)),
    ...     dims=("time", "lat", "lon"),
    ...     coords={
    ...         "time": np.arange("2020-01-01", "2020-01-04", dtype="M8[D]").astype("M8[ns]"),
    ...         "lat": 40 + 0.25 * np.arange(12),
    ...         "lon": 5 + 0.25 * np.arange(12),
    ...     },
    ...     name="sst",
    ... )
    >>> plan = sst.inverse.design_sampling(budget=4, length_scale=100, time_scale=5)
    >>> int(plan.sampling.sum()), plan.sampling.dims
    (4, ('lat', 'lon'))
    """
    # Imported here, because most sessions design nothing.
    from xinverse.sampling.base import DESIGNS
    from xinverse.sampling.outcome import run_design
    from xinverse.verbs.design_request import Wishes, prior_options, request

    check_switch(even=even)
    ds = as_dataset(obj, "design_sampling")
    da = _variable(obj, var)
    of_prior, own = prior_options(options)
    design = DESIGNS[method].made(own)
    wishes = Wishes(
        *(budget, placement, archive, existing, forbidden),
        *(cost, spacing, platforms, tracks, even),
    )
    problem, template, axes = request(da, ds, wishes, mask, dims, of_prior)
    outcome = run_design(problem, design)
    said = describe_call(
        "design_sampling", budget=budget, method=method, placement=placement, **options
    )
    attrs = {**_numbers(problem, outcome, method, wishes), "history": history_line(said)}
    return _labelled(outcome, template, axes, da, problem.fixed).assign_attrs(attrs)


def _variable(obj: xr.Dataset | xr.DataArray, var: Hashable | None) -> xr.DataArray:
    if isinstance(obj, xr.DataArray):
        if var is not None and var != obj.name:
            raise OptionError(f"var={var!r} chooses from a dataset, and this is a DataArray.")
        return obj
    if var is None and len(obj.data_vars) == 1:
        (var,) = obj.data_vars
    if var not in obj.data_vars:
        raise UnknownNameError("variable", var, map(str, obj.data_vars))
    return obj[var]


def _numbers(
    problem: SamplingProblem, outcome: Outcome, method: str, wishes: Wishes
) -> dict[str, Any]:
    """Attributes of a design."""
    prior = problem.prior
    unit = "tracks" if problem.constraints.tracks else "places"
    return {
        "method": method,
        "placement": wishes.placement,
        "budget": problem.constraints.budget,
        "budget_used": outcome.spent,
        "budget_unit": unit if wishes.cost is None else "cost",
        "mean_error_before": outcome.mean_before,
        "mean_error_after": outcome.mean_after,
        "length_scale_km": prior.length_scale,
        "time_scale_days": prior.time_scale,
        "noise": prior.noise,
        "covariance": prior.covariance,
        "temporal": prior.temporal,
        **({"chosen_tracks": outcome.chosen} if outcome.chosen else {}),
    }


def _labelled(
    outcome: Outcome, template: xr.DataArray, axes: Axes, da: xr.DataArray, fixed: bool
) -> xr.Dataset:
    """The arrays with their coordinates, in the dimension order of the field."""
    flat = template.isel({axes.time: 0}, drop=True)
    units = {"units": da.attrs["units"]} if "units" in da.attrs else {}
    flags = {"flag_values": np.array([0, 1], "i1"), "flag_meanings": "not_observed observed"}
    about: dict[str, tuple[Any, dict[str, Any]]] = {
        "sampling": (outcome.sampling.astype("i1"), {"long_name": "cells to observe", **flags}),
        "order": (outcome.order, {"long_name": "order of choice, 0 where not observed"}),
        "priority": (outcome.priority, {"long_name": "worth of an observation", "units": "1"}),
        "error_before": (outcome.error_before, {"long_name": "expected error", **units}),
        "error_after": (
            outcome.error_after,
            {"long_name": "expected error with the design", **units},
        ),
    }
    like = flat if fixed else template
    found = {}
    for name, (values, attrs) in about.items():
        if values is None:
            continue
        shaped = values.reshape(like.shape)
        found[name] = xr.DataArray(shaped, coords=like.coords, dims=like.dims, attrs=attrs)
    order = [d for d in da.dims if d in found["sampling"].dims]
    return xr.Dataset(found).transpose(*order)
