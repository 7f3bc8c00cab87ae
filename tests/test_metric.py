"""Distances near the poles: what the plan says of them, and the projected grid that helps."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes

import xinverse
from xinverse.constants import KM_PER_DEGREE
from xinverse.errors import MetricWarning
from xinverse.fields.grid import Grid
from xinverse.methods.tile_statistics import local_km, tile_latitude
from xinverse.tiling.plan import plan
from xinverse.verbs.metric import metric_errors

SCALES = {"method": "oi", "length_scale": 150, "time_scale": 5, "noise": 0.1}
ONE = SCALES | {"variance": 1.0, "background": 0.0}  # a single observation
DAY = np.array(["2020-01-01"], "M8[ns]")


def empty(lat: np.ndarray, lon: np.ndarray) -> xr.DataArray:
    return xr.DataArray(
        np.full((1, lat.size, lon.size), np.nan),
        {"time": DAY, "lat": lat, "lon": lon},
        ("time", "lat", "lon"),
        name="sla",
        attrs={"units": "m"},
    )


def arctic(south: float, north: float) -> xr.DataArray:
    field = empty(np.arange(south, north + 0.1, 0.25), np.arange(0.0, 40.0))
    field[:, ::4, ::5] = np.random.default_rng(0).standard_normal(field[:, ::4, ::5].shape)
    return field


def cosine(latitude: float) -> float:
    return float(np.cos(np.deg2rad(latitude)))


def test_errors_are_those_of_the_tiles_latitude():
    lat = np.arange(60.0, 84.0)
    grid = Grid(np.zeros(1), lat, np.arange(0.0, 30.0), geographic=True, periodic=False)
    errors = metric_errors(grid, plan(grid.shape, (1, 12, 30), (0, 4, 4)))
    # Cores of 12 rows in tiles of 20: rows 60 to 79, and 64 to 83.
    assert errors[0] == pytest.approx(cosine(69.5) / cosine(60) - 1)
    assert errors[-1] == pytest.approx(cosine(73.5) / cosine(83) - 1)
    assert errors[11] == pytest.approx(cosine(69.5) / cosine(71) - 1)
    assert errors[12] == pytest.approx(cosine(73.5) / cosine(72) - 1)


def test_a_row_on_the_pole_counts_half_a_step_from_it():
    lat = np.arange(88.0, 90.1, 0.25)
    grid = Grid(np.zeros(1), lat, np.arange(0.0, 9.0), geographic=True, periodic=False)
    errors = metric_errors(grid, plan(grid.shape, grid.shape, (0, 0, 0)))
    assert errors[-1] == pytest.approx(cosine(89) / cosine(89.875) - 1)
    assert tile_latitude(lat) == 89.0  # without a cap
    assert tile_latitude(-lat[::-1]) == -89.0


def test_a_tile_measures_at_the_middle_of_its_rows():
    lat, lon = np.arange(70.0, 90.0), np.arange(0.0, 9.0)
    grid = Grid(np.zeros(1), lat, lon, geographic=True, periodic=False)
    y, x = local_km(grid)
    np.testing.assert_allclose(np.diff(y), KM_PER_DEGREE)
    np.testing.assert_allclose(np.diff(x), KM_PER_DEGREE * cosine(79.5))


def test_the_plan_says_the_true_error():
    with pytest.warns(MetricWarning):
        text = str(xinverse.plan_tiles(arctic(85, 89), **SCALES))
    expected = 100 * (cosine(87) / cosine(89) - 1)
    assert f"east-west distances within {expected:.0f} % (at latitude 89°)" in text


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_a_warning_at_the_call_says_where_how_much_and_what_to_do(lazy):
    field = arctic(60, 88).chunk() if lazy else arctic(60, 88)
    # The last tile has a core of 19 rows and two halos of 11, shifted inward: 78 to 88.
    worst = 100 * (cosine(83) / cosine(88) - 1)
    text = (
        rf"wrong by up to {worst:.0f} %, at latitude 88°, and by "
        r"more than 20 % from \d\d.*° on.*projected grid: polar stereographic x and y in "
        r"metres.*tile=\{'y'"
    )
    with raise_if_dask_computes(), pytest.warns(MetricWarning, match=text) as caught:
        xinverse.plan_tiles(field, **SCALES)
    assert len(caught) == 1
    assert caught[0].filename == __file__  # the user's line, not the package's
    with pytest.warns(MetricWarning, match=text) as caught:
        filled = field.inverse.interpolate(**SCALES)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert bool(filled.notnull().all())


def test_no_warning_where_distances_hold_or_do_not_matter():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xinverse.plan_tiles(arctic(60, 66), **SCALES)
        xinverse.plan_tiles(arctic(60, 72), tile={"y": 4}, **SCALES)  # as the text advises
        series = xr.concat([arctic(85, 89)] * 4, "time")
        series = series.assign_coords(time=DAY + np.arange(4) * np.timedelta64(1, "D"))
        assert "east-west" not in str(xinverse.plan_tiles(series, "dineof"))
    with pytest.warns(MetricWarning, match="at latitude 72°"):
        xinverse.plan_tiles(arctic(60, 72), **SCALES)
    with pytest.warns(MetricWarning):
        xinverse.interpolate(series, "dineof", modes=1, max_distance=50)


def test_on_a_polar_stereographic_grid_distances_hold_across_the_pole():
    """x and y in metres about the north pole, true at 70 N, with latitudes beside them."""
    x = 25e3 * np.arange(-10, 11)
    radius = np.hypot(x[:, None], x)
    lat = 90 - radius / 1e3 / KM_PER_DEGREE  # for readers; not used
    lon = np.rad2deg(np.arctan2(x, -x[:, None]))
    field = xr.DataArray(
        np.full((1, 21, 21), np.nan),
        {
            "time": DAY,
            "y": ("y", x, {"standard_name": "projection_y_coordinate", "units": "m"}),
            "x": ("x", x, {"standard_name": "projection_x_coordinate", "units": "m"}),
            "latitude": (("y", "x"), lat),
            "longitude": (("y", "x"), lon),
            "stereographic": ((), 0, {"grid_mapping_name": "polar_stereographic"}),
        },
        ("time", "y", "x"),
        name="sla",
        attrs={"units": "m", "grid_mapping": "stereographic"},
    )
    field.loc[{"y": 25e3, "x": 0.0}] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filled = field.inverse.interpolate(**ONE).isel(time=0)
    away = np.hypot(field.x, field.y - 25e3) / 1e3
    expected = np.exp(-((away / 150) ** 2)) / (1 + 0.1**2)
    near = (away < 160).transpose("y", "x").values
    np.testing.assert_allclose(
        filled.values[near], expected.transpose("y", "x").values[near], rtol=0, atol=5e-3
    )
    assert filled.attrs["grid_mapping"] == "stereographic"
    assert float(filled.sel(y=-25e3, x=0)) == pytest.approx(0.886, abs=5e-3)  # over the pole


def test_a_global_grid_with_all_defaults_gives_a_map_and_the_warning():
    field = empty(np.arange(-88.0, 90.0, 4.0), np.arange(0.0, 360.0, 4.0))
    field[:, ::2, ::2] = np.random.default_rng(0).standard_normal(field[:, ::2, ::2].shape)
    with pytest.warns(MetricWarning, match="at latitude -?88°") as caught:
        filled = field.inverse.interpolate()
    assert len(caught) == 1
    assert bool(np.isfinite(filled).all())
    assert float(abs(filled).max()) < 2 * float(abs(field).max())
