"""What users are used to from other packages, and from xarray."""

from __future__ import annotations

import datetime
import subprocess
import sys

import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from strategies import Layout, build

import xinverse
from xinverse.errors import OptionError, UnknownNameError


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("kriging", "oi"),
        ("Optimal interpolation", "oi"),
        ("4dvarnet-starter", "4dvarnet-reference"),
        ("4dvarnet_starter", "4dvarnet-reference"),
        ("spline", "tikhonov"),
        ("dincae", "unet"),
        ("DINEOF", "dineof"),
    ],
)
def test_names_of_other_packages_get_a_suggestion(name, meant):
    with pytest.raises(UnknownNameError, match=rf"{name}'\. Did you mean '{meant}'\?"):
        build(Layout()).inverse.interpolate(method=name)


def test_a_misspelled_keyword_of_the_verb_gets_a_suggestion():
    with pytest.raises(OptionError, match="no option 'variable'. Did you mean 'variables'"):
        build(Layout()).to_dataset().inverse.interpolate(variable="sla")


@pytest.mark.parametrize(
    "days",
    [
        np.timedelta64(2, "D"),
        np.timedelta64(48, "h"),
        pd.Timedelta("2D"),
        datetime.timedelta(days=2),
    ],
)
def test_durations_are_days(days):
    data = build(Layout())
    scales = {"length_scale": 100.0, "noise": 0.1}
    expected = data.inverse.interpolate(**scales, time_scale=2, max_gap=2)
    found = data.inverse.interpolate(**scales, time_scale=days, max_gap=days)
    np.testing.assert_allclose(found, expected)
    ahead = data.inverse.forecast(days=days, **scales, time_scale=days)
    np.testing.assert_allclose(ahead, data.inverse.forecast(days=2, **scales, time_scale=2))


def test_a_duration_is_no_length():
    with pytest.raises(OptionError, match="length_scale"):
        build(Layout()).inverse.interpolate(length_scale=np.timedelta64(5, "D"))


def test_an_unnamed_dask_array_stays_unnamed():
    data = build(Layout())
    lazy = xr.DataArray(dask.array.from_array(data.data), data.coords, data.dims)
    assert lazy.name is not None  # a key of the graph
    assert lazy.inverse.interpolate().name is None
    assert "field_error" in lazy.inverse.interpolate(error=True)


def test_plot_is_there_after_the_import_and_imports_nothing_before():
    code = (
        "import sys, xinverse; assert 'plot' in dir(xinverse);"
        "heavy = {'torch', 'cupy', 'distributed', 'matplotlib', 'xinverse.plot'};"
        "assert not heavy & set(sys.modules); print(xinverse.plot.maps.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert done.stdout == "maps\n", done.stderr
    with pytest.raises(AttributeError, match="no attribute 'plott'"):
        xinverse.plott  # noqa: B018


@pytest.mark.parametrize("as_dataset", [False, True])
def test_every_verb_is_offered_by_tab(as_dataset):
    obj = build(Layout()).to_dataset() if as_dataset else build(Layout())
    verbs = {"interpolate", "denoise", "deconvolve", "downscale", "forecast", "train"}
    assert verbs <= set(dir(obj.inverse))
