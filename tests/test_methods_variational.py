"""4DVar, a cost of one's own choice, and the fixed point of EOFs, from the user's side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from dask_counting import raise_if_dask_computes
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from strategies import Layout, build
from torch import Tensor

import xinverse
from xinverse.constants import KM_PER_DEGREE
from xinverse.dynamics import Advection, Lorenz63, OneLayerQG
from xinverse.errors import (
    DataError,
    GridError,
    OptionError,
    UnitsError,
    UnknownNameError,
    XinverseError,
)
from xinverse.methods.registry import find
from xinverse.operators import OPERATORS, Operator, SpectralColour
from xinverse.priors import PRIORS, Prior
from xinverse.solvers import SOLVERS, Solution, Solver
from xinverse.tiling import plan

SHAPE = (8, 12, 12)
DIMS = ("time", "lat", "lon")
TWO_TILES = plan(SHAPE, (8, 12, 6), (0, 0, 2))
LATITUDE, RADIUS = 38.0, 30.0
# Cheap, and each with all of its parts: a flow, errors of it, land.
CALLS: dict[str, dict[str, Any]] = {
    "4dvar": {
        "method": "4dvar",
        "length_scale": 120,
        "memory": 4,
        "resolution": 40,
        "iterations": 2,
        "variance": 0.001,
        "background": 0.0,
    },
    "4dvar, advection": {
        "method": "4dvar",
        "dynamics": "advection",
        "length_scale": 60,
        "memory": 3,
        "iterations": 4,
        "variance": 0.001,
        "background": 0.0,
    },
    "variational": {
        "method": "variational",
        "length_scale": 60,
        "time_scale": 2,
        "variance": 0.001,
        "background": 0.0,
        "solver_options": {"steps": 20},
    },
    "fixed-point": {"method": "fixed-point", "modes": 2, "rounds": 5},
}
EACH = pytest.mark.parametrize("name", CALLS)


def labelled(values: np.ndarray, spacing: float, units: str = "m") -> xr.DataArray:
    """Daily maps around 38 degrees north, of square cells so many kilometres wide."""
    nt, ny, nx = values.shape
    step = spacing / KM_PER_DEGREE
    lat = LATITUDE + step * (np.arange(ny) - (ny - 1) / 2)
    lon = 10 + step / math.cos(math.radians(LATITUDE)) * np.arange(nx)
    coords = {
        "time": pd.date_range("2020-01-01", periods=nt),
        "lat": ("lat", lat, {"units": "degrees_north"}),
        "lon": ("lon", lon, {"units": "degrees_east"}),
    }
    return xr.DataArray(values, coords, DIMS, "ssh", {"units": units})


def waves(seed: int = 0, share: float = 0.4) -> xr.DataArray:
    """A few centimetres of sea level that travel, seen in part."""
    t, y, x = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    values = 0.03 * np.sin(0.6 * x + 0.3 * t) * np.cos(0.5 * y) + 0.01 * np.cos(x + y)
    seen = np.random.default_rng(seed).random(SHAPE) < share
    return labelled(np.where(seen, values, np.nan), 15.0)


def coast(data: xr.DataArray) -> xr.DataArray:
    sea = np.ones(SHAPE[1:], bool)
    sea[:3, 6:] = sea[8, 4] = False
    return xr.DataArray(sea, {d: data[d] for d in DIMS[1:]}, DIMS[1:])


# What every method does ----------------------------------------------------------------


@EACH
def test_labels_come_back_as_from_optimal_interpolation(name):
    values = waves().values
    layout = Layout(
        shape=SHAPE,
        order=("lon", "time", "lat"),
        dtype=">f4",
        south_first=False,
        attrs={"history": "made up"},
    )
    data = build(layout, values)
    before = data.copy(deep=True)
    result = data.inverse.interpolate(**CALLS[name])
    expected = data.inverse.interpolate(method="oi", length_scale=60, background=0.0)
    xr.testing.assert_identical(data, before)
    assert result.dims == expected.dims == data.dims
    assert (result.name, result.dtype) == (expected.name, expected.dtype)
    assert result.encoding == expected.encoding == {}
    xr.testing.assert_identical(result.coords.to_dataset(), expected.coords.to_dataset())
    line, older = result.attrs.pop("history").split("\n")
    assert f"interpolate(method={CALLS[name]['method']!r}" in line
    assert older == "made up"
    expected.attrs.pop("history")
    assert result.attrs == expected.attrs
    assert not result.isnull().any()


@EACH
def test_land_is_nan_and_no_gap_is_left(name):
    data = waves()
    mask = coast(data)
    result = data.where(mask).inverse.interpolate(mask=mask, **CALLS[name])
    np.testing.assert_array_equal(result.notnull(), mask.broadcast_like(data))
    wrong = data.where(mask, 1e3).inverse.interpolate(mask=mask, **CALLS[name])
    xr.testing.assert_equal(wrong, result)  # what was observed on land does not count


@EACH
def test_lazy_is_eager(name):
    """In two tiles, of data in blocks that fit them nowhere."""
    call = CALLS[name] | {"tile": TWO_TILES}
    data = waves()
    mask = coast(data)
    assert TWO_TILES.size == 2
    expected = data.inverse.interpolate(mask=mask, **call)
    lazy = data.chunk({"time": 5, "lat": 7, "lon": 5})
    with raise_if_dask_computes():
        result = lazy.inverse.interpolate(mask=mask.chunk({"lat": 4}), **call)
    assert result.chunks == lazy.chunks
    with raise_if_dask_computes(1):
        result = result.compute()
    np.testing.assert_array_equal(result.isnull(), expected.isnull())
    assert float(abs(result - expected).max()) <= 1e-5 * float(expected.std())


@EACH
def test_no_error_and_no_members_are_given(name):
    for more in ({"error": True}, {"members": 2}):
        with pytest.raises(OptionError, match="method='oi' does"):
            waves().inverse.interpolate(**CALLS[name], **more)


def test_an_option_that_is_spelled_wrong_is_told():
    for name, wrong, right in (
        ("4dvar", "lenght_scale", "length_scale"),
        ("variational", "prior_wieght", "prior_weight"),
        ("fixed-point", "mode", "modes"),
    ):
        with pytest.raises(
            OptionError, match=f"has no option '{wrong}'. Did you mean '{right}'"
        ):
            waves().inverse.interpolate(method=name, **{wrong: 1})


# 4DVar ---------------------------------------------------------------------------------


def cut(path: Tensor, cells: int) -> np.ndarray:
    """The middle of the maps of a larger, periodic ocean."""
    first = (path.shape[-1] - cells) // 2
    return path[0, :, first : first + cells, first : first + cells].numpy()


def drawn(cells: int, spacing: float, scale: float, deviation: float, seed: int = 0) -> Tensor:
    white = torch.randn(
        1, cells, cells, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return SpectralColour((cells, cells), (spacing, spacing), scale, deviation)(white)


@cache
def carried() -> xr.DataArray:
    """A field that 15 cm/s carry east and 10 cm/s south, with nothing but that."""
    model = Advection((30, 30), (15.0, 15.0), u=0.15, v=-0.1)
    path = model.trajectory(drawn(30, 15.0, 60.0, 1.0), 1.0, 8)
    return labelled(cut(path, 12), 15.0, units="degC")


@cache
def eddies() -> xr.DataArray:
    """Sea level of the model itself, with a mean flow of 30 cm/s."""
    model = OneLayerQG(
        (24, 24), (20.0, 20.0), latitude=LATITUDE, rossby_radius=RADIUS, drift=0.3
    )
    return labelled(cut(model.trajectory(drawn(24, 20.0, 90.0, 0.03), 1.0, 6, 4), 10), 20.0)


def seen(truth: xr.DataArray, share: float, days: int) -> xr.DataArray:
    """A share of the cells on the first days, and nothing after."""
    there = np.random.default_rng(1).random(truth.shape) < share
    there[days:] = False
    return truth.where(there)


def error(result: xr.DataArray, truth: xr.DataArray, first: int = 0) -> float:
    """Mean square, as a share of the variance."""
    return float((result - truth)[first:].var() / truth.var())


ADVECTION = {
    "method": "4dvar",
    "dynamics": "advection",
    "constraint": "strong",
    "length_scale": 60,
    "noise": 0.05,
    "variance": 1.0,
    "background": 0.0,
    "iterations": 30,
}


def test_a_field_that_is_carried_is_found_with_its_velocity():
    """From a tenth of the cells on five of eight days; the flow was not told."""
    truth = carried()
    data = seen(truth, 0.1, 5)
    moving = data.inverse.interpolate(**ADVECTION, drift=0.2)
    still = data.inverse.interpolate(**ADVECTION, drift=0)
    assert error(moving, truth) < 0.1
    assert error(still, truth) > 0.4
    assert error(moving, truth, first=5) < 0.2  # on the days that nobody saw
    assert error(still, truth, first=5) > 0.7


QUASI_GEOSTROPHIC = {
    "method": "4dvar",
    "constraint": "strong",
    "rossby_radius": RADIUS,
    "length_scale": 90,
    "resolution": 27,
    "noise": 0.003,
    "variance": 0.03**2,
    "background": 0.0,
    "iterations": 25,
}


@pytest.mark.parametrize(
    ("drift", "all_days", "last_day"), [(0.3, (0, 0.03), (0, 0.08)), (0, (0.15, 1), (0.3, 1))]
)
def test_the_models_own_sea_level_is_found_where_its_drift_may_be(drift, all_days, last_day):
    """From 40 % of the cells on five of six days; where no drift is allowed, it is not."""
    truth = eddies()
    assert float((truth[5] - truth[0]).var() / truth.var()) > 1  # persistence is no answer
    result = seen(truth, 0.4, 5).inverse.interpolate(**QUASI_GEOSTROPHIC, drift=drift)
    assert all_days[0] <= error(result, truth) < all_days[1]
    assert last_day[0] <= error(result, truth, first=5) < last_day[1]


def test_what_stands_still_is_optimal_interpolation_with_an_exponential_memory():
    """Away from the edges, which see each other around the model's box."""
    known = {"length_scale": 30, "noise": 0.5, "variance": 1.0, "background": 0.0}
    values = np.random.default_rng(0).normal(size=(5, 12, 12))
    data = seen(labelled(values, 15.0, units="K"), 0.4, 5)
    oi = data.inverse.interpolate(method="oi", time_scale=4, temporal="exponential", **known)
    still = data.inverse.interpolate(
        method="4dvar",
        dynamics="advection",
        drift=0,
        memory=4,
        error_scale=1e-3,
        tolerance=1e-5,
        **known,
    )
    difference = abs(still - oi)[:, 4:-4, 4:-4]
    assert float(difference.max()) < 0.01
    assert float(oi.std()) > 0.3


