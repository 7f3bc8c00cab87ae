"""method="oi" equals the Gaussian posterior of the textbook, written here in plain numpy."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr
from dask_counting import raise_if_dask_computes
from problems import one_source

import xinverse
import xinverse.solvers.gaussian_posterior as solver_module
from xinverse.errors import DataError, GridError, OptionError
from xinverse.fields.grid import Grid
from xinverse.methods.oi import COVARIANCES, TEMPORAL, OptimalInterpolation
from xinverse.methods.problem import Layout, Problem, Source, Wanted
from xinverse.methods.tile_statistics import anomalies, spread_of

CPU = torch.device("cpu")
KM = np.pi * 6371.0 / 180
SHAPE = (5, 8, 9)
LATITUDE = 42.0 + 0.25 * np.arange(8)
LONGITUDE = 5.0 + 0.25 * np.arange(9)
# Every length and time between the cells counts: nothing is out of reach of anything.
SCALES = {"length_scale": 70.0, "time_scale": 3.0}
GAUSSIAN = {"covariance": "gaussian", "temporal": "gaussian"}
DEFAULTS = OptimalInterpolation(length_scale=100.0, time_scale=10.0, **GAUSSIAN)


# The textbook --------------------------------------------------------------------------


def space_kernel(name: str, r: np.ndarray) -> np.ndarray:
    if name == "gaussian":
        return np.exp(-(r**2))
    if name == "matern12":
        return np.exp(-r)
    if name == "matern32":
        return (1 + 3**0.5 * r) * np.exp(-(3**0.5) * r)
    if name == "matern52":
        return (1 + 5**0.5 * r + 5 * r**2 / 3) * np.exp(-(5**0.5) * r)
    r = 3.3369 * r
    return (1 + r + r**2 / 6 - r**3 / 6) * np.exp(-r)


def textbook(
    y: np.ndarray,
    options: OptimalInterpolation,
    *,
    variance: float,
    noise: float | np.ndarray,
    level: float,
    coordinates: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and error: Bretherton, Davis and Fandry (1976), dense, in float64."""
    if coordinates is None:
        middle = np.deg2rad(0.5 * (LATITUDE[0] + LATITUDE[-1]))
        coordinates = (np.arange(len(y)), LATITUDE * KM, LONGITUDE * KM * np.cos(middle))
    t, km_y, km_x = (a.ravel() for a in np.meshgrid(*coordinates, indexing="ij"))
    distance = np.hypot(km_y[:, None] - km_y, km_x[:, None] - km_x) / options.length_scale
    lag = np.abs(t[:, None] - t) / options.time_scale
    in_time = np.exp(-lag) if options.temporal == "exponential" else np.exp(-(lag**2))
    B = variance * space_kernel(options.covariance, distance) * in_time
    seen = np.isfinite(y).ravel()
    R = np.diag(np.broadcast_to(noise, y.shape).ravel()[seen] ** 2)
    gain = np.linalg.solve(B[seen][:, seen] + R, B[seen]).T
    mean = level + gain @ (y.ravel()[seen] - level)
    error = np.sqrt(variance - (gain * B[:, seen]).sum(1))
    return mean.reshape(y.shape), error.reshape(y.shape)


def gappy(seed: int = 0, share: float = 0.25, level: float = 0.0) -> np.ndarray:
    """A field of eddies, known at some cells."""
    rng = np.random.default_rng(seed)
    t, j, i = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    truth = np.sin(0.8 * i + 0.3 * t) * np.cos(0.7 * j - 0.2 * t)
    y = level + truth + 0.1 * rng.standard_normal(SHAPE)
    return np.where(rng.random(SHAPE) < share, y, np.nan)


def make_problem(y: np.ndarray, grid: Grid | None = None, **changes) -> Problem:
    nt, ny, nx = y.shape
    if grid is None:
        grid = Grid(np.arange(float(nt)), LATITUDE[:ny], LONGITUDE[:nx], True, False)
    return one_source(y, grid, **changes)


