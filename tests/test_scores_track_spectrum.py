"""The wavelength resolved along tracks, on tracks of which it is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xinverse import scores
from xinverse.errors import DataError, OptionError, UnitsError

KM = 6371 * np.pi / 180
SPEED = 6.5  # km/s


def waves(rng, shortest, longest):
    """A function of km: a hundred waves of one amplitude, dense in wavenumber."""
    k = np.linspace(1 / longest, 1 / shortest, 100)
    phase = rng.uniform(0, 2 * np.pi, k.size)
    return lambda s: np.sin(2 * np.pi * np.multiply.outer(s, k) + phase).sum(-1) / 10


def north_south(rng, value, passes=8, points=340):
    """Passes along meridians from 10 N, one a day, a point a second; a gap after each."""
    seconds = np.arange(points)
    time = np.datetime64("2020-01-01T06", "ms") + np.concatenate(
        [86400_000 * day + 1000 * seconds for day in range(passes)]
    ).astype("m8[ms]")
    latitude = np.tile(10 + SPEED * seconds / KM, passes)
    longitude = np.repeat(rng.uniform(1, 9, passes), points)
    return xr.Dataset(
        {"sla": ("n", value(latitude * KM), {"units": "m"})},
        {
            "time": ("n", time.astype("M8[ns]")),
            "latitude": ("n", latitude),
            "longitude": ("n", longitude),
        },
    )


def maps(value, days=9):
    """The same on each day and longitude, fine enough to be interpolated exactly."""
    latitude = np.arange(8, 33, 0.02)
    row = value(latitude * KM)
    return xr.DataArray(
        np.broadcast_to(row[:, None], (days, latitude.size, 3)),
        {
            "time": pd.date_range("2020-01-01", periods=days),
            "latitude": latitude,
            "longitude": [0.0, 5.0, 10.0],
        },
        ("time", "latitude", "longitude"),
        "sla",
        {"units": "m"},
    )


@pytest.fixture
def long(rng):
    return waves(rng, 200, 2000)


@pytest.fixture
def all_waves(rng, long):
    short = waves(rng, 30, 190)
    return lambda s: long(s) + 1.5 * short(s)


def test_maps_without_short_waves_resolve_the_others(rng, long, all_waves):
    found = scores.along_track_spectrum(maps(long), north_south(rng, all_waves))
    bins = 1000 / 200
    assert 1000 / (bins + 1) <= float(found.lambda_x) <= 1000 / (bins - 1)
    assert found.lambda_x.units == "km"
    assert float(found.step) == pytest.approx(SPEED, rel=1e-3)
    # 340 points, 153 in a segment, one begins every 38.
    assert int(found.segments) == 8 * 5
    assert float(found.wavelength[0]) == pytest.approx(1000, rel=0.01)


def test_segments_give_the_longest_wavelength(rng, long, all_waves):
    points = north_south(rng, all_waves)
    found = scores.along_track_spectrum(maps(long), points, segment_km=1500)
    assert float(found.wavelength[0]) == pytest.approx(1500, rel=0.01)
    assert 150 < float(found.lambda_x) < 250


def test_order_of_points_and_units_change_nothing(rng, long, all_waves):
    points, analysis = north_south(rng, all_waves), maps(long)
    expected = scores.along_track_spectrum(analysis, points)
    mixed = points.isel(n=rng.permutation(points.sizes["n"]))
    other = scores.along_track_spectrum(analysis.transpose().chunk(time=2), mixed)
    xr.testing.assert_allclose(other, expected)
    scaled = scores.along_track_spectrum(
        (100 * analysis).assign_attrs(units="cm"),
        points.assign(sla=(100 * points.sla).assign_attrs(units="cm")),
    )
    assert float(scaled.lambda_x) == pytest.approx(float(expected.lambda_x))


def test_more_noise_resolves_less(rng, long):
    noise = rng.standard_normal(8 * 340)
    found = [
        float(
            scores.along_track_spectrum(
                maps(long), north_south(rng, lambda s, a=a: long(s) + a * noise)
            ).lambda_x
        )
        for a in (0.1, 1.0, 3.0)
    ]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_a_perfect_map_and_an_empty_one(rng, all_waves):
    points = north_south(rng, all_waves)
    perfect = scores.along_track_spectrum(maps(all_waves), points)
    assert float(perfect.lambda_x) < 40
    empty = scores.along_track_spectrum(0 * maps(all_waves), points)
    np.testing.assert_allclose(empty.score, 0, atol=1e-12)
    assert np.isnan(empty.lambda_x)


def test_a_gap_ends_a_stretch(rng, long, all_waves):
    points = north_south(rng, all_waves, passes=1)
    whole = scores.along_track_spectrum(maps(long), points)
    few = points.isel(n=np.r_[0:100, 103:340])  # four steps: still one stretch
    assert int(scores.along_track_spectrum(maps(long), few).segments) == 5
    split = points.isel(n=np.r_[0:100, 104:340])
    assert int(scores.along_track_spectrum(maps(long), split).segments) == 3
    assert int(whole.segments) == 5


def test_mistakes_are_named(rng, long, all_waves):
    points, analysis = north_south(rng, all_waves, passes=2), maps(long)
    twin = points.assign_coords(longitude=points.longitude + 1, latitude=40 - points.latitude)
    both = xr.concat([points, twin], "n").sortby("time")
    for given, segment, error, match in (
        (points, 3000, DataError, "340 points \\(2210 km\\), a segment 461"),
        (points, 20, DataError, "at least 8"),
        (points, 0, OptionError, "positive length"),
        (both, 1000, DataError, "one satellite"),
        (points.assign(sla=0 * points.sla), 1000, DataError, "one value"),
        (points.assign(sla=points.sla.assign_attrs(units="K")), 1000, UnitsError, "'K'"),
    ):
        with pytest.raises(error, match=match):
            scores.along_track_spectrum(analysis, given, segment_km=segment)
