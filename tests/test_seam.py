"""Regions across Greenwich or the dateline, in every order that files have them in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes
from hypothesis import given, settings
from hypothesis import strategies as st

import xinverse
from xinverse.constants import KM_PER_DEGREE
from xinverse.errors import GridError
from xinverse.fields.axes import find_axes
from xinverse.fields.coordinates import leading_columns
from xinverse.fields.grid import make_grid
from xinverse.fields.seam import joined

DAY = np.timedelta64(1, "D")
SCALES: dict[str, Any] = {
    "length_scale": 100.0,
    "time_scale": 5.0,
    "noise": 0.1,
    "variance": 1.0,
    "background": 0.0,
}


def region(
    start: float, columns: int = 16, step: float = 0.25, seed: int = 0, days: int = 3
) -> xr.DataArray:
    """A field with gaps, east of a longitude."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(days, 8, columns))
    values[rng.random(values.shape) < 0.6] = np.nan
    return xr.DataArray(
        values,
        dims=("time", "lat", "lon"),
        coords={
            "time": np.datetime64("2020-01-01", "ns") + np.arange(days) * DAY,
            "lat": ("lat", 36 + 0.25 * np.arange(8), {"units": "degrees_north"}),
            "lon": (
                "lon",
                start + step * np.arange(columns),
                {"units": "degrees_east", "valid_max": 360.0},
            ),
            "bottom": (("lat", "lon"), rng.random((8, columns))),
        },
        name="sla",
        attrs={"units": "m"},
    )


def wrapped(da: xr.DataArray, kind: str) -> xr.DataArray:
    """Longitudes from 0 to 360 or from -180 to 180, in the order of the region."""
    turned = da.lon % 360 if kind == "from 0" else (da.lon + 180) % 360 - 180
    return da.assign_coords(lon=("lon", turned.values, da.lon.attrs))


def as_written(da: xr.DataArray) -> xr.DataArray:
    """The same region, its longitudes from 0 to 360 and sorted."""
    return wrapped(da, "from 0").sortby("lon")


GREENWICH = region(-2.0)


@pytest.mark.parametrize(
    ("values", "leading"),
    [
        ([0, 1, 2, 357, 358, 359], 3),
        ([359, 358, 357, 2, 1, 0], 3),
        ([-180, -179, 178, 179], 2),
        ([0.0, 0.25, 359.5, 359.75], 2),
        ([*range(100), *range(200, 360)], 100),
        ([0, 1, 2, 3], 0),
        ([357, 358, 359, 0, 1, 2], 0),
        (range(360), 0),
        ([*range(100), *range(101, 360)], 100),  # one column is missing
        ([0, 120, 240], 0),
        (23.0 + 29 * np.array([0, 1, 2, 3, 4.4, 5.4, 6.4, 7.4, 8.4, 9.4, 10.4, 11.4]), 4),
        ([0, 1, 358, 359, 360], 0),  # the first column twice: another error
        ([3, 1, 2], 0),
        ([5], 0),
    ],
)
def test_a_region_lies_outside_the_widest_hole(values, leading):
    assert leading_columns(np.asarray(list(values), dtype="float64")) == leading


@pytest.mark.parametrize("start", [-2.0, 178.0])
@pytest.mark.parametrize("kind", ["from 0", "from -180"])
def test_the_value_across_the_seam(start, kind):
    """One observation, 44 km from a cell across the seam: 0.81 of it arrives."""
    apart = 0.5 * KM_PER_DEGREE * np.cos(np.deg2rad(36.875))
    right = np.exp(-((apart / 100.0) ** 2)) / (1.0 + 0.1**2)
    da = region(start).copy(data=np.full((3, 8, 16), np.nan))
    da[0, 4, 7] = 1.0
    for other in (da, wrapped(da, kind), wrapped(da, kind).sortby("lon")):
        found = other.inverse.interpolate(**SCALES)
        np.testing.assert_array_equal(found.lon, other.lon)
        column = np.flatnonzero((other.lon.values - da.lon.values[9]) % 360 == 0)[0]
        there = found.sel(lat=37).isel(lon=column)
        assert float(there[0]) == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("descending", [False, True])
def test_results_have_the_order_and_the_labels_of_the_input(lazy, descending):
    da = as_written(GREENWICH).sortby("lon", ascending=not descending)
    da = da.chunk({"lon": 5, "lat": 4}) if lazy else da
    with raise_if_dask_computes():
        found = da.to_dataset().inverse.interpolate(error=True, **SCALES)
    assert found.sla.chunks == found.sla_error.chunks == da.chunks
    xr.testing.assert_identical(found.sla.coords.to_dataset(), da.coords.to_dataset())
    wanted = GREENWICH.to_dataset().inverse.interpolate(error=True, **SCALES)
    for name in ("sla", "sla_error"):
        there = joined(found[name].sortby("lon"))
        np.testing.assert_allclose(there.values, wanted[name].values, rtol=0, atol=1e-6)


