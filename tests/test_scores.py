"""Scores on fields whose score is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xinverse import scores
from xinverse.errors import DataError, GridError, MaskError, OptionError, UnitsError
from xinverse.points.interpolation import bracket, trilinear

DAY = np.timedelta64(1, "D")


@pytest.fixture
def truth(rng):
    values = rng.standard_normal((6, 8, 10)) + 0.5
    values[:, :2, :3] = np.nan
    return xr.DataArray(
        values,
        {
            "time": pd.date_range("2020-01-01", periods=6),
            "latitude": np.linspace(30, 33.5, 8),
            "longitude": np.linspace(0, 4.5, 10),
        },
        ("time", "latitude", "longitude"),
        "ssh",
        {"units": "m"},
    )


def test_a_perfect_map(truth):
    assert float(scores.rmse(truth, truth)) == 0
    assert float(scores.rmse_score(truth, truth)) == 1
    assert float(scores.normalised_mse(truth, truth)) == 0
    assert float(scores.explained_variance(truth, truth)) == 1
    both = scores.mu_sigma(truth, truth)
    assert float(both.mu) == float(both.mu_daily) == 1
    assert float(both.sigma) == float(both.rmse) == 0


def test_a_map_of_zeros_and_of_the_mean(truth):
    assert float(scores.rmse_score(truth * 0, truth)) == 0
    assert float(scores.mu_sigma(truth * 0, truth).mu) == 0
    mean = truth * 0 + truth.mean()
    assert float(scores.normalised_mse(mean, truth)) == pytest.approx(1)
    assert float(scores.explained_variance(mean, truth)) == pytest.approx(0, abs=1e-12)


def test_scaled_maps(truth):
    """With x^a = (1 - a) x, every rms ratio is a."""
    analysis = 0.75 * truth
    both = scores.mu_sigma(analysis, truth)
    assert float(both.mu) == pytest.approx(0.75)
    assert float(both.mu_daily) == pytest.approx(0.75)
    assert float(both.sigma) == pytest.approx(0, abs=1e-12)
    assert float(scores.explained_variance(analysis, truth)) == pytest.approx(1 - 0.25**2)


def test_a_bias_counts_in_the_error_and_not_in_the_variance(truth):
    analysis = truth + 0.3
    assert float(scores.rmse(analysis, truth)) == pytest.approx(0.3)
    assert float(scores.explained_variance(analysis, truth)) == pytest.approx(1)
    assert float(scores.normalised_mse(analysis, truth)) == pytest.approx(
        0.09 / float(truth.var())
    )


def test_mu_both_ways_differ_where_days_do(truth):
    share = xr.DataArray([0, 0, 0, 0.5, 0.5, 0.5], dims="time")
    analysis = (1 - share) * truth
    both = scores.mu_sigma(analysis, truth)
    np.testing.assert_allclose(both.rmse_score, 1 - share)
    assert float(both.mu_daily) == pytest.approx(0.75)
    assert float(both.sigma) == pytest.approx(0.25)
    late = truth.isel(time=slice(3, None))
    expected = 1 - 0.5 * np.sqrt(float((late**2).sum() / (truth**2).sum()))
    assert float(both.mu) == pytest.approx(expected)


def test_scores_along_one_dimension(truth):
    daily = scores.rmse(truth + 0.1, truth, dim=["latitude", "longitude"])
    assert daily.dims == ("time",)
    np.testing.assert_allclose(daily, 0.1)
    assert daily.units == "m"
    land = scores.rmse(truth + 0.1, truth, dim="time").isnull()
    np.testing.assert_array_equal(land, truth.isnull().all("time"))


def test_order_of_dimensions_and_dask_change_nothing(truth, rng):
    analysis = truth + rng.standard_normal(truth.shape)
    expected = scores.mu_sigma(analysis, truth)
    other = analysis.transpose("longitude", "time", "latitude").chunk(time=2)
    xr.testing.assert_allclose(scores.mu_sigma(other, truth.chunk(longitude=3)), expected)


def test_coordinates_rounded_to_float32_are_the_same(truth):
    rounded = truth.assign_coords(longitude=truth.longitude.astype(np.float32))
    assert float(scores.rmse(rounded, truth)) == 0


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda x: x.isel(time=slice(1, None)), GridError, "'time'.*"),
        (lambda x: x.assign_coords(longitude=x.longitude + 0.1), GridError, "'longitude'"),
        (lambda x: x.assign_coords(time=x.time + DAY), GridError, "'time'"),
        (lambda x: x.isel(latitude=0), GridError, "dimensions"),
        (lambda x: x.where(x.longitude != 4.5), DataError, "48 of the 444"),
        (lambda x: x.where(x.longitude != 4.5, np.inf), DataError, "unfilled"),
        (lambda x: x.assign_attrs(units="K"), UnitsError, "'K'"),
        (lambda x: x.to_dataset(), OptionError, "DataArray"),
    ],
)
@pytest.mark.parametrize("score", [scores.rmse, scores.mu_sigma, scores.normalised_mse])
def test_mistakes_are_named(truth, change, error, match, score):
    with pytest.raises(error, match=match):
        score(change(truth), truth)


def test_a_truth_without_scale(truth):
    for score in (scores.normalised_mse, scores.explained_variance):
        with pytest.raises(DataError, match="variance"):
            score(truth, truth * 0 + 0.1)
    with pytest.raises(DataError, match="root mean square"):
        scores.rmse_score(truth, truth * 0)
    with pytest.raises(DataError, match="everywhere"):
        scores.rmse(truth, truth * np.nan)
    with pytest.raises(OptionError, match="depth"):
        scores.rmse(truth, truth, dim="depth")


def plane(grid, t, y, x):
    """Linear in all three, so that trilinear interpolation is exact."""
    return 0.3 + 0.1 * t - 0.2 * y + 0.5 * x + 0.05 * t * y * x


@pytest.mark.parametrize("flip", [False, True])
def test_trilinear_interpolation_is_exact_on_trilinear_fields(rng, flip):
    t, y, x = np.arange(4.0), np.array([0, 1, 4.0, 5]), np.linspace(-2, 2, 6)
    if flip:
        y, x = y[::-1], x[::-1]
    data = plane(None, *np.meshgrid(t, y, x, indexing="ij"))
    at = rng.uniform([0, 0, -2], [3, 5, 2], (200, 3)).T
    found = trilinear(data, *(bracket(c, v) for c, v in zip((t, y, x), at, strict=True)))
    np.testing.assert_allclose(found, plane(None, *at), atol=1e-12)
    corners = (bracket(t, t[:2]), bracket(y, y[-2:]), bracket(x, x[:2]))
    np.testing.assert_allclose(trilinear(data, *corners), data[[0, 1], [2, 3], [0, 1]])
    outside = bracket(x, np.array([-2.1, 2.1, np.nan]))[2]
    assert np.isnan(outside).all()


def points_of(field, rng, number=4000, noise=0.0):
    """Points inside a field's axes, with the values of a trilinear function."""
    t, y, x = rng.uniform([0, 30, 0], [5, 33.5, 4.5], (number, 3)).T
    time = field.time.values[0] + (t * 86400e9).astype("m8[ns]")
    values = plane(None, t, y, x) + noise * rng.standard_normal(number)
    return xr.Dataset(
        {"sla": ("n", values, {"units": "m"})},
        {"time": ("n", time), "latitude": ("n", y), "longitude": ("n", x - 360)},
    )


