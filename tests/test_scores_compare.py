"""Several analyses against one truth: numbers, table, figure, and what is computed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes

import xinverse
from xinverse import scores
from xinverse.errors import DataError, GridError, OptionError, UnitsError

TABLE = ["µ", "µ daily", "σ", "RMSE (m)", "nMSE", "gain (%)"]


@pytest.fixture
def truth(rng):
    values = rng.standard_normal((16, 10, 24)).cumsum(axis=2)
    return xr.DataArray(
        0.1 * values,
        {
            "time": pd.date_range("2020-01-01", periods=16),
            "latitude": 35 + 0.2 * np.arange(10),
            "longitude": 0.2 * np.arange(24),
        },
        ("time", "latitude", "longitude"),
        "ssh",
        {"units": "m", "long_name": "sea surface height"},
    )


@pytest.fixture
def maps(truth, rng):
    noise = rng.standard_normal(truth.shape)
    return {"far": truth + 0.1 * noise, "near": truth + 0.05 * noise}


def test_the_numbers_are_those_of_the_single_scores(truth, maps):
    found = xinverse.compare(maps, truth).scores
    assert list(found.analysis.values) == ["far", "near"]
    for name, one in maps.items():
        row = found.sel(analysis=name)
        single = xr.merge(
            [
                scores.mu_sigma(one, truth)[["mu", "mu_daily", "sigma", "rmse"]],
                scores.spectral_scores(one, truth)[["lambda_x", "lambda_x_km", "lambda_t"]],
                scores.current_scores(one, truth)[["current_rmse", "current_normalised_mse"]],
            ],
            compat="override",
        )
        for key, value in single.data_vars.items():
            np.testing.assert_allclose(row[key], value)
            assert found[key].units == value.units
        assert float(row.normalised_mse) == float(scores.normalised_mse(one, truth))
    np.testing.assert_allclose(found.gain, [0, 75])


def test_the_table_shows_units_and_every_analysis(truth, maps):
    comparison = xinverse.compare(maps, truth)
    title, head, *rows = repr(comparison).splitlines()
    assert title == (
        "xinverse, scores of ssh against a truth of 16 time x 10 latitude x 24 longitude"
    )
    for heading in [*TABLE, "λx (°)", "λx (km)", "λt (days)", "current nMSE"]:
        assert heading in head
    assert [row.split()[0] for row in rows] == ["far", "near"]
    assert "75.0" in rows[1]
    assert len({len(line) for line in (head, *rows)}) == 1
    html = comparison._repr_html_()
    for heading in TABLE:
        assert f"{heading}</th>" in html
    assert html.count("<tr>") == 3


def test_a_scale_that_may_be_smaller_is_marked(truth, maps):
    comparison = xinverse.compare({"perfect": truth, "nothing": 0 * truth, **maps}, truth)
    *_, perfect, nothing, far, _ = repr(comparison).splitlines()
    assert perfect.count("≤") == 3
    assert nothing.split()[-4:-1] == ["-", "-", "-"]
    smallest = float(comparison.spectra.wavelength[-1])
    is_bound = float(comparison.scores.lambda_x.sel(analysis="far")) <= smallest
    assert ("≤" in far.split()[7]) is is_bound
    assert "≤" not in "".join(far.split()[:7])


def test_html_of_names_is_escaped(truth):
    html = xinverse.compare({"<b>": truth}, truth)._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


def test_lazy_maps_are_computed_once_and_together(truth, maps):
    loads = []

    def count(block):
        loads.append(block.shape)
        return block

    source = truth.chunk(time=16).copy()
    source.data = source.data.map_blocks(count, dtype=float, meta=np.empty((0, 0, 0)))
    lazy = {"same": source + 0.1, "dataset": (0.5 * source).to_dataset(name="ssh")}
    with raise_if_dask_computes(1) as scheduler:
        found = xinverse.compare(lazy, source)
    assert scheduler.computed == 1
    assert len(loads) == 1
    expected = xinverse.compare({"same": truth + 0.1, "dataset": 0.5 * truth}, truth)
    xr.testing.assert_allclose(found.scores, expected.scores)
    assert found.analyses["same"].chunks is None


def test_what_the_grid_does_not_allow_is_told(truth, maps):
    coast = truth.where(truth.longitude != truth.longitude[12])
    found = xinverse.compare(maps, coast)
    assert found.spectra is None
    assert np.isnan(found.scores.lambda_x).all()
    text = repr(found)
    assert "λx (km)" not in text
    assert text.count("No λx, λt: Each of the 10 rows") == 1


def test_only_heights_have_currents(truth, maps):
    warm = truth.rename("sst").assign_attrs(units="K")
    found = xinverse.compare({k: v.assign_attrs(units="K") for k, v in maps.items()}, warm)
    assert np.isnan(found.scores.current_rmse).all()
    assert not found.notes
    assert "RMSE (K)" in repr(found)
    bare = xinverse.compare(maps, truth.drop_attrs())
    assert "No currents: " in repr(bare)


def test_dimensions_may_be_named(truth, maps):
    odd = {"time": "a", "latitude": "b", "longitude": "c"}
    dims = {"time": "a", "y": "b", "x": "c"}
    attrs = {"b": {"units": "degrees_north"}, "c": {"units": "degrees_east"}}

    def rename(field):
        other = field.rename(odd)
        for name, given in attrs.items():
            other[name].attrs.update(given)
        return other

    found = xinverse.compare({k: rename(v) for k, v in maps.items()}, rename(truth), dims=dims)
    xr.testing.assert_allclose(found.scores, xinverse.compare(maps, truth).scores)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda maps, truth: ({}, truth), OptionError, "empty"),
        (lambda maps, truth: (maps["far"], truth), OptionError, "a DataArray"),
        (lambda maps, truth: (maps, truth.to_dataset()), OptionError, "select a variable"),
        (lambda maps, truth: ({"a": 3.0}, truth), OptionError, "float"),
        (lambda maps, truth: ({"a": xr.Dataset()}, truth), OptionError, "'ssh'"),
        (lambda maps, truth: ({"a": truth[1:]}, truth), GridError, "'time'"),
        (lambda maps, truth: ({"a": truth.where(truth > 0)}, truth), DataError, "unfilled"),
        (
            lambda maps, truth: ({"a": truth.assign_attrs(units="K")}, truth),
            UnitsError,
            "'K'",
        ),
    ],
)
def test_mistakes_are_named(truth, maps, change, error, match):
    with pytest.raises(error, match=match):
        xinverse.compare(*change(maps, truth))


def test_a_misplaced_lazy_map_is_refused_before_it_is_computed(truth):
    with raise_if_dask_computes(), pytest.raises(GridError):
        xinverse.compare({"a": truth.chunk(time=2)[1:]}, truth.chunk(time=2))


class TestFigure:
    @pytest.fixture(autouse=True)
    def _matplotlib(self):
        pytest.importorskip("cmocean")
        plt = pytest.importorskip("matplotlib.pyplot")
        yield
        plt.close("all")

    def panels(self, figure):
        return {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}

    def test_maps_errors_series_and_spectra(self, truth, maps):
        land = (truth.latitude > 36.5) & (truth.longitude > 4)
        figure = xinverse.compare(maps, truth.where(~land)).plot()
        drawn = self.panels(figure)
        assert [name for name in drawn if not name.startswith("error")] == [
            "truth",
            "far",
            "near",
        ]
        below = [name for name in drawn if name.startswith("error: rms")]
        assert len(below) == 2
        assert all(name.endswith(" m") for name in below)

        def limits(names):
            return {drawn[name].collections[0].get_clim() for name in names}

        assert len(limits(["truth", "far", "near"])) == len(limits(below)) == 1
        series = drawn["error in time"]
        assert [line.get_label() for line in series.lines] == ["far", "near"]
        assert series.get_ylabel() == "RMSE (m)"
        ratio = drawn["error by wavelength, mean of all periods"]
        assert ratio.get_xlabel() == "wavelength (degrees)"
        assert 0.5 in [line.get_ydata()[0] for line in ratio.lines]

    def test_a_day_may_be_chosen_and_spectra_may_be_missing(self, truth, maps):
        coast = truth.where(truth.longitude != truth.longitude[12])
        figure = xinverse.compare(maps, coast).plot("2020-01-03")
        texts = [text.get_text() for ax in figure.axes for text in ax.texts]
        assert "no spectra" in texts
        assert any(text.startswith("2020-01-03") for text in texts)
        for same in (2, coast.time[2], np.datetime64("2020-01-03T02:00")):
            figure = xinverse.compare(maps, coast).plot(same)
            texts = [text.get_text() for ax in figure.axes for text in ax.texts]
            assert "2020-01-03" in texts

    def test_another_calendar_is_drawn_in_days(self, truth, maps):
        pytest.importorskip("cftime")
        time = xr.date_range("2000-01-01", periods=16, calendar="360_day", use_cftime=True)
        found = xinverse.compare(
            {k: v.assign_coords(time=time) for k, v in maps.items()},
            truth.assign_coords(time=time),
        )
        assert self.panels(found.plot())["error in time"].get_xlabel() == "days"