@pytest.mark.parametrize("field", [False, True])
def test_a_tile_where_nothing_is_observed_is_the_background(field):
    """At once: a variance of which nothing is known would make for many time steps."""
    data = waves()
    level = xr.full_like(data, 0.25) + 0.01 * data.lon if field else 0.25
    tiles = plan(SHAPE, (8, 12, 6), (0, 0, 0))
    west = data.where(data.lon < data.lon[6])
    result = west.inverse.interpolate(
        method="4dvar", background=level, tile=tiles, iterations=1, resolution=40
    )
    expected = (xr.zeros_like(data) + level).isel(lon=slice(6, None))
    np.testing.assert_array_equal(result.isel(lon=slice(6, None)), expected)
    assert float(abs(result - level).isel(lon=slice(6)).max()) > 0.01


def test_one_map_is_a_window_too():
    data = waves()[:1]
    for constraint in ("weak", "strong"):
        call = CALLS["4dvar"] | {"constraint": constraint, "iterations": 30}
        result = data.inverse.interpolate(**call)
        assert not result.isnull().any()
        assert float(abs(result - data).max()) < 0.03


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (
            lambda da: da.assign_attrs(units="cm"),
            UnitsError,
            r"'ssh' is in 'cm', and method='4dvar' computes in 'm': multiply it first, "
            r"ssh \* 0\.01, and state \.assign_attrs\(units='m'\)",
        ),
        (
            lambda da: da.assign_attrs(units="fathoms"),
            UnitsError,
            "'ssh' is in 'fathoms'.*computes in 'm': convert it first, and state",
        ),
        (
            lambda da: da.drop_attrs(deep=False),
            UnitsError,
            r"'ssh' does not say its units.*state them, \.assign_attrs\(units='m'\)",
        ),
        (
            lambda da: da.assign_coords(lat=da.lat - 40),
            GridError,
            r"The latitudes reach from -2\.\d+ to -1\.\d+.*within 5 degrees of the equator",
        ),
        (
            lambda da: da.assign_coords(lat=(da.lat - LATITUDE) * 40),
            GridError,
            "reach from -2.* to 2.*equator: select other latitudes, or use method='oi'",
        ),
        (
            lambda da: da.assign_coords(
                lat=("lat", 15.0 * np.arange(12), {"units": "km"}),
                lon=("lon", 15.0 * np.arange(12), {"units": "km"}),
            ).rename(lat="y", lon="x"),
            GridError,
            "needs latitudes, for the rotation.*or dynamics='advection'",
        ),
        (
            lambda da: da.isel(time=[0, 1, 2, 4, 5]),
            GridError,
            "'4dvar' needs a regular time step.* 1 to 2 days. Reindex",
        ),
        (
            lambda da: da.isel(lat=[0, 1, 2, 4, 5]),
            GridError,
            "'4dvar' needs a regular grid in space",
        ),
    ],
    ids=["cm", "fathoms", "no units", "near", "across", "projected", "times", "rows"],
)
def test_what_quasi_geostrophy_cannot_use_is_refused_at_the_call(change, kind, text, lazy):
    data = change(waves())
    data = data.chunk({"time": 2}) if lazy else data
    with raise_if_dask_computes(), pytest.raises(kind, match=text):
        data.inverse.interpolate(**CALLS["4dvar"])