@pytest.fixture
def smooth(truth):
    t = (truth.time - truth.time[0]) / DAY
    return plane(None, t, truth.latitude, truth.longitude).assign_attrs(units="m")


@pytest.mark.parametrize("block", [1, 200, 10**6])
def test_along_track_on_a_map_that_interpolates_exactly(smooth, rng, block, monkeypatch):
    monkeypatch.setattr("xinverse.points.from_maps._BLOCK", block)
    result = scores.along_track(smooth.transpose().chunk(time=2), points_of(smooth, rng))
    assert int(result["count"]) == 4000
    assert int(result.left_out) == 0
    assert float(result.rmse) == pytest.approx(0, abs=1e-6)
    assert float(result.mu) == pytest.approx(1, abs=1e-6)
    assert float(result.explained_variance) == pytest.approx(1, abs=1e-6)
    assert result.rmse.units == "m"


def test_along_track_finds_the_noise_of_the_points(smooth, rng):
    points = points_of(smooth, rng, noise=0.5)
    result = scores.along_track(smooth, points)
    assert float(result.rmse) == pytest.approx(0.5, abs=0.025)
    variance = float(points.sla.var())
    assert float(result.explained_variance) == pytest.approx(1 - 0.25 / variance, abs=0.01)
    assert result.sizes["day"] == 5
    assert int(result.day_count.sum()) == 4000
    assert result.day.values[0] == smooth.time.values[0]
    np.testing.assert_allclose(result.rmse_score.mean(), result.mu_daily)
    np.testing.assert_allclose(result.rmse_score.std(), result.sigma)


