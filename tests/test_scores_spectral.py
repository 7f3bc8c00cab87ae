"""Spectral scores on fields of which the resolved scales are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xinverse import scores
from xinverse.errors import DataError, GridError
from xinverse.spectra import smallest_resolved, smallest_resolved_of_rows

NT, NY, NX, STEP = 48, 40, 80, 0.125  # 48 days and 10 degrees


def labelled(values, **attrs):
    nt, ny, nx = values.shape
    return xr.DataArray(
        values,
        {
            "time": pd.date_range("2012-10-01", periods=nt),
            "latitude": 33 + STEP * np.arange(ny),
            "longitude": -65 + STEP * np.arange(nx),
        },
        ("time", "latitude", "longitude"),
        "ssh",
        {"units": "m", **attrs},
    )


def low_pass(field, cycles_x=np.inf, cycles_t=np.inf):
    """What is left of a field without its faster waves, sharply cut."""
    wave = np.fft.fftn(field.values, axes=(0, 2))
    nt, _, nx = field.shape
    keep_t = np.abs(np.fft.fftfreq(nt, 1 / nt)) <= cycles_t
    keep_x = np.abs(np.fft.fftfreq(nx, 1 / nx)) <= cycles_x
    wave = wave * (keep_t[:, None, None] & keep_x)
    return field.copy(data=np.fft.ifftn(wave, axes=(0, 2)).real)


@pytest.fixture
def truth(rng):
    return labelled(rng.standard_normal((NT, NY, NX)))


def red(rng, shape=(NT, 20, NX)):
    """Noise whose density falls as the fourth power of frequency and wavenumber."""
    f = np.abs(np.fft.fftfreq(shape[0], 1 / shape[0]))[:, None, None]
    k = np.abs(np.fft.fftfreq(shape[2], 1 / shape[2]))
    wave = np.fft.fftn(rng.standard_normal(shape), axes=(0, 2)) / (1 + (f**2 + k**2) / 9)
    return labelled(np.fft.ifftn(wave, axes=(0, 2)).real)


@pytest.mark.parametrize("cycles", [5, 10, 20])
def test_a_map_without_short_waves_resolves_the_others(truth, cycles):
    found = scores.spectral_scores(low_pass(truth, cycles_x=cycles), truth)
    length = NX * STEP
    for name in ("lambda_x", "lambda_x_averaged"):
        assert length / (cycles + 1) <= float(found[name]) <= length / cycles
        assert found[name].units == "degrees"
    # All periods are resolved, at long wavelengths.
    assert float(found.lambda_t) == float(found.period[-1])


@pytest.mark.parametrize("cycles", [4, 8, 16])
def test_a_map_without_fast_waves_resolves_the_slow_ones(truth, cycles):
    found = scores.spectral_scores(low_pass(truth, cycles_t=cycles), truth)
    for name in ("lambda_t", "lambda_t_averaged"):
        assert NT / (cycles + 1) <= float(found[name]) <= NT / cycles
        assert found[name].units == "days"


def test_both_are_found_together(truth):
    found = scores.spectral_scores(low_pass(truth, 12, 6), truth)
    assert NX * STEP / 13 <= float(found.lambda_x) <= NX * STEP / 12
    assert NT / 7 <= float(found.lambda_t) <= NT / 6


def test_kilometres_follow_from_the_latitudes(truth):
    found = scores.spectral_scores(low_pass(truth, 10), truth)
    degree = 6371 * np.pi / 180 * np.cos(np.deg2rad(truth.latitude)).mean()
    assert float(found.lambda_x_km) == pytest.approx(float(found.lambda_x * degree))
    assert found.lambda_x_km.units == "km"


def test_a_perfect_map_and_an_empty_one(truth):
    perfect = scores.spectral_scores(truth, truth)
    assert float(perfect.lambda_x) == float(perfect.wavelength[-1])
    assert float(perfect.lambda_t) == float(perfect.period[-1])
    empty = scores.spectral_scores(0 * truth, truth)
    np.testing.assert_allclose(empty.score, 0, atol=1e-12)
    assert np.isnan([empty.lambda_x, empty.lambda_t, empty.lambda_x_averaged]).all()


def test_nothing_is_resolved_where_the_truth_has_no_waves(truth):
    smooth = low_pass(truth, 10)
    # One bin more: the window spreads each wave into its neighbours.
    found = scores.spectral_scores(smooth, smooth)
    assert float(found.lambda_x) == pytest.approx(NX * STEP / 11)


def test_units_and_order_of_dimensions_change_nothing(rng):
    truth = red(rng)
    analysis = truth + 0.05 * rng.standard_normal(truth.shape)
    expected = scores.spectral_scores(analysis, truth)
    names = ["lambda_x", "lambda_t", "lambda_x_averaged", "lambda_t_averaged"]
    scaled = scores.spectral_scores(100 * analysis.transpose(), (100 * truth).chunk(time=7))
    xr.testing.assert_allclose(scaled[names], expected[names])
    xr.testing.assert_allclose(scaled.score, expected.score)
    flipped = scores.spectral_scores(analysis[:, ::-1, ::-1], truth[:, ::-1, ::-1])
    xr.testing.assert_allclose(flipped[names], expected[names])


def test_white_error_crosses_where_its_density_is_half_of_the_truths(rng):
    truth = red(rng)
    noise = truth.copy(data=0.1 * rng.standard_normal(truth.shape))
    found = scores.spectral_scores(truth + noise, truth)
    ratio = scores.power_spectrum(noise) / scores.power_spectrum(truth)
    np.testing.assert_allclose(found.score, 1 - ratio, atol=1e-9)
    averaged = found.psd_error.mean("frequency") / found.psd_truth.mean("frequency")
    inside = found.wavelength > float(found.lambda_x_averaged)
    assert float(averaged.where(inside).max()) <= 0.5
    assert float(averaged.where(~inside)[int(inside.sum())]) > 0.5


def test_more_error_resolves_less(rng):
    truth = red(rng)
    noise = rng.standard_normal(truth.shape)
    found = [scores.spectral_scores(truth + s * noise, truth) for s in (0.01, 0.02, 0.04, 0.08)]
    for name in ("lambda_x", "lambda_t", "lambda_x_averaged", "lambda_t_averaged"):
        values = [float(one[name]) for one in found]
        assert values == sorted(values)
        assert values[0] < values[-1]


def test_the_crossing_is_that_of_the_contour(rng):
    """Where the half contour is one line, its smallest x and y are λx and λt."""
    contourpy = pytest.importorskip("contourpy")
    truth = red(rng, (NT, 400, NX))
    noise = 0.08 * rng.standard_normal(truth.shape)
    found = scores.spectral_scores(truth + noise, truth)
    lines = contourpy.contour_generator(
        found.wavelength, found.period, found.score.values
    ).lines(0.5)
    line = max(lines, key=len)
    assert float(found.lambda_x) == pytest.approx(line[:, 0].min())
    assert float(found.lambda_t) == pytest.approx(line[:, 1].min())


def test_the_density_adds_up_to_the_variance(rng):
    field = labelled(rng.standard_normal((60, 200, 90)))
    density = scores.power_spectrum(field)
    steps = float(density.frequency[0] * density.wavenumber[0])
    # Without the bins of no frequency, no wavenumber, and the last of each.
    share = (58 / 60) * (88 / 90)
    assert float(density.sum()) * steps == pytest.approx(share, rel=0.01)
    assert density.units == "(m)2 day degree"


def test_waves_in_both_directions_count(truth):
    phase = 2 * np.pi * (np.arange(NT)[:, None] / 6 + np.arange(NX) / 8)
    east = labelled(np.sin(phase)[:, None] * np.ones((NT, NY, NX)))
    west = east[..., ::-1].assign_coords(longitude=east.longitude)
    xr.testing.assert_allclose(scores.power_spectrum(east), scores.power_spectrum(west))
    assert float(scores.power_spectrum(east).max()) > 0
    peak = scores.power_spectrum(east)
    peak = peak.where(peak == peak.max(), drop=True)
    assert float(peak.period[0]) == pytest.approx(6)
    assert float(peak.wavelength[0]) == pytest.approx(8 * STEP)


def test_rows_with_land_are_left_out(truth):
    coast = truth.where((truth.latitude > 33.2) | (truth.longitude > -64))
    analysis = low_pass(truth, 10)
    found = scores.spectral_scores(analysis, coast)
    assert found.psd_truth.attrs["rows"] == NY - 2
    sea = slice(33.2, None)
    expected = scores.spectral_scores(analysis.sel(latitude=sea), truth.sel(latitude=sea))
    xr.testing.assert_allclose(found, expected)
    with pytest.raises(DataError, match="complete row"):
        scores.spectral_scores(analysis, truth.where(truth.longitude > -64))


def test_a_projected_grid_is_in_kilometres(truth):
    grid = {"y": ("y", 1e4 * np.arange(NY), {"units": "m", "axis": "Y"})}
    grid["x"] = ("x", 1e4 * np.arange(NX), {"units": "m", "axis": "X"})
    flat = truth.rename(latitude="y", longitude="x").assign_coords(grid)
    found = scores.spectral_scores(
        low_pass(truth, 10)
        .drop_vars(truth.coords)
        .rename(latitude="y", longitude="x")
        .assign_coords(flat.coords),
        flat,
    )
    assert found.lambda_x.units == "km"
    assert float(found.lambda_x) == float(found.lambda_x_km)
    assert 800 / 11 <= float(found.lambda_x_km) <= 80


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda x: x.isel(time=slice(4)), GridError, "'time' has 4 values"),
        (lambda x: x.isel(time=[0, 1, 2, 3, 5, 6]), GridError, "'time' has steps from 1 to 2"),
        (lambda x: x.isel(longitude=[0, 1, 2, 4, 5]), GridError, "'longitude' has steps"),
        (lambda x: 0 * x, DataError, "does not vary"),
    ],
)
def test_mistakes_are_named(truth, change, error, match):
    with pytest.raises(error, match=match):
        scores.spectral_scores(change(truth), change(truth))


def test_an_infinite_field_has_no_spectrum(truth):
    with pytest.raises(DataError, match="infinite"):
        scores.power_spectrum(truth.where(truth.longitude > -64, np.inf))


SCALE = np.array([8.0, 4.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ([0.9, 0.75, 0.25, 0.0], 3.0),
        ([0.9, 0.6, 0.5, 0.0], 2.0),
        ([0.9, 0.4, 0.9, 0.9], 4.8),  # what is resolved again further on does not count
        ([0.9, 0.8, 0.7, 0.6], 1.0),
        ([0.4, 0.8, 0.7, 0.6], np.nan),
        ([0.9, 0.8, np.nan, 0.6], 4.0),
        ([np.nan, 0.8, 0.7, 0.6], np.nan),
    ],
)
def test_crossings_by_hand(score, expected):
    assert smallest_resolved(SCALE, np.array(score)) == pytest.approx(expected, nan_ok=True)


def test_the_best_row_decides():
    rows = np.array([[0.4] * 4, [0.9, 0.75, 0.25, 0], [0.9, 0.4, 0.9, 0.9]])
    assert smallest_resolved_of_rows(SCALE, rows) == 3.0
    assert np.isnan(smallest_resolved_of_rows(SCALE, rows[:1]))