@pytest.mark.parametrize("units", ["m", "metres", "Meter"])
def test_metres_may_be_spelled_in_any_way(units):
    assert xinverse.plan_tiles(waves().assign_attrs(units=units), **CALLS["4dvar"]).size == 1


def test_advection_takes_any_units_and_any_grid():
    """A concentration at the equator, and one on a plane."""
    call = CALLS["4dvar, advection"]
    data = waves().assign_attrs(units="mg m-3")
    expected = data.inverse.interpolate(**call)
    assert not expected.isnull().any()
    south = data.assign_coords(lat=data.lat - LATITUDE).inverse.interpolate(**call)
    assert not south.isnull().any()
    kilometres = {
        name: (name, 15.0 * np.arange(12), {"units": "km"}) for name in ("lat", "lon")
    }
    plane = data.assign_coords(kilometres).rename(lat="y", lon="x").drop_attrs(deep=False)
    flat = plane.inverse.interpolate(**call)
    np.testing.assert_allclose(flat, expected, rtol=0, atol=1e-3 * float(expected.std()))


NOT_ABOVE_ZERO = st.one_of(
    st.floats(max_value=0),
    st.sampled_from([math.inf, math.nan, True, "90 km", [90.0], None]),
)
POSITIVE = ("length_scale", "memory", "error_scale", "tolerance", "iterations")


