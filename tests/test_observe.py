"""Observing a truth: its labels, its noise, and the points beside the grid."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xinverse.errors import AxesError, DataError, GridError, OptionError
from xinverse.osse import observe, sample_tracks, track_points
from xinverse.points.grid_tracks import grid_tracks


@pytest.fixture
def truth(rng):
    values = rng.standard_normal((20, 40, 50)).astype(np.float32)
    values[:, :10, :10] = np.nan  # land
    return xr.DataArray(
        values,
        {
            "time": pd.date_range("2020-01-01", periods=20),
            "lat": ("lat", np.linspace(45, 40, 40), {"units": "degrees_north"}),
            "lon": ("lon", np.linspace(355, 362, 50), {"units": "degrees_east"}),
            "depth": 0.5,
        },
        ("time", "lat", "lon"),
        "ssh",
        {"units": "m", "standard_name": "sea_surface_height_above_geoid"},
    )


def test_without_noise_the_observations_are_the_truth(truth):
    seen = observe(truth, "nadir:4", noise=0)
    observed = seen.ssh.notnull()
    assert 0 < observed.mean() < 0.2
    xr.testing.assert_allclose(seen.ssh, truth.where(observed), rtol=1e-6)
    np.testing.assert_array_equal(seen.ssh_count > 0, observed)
    assert not observed[:, :10, :10].any()
    assert not seen.ssh_noise.where(observed, 0).any()


def test_the_noise_is_that_of_the_mean_of_the_samples(truth):
    zero = truth * 0
    zero.name = "ssh"
    seen = observe(zero, ["nadir:10", "swot"], noise=0.1, seed=1)
    observed = seen.ssh.notnull()
    np.testing.assert_allclose(
        seen.ssh_noise.where(observed, 0),
        (0.1 / np.sqrt(seen.ssh_count)).where(observed, 0),
        rtol=1e-6,
    )
    whitened = (seen.ssh / seen.ssh_noise).values[observed.values]
    assert whitened.size > 3000
    assert abs(whitened.mean()) < 4 / np.sqrt(whitened.size)
    assert whitened.std() == pytest.approx(1, abs=4 / np.sqrt(2 * whitened.size))


def test_labels_are_those_of_the_truth(truth):
    turned = truth.transpose("lon", "time", "lat")
    seen = observe(turned)
    assert seen.ssh.dims == turned.dims
    assert set(seen) == {"ssh", "ssh_count", "ssh_noise"}
    assert seen.ssh.dtype == truth.dtype
    assert seen.ssh_count.dtype == np.int32
    assert seen.ssh.attrs == truth.attrs | {"ancillary_variables": "ssh_count ssh_noise"}
    assert seen.ssh_noise.units == "m"
    assert seen.ssh_noise.standard_name == truth.standard_name + " standard_error"
    for name, coordinate in turned.coords.items():
        xr.testing.assert_identical(seen.coords[name].variable, coordinate.variable)
    xr.testing.assert_equal(seen.ssh, observe(truth).ssh.transpose(*turned.dims))


def test_cells_are_those_that_training_samples(truth):
    days = np.arange(20.0)
    it, iy, ix = sample_tracks(days, truth.lat, truth.lon, ["nadir:4", "swot"], seed=9)
    count = np.zeros(truth.shape, int)
    np.add.at(count, (it, iy, ix), 1)
    seen = observe(truth, ["nadir:4", "swot"], seed=9)
    np.testing.assert_array_equal(seen.ssh_count, np.where(np.isnan(truth), 0, count))


def test_points_gridded_are_the_observations(truth):
    options = {"noise": 0.02, "seed": 4}
    points = track_points(truth, ["nadir:3", "swot"], **options)
    assert (np.diff(points.time.values) >= np.timedelta64(0)).all()
    assert set(points.coords) == {"time", "latitude", "longitude", "satellite", "pass"} | {
        "cross_track_distance",
        "noise",
    }
    again = grid_tracks(points, truth, noise=0.02)
    seen = observe(truth, ["nadir:3", "swot"], **options)
    xr.testing.assert_equal(again.ssh_count, seen.ssh_count)
    for name in ("ssh", "ssh_noise"):
        xr.testing.assert_allclose(again[name], seen[name], rtol=1e-5, atol=1e-6)


def test_noise_by_mission(truth):
    noise = {"jason": 0.0, "swot": 0.5}
    points = track_points(truth, ["jason", "swot"], noise=noise)
    cells = truth.sel(
        time=points.time, lat=points.latitude, lon=points.longitude % 360, method="nearest"
    )
    wrong = points.ssh - cells
    east = points.longitude % 360 > 300  # the truth's longitudes run from 355 to 362
    assert abs(wrong[(points.satellite == "jason") & east]).max() < 1e-6
    assert wrong[(points.satellite == "swot") & east].std() == pytest.approx(0.5, rel=0.05)
    with pytest.raises(OptionError, match="swot"):
        observe(truth, ["jason", "swot"], noise={"jason": 0.1})


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_other_calendars(truth, calendar):
    other = truth.assign_coords(
        time=xr.date_range("2001-02-20", periods=20, calendar=calendar, use_cftime=True)
    )
    np.testing.assert_array_equal(observe(other).ssh_count, observe(truth).ssh_count)
    points = track_points(other)
    assert points.time.values[0].calendar == calendar
    xr.testing.assert_equal(grid_tracks(points, other).ssh_count, observe(other).ssh_count)


def test_numbers_of_days_are_a_clock_too(truth):
    other = truth.assign_coords(time=("time", np.arange(20.0), {"units": "days"}))
    points = track_points(other)
    xr.testing.assert_equal(grid_tracks(points, other).ssh_count, observe(other).ssh_count)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda t: t.expand_dims(member=2), AxesError, r"isel\(\{'member': 0\}\)"),
        (lambda t: t.where(t.lat > 90), DataError, "observed no cell of the sea"),
        (lambda t: t.where(t.lat < 44, np.inf), DataError, "infinite"),
        (lambda t: t.drop_vars("lon"), AxesError, "lon"),
        (
            lambda t: t.assign_coords(
                lat=("lat", np.arange(40.0), {"units": "km"}),
                lon=("lon", np.arange(50.0), {"units": "km"}),
            ),
            GridError,
            "geographic",
        ),
    ],
)
def test_mistakes_are_named(truth, change, error, match):
    with pytest.raises(error, match=match):
        observe(change(truth))


@pytest.mark.parametrize("noise", [-1.0, np.nan, np.inf])
def test_a_noise_that_is_none(truth, noise):
    with pytest.raises(OptionError, match="noise"):
        observe(truth, noise=noise)
