"""The one road of every field verb: labels to numbers, tiles, and back."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import xarray as xr

from xinverse.errors import OptionError
from xinverse.fields.attributes import ancillary_attributes, error_attributes, prepend_history
from xinverse.fields.field import Field, check_values
from xinverse.methods.auto_scales import count
from xinverse.methods.tile_task import TileTask
from xinverse.tiling.cover import Cover
from xinverse.tiling.eager import each_region, solve_eagerly
from xinverse.tiling.regions import regions_of
from xinverse.verbs.call import Call
from xinverse.verbs.choose import variables_to_fill
from xinverse.verbs.job import Job, Observation, prepare

__all__ = ["Results", "assembled", "over_variables", "run"]

Results = dict[Hashable, xr.DataArray]


def run(
    call: Call,
    ds: xr.Dataset,
    wanted: Sequence[xr.DataArray],
    observations: Sequence[Observation],
) -> Results:
    """Solve one problem: results by name, with error and members if they were asked for.

    Parameters
    ----------
    call : Call
        Method and common keywords.
    ds : Dataset
        May hold a mask; the results may take none of its names but those of ``wanted``.
    wanted : sequence of DataArray
        Templates on the grid of the state.
    observations : sequence of Observation
        What observes them.
    """
    job = prepare(call, ds, wanted, observations)
    for field in job.fields:
        check_values(field)
    for state in job.states.values():
        _check_free(state, call, ds)
    arrays = _solve(job, call)
    results: Results = {}
    for variable, state in job.states.items():
        results |= _labelled(variable, state, arrays, call)
    return results


def over_variables(
    obj: xr.Dataset | xr.DataArray,
    call: Call,
    solve: Callable[[xr.DataArray], Results],
    names: Sequence[Hashable] | None = None,
) -> xr.Dataset | xr.DataArray:
    """Act on an array, or on every field of a dataset in turn.

    Parameters
    ----------
    obj : Dataset or DataArray
        What the user gave.
    call : Call
        Method and common keywords.
    solve : callable
        From one variable to its results.
    names : sequence of hashable, optional
        Variables of a dataset to act on. Default: every field.

    Returns
    -------
    Dataset or DataArray
        An array for an array, unless error or members come with it. Other variables of a
        dataset are kept if the grid is.
    """
    if isinstance(obj, xr.DataArray):
        results = solve(obj)
        return next(iter(results.values())) if len(results) == 1 else xr.Dataset(results)
    results = {}
    chosen = variables_to_fill(obj, call.dims, call.companions) if names is None else names
    for name in chosen:
        results |= solve(obj[name])
    return assembled(obj, call, results)


def assembled(obj: xr.Dataset, call: Call, results: Results) -> xr.Dataset:
    """Results put into the dataset that they came from, or into a new one.

    Parameters
    ----------
    obj : Dataset
        What the user gave.
    call : Call
        Says what the history gets.
    results : dict
        By name.
    """
    same = all(
        dim not in obj.sizes or obj.sizes[dim] == size
        for result in results.values()
        for dim, size in result.sizes.items()
    )
    whole = obj.assign(results) if same else xr.Dataset(results, attrs=obj.attrs)
    return whole.assign_attrs(prepend_history(obj.attrs, call.line)).drop_encoding()


def _labelled(variable: str, state: Field, arrays: dict[Hashable, Any], call: Call) -> Results:
    """The mean of a variable, and what was asked for with it."""
    attrs = prepend_history(state.template.attrs, call.line)
    if call.transform:
        attrs["analysis"] = "median of a log-normal distribution; the error is its deviation"
    extra: Results = {}
    if call.wanted.error:
        name = f"{variable}_error"
        attrs = ancillary_attributes(attrs, name)
        given = arrays[variable, "error"]
        extra[name] = state.restore(given, name, error_attributes(state.template))
    if call.wanted.members:
        name = f"{variable}_members"
        given = arrays[variable, "members"]
        extra[name] = state.restore(given, name, new_dims=("member",))
    mean = state.restore(arrays[variable, "mean"], state.name if not extra else variable, attrs)
    return {(variable if state.name is None else state.name): mean, **extra}


def _check_free(state: Field, call: Call, ds: xr.Dataset) -> None:
    """Require that no name of the results is taken by the data."""
    variable = "field" if state.name is None else state.name
    taken: list[tuple[str, Hashable]] = []
    if call.wanted.error and f"{variable}_error" in ds.variables:
        taken.append(("variable", f"{variable}_error"))
    if call.wanted.members and f"{variable}_members" in ds.variables:
        taken.append(("variable", f"{variable}_members"))
    if call.wanted.members and "member" in state.template.dims:
        taken.append(("dimension", "member"))
    for kind, found in taken:
        raise OptionError(
            f"There is a {kind} {found!r} already, and the result needs the name. Rename it "
            f"first: obj.rename({{{found!r}: ...}})."
        )


def _solve(job: Job, call: Call) -> dict[Hashable, Any]:
    """Solve every tile: arrays in memory at once, dask arrays as a graph."""
    dtypes = {name: state.data.dtype for name, state in job.states.items()}
    request = call.method.request(job.layout)
    task = TileTask(
        method=call.method,
        layout=job.layout,
        wanted=call.wanted,
        dtypes=dtypes,
        covers=job.covers,
        device=call.device,
        keep_observed=call.keep_observed,
        limit=call.limit,
        transform=call.transform,
    )
    outputs = {
        (name, kind): ((call.wanted.members,) if kind == "members" else (), dtypes[name])
        for name in job.states
        for kind in call.wanted.kinds
    }
    like = next(iter(job.states.values())).data
    covers = {("values", key): ways for key, ways in job.covers.items()}
    covers |= {("noise", key): ways for key, ways in job.covers.items()}
    # Mean and variance of the whole field: every tile reads both.
    t, y, x = (axis.size for axis in job.plan.axes)
    both = Cover.all_of(1, t), Cover.all_of(1, y), Cover.all_of(2, x)
    covers |= {("overall", name): both for name in job.states}
    lazy = any(hasattr(array, "__dask_graph__") for array in (*job.inputs.values(), like))
    if request is not None:
        number, regions = count(request), regions_of(job.layout.grid)
        task = replace(task, request=request, regions=regions)
        covers["regional", ""] = regions.covers(number, t)
        fields = {role: a for role, a in job.inputs.items() if role[0] != "overall"}
        if lazy:
            from xinverse.tiling.graph import lazy_regions

            found = lazy_regions(regions, task.estimate, fields, number, token=task.token)
        else:
            found = each_region(regions, task.estimate, fields)
        job.inputs["regional", ""] = found
    if lazy:
        from xinverse.tiling.graph import solve_lazily

        return solve_lazily(
            job.plan, task, job.inputs, outputs, like, token=task.token, covers=covers
        )
    return solve_eagerly(
        job.plan, task, job.inputs, outputs, like, covers=covers, progress=call.progress
    )
