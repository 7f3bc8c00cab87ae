"""Clouds: as many as asked for, moving as fast as asked for, whatever the chunks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xinverse.constants import KM_PER_DEGREE
from xinverse.errors import AxesError, DataError, MaskError, OptionError
from xinverse.osse import cloud_mask, observe

SPACING, HOURS = 20.0, 3


def sea(days: int = 20, cells: int = 40, hours: int = 24, first: str = "2020-01-01"):
    """A temperature on 20-km cells around 40 N."""
    offset = SPACING * (np.arange(cells) - cells / 2)
    time = pd.date_range(first, periods=days * 24 // hours, freq=f"{hours}h")
    latitude = 40 + offset / KM_PER_DEGREE
    longitude = 5 + offset / (KM_PER_DEGREE * np.cos(np.deg2rad(latitude.mean())))
    values = np.broadcast_to(20 - 0.01 * offset[:, None], (time.size, cells, cells))
    return xr.DataArray(
        values.astype("f4"),
        {"time": time, "latitude": latitude, "longitude": longitude},
        ("time", "latitude", "longitude"),
        "sst",
        {"units": "degC", "standard_name": "sea_surface_temperature"},
    )


@pytest.mark.parametrize("cover", [0.0, 0.1, 0.6, 0.95, 1.0])
def test_the_cover_is_what_was_asked_for(cover):
    like = sea()
    cloudy = cloud_mask(like, cover=cover, seed=2)
    assert cloudy.dtype == bool
    assert cloudy.dims == like.dims
    assert float(cloudy.mean()) == pytest.approx(cover, abs=1 / like.size)
    if cover == 0.6:  # ... of all maps; some are clearer than others
        share = cloudy.mean(("latitude", "longitude"))
        assert float(share.std()) > 0.05


def best_lag(first: np.ndarray, later: np.ndarray) -> tuple[int, int]:
    """Cells (north, east) by which one map is most like an earlier one, mean removed."""
    most = 12
    best, where = -np.inf, (0, 0)
    n = first.shape[-1]
    for dy in range(-most, most + 1):
        for dx in range(-most, most + 1):
            a = first[..., max(-dy, 0) : n - max(dy, 0), max(-dx, 0) : n - max(dx, 0)]
            b = later[..., max(dy, 0) : n - max(-dy, 0), max(dx, 0) : n - max(-dx, 0)]
            likeness = np.corrcoef(a.ravel(), b.ravel())[0, 1]
            if likeness > best:
                best, where = likeness, (dy, dx)
    return where


@pytest.mark.parametrize("speed", [10.0, (10.0, 0.0), (-6.0, 8.0), (0.0, 0.0)])
def test_clouds_move_as_fast_as_asked_for(speed):
    """The shift that makes the map of three hours later most like the one before."""
    like = sea(days=8, hours=HOURS)
    cloudy = cloud_mask(
        like, cover=0.5, speed=speed, scale_km=100.0, time_scale_days=1.0, seed=1
    ).values.astype(float)
    dy, dx = best_lag(cloudy[:-1], cloudy[1:])
    east, north = (speed, 0.0) if isinstance(speed, float) else speed
    seconds = HOURS * 3600
    assert dx * SPACING == pytest.approx(1e-3 * east * seconds, abs=0.5 * SPACING)
    assert dy * SPACING == pytest.approx(1e-3 * north * seconds, abs=0.5 * SPACING)


def test_the_size_of_clouds_follows_the_scale():
    """Cells whose eastern neighbour differs: edges are rarer where clouds are larger."""
    edges = []
    for scale in (60.0, 120.0, 240.0):
        cloudy = cloud_mask(sea(days=40), cover=0.5, scale_km=scale, seed=3).values
        edges.append((cloudy[..., 1:] != cloudy[..., :-1]).mean())
    # A smooth field's threshold is crossed in proportion to 1 / scale (Rice 1944).
    assert edges[0] / edges[1] == pytest.approx(2, rel=0.25)
    assert edges[1] / edges[2] == pytest.approx(2, rel=0.25)


def test_clouds_change_within_their_time_scale():
    """Standing clouds: alike after a tenth of the time scale, strangers after three."""
    like = sea(days=30, hours=6)
    cloudy = cloud_mask(like, cover=0.5, speed=0.0, time_scale_days=2.5, seed=4)
    values = cloudy.values.astype(float)
    soon = np.corrcoef(values[1:].ravel(), values[:-1].ravel())[0, 1]
    late = np.corrcoef(values[30:].ravel(), values[:-30].ravel())[0, 1]
    # Of a Gaussian field with correlation r, the signs correlate by 2 / pi asin(r).
    assert soon == pytest.approx(2 / np.pi * np.arcsin(np.exp(-0.5 * 0.1**2)), abs=0.03)
    assert abs(late) < 0.2


def test_the_same_seed_the_same_clouds_whatever_the_chunks_and_the_order():
    like = sea(days=6)
    clouds = cloud_mask(like, seed=5)
    for other in (
        like.chunk(time=2, latitude=7),
        like * np.nan,
        like.transpose("longitude", "time", "latitude"),
        like.to_dataset(),
    ):
        again = cloud_mask(other, seed=5)
        xr.testing.assert_equal(again.transpose(*like.dims), clouds)
    turned = cloud_mask(like.transpose("longitude", "time", "latitude"), seed=5)
    assert turned.dims == ("longitude", "time", "latitude")
    assert not cloud_mask(like, seed=6).equals(clouds)


def test_a_projected_grid_has_clouds_too():
    like = sea(days=3)
    km = xr.DataArray(np.zeros(like.shape), dims=("time", "y", "x")).assign_coords(
        time=like.time.values,
        y=("y", SPACING * np.arange(40), {"units": "km"}),
        x=("x", SPACING * np.arange(40), {"units": "km"}),
    )
    assert 0.5 < float(cloud_mask(km).mean()) < 0.7


# What a radiometer sees ------------------------------------------------------------------


def test_what_is_seen_is_the_clear_sea_with_noise():
    truth = sea(days=10)
    truth[:, :5, :5] = np.nan  # land
    clouds = cloud_mask(truth, cover=0.7, seed=8)
    seen = observe(truth, clouds=clouds, noise=0.3, seed=8)
    clear = ~clouds & truth.notnull()
    xr.testing.assert_equal(seen.sst.notnull(), clear)
    np.testing.assert_array_equal(seen.sst_count, clear.astype(int))
    wrong = (seen.sst - truth).values[clear.values]
    assert wrong.std() == pytest.approx(0.3, rel=0.05)
    np.testing.assert_allclose(seen.sst_noise.values[clear.values], 0.3, rtol=1e-6)
    assert seen.sst.attrs["units"] == "degC"
    assert seen.sst.dtype == truth.dtype
    xr.testing.assert_identical(seen, observe(truth, clouds=clouds, noise=0.3, seed=8))


def test_clouds_by_their_options_have_the_seed_of_the_observations():
    truth = sea(days=4)
    seen = observe(truth, clouds={"cover": 0.4}, noise=0.0, seed=9)
    clouds = cloud_mask(truth, cover=0.4, seed=9)
    xr.testing.assert_equal(seen.sst, truth.where(~clouds))
    other = observe(truth, clouds={"cover": 0.4, "seed": 1}, noise=0.0, seed=9)
    xr.testing.assert_equal(other.sst, truth.where(~cloud_mask(truth, cover=0.4, seed=1)))


def test_order_and_chunks_change_nothing_but_the_order():
    truth = sea(days=4)
    seen = observe(truth, clouds={"cover": 0.4})
    turned = observe(truth.chunk(time=1).transpose("longitude", ...), clouds={"cover": 0.4})
    assert turned.sst.dims == ("longitude", "time", "latitude")
    xr.testing.assert_equal(turned.sst.transpose(*truth.dims), seen.sst)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"cover": 1.2}, OptionError, "cover of clouds is 1.2"),
        ({"cover": np.nan}, OptionError, "cover"),
        ({"scale_km": 0.0}, OptionError, "scale_km is 0.0"),
        ({"time_scale_days": -1.0}, OptionError, "time_scale_days"),
        ({"speed": (1.0, 2.0, 3.0)}, OptionError, "speed of clouds"),
        ({"speed": np.inf}, OptionError, "speed of clouds"),
    ],
)
def test_mistakes_about_clouds(options, error, match):
    with pytest.raises(error, match=match):
        cloud_mask(sea(days=2), **options)


def test_clouds_need_axes():
    with pytest.raises(AxesError):
        cloud_mask(sea(days=2).isel(time=0, drop=True))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"systems": "nadir:4"}, OptionError, "affect radiometers only"),
        ({"noise": {"jason": 0.1}}, OptionError, "one number"),
        ({"noise": -1.0}, OptionError, "radiometer"),
        ({"clouds": 0.5}, OptionError, "The clouds are a float"),
        ({"clouds": {"covering": 0.5}}, OptionError, "no option.*covering"),
        ({"clouds": {"cover": 1.0}}, DataError, "Clouds hide all"),
        ({"clouds": xr.zeros_like(sea(days=4))}, MaskError, "booleans"),
        ({"clouds": cloud_mask(sea(days=3))}, MaskError, "sizes"),
        ({"clouds": cloud_mask(sea(days=4, first="2021-01-01"))}, MaskError, "'time'"),
    ],
)
def test_mistakes_between_clouds(options, error, match):
    with pytest.raises(error, match=match):
        observe(sea(days=4), **({"clouds": {"cover": 0.5}} | options))
