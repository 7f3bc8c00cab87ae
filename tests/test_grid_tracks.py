"""Points to cells: exact on points whose cells are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xinverse.errors import AxesError, DataError, GridError, OptionError, UnitsError
from xinverse.points.along_track import along_track
from xinverse.points.binning import CellSums, nearest_cells
from xinverse.points.grid_tracks import grid_tracks

DAY = np.timedelta64(1, "D")
START = np.datetime64("2020-01-01", "ns")


def grid(lat, lon, days=3):
    return xr.Dataset(
        coords={
            "time": pd.date_range("2020-01-01", periods=days),
            "latitude": np.asarray(lat, float),
            "longitude": np.asarray(lon, float),
        }
    )


def track(days, lat, lon, values, name="sla", **more):
    points = xr.Dataset(
        {name: ("obs", np.asarray(values, float), {"units": "m"})},
        {
            "time": ("obs", START + (np.asarray(days, float) * 86400e9).astype("m8[ns]")),
            "latitude": ("obs", np.asarray(lat, float)),
            "longitude": ("obs", np.asarray(lon, float)),
        },
        {"history": "made", "title": "a track"},
    )
    return points.assign({key: ("obs", np.asarray(value)) for key, value in more.items()})


@pytest.fixture
def many(rng):
    """Two thousand points in and around a grid of 1 degree over the date line."""
    number = 2_000
    return track(
        rng.uniform(-1, 4, number),
        rng.uniform(-4, 8, number),
        rng.uniform(170, 190, number) % 360 - 360 * (rng.random(number) < 0.5),
        np.where(rng.random(number) < 0.1, np.nan, rng.normal(5, 1, number)),
        sigma=rng.uniform(0.1, 0.5, number),
    )


def by_hand(points, like, longitude_start):
    """Mean, count and noise by a loop over points."""
    shape = tuple(like.sizes[dim] for dim in ("time", "latitude", "longitude"))
    total, count, variance = np.zeros(shape), np.zeros(shape, int), np.zeros(shape)
    days = (points.time.values - START) / DAY
    for t, y, x, value, sigma in zip(
        days,
        points.latitude.values,
        (points.longitude.values - longitude_start) % 360 + longitude_start,
        points.sla.values,
        points.sigma.values,
        strict=True,
    ):
        index = tuple(
            int(np.argmin(np.abs(centres - at)))
            for centres, at in zip(
                (np.arange(shape[0]), like.latitude.values, like.longitude.values),
                (t, y, x),
                strict=True,
            )
        )
        nearest = (index[0], like.latitude.values[index[1]], like.longitude.values[index[2]])
        if (
            np.isnan(value)
            or max(abs(a - b) for a, b in zip(nearest, (t, y, x), strict=True)) > 0.5
        ):
            continue
        total[index] += value
        count[index] += 1
        variance[index] += sigma**2
    with np.errstate(invalid="ignore"):
        return total / count, count, np.sqrt(variance) / count


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("east", [0, -360])
def test_mean_count_and_noise_are_exact(many, descending, east):
    lat = np.arange(-2.0, 6.0)
    like = grid(lat[::-1] if descending else lat, np.arange(175.0, 186.0) + east)
    out = grid_tracks(many, like, noise="sigma")
    mean, count, noise = by_hand(many, like, 174.5 + east)
    np.testing.assert_array_equal(out.sla_count, count)
    np.testing.assert_allclose(out.sla, mean, rtol=1e-12)
    np.testing.assert_allclose(out.sla_noise, noise, rtol=1e-12)
    assert out.sla_count.dtype == np.int32
    assert (count == 0).any()
    assert (count > 1).any()


def test_a_number_for_the_noise(many):
    like = grid(np.arange(-2.0, 6.0), np.arange(175.0, 186.0))
    out = grid_tracks(many, like, variable="sla", noise=0.3)
    seen = out.sla_count > 0
    np.testing.assert_allclose(
        out.sla_noise.values[seen], 0.3 / np.sqrt(out.sla_count.values[seen]), rtol=1e-12
    )
    assert out.sla_noise.isnull().equals(~seen)


def test_without_noise_the_spread_within_cells_is_pooled(many):
    shifted = many.assign(sla=many.sla + 1e6)  # would cancel in a sum of squares
    like = grid(np.arange(-2.0, 6.0), np.arange(175.0, 186.0))
    halves = [shifted.isel(obs=slice(0, 500)), shifted.isel(obs=slice(500, None))]
    out = grid_tracks(halves, like, variable="sla")
    spread = out.sla_noise * np.sqrt(out.sla_count)
    low, high = float(spread.min()), float(spread.max())
    assert low == pytest.approx(high)
    frame = xr.Dataset({"mean": out.sla, "count": out.sla_count})
    assert frame["count"].max() > 3
    # The values were drawn with a standard deviation of one.
    freedom = int((out.sla_count - 1).clip(0).sum())
    assert low == pytest.approx(1.0, abs=4 / np.sqrt(2 * freedom))
    assert "pooled" in out.sla_noise.comment


def test_one_point_a_cell_has_no_noise_to_estimate():
    like = grid([0, 1], [0, 1])
    out = grid_tracks(track([0, 1], [0, 1], [0, 1], [1, 2]), like)
    assert set(out) == {"sla", "sla_count"}
    assert out.sla.attrs["ancillary_variables"] == "sla_count"
    assert float(out.sla[1, 1, 1]) == 2


def test_edges_lie_half_a_spacing_outside():
    like = grid([10, 11], [20, 21], days=2)
    inside = track([-0.49, 1.49], [9.51, 11.49], [19.51, 21.49], [1, 2])
    assert int(grid_tracks(inside, like).sla_count.sum()) == 2
    for column in ("time", "latitude", "longitude"):
        beyond = {"time": START - np.timedelta64(14, "h"), "latitude": 9.49, "longitude": 21.6}[
            column
        ]
        moved = inside[column].values.copy()
        moved[0] = beyond
        outside = inside.assign_coords({column: ("obs", moved)})
        assert int(grid_tracks(outside, like).sla_count.sum()) == 1


def test_the_globe_has_no_edge():
    like = grid(np.arange(-89.5, 90), np.arange(0.0, 360.0))
    lon = np.array([-0.5, -0.3, 0.2, 359.4, 359.6, 719.9, -180.0])
    out = grid_tracks(track(lon * 0, lon * 0, lon, lon * 0 + 1), like)
    assert int(out.sla_count.sum()) == lon.size
    assert int(out.sla_count.sel(longitude=0).sum()) == 5
    assert int(out.sla_count.sel(longitude=359).sum()) == 1


def test_irregular_axes_take_the_nearest_centre(rng):
    lat = np.array([0.0, 1, 3, 7, 15])
    values = rng.uniform(-2, 21, 500)
    index = nearest_cells(lat, values)
    expected = np.abs(lat[:, None] - values).argmin(0)
    expected[(values < -0.5) | (values > 19)] = -1
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_array_equal(
        nearest_cells(lat[::-1], values)[index >= 0], 4 - index[index >= 0]
    )


def test_one_time_step_holds_half_a_day_on_both_sides():
    like = grid([0, 1], [0, 1], days=1)
    out = grid_tracks(track([-0.6, -0.4, 0.4, 0.6], [0] * 4, [0] * 4, [9, 1, 3, 9]), like)
    assert float(out.sla[0, 0, 0]) == 2


def test_files_one_at_a_time_equal_all_at_once(many, tmp_path, monkeypatch):
    like = grid(np.arange(-2.0, 6.0), np.arange(175.0, 186.0))
    whole = grid_tracks(many, like, noise="sigma")
    opened = []
    real = xr.open_dataset

    def watched(path, **options):
        assert all(one._close is None for one in opened), "two files open at once"
        opened.append(real(path, **options))
        return opened[-1]

    for part in range(4):
        piece = many.isel(obs=slice(part * 500, (part + 1) * 500))
        piece.to_netcdf(tmp_path / f"track{part}.nc")
    monkeypatch.setattr(xr, "open_dataset", watched)
    monkeypatch.setattr("xinverse.points.grid_tracks._BLOCK", 130)
    for source in (
        str(tmp_path / "*.nc"),
        sorted(tmp_path.glob("*.nc")),
        (many.isel(obs=slice(k, k + 100)) for k in range(0, 2000, 100)),
    ):
        out = grid_tracks(source, like, noise="sigma")
        xr.testing.assert_allclose(out, whole, rtol=1e-12)
        xr.testing.assert_equal(out.sla_count, whole.sla_count)
    assert len(opened) == 8


def test_labels_are_kept(many):
    like = grid(np.arange(-2.0, 6.0), np.arange(175.0, 186.0)).astype(np.float32)
    like = like.assign_coords(depth=0.0, sea=(("latitude", "longitude"), np.ones((8, 11))))
    like["sst"] = (("longitude", "latitude", "time"), np.zeros((11, 8, 3)))
    many.sla.attrs |= {"standard_name": "sea_surface_height_above_geoid"}
    out = grid_tracks(many.astype(np.float32), like, variable="sla", noise="sigma")
    assert out.sla.dims == ("longitude", "latitude", "time")
    assert out.sla.dtype == np.float32
    wanted = like.coords.to_dataset().drop_attrs()
    xr.testing.assert_identical(out.coords.to_dataset().drop_attrs(), wanted)
    assert out.sla.attrs["units"] == "m"
    assert out.title == "a track"
    newest, before = out.history.split("\n")
    assert "grid_tracks(variable='sla', noise='sigma')" in newest
    assert before == "made"


def test_positions_are_found_by_their_attributes(many):
    like = grid(np.arange(-2.0, 6.0), np.arange(175.0, 186.0))
    renamed = many.rename(latitude="y1", longitude="x1", time="when").reset_coords()
    renamed["y1"].attrs["units"] = "degrees_north"
    renamed["x1"].attrs["standard_name"] = "longitude"
    renamed["when"].attrs["standard_name"] = "time"
    out = grid_tracks(renamed, like, variable="sla", noise=1)
    xr.testing.assert_equal(out, grid_tracks(many, like, variable="sla", noise=1))


def test_a_projected_grid_in_metres(rng):
    like = xr.Dataset(
        coords={
            "time": pd.date_range("2020-01-01", periods=2),
            "y": ("y", np.arange(5) * 1000.0, {"units": "m"}),
            "x": ("x", np.arange(6) * 1000.0, {"units": "m"}),
        }
    )
    points = track([0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 3, 5]).drop_vars(
        ["latitude", "longitude"]
    )
    points["y"] = ("obs", [1.1, 0.9, 4.0], {"units": "km"})
    points["x"] = ("obs", [2.1, 1.9, 5.0], {"units": "km"})
    out = grid_tracks(points, like, variable="sla")
    assert float(out.sla[0, 1, 2]) == 2
    assert float(out.sla[1, 4, 5]) == 5


def test_lazy_targets_stay_lazy(many):
    def boom(*_):
        raise AssertionError("the target was computed")

    import dask
    import dask.array as da

    like = grid(np.arange(-2.0, 6.0), np.arange(175.0, 186.0))
    like["ssh"] = (("time", "latitude", "longitude"), da.zeros((3, 8, 11)))
    with dask.config.set(scheduler=boom):
        grid_tracks(many, like, variable="sla")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(-1e3, 1e3)), min_size=1), st.integers(1, 9)
)
def test_sums_do_not_depend_on_how_points_are_cut(points, size):
    cells = np.array([cell for cell, _ in points])
    values = np.array([value for _, value in points])
    whole, parts = CellSums((6,), spread=True), CellSums((6,), spread=True)
    whole.add((cells,), values)
    for first in range(0, cells.size, size):
        parts.add((cells[first : first + size],), values[first : first + size])
    np.testing.assert_array_equal(parts.count, whole.count)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(
        parts.pooled_deviation, whole.pooled_deviation, rtol=1e-6, atol=1e-6
    )


ONE = track([0, 1], [0, 1], [0, 1], [1, 2])


@pytest.mark.parametrize(
    ("points", "options", "error", "match"),
    [
        (ONE.assign(sla=ONE.sla * np.inf), {}, DataError, "infinite values: 2"),
        (ONE.assign_coords(latitude=ONE.latitude + 50), {}, DataError, "y 50 to 51.*y 0 to 1"),
        (ONE.assign_coords(time=ONE.time + DAY * 999), {}, DataError, "2022-09-26.*2020-01-01"),
        (ONE.drop_vars("latitude"), {}, AxesError, "latitude"),
        (ONE.rename(latitude="a"), {}, AxesError, "no variable"),
        (ONE.assign(adt=ONE.sla), {}, OptionError, "variable="),
        (ONE.drop_vars("sla"), {}, OptionError, "no variable"),
        (ONE, {"variable": "adt"}, OptionError, "'adt'"),
        (ONE, {"noise": -1.0}, OptionError, "noise"),
        (ONE, {"noise": "sigma"}, OptionError, "'sigma'"),
        (ONE, {"noise": [1.0]}, OptionError, "list"),
        (ONE.assign(e=ONE.sla * np.nan), {"noise": "e", "variable": "sla"}, DataError, "noise"),
        (ONE.sla, {}, OptionError, "to_dataset"),
        (3, {}, OptionError, "int"),
        ([ONE, 3], {}, OptionError, "number 2"),
        ([], {}, DataError, "empty"),
        ("nowhere/*.nc", {}, DataError, "matches"),
        ("nowhere.nc", {}, FileNotFoundError, "nowhere"),
        ([ONE, ONE.assign(sla=ONE.sla.assign_attrs(units="K"))], {}, UnitsError, "'K'"),
        (ONE.assign_coords(time=ONE.time.astype(float)), {}, GridError, "calendar"),
        (ONE.expand_dims(pixel=2), {}, OptionError, "no variable"),
    ],
)
def test_mistakes_are_named(points, options, error, match):
    with pytest.raises(error, match=match):
        grid_tracks(points, grid([0, 1], [0, 1]), **options)


def test_values_along_the_track_of_a_swath_are_not_on_it():
    swath = ONE.assign_coords(
        latitude=(("obs", "pixel"), np.zeros((2, 2))),
        longitude=(("obs", "pixel"), np.zeros((2, 2))),
    )
    swath["latitude"].attrs["units"] = "degrees_north"
    with pytest.raises(OptionError, match="no variable of floats along 'obs' and 'pixel'"):
        grid_tracks(swath, grid([0, 1], [0, 1]))


SWATH = ("num_lines", "num_pixels")


def swath(lines=40, pixels=12):
    """A swath as SWOT's: positions on two dimensions, time along the lines, and its nadir."""
    along = np.linspace(0, 3, lines)
    lat = along[:, None] + np.linspace(0, 0.2, pixels)
    lon = 5 + along[:, None] / 4 + np.linspace(0, 1.2, pixels)
    time = START + np.linspace(0, 2.4 * 86400e9, lines).astype("m8[ns]")
    return xr.Dataset(
        {"ssha": (SWATH, np.cos(lat) * lon, {"units": "m"}), "flag": (SWATH, lon.astype(int))},
        {
            "time": ("num_lines", time),
            "latitude": (SWATH, lat, {"units": "degrees_north"}),
            "longitude": (SWATH, lon, {"units": "degrees_east"}),
            "latitude_nadir": ("num_lines", along, {"units": "degrees_north"}),
            "longitude_nadir": ("num_lines", 5 + along / 4, {"units": "degrees_east"}),
        },
    )