def test_companions_and_masks_are_joined_with_the_field():
    rng = np.random.default_rng(1)
    noise = GREENWICH.copy(data=0.1 + rng.random(GREENWICH.shape)).rename("sigma")
    guess = GREENWICH.copy(data=rng.normal(size=GREENWICH.shape)).rename("guess")
    sea = GREENWICH[0].drop_vars("time").copy(data=rng.random((8, 16)) < 0.8).rename("sea")
    options = {**SCALES, "noise": noise, "background": guess}
    wanted = GREENWICH.inverse.interpolate(mask=sea, **options)
    da = as_written(GREENWICH)
    options |= {"noise": as_written(noise), "background": as_written(guess)}
    for mask in (sea, as_written(sea), as_written(sea).values, as_written(sea).values.tolist()):
        found = da.inverse.interpolate(mask=mask, **options)
        there = joined(found)
        np.testing.assert_allclose(there.values, wanted.values, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "verb", ["denoise", "deconvolve", "forecast", "downscale", "plan_tiles", "climatology"]
)
def test_every_verb_joins(verb):
    def call(da: xr.DataArray) -> Any:
        if verb == "plan_tiles":
            return str(xinverse.plan_tiles(da, "oi", **SCALES))
        if verb == "climatology":
            years = np.datetime64("2020-01-01", "ns") + 500 * DAY * np.arange(3)
            return joined(xinverse.climatology(da.fillna(0.0).assign_coords(time=years)))
        if verb == "denoise":
            return joined(da.inverse.denoise(**SCALES))
        if verb == "forecast":
            return joined(da.inverse.forecast(days=2, **SCALES))
        if verb == "deconvolve":
            return joined(da.inverse.deconvolve(psf=np.full((3, 3), 1 / 9), **SCALES))
        fine = region(-2.0 - 0.0625, 32, 0.125)[:, :, :].isel(time=0, drop=True)
        fine = fine.assign_coords(lat=36 - 0.0625 + 0.125 * np.arange(8)).isel(lat=slice(0, 8))
        fine = fine.reindex(lat=36 - 0.0625 + 0.125 * np.arange(16))
        fine.lat.attrs, fine.lon.attrs = da.lat.attrs, da.lon.attrs
        like = as_written(fine) if da.lon.max() > 300 else fine
        result = da.inverse.downscale(like=like, **SCALES)
        np.testing.assert_array_equal(result.lon, like.lon)
        return joined(result)

    wanted, found = call(GREENWICH), call(as_written(GREENWICH))
    if verb == "plan_tiles":
        assert found == wanted
    else:
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found.values, wanted.values, rtol=0, atol=1e-5)


def test_scores_join():
    truth = region(-2.0, seed=3, days=8).fillna(0.3)
    wrong = truth + 0.1 * region(-2.0, seed=4, days=8).fillna(0.0)
    wrong = wrong.assign_attrs(truth.attrs)
    other = [as_written(da) for da in (truth, wrong)]
    currents = [joined(xinverse.scores.geostrophic_currents(da)) for da in (truth, other[0])]
    for name in currents[0]:
        np.testing.assert_allclose(currents[1][name], currents[0][name], atol=1e-9)
    spectra = [xinverse.scores.power_spectrum(da) for da in (truth, other[0])]
    xr.testing.assert_allclose(*spectra)
    bands = [
        xinverse.scores.explained_variance_by_band(a, t)
        for a, t in ((wrong, truth), (other[1], other[0]))
    ]
    xr.testing.assert_allclose(*bands)


def test_points_find_their_cells_across_the_seam():
    truth = region(-2.0, seed=3).fillna(0.3)
    rng = np.random.default_rng(0)
    count = 200
    points = xr.Dataset(
        {"sla": ("obs", rng.normal(size=count))},
        coords={
            "time": ("obs", truth.time.values[rng.integers(0, 3, count)]),
            "latitude": ("obs", rng.uniform(36, 37.5, count)),
            "longitude": ("obs", rng.uniform(-6, 6, count) % 360),  # half outside
        },
    )
    points.sla.attrs["units"] = "m"
    found = [
        xinverse.grid_tracks(points, like=da, noise=0.1) for da in (truth, as_written(truth))
    ]
    np.testing.assert_array_equal(found[1].lon, as_written(truth).lon)
    for name in found[0]:
        np.testing.assert_array_equal(joined(found[1])[name], found[0][name])
    values = [
        xinverse.scores.interpolate_to_points(da, points) for da in (truth, as_written(truth))
    ]
    np.testing.assert_allclose(values[1], values[0], rtol=0, atol=1e-9)
    assert 20 < int(values[0].notnull().sum()) < 120


def test_orbits_see_the_same_cells_across_the_seam():
    truth = region(-2.0, 40, seed=3).fillna(0.3)
    seen = [xinverse.osse.observe(da, "jason") for da in (truth, as_written(truth))]
    assert int(seen[0].sla_count.sum()) > 0
    np.testing.assert_array_equal(joined(seen[1]).sla_count, seen[0].sla_count)
    days, lat = np.arange(3.0), truth.lat.values
    lon, order = truth.lon.values, np.argsort(truth.lon.values % 360)
    one = xinverse.osse.sample_tracks(days, lat, lon)
    two = xinverse.osse.sample_tracks(days, lat, lon[order] % 360)
    np.testing.assert_array_equal(order[two[2]], one[2])


