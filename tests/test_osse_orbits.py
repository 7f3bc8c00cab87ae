"""Orbits: what their geometry forces, and a cycle of a real mission."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from xinverse.constants import KM_PER_DEGREE
from xinverse.errors import GridError, OptionError, UnknownNameError
from xinverse.osse import ORBITS, Orbit, ground_track, sample_tracks
from xinverse.osse.sampling import launch

NADIRS = {name: replace(orbit, swath_km=None) for name, orbit in ORBITS.items()}
EACH = pytest.mark.parametrize("name", sorted(ORBITS))


def degrees_apart(lat1, lon1, lat2, lon2):
    """Great-circle distance, by the chord, which keeps its digits at small distances."""
    lat1, lon1, lat2, lon2 = map(np.deg2rad, (lat1, lon1, lat2, lon2))
    one, two = (
        np.stack([np.cos(a) * np.cos(o), np.cos(a) * np.sin(o), np.sin(a)])
        for a, o in ((lat1, lon1), (lat2, lon2))
    )
    return np.rad2deg(2 * np.arcsin(np.linalg.norm(one - two, axis=0) / 2))


@EACH
def test_the_track_closes_after_a_repeat_cycle(name):
    orbit = NADIRS[name]
    first = ground_track(orbit, 1.0, 1.5, phase=0.3, node_longitude=12.0)
    later = orbit.repeat_days
    again = ground_track(orbit, 1.0 + later, 1.5 + later, phase=0.3, node_longitude=12.0)
    apart = degrees_apart(first.latitude, first.longitude, again.latitude, again.longitude)
    assert apart.max() < 1e-7
    np.testing.assert_array_equal(again.pass_number, first.pass_number)
    np.testing.assert_array_equal(again.cycle, first.cycle + 1)


@EACH
def test_the_track_does_not_close_before_the_end_of_the_cycle(name):
    """D and N share no factor, so that no shorter cycle is hidden in the table."""
    assert np.gcd(ORBITS[name].revolutions, ORBITS[name].nodal_days) == 1


@EACH
def test_the_precession_of_the_node_follows_from_the_oblateness_of_the_earth(name):
    orbit = ORBITS[name]
    per_solar_day = 360.0 * orbit.nodal_days / orbit.repeat_days - 360.98564737
    radius, gravity, j2 = 6378.137, 398600.4418, 1.08263e-3
    axis = radius + orbit.altitude_km
    motion = np.rad2deg(np.sqrt(gravity / axis**3)) * 86400
    # Westward for a prograde orbit; the Earth then turns faster below the orbital plane.
    expected = (
        1.5 * j2 * (radius / axis) ** 2 * motion * np.cos(np.deg2rad(orbit.inclination_deg))
    )
    assert per_solar_day == pytest.approx(expected, abs=0.02)


@EACH
def test_the_inclination_bounds_latitude(name):
    track = ground_track(NADIRS[name], 0.0, 1.0)
    tilt = ORBITS[name].inclination_deg
    bound = min(tilt, 180 - tilt)
    assert np.abs(track.latitude).max() <= bound + 1e-9
    assert np.abs(track.latitude).max() > bound - 1e-3
    assert (track.longitude >= -180).all()
    assert (track.longitude < 180).all()


@EACH
def test_one_hertz_is_six_to_seven_kilometres(name):
    track = ground_track(NADIRS[name], 0.0, 0.1)
    steps = degrees_apart(
        track.latitude[1:], track.longitude[1:], track.latitude[:-1], track.longitude[:-1]
    )
    kilometres = steps * KM_PER_DEGREE
    assert kilometres.min() > 5.3
    assert kilometres.max() < 7.4


def test_passes_change_where_the_track_turns():
    track = ground_track("jason", 0.0, ORBITS["jason"].repeat_days, step_s=10.0)
    assert set(track.pass_number) == set(range(1, 255))
    ascending = np.diff(track.latitude) > 0
    same_pass = np.diff(track.pass_number) == 0
    np.testing.assert_array_equal(
        ascending[same_pass], track.pass_number[:-1][same_pass] % 2 == 1
    )
    # The reference mission crosses 66 degrees every 56 minutes.
    _, counts = np.unique(track.pass_number, return_counts=True)
    assert np.median(counts) * 10 / 60 == pytest.approx(56.2, abs=0.2)


@EACH
@pytest.mark.parametrize(
    "box", [(30.0, 40.0, 170.0, 190.0), (-5.0, 5.0, -30.0, 30.0), (60.0, 90.0, 0.0, 360.0)]
)
def test_a_box_keeps_exactly_the_points_inside_it(name, box):
    options = {"phase": 0.7, "node_longitude": 123.0}
    whole = ground_track(name, 3.3, 5.0, **options)
    part = ground_track(name, 3.3, 5.0, box=box, **options)
    south, north, west, east = box
    inside = (whole.latitude >= south) & (whole.latitude <= north)
    if east - west < 360:
        inside &= (whole.longitude - west) % 360 <= east - west
    for column in ("time", "latitude", "longitude", "pass_number", "offset_km"):
        np.testing.assert_array_equal(getattr(part, column), getattr(whole, column)[inside])


def test_blocks_change_nothing(monkeypatch):
    whole = ground_track("cryosat", 0.0, 2.0, box=(-20.0, 50.0, 0.0, 360.0))
    monkeypatch.setattr("xinverse.osse.orbits._BLOCK", 1000)
    parts = ground_track("cryosat", 0.0, 2.0, box=(-20.0, 50.0, 0.0, 360.0))
    np.testing.assert_array_equal(parts.time, whole.time)
    assert (np.diff(whole.time) > 0).all()


def test_swot_sees_two_swaths_beside_its_nadir():
    orbit = ORBITS["swot"]
    track = ground_track(orbit, 0.0, 0.02)
    rows = track.latitude.reshape(-1, orbit.offsets_km.size)
    columns = track.longitude.reshape(rows.shape)
    nadir = list(orbit.offsets_km).index(0.0)
    apart = KM_PER_DEGREE * degrees_apart(rows, columns, rows[:, [nadir]], columns[:, [nadir]])
    np.testing.assert_allclose(apart, np.abs(orbit.offsets_km)[None].repeat(len(rows), 0))
    sides = np.delete(orbit.offsets_km, nadir)
    assert 10 < np.abs(sides).min() < np.abs(sides).max() < 60
    assert np.ptp(sides[sides > 0]) == pytest.approx(50 - 6.25)
    # Left of a northward pass is west.
    north = track.pass_number.reshape(rows.shape)[:, 0] % 2 == 1
    assert (columns[north][:5, -1] < columns[north][:5, nadir]).all()


def test_the_jason_orbit_flies_over_a_real_cycle(real_data):
    """Node and phase fitted once; the rest of the difference is the Earth's flattening."""
    with xr.open_dataset(real_data / "ssh_tracks_global_20220101_10.nc") as opened:
        points = opened.isel(time=slice(0, None, 50)).load()
    days = (points["time"].values - np.datetime64("2022-01-01")) / np.timedelta64(1, "D")
    track = ground_track(
        "jason", 0.0, 10.0, phase=3.25267e-3, node_longitude=187.796, step_s=1.0
    )
    at = np.round(days * 86400).astype(int)
    apart = degrees_apart(
        track.latitude[at], track.longitude[at], points["latitude"], points["longitude"]
    )
    assert np.sqrt(np.mean(apart**2)) < 0.15
    assert apart.max() < 0.28