def solve(problem: Problem, **options) -> np.ndarray:
    """Mean and error."""
    found = OptimalInterpolation(**options).solve(problem, Wanted(error=True), CPU)
    assert not found.members
    return np.stack([found.mean["sla"], found.error["sla"]])


def draw(problem: Problem, members: int, **options) -> np.ndarray:
    """Members, and nothing else besides the mean."""
    found = OptimalInterpolation(**options).solve(problem, Wanted(members=members), CPU)
    assert not found.error
    return found.members["sla"]


def layout(grid: Grid) -> Layout:
    return Layout(("sla",), grid, (Source("sla", grid),))


def labelled(y: np.ndarray, **coords) -> xr.DataArray:
    return xr.DataArray(
        y,
        dims=("time", "lat", "lon"),
        coords={
            "time": np.datetime64("2020-01-01", "ns")
            + np.arange(len(y)) * np.timedelta64(1, "D"),
            "lat": ("lat", LATITUDE, {"units": "degrees_north"}),
            "lon": ("lon", LONGITUDE, {"units": "degrees_east"}),
            **coords,
        },
        name="sla",
        attrs={"units": "m"},
    )


# Mean and error ------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("temporal", TEMPORAL)
@pytest.mark.parametrize("iterate", [False, True], ids=["dense", "iterated"])
def test_mean_and_error_are_those_of_the_textbook(covariance, temporal, iterate, monkeypatch):
    """Mean to 1e-4 of the standard deviation, error to 1e-3, by either solver."""
    if iterate:
        monkeypatch.setattr(solver_module, "DENSE_LIMIT", 10)
        monkeypatch.setattr(solver_module, "WHOLE_LIMIT", 10)
    y = gappy(level=0.4)
    options = {"covariance": covariance, "temporal": temporal, **SCALES}
    given = {"noise": 0.1, "variance": 0.25, "background": 0.4}
    mean, error = solve(make_problem(y), **options, **given)
    expected = textbook(y, OptimalInterpolation(**options), variance=0.25, noise=0.1, level=0.4)
    assert np.abs(mean - expected[0]).max() < 1e-4 * 0.5
    assert np.abs(error - expected[1]).max() < 1e-3 * 0.5
    assert 0.05 < error.min() < error.max() < 0.5


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_same_through_the_front_door(covariance):
    y = gappy(level=1.0)
    options = {"covariance": covariance, **SCALES}
    out = xinverse.interpolate(
        labelled(y),
        method="oi",
        error=True,
        noise=0.1,
        variance=0.25,
        background=1.0,
        **options,
    )
    expected = textbook(y, OptimalInterpolation(**options), variance=0.25, noise=0.1, level=1.0)
    assert np.abs(out["sla"].values - expected[0]).max() < 1e-4 * 0.5
    assert np.abs(out["sla_error"].values - expected[1]).max() < 1e-3 * 0.5


def test_without_an_estimate_the_tile_gives_noise_variance_and_level():
    """A tenth of the standard deviation, the variance less that of the noise, the mean."""
    y = gappy(level=3.0)
    out = solve(make_problem(y))
    values = y[np.isfinite(y)]
    noise = 0.1 * values.std()
    expected = textbook(
        y,
        DEFAULTS,
        variance=values.var() - noise**2,
        noise=noise,
        level=values.mean(),
    )
    assert np.abs(out[0] - expected[0]).max() < 1e-4 * values.std()
    assert np.abs(out[1] - expected[1]).max() < 1e-3 * values.std()


