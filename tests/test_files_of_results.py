"""What results keep of the encoding of a file, and what tiles say when they fail."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xinverse.device import to_host
from xinverse.errors import DeviceError
from xinverse.methods.oi import OptimalInterpolation

SCALES = {"length_scale": 150.0, "time_scale": 3.0, "noise": 0.1}


@pytest.fixture
def file(tmp_path, rng):
    """A packed, compressed file with a grid mapping and dates since 1981."""
    values = 15 + rng.normal(size=(3, 6, 7)).round(2)
    values[rng.random(values.shape) < 0.5] = np.nan
    days = np.datetime64("2020-01-01T06:00", "ns") + np.arange(3) * np.timedelta64(1, "D")
    coords = {"time": days, "lat": 40 + 0.5 * np.arange(6), "lon": 0.5 * np.arange(7)}
    attrs = {"units": "degC", "grid_mapping": "crs"}
    ds = xr.Dataset({"sst": (("time", "lat", "lon"), values, attrs), "crs": 0}, coords)
    ds.crs.attrs["grid_mapping_name"] = "latitude_longitude"
    packing = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 10.0, "_FillValue": -999}
    ds.to_netcdf(
        tmp_path / "l3.nc",
        encoding={
            "sst": {"zlib": True, "complevel": 5, "chunksizes": (1, 6, 7), **packing},
            "time": {"units": "hours since 1981-01-01", "calendar": "gregorian"},
        },
    )
    return tmp_path / "l3.nc"


@pytest.mark.parametrize("chunks", [None, {"time": 2}])
@pytest.mark.parametrize("decode", [True, "all"])
def test_dates_compression_and_grid_mapping_are_those_of_the_file(file, chunks, decode):
    with xr.open_dataset(file, chunks=chunks, decode_coords=decode) as ds:
        found = ds.inverse.interpolate(**SCALES, error=True, members=2)
        found.to_netcdf(file.with_name("l4.nc"))
        assert ds.sst.encoding["dtype"] == np.int16  # the input's own is left alone
        assert ds.time.encoding["units"] == "hours since 1981-01-01"
    with xr.open_dataset(file.with_name("l4.nc"), decode_coords=decode) as again:
        np.testing.assert_allclose(again.sst, found.sst)
        assert again.time.encoding["units"] == "hours since 1981-01-01"
        assert again.time.encoding["calendar"] in ("gregorian", "standard")
        for name in ("sst", "sst_error", "sst_members"):
            encoding = again[name].encoding
            assert (encoding["zlib"], encoding["complevel"]) == (True, 5)
            assert encoding["dtype"] == found.sst.dtype
            assert "scale_factor" not in encoding
            assert {**again[name].attrs, **encoding}["grid_mapping"] == "crs"


def test_undecoded_variables_keep_their_compression(file):
    with xr.open_dataset(file, mask_and_scale=False) as ds:
        found = ds.sst.inverse.interpolate(**SCALES)
    assert found.encoding["complevel"] == 5
    assert not {"dtype", "scale_factor", "chunksizes"} & set(found.encoding)


def test_dates_between_the_units_of_the_file_are_written(file):
    with xr.open_dataset(file) as ds:
        later = ds.sst.assign_coords(time=ds.time + np.timedelta64(90, "m"))
        later.time.encoding = {"units": "days since 1981-01-01", "dtype": np.dtype("int32")}
        found = later.inverse.interpolate(**SCALES)
        with pytest.warns(UserWarning, match="Serializing times to floating point instead"):
            found.to_netcdf(file.with_name("later.nc"))
    with xr.open_dataset(file.with_name("later.nc")) as again:
        np.testing.assert_array_equal(again.time, found.time)
        assert again.time.encoding["units"] == "days since 1981-01-01"


@pytest.mark.parametrize("lazy", [False, True])
def test_an_exception_in_a_tile_says_its_place(file, monkeypatch, lazy):
    def broken(*_):
        raise OSError("Input/output error")

    monkeypatch.setattr(OptimalInterpolation, "solve", broken)
    with xr.open_dataset(file) as opened:
        sst = opened.sst.load()
    with pytest.raises(OSError, match="Input/output error") as caught:
        (sst.chunk({"time": 1}) if lazy else sst).inverse.interpolate(**SCALES).compute()
    place = "Raised in the tile of days 0 to 2, y 40 to 42.5°, x 0 to 3°."
    assert caught.value.__notes__ == [place]


class OnDevice:
    """As an array of cupy, without its method ``get``."""

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


@pytest.mark.parametrize("module", ["cupy", "other"])
def test_arrays_that_cannot_be_copied_are_named(monkeypatch, module):
    monkeypatch.setattr(OnDevice, "__module__", module)
    text = rf"type {module}.OnDevice cannot be copied .*Implicit conversion.*method get\(\)"
    with pytest.raises(DeviceError, match=text):
        to_host(OnDevice())
    np.testing.assert_array_equal(to_host([1.0, 2.0]), [1.0, 2.0])
