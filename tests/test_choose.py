"""Which variables of a dataset are filled, and which are left as they are."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes

import xinverse
from xinverse.errors import DataError, OptionError, UnitsError, UnknownNameError

SCALES = {"length_scale": 50.0, "time_scale": 3.0, "noise": 0.1}
SHAPE = (4, 8, 9)


def field(values: np.ndarray, **attrs) -> xr.DataArray:
    coords = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(4) * np.timedelta64(1, "D"),
        "lat": 36 + 0.25 * np.arange(8),
        "lon": 5 + 0.25 * np.arange(9),
    }
    return xr.DataArray(values, coords, ("time", "lat", "lon"), attrs=attrs)


@pytest.fixture
def ds(rng: np.random.Generator) -> xr.Dataset:
    """A temperature with gaps and a complete angle."""
    sst = np.where(rng.random(SHAPE) < 0.5, np.nan, 18 + rng.random(SHAPE))
    angle = field(rng.uniform(20, 70, SHAPE), units="degree")
    return xr.Dataset({"sst": field(sst, units="degC"), "angle": angle})


def test_a_complete_variable_is_left_as_it_is(ds):
    found = ds.inverse.interpolate(**SCALES, error=True)
    xr.testing.assert_identical(found.angle, ds.angle)
    assert bool(found.sst.notnull().all())
    assert set(found.data_vars) == {"sst", "sst_error", "angle"}


def test_land_is_no_gap(ds):
    sea = xr.DataArray(np.ones(SHAPE[1:], bool), dims=("lat", "lon"))
    sea[:3, :4] = False
    ds["angle"] = ds.angle.where(sea)
    found = ds.inverse.interpolate(**SCALES, mask=sea)
    xr.testing.assert_identical(found.angle, ds.angle)
    ds["angle"][1, 5, 5] = np.nan
    found = ds.inverse.interpolate(**SCALES, mask=sea)
    assert np.isfinite(found.angle[1, 5, 5])


def test_a_complete_variable_is_analysed_where_the_user_asks(ds):
    for found in (
        ds.inverse.interpolate(**SCALES, variables="angle").angle,
        ds.angle.inverse.interpolate(**SCALES),
        ds[["angle"]].inverse.interpolate(**SCALES).angle,
    ):
        assert float(abs(found - ds.angle).max()) > 1


def test_several_lazy_fields_must_be_named(ds):
    lazy = ds.chunk({"time": 2})
    with (
        raise_if_dask_computes(),
        pytest.raises(OptionError, match=r"'sst', 'angle', and whether.*variables=\['sst'\]"),
    ):
        lazy.inverse.interpolate(**SCALES)
    with raise_if_dask_computes():
        found = lazy.inverse.interpolate(**SCALES, variables="sst")
    expected = ds.inverse.interpolate(**SCALES)
    xr.testing.assert_allclose(found.compute(), expected, rtol=1e-5)


def test_a_dataset_without_gaps_is_an_error(ds):
    complete = ds.assign(sst=ds.sst.fillna(18.0))
    with pytest.raises(OptionError, match=r"None of the fields .* gap.*variables=\['sst'\]"):
        complete.inverse.interpolate(**SCALES)


def test_fill_values_in_one_of_several_fields_are_an_error(ds):
    raw = ds.assign(angle=ds.angle.where(ds.angle > 30, -9999.0))
    with pytest.raises(DataError, match="'angle' has the value -9999"):
        raw.inverse.interpolate(**SCALES)


def test_every_verb_takes_variables(ds):
    found = xinverse.denoise(ds, noise=0.1, length_scale=50.0, variables="sst")
    xr.testing.assert_identical(found.angle, ds.angle)
    with pytest.raises(UnknownNameError, match="no variable named 'ssst'"):
        xinverse.denoise(ds, noise=0.1, variables="ssst")
    with pytest.raises(OptionError, match="chooses from a dataset"):
        xinverse.denoise(ds.sst, noise=0.1, variables="sst")


def test_a_method_that_does_not_fit_one_of_the_variables_names_them(ds):
    ds["angle"] = ds.angle.where(ds.angle > 30)
    noise = field(np.full(SHAPE, 0.1), units="degC")
    with pytest.raises(UnitsError, match=r"'degree'.*leave 'angle' out.*variables=\['sst'\]"):
        ds.inverse.interpolate(length_scale=50.0, noise=noise)
