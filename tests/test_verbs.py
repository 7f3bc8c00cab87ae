"""What every verb keeps: labels, laziness, chunks, datasets; and the grids of downscale."""

from __future__ import annotations

from collections.abc import Callable

import dask
import numpy as np
import pytest
import verb_cases as dense
import xarray as xr
from dask_counting import raise_if_dask_computes

import xinverse
from xinverse.tiling import plan

SCALES = {"length_scale": 60.0, "time_scale": 2.0}
OPTIONS = {"background": 0.0, "noise": 0.3, "variance": 1.0, **SCALES}
SHAPE = (6, 8, 10)
Y, X = 30 + 0.25 * np.arange(8), 5 + 0.25 * np.arange(10)
LIKE = dense.labelled(
    np.zeros((1, 16, 20)),
    Y[0] - 0.0625 + 0.125 * np.arange(16),
    X[0] - 0.0625 + 0.125 * np.arange(20),
    degrees=True,
)
METHODS = ["oi", "tikhonov", "tv"]

# Each verb with what it cannot do without.
VERBS: dict[str, Callable[..., xr.DataArray]] = {
    "denoise": xinverse.denoise,
    "deconvolve": lambda obj, method="oi", **o: xinverse.deconvolve(obj, method, psf=30.0, **o),
    "downscale": lambda obj, method="oi", **o: xinverse.downscale(obj, LIKE, method, **o),
    "forecast": lambda obj, method="oi", **o: xinverse.forecast(obj, 2, method, **o),
}
EACH = pytest.mark.parametrize("verb", VERBS)


def series(seed: int = 0, **options) -> xr.DataArray:
    values = dense.with_gaps(np.random.default_rng(seed).normal(size=SHAPE), 0.2)
    return dense.labelled(values, Y, X, degrees=True, **options)


def same(found: xr.DataArray, expected: xr.DataArray, atol: float) -> None:
    np.testing.assert_array_equal(found.isnull(), expected.isnull())
    assert float(abs(found - expected).max()) <= atol


@EACH
@pytest.mark.parametrize("method", METHODS)
def test_lazy_is_eager(verb, method):
    """Nothing is computed at the call, and chunks are those of the input."""
    data = series()
    options = OPTIONS | ({"error": True, "members": 2} if method == "oi" else {})
    expected = VERBS[verb](data, method, **options)
    lazy = data.chunk({"time": 4, "lat": 5, "lon": 4})
    with raise_if_dask_computes():
        promised = VERBS[verb](lazy, method, **options)
    found = promised.compute(scheduler="synchronous")
    pairs = [(found, expected)]
    if method == "oi":
        pairs = [(found[name], expected[name]) for name in expected.data_vars]
    for one, other in pairs:
        same(one, other, 1e-5)
    mean = promised.ssh if method == "oi" else promised
    assert dask.is_dask_collection(mean)
    if verb in ("denoise", "deconvolve"):
        assert mean.chunks == lazy.chunks
    if verb == "downscale":
        assert mean.chunks == ((4, 2), (10, 6), (8, 8, 4))
    if verb == "forecast":
        assert mean.chunks[1:] == lazy.chunks[1:]


@EACH
@pytest.mark.parametrize("method", METHODS)
def test_tiles_join_to_the_whole(verb, method):
    """A halo of two scales and more; what is farther changes a cell by 1 % at most."""
    data = series()
    fine = 2 if verb == "downscale" else 1
    shape = (8 if verb == "forecast" else 6, 8 * fine, 10 * fine)
    tiles = plan(shape, (shape[0], 5 * fine, 5 * fine), (0, 4 * fine, 5 * fine))
    expected = VERBS[verb](data, method, **OPTIONS)
    found = VERBS[verb](data, method, tile=tiles, **OPTIONS)
    same(found, expected, 0.1 if method == "tv" else 0.02)


