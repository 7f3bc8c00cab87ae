"""Sampling designs: the object that is returned, the simple designs, and the constraints."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xinverse
from xinverse.errors import DataError, OptionError, UnknownNameError
from xinverse.local_grid import LocalGrid
from xinverse.sampling.posterior import Posterior, make_prior
from xinverse.sampling.statistics import SAMPLE_NUMBERS, sampled_windows

SCALES = {"length_scale": 120.0, "time_scale": 4.0, "noise": 0.02}


def sea(nt: int = 4, ny: int = 9, nx: int = 11, seed: int = 0) -> xr.DataArray:
    """A small field with a corner of land."""
    values = 0.1 * np.random.default_rng(seed).standard_normal((nt, ny, nx))
    values[:, :2, :3] = np.nan
    start = np.datetime64("2020-01-01", "ns")
    return xr.DataArray(
        values,
        dims=("time", "latitude", "longitude"),
        coords={
            "time": start + np.arange(nt) * np.timedelta64(1, "D"),
            "latitude": 40 + 0.4 * np.arange(ny),
            "longitude": 5 + 0.5 * np.arange(nx),
        },
        name="ssh",
        attrs={"units": "m"},
    )


@pytest.mark.parametrize("method", ["random", "regular", "variance"])
def test_a_station_design_holds_maps_errors_and_the_budget_used(method):
    field = sea()
    design = field.inverse.design_sampling(budget=7, method=method, **SCALES)
    assert design.sampling.dims == ("latitude", "longitude")
    assert set(np.unique(design.sampling)) == {0, 1}
    assert int(design.sampling.sum()) == 7 == design.attrs["budget_used"]
    assert not design.sampling.where(field[0].isnull(), 0).any()  # none on land
    assert sorted(design.order.values[design.sampling.values == 1]) == list(range(1, 8))
    assert design.error_after.attrs["units"] == "m"
    assert (
        (design.error_after <= design.error_before + 1e-12)
        .where(field[0].notnull(), True)
        .all()
    )
    assert design.attrs["mean_error_after"] < design.attrs["mean_error_before"]
    assert 0 <= float(design.priority.min()) <= float(design.priority.max()) <= 1
    table = xinverse.osse.design_points(design).to_dataframe()
    assert list(table["order"]) == list(range(1, 8))
    assert {"latitude", "longitude"} <= set(table.columns)


@pytest.mark.parametrize("method", ["random", "regular", "variance"])
def test_a_daily_design_spreads_the_budget_evenly(method):
    field = sea().transpose("longitude", "time", "latitude")
    design = field.inverse.design_sampling(
        budget=10, method=method, placement="daily", **SCALES
    )
    assert design.sampling.dims == field.dims
    counts = design.sampling.sum(("latitude", "longitude"))
    assert int(counts.sum()) == 10
    assert set(counts.values) == {2, 3}


def test_a_share_of_the_cells_of_the_sea_is_a_budget():
    design = sea().inverse.design_sampling(budget=0.1, method="random", **SCALES)
    assert int(design.sampling.sum()) == (9 * 11 - 6) // 10


def test_the_design_is_observed_and_filled():
    truth = sea()
    design = truth.inverse.design_sampling(budget=7, **SCALES)
    seen = xinverse.osse.observe(truth, design, noise=0.01, seed=3)
    assert int(seen.ssh.notnull().sum()) == 7 * 4
    wanted = (design.sampling == 1) & truth.notnull()
    assert bool((seen.ssh.notnull() == wanted).all())
    filled = seen.inverse.interpolate(mask=truth[0].notnull(), **SCALES)
    assert bool(filled.ssh.notnull().sum() == truth.notnull().sum())


def test_a_daily_design_is_observed_at_its_times_alone():
    truth = sea(nt=6)
    design = truth.isel(time=slice(2, 5)).inverse.design_sampling(
        budget=9, placement="daily", **SCALES
    )
    seen = xinverse.osse.observe(truth, design, noise=0.0)
    assert list(seen.ssh.notnull().sum(("latitude", "longitude"))) == [0, 0, 3, 3, 3, 0]
    with pytest.raises(OptionError, match="takes neither clouds"):
        xinverse.osse.observe(truth, design, clouds={"cover": 0.5})


def dense(prior, deviation: np.ndarray) -> np.ndarray:
    cells = torch.as_tensor(np.argwhere(np.ones(prior.shape, bool)))
    between = prior.between(cells, cells).numpy()
    return between * deviation.ravel()[:, None] * deviation.ravel()


def after(covariance: np.ndarray, seen: list[int], noise: float) -> np.ndarray:
    inner = covariance[np.ix_(seen, seen)] + noise * np.eye(len(seen))
    found: np.ndarray = covariance - covariance[:, seen] @ np.linalg.solve(
        inner, covariance[seen]
    )
    return found


@pytest.mark.parametrize("covariance", ["gaussian", "matern32"])
def test_variances_and_gains_are_those_of_the_dense_posterior(covariance):
    rng = np.random.default_rng(1)
    grid = LocalGrid(np.arange(3.0), 20.0 * np.arange(6), 25.0 * np.arange(5))
    options = {"length_scale": 60.0, "time_scale": 3.0, "temporal": "exponential"}
    prior = make_prior(grid, {**options, "covariance": covariance})
    deviation, weights = rng.uniform(0.5, 1.5, grid.shape), rng.uniform(0, 1, grid.shape)
    posterior = Posterior(prior, deviation, weights)
    full, seen = dense(prior, deviation), []
    for count in (1, 3, 2):
        new = [int(k) for k in rng.choice(90, count, replace=False)]
        cells = np.stack(np.unravel_index(new, grid.shape), 1)
        noise = np.full(count, 0.05)
        before = after(full, seen, 0.05) if seen else full
        found = posterior.joint_gain(cells, noise, (slice(None), slice(None)))
        seen += new
        left = after(full, seen, 0.05)
        lowered = (weights.ravel() * (np.diag(before) - np.diag(left))).sum()
        posterior.observe(cells, noise)
        np.testing.assert_allclose(found, lowered, rtol=1e-7)
        np.testing.assert_allclose(posterior.variance.numpy().ravel(), np.diag(left), atol=1e-8)
        gain = (weights.ravel()[:, None] * left**2).sum(0)
        np.testing.assert_allclose(posterior.gain.numpy().ravel(), gain, atol=1e-7)


@pytest.mark.parametrize("placement", ["fixed", "daily"])
@pytest.mark.parametrize("with_tracks", [False, True])
def test_greedy_variance_is_the_best_choice_at_each_step(placement, with_tracks):
    """Against all choices, with a dense matrix; also beside existing observations."""
    field = sea(nt=3, ny=5, nx=6)
    wet = field[0].notnull()
    existing = None
    seen: list[int] = []
    if with_tracks:
        existing = xr.zeros_like(field, dtype=bool)
        existing[0, 3, :] = True
        existing[2, :, 4] = True
        existing = existing & wet
        seen = [int(k) for k in np.nonzero(existing.values.ravel())[0]]
    design = field.inverse.design_sampling(
        budget=4, placement=placement, even=False, existing=existing, variance=0.01, **SCALES
    )
    problem_km = 111.19492664
    middle = np.cos(np.deg2rad(40 + 0.4 * 2))
    grid = LocalGrid(
        np.arange(3.0),
        0.4 * problem_km * np.arange(5),
        0.5 * problem_km * middle * np.arange(6),
    )
    options = {"length_scale": 120.0, "time_scale": 4.0}
    prior = make_prior(grid, {**options, "covariance": "gaussian", "temporal": "gaussian"})
    full = dense(prior, np.full(grid.shape, 0.1))
    wanted = np.broadcast_to(wet.values, grid.shape).ravel()
    number = np.arange(full.shape[0]).reshape(grid.shape)
    for rank in range(1, 5):
        losses = {}
        shape = (1, 5, 6) if placement == "fixed" else grid.shape
        for t, y, x in np.ndindex(*shape):
            if not wet.values[y, x]:
                continue
            cells = list(number[:, y, x]) if placement == "fixed" else [number[t, y, x]]
            if placement == "daily" and cells[0] in seen:
                continue
            new = [int(c) for c in cells if c not in seen]
            again = [int(c) for c in cells if c in seen]
            left = after(full, seen + new + again, 0.02**2)
            losses[t, y, x] = np.diag(left)[wanted].mean()
        order = design.order.values.reshape(shape)
        chosen = tuple(int(i) for i in np.argwhere(order == rank)[0])
        assert losses[chosen] <= min(losses.values()) * (1 + 1e-9)
        _, y, x = chosen
        cells = number[:, y, x] if placement == "fixed" else [number[chosen]]
        seen += [int(c) for c in cells]
    left = np.diag(after(full, seen, 0.02**2))[wanted].mean()
    np.testing.assert_allclose(design.attrs["mean_error_after"] ** 2, left, rtol=1e-7)


def test_the_error_is_that_of_optimal_interpolation():
    truth = sea()
    design = truth.inverse.design_sampling(
        budget=12, placement="daily", variance=0.01, **SCALES
    )
    seen = xinverse.osse.observe(truth, design, noise=0.02)
    filled = seen.ssh.inverse.interpolate(
        error=True, variance=0.01, background=0.0, mask=truth[0].notnull(), **SCALES
    )
    np.testing.assert_allclose(design.error_after, filled.ssh_error, atol=2e-5)


def test_tiles_give_nearly_the_same_design_as_the_whole(monkeypatch):
    field = sea(nt=1, ny=60, nx=70)
    options = {**SCALES, "length_scale": 60.0, "variance": 0.01}
    whole = field.inverse.design_sampling(budget=40, **options)
    monkeypatch.setattr("xinverse.sampling.field_posterior.WHOLE_LIMIT", 100)
    tiled = field.inverse.design_sampling(budget=40, **options)
    # Tiles have their own metric: cells are closer together in the north.
    np.testing.assert_allclose(
        tiled.attrs["mean_error_after"], whole.attrs["mean_error_after"], rtol=0.01
    )
    assert int(tiled.sampling.sum()) == 40


def test_an_archive_is_read_in_part(monkeypatch):
    monkeypatch.setattr("xinverse.sampling.statistics.SAMPLE_NUMBERS", 20 * 99)
    assert SAMPLE_NUMBERS > 1e7
    read = []

    def block(block_info=None):
        where = block_info[None]["array-location"]
        read.append(where[0])
        return np.random.default_rng(where[0][0]).standard_normal((5, 9, 11))

    import dask.array as da

    lazy = da.map_blocks(block, chunks=((5,) * 80, (9,), (11,)), dtype="f8")
    series = sea(nt=400).copy(data=lazy)
    design = sea(nt=2).inverse.design_sampling(budget=3, archive=series, **SCALES)
    assert int(design.sampling.sum()) == 3
    assert 0 < len(read) <= 25  # of 80 blocks


def test_windows_spread_over_a_series():
    windows = sampled_windows(1000, 10, 2**20)
    assert len(windows) == 1
    windows = sampled_windows(1000, 10, 100)
    assert windows[0] == slice(0, 10)
    assert windows[-1] == slice(990, 1000)


# Constraints ---------------------------------------------------------------------------


def require(pattern: str, error: OptionError) -> None:
    """The text of an error says by how much."""
    assert re.search(pattern, str(error))


def distance_km(one, other) -> float:
    (a, b), (c, d) = np.deg2rad(one), np.deg2rad(other)
    inner = np.sin((a - c) / 2) ** 2 + np.cos(a) * np.cos(c) * np.sin((b - d) / 2) ** 2
    return float(2 * 6371.0 * np.arcsin(np.sqrt(inner)))


def chosen(design: xr.Dataset) -> list[tuple[int, float, float]]:
    table = xinverse.osse.design_points(design)
    days = [0] * table.sizes["point"]
    if "time" in design.sampling.dims:
        days = [
            int((t - design.time.values[0]) / np.timedelta64(1, "D"))
            for t in table["time"].values
        ]
    return list(zip(days, table.latitude.values, table.longitude.values, strict=True))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    method=st.sampled_from(["random", "regular", "variance"]),
    placement=st.sampled_from(["fixed", "daily"]),
    seed=st.integers(0, 5),
    budget=st.integers(1, 14),
    spacing=st.sampled_from([0.0, 60.0, 130.0]),
    forbid=st.booleans(),
    priced=st.booleans(),
    even=st.booleans(),
)
def test_budget_and_constraints_hold(
    method, placement, seed, budget, spacing, forbid, priced, even
):
    field = sea(nt=3, ny=7, nx=8, seed=seed)
    rng = np.random.default_rng(seed)
    flat = field[0]
    forbidden = flat.copy(data=rng.random(flat.shape) < 0.4) if forbid else None
    cost = flat.copy(data=rng.uniform(0.5, 3.0, flat.shape)) if priced else None
    try:
        design = field.inverse.design_sampling(
            budget=float(budget) if priced else budget,
            method=method,
            placement=placement,
            spacing=spacing,
            forbidden=forbidden,
            cost=cost,
            even=even,
            **SCALES,
        )
    except OptionError as error:
        require("fewer|too little", error)
        return
    seen = design.sampling == 1
    assert not bool((seen & flat.isnull()).any())
    if forbid:
        assert not bool((seen & forbidden).any())
    if priced:
        assert float((seen * cost).sum()) <= budget * (1 + 1e-12)
        np.testing.assert_allclose(design.attrs["budget_used"], float((seen * cost).sum()))
    else:
        assert int(seen.sum()) == budget
    points = chosen(design)
    for k, (day, *one) in enumerate(points):
        for other_day, *other in points[:k]:
            if day == other_day:
                assert distance_km(one, other) >= spacing * (1 - 1e-6)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 20),
    speed=st.sampled_from([0.0, 50.0, 120.0]),
    number=st.integers(1, 3),
    method=st.sampled_from(["random", "variance"]),
)
def test_platforms_move_no_faster_than_they_can(seed, speed, number, method):
    field = sea(nt=4, ny=7, nx=8, seed=seed)
    rng = np.random.default_rng(seed)
    forbidden = field.copy(data=rng.random(field.shape) < 0.2)
    platforms = {"number": number, "speed": speed}
    try:
        design = field.inverse.design_sampling(
            method=method,
            placement="daily",
            forbidden=forbidden,
            platforms=platforms,
            **SCALES,
        )
    except OptionError as error:
        require("missing|fewer", error)
        return
    assert int(design.sampling.sum()) == 4 * number
    assert not bool(((design.sampling == 1) & forbidden).any())
    points = chosen(design)
    tracks = [points[k::number] for k in range(number)]  # taken in turn at each time
    for track in tracks:
        assert [day for day, _, _ in track] == [0, 1, 2, 3]
        for (_, *one), (_, *other) in pairwise(track):
            assert distance_km(one, other) <= speed * (1 + 1e-6) + 1e-6


def test_platforms_start_where_they_are():
    field = sea()
    design = field.inverse.design_sampling(
        placement="daily",
        platforms={"number": 2, "speed": 60.0, "start": [(41.6, 8.0), (43.2, 6.0)]},
        **SCALES,
    )
    points = sorted(p[1:] for p in chosen(design) if p[0] == 0)
    np.testing.assert_allclose(points, [(41.6, 8.0), (43.2, 6.0)])
    with pytest.raises(OptionError, match="number 0 has no cell at time step 0: its start"):
        field.inverse.design_sampling(
            placement="daily",
            platforms={"number": 1, "speed": 60.0, "start": [(40.0, 5.0)]},
            **SCALES,
        )
    with pytest.raises(OptionError, match="make 8 observations, 3 more"):
        field.inverse.design_sampling(
            budget=5, placement="daily", platforms={"number": 2, "speed": 1.0}, **SCALES
        )


def test_the_best_tracks_are_chosen():
    field = sea()
    wet = field.notnull()
    rows = {f"row {k}": (wet & (field.latitude == field.latitude[k])) for k in (0, 4, 5, 8)}
    design = field.inverse.design_sampling(
        budget=2, placement="daily", tracks=rows, variance=0.01, **SCALES
    )
    assert len(design.attrs["chosen_tracks"]) == 2
    assert design.attrs["chosen_tracks"][0] in ("row 4", "row 5")
    union = sum(rows[name].astype(int) for name in design.attrs["chosen_tracks"]) > 0
    assert bool(((design.sampling == 1) == union).all())
    stacked = xr.concat(rows.values(), dim="track").assign_coords(track=list(rows))
    again = field.inverse.design_sampling(
        budget=2, placement="daily", tracks=stacked, variance=0.01, **SCALES
    )
    assert again.attrs["chosen_tracks"] == design.attrs["chosen_tracks"]
    prices = {"row 0": 1.0, "row 4": 9.0, "row 5": 9.0, "row 8": 1.0}
    cheap = field.inverse.design_sampling(
        budget=2.5, placement="daily", tracks=rows, cost=prices, **SCALES
    )
    assert sorted(cheap.attrs["chosen_tracks"]) == ["row 0", "row 8"]
    with pytest.raises(OptionError, match="does not choose among tracks"):
        field.inverse.design_sampling(
            budget=2, method="regular", placement="daily", tracks=rows, **SCALES
        )


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"budget": 200}, "200 places are wanted and 93 are allowed, 107 fewer"),
        ({"budget": 30, "spacing": 300.0}, "left room for"),
        ({"budget": 0.001}, "is 0.093 of the 93 cells"),
        ({"budget": 1.5}, "a share from 0 to 1"),
        ({}, "budget= is missing"),
        ({"budget": 3, "placement": "weekly"}, "expected one of 'fixed', 'daily'"),
        ({"budget": 3, "platforms": {"number": 1, "speed": 3}}, "needs placement='daily'"),
        ({"budget": 3, "sede": 1, "method": "random"}, "Did you mean 'seed'"),
        ({"budget": 3, "existing": 4}, "expected observations with gaps"),
    ],
)
def test_what_cannot_be_meant_is_an_error(keywords, text):
    with pytest.raises(OptionError, match=text):
        sea().inverse.design_sampling(**{**SCALES, **keywords})


def test_unknown_names_and_empty_fields():
    with pytest.raises(UnknownNameError, match="no sampling design named 'varianc'"):
        sea().inverse.design_sampling(budget=3, method="varianc")
    with pytest.raises(UnknownNameError, match="no variable named 'sla'"):
        sea().to_dataset().inverse.design_sampling("sla", budget=3)
    with pytest.raises(DataError, match="constant or has no values"):
        (0 * sea()).inverse.design_sampling(budget=3)


def test_energy_that_varies_in_space_draws_the_design():
    rng = np.random.default_rng(0)
    field = sea(nt=40, ny=12, nx=20)
    field = field.copy(data=rng.standard_normal(field.shape))
    field[..., 10:] *= 6.0
    design = field.inverse.design_sampling(budget=8, **SCALES)
    assert int(design.sampling[:, 9:].sum()) >= 7
    flat = field.inverse.design_sampling(budget=8, energy="uniform", **SCALES)
    assert int(flat.sampling[:, 9:].sum()) < 7
