from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes
from hypothesis import given
from hypothesis import strategies as st
from strategies import LONGITUDES, Layout, build, layouts, longitudes

from xinverse.constants import EARTH_RADIUS_KM, KM_PER_DEGREE
from xinverse.errors import GridError, UnitsError
from xinverse.fields.axes import Axes, find_axes
from xinverse.fields.grid import Grid, make_grid

AXES = Axes("time", "lat", "lon")
DEGREES = {"y": {"units": "degrees_north"}, "x": {"units": "degrees_east"}}


def with_x(values, **attrs):
    """A field whose longitudes are these."""
    da = build(Layout(shape=(2, 3, len(values))))
    return da.assign_coords(lon=("lon", values, attrs or DEGREES["x"]))


def with_time(values, **attrs):
    da = build(Layout(shape=(len(values), 3, 4)))
    return da.assign_coords(time=("time", values, attrs))


@given(layout=layouts())
def test_a_grid_is_plain_increasing_or_decreasing_numbers(layout):
    da = build(layout)
    with raise_if_dask_computes():
        grid = make_grid(da, find_axes(da))
    assert grid.shape == layout.shape
    assert grid.geographic
    for values in (grid.time, grid.y, grid.x):
        assert values.dtype == np.dtype(np.float64).newbyteorder("=")
        assert np.isfinite(values).all()
        assert (np.diff(values) > 0).all() or (np.diff(values) < 0).all()
    assert (np.diff(grid.y) > 0).all() == layout.south_first
    # Unwrapping moves longitudes by whole turns only.
    turns = (grid.x - da[layout.names[2]].values) / 360
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-12)
    whole = {"from 0", "from -180", "unwrapped later"}
    assert grid.periodic == (layout.longitude in whole)


@given(
    kind=st.sampled_from(LONGITUDES),
    n=st.integers(3, 40),
    dtype=st.sampled_from(["f4", "f8"]),
    data=st.data(),
)
def test_cut_stays_monotonic_across_the_wrap(kind, n, dtype, data):
    grid = make_grid(with_x(longitudes(kind, n).astype(dtype)), AXES)
    start, size = data.draw(st.integers(-n, n)), data.draw(st.integers(2, n))
    columns = np.arange(start, start + size) % n
    if not grid.periodic:
        columns = np.sort(columns)
    part = grid.cut(slice(1), np.arange(2), columns)
    assert part.shape == (1, 2, size)
    assert (np.sign(np.diff(part.x)) == np.sign(grid.x[1] - grid.x[0])).all()
    turns = (part.x - grid.x[columns]) / 360
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-12)
    assert part.periodic == (grid.periodic and size == n)
    assert part.regular_space or not grid.periodic


def test_a_halo_may_go_more_than_once_round():
    grid = make_grid(with_x(longitudes("from 0", 8)), AXES)
    part = grid.cut(slice(None), slice(None), np.arange(-3, 12) % 8)
    np.testing.assert_allclose(np.diff(part.x), 45.0)
    assert not part.periodic


def test_spacing_is_that_of_the_middle_latitude():
    lat = np.array([40.0, 40.5, 41.0])
    da = build(Layout(shape=(2, 3, 6))).assign_coords(lat=("lat", lat, DEGREES["y"]))
    dy, dx = make_grid(da, AXES).spacing_km
    assert pytest.approx(np.pi * EARTH_RADIUS_KM / 180) == KM_PER_DEGREE
    assert dy == pytest.approx(0.5 * KM_PER_DEGREE)
    assert dx == pytest.approx(0.25 * KM_PER_DEGREE * np.cos(np.radians(40.5)))


@pytest.mark.parametrize(("units", "factor"), [("m", 1e-3), ("Metres", 1e-3), ("km", 1.0)])
def test_projected_lengths_become_km(units, factor):
    da = build(Layout(names=("time", "y", "x"), order=("y", "time", "x")))
    da = da.assign_coords(
        y=("y", np.arange(4) * 5.0, {"units": units}),
        x=("x", -np.arange(6) * 7.0, {"units": units}),
    )
    grid = make_grid(da, Axes("time", "y", "x"))
    assert not grid.geographic
    assert not grid.periodic
    assert grid.spacing_km == pytest.approx((5 * factor, 7 * factor))


@pytest.mark.parametrize("units", ["degrees East", "degree_E", "degrees", "", "degreesE"])
def test_ways_to_say_degrees(units):
    assert make_grid(with_x(np.arange(6.0), units=units), AXES).geographic


def test_rotated_pole():
    da = build(Layout(names=("time", "y", "x"), order=("time", "y", "x")))
    da["y"].attrs = {"units": "degrees", "standard_name": "grid_latitude"}
    da["x"].attrs = {"units": "degrees", "standard_name": "grid_longitude"}
    assert make_grid(da, Axes("time", "y", "x")).geographic


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_of_any_resolution(unit):
    times = np.array(["2020-02-28T12", "2020-02-29", "2020-03-02"], f"datetime64[{unit}]")
    grid = make_grid(with_time(times), AXES)
    np.testing.assert_allclose(grid.time, [0, 0.5, 2.5])
    assert grid.time_step == 1.25
    assert not grid.regular_time