def test_a_large_level_costs_no_digits():
    """Pascals about an atmosphere: the anomaly is solved for, in double precision."""
    y = gappy()
    given = {"noise": 0.1, "variance": 0.25, **SCALES}
    low = solve(make_problem(y), background=0.0, **given)
    high = solve(make_problem(y + 1e6), background=1e6, **given)
    np.testing.assert_allclose(high[0] - 1e6, low[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(high[1], low[1], rtol=0, atol=1e-12)


def test_other_units_change_nothing_else():
    y = gappy()
    metres = solve(make_problem(y), **SCALES)
    centimetres = solve(make_problem(100 * y), **SCALES)
    np.testing.assert_allclose(centimetres, 100 * metres, rtol=1e-6, atol=1e-6)


def test_more_noise_draws_the_map_to_the_background_and_more_data_the_error_down():
    y = gappy()
    given = {"variance": 0.25, "background": 0.0, **SCALES}
    by_noise = [solve(make_problem(y), noise=n, **given) for n in (0.05, 0.3, 2.0)]
    for low, high in pairwise(by_noise):
        assert np.abs(high[0]).mean() < np.abs(low[0]).mean()
        assert (high[1] >= low[1] - 1e-9).all()
    fewer = np.where(np.random.default_rng(9).random(SHAPE) < 0.5, y, np.nan)
    assert (
        solve(make_problem(fewer), noise=0.1, **given)[1]
        >= solve(make_problem(y), noise=0.1, **given)[1] - 1e-9
    ).all()


def test_only_the_part_that_is_kept_comes_back():
    y = gappy()
    keep = (slice(1, 4), slice(2, 8), slice(0, 5))
    part = solve(make_problem(y, keep=keep), noise=0.1, **SCALES)
    whole = solve(make_problem(y), noise=0.1, **SCALES)
    np.testing.assert_allclose(part, whole[:, *keep], rtol=0, atol=1e-9)


def test_what_was_observed_on_land_does_not_count():
    y = gappy(share=0.5)
    sea = np.ones(SHAPE[1:], bool)
    sea[2:5, 3:6] = False
    torn = y.copy()
    torn[:, ~sea] = 1e3
    result = solve(make_problem(torn, sea=sea), noise=0.1, **SCALES)
    blank = solve(make_problem(np.where(sea, y, np.nan), sea=sea), noise=0.1, **SCALES)
    np.testing.assert_array_equal(result[:, :, sea], blank[:, :, sea])


def test_a_grid_in_kilometres_and_irregular_dates():
    """The Gaussian covariance takes any coordinates; no cosine where there is no latitude."""
    y = gappy()
    coordinates = (
        np.array([0.0, 0.7, 2.0, 5.5, 6.0]),
        np.cumsum([0.0, 20, 35, 20, 20, 28, 20, 20]),
        25.0 * np.arange(9),
    )
    problem = make_problem(y, grid=Grid(*coordinates, False, False))
    mean, error = solve(problem, noise=0.1, variance=0.25, background=0.0, **SCALES)
    expected = textbook(
        y,
        OptimalInterpolation(**SCALES, **GAUSSIAN),
        variance=0.25,
        noise=0.1,
        level=0.0,
        coordinates=coordinates,
    )
    assert np.abs(mean - expected[0]).max() < 1e-4 * 0.5
    assert np.abs(error - expected[1]).max() < 1e-3 * 0.5


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_which_covariances_need_a_regular_grid(covariance):
    method = OptimalInterpolation(covariance=covariance)
    regular = make_problem(gappy()).grid
    method.check(layout(regular))
    irregular = Grid(regular.time, regular.y, np.sort(regular.x**1.1), True, False)
    if covariance == "gaussian":
        method.check(layout(irregular))
    else:
        with pytest.raises(GridError, match=f"covariance='{covariance}' needs a regular grid"):
            method.check(layout(irregular))


# Which way the axes run ----------------------------------------------------------------


@pytest.mark.parametrize("flipped", [("lat",), ("lon",), ("lat", "lon")], ids=str)
def test_axes_may_run_the_other_way(flipped):
    """North to south, or east to west: the same maps, errors and members."""
    keywords = {"method": "oi", "error": True, "members": 2, "noise": 0.1, **SCALES}
    da = labelled(gappy())
    turned = da.isel({name: slice(None, None, -1) for name in flipped})
    out, back = (
        xinverse.interpolate(d, **keywords).sortby(["lat", "lon"]) for d in (da, turned)
    )
    for name in out.data_vars:
        np.testing.assert_allclose(back[name].values, out[name].values, rtol=0, atol=1e-9)


# Noise and background --------------------------------------------------------------------


def test_noise_may_be_a_variable():
    y = gappy()
    noise = np.random.default_rng(3).uniform(0.05, 0.5, SHAPE)
    da = labelled(y)
    ds = xr.Dataset({"sla": da, "sigma": da.copy(data=np.where(np.isnan(y), np.nan, noise))})
    given = {"variance": 0.25, "background": 0.0, **SCALES}
    expected = textbook(
        y, OptimalInterpolation(**SCALES, **GAUSSIAN), variance=0.25, noise=noise, level=0.0
    )
    for value in ("sigma", ds.sigma):
        out = xinverse.interpolate(ds, method="oi", error=True, noise=value, **given)
        assert np.abs(out["sla"].values - expected[0]).max() < 1e-4 * 0.5
        assert np.abs(out["sla_error"].values - expected[1]).max() < 1e-3 * 0.5
        xr.testing.assert_identical(out["sigma"], ds["sigma"])


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_noise_that_is_no_number_above_zero_is_an_error(value):
    y = gappy()
    noise = np.where(np.isfinite(y), 0.1, np.nan)
    noise[tuple(np.argwhere(np.isfinite(y))[3])] = value
    with pytest.raises(DataError, match="noise variable is not a number above 0"):
        solve(make_problem(y, noise=noise))


def test_a_background_may_be_a_number_or_a_variable():
    y = gappy(level=2.0)
    given = {"noise": 0.1, "variance": 0.25, **SCALES}
    number = solve(make_problem(y), background=2.0, **given)
    field = solve(make_problem(y, background=np.full(SHAPE, 2.0)), **given)
    np.testing.assert_allclose(field, number, rtol=0, atol=1e-12)
    # A slope that the observations follow is given back where nothing is known.
    slope = 2.0 + 0.1 * np.arange(9) * np.ones(SHAPE)
    follow = np.where(np.isfinite(y), slope, np.nan)
    mean, _ = solve(make_problem(follow, background=slope), **given)
    np.testing.assert_allclose(mean, slope, rtol=0, atol=1e-12)


def test_a_background_with_holes_in_the_sea_is_an_error():
    holes = np.zeros(SHAPE)
    holes[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="background is not finite everywhere in the sea"):
        solve(make_problem(gappy(), background=holes))
    land = np.ones(SHAPE[1:], bool)
    land[0, 0] = False
    mean = solve(make_problem(gappy(), sea=land, background=holes), **SCALES)[0]
    assert np.isfinite(mean[:, land]).all()


# Little or nothing observed ----------------------------------------------------------------


def test_nothing_observed_and_no_background_is_an_error_that_says_what_to_do():
    empty = make_problem(np.full(SHAPE, np.nan), words="variable 'sla', days 0 to 4")
    with pytest.raises(
        DataError, match="Nothing is observed in variable 'sla', days 0 to 4"
    ) as e:
        solve(empty)
    assert "Give background=" in str(e.value)


def test_nothing_observed_gives_the_background_and_its_error():
    empty = make_problem(np.full(SHAPE, np.nan))
    mean, error = solve(empty, background=1.5, variance=0.04, noise=0.1)
    assert (mean == 1.5).all()
    np.testing.assert_allclose(error, 0.2)


def test_one_observation():
    """It pulls the map to itself by B / (B + R), and no farther than its reach."""
    y = np.full(SHAPE, np.nan)
    y[2, 4, 4] = 2.0
    mean, error = solve(
        make_problem(y),
        background=0.0,
        variance=1.0,
        noise=0.5,
        length_scale=30.0,
        time_scale=1.0,
    )
    assert mean[2, 4, 4] == pytest.approx(2.0 / 1.25, abs=1e-5)
    assert error[2, 4, 4] == pytest.approx(np.sqrt(1 - 1 / 1.25), abs=1e-6)
    assert abs(mean[0, 0, 0]) < 1e-3
    assert error[0, 0, 0] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_observations_that_are_all_alike_are_their_own_level(value):
    y = np.where(np.isfinite(gappy()), value, np.nan)
    mean, error = solve(make_problem(y), **SCALES)
    np.testing.assert_allclose(mean, value, rtol=0, atol=1e-9)
    assert (error > 0).all()


def test_noise_too_small_to_invert_is_an_error_that_says_what_to_do():
    y = np.where(np.isfinite(gappy(share=0.9)), 1.0, np.nan)
    with pytest.raises(
        DataError, match="The analysis of the tile failed.* give a larger noise"
    ):
        solve(make_problem(y), noise=1e-12, variance=1.0, length_scale=3e3, time_scale=300.0)


# What the tile's observations say of signal and noise --------------------------------------


def statistics_of(values: list[float], **options) -> tuple[float, np.ndarray]:
    """Variances of the signal and of the noise."""
    y = np.full(SHAPE, np.nan)
    y[0, 0, : len(values)] = values
    problem = make_problem(y)
    chosen = OptimalInterpolation(**options)
    centred = anomalies(problem, chosen.background)
    chosen = chosen.resolved(problem)
    found = spread_of(problem, centred, "sla", noise=chosen.noise, variance=chosen.variance)
    (noise_variance,) = found.noise_variance
    return found.variance, noise_variance


def test_statistics_by_default():
    variance, noise_variance = statistics_of([1.0, 3.0])  # of variance 1
    assert variance == pytest.approx(0.99)
    np.testing.assert_allclose(noise_variance, [0.01, 0.01])


def test_statistics_from_options():
    variance, noise_variance = statistics_of([1.0, 3.0], noise=0.5, variance=7.0)
    assert variance == 7.0
    np.testing.assert_allclose(noise_variance, [0.25, 0.25])
    assert statistics_of([1.0, 3.0], noise=0.6)[0] == pytest.approx(0.64)
    # Noise above what the observations vary by: some of it is left to the signal.
    assert statistics_of([1.0, 3.0], noise=5.0)[0] == pytest.approx(0.05)


def test_statistics_of_one_observation_or_none():
    assert statistics_of([2.0], background=0.0)[0] == pytest.approx(4.0 * 0.99)
    assert statistics_of([2.0])[0] > 0
    variance, noise_variance = statistics_of([], background=0.0)
    assert variance > 0
    assert noise_variance.shape == (0,)


def test_statistics_of_a_noise_variable():
    y = gappy()
    noise = np.full(SHAPE, 0.2)
    problem = make_problem(y, noise=noise)
    found = spread_of(problem, anomalies(problem, None), "sla", noise=None, variance=None)
    (noise_variance,) = found.noise_variance
    assert noise_variance.shape == (np.isfinite(y).sum(),)
    np.testing.assert_allclose(noise_variance, 0.04)
    assert found.variance == pytest.approx(np.nanvar(y) - 0.04)


# Members -----------------------------------------------------------------------------------


def test_members_scatter_about_the_mean_by_the_error():
    y = gappy(share=0.1)
    members = 40
    given = {"noise": 0.1, "variance": 0.25, "background": 0.0}
    method = OptimalInterpolation(length_scale=40.0, time_scale=1.0, **given)
    found = method.solve(make_problem(y), Wanted(error=True, members=members), CPU)
    assert found.members["sla"].shape == (members, *SHAPE)
    scaled = (found.members["sla"] - found.mean["sla"]) / found.error["sla"]
    assert np.abs(scaled.mean(0)).max() < 5 / np.sqrt(members)
    assert np.abs(scaled.std(0) - 1).max() < 5 / np.sqrt(2 * members)
    assert scaled.std() == pytest.approx(1, abs=0.05)


def test_members_are_a_function_of_the_seed_and_their_number():
    problem = make_problem(gappy())
    both = draw(problem, 2, noise=0.1, **SCALES)
    assert np.abs(both[0] - both[1]).max() > 0.05
    more = draw(problem, 3, noise=0.1, **SCALES)
    np.testing.assert_array_equal(more[:2], both)
    other = draw(problem, 2, noise=0.1, seed=1, **SCALES)
    assert np.abs(other - both).max() > 0.05


def test_members_of_tiles_that_overlap_agree():
    """Far from observations, where they are samples of the prior and nothing else."""

    def tile(first: int) -> np.ndarray:
        nt, ny, nx = SHAPE
        y = np.full(SHAPE, np.nan)
        cells = (np.arange(nt), np.arange(ny), np.arange(first, first + nx))
        problem = make_problem(y, cells=cells, period=12)
        given = {"length_scale": 40.0, "time_scale": 2.0}
        return draw(problem, 1, background=0.0, variance=1.0, noise=0.1, **given)[0]

    a, b, over_the_edge = tile(0), tile(3), tile(12)
    np.testing.assert_allclose(a[..., 3:], b[..., :-3], rtol=0, atol=2e-2)
    np.testing.assert_array_equal(a, over_the_edge)


# Several variables -------------------------------------------------------------------------


def textbook_of_two(
    fields: dict[str, np.ndarray], method: OptimalInterpolation, deviations: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and error of two variables without a background, dense, in float64."""
    middle = np.deg2rad(0.5 * (LATITUDE[0] + LATITUDE[-1]))
    coordinates = (np.arange(SHAPE[0]), LATITUDE * KM, LONGITUDE * KM * np.cos(middle))
    t, km_y, km_x = (a.ravel() for a in np.meshgrid(*coordinates, indexing="ij"))
    distance = np.hypot(km_y[:, None] - km_y, km_x[:, None] - km_x) / method.length_scale
    lag = np.abs(t[:, None] - t) / method.time_scale
    shape = space_kernel(method.covariance, distance) * np.exp(-(lag**2))
    both = np.diag(deviations) @ method.coupling() @ np.diag(deviations)
    B = np.kron(both, shape)
    y = np.concatenate([field.ravel() for field in fields.values()])
    seen = np.isfinite(y)
    R = method.noise**2 * np.eye(seen.sum())
    gain = np.linalg.solve(B[seen][:, seen] + R, B[seen]).T
    mean = (gain @ y[seen]).reshape(2, *SHAPE)
    error = np.sqrt(np.diag(B) - (gain * B[:, seen]).sum(1)).reshape(2, *SHAPE)
    return mean, error


def two_problems(**fields: np.ndarray) -> Problem:
    alone = [make_problem(y, name=name) for name, y in fields.items()]
    sources = tuple(problem.source for problem in alone)
    return replace(alone[0], variables=tuple(fields), sources=sources)


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("iterate", [False, True], ids=["dense", "iterated"])
def test_two_variables_together_are_those_of_the_textbook(covariance, iterate, monkeypatch):
    """One variable is hardly seen, and the other tells where it is."""
    if iterate:
        monkeypatch.setattr(solver_module, "DENSE_LIMIT", 10)
        monkeypatch.setattr(solver_module, "WHOLE_LIMIT", 10)
    fields = {"u": gappy(), "v": gappy(1, share=0.03)}
    method = OptimalInterpolation(
        covariance=covariance,
        noise=0.1,
        variance=0.25,
        background=0.0,
        correlation=0.8,
        **SCALES,
    )
    found = method.solve(two_problems(**fields), Wanted(error=True), CPU)
    mean, error = textbook_of_two(fields, method, (0.5, 0.5))
    for k, name in enumerate(fields):
        assert np.abs(found.mean[name] - mean[k]).max() < 1e-4 * 0.5
        assert np.abs(found.error[name] - error[k]).max() < 1e-3 * 0.5
    alone = replace(method, correlation=None).solve(
        make_problem(fields["v"], name="v"), Wanted(error=True), CPU
    )
    assert (found.error["v"] < alone.error["v"]).all()


def test_variables_without_a_correlation_are_solved_as_if_alone():
    """Each with the level and the variance of its own observations."""
    fields = {"u": gappy(level=2.0), "v": 30 * gappy(1) - 100}
    together = OptimalInterpolation(correlation=0, **SCALES).solve(
        two_problems(**fields), Wanted(error=True), CPU
    )
    for name, y in fields.items():
        mean, error = solve(make_problem(y), **SCALES)
        deviation = np.nanstd(y)
        assert np.abs(together.mean[name] - mean).max() < 1e-4 * deviation
        assert np.abs(together.error[name] - error).max() < 1e-3 * deviation


def test_members_of_two_variables_scatter_and_go_together():
    fields = {"u": gappy(share=0.05), "v": np.full(SHAPE, np.nan)}
    method = OptimalInterpolation(
        noise=0.1,
        variance=0.25,
        background=0.0,
        correlation=-0.9,
        length_scale=40.0,
        time_scale=1.0,
    )
    members = 60
    found = method.solve(two_problems(**fields), Wanted(error=True, members=members), CPU)
    scaled = {
        name: (found.members[name] - found.mean[name]) / found.error[name] for name in fields
    }
    for drawn in scaled.values():
        assert drawn.shape == (members, *SHAPE)
        assert np.abs(drawn.mean(0)).max() < 5 / np.sqrt(members)
        assert np.abs(drawn.std(0) - 1).max() < 5 / np.sqrt(2 * members)
    unseen = found.error["u"] > 0.49  # far from observations, as in the prior
    assert unseen.sum() > 20
    shared = (scaled["u"] * scaled["v"])[:, unseen].mean()
    assert shared == pytest.approx(-0.9, abs=0.1)


def test_two_sources_of_one_variable_count_each_with_its_noise():
    """A cell that both see is seen with the noise of their weighted mean."""
    one, other = gappy(share=0.5), gappy(1, share=0.5)
    given = {"variance": 0.25, "background": 0.0, **SCALES}
    problem = make_problem(one, noise=0.1)
    second = make_problem(other, noise=0.3).source
    found = OptimalInterpolation(**given).solve(
        replace(problem, sources=(problem.source, second)), Wanted(error=True), CPU
    )
    weights = np.stack([np.isfinite(one) / 0.1**2, np.isfinite(other) / 0.3**2])
    total = np.where(weights.sum(0) > 0, weights.sum(0), np.nan)
    y = (weights * np.nan_to_num([one, other])).sum(0) / total
    expected = textbook(
        y,
        OptimalInterpolation(**SCALES, **GAUSSIAN),
        variance=0.25,
        noise=np.nan_to_num(total, nan=1.0) ** -0.5,
        level=0.0,
    )
    assert np.abs(found.mean["sla"] - expected[0]).max() < 1e-4 * 0.5
    assert np.abs(found.error["sla"] - expected[1]).max() < 1e-3 * 0.5


# Estimates ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known() -> tuple[np.ndarray, xr.DataArray]:
    """A sample of a Gaussian field of known scales, a tenth of it seen with noise."""
    rng = np.random.default_rng(2)
    t, j, i = 30, 24, 24
    axes = (np.arange(float(t)), 15.0 * np.arange(j), 15.0 * np.arange(i))
    roots = [
        np.linalg.cholesky(np.exp(-(((a[:, None] - a) / s) ** 2)) + 1e-9 * np.eye(len(a)))
        for a, s in zip(axes, (6.0, 60.0, 60.0), strict=True)
    ]
    truth = 0.2 * np.einsum("ta,yb,xc,abc->tyx", *roots, rng.standard_normal((t, j, i)))
    y = truth + 0.06 * rng.standard_normal(truth.shape)
    y = np.where(rng.random(truth.shape) < 0.1, y, np.nan)
    coordinates = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(t) * np.timedelta64(1, "D"),
        "y": ("y", axes[1], {"units": "km"}),
        "x": ("x", axes[2], {"units": "km"}),
    }
    return truth, xr.DataArray(y, coordinates, ("time", "y", "x"), name="sla")


def test_scales_and_noise_that_are_not_given_are_estimated(known):
    truth, seen = known

    def mse(**given) -> float:
        found = xinverse.interpolate(seen, method="oi", background=0.0, **given)
        return float(np.square(found.values - truth).mean())

    perfect = mse(length_scale=60.0, time_scale=6.0, noise=0.06, variance=0.04)
    assert mse() < 1.08 * perfect
    assert mse(noise=0.06) < 1.08 * perfect
    assert mse(length_scale=60.0, time_scale=6.0) < 1.08 * perfect
    assert 2 * perfect < mse(length_scale=150.0, time_scale=2.0, noise=0.02, variance=0.04)


def test_the_estimate_is_that_of_the_field(known):
    _, seen = known
    error = xinverse.interpolate(seen, method="oi", background=0.0, error=True)["sla_error"]
    given = {"length_scale": 60.0, "time_scale": 6.0, "noise": 0.06, "variance": 0.04}
    expected = xinverse.interpolate(seen, method="oi", background=0.0, error=True, **given)
    ratio = float(error.mean() / expected["sla_error"].mean())
    assert ratio == pytest.approx(1, abs=0.1)


def test_estimates_do_not_depend_on_chunks(known):
    _, seen = known
    whole = xinverse.interpolate(seen, method="oi")
    with raise_if_dask_computes():
        lazy = xinverse.interpolate(seen.chunk(time=7, y=10, x=24), method="oi")
    np.testing.assert_allclose(lazy.values, whole.values, rtol=0, atol=1e-9)


# Options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("length_scale", 0, "length_scale=0: expected a number above 0"),
        ("length_scale", "100 km", "length_scale='100 km': expected a number"),
        ("time_scale", -1.0, "time_scale=-1.0: expected a number above 0"),
        ("time_scale", np.inf, "time_scale=inf: expected a number above 0"),
        ("noise", 0.0, "noise=0.0: expected a number above 0"),
        ("noise", True, "noise=True: expected a number above 0"),
        ("variance", np.nan, "variance=nan: expected a number above 0"),
        ("tolerance", 0, "tolerance=0: expected a number above 0"),
        ("covariance", "matern", "covariance='matern': expected one of 'gaussian', 'matern12'"),
        (
            "temporal",
            "matern12",
            "temporal='matern12': expected one of 'gaussian', 'exponential'",
        ),
        ("seed", 1.5, "seed=1.5: expected a whole number"),
    ],
)
def test_options_out_of_range_are_errors_that_say_what_was_expected(option, value, text):
    with pytest.raises(OptionError, match=text):
        OptimalInterpolation(**{option: value})


def test_numbers_of_numpy_are_numbers():
    options = OptimalInterpolation(
        length_scale=np.float32(80), time_scale=np.int64(5), seed=np.int32(2)
    )
    assert replace(options, noise=np.float64(0.1)).noise == 0.1


def test_the_tile_has_a_halo_of_two_scales_and_is_a_function_of_the_grid():
    grid = Grid(
        np.arange(200.0), 30 + 0.25 * np.arange(120), 0.25 * np.arange(1440), True, True
    )
    method = OptimalInterpolation(**SCALES)
    footprint = method.footprint(layout(grid), 2**28)
    assert footprint.halo[0] == 6
    assert footprint.halo[1] == np.ceil(140 / (0.25 * KM))
    assert footprint.halo[2] >= footprint.halo[1]
    longer = OptimalInterpolation(length_scale=140.0, time_scale=6.0)
    wider = longer.footprint(layout(grid), 2**28)
    assert all(b > a for a, b in zip(footprint.halo, wider.halo, strict=True))
    assert footprint == method.footprint(layout(grid), 2**28)
