from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes
from hypothesis import given
from strategies import Layout, build, layouts

from xinverse.errors import AxesError, OptionError
from xinverse.fields.axes import Axes, explain_axes, find_axes


def bare(*dims: str, **coords: object) -> xr.DataArray:
    """A field without any attribute."""
    da = xr.DataArray(np.zeros((2, 3, 4)), dims=dims)
    return da.assign_coords({name: np.arange(da.sizes[name]) for name in dims} | coords)


@given(layout=layouts())
def test_axes_are_found_whatever_the_layout(layout):
    da = build(layout)
    with raise_if_dask_computes():
        assert find_axes(da) == Axes(*layout.names)
        assert find_axes(da.to_dataset()) == Axes(*layout.names)


@pytest.mark.parametrize(
    "names",
    [
        ("t", "y", "x"),
        ("TIME", "LATITUDE", "LONGITUDE"),
        ("date", "nav_lat", "nav_lon"),
        ("time", "j", "i"),
        ("time", "northing", "easting"),
    ],
)
def test_axes_by_name(names):
    axes, how = explain_axes(bare(*names))
    assert axes == Axes(*names)
    assert set(how.values()) == {"name"}


def test_attributes_go_before_names():
    da = bare("a", "b", "c").rename(b="y", c="x")
    da = da.assign_coords(
        a=("a", [0, 1], {"standard_name": "time"}),
        y=("y", [1, 2, 3], {"units": "degrees_east"}),
        x=("x", [1, 2, 3, 4], {"units": "degrees_north"}),
    )
    axes, how = explain_axes(da)
    assert axes == Axes("a", "x", "y")
    assert set(how.values()) == {"CF attributes"}


def test_projected_attributes_beside_two_dimensional_latitudes():
    da = bare("time", "y", "x", lat=(("y", "x"), np.zeros((3, 4)), {"units": "degrees_north"}))
    da = da.assign_coords(lon=(("y", "x"), np.zeros((3, 4)), {"units": "degrees_east"}))
    for name in "yx":
        da[name].attrs["standard_name"] = f"projection_{name}_coordinate"
    assert find_axes(da) == Axes("time", "y", "x")


@pytest.mark.parametrize("calendar", ["datetime64", "noleap"])
def test_the_only_dates_are_the_time(calendar):
    da = build(Layout(calendar=calendar)).rename(time="when")
    axes, how = explain_axes(da)
    assert axes.time == "when"
    assert how["time"] == "dates"


def test_what_the_user_says_goes_first():
    da = bare("time", "lat", "lon").expand_dims(y=[0], x=[0])
    axes, how = explain_axes(da, dims={"y": "lat", "x": "lon"})
    assert axes == Axes("time", "lat", "lon")
    assert how == {"time": "name", "y": "dims argument", "x": "dims argument"}


def wrong_objects():
    field = build(Layout())
    cells = np.zeros((3, 4))
    curvilinear = xr.DataArray(np.zeros((2, 3, 4)), dims=("time", "eta", "xi"))
    curvilinear = curvilinear.assign_coords(time=[0, 1], nav_lat=(("eta", "xi"), cells))
    yield "no time", field.isel(time=0), {}, r"No time axis.*expand_dims\('time'\).*dims="
    yield "no time at all", field.isel(time=0, drop=True), {}, "No time axis.*time_counter"
    yield "no y", field.isel(lat=0), {}, "No y axis.*'lon': 6.*Tried: CF.*latitude"
    yield "no x", bare("time", "lat", "other"), {}, "No x axis.*'other': 4"
    yield "no coordinate", field.drop_vars("lat"), {}, r"'lat' has no coordinate.*assign_coords"
    yield "other label", field.swap_dims(lat="row"), {}, r"swap_dims\({'row': 'lat'}\)"
    yield "two by name", bare("t", "y", "x").expand_dims(lat=[0]), {}, "Several.*'lat', 'y'"
    yield (
        "curvilinear",
        curvilinear,
        {},
        r"'nav_lat' has the dimensions \('eta', 'xi'\).*[Rr]egrid",
    )
    yield "wrong key", field, {"lat": "lat"}, r"keys \['lat'\].*Expected only"
    yield "wrong name", field, {"y": "nlat"}, "names 'nlat' as y.*'time': 3, 'lat': 4, 'lon': 6"
    yield "same twice", field, {"y": "time"}, "'time' is both the time and the y axis"


@pytest.mark.parametrize(
    ("da", "dims", "text"),
    [pytest.param(*rest, id=name) for name, *rest in wrong_objects()],
)
def test_axes_that_are_not_there(da, dims, text):
    for obj in (da, da.rename("sla").to_dataset()):
        with pytest.raises(AxesError, match=text):
            find_axes(obj, dims or None)


def test_several_by_attributes():
    da = build(Layout()).expand_dims(lat2=[0.0])
    da["lat2"].attrs["standard_name"] = "latitude"
    with pytest.raises(AxesError, match=r"Several dimensions could be the y axis.*'lat2'"):
        find_axes(da)
    assert find_axes(da, {"y": "lat"}).y == "lat"


def test_points_are_no_field():
    track = xr.Dataset(
        {"sla": ("time", [1.0, 2.0])},
        coords={
            "time": [0, 1],
            "latitude": ("time", [1.0, 2.0], {"units": "degrees_north"}),
            "longitude": ("time", [1.0, 2.0], {"units": "degrees_east"}),
        },
    )
    with pytest.raises(AxesError, match="grid_tracks"):
        find_axes(track)


def test_dims_of_another_type():
    with pytest.raises(OptionError, match="dims is a tuple"):
        find_axes(build(Layout()), ("time", "lat", "lon"))


def test_a_coordinates_attribute_that_names_nothing():
    da = build(Layout())
    da.attrs["coordinates"] = "lat lon nowhere"
    assert find_axes(da) == Axes("time", "lat", "lon")


@pytest.mark.parametrize(
    ("file", "axes"),
    [
        ("ssh_l4_mediterranean_2005q2.nc", Axes("time", "latitude", "longitude")),
        ("sst_l3_alboran_201705.nc", Axes("time", "lat", "lon")),
        ("ssh_oi_gulfstream_201210.nc", Axes("time", "lat", "lon")),
        ("sst_l4_blacksea_20160707.nc", Axes("time", "lat", "lon")),
    ],
)
def test_real_files(real_data, file, axes):
    with xr.open_dataset(real_data / file) as ds:
        assert find_axes(ds) == axes
