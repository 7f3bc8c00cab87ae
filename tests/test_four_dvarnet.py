"""The learned method with the weights that the package ships."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from dask_counting import raise_if_dask_computes
from problems import one_source

import xinverse
from xinverse.errors import OptionError, UnitsError, WeightsError
from xinverse.fields.grid import Grid
from xinverse.learning.networks import FourDVarNet
from xinverse.methods.problem import Problem
from xinverse.methods.tile_statistics import anomalies
from xinverse.methods.windows import window_starts
from xinverse.osse import observe
from xinverse.osse.nature import Ocean, nature_runs
from xinverse.scores import normalised_mse
from xinverse.weights import describe


@pytest.fixture(scope="module")
def truth() -> xr.DataArray:
    ocean = Ocean(spacing_km=14.0, rossby_radius_km=28.0, shear=0.11, latitude=33.0)
    (run,) = nature_runs([ocean], days=40, spinup=200, size=64, seed=3)
    return run


@pytest.fixture(scope="module")
def l3(truth: xr.DataArray) -> xr.Dataset:
    return observe(truth, ["nadir:4"], noise=0.02, seed=5)


@pytest.fixture(scope="module")
def network() -> FourDVarNet:
    reference = describe(None, "4dvarnet")
    network = FourDVarNet.from_config(reference.card.config)
    network.load_state_dict(reference.load())
    return network.requires_grad_(False)


def test_it_beats_its_background_on_an_ocean_that_it_never_saw(truth, l3):
    filled = l3.inverse.interpolate(method="4dvarnet", noise=0.02)
    oi = l3.inverse.interpolate(method="oi", noise=0.02, length_scale=90, time_scale=10)
    days = slice(10, -10)
    learned = float(normalised_mse(filled.ssh[days], truth[days]))
    assert learned < 0.9 * float(normalised_mse(oi.ssh[days], truth[days]))


def test_a_window_is_the_same_alone_and_in_a_batch(network):
    torch.manual_seed(0)
    shape = (3, network.window, 33, 40)
    background, y = torch.randn(shape), torch.randn(shape)
    background[1] *= 50  # a partner of another amplitude changes nothing
    observed = torch.rand(shape) < 0.05
    together = network.reconstruct(background, y, observed)
    alone = network.reconstruct(background[:1], y[:1], observed[:1])
    assert not together.requires_grad
    torch.testing.assert_close(together[:1], alone, rtol=1e-5, atol=1e-5)


def test_a_step_does_not_depend_on_the_size_of_the_tile(network):
    torch.manual_seed(1)
    shape = (1, network.window, 120, 120)
    background, y = torch.randn(shape), torch.randn(shape)
    observed = torch.rand(shape) < 0.05
    inner = (slice(None), slice(None), slice(0, 80), slice(0, 80))
    whole = network.reconstruct(background, y, observed)
    part = network.reconstruct(background[inner], y[inner], observed[inner])
    # The far corner is as near to the edge in both.
    torch.testing.assert_close(part[..., :20, :20], whole[..., :20, :20], rtol=1e-4, atol=1e-4)


def test_land_stays_out_and_is_not_filled(l3):
    sea = np.ones((64, 64), bool)
    sea[20:30, 10:25] = False
    filled = l3.ssh.inverse.interpolate(method="4dvarnet", noise=0.02, mask=sea)
    assert np.isnan(filled.values[:, ~sea]).all()
    assert np.isfinite(filled.values[:, sea]).all()


def test_lazy_is_eager(l3):
    tile = {"time": 20, "x": 40}
    eager = l3.ssh.inverse.interpolate(method="4dvarnet", noise=0.02, tile=tile)
    chunked = l3.chunk(time=13, latitude=30, longitude=64)
    with raise_if_dask_computes():
        lazy = chunked.ssh.inverse.interpolate(method="4dvarnet", noise=0.02, tile=tile)
    assert lazy.chunks == chunked.ssh.chunks
    assert float(abs(lazy.compute() - eager).max()) < 1e-5 * float(eager.std())


def test_the_background_may_be_a_variable(truth, l3):
    ds = l3.assign(first=truth + 0.0)
    filled = ds.ssh.inverse.interpolate(method="4dvarnet", background=ds["first"], noise=0.02)
    assert float(normalised_mse(filled[10:-10], truth[10:-10])) < 0.01


@pytest.mark.parametrize("method", ["4dvarnet", "unet"])
def test_a_second_pass_starts_from_the_map_of_the_first(truth, l3, method, tmp_path):
    small = {"window": 5, "steps": 2} if method == "4dvarnet" else {"window": 5, "hidden": 4}
    given = {"truth": truth, "observations": l3.ssh, "background": 0.9 * truth}
    model = xinverse.train(
        method, **given, network=small, steps=8, patch=16, learning_rate=0.03
    )
    weights = model.save(tmp_path / "once.safetensors")
    how = {"method": method, "weights": weights, "noise": 0.02, "progress": False}
    once = l3.inverse.interpolate(**how, background=0.0)
    twice = l3.assign(first=once.ssh).inverse.interpolate(**how, background="first")
    found = l3.inverse.interpolate(**how, background=0.0, passes=2)
    np.testing.assert_allclose(found.ssh, twice.ssh, rtol=0, atol=1e-5)
    assert float(abs(found.ssh - once.ssh).max()) > 1e-3
    # What the weights are for is what is done where a user does not say.
    for_two = xinverse.train(
        method, **given, start=model, steps=1, passes=2, patch=16, learning_rate=1e-9
    )
    assert for_two.card.config["passes"] == 2
    how["weights"] = for_two.save(tmp_path / "twice.safetensors")
    by_card = l3.inverse.interpolate(**how, background=0.0)
    np.testing.assert_allclose(by_card.ssh, found.ssh, rtol=0, atol=1e-5)


def test_two_passes_on_tiles_are_those_on_the_whole(l3):
    whole = {"time": 40, "x": 64}
    how = {"method": "4dvarnet", "noise": 0.02, "background": 0.0, "variance": 0.01}
    how |= {"passes": 2, "length_scale": 40.0, "time_scale": 4.0}
    days = slice(14, 26)
    one = l3.ssh.inverse.interpolate(**how, tile=whole).isel(time=days)
    parts = l3.ssh.inverse.interpolate(**how, tile={"time": 10, "x": 32}).isel(time=days)
    # As for one pass: what lies beyond the halo counts little, and not for nothing.
    assert float(abs(parts - one).max()) < 0.02 * float(one.std())


def test_a_day_is_solved_about_twice():
    def problem(days: int, first: int, keep: slice) -> Problem:
        empty = np.zeros((days, 2, 2))
        cells = (np.arange(first, first + days), np.arange(2), np.arange(2))
        grid = Grid(cells[0].astype(float), np.arange(2.0), np.arange(2.0), True, False)
        return one_source(empty, grid, cells=cells, keep=(keep, slice(0, 2), slice(0, 2)))

    whole = window_starts(problem(100, 0, slice(0, 100)), 11, 5, slice(0, 100))
    solved = np.zeros(100, int)
    for start in whole:
        solved[start : start + 11] += 1
    assert solved.min() >= 1
    assert solved.mean() < 2.5
    part = window_starts(problem(60, 30, slice(15, 45)), 11, 5, slice(15, 45))
    reaching = {s for s in whole if s + 11 > 45 and s < 75}
    assert {s + 30 for s in part} == reaching  # two tiles use the same windows


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda d: d.isel(time=np.r_[0:20, 22:40]), WeightsError, "regular"),
        (lambda d: d.assign_attrs(units="cm"), UnitsError, "cm"),
        (
            lambda d: d.coarsen(latitude=3, longitude=3, boundary="trim").mean(),
            WeightsError,
            "8.*28",
        ),
        (
            lambda d: d.rename("sst").assign_attrs(standard_name="sea_surface_temperature"),
            WeightsError,
            "sea_surface_height",
        ),
    ],
    ids=["irregular", "units", "spacing", "variable"],
)
def test_fields_that_the_weights_were_not_made_for(l3, change, error, text):
    with pytest.raises(error, match=text):
        change(l3.ssh).inverse.interpolate(method="4dvarnet")


def test_a_level_of_each_day_passes_through(truth, l3):
    background = truth.rolling(longitude=9, center=True, min_periods=1).mean()
    ds = l3.assign(first_guess=background)
    drift = xr.DataArray(np.linspace(-1.0, 2.0, truth.sizes["time"]), dims="time")
    raised = ds.assign(ssh=ds.ssh + drift, first_guess=ds.first_guess + drift)
    options = {"noise": 0.02, "variance": 0.01, "background": "first_guess"}
    found, moved = (d.inverse.interpolate("4dvarnet", **options).ssh for d in (ds, raised))
    # The network is given the same float32 numbers, but for some that lie between two of
    # them; a level taken out in float32 would change them all, by 2e-8 m, and this by 3e-5.
    np.testing.assert_allclose(moved - drift, found, atol=2e-5)
    assert float(abs(found - background).max()) > 0.01


def test_a_large_level_takes_no_digits_from_the_anomaly(rng):
    """Kelvin in float32: what is left after the level is what float64 would leave."""
    y = rng.normal(290, 0.1, (4, 5, 6)).astype("float32")
    y[0, 0, 0] = np.nan
    grid = Grid(*(np.arange(float(n)) for n in y.shape), False, False)
    problem = one_source(y, grid)
    centred = anomalies(problem, None)
    level, anomaly = centred.background[problem.variable], centred.anomaly
    assert anomaly.dtype == np.float64
    seen = np.isfinite(y)
    np.testing.assert_allclose(anomaly[seen] + level, y[seen].astype("float64"), rtol=1e-14)
    assert abs(anomaly[seen].mean()) < 1e-12
    assert anomaly[0, 0, 0] == 0


def test_half_of_the_precision_moves_a_map_by_thousandths(l3):
    whole = l3.ssh.inverse.interpolate(method="4dvarnet")
    half = l3.ssh.inverse.interpolate(method="4dvarnet", precision="bfloat16")
    apart = float(((half - whole) ** 2).mean() ** 0.5 / whole.std())
    assert 1e-5 < apart < 1e-2
    assert half.dtype == whole.dtype
    assert "precision='bfloat16'" in half.attrs["history"]


def test_options_are_checked(l3):
    with pytest.raises(OptionError, match="gives no error"):
        l3.ssh.inverse.interpolate(method="4dvarnet", error=True)
    with pytest.raises(OptionError, match="passes=0: expected a number of passes, 1 or more"):
        xinverse.interpolate(l3.ssh, "4dvarnet", passes=0)
    with pytest.raises(OptionError, match="stride"):
        l3.ssh.inverse.interpolate(method="4dvarnet", stride=0)
    with pytest.raises(OptionError, match="precision='half': expected one of"):
        l3.ssh.inverse.interpolate(method="4dvarnet", precision="half")
    assert "4dvarnet" in repr(xinverse.methods())


def test_windows_reach_beyond_the_ends_by_the_overhang():
    from xinverse.methods.windows import window_days

    def starts(days, overhang):
        cells = (np.arange(days), np.arange(2), np.arange(2))
        grid = Grid(cells[0].astype(float), np.arange(2.0), np.arange(2.0), True, False)
        whole = (slice(0, days), slice(0, 2), slice(0, 2))
        problem = one_source(np.full((days, 2, 2), np.nan), grid, cells=cells, keep=whole)
        return window_starts(problem, 11, 5, slice(0, days), overhang)

    assert starts(30, 0) == [0, 4, 9, 14, 19]
    assert starts(30, 5) == [-5, -1, 4, 9, 14, 19, 24]
    assert starts(11, 0) == [0]
    assert (min(starts(4, 0)), max(starts(4, 0))) == (-7, 0)
    assert all(s + 11 > 0 and s < 1 for s in starts(1, 5))
    nearest, own = window_days(-2, 5, 4)
    assert nearest.tolist() == [0, 0, 0, 1, 2]
    assert own.tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("days", [1, 2, 10])
def test_a_series_shorter_than_the_window_is_mapped(days):
    (truth,) = nature_runs([Ocean()], days=10, spinup=5, size=24)
    seen = observe(truth, ["nadir:10", "swot"], noise=0.02, seed=1).ssh.isel(time=slice(days))
    mapped = seen.inverse.interpolate(method="4dvarnet", noise=0.02)
    assert mapped.shape == seen.shape
    assert bool(np.isfinite(mapped).all())