@given(name=st.sampled_from([*POSITIVE, "rossby_radius", "resolution"]), value=NOT_ABOVE_ZERO)
def test_numbers_of_4dvar_are_above_zero(name, value):
    if value is None and name in ("rossby_radius", "resolution"):
        assert getattr(find("4dvar").made({}), name) is None
        return
    expected = "a whole number, 1 or more" if name == "iterations" else "a number above 0"
    with pytest.raises(OptionError, match=f"{name}=.*: expected {expected}"):
        find("4dvar").made({name: value})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dynamics": "qg"}, "dynamics='qg': expected one of 'quasi-geostrophic', 'advection'"),
        ({"dynamics": ["advection"]}, "dynamics="),
        ({"constraint": "soft"}, "constraint='soft': expected one of 'weak', 'strong'"),
        ({"drift": -0.1}, "drift=-0.1: expected a number 0 or more"),
        ({"drift": math.nan}, "drift=nan: expected a number 0 or more"),
        ({"iterations": 2.5}, "iterations=2.5: expected a whole number"),
        ({"noise": 0}, "noise=0: expected a number above 0"),
        ({"variance": -1}, "variance=-1: expected a number above 0"),
        ({"length_scale": np.array([90.0])}, "length_scale"),
    ],
)
def test_4dvar_says_what_is_wrong_with_its_options_at_the_call(options, text):
    with raise_if_dask_computes(), pytest.raises(OptionError, match=text):
        waves().chunk({"time": 2}).inverse.interpolate(**CALLS["4dvar"] | options)