def same_cells(found, expected):
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


@pytest.mark.parametrize("block", [7, 1_000_000])
@pytest.mark.parametrize("names", [{}, {"latitude": "lat", "longitude": "lon"}])
def test_a_swath_is_its_stacked_points(monkeypatch, block, names):
    whole = swath()
    flat = whole.drop_vars(["latitude_nadir", "longitude_nadir"])
    flat = flat.stack(point=SWATH).reset_index("point")
    like = grid(np.arange(0, 3.5, 0.5), np.arange(5, 7.5, 0.5))
    expected = grid_tracks(flat, like)
    monkeypatch.setattr("xinverse.points.grid_tracks._BLOCK", block)
    like = like.rename(names)
    same_cells(grid_tracks(whole, like), expected)
    turned = whole.assign(ssha=whole.ssha.T)
    same_cells(grid_tracks(turned, like), expected)
    assert int(expected.ssha_count.sum()) == 480


def test_a_swath_with_noise_on_the_swath_or_its_time_at_each_pixel():
    whole = swath().assign(sigma=(SWATH, np.full((40, 12), 0.2)))
    like = grid(np.arange(0, 3.5, 0.5), np.arange(5, 7.5, 0.5))
    expected = grid_tracks(swath(), like, noise=0.2)
    same_cells(grid_tracks(whole, like, noise="sigma"), expected)
    timed = whole.assign_coords(time=whole.time.expand_dims(num_pixels=12))
    same_cells(grid_tracks(timed, like, variable="ssha", noise="sigma"), expected)


