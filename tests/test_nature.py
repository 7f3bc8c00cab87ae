"""Nature runs: labelled fields, the same from the same seed, whatever runs beside them."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import xarray as xr

from xinverse.constants import EARTH_RADIUS, EARTH_ROTATION
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import make_grid
from xinverse.osse.nature import Ocean, draw_ocean, nature_runs

# An ocean that moves soon, so that a few days tell something.
FAST = Ocean(spacing_km=12.0, rossby_radius_km=30.0, shear=0.2)
SLOW = Ocean(spacing_km=10.0, rossby_radius_km=20.0, shear=0.05, latitude=30.0)


def run(*oceans: Ocean, **keywords) -> list[xr.DataArray]:
    settings = {"days": 4, "spinup": 3, "size": 24, "seed": 3}
    return nature_runs(oceans, **(settings | keywords))


@pytest.fixture(scope="module")
def pair() -> list[xr.DataArray]:
    return run(FAST, SLOW)


def test_what_comes_back_is_a_labelled_field(pair):
    assert len(pair) == 2
    for ssh, ocean in zip(pair, (FAST, SLOW), strict=True):
        assert ssh.dims == ("time", "latitude", "longitude")
        assert ssh.shape == (4, 24, 24)
        assert ssh.dtype == np.float32
        assert ssh.name == "ssh"
        assert ssh.attrs["units"] == "m"
        assert ssh.attrs["standard_name"] == "sea_surface_height_above_geoid"
        assert {k: ssh.attrs[k] for k in asdict(ocean)} == asdict(ocean)
        assert np.isfinite(ssh).all()
        assert ssh.latitude.attrs["units"] == "degrees_north"
        assert ssh.longitude.attrs["units"] == "degrees_east"
        assert (np.diff(ssh.time) == np.timedelta64(1, "D")).all()


def test_it_can_be_written_and_read(pair, tmp_path):
    pair[0].to_netcdf(tmp_path / "run.nc")
    xr.testing.assert_identical(xr.load_dataarray(tmp_path / "run.nc"), pair[0])


def test_the_package_understands_the_grid_that_it_simulated(pair):
    """Ascending, regular, daily, centred on its latitude, with the spacing of the ocean."""
    for ssh, ocean in zip(pair, (FAST, SLOW), strict=True):
        grid = make_grid(ssh, find_axes(ssh))
        assert grid.geographic
        assert not grid.periodic
        assert grid.regular_time
        assert grid.regular_space
        assert grid.time_step == 1
        assert grid.spacing_km == pytest.approx((ocean.spacing_km, ocean.spacing_km), rel=1e-6)
        assert float(ssh.latitude.mean()) == pytest.approx(ocean.latitude)
        assert (np.diff(ssh.latitude) > 0).all()
        assert (np.diff(ssh.longitude) > 0).all()


def test_the_sea_moves_and_has_no_mean(pair):
    for ssh in pair:
        assert abs(float(ssh.mean())) < 1e-3 * float(ssh.std())
        assert float((ssh[-1] - ssh[0]).std()) > 0.05 * float(ssh.std())


def test_a_seed_gives_a_run_and_another_one_another():
    first, again, other = run(FAST)[0], run(FAST)[0], run(FAST, seed=4)[0]
    xr.testing.assert_identical(first, again)
    assert abs(float(xr.corr(first[0], other[0]))) < 0.6


def test_a_run_does_not_depend_on_what_runs_beside_it(pair):
    """Within rounding, while none is so fast that it shortens the steps that they share.

    The second ocean of a batch has the seed of the first plus a thousand.
    """
    for ssh, ocean, seed in ((pair[0], FAST, 3), (pair[1], SLOW, 1003)):
        alone = run(ocean, seed=seed)[0]
        difference = np.abs(ssh - alone).max() / ssh.std()
        assert float(difference) < 2e-3
        xr.testing.assert_equal(ssh.coords.to_dataset(), alone.coords.to_dataset())
        assert ssh.attrs == alone.attrs


def test_two_alike_in_a_batch_are_two_draws():
    one, two = run(SLOW, SLOW)
    assert abs(float(xr.corr(one[0], two[0]))) < 0.6


def test_the_spinup_is_discarded():
    long, late = run(FAST, days=5, spinup=0)[0], run(FAST, days=2, spinup=3)[0]
    np.testing.assert_allclose(late.values, long.values[3:], rtol=0, atol=0)
    assert late.time[0] == long.time[0]  # a run begins when it is kept


def test_a_shorter_step_gives_nearly_the_same_ocean():
    """Not to the last digit: the filter of the smallest scales acts once a step."""
    coarse, fine = run(FAST)[0], run(FAST, step=1080.0)[0]
    assert float(xr.corr(coarse, fine)) > 0.99


def test_a_flow_that_outruns_the_step_is_an_error_that_says_so():
    with pytest.raises(FloatingPointError, match="start with a shorter step than 86400 s"):
        run(replace(FAST, shear=2.0), step=86400.0)


def test_drawn_oceans_are_within_what_is_said_of_them():
    oceans = [draw_ocean(seed) for seed in range(300)]
    assert len(set(oceans)) == 300
    table = {name: np.array([getattr(o, name) for o in oceans]) for name in asdict(oceans[0])}
    for name, low, high in (
        ("spacing_km", 8.0, 18.0),
        ("rossby_radius_km", 16.0, 34.0),
        ("latitude", 25.0, 50.0),
        ("drag", 0.8e-7, 1.6e-7),
        ("depth_ratio", 0.2, 0.3),
    ):
        values = table[name]
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high
    assert (table["rossby_radius_km"] >= 1.4 * table["spacing_km"]).all()
    beta = 2 * EARTH_ROTATION * np.cos(np.deg2rad(table["latitude"])) / EARTH_RADIUS
    ratio = table["depth_ratio"]
    f2 = ratio / ((1e3 * table["rossby_radius_km"]) ** 2 * (1 + ratio))
    criticality = f2 * table["shear"] / beta
    assert 1.0 - 1e-9 <= criticality.min() < criticality.max() <= 1.6 + 1e-9
    assert table["shear"].max() < 1.5  # metres a second: an ocean's


def test_a_drawn_ocean_is_its_seed():
    assert draw_ocean(5) == draw_ocean(5)
    assert draw_ocean(5) != draw_ocean(6)
    assert all(isinstance(v, float) for v in asdict(draw_ocean(5)).values())
    coarse = [draw_ocean(seed, spacing_km=(18.0, 22.0)) for seed in range(20)]
    assert all(18 <= o.spacing_km <= 22 for o in coarse)
    # Above 18 km on a grid that is twice as fine.
    assert all(o.rossby_radius_km >= 1.4 * o.spacing_km / 2 for o in coarse)


def test_drawn_oceans_run_together():
    """As the training draws them: eight unlike oceans in one batch, finite and alive."""
    runs = run(*(draw_ocean(seed) for seed in range(8)), days=1, spinup=4)
    deviations = np.array([float(r.std()) for r in runs])
    assert np.isfinite(deviations).all()
    assert deviations.min() > 1e-4
