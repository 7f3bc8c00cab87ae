from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import xarray as xr
from dask_counting import raise_if_dask_computes
from strategies import Layout, build

from xinverse._version import __version__
from xinverse.fields.attributes import (
    ancillary_attributes,
    describe_call,
    error_attributes,
    history_line,
    prepend_history,
)


def test_history_is_newest_first_and_the_original_is_left_alone():
    attrs = {"units": "m", "history": "2001: made"}
    line = history_line("interpolate(method='oi')", datetime(2026, 11, 20, 10, tzinfo=UTC))
    assert line == f"2026-11-20T10:00:00Z: xinverse {__version__} interpolate(method='oi')"
    assert prepend_history(attrs, line) == {"units": "m", "history": f"{line}\n2001: made"}
    assert attrs["history"] == "2001: made"
    assert prepend_history({}, line) == {"history": line}


def test_history_is_in_universal_time():
    paris = timezone(timedelta(hours=1))
    assert history_line("x", datetime(2026, 11, 20, 0, 30, tzinfo=paris)).startswith(
        "2026-11-19T23:30:00Z"
    )
    assert history_line("x").startswith("20")


def test_a_call_is_one_line_and_computes_nothing():
    mask = build(Layout(chunks={})).isel(time=0, drop=True).rename("wet")
    with raise_if_dask_computes():
        call = describe_call(
            "interpolate",
            method="oi",
            mask=mask,
            weights=None,
            noise=np.zeros((2, 3)),
            length_scale=np.float64(100),
            tile={"time": 5, "lat": (mask, [1])},
            error=True,
        )
    assert call == (
        "interpolate(method='oi', mask=<DataArray 'wet' (lat: 4, lon: 6)>, "
        "noise=<ndarray (2, 3)>, length_scale=100.0, "
        "tile={'time': 5, 'lat': [<DataArray 'wet' (lat: 4, lon: 6)>, [1]]}, error=True)"
    )


def test_attributes_of_an_error():
    da = build(Layout())
    assert error_attributes(da) == {
        "long_name": "sea_surface_height analysis error, one standard deviation",
        "standard_name": "sea_surface_height standard_error",
        "units": "m",
    }
    assert error_attributes(xr.DataArray(0.0)) == {
        "long_name": "field analysis error, one standard deviation"
    }


def test_ancillary_variables_are_named_once():
    attrs = ancillary_attributes({"units": "m"}, "sla_error")
    assert attrs == {"units": "m", "ancillary_variables": "sla_error"}
    attrs = ancillary_attributes(attrs, "sla_error", "sla_members")
    assert attrs["ancillary_variables"] == "sla_error sla_members"