# A cost of one's own choice ------------------------------------------------------------

KNOWN = {"method": "variational", "variance": 2.0, "background": 15.0, "prior_weight": 0.3}
SMALL = (3, 5, 6)


def warm(share: float = 0.5) -> xr.DataArray:
    rng = np.random.default_rng(0)
    values = 15 + 2 * rng.normal(size=SMALL)
    return labelled(np.where(rng.random(SMALL) < share, values, np.nan), 15.0, units="degC")


def differences(shape: tuple[int, ...], axis: int, step: float) -> np.ndarray:
    """Matrix of the forward differences along an axis."""
    unit = np.eye(math.prod(shape)).reshape(-1, *shape)
    return np.diff(unit, axis=axis + 1).reshape(len(unit), -1).T / step


@pytest.mark.parametrize(
    "case", ["maps", "times too", "spacing given", "coast", "noise of each", "blurred"]
)
def test_smoothness_is_the_solution_of_the_normal_equations(case):
    """(H' R^-1 H + w D' D) x = H' R^-1 y, of anomalies over their standard deviation."""
    data, n = warm(), math.prod(SMALL)
    noise, more = np.full(SMALL, 0.4), {}
    sea = np.ones(SMALL, dtype=bool)
    # Differences are per km, and the cells are 15 km wide.
    more["prior_weight"] = 0.3 * 15**2
    D = [differences(SMALL, 1, 1.0), differences(SMALL, 2, 1.0)]
    H = np.eye(n)
    if case == "times too":
        more["prior_options"] = {"axes": (-3, -2, -1), "km_per_day": 30.0}
        D = [differences(SMALL, axis, step) for axis, step in enumerate((2.0, 1.0, 1.0))]
    if case == "coast":
        sea[:, :2, 2:4] = False
        more["mask"] = data[0].copy(data=sea[0])
        flat = sea.ravel()
        D = [d[(d != 0) @ ~flat == 0] for d in D]
    if case == "spacing given":
        more["prior_weight"] = 0.3
        more["prior_options"] = {"axes": (-3, -2, -1), "spacing": (0.5, 1.0, 2.0)}
        D = [differences(SMALL, axis, step) for axis, step in enumerate((0.5, 1.0, 2.0))]
    if case == "noise of each":
        noise = np.random.default_rng(2).uniform(0.2, 1.0, SMALL)
        more["noise"] = data.copy(data=noise)
    if case == "blurred":
        kernel = np.array([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]])
        more |= {"operator": "blur", "operator_options": {"kernel": torch.from_numpy(kernel)}}
        units = np.eye(n).reshape(-1, *SMALL)
        H = ndimage.convolve(units, kernel[None, None], mode="constant").reshape(n, n).T
    result = data.inverse.interpolate(
        **KNOWN | {"noise": 0.4} | more,
        prior="tikhonov",
        solver="lbfgs",
        solver_options={"steps": 500, "tolerance": 1e-6},
    )
    there, scale = np.isfinite(data.values.ravel()) & sea.ravel(), math.sqrt(2.0)
    weight = there * (scale / noise.ravel()) ** 2
    y = np.where(there, (data.values.ravel() - 15) / scale, 0)
    system = H.T @ (weight[:, None] * H) + 0.3 * sum(d.T @ d for d in D)
    wet = sea.ravel()
    solved = np.linalg.solve(system[np.ix_(wet, wet)], (H.T @ (weight * y))[wet])
    np.testing.assert_allclose(result.values.ravel()[wet], 15 + scale * solved, atol=2e-3)
    assert np.isnan(result.values.ravel()[~wet]).all()


