"""Tiles without observations get the level of the whole field and the full error."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes

from xinverse.errors import DataError

SCALES = {"length_scale": 60.0, "time_scale": 2.0}
TILES = {"time": 6, "y": 10, "x": 10}


def half_seen(depths: int = 0) -> xr.DataArray:
    """A field whose southern half nobody saw, as the seas under ice in summer."""
    rng = np.random.default_rng(1)
    shape = (6, 40, 12)
    values = 12 + rng.standard_normal(shape)
    values[rng.random(shape) > 0.3] = np.nan
    values[:, :25] = np.nan
    coords = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(6) * np.timedelta64(1, "D"),
        "lat": ("lat", -40 + 0.25 * np.arange(40), {"units": "degrees_north"}),
        "lon": ("lon", 5 + 0.25 * np.arange(12), {"units": "degrees_east"}),
    }
    da = xr.DataArray(values, dims=("time", "lat", "lon"), coords=coords, name="sst")
    if not depths:
        return da
    return xr.concat([da + 10 * k for k in range(depths)], "depth").rename("sst")


def test_a_tile_that_nobody_saw_gets_the_mean_of_all_and_the_full_error():
    sst = half_seen()
    found = sst.inverse.interpolate(**SCALES, tile=TILES, error=True)
    assert bool(found.sst.notnull().all())
    south = found.isel(lat=slice(0, 4))
    np.testing.assert_allclose(south.sst, float(sst.mean()), atol=1e-6)
    np.testing.assert_allclose(south.sst_error, float(sst.std()), rtol=0.05)
    north = found.isel(lat=slice(32, 40))
    assert float(north.sst_error.mean()) < 0.9 * float(south.sst_error.mean())


@pytest.mark.parametrize("chunks", [{"time": 2, "lat": 11}, {"time": 1}])
def test_lazily_and_for_any_chunks(chunks):
    sst = half_seen()
    expected = sst.inverse.interpolate(**SCALES, tile=TILES)
    with raise_if_dask_computes():
        lazy = sst.chunk(chunks).inverse.interpolate(**SCALES, tile=TILES)
    np.testing.assert_allclose(lazy, expected, rtol=0, atol=1e-9)


def test_each_depth_has_its_own_level():
    sst = half_seen(depths=3)
    found = sst.inverse.interpolate(**SCALES, tile=TILES).isel(lat=slice(0, 4))
    levels = sst.mean(["time", "lat", "lon"])
    np.testing.assert_allclose(found.mean(["time", "lat", "lon"]), levels, atol=1e-6)
    lazy = sst.chunk({"depth": 2, "lat": 9}).inverse.interpolate(**SCALES, tile=TILES)
    np.testing.assert_allclose(lazy.isel(lat=slice(0, 4)), found, atol=1e-9)


def test_in_logarithms():
    sst = np.exp(half_seen() - 12).rename("chl")
    found = sst.inverse.interpolate(**SCALES, tile=TILES, transform="log").isel(lat=slice(0, 4))
    assert 0.3 < float(found.mean()) < 3.0  # the median of what was seen is 1


def test_a_field_that_nobody_saw_at_all_is_an_error():
    nothing = half_seen() * np.nan
    with pytest.raises(DataError, match="no value"):
        nothing.inverse.interpolate(**SCALES)
    lazy = nothing.chunk({"time": 2}).inverse.interpolate(**SCALES, tile=TILES)
    with pytest.raises(DataError, match="Nothing is observed in"):
        lazy.compute()


@pytest.mark.parametrize("method", ["oi", "tikhonov", "tv", "variational"])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("field", [False, True])
def test_a_field_that_nobody_saw_is_its_background(method, lazy, field):
    sst = half_seen()
    background = 10 + sst.fillna(2.0) if field else 3.5
    nothing = (sst * np.nan).chunk({"time": 2}) if lazy else sst * np.nan
    found = nothing.inverse.interpolate(method, background=background, tile=TILES)
    np.testing.assert_allclose(
        found, background if field else sst.fillna(0) * 0 + 3.5, atol=1e-6
    )


@pytest.mark.parametrize("lazy", [False, True])
def test_a_field_that_nobody_saw_has_the_error_of_the_prior(lazy):
    nothing = half_seen() * np.nan
    nothing = nothing.chunk({"time": 2}) if lazy else nothing
    found = nothing.inverse.interpolate(background=3.0, variance=4.0, error=True, **SCALES)
    np.testing.assert_allclose(found.sst_error, 2.0, rtol=1e-5)


@pytest.mark.parametrize("lazy", [False, True])
def test_eofs_of_a_field_that_nobody_saw_are_an_error(lazy):
    nothing = half_seen() * np.nan
    nothing = nothing.chunk({"time": 2}) if lazy else nothing
    with pytest.raises(DataError, match="There are 0 observations"):
        nothing.inverse.interpolate("dineof", background=3.0).compute()