def test_training_fields_are_joined():
    seen = xinverse.TrainingFields(
        as_written(GREENWICH.fillna(0.0)),
        as_written(GREENWICH),
        mask=as_written(GREENWICH.bottom > 0.3).values,
    )
    for fields in (seen.truth, seen.observations):
        np.testing.assert_array_equal(fields[0].lon, GREENWICH.lon % 360)
    np.testing.assert_array_equal(seen.mask, GREENWICH.bottom > 0.3)


@pytest.mark.parametrize("start", [-2.0, 178.0, 90.0, -91.0])
@pytest.mark.parametrize("kind", ["from 0", "from -180"])
def test_the_advice_of_the_error_works(start, kind):
    """What reads a grid without joining it raises, and the line that it gives is right."""
    da = wrapped(region(start), kind).sortby("lon")
    if start in (90.0, -91.0):  # a cut at another meridian: half of the globe's columns
        shifted = 3.0 * np.arange(100) + start
        da = region(start, 100).assign_coords(lon=("lon", shifted, da.lon.attrs))
        da = wrapped(da, kind).sortby("lon")
    axes = find_axes(da)
    if not leading_columns(da.lon.values):
        assert make_grid(da, axes).regular_space
        return
    with pytest.raises(GridError, match="sorted across the seam of the globe") as raised:
        make_grid(da, axes)
    line = str(raised.value).partition("Expected contiguous longitudes: ")[2].rstrip(".")
    mended = eval(line, {"obj": da})
    grid = make_grid(mended, axes)
    assert grid.regular_space
    assert abs(grid.x[-1] - grid.x[0]) < 300
    np.testing.assert_allclose(joined(da).values, mended.values)


def test_a_repeated_column_behind_the_seam_is_named():
    da = region(0.0, 5).assign_coords(lon=("lon", [0.0, 1, 358, 359, 360], GREENWICH.lon.attrs))
    with pytest.raises(GridError, match=r"last longitude of 'lon' \(360\) repeats the first"):
        da.inverse.interpolate(**SCALES)
    fixed = da.isel(lon=slice(None, -1)).inverse.interpolate(**SCALES)
    np.testing.assert_array_equal(fixed.lon, [0, 1, 358, 359])


@st.composite
def written(draw: st.DrawFn) -> tuple[xr.DataArray, xr.DataArray]:
    """A contiguous region, and the same one as a file may hold it."""
    start = draw(st.sampled_from([-180.0, -2.0, 0.0, 178.0, 359.0]) | st.integers(-360, 720))
    columns, step = draw(st.integers(3, 12)), draw(st.sampled_from([0.25, 1.0, 5.0, 29.0]))
    da = region(float(start), columns, step, draw(st.integers(0, 99)))
    da = da.isel(time=slice(2), lat=slice(4))
    da.values[0, 0, 0] = 0.5
    other = wrapped(da, draw(st.sampled_from(["from 0", "from -180"])))
    if draw(st.booleans()):
        other = other.sortby("lon", ascending=draw(st.booleans()))
    elif draw(st.booleans()):
        other = other.isel(lon=slice(None, None, -1))
    if draw(st.booleans()):
        other = other.isel(lat=slice(None, None, -1))
    if draw(st.booleans()):
        sizes = {"lon": draw(st.integers(1, columns)), "lat": draw(st.integers(1, 4))}
        other = other.chunk(sizes)
    return da, other.transpose(*draw(st.permutations(other.dims)))


@given(case=written())
@settings(max_examples=max(40, settings.default.max_examples), deadline=None)
def test_any_way_to_write_longitudes_gives_the_contiguous_region(case):
    da, other = case
    options = {**SCALES, "length_scale": 100.0 * float(da.lon[1] - da.lon[0]) / 0.25}
    wanted = da.inverse.interpolate(**options)
    found = other.inverse.interpolate(**options)
    assert found.dims == other.dims
    assert found.chunks == other.chunks
    xr.testing.assert_identical(found.coords.to_dataset(), other.coords.to_dataset().compute())
    turned = found.compute().transpose("time", "lat", "lon")
    column = np.argmin(
        np.abs((turned.lon.values[None] - da.lon.values[:, None] + 180) % 360 - 180), axis=1
    )
    turned = turned.isel(lon=column).sel(lat=da.lat)
    np.testing.assert_allclose(turned.values, wanted.values, rtol=0, atol=2e-5)


def test_nothing_else_is_reordered():
    """Contiguous longitudes, projected axes and tracks come back as the same object."""
    track = xr.Dataset(coords={"longitude": ("obs", [1.0, 359.0]), "obs": [0, 1]})
    metres = GREENWICH.assign_coords(lon=("lon", 1e3 * np.arange(16), {"units": "m"}))
    for obj in (GREENWICH, wrapped(GREENWICH, "from 0"), metres, track):
        assert joined(obj) is obj