@pytest.fixture
def mine() -> Iterator[list[int]]:
    """An operator, a prior and a solver of a user's, and how often the solver was called."""
    calls: list[int] = []

    @OPERATORS.register("doubled, of a test")
    class Doubled(Operator):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    @PRIORS.register("small, of a test")
    class Small(Prior):
        def __init__(self, weight: float) -> None:
            super().__init__()
            self.register_buffer("weight", torch.tensor([weight], dtype=torch.float64))

        def cost(self, x: Tensor) -> Tensor:
            return (self.weight * x.square()).flatten(1).sum(1)

    @SOLVERS.register("halves, of a test")
    class Halves(Solver):
        def __init__(self, rounds: int = 60) -> None:
            super().__init__()
            self.rounds = rounds

        def forward(self, inversion, x0) -> Solution:
            assert bool(inversion.sea.all())
            calls.append(self.rounds)
            x = x0
            unobserved = inversion.replace(y=0 * inversion.y)
            curvature = unobserved.gradient(x0 + 1).total  # of each cell
            for _ in range(self.rounds):
                x = x - 0.5 * inversion.gradient(x).total / curvature
            return Solution(x, self.rounds)

    yield calls
    for registry, name in (
        (OPERATORS, "doubled, of a test"),
        (PRIORS, "small, of a test"),
        (SOLVERS, "halves, of a test"),
    ):
        registry._entries.pop(name)


OWN = {
    "operator": "doubled, of a test",
    "prior": "small, of a test",
    "prior_options": {"weight": 3.0},
    "solver": "halves, of a test",
}


@pytest.mark.parametrize("lazy", [False, True])
def test_a_users_own_operator_prior_and_solver_are_used(mine, lazy):
    """y = 2 x and a pull to the background: x of an observation is known by hand."""
    data = warm()
    obj = data.chunk({"time": 1}) if lazy else data
    result = obj.inverse.interpolate(**KNOWN, noise=0.4, **OWN)
    assert lazy == (not mine)
    precision = 2.0 / 0.4**2
    expected = 15 + (data - 15) * 2 * precision / (4 * precision + 0.3 * 3.0)
    np.testing.assert_allclose(result, expected.fillna(15.0), rtol=1e-5)
    assert mine == [60]


def test_solver_options_reach_the_users_solver(mine):
    options = OWN | {"solver_options": {"rounds": 7}}
    warm().inverse.interpolate(**KNOWN, noise=0.4, **options)
    assert mine == [7]