@EACH
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_labels_come_back(verb, dtype):
    """Names, units, other attributes, dimension order, dtype, and a line of history."""
    data = series().astype(dtype).transpose("lon", "time", "lat")
    data.attrs["history"] = "made in a test"
    found = VERBS[verb](data, **OPTIONS)
    assert (found.name, found.dims, found.dtype) == (data.name, data.dims, data.dtype)
    kept = {k: v for k, v in data.attrs.items() if k != "history"}
    assert kept.items() <= found.attrs.items()
    first, second = found.attrs["history"].splitlines()
    assert f"{verb}(" in first
    assert "method='oi'" in first
    assert second == "made in a test"
    for name in ("lat", "lon"):
        assert found[name].attrs["units"] == data[name].attrs["units"]
    expected = {"lat": LIKE.lat, "lon": LIKE.lon} if verb == "downscale" else data.coords
    for name in ("lat", "lon"):
        np.testing.assert_array_equal(found[name], expected[name])


@EACH
def test_every_depth_is_solved_by_itself(verb):
    one, two = series(1), series(2)
    both = xr.concat([one, two], xr.Variable("depth", [0.0, 10.0], {"units": "m"}))
    both = both.transpose("time", "depth", "lat", "lon")
    found = VERBS[verb](both, **OPTIONS)
    assert found.dims == both.dims
    assert found.depth.attrs == {"units": "m"}
    for k, alone in enumerate((one, two)):
        expected = VERBS[verb](alone, **OPTIONS)
        same(found.isel(depth=k, drop=True), expected, 1e-6)


@EACH
def test_a_dataset_comes_back_as_one(verb):
    """Every field of it; variables on other axes are kept where the grid is."""
    data = series()
    ds = xr.Dataset({"ssh": data, "sst": series(3)}, attrs={"title": "two fields"})
    ds["depth"] = ("lat", "lon"), np.ones(SHAPE[1:])
    found = VERBS[verb](ds, error=True, **OPTIONS)
    results = {"ssh", "ssh_error", "sst", "sst_error"}
    same_grid = verb in ("denoise", "deconvolve")
    assert set(found.data_vars) == results | ({"depth"} if same_grid else set())
    assert found.attrs["title"] == "two fields"
    assert f"{verb}(" in found.attrs["history"]
    same(found.ssh, VERBS[verb](data, **OPTIONS), 0)
    assert found.ssh.attrs["ancillary_variables"] == "ssh_error"
    assert found.ssh_error.attrs["units"] == "m"


def test_the_accessor_calls_the_function():
    data = series()
    calls = {
        "denoise": {"noise": 0.3},
        "deconvolve": {"psf": 30.0, "noise": 0.3},
        "downscale": {"like": LIKE, "noise": 0.3},
        "forecast": {"days": 2, "noise": 0.3},
    }
    for verb, given in calls.items():
        options = given | {"background": 0.0, **SCALES}
        expected = getattr(xinverse, verb)(data, **options)
        xr.testing.assert_equal(getattr(data.inverse, verb)(**options), expected)


@EACH
def test_noise_may_be_a_field(verb):
    """Where it is large, the observation hardly counts; a forecast takes a number."""
    data = series()
    noise = xr.where(data.lon < 6, 0.3, 30.0).broadcast_like(data)
    if verb == "forecast":
        with pytest.raises(xinverse.errors.OptionError, match="noise: expected a number"):
            VERBS[verb](data, **OPTIONS | {"noise": noise})
        return
    found = VERBS[verb](data, **OPTIONS | {"noise": noise})
    near = VERBS[verb](data, **OPTIONS)
    without = VERBS[verb](data.where(data.lon < 6), **OPTIONS)
    assert float(abs(found - near).max()) > 0.1
    both = without.notnull() & found.notnull()
    assert float(abs(found - without).where(both).max()) < 0.05