def test_days_with_few_points_have_no_score(smooth, rng):
    points = points_of(smooth, rng, 400)
    day = ((points.time - smooth.time[0]) / DAY).astype(int)
    sparse = points.isel(n=np.r_[np.flatnonzero(day == 1), np.flatnonzero(day == 3)[:9]])
    result = scores.along_track(0.5 * smooth, sparse)
    np.testing.assert_array_equal(result.rmse_score.isnull(), [False, True])
    with pytest.raises(DataError, match="minimum"):
        scores.along_track(smooth, points.isel(n=slice(0, 5)))


def test_the_map_wraps_round_the_globe():
    lon = np.arange(0.0, 360.0, 2.0)
    field = xr.DataArray(
        np.broadcast_to(np.cos(np.deg2rad(lon)), (2, 3, lon.size)),
        {"time": pd.date_range("2020", periods=2), "lat": [-1.0, 0, 1], "lon": lon},
        ("time", "lat", "lon"),
    )
    points = xr.Dataset(
        {"sla": ("n", np.ones(2))},
        {
            "time": ("n", field.time.values),
            "latitude": ("n", [0.0, 0.5]),
            "longitude": ("n", [359.0, -1.5]),
        },
    )
    near_one = scores.interpolate_to_points(field, points)
    expected = [(1 + np.cos(np.deg2rad(2))) / 2, 0.25 + 0.75 * np.cos(np.deg2rad(2))]
    np.testing.assert_allclose(near_one, [expected[0], 0.75 * np.cos(np.deg2rad(2)) + 0.25])


def test_land_is_left_out_and_a_gap_is_an_error(smooth, rng):
    points = points_of(smooth, rng)
    coast = smooth.where((smooth.latitude > 31) | (smooth.longitude > 1))
    result = scores.along_track(coast, points)
    assert 0 < int(result.left_out) < 4000
    assert int(result["count"]) + int(result.left_out) == 4000
    assert float(result.rmse) == pytest.approx(0, abs=1e-6)
    sea = smooth.isel(time=0, drop=True).notnull()
    with pytest.raises(DataError, match="unfilled"):
        scores.along_track(coast, points, mask=sea)
    with pytest.raises(DataError, match="unfilled"):
        scores.along_track(smooth.where(smooth.time != smooth.time[2]), points)
    with pytest.raises(MaskError):
        scores.along_track(smooth, points, mask=sea.isel(latitude=slice(3)))


def test_along_track_mistakes_are_named(smooth, rng):
    points = points_of(smooth, rng, 50)
    cases = [
        (smooth, points.assign_coords(latitude=points.latitude - 60), DataError, "cover"),
        (smooth, points.assign(sla=points.sla * np.inf), DataError, "infinite"),
        (smooth * np.inf, points, DataError, "infinite"),
        (smooth.assign_attrs(units="K"), points, UnitsError, "'K'"),
        (smooth, points.assign(sla=points.sla * 0 + 1), DataError, "relative"),
        (smooth, points.assign(other=points.sla), OptionError, "variable="),
    ]
    for analysis, withheld, error, match in cases:
        with pytest.raises(error, match=match):
            scores.along_track(analysis, withheld, minimum=1)


def test_withheld_tracks_of_a_simulated_truth(rng):
    """The whole way: truth, points along orbits, score of the truth itself."""
    from xinverse.osse import track_points

    lat, lon = np.arange(30, 40, 0.25), np.arange(0, 12, 0.25)
    wave = np.sin(lon / 3) * np.cos(lat / 4)[:, None]
    field = xr.DataArray(
        np.broadcast_to(wave, (12, *wave.shape)),
        {"time": pd.date_range("2020", periods=12), "lat": lat, "lon": lon},
        ("time", "lat", "lon"),
        "ssh",
        {"units": "m"},
    )
    points = track_points(field, ["cryosat"], noise=0.02)
    result = scores.along_track(field, points)
    # Noise, and the distance of a point from its cell's centre.
    assert 0.02 < float(result.rmse) < 0.035
    assert float(result.explained_variance) > 0.99
