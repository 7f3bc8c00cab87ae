"""Hypothesis strategies that make labelled fields, in all the ways that files have them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import strategies as st

FLOATS = ("<f4", "<f8", ">f4", ">f8", "<f2")
INTEGERS = ("<i2", ">i2", "i1", "u1", "<i4", "<i8")
LONGITUDES = ("regional", "from 0", "from -180", "unwrapped later", "dateline", "descending")
EXTRA = {"depth": ("depth", [0.0, 10.0]), "member": ("member", [0, 1])}


@dataclass
class Layout:
    """How a labelled field is written down."""

    names: tuple[str, str, str] = ("time", "lat", "lon")
    shape: tuple[int, int, int] = (3, 4, 6)
    order: tuple[str, ...] = ("time", "lat", "lon")
    extra: tuple[str, ...] = ()
    dtype: str = "<f8"
    south_first: bool = True
    longitude: str = "regional"
    calendar: str = "datetime64"
    chunks: dict[str, Any] | None = None
    attrs: dict[str, Any] = field(default_factory=dict)


def longitudes(kind: str, n: int) -> np.ndarray:
    """Longitudes of n columns: round the globe unless regional, descending or dateline."""
    round_globe = np.arange(n) * 360.0 / n
    return {
        "regional": 10.0 + 0.25 * np.arange(n),
        "from 0": round_globe,
        "from -180": round_globe - 180.0,
        "unwrapped later": (round_globe + 180.0 * (n > 1)) % 360.0 - 180.0,
        "dateline": (179.0 + np.arange(n) + 180.0) % 360.0 - 180.0,
        "descending": 40.0 - 0.5 * np.arange(n),
    }[kind]


def times(calendar: str, n: int) -> Any:
    if calendar == "datetime64":
        return pd.date_range("2020-02-27", periods=n, freq="D")
    return xr.date_range("2020-02-27", periods=n, freq="D", calendar=calendar, use_cftime=True)


def build(layout: Layout, values: np.ndarray | None = None, seed: int = 0) -> xr.DataArray:
    """A field with gaps, laid out as described; values are on (*extra, time, y, x)."""
    time, y, x = layout.names
    shape = (*(len(EXTRA[name][1]) for name in layout.extra), *layout.shape)
    rng = np.random.default_rng(seed)
    dtype = np.dtype(layout.dtype)
    if values is None:
        values = rng.normal(0.0, 20.0, shape)
        if dtype.kind == "f":
            values[rng.random(shape) < 0.4] = np.nan
            values.reshape(-1)[0] = 1.5  # at least one value
        else:
            values = np.clip(values, 0, 100)
    nt, ny, nx = layout.shape
    latitude = -20.0 + 0.5 * np.arange(ny)
    coords = {
        **{name: EXTRA[name] for name in layout.extra},
        time: (time, times(layout.calendar, nt)),
        y: (y, latitude if layout.south_first else latitude[::-1], {"units": "degrees_north"}),
        x: (x, longitudes(layout.longitude, nx), {"units": "degrees_east"}),
        "cycle": (time, np.arange(nt)),
        "depth_of_bottom": ((y, x), rng.random((ny, nx))),
        "source": "made up",
    }
    da = xr.DataArray(
        values.astype(dtype),
        dims=(*layout.extra, time, y, x),
        coords=coords,
        name="sla",
        attrs={"units": "m", "standard_name": "sea_surface_height", **layout.attrs},
    )
    da.encoding = {"chunksizes": shape, "_FillValue": -9999.0}
    order = [name for name in layout.order if name in da.dims]
    da = da.transpose(*order, ...)
    return da if layout.chunks is None else da.chunk(layout.chunks)


@st.composite
def layouts(
    draw: st.DrawFn, lazy: bool | None = None, dtypes: tuple[str, ...] = FLOATS + INTEGERS
) -> Layout:
    """Any way to write a field down; lazy says whether on dask (None: either)."""
    names = draw(
        st.sampled_from(
            [("time", "lat", "lon"), ("T", "Y", "X"), ("date", "latitude", "longitude")]
        )
    )
    shape = draw(st.tuples(st.integers(1, 4), st.integers(2, 5), st.integers(3, 7)))
    extra = tuple(draw(st.sets(st.sampled_from(sorted(EXTRA)), max_size=2)))
    order = tuple(draw(st.permutations([*extra, *names])))
    chunks = None
    if lazy or (lazy is None and draw(st.booleans())):
        chunks = {name: draw(st.integers(1, 4)) for name in order}
    return Layout(
        names=names,
        shape=shape,
        order=order,
        extra=extra,
        dtype=draw(st.sampled_from(dtypes)),
        south_first=draw(st.booleans()),
        longitude=draw(st.sampled_from(LONGITUDES)),
        calendar=draw(st.sampled_from(["datetime64", "noleap", "360_day"])),
        chunks=chunks,
    )


@st.composite
def labelled_fields(
    draw: st.DrawFn, lazy: bool | None = None, dtypes: tuple[str, ...] = FLOATS + INTEGERS
) -> xr.DataArray:
    """A labelled field with gaps, in any layout."""
    return build(draw(layouts(lazy=lazy, dtypes=dtypes)), seed=draw(st.integers(0, 99)))
