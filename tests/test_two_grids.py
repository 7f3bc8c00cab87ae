"""Sources on cells of their own: every tile sees those that overlap it, where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xinverse.errors import GridError, OptionError
from xinverse.methods.base import METHODS, Footprint, Method
from xinverse.methods.problem import Estimate
from xinverse.verbs.call import Call
from xinverse.verbs.job import Observation
from xinverse.verbs.run import run

TIMES = np.datetime64("2020-01-01", "ns") + np.arange(4) * np.timedelta64(1, "D")
NOWHERE = -999.0
STEP = 30.0  # between the cells of a source


@dataclass(frozen=True, kw_only=True)
class Containing(Method):
    """The value of the source's cell in which a cell of the state lies."""

    name: ClassVar[str] = "containing"
    summary: ClassVar[str] = "the source's cell in which a cell lies"
    through: ClassVar[bool] = True
    companions: ClassVar[tuple[str, ...]] = ("noise", "background")

    noise: float | None = None
    background: float | None = None

    def footprint(self, layout, budget):  # noqa: ARG002  always the same
        return Footprint((3, 7, 8), (1, 2, 3), "as in the tests")

    def solve(self, problem, wanted, device):  # noqa: ARG002  the mean, in numpy
        mean = np.full(problem.grid.shape, NOWHERE)
        assert (np.diff(problem.grid.x) > 0).all()
        assert (np.diff(problem.grid.y) > 0).all()
        for source in problem.sources:
            assert source.own_grid
            assert source.operator.name == "area-mean"
            assert source.values.shape == source.grid.shape
            assert [cells.size for cells in source.cells] == list(source.grid.shape)
            assert (np.diff(source.grid.x) > 0).all()
            assert (np.diff(source.grid.y) > 0).all()
            if isinstance(source.noise, np.ndarray):
                whole = np.isfinite(source.values)
                known = np.abs(source.values[whole]) + 1
                np.testing.assert_array_equal(source.noise[whole], known)
            along = [
                np.abs(there[:, None] - here).argmin(0)
                for there, here in (
                    (source.grid.y, problem.grid.y),
                    (source.grid.x, problem.grid.x),
                )
            ]
            inside = [
                np.abs(there[index] - here) <= 0.5 * STEP
                for there, here, index in (
                    (source.grid.y, problem.grid.y, along[0]),
                    (source.grid.x, problem.grid.x, along[1]),
                )
            ]
            seen = source.values[:, along[0]][:, :, along[1]]
            there = inside[0][:, None] & inside[1] & np.isfinite(seen)
            mean = np.where(there, seen, mean)
        return Estimate({problem.variable: mean[problem.place.keep]})


@pytest.fixture(autouse=True)
def containing(monkeypatch):
    monkeypatch.setattr(METHODS, "_entries", {**METHODS._entries, "containing": Containing})


def field(latitude: np.ndarray, longitude: np.ndarray) -> xr.DataArray:
    """One whose value tells the day and the place of a cell, whatever its coordinates are."""
    t, y, x = np.meshgrid(np.arange(4.0), latitude, longitude % 360, indexing="ij")
    return xr.DataArray(
        1e6 * t + 1e3 * (y + 90) + x,
        {
            "time": TIMES,
            "lat": ("lat", latitude, {"units": "degrees_north"}),
            "lon": ("lon", longitude, {"units": "degrees_east"}),
        },
        ("time", "lat", "lon"),
        name="ssh",
    )


def solved(state: xr.DataArray, source: xr.DataArray, **options) -> xr.DataArray:
    call = Call.of("interpolate", state.to_dataset(), "containing", options)
    return run(call, state.to_dataset(), [state], [Observation("ssh", source)])["ssh"]


def expected_on(state: xr.DataArray, source: xr.DataArray) -> np.ndarray:
    """By the coordinates alone, cell by cell.

    A cell of the source counts if the cells of the state cover it.
    """
    inside = []
    for name, period in (("lat", None), ("lon", 360)):
        apart = state[name].values[:, None] - source[name].values
        if period is not None:
            apart = (apart + 180) % 360 - 180
        within = np.abs(apart) <= 0.5 * STEP
        step = abs(float(state[name].diff(name)[0]))
        covered = within.sum(0) * step >= STEP - 0.5 * step
        if period is None or step * state[name].size < 360:
            low, high = apart.min(0) - 0.5 * step, apart.max(0) + 0.5 * step
            covered = (low <= -0.5 * STEP + 1e-9) & (high >= 0.5 * STEP - 1e-9)
        inside.append(within & covered)
    out = np.full(state.shape, NOWHERE)
    for j, row in enumerate(inside[0]):
        for i, column in enumerate(inside[1]):
            if row.any() and column.any():
                out[:, j, i] = source.values[:, row.argmax(), column.argmax()]
    return out


