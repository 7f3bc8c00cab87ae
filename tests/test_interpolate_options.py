"""How far a map reaches, logarithms of positive variables, and seasonal backgrounds."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes

import xinverse
from xinverse.errors import DataError, GridError, OptionError, TileError

TIMES = np.datetime64("2020-01-01", "ns") + np.arange(12) * np.timedelta64(1, "D")
SCALES = {"length_scale": 60.0, "time_scale": 3.0, "background": 0.0, "variance": 1.0}
TILES = {"time": 4, "y": 9, "x": 8}


def field(values: np.ndarray, **attrs) -> xr.DataArray:
    nt, ny, nx = values.shape
    km = {"units": "km"}
    coords = {
        "time": TIMES[:nt],
        "y": ("y", 10.0 * np.arange(ny), km),
        "x": ("x", 10.0 * np.arange(nx), km),
    }
    return xr.DataArray(values, dims=("time", "y", "x"), coords=coords, name="v", attrs=attrs)


@pytest.fixture
def sparse() -> xr.DataArray:
    rng = np.random.default_rng(3)
    shape = (12, 24, 26)
    values = np.where(rng.random(shape) < 0.004, rng.standard_normal(shape), np.nan)
    assert np.isfinite(values).sum() > 10
    return field(values)


def near(da: xr.DataArray, distance: float, gap: float) -> np.ndarray:
    """Brute force: cells with an observation within so many km and days."""
    t, y, x = np.meshgrid(*(np.arange(n) for n in da.shape), indexing="ij")
    reached = np.zeros(da.shape, bool)
    for k, j, i in np.argwhere(np.isfinite(da.values)):
        apart = 10 * np.hypot(y - j, x - i)
        reached |= (apart <= distance + 1e-6) & (np.abs(t - k) <= gap)
    return reached


@pytest.mark.parametrize(
    ("given", "distance", "gap"),
    [
        ({"max_distance": 35.0}, 35.0, 0),
        ({"max_gap": 2}, 0.0, 2),
        ({"max_distance": 50.0, "max_gap": 1.5}, 50.0, 1),
    ],
)
@pytest.mark.parametrize("tile", ["auto", TILES])
def test_cells_far_from_observations_stay_gaps(sparse, given, distance, gap, tile):
    whole = sparse.inverse.interpolate(**SCALES, tile=tile, error=True)
    part = sparse.inverse.interpolate(**SCALES, tile=tile, error=True, **given)
    expected = near(sparse, distance, gap)
    assert 0.01 < expected.mean() < 0.9
    for name in ("v", "v_error"):
        np.testing.assert_array_equal(part[name].notnull(), expected)
    if tile == "auto":
        np.testing.assert_allclose(part.v, whole.v.where(expected), atol=1e-6)


def test_limits_are_lazy_and_do_not_depend_on_chunks(sparse):
    given = {**SCALES, "tile": TILES, "max_distance": 50.0, "max_gap": 1.5}
    with raise_if_dask_computes():
        lazy = sparse.chunk({"time": 5, "y": 7}).inverse.interpolate(**given)
    np.testing.assert_allclose(lazy, sparse.inverse.interpolate(**given), atol=1e-6)


def test_limits_on_a_descending_axis(sparse):
    given = {**SCALES, "max_distance": 50.0, "max_gap": 1.5}
    up = sparse.inverse.interpolate(**given)
    down = sparse.isel(y=slice(None, None, -1)).inverse.interpolate(**given)
    np.testing.assert_allclose(down.sortby("y"), up, atol=1e-6)


@pytest.mark.parametrize("name", ["max_distance", "max_gap"])
@pytest.mark.parametrize("value", [0, -1, np.nan, "far", True])
def test_limits_are_positive_numbers(sparse, name, value):
    with pytest.raises(OptionError, match=f"{name}=.*expected a number above 0"):
        sparse.inverse.interpolate(**SCALES, **{name: value})


def test_a_plan_must_see_as_far_as_the_limit(sparse):
    plan = xinverse.plan_tiles(sparse, length_scale=20, time_scale=1, tile=TILES)
    with pytest.raises(
        TileError, match="max_distance=, max_gap= or the cells of a source need halos"
    ):
        sparse.inverse.interpolate(**SCALES, tile=plan, max_distance=80.0)


# Logarithms ----------------------------------------------------------------------------


@pytest.fixture
def positive() -> xr.DataArray:
    rng = np.random.default_rng(4)
    shape = (5, 12, 13)
    return field(np.where(rng.random(shape) < 0.4, rng.lognormal(size=shape), np.nan))


def test_the_logarithm_gives_median_error_and_members_in_units(positive):
    options = {**SCALES, "noise": 0.3, "error": True, "members": 2, "seed": 2}
    logs = np.log(positive).rename("v").inverse.interpolate(**options)
    found = positive.inverse.interpolate(
        **{**options, "background": 1.0}, transform="log"
    )  # the background is in the units of the field
    np.testing.assert_allclose(found.v, np.exp(logs.v), rtol=1e-5)
    np.testing.assert_allclose(found.v_members, np.exp(logs.v_members), rtol=1e-5)
    variance = logs.v_error**2
    spread = np.exp(logs.v + variance / 2) * np.sqrt(np.exp(variance) - 1)
    np.testing.assert_allclose(found.v_error, spread, rtol=1e-4)
    assert "median" in found.v.attrs["analysis"]
    assert float(found.v.min()) > 0


def test_the_deviation_is_that_of_many_members(positive):
    options = {**SCALES, "noise": 0.3, "background": 1.0, "transform": "log"}
    found = positive.inverse.interpolate(**options, error=True, members=400)
    ratio = found.v_members.std("member") / found.v_error
    assert abs(float(ratio.mean()) - 1) < 0.1


def test_a_background_field_is_in_the_units_of_the_field(positive):
    level = xr.full_like(positive, 2.0).rename("level")
    options = {**SCALES, "noise": 0.3, "transform": "log"}
    by_field = positive.inverse.interpolate(**{**options, "background": level})
    by_number = positive.inverse.interpolate(**{**options, "background": 2.0})
    np.testing.assert_allclose(by_field, by_number, rtol=1e-6)


def test_observations_are_kept_as_they_are(positive):
    found = positive.inverse.interpolate(
        **{**SCALES, "background": 1.0}, transform="log", keep_observed=True
    )
    seen = positive.notnull()
    np.testing.assert_array_equal(found.where(seen), positive)


def test_the_logarithm_of_what_is_not_positive_is_an_error(positive):
    with pytest.raises(DataError, match="1 values that are 0 or less"):
        positive.where(positive.notnull(), 1.0).where(
            np.arange(positive.size).reshape(positive.shape) > 0, -2.0
        ).inverse.interpolate(transform="log")
    with pytest.raises(OptionError, match="transform='sqrt': expected one of 'log'"):
        positive.inverse.interpolate(transform="sqrt")
    with pytest.raises(OptionError, match="background=-1.0: expected a number above 0"):
        positive.inverse.interpolate(transform="log", background=-1.0)


# Seasons -------------------------------------------------------------------------------


def seasonal(years: int = 4, share: float = 0.3) -> tuple[xr.DataArray, xr.DataArray]:
    """A seasonal cycle with an amplitude of its own in each cell, seen with gaps."""
    time = np.arange("2001-01-01", f"{2001 + years}-01-01", 5, dtype="M8[D]").astype("M8[ns]")
    day = (time - time[0]) / np.timedelta64(1, "D")
    amplitude = 1 + 0.1 * np.arange(12.0).reshape(3, 4)
    truth = 10 + amplitude * np.sin(2 * np.pi * day / 365.25)[:, None, None]
    rng = np.random.default_rng(5)
    values = truth + 0.2 * rng.standard_normal(truth.shape)
    values[rng.random(truth.shape) > share] = np.nan
    coords = {
        "time": time,
        "lat": ("lat", 40.0 + np.arange(3), {"units": "degrees_north"}),
        "lon": ("lon", 10.0 + np.arange(4), {"units": "degrees_east"}),
    }
    made = [
        xr.DataArray(
            v, dims=("time", "lat", "lon"), coords=coords, name="sst", attrs={"units": "K"}
        )
        for v in (truth, values)
    ]
    return made[0], made[1]


def test_a_climatology_finds_the_seasonal_cycle():
    truth, seen = seasonal()
    found = xinverse.climatology(seen)
    assert found.dims == seen.dims
    assert found.attrs == seen.attrs
    assert float(abs(found - truth).max()) < 0.5
    assert float((found - truth).std()) < 0.15


def test_a_climatology_at_other_dates_and_lazily():
    truth, seen = seasonal()
    later = truth.isel(time=slice(0, 30)).assign_coords(
        time=truth.time[:30] + np.timedelta64(20 * 365 + 5, "D")
    )
    with raise_if_dask_computes():
        lazy = xinverse.climatology(seen.chunk({"time": 50, "lat": 2}), like=later)
    np.testing.assert_array_equal(lazy.time, later.time)
    assert float(abs(lazy - truth.isel(time=slice(0, 30)).values).max()) < 0.5


def test_cells_that_were_never_seen_have_the_mean_of_the_others():
    _, seen = seasonal()
    hidden = (seen.lat == 41) & (seen.lon == 12)
    found = xinverse.climatology(seen.where(~hidden)).where(hidden, drop=True)
    np.testing.assert_allclose(found, float(seen.where(~hidden).mean()), atol=0.2)


def test_interpolation_about_the_climatology():
    truth, seen = seasonal(share=0.15)
    scales = {"length_scale": 50.0, "time_scale": 4.0, "noise": 0.2, "variance": 0.01}
    plain = seen.inverse.interpolate(**scales)
    about = seen.inverse.interpolate(**scales, background="climatology")
    given = seen.inverse.interpolate(**scales, background=xinverse.climatology(seen))
    np.testing.assert_allclose(about, given, atol=1e-6)
    assert float((about - truth).std()) < 0.3 * float((plain - truth).std())
    assert "background='climatology'" in about.attrs["history"]
    with raise_if_dask_computes():
        lazy = seen.chunk({"time": 60}).inverse.interpolate(**scales, background="climatology")
    np.testing.assert_allclose(lazy, about, atol=1e-5)


def test_a_climatology_needs_two_years_and_dates():
    _, seen = seasonal()
    with pytest.raises(DataError, match="spans 495 days, and a climatology needs 2 years"):
        seen.isel(time=slice(0, 100)).inverse.interpolate(background="climatology")
    numbers = seen.assign_coords(
        time=("time", 5.0 * np.arange(seen.sizes["time"]), {"units": "days"})
    )
    with pytest.raises(GridError, match="expected dates"):
        xinverse.climatology(numbers)