@pytest.mark.parametrize("index", [None, "time", ["time", "lat"]])
def test_a_data_frame_is_its_rows(many, index):
    like = grid(np.arange(-2.0, 6.0), np.arange(175.0, 186.0))
    expected = grid_tracks(many, like, noise="sigma")
    frame = many.to_dataframe().rename(columns={"latitude": "lat", "longitude": "LON"})
    frame = frame.assign(sla=frame.sla.astype("Float64"), time=frame.time.dt.tz_localize("UTC"))
    frame = frame if index is None else frame.set_index(index)
    same_cells(grid_tracks(frame, like, noise="sigma"), expected)
    halves = [frame.iloc[:700], frame.iloc[700:]]
    same_cells(grid_tracks(halves, like, noise="sigma"), expected)


def test_a_data_frame_with_a_column_twice(many):
    frame = many.to_dataframe()
    frame = pd.concat([frame, frame[["sla"]]], axis=1)
    with pytest.raises(DataError, match=r"several columns \['sla'\]. Rename or drop one"):
        grid_tracks(frame, grid([0, 1], [5, 6]))


def test_positions_that_are_a_grid_are_not_points():
    maps = xr.Dataset(
        {"sla": (("latitude", "longitude"), np.zeros((2, 3)))},
        {"latitude": [0.0, 1], "longitude": [5.0, 6, 7], "time": ("latitude", [START, START])},
    )
    with pytest.raises(AxesError, match="for a swath y and x on the same dimensions"):
        grid_tracks(maps, grid([0, 1], [5, 6]))


