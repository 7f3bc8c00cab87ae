"""What a user can get wrong in the verbs besides interpolate, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import verb_cases as dense
import xarray as xr
from dask_counting import raise_if_dask_computes

import xinverse
from xinverse.errors import AxesError, GridError, OptionError, UnknownNameError, XinverseError

Y, X = 30 + 0.25 * np.arange(6), 5 + 0.25 * np.arange(7)
DATA = dense.labelled(np.random.default_rng(0).normal(size=(4, 6, 7)), Y, X, degrees=True)
LIKE = dense.labelled(
    np.zeros((1, 12, 14)),
    29.9375 + 0.125 * np.arange(12),
    4.9375 + 0.125 * np.arange(14),
    degrees=True,
)
OPTIONS = {"background": 0.0, "length_scale": 50.0, "time_scale": 2.0}
NEEDED = {
    "denoise": {"noise": 0.3},
    "deconvolve": {"psf": 30.0, "noise": 0.3},
    "downscale": {"like": LIKE, "noise": 0.3},
    "forecast": {"days": 2, "noise": 0.3},
    "interpolate": {"together": True, "correlation": 0.5},
}


def uneven(data: xr.DataArray) -> xr.DataArray:
    return data.isel(time=[0, 1, 3])


def pair(data: xr.DataArray) -> xr.Dataset:
    return xr.Dataset({"ssh": data, "sst": data.rename("sst") + 20})


@dataclass
class Mistake:
    """A verb, the error and a pattern of its text; what is wrong in the data or the call."""

    verb: str
    error: type[XinverseError]
    text: str
    call: dict[str, Any] = field(default_factory=dict)
    data: Callable[[xr.DataArray], Any] = lambda data: data


MISTAKES = {
    "an array instead of a field": Mistake(
        "denoise",
        OptionError,
        r"Got a ndarray to denoise; an xarray Dataset or DataArray",
        data=lambda data: data.values,
    ),
    "denoise without time": Mistake(
        "denoise", AxesError, r"No time axis was found", data=lambda data: data.isel(time=0)
    ),
    "no noise to remove": Mistake(
        "denoise", OptionError, r"noise=0: expected a number above 0", {"noise": 0}
    ),
    "noise None": Mistake("denoise", OptionError, r"noise=None: expected", {"noise": None}),
    "noise without labels": Mistake(
        "denoise",
        OptionError,
        r"noise is an array without labels",
        {"noise": np.ones((4, 6, 7))},
    ),
    "noise elsewhere": Mistake(
        "denoise",
        OptionError,
        r"noise: the coordinates of .* are not those of 'ssh'",
        {"noise": abs(DATA.assign_coords(lat=Y + 5))},
    ),
    "an unknown method": Mistake(
        "denoise",
        UnknownNameError,
        r"no method named 'tikonov'. Did you mean 'tikhonov'",
        {"method": "tikonov"},
    ),
    "an unknown option": Mistake(
        "denoise",
        OptionError,
        r"method='tv' has no option 'wieght'\. Did you mean 'weight'",
        {"method": "tv", "wieght": 3.0},
    ),
    "a weight of zero": Mistake(
        "denoise",
        OptionError,
        r"weight=0: expected a number above 0",
        {"method": "tikhonov", "weight": 0},
    ),
    "a tolerance of one": Mistake(
        "denoise",
        OptionError,
        r"tolerance=1\.?0?: expected a number above 0 and below 1",
        {"method": "tv", "tolerance": 1.0},
    ),
    "no iterations": Mistake(
        "denoise",
        OptionError,
        r"iterations=0: expected a whole number",
        {"method": "tv", "iterations": 0},
    ),
    "an error of tikhonov": Mistake(
        "denoise",
        OptionError,
        r"method='tikhonov' gives no error\. method='oi' does",
        {"method": "tikhonov", "error": True},
    ),
    "members of tv": Mistake(
        "forecast",
        OptionError,
        r"method='tv' gives no members\. method='oi' does",
        {"method": "tv", "members": 2},
    ),
    "a psf of three axes": Mistake(
        "deconvolve",
        OptionError,
        r"psf of shape \(3, 3, 3\).* expected a standard deviation",
        {"psf": np.ones((3, 3, 3))},
    ),
    "a psf of three numbers": Mistake(
        "deconvolve", OptionError, r"psf=\(1, 2, 3\).* two of them", {"psf": (1, 2, 3)}
    ),
    "a psf with NaN": Mistake(
        "deconvolve",
        OptionError,
        r"finite values",
        {"psf": np.full((3, 3), np.nan)},
    ),
    "a psf of even sides": Mistake(
        "deconvolve", OptionError, r"shape \(2, 3\).* odd", {"psf": np.ones((2, 3))}
    ),
    "an empty psf": Mistake(
        "deconvolve", OptionError, r"psf of shape \(0, 3\)", {"psf": np.ones((0, 3))}
    ),
    "a psf of zeros": Mistake(
        "deconvolve", OptionError, r"psf.* not all zero", {"psf": np.zeros((3, 3))}
    ),
    "a negative scale": Mistake("deconvolve", OptionError, r"psf=-30.*above 0", {"psf": -30.0}),
    "a scale of zero": Mistake("deconvolve", OptionError, r"psf=.*above 0", {"psf": (0, 20)}),
    "a scale in words": Mistake(
        "deconvolve",
        OptionError,
        r"psf='30 km'.* expected a standard deviation",
        {"psf": "30 km"},
    ),
    "an angle of an array": Mistake(
        "deconvolve", OptionError, r"without angle=", {"psf": np.ones((3, 3)), "angle": 30}
    ),
    "an angle that is not a number": Mistake(
        "deconvolve",
        OptionError,
        r"angle=nan: expected a number",
        {"psf": (30, 20), "angle": np.nan},
    ),
    "an angle in words": Mistake(
        "deconvolve",
        OptionError,
        r"angle='north': expected",
        {"psf": (30, 20), "angle": "north"},
    ),
    "a learned method through a blur": Mistake(
        "deconvolve",
        OptionError,
        r"method='4dvarnet' takes observations of the field itself.*Use method='oi', "
        r"'tikhonov', 'tv'",
        {"method": "4dvarnet", "noise": 0.02, "length_scale": None, "time_scale": None},
        lambda data: fine(data),  # noqa: PLW0108  defined below
    ),
    "nothing to be like": Mistake(
        "downscale", OptionError, r"Got a dict to take the grid from", {"like": {"lat": 3}}
    ),
    "a coarser grid": Mistake(
        "downscale",
        GridError,
        r"like has .* each with more cells",
        {"like": DATA.isel(lat=slice(None, None, 2), lon=slice(None, None, 2))},
    ),
    "the same grid": Mistake("downscale", GridError, r"each with more cells", {"like": DATA}),
    "a grid without coordinates": Mistake(
        "downscale",
        GridError,
        r"expected 1-D coordinates 'lat' and 'lon'",
        {"like": LIKE.drop_vars("lat")},
    ),
    "a grid by other names": Mistake(
        "downscale",
        GridError,
        r"Rename those of like",
        {"like": LIKE.rename(lat="latitude", lon="longitude")},
    ),
    "a curvilinear grid": Mistake(
        "downscale",
        GridError,
        r"expected 1-D coordinates 'lat' and 'lon'",
        {
            "like": xr.Dataset(
                coords={
                    "lat": (("j", "i"), np.ones((9, 9))),
                    "lon": (("j", "i"), np.ones((9, 9))),
                }
            )
        },
    ),
    "a grid elsewhere": Mistake(
        "downscale",
        GridError,
        r"'ssh' and like lie apart along 'lat'",
        {"like": LIKE.assign_coords(lat=LIKE.lat + 40)},
    ),
    "a mask of the coarse grid": Mistake(
        "downscale",
        xinverse.errors.MaskError,
        r"The mask has shape \(6, 7\)",
        {"mask": np.ones((6, 7), bool)},
    ),
    "no days": Mistake(
        "forecast", OptionError, r"days=0: expected a number above 0", {"days": 0}
    ),
    "days before": Mistake("forecast", OptionError, r"days=-1: expected", {"days": -1}),
    "days that are NaN": Mistake(
        "forecast", OptionError, r"days=nan: expected", {"days": np.nan}
    ),
    "days without end": Mistake(
        "forecast", OptionError, r"days=inf: expected", {"days": np.inf}
    ),
    "days in words": Mistake(
        "forecast", OptionError, r"days='a week': expected", {"days": "a week"}
    ),
    "less than a step": Mistake(
        "forecast", GridError, r"days=0.5 is less than a time step", {"days": 0.5}
    ),
    "uneven steps": Mistake("forecast", GridError, r"its steps vary", {}, uneven),
    "a single time": Mistake(
        "forecast", GridError, r"'ssh' has one time", {}, lambda data: data.isel(time=[0])
    ),
    "a background that ends": Mistake(
        "forecast",
        OptionError,
        r"background: expected a number in a forecast",
        {"background": DATA},
    ),
    "a noise that ends": Mistake(
        "forecast",
        OptionError,
        r"noise: expected a number in a forecast",
        {"noise": abs(DATA)},
    ),
    "one variable together": Mistake(
        "interpolate",
        OptionError,
        r"together=True solves several variables, and there is 'ssh'",
        data=lambda data: data.to_dataset(),
    ),
    "an array together": Mistake(
        "interpolate", OptionError, r"together=True solves several variables: give a dataset"
    ),
    "together without a correlation": Mistake(
        "interpolate",
        OptionError,
        r"correlation=None: expected the correlations between 'ssh', "
        r"'sst', a 2 x 2 matrix, or one number",
        {"correlation": None},
        pair,
    ),
    "a correlation above one": Mistake(
        "interpolate",
        OptionError,
        r"correlation=1.5: expected a number from -1 to 1",
        {"correlation": 1.5},
        pair,
    ),
    "a matrix of another size": Mistake(
        "interpolate",
        OptionError,
        r"expected the correlations between 'ssh', 'sst'",
        {"correlation": np.eye(3).tolist()},
        pair,
    ),
    "a method that couples nothing": Mistake(
        "interpolate",
        OptionError,
        r"method='tikhonov' takes one variable at a time",
        {"method": "tikhonov", "correlation": ...},
        pair,
    ),
}


def fine(data: xr.DataArray) -> xr.DataArray:
    """Two windows of daily maps, 1/8 degree: what the bundled weights were trained for."""
    days = DATA.time.values[0] + np.arange(24) * dense.DAY
    longer = xr.concat([data] * 6, "time").assign_coords(time=days)
    return longer.assign_coords(
        lat=("lat", 30 + np.arange(6) / 8, data.lat.attrs),
        lon=("lon", 5 + np.arange(7) / 8, data.lon.attrs),
    )


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_it_is_said_at_the_call(mistake, lazy):
    obj = mistake.data(DATA)
    if lazy and not isinstance(obj, np.ndarray):
        obj = obj.chunk()
    call = {**OPTIONS, **NEEDED[mistake.verb], **mistake.call}
    call = {name: value for name, value in call.items() if value is not ...}
    verb = getattr(xinverse, mistake.verb)
    with raise_if_dask_computes(), pytest.raises(XinverseError, match=mistake.text) as caught:
        verb(obj, **call)
    assert type(caught.value) is mistake.error
