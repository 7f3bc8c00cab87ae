"""What a user can get wrong, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes
from strategies import Layout, build

import xinverse
from xinverse.errors import (
    AxesError,
    DataError,
    DeviceError,
    GridError,
    MaskError,
    OptionError,
    TileError,
    UnitsError,
    UnknownNameError,
    WeightsError,
    XinverseError,
)
from xinverse.tiling import plan

SHAPE = (6, 10, 14)
DIMS = ("time", "lat", "lon")
BUILTIN = {OptionError: TypeError, UnknownNameError: KeyError}


def sea_level(**layout) -> xr.DataArray:
    return build(Layout(shape=SHAPE, **layout)).drop_vars(["cycle", "source"])


def fine(data: xr.DataArray) -> xr.DataArray:
    """Two windows of daily maps, 1/8 degree: what the bundled weights were trained for."""
    longer = xr.concat([data, data, data, data], "time").assign_coords(
        time=DAYS[0] + np.arange(24) * DAY, lat=("lat", LAT / 4, data.lat.attrs)
    )
    longer = longer.assign_coords(lon=("lon", LON / 2, data.lon.attrs))
    return longer.assign_attrs(standard_name="sea_surface_height_above_sea_level")


def standard(data: xr.DataArray) -> xr.DataArray:
    """Observations of deviation 1."""
    return data.copy(data=(data / data.std()).values)


def globe(step: float) -> xr.DataArray:
    """Two daily maps of the globe, one cell in ten observed."""
    lat, lon = np.arange(-90 + step / 2, 90, step), np.arange(0, 360, step)
    values = np.random.default_rng(0).standard_normal((2, lat.size, lon.size))
    values[np.random.default_rng(1).random(values.shape) > 0.1] = np.nan
    coords = {"time": DAYS[:2], "lat": lat, "lon": lon}
    return xr.DataArray(values, coords, DIMS, name="sla", attrs={"units": "m"})


@dataclass
class Mistake:
    """One mistake: in the data, or in the call."""

    error: type[XinverseError]
    text: str  # a pattern
    data: Callable[[xr.DataArray], Any] = lambda data: data
    call: dict[str, Any] = field(default_factory=dict)


def moved(name: str, values: Any, **attrs: str) -> Callable[[xr.DataArray], xr.DataArray]:
    """The field with another coordinate."""
    return lambda data: data.assign_coords({name: (name, values, attrs or data[name].attrs)})


def replaced(array: Any, position: int, value: Any) -> Any:
    array = np.array(array)
    array[position] = value
    return array


LAT = -20 + 0.5 * np.arange(10)
LON = 10 + 0.25 * np.arange(14)
DAYS = np.datetime64("2020-02-27", "ns") + np.arange(6) * np.timedelta64(1, "D")
DAY = np.timedelta64(1, "D")
MAP = xr.DataArray(np.ones((10, 14)), {"lat": LAT, "lon": LON}, ("lat", "lon"))
CUBE = xr.DataArray(np.ones(SHAPE), {"time": DAYS, "lat": LAT, "lon": LON}, DIMS, name="sigma")

# Seen from labels, shapes, names and numbers alone: refused at the call, lazy or not.
AT_THE_CALL = {
    "no time axis": Mistake(
        AxesError,
        r"No time axis was found among the dimensions \('lat': 10, 'lon': 14\)\. 'time' is a "
        r"single value.*expand_dims\('time'\).*Tried: CF attributes.*dims=\{'time'",
        lambda data: data.isel(time=0),
    ),
    "several candidates": Mistake(
        AxesError,
        r"Several dimensions could be the time axis by name: 't', 'time'\. Choose one "
        r"with dims=\{'time': 't'\}",
        lambda data: data.expand_dims(t=DAYS[:2]),
    ),
    "an axis without positions": Mistake(
        AxesError,
        r"The y axis 'lat' has no coordinate variable.*assign_coords\(\{'lat'",
        lambda data: data.drop_vars("lat"),
    ),
    "a curvilinear grid": Mistake(
        AxesError,
        r"'lat' has the dimensions \('y', 'x'\): the grid is curvilinear.*Regrid",
        lambda data: (
            data.drop_vars(["lat", "lon"])
            .rename(lat="y", lon="x")
            .assign_coords(lat=(("y", "x"), MAP.data), lon=(("y", "x"), MAP.data))
        ),
    ),
    "dims that are not there": Mistake(
        AxesError,
        r"dims names 'nlat' as y, but the dimensions are \('time': 6, 'lat': 10",
        call={"dims": {"y": "nlat"}},
    ),
    "dims by another name": Mistake(
        AxesError,
        r"dims has the keys \['latitude'\]\. Expected only 'time', 'y' and 'x'",
        call={"dims": {"latitude": "lat"}},
    ),
    "dims that are no mapping": Mistake(
        OptionError,
        r"dims is a list\. Expected a mapping",
        call={"dims": ["time", "lat", "lon"]},
    ),
    "a dataset without a field": Mistake(
        AxesError,
        r"No variable of the dataset is a field on 'time', 'lat' and 'lon'; its variables are "
        r"\['count'\]\. Select one as a DataArray",
        lambda data: data.notnull().astype("i4").to_dataset(name="count"),
    ),
    "irregular spacing": Mistake(
        GridError,
        r"method='oi' with covariance='matern32' needs a regular grid in space; the "
        r"spacing of y or x varies\. Interpolate.*covariance='gaussian'",
        moved("lat", replaced(LAT, 9, -15.0)),
        {"covariance": "matern32"},
    ),
    "irregular times": Mistake(
        WeightsError,
        r"need a regular time step of 1 days; the time steps of this grid differ\. Resample",
        lambda data: fine(data).isel(time=[*range(20), 23]),
        {"method": "4dvarnet", "length_scale": None, "noise": 0.02},
    ),
    "an error that a method does not give": Mistake(
        OptionError,
        r"method='4dvarnet' gives no error\. method='oi' does; xinverse.methods\(\) lists",
        fine,
        {"method": "4dvarnet", "error": True},
    ),
    "a coordinate out of order": Mistake(
        GridError,
        r"The coordinate 'lat' is not strictly monotonic.*sortby\('lat'\)",
        moved("lat", replaced(LAT, 3, -10.0)),
    ),
    "a missing position": Mistake(
        GridError,
        r"The coordinate 'lon' has 1 missing or infinite values, the first at position 2",
        moved("lon", replaced(LON, 2, np.nan)),
    ),
    "times out of order": Mistake(
        GridError,
        r"The times of 'time' are not strictly ascending: .* at position 1\. .*"
        r"sortby\('time'\)",
        moved("time", DAYS[::-1]),
    ),
    "the first longitude twice": Mistake(
        GridError,
        r"The last longitude of 'lon' \(360\) repeats the first \(0\), once round.*isel",
        moved("lon", np.linspace(0, 360, 14)),
    ),
    "a single row": Mistake(
        GridError,
        r"The y axis 'lat' has 1 cell\. Expected at least 2: give",
        lambda data: data.isel(lat=[0]),
    ),
    "positions in unknown units": Mistake(
        UnitsError,
        r"The x axis 'lon' has the units 'furlong'\. Expected 'degrees_east', 'm' or 'km'",
        moved("lon", LON, units="furlong"),
    ),
    "times in months": Mistake(
        UnitsError,
        r"The time axis 'time' holds numbers with the units 'months since 2000-01-01'\. "
        r"Expected dates, or units of fixed length",
        moved("time", np.arange(6), units="months since 2000-01-01"),
    ),
    "complex numbers": Mistake(
        DataError,
        r"The variable 'sla' holds complex128 values\. Expected real numbers: pass its real",
        lambda data: data.astype("c16"),
    ),
    "no value at all": Mistake(
        DataError,
        r"The variable 'sla' is empty: its sizes are \{'time': 6, 'lat': 10, .*'z': 0\}",
        lambda data: data.expand_dims(z=0).transpose(*DIMS, "z"),
    ),
    "a method that does not exist": Mistake(
        UnknownNameError,
        r"no method named .4dvarnets.\. Did you mean .4dvarnet.( or '[^']+')*\? Known .*oi",
        call={"method": "4dvarnets"},
    ),
    "no method's name": Mistake(
        UnknownNameError, r"There is no method named 4\. Known methods", call={"method": 4}
    ),
    "an option that does not exist": Mistake(
        OptionError,
        r"method='oi' has no option 'lenght_scale'\. Did you mean 'length_scale'\? Its options "
        r"are 'length_scale', 'time_scale'",
        call={"lenght_scale": 100},
    ),
    "no scale": Mistake(
        OptionError, r"length_scale=0: expected a number above 0", call={"length_scale": 0}
    ),
    "a scale in words": Mistake(
        OptionError, r"time_scale='10 days': expected a num", call={"time_scale": "10 days"}
    ),
    "a scale that is an array": Mistake(
        OptionError,
        r"length_scale is a variable, and method='oi' expects a number there\. It takes a "
        r"variable as noise, background",
        call={"length_scale": MAP},
    ),
    "a noise that is negative": Mistake(
        OptionError, r"noise=-0.1: expected a number above 0", call={"noise": -0.1}
    ),
    "a variance that is not a number": Mistake(
        OptionError, r"variance=nan: expected a number above 0", call={"variance": np.nan}
    ),
    "a covariance that does not exist": Mistake(
        OptionError,
        r"covariance='gauss': expected one of 'gaussian', 'matern12'",
        call={"covariance": "gauss"},
    ),
    "a seed that is no number": Mistake(
        OptionError, r"seed=0.5: expected a whole number", call={"seed": 0.5}
    ),
    "a background that is not a number": Mistake(
        OptionError,
        r"background=nan: expected a finite number, an xarray.DataArray, or the name",
        call={"background": np.nan},
    ),
    "a background that is a list": Mistake(
        OptionError,
        r"background=\[1, 2\]: expected a finite number",
        call={"background": [1, 2]},
    ),
    "an array without labels": Mistake(
        OptionError,
        r"noise is an array without labels\. Give a number, or an xarray.DataArray on the "
        r"dimensions of the field\.",
        call={"noise": np.ones(SHAPE)},
    ),
    "a variable that is not there": Mistake(
        UnknownNameError,
        r"There is no variable named 'sla_nois'\. Did you mean 'sla_noise'",
        lambda data: data.to_dataset().assign(sla_noise=CUBE),
        {"noise": "sla_nois"},
    ),
    "a variable on other dimensions": Mistake(
        OptionError,
        r"noise: the variable 'sigma' has the dimensions \['depth'\], which 'sla' with "
        r"\('time', 'lat', 'lon'\) has not",
        call={"noise": CUBE.expand_dims(depth=2)},
    ),
    "a variable elsewhere": Mistake(
        OptionError,
        r"background: the coordinates of 'sigma' are not those of 'sla'\. .*interp_like",
        call={"background": CUBE.assign_coords(lat=LAT + 5)},
    ),
    "a variable of words": Mistake(
        DataError,
        r"noise: 'sigma' holds <U1, numbers expected",
        call={"noise": CUBE.astype("U1")},
    ),
    "a mask of another shape": Mistake(
        MaskError,
        r"The mask has shape \(14, 10\), and the field has \('lat', 'lon'\) = \(10, 14\)",
        call={"mask": np.ones((14, 10), bool)},
    ),
    "a labelled mask of another shape": Mistake(
        MaskError,
        r"The mask \(mask argument\) has shape \(9, 14\), and the field .*"
        r"Expected a mask on the field's grid",
        call={"mask": MAP[:9]},
    ),
    "a mask elsewhere": Mistake(
        MaskError,
        r"has 'lat' from -15.0 to -10.5, and the field from -20.0 to -15.5.*interp_like",
        call={"mask": MAP.assign_coords(lat=LAT + 5)},
    ),
    "a mask in time": Mistake(
        MaskError,
        r"has the dimensions \('time', 'lat', 'lon'\)\. Expected \('lat', 'lon'\)\. "
        r"Select one: mask.isel\(time=0",
        call={"mask": CUBE},
    ),
    "a mask of flags": Mistake(
        MaskError,
        r"holds 140 values that are not 0, 1 or NaN.*mask == 1",
        call={"mask": 2 * MAP},
    ),
    "a mask without sea": Mistake(
        MaskError, r"has no sea in 140 cells\. .*pass ~mask", call={"mask": 0 * MAP}
    ),
    "a mask that is not there": Mistake(
        MaskError,
        r"There is no variable 'land' to use as the mask\. Kn",
        call={"mask": "land"},
    ),
    "weights for a method that has none": Mistake(
        OptionError,
        r"method='oi' has no weights and takes no weights=",
        call={"weights": "ssh.safetensors"},
    ),
    "a device that does not exist": Mistake(
        DeviceError,
        r"device='gpu': expected 'auto', 'cpu', 'mps', 'cuda' or 'cuda:N'",
        call={"device": "gpu"},
    ),
    "a GPU without a number": Mistake(
        DeviceError, r"device='cuda:x'", call={"device": "cuda:x"}
    ),
    "a tile that cannot fit in memory": Mistake(
        TileError,
        r"A tile of 6 x 10 x 14 cells .* would take about 0.0961 MiB, and the memory budget is "
        r"0.0858 MiB\. Give shorter tile= .*set_options\(memory_budget='1 GiB'\)",
        call={"tile": plan(SHAPE, SHAPE, (0, 0, 0)), "memory_budget": 90_000},
    ),
    "a core that cannot fit in memory": Mistake(
        TileError,
        r"A tile of 6 x 10 x 14 cells .* Give shorter tile=",
        call={"tile": {"time": 6, "y": 10, "x": 14}, "memory_budget": 90_000},
    ),
    "scales that cannot fit in memory": Mistake(
        TileError,
        r"A tile of .* its halo of \(0, 0, \d\d\d\) .* would take .* the memory budget is 1 "
        r"MiB\. Give shorter tile= or scales",
        lambda data: (
            data.isel(lon=0, drop=True)
            .expand_dims(lon=0.25 * np.arange(1000))
            .assign_coords(lon=("lon", 0.25 * np.arange(1000), data.lon.attrs))
        ),
        {"memory_budget": 2**20, "time_scale": 3, "length_scale": 2000},
    ),
    "a tile in words": Mistake(
        TileError, r"tile='large': expected 'auto', a Plan, or cells", call={"tile": "large"}
    ),
    "a tile by other names": Mistake(
        TileError, r"tile=\{'lat': 5\}: .* 'time', 'y' and 'x'", call={"tile": {"lat": 5}}
    ),
    "a tile of no cells": Mistake(
        TileError, r"tile\['x'\]=0: expected a number of cells above 0", call={"tile": {"x": 0}}
    ),
    "tiles of a cell on a globe": Mistake(
        TileError,
        r"tile= gives 16200 tiles, which solve \d\d\d cells for each cell of the grid, because "
        r"of the halo of \(0, (\d+), (\d+)\) cells .* Expected cores as long as their halo or "
        r"longer: tile=\{'time': 2, 'y': \1, 'x': \2\}\. Or leave tile= out",
        lambda data: globe(2.0),
        {"tile": {"y": 1, "x": 1}, "length_scale": 1000},
    ),
    "a plan for another grid": Mistake(
        TileError,
        r"The plan is for a grid of \(6, 10, 10\) cells .*; this one has \(6, 10, 14\)\. Make",
        call={"tile": plan((6, 10, 10), (6, 5, 5), (0, 1, 1))},
    ),
    "a plan that wraps": Mistake(
        TileError,
        r"The plan wraps along x, and this grid does not go round the globe",
        call={"tile": plan(SHAPE, (6, 5, 5), (0, 1, 1), periodic=True)},
    ),
    "a halo longer than the globe": Mistake(
        TileError,
        r"The halo along x, \d+ cells, is longer than the axis, 14\. Shorten",
        moved("lon", np.arange(14) * 360 / 14),
        {"length_scale": 19_900},
    ),
    "an error that is not yes or no": Mistake(
        OptionError, r"error='yes': expected True or False", call={"error": "yes"}
    ),
    "a switch that is a number": Mistake(
        OptionError, r"keep_observed=1: expected True or False", call={"keep_observed": 1}
    ),
    "a bar in words": Mistake(
        OptionError, r"progress='bar': expected True or False", call={"progress": "bar"}
    ),
    "no members": Mistake(
        OptionError, r"members=0: expected a number of samples, 1 or more", call={"members": 0}
    ),
    "members that are no number": Mistake(
        OptionError, r"members=True: expected a number", call={"members": True}
    ),
    "members beside members": Mistake(
        OptionError,
        r"There is a dimension 'member' already.*obj.rename\(\{'member'",
        lambda data: data.expand_dims(member=2),
        {"members": 2},
    ),
    "an error beside an error": Mistake(
        OptionError,
        r"There is a variable 'sla_error' already.*obj.rename\(\{'sla_error'",
        lambda data: data.to_dataset().assign(sla_error=CUBE),
        {"error": True, "variables": "sla"},
    ),
    "an array instead of a field": Mistake(
        OptionError,
        r"Got a ndarray to interpolate; an xarray Dataset or DataArray is expected\. Label",
        lambda data: data.values,
    ),
}


def attempt(obj: Any, call: dict[str, Any]) -> Any:
    call = {"length_scale": 60, "background": 0.0} | call
    budget = call.pop("memory_budget", 2**30)
    with xinverse.set_options(memory_budget=budget):
        return xinverse.interpolate(obj, **call)


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize("mistake", AT_THE_CALL.values(), ids=AT_THE_CALL)
def test_it_is_said_at_the_call(mistake, lazy):
    obj = mistake.data(sea_level().drop_vars("depth_of_bottom"))
    if lazy and not isinstance(obj, np.ndarray):
        obj = obj.chunk()
    with raise_if_dask_computes(), pytest.raises(XinverseError, match=mistake.text) as caught:
        attempt(obj, mistake.call)
    assert type(caught.value) is mistake.error
    assert isinstance(caught.value, BUILTIN.get(mistake.error, ValueError))


# Seen from the values: at the call where they are in memory, else where they are computed.
FROM_THE_VALUES = {
    "all missing": Mistake(
        DataError,
        r"(The variable 'sla' has no value: all 840 are NaN\. Expected some|Nothing is "
        r"observed in variable 'sla', days 0 to 5, y -20 to -15.5°.*Give background=)",
        lambda data: data.where(False),
        {"background": None},
    ),
    "infinite values": Mistake(
        DataError,
        r"ariable 'sla'.* has infinite values: \d+, the first at .*NaN where nothing was "
        r"observed: replace others with obj.where",
        lambda data: data.where(data.lat != data.lat[3], -np.inf),
    ),
    "no noise at an observation": Mistake(
        DataError,
        r"The noise variable is not a number above 0 at every observation of variable 'sla'.*"
        r"Fill it, or give one number as noise=",
        call={"noise": 0 * CUBE},
    ),
    "a background with holes": Mistake(
        DataError,
        r"The background is not finite everywhere in the sea of variable 'sla'.*Fill its gaps, "
        r"or mask its land",
        call={"background": CUBE.where(CUBE.lat > -18)},
    ),
    "an infinite background": Mistake(
        DataError,
        r"background of variable 'sla'.* has infinite values: 840",
        call={"background": np.inf * CUBE},
    ),
    "a noise far below the deviation": Mistake(
        DataError,
        r"The noise is 0.0001 in variable 'sla', days 0 to 5.*, and the observations there "
        r"have a standard deviation of 1\. Expected a noise of 0.001 or more, a thousandth",
        standard,
        {"noise": 1e-4},
    ),
    "a noise variable far below the deviation": Mistake(
        DataError,
        r"The noise is 0.0001 in variable 'sla', days 0 to 5.*a thousandth of it.*Give noise=",
        standard,
        {"noise": 1e-4 * CUBE},
    ),
    "a variance far above the observations'": Mistake(
        DataError,
        r"The variance is 1e\+06 in variable 'sla', days 0 to 5.*have a variance of 1 about "
        r"the background\. Expected 1e-05 to 1e\+05\. Give variance= in the square",
        standard,
        {"variance": 1e6},
    ),
    "a variance far below the observations'": Mistake(
        DataError,
        r"The variance is 1e-06 in variable 'sla', days 0 to 5.*Give variance= in the square",
        standard,
        {"variance": 1e-6},
    ),
}


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize("mistake", FROM_THE_VALUES.values(), ids=FROM_THE_VALUES)
def test_it_is_said_as_soon_as_it_is_seen(mistake, lazy):
    obj = mistake.data(sea_level().drop_vars("depth_of_bottom"))
    if lazy:
        with raise_if_dask_computes():
            promised = attempt(obj.chunk({"time": 3}), mistake.call)
        with pytest.raises(mistake.error, match=mistake.text):
            promised.compute()
    else:
        with pytest.raises(mistake.error, match=mistake.text):
            attempt(obj, mistake.call)


def test_the_smallest_noise_that_is_taken_gives_a_map_of_the_fields_size():
    """Smooth anomalies of deviation 0.2, noise a little above a thousandth of it."""
    day, row, column = np.ogrid[:6, :10, :14]
    truth = 0.2 * np.sqrt(8) * np.sin(day / 3) * np.sin(row / 4) * np.cos(column / 4)
    truth = sea_level().drop_vars("depth_of_bottom").copy(data=truth)
    hidden = np.random.default_rng(0).random(SHAPE) > 0.4
    errors = {}
    for share in (1.1e-3, 1e-2):
        call = {"noise": share * float(truth.where(~hidden).std()), "length_scale": 100}
        filled = attempt(truth.where(~hidden), call)
        assert abs(filled).max() < 2 * abs(truth).max()
        errors[share] = float(abs(filled - truth).max())
    assert max(errors.values()) < 0.5 * float(truth.std())


def test_a_lazy_mask_of_flags_is_refused_when_it_is_computed():
    with raise_if_dask_computes():
        promised = attempt(sea_level(), {"mask": (2 * MAP).chunk()})
    with pytest.raises(MaskError, match="140 values that are not 0, 1 or NaN"):
        promised.compute()


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps"])
def test_a_gpu_that_is_not_there_is_missed_at_the_call(device):
    import torch

    if (torch.backends.mps if device == "mps" else torch.cuda).is_available():
        pytest.skip(f"this machine has a device for {device!r}")
    with pytest.raises(DeviceError, match=rf"device='{device}': torch (found|has) no"):
        attempt(sea_level().chunk(), {"device": device})


def test_options_are_read_at_the_call_and_not_when_it_is_computed():
    promised = attempt(sea_level().chunk(), {})
    with xinverse.set_options(memory_budget=1000, device="cuda"):
        assert not promised.compute(scheduler="synchronous").isnull().any()


@pytest.mark.parametrize("verb", [xinverse.interpolate, xinverse.plan_tiles])
def test_every_verb_names_the_near_method(verb):
    with pytest.raises(UnknownNameError, match="Did you mean '4dvarnet'"):
        verb(sea_level(), "4dvar-net")