def test_cells_of_a_curvilinear_grid_are_points_at_every_date():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(0, 3, (6, 7)), rng.uniform(5, 8, (6, 7))
    ocean = xr.Dataset(
        {"sst": (("time", "eta", "xi"), rng.normal(size=(3, 6, 7)))},
        {
            "time": START + np.arange(3) * DAY,
            "lat_rho": (("eta", "xi"), lat, {"units": "degrees_north"}),
            "lon_rho": (("eta", "xi"), lon, {"units": "degrees_east"}),
        },
    )
    like = grid(np.arange(0, 4), np.arange(5, 9))
    found = grid_tracks(ocean, like, noise=0.1)
    flat = ocean.stack(point=("time", "eta", "xi")).reset_index("point")
    same_cells(found, grid_tracks(flat, like, noise=0.1))
    assert int(found.sst_count.sum()) == 3 * 6 * 7


def test_maps_are_scored_along_a_swath_that_is_stacked_as_advised():
    whole = swath().drop_vars(["latitude_nadir", "longitude_nadir"])
    like = grid(np.arange(-1, 5, 0.5), np.arange(4, 8, 0.5), days=4)
    maps = xr.DataArray(np.ones((4, 12, 8)), like.coords, tuple(like.coords), "ssha")
    with pytest.raises(AxesError, match=r"points.stack\(point=.*reset_index\('point'\)"):
        along_track(maps, whole)
    flat = whole.stack(point=["num_lines", "num_pixels"]).reset_index("point")
    assert int(along_track(maps, flat)["count"]) == 480
