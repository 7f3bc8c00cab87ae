"""The verb: what goes in comes out, whole, with its labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes
from strategies import Layout, build

import xinverse
from xinverse.tiling import plan

SHAPE = (6, 10, 14)
DIMS = ("time", "lat", "lon")
# Cut in two along each axis, so that the plan of turned data is the turned plan.
TILES = plan(SHAPE, (3, 5, 7), (1, 2, 3))
OPTIONS = {"length_scale": 60, "time_scale": 2, "background": 0.0}


def sea_level(**layout) -> xr.DataArray:
    return build(Layout(shape=layout.pop("shape", SHAPE), **layout))


def fill(obj, **more):
    return obj.inverse.interpolate(**OPTIONS | more)


def assert_close(result: xr.DataArray, expected: xr.DataArray, within: float = 1e-5) -> None:
    """Equal to a share of the standard deviation, NaN in the same places."""
    result, expected = np.asarray(result), np.asarray(expected)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    assert np.nanmax(abs(result - expected)) <= within * np.nanstd(expected)


class TestLabels:
    @pytest.mark.parametrize(
        "order", [DIMS, ("lon", "time", "lat"), ("lat", "depth", "lon", "time")]
    )
    def test_labels_come_back(self, order):
        data = sea_level(order=order, extra=("depth",) if "depth" in order else ())
        before = data.copy(deep=True)
        result = fill(data)
        xr.testing.assert_identical(data, before)
        assert result.dims == order
        assert result.name == "sla"
        assert list(result.coords) == list(data.coords)
        xr.testing.assert_identical(
            result.coords.to_dataset(), data.coords.to_dataset().drop_encoding()
        )
        assert not result.isnull().any()

    def test_attributes_stay_and_history_is_prepended(self):
        data = sea_level(attrs={"history": "made up"})
        result = fill(data, tile=TILES)
        line, *older = result.attrs["history"].split("\n")
        assert older == ["made up"]
        assert "xinverse" in line
        assert "interpolate(method='oi', background=0.0" in line
        assert "length_scale=60" in line
        assert {**result.attrs, "history": "made up"} == data.attrs

    def test_stale_encodings_are_dropped(self):
        data = sea_level()
        data.encoding = {"dtype": "int16", "scale_factor": 0.1, "chunks": (1, 1, 1)}
        data.lat.encoding = {"dtype": "float32"}
        for obj in (data, data.to_dataset()):
            result = fill(obj)
            variables = {"": result, **result.coords} if obj is data else result.variables
            assert all(v.encoding == {} for v in variables.values())

    @pytest.mark.parametrize(
        ("dtype", "expected"),
        [("<f4", "f4"), (">f4", "f4"), ("<f8", "f8"), (">f8", "f8"), ("<f2", "f4")],
    )
    def test_floats_keep_their_precision_in_native_order(self, dtype, expected):
        result = fill(sea_level(dtype=dtype))
        assert result.dtype == np.dtype(expected)
        assert result.dtype.isnative
        native = fill(sea_level(dtype=dtype).astype(expected))
        np.testing.assert_array_equal(result, native)

    @pytest.mark.parametrize("as_dataset", [False, True])
    def test_packed_integers_are_unpacked(self, as_dataset):
        plain = sea_level(dtype="<f4")
        packed = (plain * 10).round().fillna(-999).astype(">i2").assign_attrs(plain.attrs)
        packed.attrs |= {"scale_factor": np.float32(0.1), "_FillValue": np.int16(-999)}
        expected = fill(xr.decode_cf(packed.to_dataset()).sla)
        result = fill(packed.to_dataset() if as_dataset else packed)
        result = result.sla if as_dataset else result
        assert result.dtype == expected.dtype == np.float32
        assert not {"scale_factor", "_FillValue"} & set(result.attrs)
        assert_close(result, expected)
        assert_close(result, fill(plain), within=0.01)

    def test_an_array_without_a_name_stays_without(self):
        data = sea_level().rename(None)
        assert fill(data).name is None
        both = fill(data, error=True)
        assert list(both) == ["field", "field_error"]

    def test_a_result_survives_a_store(self, tmp_path):
        data = sea_level(chunks={"time": 2})
        result = fill(data.drop_vars(["depth_of_bottom", "source"]).to_dataset(), error=True)
        result.to_zarr(tmp_path / "l4.zarr", consolidated=False)
        with xr.open_zarr(tmp_path / "l4.zarr", consolidated=False) as stored:
            xr.testing.assert_allclose(stored, result)
            assert stored.sla.attrs["history"] == result.sla.attrs["history"]


class TestDatasets:
    def l3(self) -> xr.Dataset:
        data = sea_level()
        ds = data.to_dataset()
        ds["sst"] = sea_level(order=("lon", "lat", "time"), dtype="<f4").rename("sst") + 300
        ds["sla_count"] = data.notnull().astype("i4")
        ds["sla_noise"] = xr.full_like(data, 3.0)
        ds["sla_noise"].attrs = {"standard_name": "sea_surface_height standard_error"}
        ds["level"] = data.isel(time=0, drop=True)
        ds["mean_dynamic"] = data.where(data.lat > -17).rename("mean_dynamic")
        ds["sla"].attrs["ancillary_variables"] = "sla_noise mean_dynamic"
        ds["pass"] = ("time", np.arange(SHAPE[0]))
        return ds.assign_attrs(title="made up")

    def test_fields_are_filled_and_the_others_left_alone(self):
        ds = self.l3()
        result = fill(ds)
        assert list(result.variables) == list(ds.variables)
        for name in ("sla", "sst"):
            assert not result[name].isnull().any()
            assert_close(result[name], fill(ds[name]))
            assert result[name].dims == ds[name].dims
        others = ["sla_count", "sla_noise", "level", "mean_dynamic", "pass"]
        xr.testing.assert_identical(
            result[others].drop_attrs(deep=False),
            ds[others].drop_attrs(deep=False).drop_encoding(),
        )
        assert result.attrs["title"] == "made up"
        assert "interpolate(method='oi'" in result.attrs["history"]

    def test_a_variable_is_named_for_noise_and_not_filled(self):
        ds = self.l3()
        ds["sla_noise"].attrs = {}
        ds["sla"].attrs.pop("ancillary_variables")
        result = fill(ds[["sla", "sla_noise"]], noise="sla_noise")
        xr.testing.assert_equal(result.sla_noise, ds.sla_noise)
        assert_close(result.sla, fill(ds.sla, noise=3.0))
        assert_close(result.sla, fill(ds.sla, noise=ds.sla_noise))

    def test_what_comes_back_is_what_came(self):
        data = sea_level()
        assert isinstance(fill(data), xr.DataArray)
        assert list(fill(data, error=True)) == ["sla", "sla_error"]
        assert list(fill(data, members=2)) == ["sla", "sla_members"]
        whole = fill(data.to_dataset(), error=True, members=2)
        assert list(whole) == ["sla", "sla_error", "sla_members"]
        assert_close(fill(data, error=True).sla, fill(data), within=1e-12)

    def test_lazy_and_eager_variables_live_together(self):
        ds = self.l3()[["sla", "sst"]]
        ds["sst"] = ds.sst.chunk({"time": 2})
        with raise_if_dask_computes():
            result = fill(ds, variables=["sla", "sst"])
        assert result.sla.chunks is None
        assert result.sst.chunks == ds.sst.chunks


def test_each_element_of_an_extra_dimension_is_filled_by_itself():
    data = sea_level(extra=("depth", "member"), order=("depth", "time", "lat", "lon", "member"))
    result = fill(data, tile=TILES)
    for depth in range(2):
        for member in range(2):
            at = {"depth": depth, "member": member}
            np.testing.assert_array_equal(result.isel(at), fill(data.isel(at), tile=TILES))


class TestDirections:
    @pytest.mark.parametrize("turned", [("lat",), ("lon",), ("lat", "lon")])
    def test_descending_is_ascending_turned(self, turned):
        data = sea_level()
        back = {name: slice(None, None, -1) for name in turned}
        more = {"tile": TILES, "error": True, "members": 1, "keep_observed": True}
        mask = np.ones(SHAPE[1:], bool)
        mask[:3, :2] = False
        mask = xr.DataArray(mask, {d: data[d] for d in DIMS[1:]}, DIMS[1:])
        expected = fill(data, mask=mask, **more)
        result = fill(data.isel(back), mask=mask, **more).isel(back)
        for name in expected:
            assert_close(result[name], expected[name])
            xr.testing.assert_equal(result[name].coords.to_dataset(), data.coords.to_dataset())

    def test_where_the_longitudes_are_cut_does_not_matter(self):
        shape = (3, 8, 36)
        tiles = plan(shape, (3, 8, 18), (0, 0, 6), periodic=True)
        scales = {"length_scale": 1500, "tile": tiles}
        data = sea_level(shape=shape, longitude="from 0")
        expected = fill(data, **scales)
        rolled = data.roll(lon=18, roll_coords=True)
        rolled = rolled.assign_coords(lon=("lon", np.arange(-180.0, 180, 10), data.lon.attrs))
        result = fill(rolled, **scales)
        assert_close(result.roll(lon=-18), expected)
        unwrapped = sea_level(shape=shape, longitude="unwrapped later")
        assert_close(fill(unwrapped.copy(data=data.values), **scales), expected)

    def test_a_region_may_lie_across_the_dateline(self):
        data = sea_level(longitude="dateline")
        assert data.lon[0] > data.lon[-1]
        moved = data.assign_coords(lon=("lon", 10.0 + np.arange(SHAPE[2]), data.lon.attrs))
        assert_close(fill(data, tile=TILES), fill(moved, tile=TILES))

    @pytest.mark.parametrize("tiles", [1, 3])
    @pytest.mark.parametrize("chunks", [None, {"lon": 9}])
    def test_the_halo_wraps_at_the_dateline(self, tiles, chunks):
        shape = (1, 5, 360)
        data = sea_level(shape=shape, longitude="from -180").drop_vars("depth_of_bottom")
        data = data.assign_coords(lon=("lon", np.arange(-179.5, 180), data.lon.attrs))
        data[:] = np.nan
        data[0, 2, 359] = 1.0
        lazy = data if chunks is None else data.chunk(chunks)
        result = fill(lazy, length_scale=300, tile={"x": 360 // tiles}).isel(time=0, lat=2)
        np.testing.assert_allclose(result.sel(lon=-179.5), result.sel(lon=178.5), rtol=1e-4)
        np.testing.assert_allclose(result.sel(lon=-177.5), result.sel(lon=176.5), rtol=1e-4)
        assert result.sel(lon=-179.5) > 0.8
        assert abs(result.sel(lon=0.5)) < 1e-6


class TestCoordinates:
    def projected(self, unit: str, scale: float) -> xr.DataArray:
        data = sea_level().drop_vars(["depth_of_bottom"])
        y, x = (10.0 * scale * np.arange(n) for n in SHAPE[1:])
        data = data.rename(lat="y", lon="x")
        return data.assign_coords(y=("y", y, {"units": unit}), x=("x", x, {"units": unit}))

    def test_metres_are_kilometres(self):
        near = fill(self.projected("km", 1), length_scale=25, tile=TILES)
        far = fill(self.projected("m", 1000), length_scale=25, tile=TILES)
        assert_close(far, near)

    @pytest.mark.parametrize("calendar", ["noleap", "360_day"])
    def test_any_calendar_counts_its_days(self, calendar):
        # Three days across the end of February, with and without a 29th.
        shape = (3, *SHAPE[1:])
        expected = fill(sea_level(shape=shape))
        result = fill(sea_level(shape=shape, calendar=calendar))
        np.testing.assert_array_equal(result, expected)
        assert result.indexes["time"].dtype == object

    def test_times_need_not_be_regular(self):
        data = sea_level()
        times = pd.to_datetime(
            ["2020-01-01", *pd.date_range("2020-01-02", periods=5, freq="40h")]
        )
        uneven = data.assign_coords(time=times)
        days = (times - times[0]) / pd.Timedelta("1D")
        numbers = data.assign_coords(time=("time", days, {"units": "days"}))
        assert_close(fill(uneven), fill(numbers))
        assert np.abs(fill(uneven) - fill(data).values).max() > 1

    def test_one_time_step_is_a_series_too(self):
        data = sea_level(shape=(1, *SHAPE[1:]))
        assert not fill(data).isnull().any()

    def test_dimensions_may_be_named(self):
        data = sea_level()
        odd = data.rename(time="a", lat="b", lon="c")
        for name in "bc":
            odd[name].attrs = {"units": "degrees"}
        odd = odd.assign_coords(
            b=odd.b.assign_attrs(units="km"), c=odd.c.assign_attrs(units="km")
        )
        result = fill(odd, dims={"time": "a", "y": "b", "x": "c"})
        assert result.dims == ("a", "b", "c")


class TestLand:
    def mask(self, data: xr.DataArray) -> xr.DataArray:
        sea = np.ones(SHAPE[1:], bool)
        sea[:4, 5:] = sea[7, 2] = False
        return xr.DataArray(sea, {d: data[d] for d in DIMS[1:]}, DIMS[1:])

    @pytest.mark.parametrize("chunks", [None, {"lat": 3, "time": 2}])
    def test_land_is_nan_and_every_sea_cell_filled(self, chunks):
        data = sea_level(chunks=chunks)
        mask = self.mask(data)
        result = fill(data, mask=mask, error=True, members=1, tile=TILES).compute()
        for name in result.data_vars:
            missing = result[name].isnull()
            assert (
                missing.where(~mask, False).sum() == (~mask).sum() * missing.size // mask.size
            )
            assert not missing.where(mask, False).any()

    def test_what_was_observed_on_land_does_not_count(self):
        data = sea_level()
        mask = self.mask(data)
        wrong = data.where(mask, 1e4)
        assert_close(fill(wrong, mask=mask), fill(data.where(mask), mask=mask), within=1e-12)

    def test_masks_may_be_given_in_every_way(self):
        data = sea_level()
        mask = self.mask(data)
        expected = fill(data, mask=mask)
        ds = data.to_dataset()
        land = (~mask).astype("i1").assign_attrs(standard_name="land_binary_mask")
        ways = [
            fill(data, mask=mask.values),
            fill(data, mask=mask.transpose().astype("f4")),
            fill(data.assign_coords(wet=mask), mask="wet"),
            fill(data.assign_coords(dry=land)),
            fill(ds.assign(wet=mask), mask="wet").sla,
            fill(ds.assign(dry=land)).sla,
            fill(ds, mask=land).sla,
        ]
        for way in ways:
            np.testing.assert_array_equal(way, expected)

    def test_where_nothing_tells_land_every_cell_is_filled(self):
        data = sea_level().where(self.mask(sea_level()))
        assert not fill(data).isnull().any()

    def test_a_tile_of_land_needs_no_observation(self):
        data = sea_level()
        mask = xr.zeros_like(self.mask(data))
        mask[5:, 7:] = True
        result = fill(data.where(mask), mask=mask, background=None, tile=TILES)
        np.testing.assert_array_equal(result.notnull().all("time"), mask)


class TestOutputs:
    def test_observations_are_analysed_unless_they_are_kept(self):
        data = sea_level()
        seen = data.notnull()
        analysed, kept = fill(data, tile=TILES), fill(data, tile=TILES, keep_observed=True)
        assert float(abs(analysed - data).max()) > 0.1
        np.testing.assert_allclose(kept.where(seen), data, rtol=1e-12)
        assert_close(kept.where(~seen), analysed.where(~seen), within=1e-12)

    def test_the_error_has_the_fields_units_and_a_name_that_says_so(self):
        data = sea_level(attrs={"long_name": "sea level"})
        both = fill(data, error=True)
        assert both.sla.attrs["ancillary_variables"] == "sla_error"
        assert both.sla_error.attrs == {
            "long_name": "sea level analysis error, one standard deviation",
            "standard_name": "sea_surface_height standard_error",
            "units": "m",
        }
        assert both.sla_error.dims == data.dims
        assert both.sla_error.dtype == data.dtype

    def test_the_error_grows_away_from_the_observations(self):
        data = sea_level()
        data = data.where((data.lon < data.lon[3]) & (data.time == data.time[0]))
        error = fill(data, error=True, variance=4.0, noise=0.5, time_scale=1).sla_error
        assert float(error.min()) > 0
        assert float(error.max()) <= 2.0 + 1e-6
        assert (error.where(data.notnull()).max() < 0.5).all()
        assert error.isel(time=-1).min() > 1.9

    def test_members_have_the_mean_and_the_error_of_the_analysis(self):
        data = sea_level()
        result = fill(data, error=True, members=50, variance=400.0, noise=4.0, tile=TILES)
        members = result.sla_members
        assert members.dims == ("member", *data.dims)
        assert members.attrs == data.attrs
        error = result.sla_error
        away = (members.mean("member") - result.sla) / error
        assert abs(float(away.mean())) < 0.1
        spread = members.std("member", ddof=1) / error
        assert float((spread**2).mean()) == pytest.approx(1, abs=0.08)

    def test_members_follow_the_seed(self):
        data = sea_level()
        first, again, other = (fill(data, members=2, seed=s).sla_members for s in (0, 0, 1))
        xr.testing.assert_equal(first, again)
        assert abs(first - other).max() > 1
        assert abs(first[0] - first[1]).max() > 1

    def test_a_bar_is_shown_where_it_is_wanted(self, capsys):
        fill(sea_level(), tile=TILES, progress=True)
        assert "8/8" in capsys.readouterr().err
        with xinverse.set_options(progress=True):
            fill(sea_level(), tile=TILES)
        assert "8/8" in capsys.readouterr().err
        fill(sea_level(), tile=TILES)
        assert capsys.readouterr().err == ""


def gaussian(a: np.ndarray, b: np.ndarray, scale: float) -> np.ndarray:
    return np.exp(-(((a[:, None] - b) / scale) ** 2))


def simulated(
    shape: tuple[int, int, int], share: float, runs: int = 1
) -> tuple[xr.DataArray, xr.DataArray]:
    """Fields drawn from the prior (30 km, 2 days, variance 1), and noisy samples of them."""
    rng = np.random.default_rng(0)
    axes = [1.0 * np.arange(shape[0]), 10.0 * np.arange(shape[1]), 10.0 * np.arange(shape[2])]
    roots = []
    for axis, scale in zip(axes, (2.0, 30.0, 30.0), strict=True):
        values, vectors = np.linalg.eigh(gaussian(axis, axis, scale))
        roots.append(vectors * np.sqrt(values.clip(0)))
    white = rng.normal(size=(runs, *shape))
    truth = np.einsum("at,by,cx,rtyx->rabc", *roots, white, optimize=True)
    sampled = np.where(rng.random(truth.shape) < share, truth, np.nan)
    sampled += 0.3 * rng.normal(size=truth.shape)
    coords = {
        name: (name, axis, {"units": unit})
        for name, axis, unit in zip(("time", "y", "x"), axes, ("days", "km", "km"), strict=True)
    }
    dims = ("run", "time", "y", "x")
    return xr.DataArray(truth, coords, dims), xr.DataArray(sampled, coords, dims)


KNOWN = {"length_scale": 30, "time_scale": 2, "noise": 0.3, "variance": 1.0, "background": 0.0}


def test_the_result_is_the_posterior_of_the_whole_grid():
    _, data = simulated((3, 7, 8), share=0.3)
    data = data.isel(run=0)
    result = data.inverse.interpolate(error=True, **KNOWN)
    points = np.stack(np.meshgrid(data.time, data.y, data.x, indexing="ij"), -1).reshape(-1, 3)
    prior = np.ones((len(points),) * 2)
    for axis, scale in enumerate((2.0, 30.0, 30.0)):
        prior *= gaussian(points[:, axis], points[:, axis], scale)
    seen = np.isfinite(data.values.ravel())
    gain = prior[:, seen] @ np.linalg.inv(prior[np.ix_(seen, seen)] + 0.09 * np.eye(seen.sum()))
    mean = gain @ data.values.ravel()[seen]
    error = np.sqrt(np.diag(prior - gain @ prior[seen]))
    name = next(iter(result))
    np.testing.assert_allclose(result[name].values.ravel(), mean, atol=1e-4)
    np.testing.assert_allclose(result[f"{name}_error"].values.ravel(), error, atol=1e-3)


WHOLE = plan((6, 64, 64), (6, 64, 64), (0, 0, 0))


@pytest.mark.parametrize(("halo", "largest", "usual"), [(6, 0.1, 0.01), (12, 0.005, 0.0005)])
def test_a_tile_equals_the_whole(halo, largest, usual):
    """In standard deviations of the field; 6 cells are the halo of two scales that oi takes."""
    _, data = simulated((6, 64, 64), share=0.05)
    tiles = plan((6, 64, 64), (6, 16, 16), (0, halo, halo))
    assert tiles.size == 16
    whole = data.inverse.interpolate(tile=WHOLE, **KNOWN)
    tiled = data.inverse.interpolate(tile=tiles, **KNOWN)
    difference = abs(tiled - whole)
    assert float(difference.max()) < largest
    assert float(np.sqrt((difference**2).mean())) < usual


@pytest.mark.parametrize(
    ("shape", "tile"), [((6, 64, 64), {"y": 16, "x": 16}), ((32, 24, 24), {"time": 8})]
)
def test_there_is_no_seam(shape, tile):
    """The error along the edges of tiles, and the steps over them, are those elsewhere."""
    truth, data = simulated(shape, share=0.05, runs=12)
    tiled = data.inverse.interpolate(tile=tile, **KNOWN)
    whole = data.inverse.interpolate(tile=plan(shape, shape, (0, 0, 0)), **KNOWN)
    counts = xinverse.plan_tiles(data, tile=tile, **KNOWN).counts
    assert counts == tuple(
        n // tile.get(axis, n) for n, axis in zip(shape, ("time", "y", "x"), strict=True)
    )
    edge = np.zeros(shape, bool)
    for axis, (size, count) in enumerate(zip(shape, counts, strict=True)):
        for cut in range(size // count, size, size // count):
            near = np.arange(size)[cut - 2 : cut + 2]
            edge[(*[slice(None)] * axis, near)] = True

    def excess(field: xr.DataArray, squared) -> float:
        """What is found at the edges, as a share of what is found elsewhere."""
        values = squared(field).values
        return float(np.sqrt(values[..., edge].mean() / values[..., ~edge].mean()))

    def steps(field: xr.DataArray) -> xr.DataArray:
        return sum(field.differentiate(name) ** 2 for name in ("time", "y", "x"))

    for squared in (lambda field: (field - truth) ** 2, steps):
        assert excess(tiled, squared) < 1.02
        # The same cells in the whole solve, so that the draw of the field does not count.
        assert excess(tiled, squared) == pytest.approx(excess(whole, squared), rel=0.02)