def test_a_name_that_is_gone_is_unknown():
    with pytest.raises(UnknownNameError, match="no prior named 'small, of a test'"):
        warm().inverse.interpolate(**KNOWN, prior="small, of a test")


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        (
            {"prior": "tikhonow"},
            UnknownNameError,
            "no prior named 'tikhonow'. Did you mean 'ti",
        ),
        (
            {"solver": "lbgfs"},
            UnknownNameError,
            "no solver named 'lbgfs'. Did you mean 'lbfgs'",
        ),
        (
            {"operator": "blurr"},
            UnknownNameError,
            "no operator named 'blurr'. Did you mean 'bl",
        ),
        ({"prior": None}, UnknownNameError, "no prior named None"),
        (
            {"prior_options": {"axis": 2}},
            OptionError,
            r"The prior 'tikhonov' cannot be made with prior_options=\{'axis': 2\}: .*axis",
        ),
        (
            {"prior_options": {"spacing": (1.0, 0.0)}},
            OptionError,
            "The prior 'tikhonov' cannot be made with .*spacing",
        ),
        (
            {"solver_options": {"steps": -1}},
            OptionError,
            "The solver 'lbfgs' cannot be made .*steps=-1: expected a number of iter",
        ),
        ({"operator": "blur"}, OptionError, r"operator_options=\{\}: .*kernel"),
        ({"prior_options": [1]}, OptionError, r"prior_options=\[1\]: expected a dictionary"),
        ({"prior_weight": 0}, OptionError, "prior_weight=0: expected a number above 0"),
        (
            {"prior_weight": math.nan},
            OptionError,
            "prior_weight=nan: expected a number above 0",
        ),
        ({"prior_weight": "1"}, OptionError, "prior_weight='1': expected a number above 0"),
        ({"length_scale": -1}, OptionError, "length_scale=-1: expected a number above 0"),
        ({"variance": 0}, OptionError, "variance=0: expected a number above 0"),
    ],
)
def test_a_cost_that_cannot_be_made_is_told_at_the_call(options, kind, text):
    with raise_if_dask_computes(), pytest.raises(kind, match=text) as found:
        warm().chunk({"time": 1}).inverse.interpolate(**KNOWN | options)
    assert isinstance(found.value, XinverseError)


def test_a_solver_that_diverges_is_told():
    long = {"solver": "gradient-descent", "solver_options": {"step_size": 1e3, "steps": 40}}
    with pytest.raises(DataError, match="'gradient-descent' diverged in .*shorter step.*lbfgs"):
        warm().inverse.interpolate(**KNOWN, noise=0.1, **long)


def test_results_of_other_models_and_tensors_have_other_names():
    """Or dask would take one for the other; a model's numbers are not in what it prints."""
    lazy = warm().chunk({"time": 1})
    kernels = [torch.full((39, 39), 1 / 39**2) for _ in range(2)]
    kernels[1][20, 20] = 0.5
    calls = [
        *({"operator": "blur", "operator_options": {"kernel": kernel}} for kernel in kernels),
        *(
            {"prior": "dynamics", "prior_options": {"model": Lorenz63(rho=rho), "dt": 0.1}}
            for rho in (28.0, 20.0)
        ),
    ]
    names = [lazy.inverse.interpolate(**KNOWN, **call).data.name for call in calls]
    assert len(set(names)) == 4
    again = [lazy.inverse.interpolate(**KNOWN, noise=n).data.name for n in (0.2, 0.2, 0.3)]
    assert again[0] == again[1] != again[2]


# The fixed point of EOFs ---------------------------------------------------------------


def two_patterns(times: int = 20) -> xr.DataArray:
    """Temperatures of a mean, and two patterns that swing; a map is their sum, exactly."""
    t = np.arange(times)[:, None, None]
    y, x = np.meshgrid(np.linspace(0, 3, 12), np.linspace(0, 3, 12), indexing="ij")
    first = 3 * np.cos(t / 3) * np.sin(y + x)
    return labelled(15 + first + np.sin(1.1 * t) * np.cos(x - 2 * y), 15.0, units="degC")


