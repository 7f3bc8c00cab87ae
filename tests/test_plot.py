"""Pictures: what they show, where they say it, and what they refuse."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xinverse import plot, tiling
from xinverse.errors import DataError, GridError, OptionError

plt = pytest.importorskip("matplotlib.pyplot")
colours = pytest.importorskip("cmocean").cm


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    yield
    plt.close("all")


@pytest.fixture
def height(rng) -> xr.DataArray:
    """Five days on 8 x 12 cells across the prime meridian, with land in one corner."""
    data = xr.DataArray(
        rng.standard_normal((5, 8, 12)),
        dims=("time", "lat", "lon"),
        coords={
            "time": pd.date_range("2020-01-01", periods=5),
            "lat": ("lat", 40 + 0.5 * np.arange(8), {"units": "degrees_north"}),
            "lon": ("lon", 357 + 0.5 * np.arange(12), {"units": "degrees_east"}),
        },
        name="ssh",
        attrs={"units": "m", "long_name": "sea surface height"},
    )
    return data.where((data.lat > 41) | (data.lon > 359))


def meshes(ax) -> list:
    return [c for c in ax.collections if type(c).__name__ == "QuadMesh"]


def panels(figure) -> dict:
    """The maps of a figure by title; colour bars have none."""
    return {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}


def shown(ax) -> np.ndarray:
    return np.ma.filled(meshes(ax)[0].get_array(), np.nan)


def bars(figure) -> set[str]:
    inset = [child for ax in figure.axes for child in ax.child_axes]
    return {ax.get_ylabel() for ax in [*figure.axes, *inset]} - {""}


def labels(axis) -> list[str]:
    axis.figure.canvas.draw()
    return [tick.get_text() for tick in axis.get_ticklabels()]


class TestMaps:
    def test_every_map_has_its_title_and_all_share_one_scale(self, height):
        figure = plot.maps({"first": height[0], "second": 3 * height[1]})
        drawn = panels(figure)
        assert list(drawn) == ["first", "second"]
        np.testing.assert_array_equal(shown(drawn["first"]), height[0])
        limits = {meshes(ax)[0].get_clim() for ax in drawn.values()}
        assert len(limits) == 1
        assert bars(figure) == {"sea surface height (m)"}

    def test_land_is_grey_and_a_gap_is_white(self, height):
        seen = height[0].where(height[0] > 0)
        ax = panels(plot.maps({"all": height[0], "seen": seen}))["seen"]
        land = meshes(ax)[1]
        np.testing.assert_array_equal(
            np.ma.getmaskarray(land.get_array()).reshape(8, 12), height[0].notnull()
        )
        assert land.get_cmap()(0.5)[:3] == (0.75, 0.75, 0.75)

    def test_a_mask_says_where_land_is(self, height):
        sea = (height.lat > 42).broadcast_like(height[0])
        ax = panels(plot.maps({"a": height[0]}, sea=sea.transpose("lon", "lat")))["a"]
        assert np.isnan(shown(ax)[(~sea).values]).all()

    @pytest.mark.parametrize(
        ("name", "attrs", "shift", "cmap", "low"),
        [
            ("ssh", {}, 0.0, colours.balance, "symmetric"),
            ("sst", {"standard_name": "sea_surface_temperature"}, 20.0, colours.thermal, None),
            ("ssh_error", {}, 5.0, colours.amp, 0.0),
            ("a", {"standard_name": "sea_surface_height standard_error"}, 5, colours.amp, 0.0),
            ("adt", {}, 10.0, colours.haline, None),
        ],
    )
    def test_colours_follow_from_what_is_shown(self, height, name, attrs, shift, cmap, low):
        field = (height[0] + shift).rename(name).assign_attrs(attrs)
        mesh = meshes(panels(plot.maps({"a": field}))["a"])[0]
        bottom, top = mesh.get_clim()
        assert mesh.get_cmap().name == cmap.name
        if low == "symmetric":
            assert bottom == -top
        elif low is not None:
            assert bottom == low

    def test_degrees_are_named_across_the_meridian(self, height):
        ax = panels(plot.maps({"a": height[0]}))["a"]
        east = labels(ax.xaxis)
        assert {"2°W", "0°", "2°E"} <= set(east)
        assert set(labels(ax.yaxis)) <= {f"{d:g}°N" for d in np.arange(38, 46, 0.5)}

    def test_a_projected_grid_is_in_kilometres(self, height):
        field = height.rename(lat="y", lon="x")
        metres = {"units": "m"}
        field["y"] = ("y", 1e4 * np.arange(8), metres | {"axis": "Y"})
        field["x"] = ("x", 1e4 * np.arange(12), metres | {"axis": "X"})
        ax = panels(plot.maps({"a": field}, time=0))["a"]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (km)", "y (km)")
        assert ax.get_xlim()[1] == pytest.approx(115)

    @pytest.mark.parametrize("time", [2, "2020-01-03", np.datetime64("2020-01-03T05")])
    def test_a_time_is_a_position_or_the_nearest_date(self, height, time):
        ax = panels(plot.maps({"a": height.transpose("lon", "time", "lat")}, time=time))["a"]
        np.testing.assert_array_equal(shown(ax), height[2])

    def test_dask_arrays_are_drawn(self, height):
        ax = panels(plot.maps({"a": height.chunk(time=1)}, time=1))["a"]
        np.testing.assert_array_equal(shown(ax), height[1])

    def test_many_maps_go_into_rows(self, height):
        figure = plot.maps({f"day {k}": height[k] for k in range(5)}, columns=2)
        assert len(panels(figure)) == 5

    def test_what_cannot_be_drawn_is_refused(self, height):
        with pytest.raises(OptionError, match="no map"):
            plot.maps({})
        with pytest.raises(OptionError, match="5 times"):
            plot.maps({"a": height})
        with pytest.raises(OptionError, match="Dataset"):
            plot.maps({"a": height.to_dataset()})
        with pytest.raises(OptionError, match="along the others"):
            plot.maps({"a": height.expand_dims(depth=[0, 10])}, time=0)


class TestComparison:
    def test_errors_stand_below_their_analyses(self, height):
        off = height + 0.03
        figure = plot.comparison(height, height.where(height > 1), {"A": off, "B": height})
        drawn = panels(figure)
        below = ["error: rms 0.030 m", "error: rms 0.0 m"]
        assert list(drawn) == ["truth", "observations", "A", "B", *below]
        np.testing.assert_allclose(
            shown(drawn["error: rms 0.030 m"]), (off - height)[2], atol=1e-12
        )
        low, high = meshes(drawn["error: rms 0.030 m"])[0].get_clim()
        assert low == -high
        assert bars(figure) == {"sea surface height (m)", "analysis − truth (m)"}

    def test_a_predicted_error_is_drawn(self, height):
        analysis = xr.Dataset({"ssh": height, "ssh_error": 0 * height + 0.1})
        figure = plot.comparison(height, height, {"A": height, "B": analysis}, time=0)
        drawn = panels(figure)["predicted error, B"]
        np.testing.assert_allclose(shown(drawn)[height[0].notnull()], 0.1)
        assert "one standard deviation (m)" in bars(figure)

    def test_another_orientation_is_another_way_of_writing(self, height):
        turned = (height + 0.1).isel(time=slice(None, None, -1)).transpose("lon", "lat", "time")
        figure = plot.comparison(height, height, {"A": turned.sortby("time")})
        assert "error: rms 0.10 m" in panels(figure)

    def test_what_cannot_be_compared_is_refused(self, height):
        with pytest.raises(OptionError, match="no analysis"):
            plot.comparison(height, height, {})
        with pytest.raises(OptionError, match="dataset has 'sla'"):
            plot.comparison(height, height, {"A": height.to_dataset(name="sla")})
        with pytest.raises(GridError):
            plot.comparison(height, height, {"A": height.assign_coords(lat=height.lat + 1)})
        with pytest.raises(DataError, match="unfilled"):
            plot.comparison(height, height, {"A": height.where(height > 0)})


class TestPlan:
    def test_one_tile_and_its_halo_are_marked(self):
        plan = tiling.plan((10, 60, 80), (10, 20, 20), (0, 4, 4))
        ax = plan.plot(tile=(1, 2))
        boxes = {p.get_bbox().bounds for p in ax.patches}
        assert (40.0, 20.0, 20.0, 20.0) in boxes
        assert (36.0, 16.0, 28.0, 28.0) in boxes
        assert "3 × 4 tiles" in ax.get_title(loc="left")

    def test_a_halo_that_wraps_comes_in_on_the_other_side(self):
        plan = tiling.plan((1, 40, 80), (1, 40, 20), (0, 0, 4), periodic=True)
        ax = plot.plan(plan, tile=(0, 0))
        west = {p.get_bbox().x0 for p in ax.patches if p.get_bbox().width == 28}
        assert {-4.0, 76.0} <= west

    def test_an_axes_of_the_user_is_drawn_on(self):
        _, ax = plt.subplots()
        assert tiling.plan((1, 8, 8), (1, 8, 8), (0, 0, 0)).plot(ax=ax) is ax

    def test_a_tile_that_is_not_there_is_refused(self):
        with pytest.raises(OptionError, match="1 x 1 tiles"):
            tiling.plan((1, 8, 8), (1, 8, 8), (0, 0, 0)).plot(tile=(1, 0))


class TestLearningCurve:
    def test_both_losses_are_drawn(self):
        history = [{"step": k, "loss": 1 / k, "validation": 2 / k} for k in (1, 2, 4)]
        ax = plot.learning_curve(history)
        assert [line.get_label() for line in ax.lines] == ["training", "validation"]
        np.testing.assert_array_equal(ax.lines[1].get_ydata(), [2, 1, 0.5])

    def test_what_is_no_history_is_refused(self):
        for history in ([], [{"loss": 1.0}]):
            with pytest.raises(OptionError, match="step"):
                plot.learning_curve(history)


def test_a_missing_library_is_named_with_its_cure(height, monkeypatch):
    monkeypatch.setitem(sys.modules, "cmocean", None)
    with pytest.raises(ImportError, match=r"xinverse\[plot\]"):
        plot.maps({"a": height[0]})
