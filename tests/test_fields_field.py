from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes
from hypothesis import given
from strategies import FLOATS, Layout, build, labelled_fields

from xinverse.errors import AxesError, DataError
from xinverse.fields.axes import Axes, find_axes
from xinverse.fields.field import Field, check_values, to_field
from xinverse.fields.grid import make_grid
from xinverse.fields.values import refuse_infinite

PACKING = {
    "scale_factor": 0.5,
    "add_offset": 3.0,
    "_FillValue": np.int16(-999),
    "valid_min": np.int16(-500),
}


def field_of(da: xr.DataArray) -> Field:
    axes = find_axes(da)
    return to_field(da, axes, make_grid(da, axes))


def assert_same_labels(result: xr.DataArray, expected: xr.DataArray) -> None:
    xr.testing.assert_identical(
        result.coords.to_dataset().drop_encoding(), expected.coords.to_dataset()
    )
    assert result.dims == expected.dims
    assert result.name == expected.name
    assert result.attrs == expected.attrs
    assert result.encoding == {}
    assert all(coordinate.encoding == {} for coordinate in result.coords.values())


@given(da=labelled_fields())
def test_there_and_back(da):
    before = da.copy(deep=True)
    with raise_if_dask_computes():
        field = field_of(da)
        check_values(field)
        back = field.restore(field.data)
    assert field.dims[-3:] == tuple(find_axes(da).__dict__.values())
    assert field.data.shape[-3:] == field.grid.shape
    assert_same_labels(back, da)
    assert back.chunks == da.chunks
    assert back.dtype.isnative
    assert back.dtype.kind == "f"
    if da.dtype.kind == "f" and da.dtype.itemsize > 2:
        assert back.dtype == da.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back.values, da.values.astype(back.dtype))
    xr.testing.assert_identical(da, before)


@given(da=labelled_fields(dtypes=FLOATS))
def test_results_get_the_fields_precision_and_new_dimensions_in_front(da):
    with raise_if_dask_computes():
        field = field_of(da)
        samples = field.data[None].astype("f8")
        back = field.restore(samples, name="sla_sample", attrs={}, new_dims=("sample",))
        flags = field.restore(field.data > 0)
    assert back.dims == ("sample", *da.dims)
    assert back.dtype == field.data.dtype
    assert back.name == "sla_sample"
    assert back.attrs == {}
    np.testing.assert_array_equal(back.isel(sample=0).values, da.values.astype(back.dtype))
    assert flags.dtype == bool


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_packed_integers_are_unpacked_as_xarray_does(lazy, dtype):
    values = np.arange(72).reshape(3, 4, 6) - 20
    values[0, 0, :2] = -999
    packed = build(Layout(dtype=dtype, chunks={"time": 2} if lazy else None), values)
    packed.attrs.update(PACKING)
    with raise_if_dask_computes():
        field = field_of(packed)
        back = field.restore(field.data)
    expected = np.where(values == -999, np.nan, values * 0.5 + 3)
    np.testing.assert_allclose(back.values, expected)
    assert back.dtype.kind == "f"
    assert back.attrs == {"units": "m", "standard_name": "sea_surface_height"}
    decoded = xr.decode_cf(packed.drop_encoding().to_dataset())
    assert back.dtype == decoded.sla.dtype


def test_packed_and_without_a_name():
    packed = build(Layout(dtype="i2")).rename(None).assign_attrs(PACKING)
    field = field_of(packed)
    assert field.restore(field.data).name is None


def test_a_fill_value_in_the_attributes_is_a_gap():
    da = build(Layout(dtype="f4")).fillna(-99.0).assign_attrs(_FillValue=np.float32(-99))
    field = field_of(da)
    assert np.isnan(field.data).sum() == (da == -99).sum()
    assert "_FillValue" not in field.restore(field.data).attrs


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("f2", "f4"), ("i1", "f4"), ("u2", "f4"), ("i4", "f8"), ("i8", "f8"), (">f8", "f8")],
)
def test_dtypes(dtype, expected):
    assert field_of(build(Layout(dtype=dtype))).data.dtype == np.dtype(expected)


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("c8", "'sla' holds complex64 values.*imaginary"),
        ("U3", "<U3 values.*astype"),
        ("M8[ns]", "numbers: choose another variable"),
        ("m8[ns]", "timedelta64"),
        ("?", "bool values.*convert a mask with obj.astype"),
        ("O", "object values"),
    ],
)
def test_values_that_are_no_real_numbers(dtype, text):
    da = build(Layout())
    with pytest.raises(DataError, match=text):
        field_of(da.copy(data=np.zeros(da.shape, "i8").astype(dtype)))


def test_axes_that_the_variable_lacks():
    da = build(Layout())
    grid = make_grid(da, Axes("time", "lat", "lon"))
    with pytest.raises(AxesError, match=r"without \['time'\].*expand_dims"):
        to_field(da.isel(time=0), Axes("time", "lat", "lon"), grid)


def test_an_empty_variable():
    da = build(Layout(extra=("depth",)))
    with pytest.raises(DataError, match=r"'sla' is empty.*'depth': 0"):
        field_of(da.isel(depth=[]))


def test_restore_refuses_another_shape():
    field = field_of(build(Layout()))
    with pytest.raises(
        ValueError, match=r"\(4, 6\).*Expected a shape that ends with \(3, 4, 6\)"
    ):
        field.restore(field.data[0])


def test_infinite_values_are_counted_and_found_by_label():
    da = build(Layout(order=("lon", "lat", "time"))).fillna(0)
    da.loc[{"time": "2020-02-28", "lat": -19.5, "lon": 10.25}] = np.inf
    da.loc[{"time": "2020-02-29", "lat": -19.0, "lon": 10.5}] = -np.inf
    with pytest.raises(DataError) as eager:
        check_values(field_of(da))
    assert "'sla' has infinite values: 2, the first at time=2020-02-28T" in str(eager.value)
    assert "lat=-19.5, lon=10.25. Expected finite numbers" in str(eager.value)
    with pytest.raises(
        DataError, match=r"has infinite values: 1, the first at index \(1,\)\. Exp"
    ):
        refuse_infinite(np.array([0, np.inf, np.nan]), "The variable 'sla'")


def test_nothing_observed():
    da = build(Layout(chunks=None)) * np.nan
    with pytest.raises(DataError, match="'sla' has no value: all 72 are NaN"):
        check_values(field_of(da.rename("sla")))
    check_values(field_of(da.rename("sla").chunk()))  # left for the tiles


def test_a_file_read_in_full_only_when_its_values_are(tmp_path):
    da = build(Layout(dtype="f4", extra=("depth",), order=("lat", "time")))
    da.drop_encoding().drop_vars("source").to_netcdf(tmp_path / "field.nc")
    with xr.open_dataarray(tmp_path / "field.nc") as opened:
        field = field_of(opened)
        np.testing.assert_array_equal(field.restore(field.data).values, da.values)
