"""Nature runs in a Zarr store: those of `nature_runs`, whole or not there."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import xarray as xr

from xinverse.errors import OptionError
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import make_grid
from xinverse.osse import Ocean, draw_ocean, nature_runs, simulate
from xinverse.osse.nature import daily_heights

FAST = Ocean(spacing_km=12.0, rossby_radius_km=30.0, shear=0.2)
COARSE = replace(FAST, spacing_km=24.0)
SHORT = {"days": 5, "spinup": 2, "seed": 3, "progress": False}


@pytest.fixture(scope="module")
def fine() -> xr.DataArray:
    return nature_runs([FAST], days=5, spinup=2, size=16, seed=3)[0]


@pytest.mark.parametrize("block", [1, 2, 5, 50])
def test_it_is_the_run_of_the_same_seed_whatever_the_block(tmp_path, fine, block):
    run = simulate(FAST, tmp_path / "run.zarr", size=16, block=block, **SHORT)
    assert isinstance(run, xr.Dataset)
    assert run.ssh.chunks is not None
    assert max(run.ssh.chunks[0]) == min(block, 5)
    xr.testing.assert_identical(run.ssh.compute(), fine)
    assert run.time.encoding["dtype"] == np.int64


def test_it_says_what_it_is(tmp_path):
    run = simulate(FAST, tmp_path / "run.zarr", size=16, **SHORT)
    assert run.attrs["Conventions"].startswith("CF")
    assert "seed 3" in run.attrs["comment"]
    assert {k: run.ssh.attrs[k] for k in asdict(FAST)} == asdict(FAST)
    assert run.ssh.attrs["units"] == "m"
    assert run.inverse is not None


def test_a_coarse_grid_is_the_area_mean_of_a_finer_one(tmp_path, fine):
    """24 km for a radius of 30: twice as fine, and the same box."""
    assert (FAST.refinement, COARSE.refinement) == (1, 2)
    run = simulate(COARSE, tmp_path / "run.zarr", size=8, **SHORT)
    mean = fine.coarsen(latitude=2, longitude=2).mean()
    np.testing.assert_allclose(run.ssh, mean, rtol=0, atol=1e-6 * float(fine.std()))
    for name in ("latitude", "longitude"):
        np.testing.assert_allclose(run[name], mean[name], rtol=0, atol=1e-9)
    grid = make_grid(run, find_axes(run))
    assert grid.spacing_km == pytest.approx((24.0, 24.0), rel=1e-6)


def test_several_oceans_are_groups_of_one_store(tmp_path, fine):
    runs = simulate([FAST, COARSE], tmp_path / "runs.zarr", size=16, **SHORT)
    np.testing.assert_allclose(runs[0].ssh, fine, rtol=0, atol=2e-3 * float(fine.std()))
    alone = simulate(COARSE, tmp_path / "alone.zarr", size=16, **(SHORT | {"seed": 1003}))
    xr.testing.assert_equal(runs[1].compute(), alone.compute())
    tree = xr.open_datatree(tmp_path / "runs.zarr", engine="zarr")
    assert sorted(tree.children) == ["ocean_0", "ocean_1"]
    xr.testing.assert_identical(tree["ocean_1"].to_dataset().compute(), runs[1].compute())


def test_a_list_of_one_is_a_list(tmp_path):
    runs = simulate([FAST], tmp_path / "run.zarr", size=16, **SHORT)
    assert isinstance(runs, list)
    assert len(runs) == 1


def test_days_are_not_held_in_memory(tmp_path, monkeypatch):
    """Each block is written before the next one is simulated."""
    written, order = xr.Dataset.to_zarr, []

    def counted(*arguments, **options):
        heights = daily_heights(*arguments, **options)
        for day, height in enumerate(heights):
            order.append(day)
            yield height

    def to_zarr(self, *arguments, **options):
        order.append(f"{self.sizes['time']} written")
        return written(self, *arguments, **options)

    monkeypatch.setattr("xinverse.osse.runs.daily_heights", counted)
    monkeypatch.setattr(xr.Dataset, "to_zarr", to_zarr)
    simulate(FAST, tmp_path / "run.zarr", size=8, block=2, **SHORT)
    assert order == [0, 1, "2 written", 2, 3, "2 written", 4, "1 written"]


def test_a_run_that_breaks_leaves_nothing(tmp_path, monkeypatch):
    store = tmp_path / "run.zarr"

    def broken(*arguments, **options):
        for day, height in enumerate(daily_heights(*arguments, **options)):
            if day == 3:
                raise KeyboardInterrupt
            yield height

    with monkeypatch.context() as patch:
        patch.setattr("xinverse.osse.runs.daily_heights", broken)
        with pytest.raises(KeyboardInterrupt):
            simulate(FAST, store, size=8, block=1, **SHORT)
        assert list(tmp_path.iterdir()) == []
        simulated = {"size": 8, **SHORT}
    simulate(FAST, store, **simulated)
    before = xr.open_zarr(store).ssh.compute()
    with monkeypatch.context() as patch:
        patch.setattr("xinverse.osse.runs.daily_heights", broken)
        with pytest.raises(KeyboardInterrupt):
            simulate(COARSE, store, overwrite=True, **simulated)
    xr.testing.assert_identical(xr.open_zarr(store).ssh.compute(), before)
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]


def test_what_is_there_is_replaced_on_demand_only(tmp_path):
    store = tmp_path / "run.zarr"
    simulate(FAST, store, size=8, **SHORT)
    with pytest.raises(FileExistsError, match="overwrite"):
        simulate(FAST, store, size=8, **SHORT)
    run = simulate(FAST, store, size=8, overwrite=True, **(SHORT | {"days": 2}))
    assert run.sizes["time"] == 2


def test_a_flow_that_outruns_the_step_writes_nothing(tmp_path):
    with pytest.raises(FloatingPointError, match="start with a shorter step than 86400 s"):
        simulate(
            replace(FAST, shear=2.0), tmp_path / "run.zarr", size=16, step=86400.0, **SHORT
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("oceans", "options", "match"),
    [
        ([], {}, "no ocean"),
        ([draw_ocean], {}, "Got a function"),
        (FAST, {"days": 0}, "days is 0. Expected a whole number of 1"),
        (FAST, {"days": 2.5}, "days is 2.5"),
        (FAST, {"spinup": -1}, "spinup is -1"),
        (FAST, {"size": 4}, "size is 4"),
        (FAST, {"block": 0}, "block is 0"),
        (FAST, {"step": 0.0}, "step is 0.0. Expected seconds above 0"),
        (FAST, {"store": "run.nc"}, "end in .zarr"),
    ],
)
def test_mistakes_are_told_at_the_call(tmp_path, oceans, options, match):
    options = {"size": 8, "store": "run.zarr", **SHORT, **options}
    store = tmp_path / options.pop("store")
    with pytest.raises(OptionError, match=match):
        simulate(oceans, store, **options)


def test_drawn_oceans_may_be_coarse():
    oceans = [draw_ocean(seed, spacing_km=(8.0, 28.0)) for seed in range(300)]
    spacing = np.array([ocean.spacing_km for ocean in oceans])
    radius = np.array([ocean.rossby_radius_km for ocean in oceans])
    refinement = np.array([ocean.refinement for ocean in oceans])
    assert 8 <= spacing.min() < 9
    assert 27 < spacing.max() <= 28
    assert ((radius >= 16) & (radius <= 34)).all()
    assert set(refinement) == {1, 2}
    assert (radius >= 1.4 * spacing / refinement - 1e-9).all()
    assert (refinement[spacing <= 18] == 1).all()
    # Coarse grids have the radii of fine ones: they are not an ocean of their own.
    assert radius[spacing > 22].min() < 20
