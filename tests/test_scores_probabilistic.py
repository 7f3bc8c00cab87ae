"""Scores of predicted errors: closed forms, calibrated ensembles, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from dask_counting import raise_if_dask_computes
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, ndimage, stats
from scipy.special import ndtri

import xinverse
from xinverse import scores
from xinverse.errors import DataError, GridError, OptionError, UnitsError
from xinverse.scores.distributions import crps_ensemble, crps_gaussian, pit_gaussian, ranks
from xinverse.scores.sampling_error import (
    correlation_sums,
    correlations,
    share_error,
    square_error,
)

LEVELS = (0.5, 0.8, 0.9, 0.95)
SHAPE = (12, 24, 30)


def field(values, name="ssh"):
    return xr.DataArray(
        values,
        dims=("time", "latitude", "longitude"),
        coords={
            "time": np.arange("2020-01-01", "2020-01-13", dtype="M8[D]").astype("M8[ns]"),
            "latitude": 38 + 0.1 * np.arange(SHAPE[1]),
            "longitude": 5 + 0.1 * np.arange(SHAPE[2]),
        },
        name=name,
        attrs={"units": "m"},
    )


@pytest.fixture
def case(rng):
    """A truth and a map with the right error, and members that could be the truth."""
    deviation = 0.02 + 0.05 * rng.random(SHAPE)
    centre = 0.1 * rng.standard_normal(SHAPE)
    draws = centre + deviation * rng.standard_normal((10, *SHAPE))
    result = xr.Dataset({"ssh": field(centre), "ssh_error": field(deviation)})
    result["ssh_members"] = (("member", *result.ssh.dims), draws, {"units": "m"})
    truth = field(centre + deviation * rng.standard_normal(SHAPE))
    return result, truth.where(truth.longitude > 5.25).assign_attrs(units="m")


def points_of(truth, rng, noise=0.0):
    """The values of every cell as points, in a random order, with noise."""
    stacked = truth.stack(point=truth.dims).dropna("point")
    order = rng.permutation(stacked.sizes["point"])
    stacked = stacked.isel(point=order).reset_index("point")
    values = stacked + noise * rng.standard_normal(stacked.sizes["point"])
    return values.drop_attrs().assign_attrs(units="m").to_dataset(name="height")


# --- closed forms --------------------------------------------------------------------------


@given(st.floats(-3, 3), st.floats(0.05, 4), st.floats(-6, 6))
def test_the_crps_of_a_gaussian_is_its_integral(mean, deviation, y):
    def squared(x):
        return (stats.norm.cdf(x, mean, deviation) - (x >= y)) ** 2

    low, high = min(mean - 12 * deviation, y), max(mean + 12 * deviation, y)
    expected = sum(
        integrate.quad(squared, a, b, limit=200)[0] for a, b in ((low, y), (y, high))
    )
    found = crps_gaussian(np.array([mean]), np.array([deviation]), np.array([y]))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@given(st.integers(2, 9), st.integers(0, 1000), st.booleans())
def test_the_crps_of_members_is_its_double_sum(number, seed, fair):
    rng = np.random.default_rng(seed)
    members, y = rng.standard_normal((number, 4)), rng.standard_normal(4)
    double = np.abs(members[:, None] - members[None]).sum((0, 1))
    pairs = number * (number - 1) if fair else number**2
    expected = np.abs(members - y).mean(0) - double / (2 * pairs)
    np.testing.assert_allclose(
        crps_ensemble(members, y, fair=fair), expected, rtol=1e-12, atol=1e-14
    )


def test_the_crps_of_members_is_the_integral_of_their_distribution(rng):
    members, y = rng.standard_normal(7), 0.3
    edges = np.sort([*members, y])
    expected = sum(
        (b - a) * (np.mean(members <= a) - (a >= y)) ** 2 for a, b in pairwise(edges)
    )
    found = crps_ensemble(members[:, None], np.array([y]), fair=False)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_fair_crps_does_not_depend_on_the_number_of_members(rng):
    y = rng.standard_normal(40_000)
    exact = crps_gaussian(np.zeros(y.size), np.ones(y.size), y)
    for number in (2, 5, 20):
        off = crps_ensemble(rng.standard_normal((number, y.size)), y) - exact
        assert abs(off.mean()) < 4 * off.std() / np.sqrt(y.size)
    unfair = crps_ensemble(rng.standard_normal((2, y.size)), y, fair=False) - exact
    assert unfair.mean() > 20 * unfair.std() / np.sqrt(y.size)


def test_a_map_without_spread_scores_its_absolute_error():
    y = np.array([0.3, -2.0, 0.0])
    found = crps_gaussian(np.zeros(3), np.full(3, 1e-9), y)
    np.testing.assert_allclose(found, np.abs(y), atol=1e-8)


def test_ties_are_broken_at_random(rng):
    random = rng.random(30_000)
    found = ranks(np.zeros((3, random.size)), np.zeros(random.size), random)
    share = np.bincount(found, minlength=4) / random.size
    np.testing.assert_allclose(share, 0.25, atol=4 * np.sqrt(0.25 * 0.75 / random.size))


# --- a calibrated prediction, and others ---------------------------------------------------


@pytest.mark.parametrize("use", ["error", "members"])
def test_a_calibrated_prediction_is_found_calibrated(case, use):
    result, truth = case
    cover = scores.coverage(result, truth, use=use)
    off = (cover.coverage - cover.level) / cover.sampling_error
    assert float(abs(off).max()) < 4
    number = int(truth.notnull().sum())
    independent = np.sqrt(cover.level * (1 - cover.level) / number)
    np.testing.assert_allclose(cover.sampling_error, independent, rtol=0.2)
    assert 0.7 * number < float(cover.independent) < 1.3 * number
    both = scores.spread_skill(result, truth, use=use)
    assert float(both.ratio) == pytest.approx(1, abs=0.04)
    pit = scores.pit_histogram(result, truth, use=use)
    assert float(abs((pit.frequency - 0.1) / pit.sampling_error).max()) < 4
    assert float(pit.frequency.sum()) == pytest.approx(1)
    assert float(pit.departure) < 1.6


def test_the_rank_histogram_of_a_calibrated_ensemble_is_flat(case):
    result, truth = case
    found = scores.rank_histogram(result, truth)
    assert found.sizes == {"rank": 11}
    assert float(found.expected) == pytest.approx(1 / 11)
    assert float(abs((found.frequency - found.expected) / found.sampling_error).max()) < 4
    assert float(found.departure) < 1.6
    assert float(found.frequency.sum()) == pytest.approx(1)


def test_shapes_of_the_histograms(case):
    result, truth = case
    mean = result.ssh
    narrow = result.assign(ssh_members=mean + 0.4 * (result.ssh_members - mean))
    ends = scores.rank_histogram(narrow, truth).frequency
    assert float(ends[0] + ends[-1]) > 4 / 11
    wide = result.assign(ssh_members=mean + 2.5 * (result.ssh_members - mean))
    ends = scores.rank_histogram(wide, truth).frequency
    assert float(ends[0] + ends[-1]) < 1 / 11
    low = scores.pit_histogram(result.assign(ssh=mean - 0.05), truth, use="error").frequency
    assert float(low[-1]) > 0.2 > float(low[0])
    assert float(scores.pit_histogram(narrow, truth, use="members").departure) > 10


def test_a_third_of_the_error_is_found_in_coverage_and_ratio(case):
    result, truth = case
    sure = result.assign(ssh_error=result.ssh_error / 3)
    cover = scores.coverage(sure, truth, levels=[0.9], use="error").coverage
    expected = 2 * stats.norm.cdf(stats.norm.ppf(0.95) / 3) - 1
    assert float(cover[0]) == pytest.approx(expected, abs=0.02)
    ratio = scores.spread_skill(sure, truth, use="error").ratio
    assert float(ratio) == pytest.approx(1 / 3, abs=0.02)


def test_the_crps_is_best_with_the_right_error(case):
    result, truth = case
    found = [
        float(scores.crps(result.assign(ssh_error=factor * result.ssh_error), truth))
        for factor in (0.3, 0.7, 1.0, 1.4, 3.0)
    ]
    assert min(found) == found[2]
    exact = float((result.ssh_error / np.sqrt(np.pi)).where(truth.notnull()).mean())
    assert found[2] == pytest.approx(exact, rel=0.03)


def test_reliability_follows_the_predicted_error(case):
    result, truth = case
    found = scores.reliability(result, truth, groups=4)
    np.testing.assert_allclose(found.actual, found.predicted, rtol=0.1)
    off = (found.actual - found.predicted) / found.actual_sampling_error
    assert float(abs(off).max()) < 4
    off = (found.coverage - 0.9) / found.coverage_sampling_error
    assert float(abs(off).max()) < 4
    assert int(found["count"].sum()) == int(truth.notnull().sum())
    assert int(np.ptp(found["count"].values)) <= 1
    assert found.predicted.units == "m"
    # An error that is right on average, and constant where the true one is not.
    mean = float(np.sqrt((result.ssh_error**2).mean()))
    one = scores.reliability(result.assign(ssh_error=result.ssh_error * 0 + mean), truth)
    assert one.sizes["group"] == 1
    swapped = 0.09 - result.ssh_error
    found = scores.reliability(result.assign(ssh_error=swapped), truth)
    assert float(found.actual[0]) > float(found.actual[2])
    assert float(found.coverage[0]) < 0.75


def test_scores_along_dimensions(case):
    result, truth = case
    score = scores.crps(result, truth, dim=["latitude", "longitude"])
    assert score.dims == ("time",)
    assert float(score.mean()) == pytest.approx(float(scores.crps(result, truth)))
    assert score.units == "m"
    cover = scores.coverage(result, truth, dim="time").coverage
    assert set(cover.dims) == {"level", "latitude", "longitude"}
    assert cover.isel(longitude=0).isnull().all()
    both = scores.spread_skill(result, truth, dim="time")
    assert both.ratio.dims == ("latitude", "longitude")
    assert np.isnan(both.spread.isel(longitude=0)).all()


def test_order_of_dimensions_and_types_do_not_matter(case):
    result, truth = case
    turned = result.transpose("longitude", "member", "time", "latitude").astype("f4")
    for use in ("error", "members"):
        one = scores.crps(result, truth, use=use)
        assert float(scores.crps(turned, truth, use=use)) == pytest.approx(float(one), rel=1e-5)


# --- sampling error ------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0, 1.5])
def test_the_sampling_error_is_the_scatter_of_many_samples(rng, width):
    """Of coverage, of a histogram and of a root mean square, with gaps in the samples."""
    shape, known = (16, 20, 24), rng.random((16, 20, 24)) < 0.5
    edges = ndtri(np.arange(6) / 5)
    bound = np.array([stats.norm.ppf(0.95)])
    seen, said = [], []
    for _ in range(100):
        z = rng.standard_normal(shape)
        if width:
            z = ndimage.gaussian_filter(z, width, mode="wrap")
            z *= (2 * np.sqrt(np.pi) * width) ** 1.5
        z = np.where(known, z, np.nan)
        sums, values = correlation_sums(known, correlations(z)), z[known]
        share, _ = np.histogram(values, edges)
        inside = np.mean(np.abs(values) < bound)
        seen.append([inside, *share / values.size, np.sqrt(np.mean(values**2))])
        said.append(
            [
                *share_error((-bound, bound), sums, values.size),
                *share_error((edges[:-1], edges[1:]), sums, values.size),
                square_error(sums),
            ]
        )
    np.testing.assert_allclose(np.mean(said, 0), np.std(seen, 0), rtol=0.35)
    assert 0.8 < np.mean(said) / np.mean(np.std(seen, 0)) < 1.2


# --- noise, and points ---------------------------------------------------------------------


@pytest.mark.parametrize("use", ["error", "members"])
def test_the_noise_of_the_truth_is_accounted_for(case, rng, use):
    result, truth = case
    noisy = truth + 0.06 * rng.standard_normal(truth.shape)
    with_noise = scores.coverage(result, noisy, levels=[0.9], use=use, noise=0.06)
    off = (with_noise.coverage - 0.9) / with_noise.sampling_error
    assert abs(float(off[0])) < 4
    without = scores.coverage(result, noisy, levels=[0.9], use=use)
    assert float(without.coverage[0]) < 0.8
    both = scores.spread_skill(result, noisy, use=use, noise=0.06 + 0 * truth.isel(time=0))
    assert float(both.ratio) == pytest.approx(1, abs=0.04)
    assert float(scores.rank_histogram(result, noisy, noise=0.06).departure) < 1.7
    assert float(scores.rank_histogram(result, noisy).departure) > 5


def test_noise_added_to_members_depends_on_the_seed_only(case):
    result, truth = case
    one, again, other = (
        float(scores.crps(result, truth, use="members", noise=0.05, seed=seed))
        for seed in (0, 0, 1)
    )
    assert one == again != other


@pytest.mark.parametrize("use", ["error", "members"])
def test_points_at_the_cells_score_as_the_cells(case, rng, use):
    result, truth = case
    points = points_of(truth, rng)
    for score in (scores.crps, lambda *a, **k: scores.spread_skill(*a, **k).ratio):
        at = score(result, points, use=use)
        np.testing.assert_allclose(at, score(result, truth, use=use), rtol=1e-6)
    at = scores.coverage(result, points, use="error").coverage
    np.testing.assert_allclose(at, scores.coverage(result, truth, use="error").coverage)


def test_withheld_points_with_noise(case, rng):
    result, truth = case
    points = points_of(truth, rng, noise=0.05)
    points["sd"] = 0.05 + 0 * points.height
    points["sd"].attrs = {"units": "m"}
    for noise in (0.05, "sd"):
        found = scores.calibration(result, points, variable="height", noise=noise)
        cover = found.coverage
        assert float(abs((cover.coverage - cover.level) / cover.sampling_error).max()) < 4
        assert float(found.scores.ratio) == pytest.approx(1, abs=0.04)
        assert found.scores.rmse.units == "m"
    bare = scores.coverage(result, points, variable="height").coverage.sel(level=0.9)
    assert float(bare) < 0.75


# --- all at once ---------------------------------------------------------------------------


def test_the_calibration_holds_the_single_scores(case):
    result, truth = case
    found = scores.calibration(result, truth)
    assert float(found.scores.crps) == float(scores.crps(result, truth))
    xr.testing.assert_identical(found.coverage, scores.coverage(result, truth))
    xr.testing.assert_identical(found.reliability, scores.reliability(result, truth))
    xr.testing.assert_identical(found.pit, scores.pit_histogram(result, truth))
    xr.testing.assert_identical(found.ranks, scores.rank_histogram(result, truth))
    text = repr(found)
    assert "calibration of ssh by its error: 7776 values, as" in text
    assert text.count("sampling errors from flat") == 2
    for words in ("lowest third", "90% covers", "predicted (m)", "actual (m)"):
        assert words in text
    only = scores.calibration(result.drop_vars("ssh_error"), truth)
    assert only.use == "members"
    assert scores.calibration(result.drop_vars("ssh_members"), truth).ranks is None
    assert "&lt;" not in found._repr_html_()
    assert found._repr_html_().startswith("<pre>")


def test_the_calibration_is_drawn(case):
    plt = pytest.importorskip("matplotlib.pyplot")
    pytest.importorskip("cmocean")
    result, truth = case
    found = scores.calibration(result, truth)
    figure = found.plot()
    cover, reliability, ranks = figure.axes
    np.testing.assert_allclose(cover.lines[1].get_ydata(), 100 * found.coverage.coverage)
    np.testing.assert_allclose(reliability.lines[1].get_xdata(), found.reliability.predicted)
    heights = [bar.get_height() for bar in ranks.patches if hasattr(bar, "get_height")]
    np.testing.assert_allclose(heights, 100 * found.ranks.frequency)
    assert ranks.get_title(loc="left") == "rank histogram"
    assert "(m)" in reliability.get_xlabel()
    pit = scores.calibration(result.drop_vars("ssh_members"), truth).plot()
    assert pit.axes[2].get_title(loc="left") == "PIT histogram"
    plt.close("all")


def test_lazy_results_are_computed_once(case):
    result, truth = case
    loads = []

    def count(block):
        loads.append(block.shape)
        return block

    lazy = result.ssh.chunk(time=-1)
    lazy.data = lazy.data.map_blocks(count, dtype=float, meta=np.empty((0, 0, 0)))
    lazy = result.chunk(time=4).assign(
        ssh=lazy,
        ssh_error=lazy * 0 + result.ssh_error,
        ssh_members=lazy + 0 * result.ssh_members,
    )
    eager = result.assign(ssh_members=result.ssh + 0 * result.ssh_members)
    with raise_if_dask_computes(1):
        found = scores.calibration(lazy, truth.chunk(latitude=7))
    assert len(loads) == 1
    xr.testing.assert_allclose(found.scores, scores.calibration(eager, truth).scores)


def test_compare_shows_the_scores_of_errors(case):
    result, truth = case
    analyses = {
        "map": result.ssh,
        "error": result.drop_vars("ssh_members"),
        "members": result.drop_vars("ssh_error"),
    }
    with raise_if_dask_computes(1):
        found = xinverse.compare(
            {name: one.chunk(time=6) for name, one in analyses.items()}, truth
        )
    table = found.scores
    for name in ("crps", "coverage_90", "spread_ratio"):
        assert np.isnan(table[name].sel(analysis="map"))
    for use in ("error", "members"):
        row = table.sel(analysis=use)
        assert float(row.crps) == pytest.approx(float(scores.crps(result, truth, use=use)))
        cover = scores.coverage(result, truth, [0.9], use=use).coverage[0]
        assert float(row.coverage_90) == float(cover)
        ratio = scores.spread_skill(result, truth, use=use).ratio
        assert float(row.spread_ratio) == pytest.approx(float(ratio))
    head, first, *_ = repr(found).splitlines()[1:]
    for heading in ("CRPS (m)", "in 90 %", "predicted/actual"):
        assert heading in head
    assert first.split()[-3:] == ["-", "-", "-"]
    assert "CRPS" not in repr(xinverse.compare({"map": result.ssh}, truth))


def test_compare_says_why_an_error_has_no_score(case):
    result, truth = case
    found = xinverse.compare({"oi": result.assign(ssh_error=0 * result.ssh_error)}, truth)
    assert np.isnan(found.scores.crps).all()
    assert "No CRPS and coverage: The predicted error is missing, infinite" in repr(found)


# --- what is refused -----------------------------------------------------------------------


def test_what_cannot_be_scored_is_an_error(case, rng):
    result, truth = case
    bare = result[["ssh"]]
    with pytest.raises(OptionError, match="The result is a DataArray. Expected a Dataset"):
        scores.crps(result.ssh, truth)
    with pytest.raises(OptionError, match="neither ssh_error nor ssh_members"):
        scores.crps(bare, truth)
    with pytest.raises(OptionError, match="The truth is a ndarray"):
        scores.crps(result, truth.values)
    with pytest.raises(OptionError, match="use='members', and the result has no members"):
        scores.crps(result.drop_vars("ssh_members"), truth, use="members")
    with pytest.raises(OptionError, match="has no members. Compute them first"):
        scores.rank_histogram(result.drop_vars("ssh_members"), truth)
    with pytest.raises(OptionError, match="use='spread': expected one of 'error', 'members'"):
        scores.coverage(result, truth, use="spread")
    with pytest.raises(OptionError, match="levels=1.0: expected a number above 0 and below 1"):
        scores.coverage(result, truth, levels=[1.0])
    with pytest.raises(OptionError, match="noise=-1: expected a number 0 or more"):
        scores.crps(result, truth, noise=-1)
    with pytest.raises(OptionError, match="noise='sd' is a name, and the truth is a map"):
        scores.crps(result, truth, noise="sd")
    with pytest.raises(OptionError, match="bins=1: expected a number of bins, 2 or more"):
        scores.pit_histogram(result, truth, bins=1)
    with pytest.raises(UnitsError, match="'K'"):
        scores.crps(result, truth.assign_attrs(units="K"))
    with pytest.raises(GridError, match="differ along 'latitude'"):
        scores.crps(result, truth.assign_coords(latitude=truth.latitude + 0.05))
    with pytest.raises(DataError, match="zero at 7776 of the 7776 values"):
        scores.crps(result.assign(ssh_error=0 * result.ssh_error), truth)
    with pytest.raises(DataError, match="missing or infinite at 648 of the 7776 cells"):
        scores.crps(result.assign(ssh=result.ssh.where(truth.time > truth.time[0])), truth)
    late = result.ssh_members.where(truth.time > truth.time[0])
    with pytest.raises(DataError, match="Members are missing or infinite at 648"):
        scores.crps(result.assign(ssh_members=late), truth)
    with pytest.raises(DataError, match="has 1 members"):
        scores.crps(result.isel(member=[0]), truth)
    with pytest.raises(DataError, match="The truth is NaN everywhere"):
        scores.crps(result, truth * np.nan)
    points = points_of(truth, rng)
    with pytest.raises(OptionError, match="the points have no such variable, but 'height'"):
        scores.crps(result, points, noise="sd")
    with pytest.raises(OptionError, match="noise is a DataArray, and the truth is points"):
        scores.crps(result, points, noise=truth)
    with pytest.raises(OptionError, match="The result has no variable with an error"):
        scores.crps(bare, points)


def test_the_zero_error_of_a_measured_truth_is_its_noise(case):
    result, truth = case
    zero = result.assign(ssh_error=0 * result.ssh_error)
    both = scores.spread_skill(zero, truth, noise=0.03, use="error")
    assert float(both.spread) == pytest.approx(0.03)


def test_pit_of_a_gaussian_is_uniform(rng):
    y = rng.standard_normal(5000)
    found = pit_gaussian(np.full(5000, 0.0), np.full(5000, 1.0), y)
    assert stats.kstest(found, "uniform").pvalue > 0.01
