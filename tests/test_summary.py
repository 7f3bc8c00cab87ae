from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes
from hypothesis import given
from strategies import Layout, build, layouts

import xinverse.weights.registry
from xinverse.fields.axes import Axes
from xinverse.summary import NOT_COMPUTED, Summary, summarise


class Card:
    """Weights for sea level only."""

    def fits(self, _grid, da):
        return None if da.name == "sla" else f"it is for 'sla', not {da.name!r} <temperature>"


@pytest.fixture
def one_card(monkeypatch):
    monkeypatch.setattr(xinverse.weights.registry, "cards", lambda: {"ssh-test": Card()})


def lines_of(summary: Summary) -> dict[str, list[str]]:
    return dict(summary.facts)


def with_sea(da: xr.DataArray) -> xr.Dataset:
    sea = xr.zeros_like(da.isel(time=0, drop=True)).assign_attrs(
        standard_name="sea_binary_mask"
    )
    sea[:, :3] = 1
    return da.to_dataset().assign(wet=sea, depth_of_model=("lat", np.zeros(4)))


def test_what_is_told_of_a_dataset(one_card):
    da = build(Layout()).fillna(0.0)
    da[0] = np.nan
    da[:, :, 3:] = np.nan
    ds = with_sea(da)
    ds["sst"] = (ds.sla * 0).assign_attrs(units="K")
    summary = summarise(ds)
    assert summary.axes == Axes("time", "lat", "lon")
    assert summary.grid.shape == (3, 4, 6)
    assert summary.observed == {"sla": pytest.approx(2 / 3), "sst": pytest.approx(2 / 3)}
    told = lines_of(summary)
    assert told["axes"] == [
        "time is 'time' (name), y is 'lat' (CF attributes), x is 'lon' (CF attributes)"
    ]
    assert told["grid"] == ["3 x 4 x 6 (time, y, x), latitude-longitude, regular"]
    assert told["spacing"] == ["55.6 km in y, 26.2 km in x at -19.2 °N"]
    assert told["extent"] == ["-20 to -18.5 °N, 10 to 11.25 °E"]
    assert told["time"] == ["2020-02-27 to 2020-02-29, every 1 day"]
    assert told["land"] == ["sea_binary_mask variable 'wet'"]
    assert told["variables"] == [
        "sla (m): 66.7 % of the sea observed",
        "sst (K): 66.7 % of the sea observed",
    ]
    assert told["weights"] == ["ssh-test: fits sla"]
    text = repr(summary)
    assert text.startswith("xinverse summary of this Dataset\n  axes       time is")
    assert all(len(line) <= 96 for line in text.splitlines())


def test_why_weights_do_not_fit(one_card):
    summary = summarise(build(Layout()).rename("sst"))
    assert lines_of(summary)["weights"] == [
        "ssh-test: does not fit. it is for 'sla', not 'sst' <temperature>"
    ]
    assert "&lt;temperature&gt;" in summary._repr_html_()


def test_html_is_escaped_and_closed():
    da = build(Layout()).rename("<script>alert(1)</script>").assign_attrs(units="m & s")
    html = summarise(da)._repr_html_()
    assert "<script>" not in html
    assert "m &amp; s" in html
    opened = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, _attrs):
            if tag != "br":
                opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Tags().feed(html)
    assert opened == []


@given(layout=layouts(lazy=True))
def test_nothing_lazy_is_computed(layout):
    da = build(layout)
    with raise_if_dask_computes():
        for obj in (da, da.to_dataset()):
            summary = summarise(obj)
            assert NOT_COMPUTED in repr(summary)
            assert NOT_COMPUTED in summary._repr_html_()
    assert summary.observed == {"sla": None}


def test_a_lazy_mask_is_not_computed():
    ds = with_sea(build(Layout()))
    ds["wet"] = ds["wet"].chunk()
    with raise_if_dask_computes():
        assert summarise(ds).observed == {"sla": None}


def test_a_file_is_not_read_to_be_shown(tmp_path):
    build(Layout()).drop_encoding().to_netcdf(tmp_path / "field.nc")
    with xr.open_dataset(tmp_path / "field.nc") as ds:
        assert summarise(ds).observed == {"sla": None}
        assert summarise(ds.isel(time=slice(1, None))).observed == {"sla": None}
        assert summarise(ds.load()).observed["sla"] > 0
        assert summarise(ds.isel(lat=slice(None, None, -1))).observed["sla"] > 0


def test_other_grids_and_times():
    da = build(Layout(names=("time", "y", "x"), order=("time", "y", "x"))).isel(time=[0, 2])
    da = da.assign_coords(
        y=("y", [0.0, 1, 2, 4], {"units": "km"}),
        x=("x", np.arange(6) * 1e3, {"units": "m"}),
        time=np.array(["2020-01-01T00", "2020-01-01T06"], "M8[ns]"),
    )
    told = lines_of(summarise(da))
    assert told["grid"] == ["2 x 4 x 6 (time, y, x), projected, irregular spacing"]
    assert told["extent"] == ["y 0 to 4 km, x 0 to 5 km"]
    assert told["time"] == ["2020-01-01 to 2020-01-01T06:00, every 6 hours"]
    told = lines_of(summarise(build(Layout(longitude="from 0", calendar="noleap"))))
    assert told["extent"][0].endswith("0 to 300 °E, round the globe")
    assert told["time"] == ["2020-02-27 to 2020-03-01, every 1 day"]
    told = lines_of(summarise(build(Layout()).isel(time=[0])))
    assert told["time"] == ["2020-02-27"]
    told = lines_of(summarise(build(Layout(shape=(4, 4, 6))).isel(time=[0, 1, 3])))
    assert told["time"] == ["2020-02-27 to 2020-03-01, irregular steps, median 1.5 days"]


def test_problems_are_told_and_not_raised():
    da = build(Layout())
    cases = [
        (da.isel(time=0), "problem", "No time axis"),
        (da.assign_coords(lat=[1.0, 1, 2, 3]), "problem", "not strictly monotonic"),
        (xr.Dataset(), "problem", "No time axis"),
        (da.isel(time=0).to_dataset().assign_coords(time=da.time), "variables", "none has"),
        (da.astype("c8"), "variables", "sla (m): problem: .*complex64"),
        (with_sea(da).assign(wet=with_sea(da).wet * 2), "land", "problem: .*not 0, 1 or NaN"),
    ]
    for obj, label, text in cases:
        line = " ".join(lines_of(summarise(obj))[label])
        assert all(part in line for part in text.split(".*"))
        assert isinstance(summarise(obj)._repr_html_(), str)
