"""DINEOF: fields of few modes, the choice of their number, rare cells, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from tensors import random
from torch import Tensor

from xinverse.errors import DataError, OptionError
from xinverse.solvers import dineof as module
from xinverse.solvers.dineof import DINEOFResult, dineof, mode_error
from xinverse.solvers.time_filter import time_smoother
from xinverse.solvers.withheld import withheld_points


def low_rank(nt: int, n: int, rank: int, seed: int = 0) -> Tensor:
    """A field of ``rank`` modes about 10, each weaker than the last."""
    strength = 2.0 ** -torch.arange(rank, dtype=torch.float64)
    return 10 + (random((nt, rank), seed=seed) * strength) @ random((rank, n), seed=seed + 1)


def gaps(nt: int, n: int, share: float, seed: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((nt, n), generator=generator) >= share


def fill(field: Tensor, observed: Tensor, **options: object) -> DINEOFResult:
    values = torch.where(observed, field, torch.nan)
    return dineof(values, observed, **{"max_modes": 6, **options})


@pytest.mark.parametrize(("nt", "n"), [(40, 120), (120, 40), (300, 180)])
def test_a_field_of_few_modes_is_recovered(nt, n):
    """The last shape is large enough for the subspace iteration."""
    field, observed = low_rank(nt, n, 3), gaps(nt, n, 0.3)
    found = fill(field, observed, tolerance=1e-9, max_iterations=3000)
    # Subtracting the mean of what is observed may leave a constant: one mode more. Those
    # beyond are rounding.
    assert found.modes >= 3
    assert bool((found.singular_values[4:] < 1e-6 * found.singular_values[0]).all())
    assert found.converged
    torch.testing.assert_close(found.state, field, rtol=0, atol=1e-5)
    assert found.expected_error < 1e-5
    assert found.bounded == 0


def test_the_modes_are_those_of_the_filled_field():
    field, observed = low_rank(40, 90, 3), gaps(40, 90, 0.2)
    found = fill(field, observed, tolerance=1e-10, max_iterations=3000)
    left, singular, right = torch.linalg.svd(found.state - found.mean, full_matrices=False)
    p = found.modes
    torch.testing.assert_close(found.singular_values, singular[:p], rtol=1e-6, atol=1e-6)
    top = found.singular_values > 1e-3 * found.singular_values[0]
    for k in range(int(top.sum())):
        assert (right[k] @ found.spatial[k]).abs() == pytest.approx(1, abs=1e-6)
        assert (left[:, k] @ found.temporal[k]).abs() == pytest.approx(1, abs=1e-6)
    assert float(found.explained_variance.sum()) == pytest.approx(1, abs=1e-6)


def test_subspace_iteration_gives_the_modes_of_the_eigenvalue_problem(monkeypatch):
    field = low_rank(200, 150, 4) + 0.1 * random((200, 150), seed=8)
    observed = gaps(200, 150, 0.3)
    fast = fill(field, observed, tolerance=1e-6)
    monkeypatch.setattr(module, "DIRECT", 1000)
    exact = fill(field, observed, tolerance=1e-6)
    assert fast.modes == exact.modes
    torch.testing.assert_close(fast.state, exact.state, rtol=0, atol=1e-4)
    torch.testing.assert_close(fast.singular_values, exact.singular_values, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("nt", "n"), [(30, 70), (70, 30), (180, 150)])
def test_the_order_of_dates_and_cells_does_not_matter(nt, n):
    field = low_rank(nt, n, 3) + 0.2 * random((nt, n), seed=7)
    observed = gaps(nt, n, 0.3)
    held = withheld_points(observed, seed=3)
    generator = torch.Generator().manual_seed(1)
    dates, cells = (torch.randperm(size, generator=generator) for size in (nt, n))
    # A number of iterations: at a tolerance, rounding could take one more.
    options = {"tolerance": 1e-30, "max_iterations": 20}
    one = fill(field, observed, withheld=held, **options)
    other = fill(
        field[dates][:, cells],
        observed[dates][:, cells],
        withheld=held[dates][:, cells],
        **options,
    )
    assert one.modes == other.modes
    torch.testing.assert_close(other.state, one.state[dates][:, cells], rtol=0, atol=1e-5)
    torch.testing.assert_close(other.error, one.error[dates][:, cells], rtol=1e-5, atol=0)


def test_the_same_call_gives_the_same_result_on_any_number_of_threads():
    field = low_rank(140, 130, 3) + 0.2 * random((140, 130), seed=7)
    observed = gaps(140, 130, 0.3)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 1, 2):
            torch.set_num_threads(threads)
            results.append(
                fill(field, observed, max_modes=3, tolerance=1e-30, max_iterations=5).state
            )
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    torch.testing.assert_close(results[0], results[2], rtol=0, atol=1e-6)


def test_missing_values_may_be_anything_and_withheld_ones_count_in_the_end():
    field, observed = low_rank(30, 60, 2), gaps(30, 60, 0.3)
    held = withheld_points(observed, seed=0)
    one = dineof(torch.where(observed, field, torch.nan), observed, max_modes=3, withheld=held)
    two = dineof(torch.where(observed, field, -1e30), observed, max_modes=3, withheld=held)
    assert torch.equal(one.state, two.state)
    without = fill(field, observed & ~held, max_modes=3)
    assert not torch.equal(one.state, without.state)


def test_the_number_of_modes_is_chosen_by_the_withheld_points():
    field = low_rank(60, 150, 3) + 0.5 * random((60, 150), seed=9)
    found = fill(field, gaps(60, 150, 0.4), max_modes=12)
    scores = found.cross_validation
    assert found.modes == found.tested[int(scores.argmin())]
    assert found.expected_error == float(scores.min())
    # It stops after three increases in a row, and not before.
    rises = (scores.diff() > 0).tolist()
    assert len(found.tested) < 12
    assert rises[-3:] == [True] * 3
    assert all(rises[k : k + 3] != [True] * 3 for k in range(len(rises) - 3))


def test_a_number_of_modes_can_be_set():
    found = fill(low_rank(40, 60, 3), gaps(40, 60, 0.3), min_modes=2, max_modes=2)
    assert found.modes == 2
    assert found.tested == (1, 2)
    assert found.spatial.shape == (2, 60)


def test_the_expected_error_is_that_of_hidden_values():
    truth = low_rank(80, 200, 3)
    observed = gaps(80, 200, 0.4)
    noisy = truth + 0.3 * random((80, 200), seed=11)
    found = fill(noisy, observed)
    error = float((found.state - noisy)[~observed].square().mean().sqrt())
    assert found.expected_error == pytest.approx(error, rel=0.15)
    predicted = float(found.error[~observed].square().mean().sqrt())
    assert predicted == pytest.approx(error, rel=0.15)


def test_mode_error_is_that_of_dense_optimal_interpolation():
    basis, scale = random((50, 4), seed=1), torch.tensor([3.0, 2.0, 1.0, 0.1]).double()
    observed, noise = gaps(6, 50, 0.6), 0.7
    found = mode_error(basis, scale, noise, observed)
    covariance = basis @ torch.diag(scale**2) @ basis.T
    for seen, coefficients in zip(observed, found, strict=True):
        across = covariance[:, seen]
        inner = covariance[seen][:, seen] + noise**2 * torch.eye(int(seen.sum())).double()
        dense = covariance - across @ torch.linalg.solve(inner, across.T)
        torch.testing.assert_close(basis @ coefficients @ basis.T, dense)
    nothing = mode_error(basis, scale, noise, torch.zeros(1, 50, dtype=torch.bool))
    torch.testing.assert_close(nothing[0], torch.diag(scale**2))


def test_the_error_map_adds_dates_cells_and_what_the_modes_do_not_hold():
    truth = low_rank(40, 70, 2) + 0.2 * random((40, 70), seed=3)
    observed = gaps(40, 70, 0.5)
    found = fill(truth, observed, max_modes=2, min_modes=2)
    s, u, v = found.singular_values, found.spatial, found.temporal
    # The spread about the mean coefficient.
    over_dates, over_cells = (s * m.std(1, correction=0) for m in (v, u))
    dates = mode_error(u.T, over_dates, found.expected_error, observed)
    cells = mode_error(v.T, over_cells, found.expected_error, observed.T)
    expected = found.expected_error**2 + torch.stack([torch.diag(u.T @ a @ u) for a in dates])
    expected += torch.stack([torch.diag(v.T @ c @ v) for c in cells], 1)
    expected += torch.stack(
        [torch.stack([(a * c / (s[:, None] * s)).sum() for c in cells]) for a in dates]
    )
    torch.testing.assert_close(found.error, expected.sqrt())


def rare_case() -> tuple[Tensor, Tensor]:
    field = low_rank(100, 60, 3) + 0.1 * random((100, 60), seed=2)
    observed = gaps(100, 60, 0.3)
    observed[:, :3] = False
    observed[10:13, 0] = True  # a cell seen three times, with a wild value
    observed[20, 1] = True
    observed[50] = False
    observed[50, 5] = True  # a date that sees one cell
    observed[51] = False
    field[10, 0] += 20
    return field, observed


def test_rare_cells_and_dates_are_left_out_and_then_regressed():
    field, observed = rare_case()
    found = fill(field, observed, margin=float("inf"))
    assert found.rare_cells.nonzero()[:, 0].tolist() == [0, 1, 2]
    assert found.rare_dates.nonzero()[:, 0].tolist() == [50, 51]
    assert bool(found.state.isfinite().all())
    # What is never observed is the mean, with the spread of the modes as error.
    dates, cells = ~found.rare_dates, ~found.rare_cells
    torch.testing.assert_close(found.state[dates, 2], found.state[dates][:, cells].mean(1))
    torch.testing.assert_close(found.state[51, cells], found.state[dates][:, cells].mean(0))
    assert float(found.error[:, 2].mean()) > 3 * float(found.error[:, 3:].median())
    # The others are those of a decomposition that never saw them.
    held = withheld_points(observed, seed=0)[dates][:, cells]
    alone = fill(
        field[dates][:, cells],
        observed[dates][:, cells],
        withheld=held,
        margin=float("inf"),
    )
    torch.testing.assert_close(found.state[dates][:, cells], alone.state)


def test_a_rare_cell_is_the_dense_analysis_of_its_observations():
    field, observed = rare_case()
    found = fill(field, observed)
    dates = ~found.rare_dates
    v = found.temporal[:, dates].T
    loads = (found.singular_values[:, None] * found.spatial)[:, ~found.rare_cells]
    usual = v @ loads.mean(1)
    prior = v @ torch.diag(loads.var(1, correction=0)) @ v.T
    seen = observed[dates, 0]
    y = (field[dates, 0] - found.mean - usual)[seen]
    inner = prior[seen][:, seen] + found.expected_error**2 * torch.eye(len(y)).double()
    dense = found.mean + usual + prior[:, seen] @ torch.linalg.solve(inner, y)
    low, high = float(found.state.min()), float(found.state.max())
    torch.testing.assert_close(found.state[dates, 0], dense.clamp(low, high))


def test_what_is_filled_stays_near_the_range_of_the_observations():
    """Skewed data, whose modes live where little is observed."""
    generator = torch.Generator().manual_seed(4)
    season = (0.3 * torch.arange(120.0).double()).sin()
    coast = torch.cat([torch.zeros(50), torch.linspace(0, 3, 20)]).double()
    field = (season[:, None] * 0.3 + coast + 0.3 * random((120, 70), seed=6)).exp()
    seen = torch.where(coast > 0, 0.08, 0.9)
    observed = torch.rand((120, 70), generator=generator) < seen
    found = fill(field, observed, max_modes=8, min_modes=8, max_iterations=300)
    low, high = field[observed].min(), field[observed].max()
    widen = 0.1 * (high - low)
    assert found.state.min() >= low - widen - 1e-9
    assert found.state.max() <= high + widen + 1e-9
    assert found.bounded > 0
    free = fill(
        field, observed, max_modes=8, min_modes=8, max_iterations=300, margin=float("inf")
    )
    assert free.bounded == 0
    assert free.state.max() > found.state.max()


def test_the_filter_in_time_joins_the_dates():
    """Noise that is white in time is damped, on dates of any spacing."""
    days = torch.cumsum(0.5 + torch.rand(60, generator=torch.Generator().manual_seed(2)), 0)
    slow = (days.double() / 8).sin()[:, None] * random((1, 90), seed=1)
    noisy = slow + 0.8 * random((60, 1), seed=3) * random((1, 90), seed=4)
    observed = gaps(60, 90, 0.3)
    options = {"min_modes": 2, "max_modes": 2, "tolerance": 1e-6}
    plain = fill(noisy, observed, **options)
    smooth = fill(noisy, observed, time=days, time_filter=(0.1, 3), **options)

    def roughness(found):
        return float(found.state.diff(dim=0).square().mean())

    assert roughness(smooth) < 0.9 * roughness(plain)
    none = fill(noisy, observed, time=days, time_filter=(1e-12, 1), **options)
    torch.testing.assert_close(none.state, plain.state, rtol=0, atol=1e-6)


def test_the_filter_works_on_either_side_of_the_products():
    """More dates than cells, or fewer: the same modes of the filtered covariance."""
    x = random((9, 30), seed=1)
    days = torch.arange(9.0)
    smoother = time_smoother(days, (0.2, 3), torch.ones(9, dtype=torch.bool))
    torch.testing.assert_close(smoother.sum(1), torch.ones(9).double())  # a constant stays
    iteration = module._Iteration(x, smoother, (-9.0, 9.0), 0.1, 1)
    temporal, singular, spatial = iteration.modes_of(x, 3)
    few = x[:, :5]
    left, values, _ = torch.linalg.svd(smoother @ few)
    t, s, u = iteration.modes_of(few, 3)
    torch.testing.assert_close(s, values[:3])
    torch.testing.assert_close((left[:, :3] * t.T).sum(0).abs(), torch.ones(3).double())
    torch.testing.assert_close(u.norm(dim=1), torch.ones(3).double())
    left, values, _ = torch.linalg.svd(smoother @ x)
    torch.testing.assert_close(singular, values[:3])
    torch.testing.assert_close((left[:, :3] * temporal.T).sum(0).abs(), torch.ones(3).double())
    torch.testing.assert_close(spatial.norm(dim=1), torch.ones(3).double())


def test_withheld_points():
    observed = gaps(20, 300, 0.4)
    held = withheld_points(observed, seed=1)
    assert int(held.sum()) == int(min(0.01 * 6000 + 40, 0.03 * 6000))
    assert bool((observed | ~held).all())
    assert torch.equal(held, withheld_points(observed, seed=1))
    assert not torch.equal(held, withheld_points(observed, seed=2))
    assert int(withheld_points(observed, count=17).sum()) == 17
    assert int(withheld_points(observed, share=0.2).sum()) == int(0.2 * int(observed.sum()))
    sparse = gaps(20, 300, 0.98)
    assert int(withheld_points(sparse).sum()) == int(0.1 * int(sparse.sum()))


def cloudy() -> Tensor:
    """Four dates, each with a square cloud somewhere."""
    observed = torch.ones(4, 30, 40, dtype=torch.bool)
    for day in range(4):
        observed[day, 3 * day : 3 * day + 12, 5 * day : 5 * day + 15] = False
    return observed


def test_withheld_clouds_hang_together():
    observed = cloudy()
    held = withheld_points(observed, count=400, seed=1, shape="clouds")
    assert int(held.sum()) == 400
    assert bool((observed | ~held).all())
    assert torch.equal(held, withheld_points(observed, count=400, seed=1, shape="clouds"))
    assert bool((held.flatten(1).sum(1) <= observed.flatten(1).sum(1) // 2).all())

    def neighbours(mask: Tensor) -> float:
        pairs = (mask[:, 1:] & mask[:, :-1]).sum() + (mask[:, :, 1:] & mask[:, :, :-1]).sum()
        return float(pairs / mask.sum())

    assert neighbours(held) > 1
    assert neighbours(withheld_points(observed, count=400, seed=1)) < 0.5


def test_land_is_no_cloud():
    observed = cloudy()
    observed[:, :, 35:] = False
    held = withheld_points(observed, count=200, shape="clouds")
    assert not bool(held[:, :, 35:].any())
    clear = torch.ones(3, 8, 8, dtype=torch.bool)
    clear[:, :, 6:] = False  # land alone
    with pytest.raises(DataError, match="no gaps"):
        withheld_points(clear, count=5, shape="clouds")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_modes": 0}, OptionError, "max_modes=0"),
        ({"min_modes": 4, "max_modes": 3}, OptionError, "min_modes=4"),
        ({"min_modes": 40, "max_modes": 50}, OptionError, "enough for 19 modes"),
        ({"tolerance": 0.0}, OptionError, "tolerance"),
        ({"max_iterations": 0}, OptionError, "max_iterations"),
        ({"min_observed": 1.0}, OptionError, "min_observed"),
        ({"margin": -1.0}, OptionError, "margin"),
        ({"time_filter": (0.01, 3)}, OptionError, "time="),
        ({"smooth": True}, OptionError, "time="),
        ({"smooth": None, "time": torch.zeros(20)}, DataError, "increasing"),
        ({"time_filter": (0.6, 3), "time": torch.arange(20)}, OptionError, "unstable"),
        ({"time_filter": (-0.1, 3), "time": torch.arange(20)}, OptionError, "positive"),
        ({"time_filter": (0.1, 3), "time": torch.zeros(20)}, DataError, "increasing"),
        ({"withheld": torch.zeros(20, 40, dtype=torch.bool)}, DataError, "withheld"),
        ({"withheld": torch.ones(20, 40, dtype=torch.bool)}, DataError, "withheld"),
        ({"withheld": torch.zeros(3, dtype=torch.bool)}, DataError, "shape"),
    ],
)
def test_wrong_options_are_named(options, error, text):
    with pytest.raises(error, match=text):
        fill(low_rank(20, 40, 2), gaps(20, 40, 0.3), **options)


def test_wrong_data_are_named():
    field, observed = low_rank(20, 40, 2), gaps(20, 40, 0.3)
    with pytest.raises(DataError, match="not finite"):
        dineof(torch.full_like(field, torch.inf), observed, max_modes=2)
    with pytest.raises(DataError, match="Nothing is observed"):
        dineof(field, torch.zeros_like(observed), max_modes=2)
    with pytest.raises(DataError, match="booleans"):
        dineof(field, observed.double(), max_modes=2)
    with pytest.raises(DataError, match="equal"):
        dineof(torch.ones_like(field), observed, max_modes=2)
    for options, text in (
        ({"count": 5, "share": 0.1}, "either"),
        ({"share": 0.9}, "share"),
        ({"count": 10**6}, "count"),
        ({"shape": "squares"}, "squares"),
        ({"shape": "clouds"}, "dimensions"),
    ):
        with pytest.raises(OptionError, match=text):
            withheld_points(observed, **options)
    with pytest.raises(DataError, match="too few"):
        withheld_points(torch.ones(2, 2, dtype=torch.bool))


def alboran(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    with xr.open_dataset(folder / "sst_l3_alboran_201705.nc") as ds:
        values = torch.from_numpy(ds["sst"].values[:, ds["mask"].values == 1])
        time = ds["time"].values
        days = torch.from_numpy((time - time[0]) / np.timedelta64(1, "D"))
    with xr.open_dataset(folder / "sst_l3_alboran_201705_dineof_reference.nc") as ds:
        return values, days, torch.from_numpy(ds["sigma"].values.astype("float64"))


@pytest.mark.parametrize("seed", [0, 6])
def test_alboran_has_the_singular_values_of_the_reference(real_data, seed):
    """With its settings; its withheld points are not known.

    Two and three modes score the same within 2 %: which of them is kept depends on
    the points. With seed 6 three are kept by the choice, with seed 0 they are set.
    """
    values, days, sigma = alboran(real_data)
    found = dineof(
        values,
        values.isfinite(),
        max_modes=5 if seed == 6 else 3,
        min_modes=1 if seed == 6 else 3,
        seed=seed,
        time=days,
        time_filter=(0.01, 3),
    )
    assert found.modes == 3
    torch.testing.assert_close(found.singular_values, sigma, rtol=0.01, atol=0)
    assert int(found.rare_cells.sum()) == 77  # never observed
    assert not bool(found.rare_dates.any())


@pytest.mark.parametrize("logarithm", [False, True])
def test_chlorophyll_stays_near_what_was_observed(real_data, logarithm):
    with xr.open_dataset(real_data / "chl_hawaii_monthly_1998_2022.nc") as ds:
        values = torch.from_numpy(ds["chlor_a"].values.astype("float64")).flatten(1)
    values = values.log() if logarithm else values
    found = dineof(values, values.isfinite(), max_modes=3, max_iterations=100)
    state = found.state.exp() if logarithm else found.state
    # Observed: 0.02 to 11.3 mg/m3.
    assert float(state.max()) < (22 if logarithm else 13)
    assert float(state.min()) > (0.01 if logarithm else -1.2)
    assert int(found.rare_cells.sum()) == 53
    assert int(found.rare_dates.sum()) == 1


@pytest.mark.parametrize("method", ["dineof", "fixed-point"])
def test_rarely_seen_cells_and_dates_stay_near_the_observations(method):
    """One rule for both methods: cells seen twice in 80 maps once ran away without bound."""
    rng = np.random.default_rng(0)
    days, side = 80, 10
    waves = [np.sin(2 * np.pi * np.arange(days) / period) for period in (9, 17, 31)]
    shapes = rng.normal(size=(3, side, side))
    truth = sum(w[:, None, None] * s for w, s in zip(waves, shapes, strict=True))
    seen = rng.random(truth.shape) < 0.5
    rare = np.zeros((side, side), bool)
    rare[:2, :5] = True
    seen[:, rare] = False
    seen[rng.integers(0, days, 20), 0, rng.integers(0, 5, 20)] = True
    seen[40] = False
    seen[40, 5, 5] = True
    noisy = truth + 0.3 * rng.normal(size=truth.shape)
    da = xr.DataArray(
        np.where(seen, noisy, np.nan),
        {
            "time": np.datetime64("2020-01-01", "ns")
            + np.arange(days) * np.timedelta64(1, "D"),
            "y": ("y", 10.0 * np.arange(side), {"units": "km"}),
            "x": ("x", 10.0 * np.arange(side), {"units": "km"}),
        },
        ("time", "y", "x"),
        name="chl",
    )
    found = da.inverse.interpolate(method=method, modes=4)
    low, high = float(da.min()), float(da.max())
    margin = 0.1 * (high - low) + 1e-9
    assert low - margin <= float(found.min()) <= float(found.max()) <= high + margin
    error = found.values - truth
    usual = np.sqrt(np.mean(error[:, ~rare] ** 2))
    assert usual < 0.35
    # A cell that is hardly seen has about the spread of the field as error, not more.
    assert np.sqrt(np.mean(error[:, rare] ** 2)) < 1.2 * truth.std()
    # The date with one observation: near the mean map, or what its neighbours show.
    if method == "dineof":
        assert np.sqrt(np.mean(error[40][~rare] ** 2)) < 0.25
    else:
        assert np.abs(found.values[40]).max() < 3 * truth.std()