@pytest.mark.parametrize("anderson", [0, 3])
def test_two_patterns_are_found_from_what_is_seen_of_them(anderson):
    """Thirty per cent are missing at random: the claim of DINEOF."""
    truth = two_patterns()
    there = np.random.default_rng(0).random(truth.shape) < 0.7
    result = truth.where(there).inverse.interpolate(
        method="fixed-point", modes=2, tolerance=1e-6, anderson=anderson
    )
    off, anomaly = (result - truth).values[~there], (truth - truth.mean()).values[~there]
    assert np.linalg.norm(off) < 1e-3 * np.linalg.norm(anomaly)


def test_too_few_patterns_find_the_larger_one():
    truth = two_patterns()
    there = np.random.default_rng(0).random(truth.shape) < 0.7
    one = truth.where(there).inverse.interpolate(method="fixed-point", modes=1, tolerance=1e-5)
    left = float((one - truth).var() / truth.var())
    second = np.linalg.svd((truth - truth.mean("time")).values.reshape(20, -1))[1][1] ** 2
    assert left == pytest.approx(second / (20 * 144) / float(truth.var()), rel=0.1)


def test_fewer_maps_than_modes_is_an_error_at_the_call():
    lazy = two_patterns(4).chunk({"time": 1})
    with (
        raise_if_dask_computes(),
        pytest.raises(
            DataError, match="modes=4: 4 maps of 144 cells.*at most 3 EOFs. Give fewer"
        ),
    ):
        lazy.inverse.interpolate(method="fixed-point", modes=4)
    assert not lazy.inverse.interpolate(method="fixed-point", modes=3).isnull().any()


def test_a_tile_of_fewer_maps_or_cells_than_modes_says_where():
    data = two_patterns(12)
    with pytest.raises(DataError, match="modes=4: 4 maps of 144 cells, variable 'ssh', days"):
        data.inverse.interpolate(method="fixed-point", modes=4, tile={"time": 4})
    lake = xr.zeros_like(data[0]).astype(bool)
    lake[3, 3:6] = True
    with pytest.raises(DataError, match="12 maps of 3 cells, variable.* at most 3 EOFs"):
        data.inverse.interpolate(method="fixed-point", modes=4, mask=lake)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"modes": 0}, "modes=0: expected a whole number, 1 or more"),
        ({"modes": 2.0}, "modes=2.0: expected a whole number"),
        ({"modes": True}, "modes=True: expected a whole number"),
        ({"rounds": 0}, "rounds=0: expected a whole number, 1 or more"),
        ({"iterations": -1}, "iterations=-1: expected a whole number, 1 or more"),
        ({"anderson": -1}, "anderson=-1: expected a whole number, 0 or more"),
        ({"tolerance": 0}, "tolerance=0: expected a number above 0 and below 1"),
        ({"tolerance": 1}, "tolerance=1: expected a number above 0 and below 1"),
        ({"tolerance": "1"}, "tolerance='1': expected a number above 0 and below 1"),
        ({"tolerance": math.nan}, "tolerance=nan: expected a number above 0 and below 1"),
    ],
)
def test_the_fixed_point_says_what_is_wrong_with_its_options(options, text):
    with pytest.raises(OptionError, match=text):
        two_patterns().inverse.interpolate(method="fixed-point", **options)


def test_the_scheduler_does_not_matter():
    data = waves()
    for name in ("4dvar, advection", "fixed-point"):
        lazy = data.chunk({"time": 3}).inverse.interpolate(**CALLS[name], tile=TWO_TILES)
        one, many = (
            lazy.compute(scheduler=which, num_workers=2) for which in ("sync", "threads")
        )
        np.testing.assert_array_equal(one, many)
