"""Inputs of other shapes than (time, y, x): what is said works."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xinverse
from xinverse.errors import AxesError, MaskError, OptionError

SCALES = {"length_scale": 150.0, "time_scale": 3.0, "noise": 0.1}
DAYS = np.datetime64("2020-01-01", "ns") + np.arange(3) * np.timedelta64(1, "D")


@pytest.fixture
def field(rng):
    values = rng.normal(size=(3, 6, 7))
    values[rng.random(values.shape) < 0.5] = np.nan
    coords = {"time": DAYS, "lat": 40 + 0.5 * np.arange(6), "lon": 0.5 * np.arange(7)}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), "sst")


def test_an_image_without_time_gets_a_date_as_advised(field):
    image = field.isel(time=0, drop=True)
    sea = xr.DataArray(np.arange(42).reshape(6, 7) > 3, image.coords)
    sea.attrs["standard_name"] = "sea_binary_mask"
    for obj in (image, image.to_dataset().assign(sea=sea)):
        with pytest.raises(AxesError, match=r"expand_dims\(time=\[np.datetime64\('2020-01-01'"):
            xinverse.interpolate(obj)
        dated = obj.expand_dims(time=[np.datetime64("2020-01-01", "ns")])
        found = xinverse.interpolate(dated, **SCALES).isel(time=0)
        expected = xinverse.interpolate(
            field.isel(time=[0]), mask=None if obj is image else sea, **SCALES
        ).isel(time=0)
        found = found if obj is image else found.sst
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("verb", ["interpolate", "denoise"])
def test_a_tree_is_mapped_as_advised(field, verb):
    tree = xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs={"title": "one"}), "/a": field.to_dataset()}
    )
    advice = rf"tree.map_over_datasets\(lambda ds: ds.inverse.{verb}\(...\) if ds.data_vars"
    with pytest.raises(OptionError, match=advice):
        getattr(xinverse, verb)(tree, **SCALES)
    found = tree.map_over_datasets(
        lambda ds: getattr(ds.inverse, verb)(**SCALES) if ds.data_vars else ds
    )
    expected = getattr(field.inverse, verb)(**SCALES)
    np.testing.assert_allclose(found["a/sst"], expected, rtol=1e-9)
    again = getattr(tree["a"].to_dataset().inverse, verb)(**SCALES).sst
    np.testing.assert_allclose(again, expected, rtol=1e-9)


def test_each_level_is_filled_with_its_own_mask_as_advised(field):
    deep = xr.concat([field, field + 5], "depth").rename("sst")
    sea = xr.DataArray(np.ones((2, 6, 7), bool), dims=("depth", "lat", "lon"))
    sea[1, :3] = False
    with pytest.raises(MaskError, match=r"xr.concat\(\[field.isel\(depth=\[k\]\).*range\(2\)"):
        deep.inverse.interpolate(mask=sea, **SCALES)
    found = xr.concat(
        [
            deep.isel(depth=[k]).inverse.interpolate(mask=sea.isel(depth=k), **SCALES)
            for k in range(2)
        ],
        "depth",
    )
    assert found.dims == deep.dims
    np.testing.assert_array_equal(found.notnull(), sea.expand_dims(time=3, axis=1))
    alone = deep.isel(depth=1).inverse.interpolate(mask=sea[1], **SCALES)
    np.testing.assert_allclose(found.isel(depth=1), alone, rtol=1e-9)


def test_a_mask_with_dimensions_of_one_value(field):
    sea = xr.DataArray(np.arange(42).reshape(6, 7) > 3, dims=("lat", "lon"))
    expected = field.inverse.interpolate(mask=sea, **SCALES)
    found = field.inverse.interpolate(mask=sea.expand_dims(time=DAYS[:1], depth=1), **SCALES)
    xr.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("names", [("nav_lat", "nav_lon"), ("TLAT", "TLONG"), ("lat_rho", "")])
@pytest.mark.parametrize("lazy", [False, True])
def test_a_curvilinear_grid_is_named_and_gridded_as_advised(field, names, lazy):
    lat, lon = np.meshgrid(field.lat, field.lon, indexing="ij")
    ocean = field.drop_vars(["lat", "lon"]).rename(lat="eta", lon="xi")
    ocean = ocean.assign_coords(
        {names[0]: (("eta", "xi"), lat), names[1] or "lon_rho": (("eta", "xi"), lon)}
    )
    with pytest.raises(
        AxesError,
        match=rf"'{names[0]}' has the dimensions \('eta', 'xi'\).*"
        r"curvilinear.*xinverse.grid_tracks\(dataset, like=grid\)",
    ):
        xinverse.interpolate(ocean.chunk() if lazy else ocean)
    dataset = ocean.to_dataset()
    dataset[names[0]].attrs["standard_name"] = "latitude"
    dataset[names[1] or "lon_rho"].attrs["standard_name"] = "longitude"
    gridded = xinverse.grid_tracks(dataset, like=field)
    np.testing.assert_allclose(gridded.sst, field, rtol=1e-12)