@pytest.mark.parametrize(
    ("calendar", "days"), [("noleap", [0, 1]), ("standard", [0, 2]), ("360_day", [0, 3])]
)
def test_calendars(calendar, days):
    first, last = (
        xr.date_range(day, periods=1, calendar=calendar, use_cftime=True)[0]
        for day in ("2020-02-28", "2020-03-01")
    )
    np.testing.assert_allclose(make_grid(with_time([first, last]), AXES).time, days)


@pytest.mark.parametrize(
    ("values", "units", "days"),
    [
        ([3, 4, 6], "days", [0, 1, 3]),
        ([0.0, 12.0, 24.0], "hours since 2000-01-01", [0, 0.5, 1]),
        ([0, 86400, 172800], "s", [0, 1, 2]),
        (pd.to_timedelta([5, 6, 8], unit="D"), None, [0, 1, 3]),
    ],
)
def test_numbers_and_durations_as_times(values, units, days):
    grid = make_grid(with_time(values, **({"units": units} if units else {})), AXES)
    np.testing.assert_allclose(grid.time, days)


def test_a_single_time_has_no_step():
    grid = make_grid(build(Layout(shape=(1, 3, 4))), AXES)
    assert np.isnan(grid.time_step)
    assert grid.regular_time


def test_rounded_coordinates_are_regular_and_a_missing_row_is_not():
    rounded = np.round(26.3958 + np.arange(384) / 24, 4).astype("f4")
    assert make_grid(with_x(rounded), AXES).regular_space
    assert not make_grid(with_x(np.delete(rounded, 200)), AXES).regular_space


@pytest.mark.parametrize("n", [360, 1440, 4320, 17280])
def test_a_global_grid_in_single_precision_is_periodic(n):
    step = 360 / n
    x = (-180 + step / 2 + step * np.arange(n)).astype("f4")
    assert make_grid(with_x(x), AXES).periodic
    assert not make_grid(with_x(x[:-1]), AXES).periodic


def test_grids_pickle():
    grid = make_grid(build(Layout()), AXES)
    again = pickle.loads(pickle.dumps(grid))
    assert isinstance(again, Grid)
    np.testing.assert_array_equal(again.x, grid.x)


def wrong_grids():
    field = build(Layout())
    nan = np.array([10.0, np.nan, 12.0, 13.0])
    same = np.array([10.0, 11.0, 11.0, 12.0])
    shuffled = np.array([10.0, 12.0, 11.0, 13.0])
    days = pd.date_range("2000-01-01", periods=3)
    projected = field.assign_coords(lat=("lat", np.arange(4.0), {"units": "m"}))
    high = field.assign_coords(lat=("lat", 80 + 5 * np.arange(4.0), DEGREES["y"]))
    yield "NaN", with_x(nan), GridError, "'lon' has 1 missing.*position 1.*notnull"
    yield "same", with_x(same), GridError, r"11.0 is followed by 11.0 at position 2.*drop_dup"
    yield "shuffled", with_x(shuffled), GridError, r"12.0 is followed by 11.0.*sortby\('lon'\)"
    yield "words", with_x(list("abcd")), GridError, "'lon' holds <U1 values"
    yield "end", with_x(np.arange(0, 361, 40.0)), GridError, r"isel\({'lon': slice\(None, -1\)"
    yield "end f4", with_x(np.linspace(-180, 180, 9, dtype="f4")), GridError, "once round"
    yield "end 0", with_x(np.arange(0, 361, 40.0) % 360), GridError, "once round"
    yield "long", with_x(np.arange(0, 500, 40.0)), GridError, "480 degrees, more than once"
    yield "narrow", field.isel(lon=[0]), GridError, "x axis 'lon' has 1 cell.*at least 2"
    yield "low", field.isel(lat=[0]), GridError, "y axis 'lat' has 1 cell"
    yield "empty", field.isel(time=[]), GridError, "time axis 'time' is empty"
    yield "poles", high, GridError, "latitude 'lat' reaches 95.*-90 to 90"
    yield "both", projected, GridError, "y axis 'lat' is a length but.*'lon' is in degrees"
    yield (
        "radians",
        with_x(nan[[0, 2, 3]], units="radians"),
        UnitsError,
        "units 'radians'.*'km'",
    )
    yield "no units", field.rename(lat="y").drop_attrs(), UnitsError, "'y' has no units.*'m' or"
    yield "no label", field.drop_vars("lon"), GridError, "'lon' has no coordinate variable"
    yield "no time units", with_time([0, 1, 2]), UnitsError, "numbers with no units.*'days'"
    yield "months", with_time([0, 1], units="months"), UnitsError, "the units 'months'"
    yield "back", with_time(days[::-1]), GridError, r"not strictly ascending.*sortby\('time'\)"
    yield "twice", with_time(days[[0, 1, 1]]), GridError, r"drop_duplicates\('time'\)"
    yield "NaT", with_time([days[0], pd.NaT, days[2]]), GridError, "'time' has 1 missing"
    yield "words", with_time(list("abc")), GridError, "'time' holds <U1 values"
    months = pd.period_range("2000-01", periods=2, freq="M")
    yield "periods", with_time(months), GridError, "to_datetime"


@pytest.mark.parametrize(
    ("da", "error", "text"), [pytest.param(*rest, id=name) for name, *rest in wrong_grids()]
)
def test_coordinates_that_cannot_be_used(da, error, text):
    y = "y" if "y" in da.dims else "lat"
    with pytest.raises(error, match=text):
        make_grid(da, Axes("time", y, "lon"))