# No centre of a fine cell lies on an edge of a coarse one.
fine_globe = [np.arange(1.0, 360, 4), np.arange(-179.0, 180, 4), np.arange(177.0, -180, -4)]
globes = [
    np.arange(15.0, 360, 30),
    np.arange(-165.0, 180, 30),
    np.arange(345.0, 0, -30),
    np.arange(105.0, 460, 30),
]
regions = [np.arange(101.0, 200, 4), np.arange(-63.0, 60, 4), np.arange(321.0, 440, 4)]


@given(
    longitude=st.sampled_from(fine_globe + regions),
    source_longitude=st.sampled_from(globes),
    down=st.tuples(st.booleans(), st.booleans()),
    chunks=st.none() | st.tuples(*(st.integers(1, n) for n in (4, 9, 12))),
    source_chunks=st.none() | st.tuples(*(st.integers(1, n) for n in (4, 3, 12))),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_source_of_the_globe_on_coarser_cells(
    longitude, source_longitude, down, chunks, source_chunks
):
    """0 to 360 degrees or -180 to 180, either way round, over the edge of either grid."""
    latitude, source_latitude = np.arange(-28.0, 62, 10), np.arange(-30.0, 60, 30)
    state = field(latitude[:: -1 if down[0] else 1], longitude)
    source = field(source_latitude[:: -1 if down[1] else 1], source_longitude)
    expected = expected_on(state, source)
    assert (expected != NOWHERE).mean() > 0.2
    noise = abs(source) + 1
    if chunks is not None:
        state = state.chunk(dict(zip(state.dims, chunks, strict=True)))
    if source_chunks is not None:
        source = source.chunk(dict(zip(source.dims, source_chunks, strict=True)))
    with raise_if_dask_computes():
        found = solved(state, source, noise=noise)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    if chunks is not None:
        assert found.chunks == state.chunks


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize("longitude", regions, ids=lambda x: f"{x[0]:g}")
def test_a_source_of_a_region_leaves_the_rest_alone(longitude, lazy):
    """Some tiles have no cell of it."""
    state = field(np.arange(-28.0, 62, 10), longitude)
    source = field(np.array([-30.0, 0.0]), np.array([-45.0, -15.0, 15.0]))
    expected = expected_on(state, source)
    assert (expected == NOWHERE).any()
    if lazy:
        state, source = state.chunk({"lat": 4, "lon": 7}), source.chunk({"lon": 2})
    np.testing.assert_allclose(solved(state, source), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("longitude", fine_globe, ids=lambda x: f"{x[0]:g}")
def test_a_source_of_a_region_under_a_globe_is_an_error(longitude):
    """A tile may reach both of its ends, across a gap in its longitudes."""
    state = field(np.arange(-28.0, 62, 10), longitude)
    source = field(np.array([-30.0, 0.0]), np.array([-45.0, -15.0, 15.0]))
    with pytest.raises(GridError, match="goes round the globe, and 'ssh' does not"):
        solved(state, source)


def test_the_same_cells_are_the_states_own():
    """Whatever the rounding of their coordinates; no operator is made for them."""
    state = field(np.arange(-28.0, 62, 10), regions[0])
    source = state.assign_coords(lon=state.lon.astype("f4") + 1e-5)
    with pytest.raises(AssertionError, match="own_grid"):
        solved(state, source)


def test_grids_that_do_not_belong_together_are_refused():
    state = field(np.arange(-28.0, 62, 10), regions[0])
    source = field(np.arange(-30.0, 60, 30), globes[0])
    with pytest.raises(GridError, match="The times of 'ssh' are not those of the grid"):
        solved(state, source.isel(time=slice(0, 3)))
    flat = source.assign_coords(
        lat=("lat", 100.0 * np.arange(3), {"units": "km"}),
        lon=("lon", 100.0 * np.arange(12), {"units": "km"}),
    )
    with pytest.raises(GridError, match="must both be in degrees, or both in a length"):
        solved(state, flat)
    noise = (abs(source) + 1).isel(lat=slice(0, 2))
    with pytest.raises(OptionError, match="noise: the coordinates of .* are not those of"):
        solved(state, source, noise=noise)