@EACH
def test_land_is_nan(verb):
    sea = np.ones((16, 20) if verb == "downscale" else SHAPE[1:], bool)
    sea[: len(sea) // 2, :3] = False
    found = VERBS[verb](series(), mask=sea, **OPTIONS)
    assert np.isnan(found.to_numpy()[:, ~sea]).all()
    if verb != "denoise":
        assert np.isfinite(found.to_numpy()[:, sea]).all()


# The grids of downscale ----------------------------------------------------------------


def test_a_cell_that_is_covered_in_part_does_not_count():
    """The mean over a cell whose other part lies beyond ``like`` says nothing exact."""
    data = series()
    inner = LIKE.isel(lat=slice(3, 13), lon=slice(2, 18))
    found = xinverse.downscale(data, inner, **OPTIONS)
    # Rows 1.5 to 6.5 and columns 1 to 9 of the coarse grid are covered.
    whole = data.isel(lat=slice(2, 6), lon=slice(1, 9))
    expected = xinverse.downscale(whole, inner, **OPTIONS)
    same(found, expected, 1e-6)
    changed = data.copy(data=data.to_numpy().copy())
    changed[:, 1] += 100.0
    same(xinverse.downscale(changed, inner, **OPTIONS), found, 1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize("which", ["coarse", "fine", "both"])
def test_latitudes_may_descend(which, lazy, method):
    data, like = series(), LIKE
    expected = xinverse.downscale(data, like, method, **OPTIONS)
    if which != "fine":
        data = data.isel(lat=slice(None, None, -1))
    if which != "coarse":
        like = like.isel(lat=slice(None, None, -1))
    if lazy:
        data = data.chunk({"lat": 3, "time": 2})
    found = xinverse.downscale(data, like, method, **OPTIONS)
    np.testing.assert_array_equal(found.lat, like.lat)
    same(found.compute(scheduler="synchronous"), expected, 1e-5)


def globe(fine: int, start: float) -> xr.DataArray:
    """Bands round the globe, in cells of 30 degrees cut in ``fine`` parts."""
    step = 30 / fine
    y = -30 + step * (0.5 + np.arange(2 * fine))
    x = start + step * (0.5 + np.arange(12 * fine))
    values = np.random.default_rng(3).normal(size=(2, y.size, x.size))
    return dense.labelled(values, y, x, degrees=True)


WIDE = {"background": 0.0, "noise": 0.1, "variance": 1.0, "time_scale": 2.0}


@pytest.mark.parametrize("starts", [(0, 0), (0, -180), (-180, 0), (-180, -180)], ids=str)
def test_a_globe_has_no_seam(starts):
    """Longitudes from 0 or from -180, of either grid; and the seam is like any place.

    Beyond a halo of two scales and a cell, white noise still moves a value by 0.03.
    """
    options = WIDE | {"length_scale": 1500.0}
    coarse = globe(1, 0)
    expected = xinverse.downscale(coarse, globe(3, 0), **options)
    moved = coarse.assign_coords(lon=(coarse.lon - starts[0]) % 360 + starts[0])
    moved = moved.sortby("lon").assign_attrs(coarse.attrs)
    moved.lon.attrs.update(coarse.lon.attrs)
    found = xinverse.downscale(moved, globe(3, starts[1]), **options)
    found = found.assign_coords(lon=found.lon % 360).sortby("lon")
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-2)
    turned = coarse.roll(lon=5)
    shifted = xinverse.downscale(turned, globe(3, 0), **options)
    back = shifted.roll(lon=-15)
    np.testing.assert_allclose(back, expected, rtol=0, atol=5e-2)


def test_packed_integers_are_unpacked():
    data = series()
    packed = (data.fillna(0) * 1000).round().astype("i2")
    packed.attrs.update(scale_factor=1e-3)
    unpacked = packed.astype("f8") * 1e-3
    unpacked.attrs = dict(data.attrs)
    for verb, call in VERBS.items():
        found = call(packed, **OPTIONS)
        assert found.dtype.kind == "f", verb
        same(found, call(unpacked, **OPTIONS), 1e-5)


# On processes of their own -------------------------------------------------------------


@pytest.mark.slow
def test_two_workers_give_the_same_numbers(tmp_path):
    distributed = pytest.importorskip("distributed")
    data = series()
    expected = {name: call(data, **OPTIONS) for name, call in VERBS.items()}
    lazy = data.chunk({"time": 4, "lat": 5, "lon": 4})
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        local_directory=tmp_path,
    )
    with cluster, distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        for name, call in VERBS.items():
            same(call(lazy, **OPTIONS).compute(), expected[name], 1e-5)
