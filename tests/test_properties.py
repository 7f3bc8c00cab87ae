"""Whatever is given: a complete field with its labels, or an error with a text."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import xarray as xr
from dask_counting import raise_if_dask_computes
from hypothesis import event, given, settings
from hypothesis import strategies as st
from strategies import labelled_fields

from xinverse.errors import DataError
from xinverse.fields.axes import find_axes

# Where something is left, for fields with gaps: everywhere, nowhere, or in the first
# cell, time step, row or column.
LEFT = ("as it is", "everywhere", "nowhere", "cell", "time", "y", "x")


def with_gaps(data: xr.DataArray, left: str) -> xr.DataArray:
    """The field with other gaps; dtype, attributes and chunks as they were."""
    first = {role: (dim,) for role, dim in vars(find_axes(data)).items()}
    changed = {"everywhere": data.fillna(1), "nowhere": data.where(False)}.get(left, data)
    for dim in (first | {"cell": data.dims}).get(left, ()):
        changed = changed.where(xr.DataArray(np.arange(data.sizes[dim]) == 0, dims=dim))
    changed = changed.transpose(*data.dims).astype(data.dtype).assign_attrs(data.attrs)
    return changed if data.chunks is None else changed.chunk(dict(data.chunksizes))


@st.composite
def calls(draw: st.DrawFn) -> tuple[xr.DataArray, xr.DataArray | None, dict[str, Any], str]:
    """A field, a mask of the sea, options that are right, and where something is left."""
    data = draw(labelled_fields())
    axes = find_axes(data)
    left = draw(st.sampled_from(LEFT)) if data.dtype.kind == "f" else "everywhere"
    data = with_gaps(data, left) if data.dtype.kind == "f" else data
    mask = None
    if draw(st.booleans()):
        shape = data.sizes[axes.y], data.sizes[axes.x]
        sea = np.random.default_rng(draw(st.integers(0, 9))).random(shape) < 0.7
        sea[draw(st.integers(0, shape[0] - 1)), 0] = True
        mask = xr.DataArray(sea, dims=(axes.y, axes.x))
    options = {
        "background": draw(st.sampled_from([None, 0.0, 250])),
        "length_scale": draw(st.sampled_from([20, 100, 1000])),
        "time_scale": draw(st.sampled_from([0.5, 3])),
        "covariance": draw(st.sampled_from(["gaussian", "matern32", "arhan-colin"])),
        "temporal": draw(st.sampled_from(["gaussian", "exponential"])),
        "error": draw(st.booleans()),
        "members": draw(st.sampled_from([None, 1])) if "member" not in data.dims else None,
        "keep_observed": draw(st.booleans()),
        "tile": draw(
            st.just("auto")
            | st.fixed_dictionaries({"time": st.integers(1, 3), "x": st.integers(1, 3)})
        ),
    }
    return data, mask, options, left


@given(call=calls(), as_dataset=st.booleans())
@settings(max_examples=max(60, settings.default.max_examples))
def test_a_complete_field_or_an_error_with_a_text(call, as_dataset):
    data, mask, options, left = call
    obj = data.to_dataset() if as_dataset and data.dtype.kind == "f" else data
    refused, fields = "", xr.Dataset()
    try:
        with raise_if_dask_computes() if data.chunks else nullcontext():
            result = obj.inverse.interpolate(mask=mask, **options)
        fields = result if isinstance(result, xr.Dataset) else result.to_dataset()
        assert fields.sla.chunks == data.chunks
        fields = fields.compute()
    except DataError as error:
        refused = str(error)
    if refused:  # nothing was observed at all, or in a tile for which no background was given
        assert "has no value: all" in refused or "Nothing is observed in" in refused
        assert options["background"] is None or left == "nowhere"
        event(f"refused: {left}")
        return
    event("filled")
    names = {"sla_error": options["error"], "sla_members": options["members"], "sla": True}
    assert set(fields.data_vars) == {name for name, wanted in names.items() if wanted}
    for name, one in fields.data_vars.items():
        assert one.dims == (("member",) if name == "sla_members" else ()) + data.dims
        xr.testing.assert_identical(
            one.coords.to_dataset(), data.coords.to_dataset().compute().drop_encoding()
        )
        assert one.dtype.kind == "f"
        assert one.dtype.isnative
        assert not np.isinf(one).any()
        empty = one.isnull()
        if mask is None:
            assert not empty.any()
        else:
            assert bool((empty == ~mask).all())
    if data.dtype.kind == "f" and data.dtype.itemsize > 2:
        assert fields.sla.dtype == data.dtype.newbyteorder("=")
    if options["error"]:
        assert float(fields.sla_error.min()) >= 0
    if options["keep_observed"]:
        seen = data.notnull() if mask is None else data.notnull() & mask
        kept = fields.sla.where(seen).transpose(*data.dims)
        given = data.where(seen).transpose(*data.dims)
        np.testing.assert_allclose(kept, given.astype(fields.sla.dtype), rtol=1e-5, atol=1e-6)
