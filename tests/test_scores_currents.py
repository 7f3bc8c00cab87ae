"""Geostrophic currents of heights whose currents are known, and their scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes

from xinverse import scores
from xinverse.errors import DataError, GridError, OptionError, UnitsError

G, OMEGA, R = 9.81, 7.2921e-5, 6371e3


def height_on(latitude, longitude, value, days=2):
    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    values = np.broadcast_to(value(np.deg2rad(lat), np.deg2rad(lon)), (days, *lat.shape))
    return xr.DataArray(
        values.copy(),
        {
            "time": pd.date_range("2020-01-01", periods=days),
            "latitude": latitude,
            "longitude": longitude,
        },
        ("time", "latitude", "longitude"),
        "ssh",
        {"units": "m"},
    )


def eddy(lat, lon, height=0.3, radius=80e3, at=(40.0, 5.0)):
    """A Gaussian eddy; distances along a parallel and a meridian."""
    y, x = R * (lat - np.deg2rad(at[0])), R * np.cos(lat) * (lon - np.deg2rad(at[1]))
    return height * np.exp(-(x**2 + y**2) / (2 * radius**2))


LAT, LON = np.arange(37, 43.01, 0.05), np.arange(1, 9.01, 0.05)


@pytest.mark.parametrize("flip", [False, True])
def test_a_gaussian_eddy(flip):
    height = height_on(LAT, LON, eddy)
    if flip:
        height = height[:, ::-1, ::-1]
    found = scores.geostrophic_currents(height).isel(time=0)
    lat, lon = np.deg2rad(height.latitude), np.deg2rad(height.longitude)
    f = 2 * OMEGA * np.sin(lat)
    # η = H exp(-(x² + y²) / 2L²), x = R cos φ (λ - λ0): ∂x/∂φ = -R sin φ (λ - λ0)
    east = lon - np.deg2rad(5)
    x, y, eta = R * np.cos(lat) * east, R * (lat - np.deg2rad(40)), height[0]
    v = G / f * (-x / 80e3**2) * eta
    u = -G / f * (-(y - x * np.sin(lat) * east) / 80e3**2) * eta
    inside = {"latitude": slice(1, -1), "longitude": slice(1, -1)}
    fastest = float(abs(v).max())
    for name, expected in (("u", u), ("v", v)):
        error = (found[name] - expected).isel(inside)
        assert float(abs(error).max()) < 2e-3 * fastest
    # An anticyclone: clockwise in the northern hemisphere; ζ/f = -2gH/f²L² at its centre.
    centre = found.vorticity.sel(latitude=40, longitude=5, method="nearest")
    expected = -2 * G * 0.3 / (2 * OMEGA * np.sin(np.deg2rad(40)) * 80e3) ** 2
    assert float(centre) == pytest.approx(expected, rel=0.01)


def test_a_slope_along_latitude_in_the_southern_hemisphere():
    """η = aφ: the one-sided differences at the edges are exact, too."""
    found = scores.geostrophic_currents(height_on(-LAT, LON, lambda lat, lon: 3.0 * lat))
    f = 2 * OMEGA * np.sin(np.deg2rad(found.latitude))
    u = -G / f * 3.0 / R
    np.testing.assert_allclose(found.u[0, :, 0], u)
    np.testing.assert_allclose(found.v, 0, atol=1e-12)
    assert float(found.u.min()) > 0


def test_solid_rotation_on_the_sphere():
    """U = ω R cos φ has the vorticity 2 ω sin φ: the metric term counts."""
    omega = 1e-7
    # f U = -g/R ∂η/∂φ with f = 2Ω sin φ: η = (ΩωR²/2g) cos 2φ + constant
    height = height_on(
        np.arange(30, 60, 0.25),
        np.arange(0, 20, 0.25),
        lambda lat, lon: OMEGA * omega * R**2 / (2 * G) * np.cos(2 * lat) + 0 * lon,
    )
    found = scores.geostrophic_currents(height).isel(time=0, latitude=slice(2, -2), longitude=0)
    lat = np.deg2rad(found.latitude)
    np.testing.assert_allclose(found.u, omega * R * np.cos(lat), rtol=1e-4)
    np.testing.assert_allclose(found.vorticity, omega / OMEGA, rtol=1e-3)


def test_names_units_and_centimetres():
    height = height_on(LAT, LON, eddy)
    found = scores.geostrophic_currents(height)
    assert found.u.standard_name == "surface_geostrophic_eastward_sea_water_velocity"
    assert found.v.standard_name == "surface_geostrophic_northward_sea_water_velocity"
    assert (found.u.units, found.vorticity.units) == ("m s-1", "1")
    xr.testing.assert_allclose(
        scores.geostrophic_currents((100 * height).assign_attrs(units="cm")), found
    )


def test_land_and_its_neighbours_have_no_current():
    height = height_on(LAT, LON, eddy)
    land = (slice(None), 50, 60)
    height[land] = np.nan
    found = scores.geostrophic_currents(height)
    missing = np.argwhere(found.u[0].isnull().values)
    np.testing.assert_array_equal(missing, [[49, 60], [50, 60], [51, 60]])
    missing = np.argwhere(found.v[0].isnull().values)
    np.testing.assert_array_equal(missing, [[50, 59], [50, 60], [50, 61]])


def test_there_is_no_current_at_the_equator():
    height = height_on(np.arange(-8, 8.1, 0.5), LON, lambda lat, lon: lat + lon)
    found = scores.geostrophic_currents(height)
    near = abs(found.latitude) <= 5
    assert bool(found.u.isnull().where(near, True).all())
    assert bool(found.u.notnull().where(~near, True).all())
    near_it = height.sel(latitude=slice(-4, 4))
    with pytest.raises(DataError, match="equator"):
        scores.current_scores(near_it, near_it)


def test_differences_wrap_round_the_globe():
    height = height_on(LAT, np.arange(0, 360, 2.0), lambda lat, lon: np.sin(3 * lon) + 0 * lat)
    found = scores.geostrophic_currents(height)
    rolled = scores.geostrophic_currents(height.roll(longitude=40, roll_coords=True))
    xr.testing.assert_allclose(rolled.v.sortby("longitude"), found.v)
    np.testing.assert_array_equal(found.longitude, height.longitude)


def test_a_projected_grid_needs_a_latitude():
    y, x = 1e4 * np.arange(30), 1e4 * np.arange(40)
    height = xr.DataArray(
        1e-6 * x * np.ones((2, 30, 40)),
        {
            "time": pd.date_range("2020", periods=2),
            "y": ("y", y, {"units": "m"}),
            "x": ("x", x, {"units": "m"}),
        },
        ("time", "y", "x"),
        "ssh",
        {"units": "m"},
    )
    found = scores.geostrophic_currents(height, latitude=30.0)
    np.testing.assert_allclose(found.v, G / OMEGA * 1e-6)
    assert found.v.standard_name == "surface_geostrophic_sea_water_y_velocity"
    with pytest.raises(GridError, match="latitude="):
        scores.geostrophic_currents(height)
    with pytest.raises(OptionError, match="90"):
        scores.geostrophic_currents(height, latitude=300.0)


def test_lazy_in_lazy_out():
    height = height_on(LAT, LON, eddy)
    expected = scores.geostrophic_currents(height)
    with raise_if_dask_computes():
        found = scores.geostrophic_currents(height.chunk(time=1, latitude=60, longitude=80))
    assert found.u.chunks
    xr.testing.assert_allclose(found.compute(), expected)


def test_order_of_dimensions_is_kept():
    height = height_on(LAT, LON, eddy).transpose("longitude", "time", "latitude")
    assert scores.geostrophic_currents(height).u.dims == height.dims


def test_scores_of_scaled_currents(rng):
    truth = height_on(LAT, LON, eddy) + height_on(LAT, LON, lambda a, b: np.sin(60 * (a + b)))
    truth.attrs = {"units": "m"}
    found = scores.current_scores(0.7 * truth, truth)
    own = scores.geostrophic_currents(truth)
    speed = float(((own.u**2).mean() + (own.v**2).mean()) ** 0.5)
    assert float(found.current_rmse) == pytest.approx(0.3 * speed)
    assert found.current_rmse.units == "m s-1"
    assert float(found.current_explained_variance) == pytest.approx(1 - 0.09)
    assert float(found.vorticity_explained_variance) == pytest.approx(1 - 0.09)
    variance = float(own.u.var() + own.v.var())
    assert float(found.current_normalised_mse) == pytest.approx(0.09 * speed**2 / variance)


def test_a_constant_height_has_no_current_error():
    truth = height_on(LAT, LON, eddy)
    found = scores.current_scores((truth + 0.4).assign_attrs(units="m"), truth)
    assert float(found.current_rmse) == pytest.approx(0, abs=1e-10)
    assert float(found.vorticity_explained_variance) == pytest.approx(1)


def test_mistakes_are_named():
    height = height_on(LAT, LON, eddy)
    with pytest.raises(UnitsError, match="'K'"):
        scores.geostrophic_currents(height.assign_attrs(units="K"))
    with pytest.raises(UnitsError, match="None"):
        scores.geostrophic_currents(height.drop_attrs())
    with pytest.raises(OptionError, match="Leave out latitude="):
        scores.geostrophic_currents(height, latitude=40.0)
    with pytest.raises(DataError, match="do not vary"):
        scores.current_scores(height, 0 * height)