@pytest.mark.parametrize(("north", "spacing"), [(36.0, 12.0), (25.0, 20.0)])
def test_sampling_finds_the_nearest_cell(north, spacing):
    lat = north + np.arange(40) * spacing / KM_PER_DEGREE
    lon = 150 + np.arange(60) * spacing / KM_PER_DEGREE  # over the date line for wide ones
    times = np.arange(20.0)
    it, iy, ix = sample_tracks(times, lat, lon, ["jason", "swot"], seed=5)
    assert it.shape == iy.shape == ix.shape
    down = sample_tracks(times, lat[::-1], (lon - 360)[::-1], ["jason", "swot"], seed=5)
    # The grid upside down and on the other side of the date line sees the same.
    seen, flipped = np.zeros((2, 20, 40, 60), int)
    np.add.at(seen, (it, iy, ix), 1)
    np.add.at(flipped, down, 1)
    np.testing.assert_array_equal(flipped[:, ::-1, ::-1], seen)


def observed_share(systems, seed, days=100):
    lat = 40 + np.arange(96) * 12 / KM_PER_DEGREE
    lon = -30 + np.arange(96) * 12 / KM_PER_DEGREE / np.cos(np.deg2rad(45))
    index = sample_tracks(np.arange(float(days)), lat, lon, systems, seed)
    return np.unique(np.ravel_multi_index(index, (days, 96, 96))).size / (days * 96 * 96)


def test_each_altimeter_sees_one_to_two_percent_of_twelve_kilometre_cells_a_day():
    """A track of 40,000 km a revolution, 13 to 15 a day, crosses so many cells."""
    for number in (1, 4):
        share = observed_share([f"nadir:{number}"], seed=0)
        assert 0.010 * number < share < 0.018 * number


def test_another_seed_sees_other_cells_but_as_many():
    one, two = (observed_share(["nadir:4"], seed) for seed in (1, 2))
    assert one != two
    assert one == pytest.approx(two, rel=0.05)
    axes = (np.arange(3.0), np.arange(30.0, 40.0), np.arange(10.0))
    np.testing.assert_array_equal(
        sample_tracks(*axes, ["nadir:2"], 3), sample_tracks(*axes, "nadir:2", 3)
    )


def test_more_altimeters_keep_the_first_ones():
    assert launch(["nadir:4"], 7) == launch(["nadir:7"], 7)[:4]
    names = [one.name for one in launch(["nadir:7"], 7)]
    assert names[:5] == ["jason", "sentinel3a", "saral", "sentinel3b", "cryosat"]
    assert names[5:] == ["jason_interleaved", "sentinel3a_interleaved"]


def test_an_interleaved_pair_flies_half_way_between():
    first, *_, second = launch(["nadir:6"], 0)
    assert second.node_longitude - first.node_longitude == pytest.approx(360 / 127 / 2)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: ground_track("jasen", 0, 1), UnknownNameError, "jason"),
        (lambda: ground_track("jason", 1, 0), OptionError, "start <= end"),
        (lambda: ground_track("jason", 0, 1, step_s=0), OptionError, "above 0"),
        (lambda: ground_track("jason", 0, 1, box=(9, 1, 0, 1)), OptionError, "south"),
        (lambda: launch(["nadir:0"], 0), OptionError, "from 1 to 10"),
        (lambda: launch(["nadir:four"], 0), OptionError, "'four'"),
        (lambda: launch([], 0), OptionError, "nadir:4"),
        (lambda: launch(["topex"], 0), UnknownNameError, "orbit"),
        (lambda: sample_tracks([0.0], [1, 2], [1, 2]), GridError, "time"),
        (lambda: sample_tracks([0, 1], [1, 1], [1, 2]), GridError, "latitude"),
    ],
)
def test_mistakes_are_named(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_an_orbit_of_your_own():
    track = ground_track(Orbit("equatorial", 700.0, 0.0, 1.0, 14, 1), 0.0, 1.0)
    np.testing.assert_allclose(track.latitude, 0.0, atol=1e-12)
