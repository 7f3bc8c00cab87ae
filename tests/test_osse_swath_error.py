"""Swaths: which cells they see, and the error that is correlated along them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xinverse.constants import EARTH_RADIUS_KM, KM_PER_DEGREE
from xinverse.errors import OptionError, UnitsError
from xinverse.osse import (
    ORBITS,
    SwathError,
    ground_track,
    observe,
    sample_tracks,
    track_points,
)
from xinverse.osse.sampling import launch
from xinverse.osse.swath_error import draw_swath_error
from xinverse.points.grid_tracks import grid_tracks

SWOT = ORBITS["swot"]
KM_A_DAY = 2 * np.pi * EARTH_RADIUS_KM * SWOT.revolutions / SWOT.repeat_days


def flat(spacing: float = 16.0, cells: int = 48, days: int = 21, units: str = "m"):
    """A sea at rest: what is seen of it is error."""
    offset = spacing * (np.arange(cells) - cells / 2) / KM_PER_DEGREE
    return xr.DataArray(
        np.zeros((days, cells, cells)),
        {
            "time": pd.date_range("2020-01-01", periods=days),
            "latitude": 38 + offset,
            "longitude": 300 + offset / np.cos(np.deg2rad(38)),
        },
        ("time", "latitude", "longitude"),
        "ssh",
        {"units": units},
    )


def drawn(error: SwathError, days: float = 2.0, seed: int = 0):
    """The error of every sample of a whole track, (times, offsets), and the offsets."""
    track = ground_track(SWOT, 0.0, days, step_s=4.0)
    values = draw_swath_error(error, SWOT, track, np.random.default_rng(seed))
    return values.reshape(-1, SWOT.offsets_km.size), SWOT.offsets_km


def fitted(rows: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bias and tilt of each row, from its outermost samples."""
    tilt = (rows[:, -1] - rows[:, 0]) / (offsets[-1] - offsets[0])
    return (rows[:, -1] + rows[:, 0]) / 2, tilt


def test_the_error_is_a_line_across_the_swath_and_nothing_at_nadir():
    rows, offsets = drawn(SwathError())
    bias, tilt = fitted(rows, offsets)
    sides = offsets != 0
    line = bias[:, None] + tilt[:, None] * offsets
    np.testing.assert_allclose(rows[:, sides], line[:, sides], rtol=0, atol=1e-12)
    assert (rows[:, ~sides] == 0).all()


@pytest.mark.parametrize("length", [80.0, 160.0, 500.0])
def test_size_and_length_are_what_was_asked_for(length):
    error = SwathError(tilt_urad=1.5, bias_m=0.04, length_km=length)
    rows, offsets = drawn(error, days=4.0)
    bias, tilt = fitted(rows, offsets)
    step = 4.0 / 86400 * KM_A_DAY
    independent = len(rows) * step / (2 * length)
    sampling = 4 / np.sqrt(2 * independent)
    assert bias.std() == pytest.approx(0.04, rel=sampling)
    assert tilt.std() * 1e3 == pytest.approx(1.5, rel=sampling)  # m / km to mm / km
    for process in (bias, tilt):
        z = process / process.std()
        for fraction in (0.3, 1.0):
            lag = round(fraction * length / step)
            covariance = (z[lag:] * z[:-lag]).mean()
            assert covariance == pytest.approx(np.exp(-lag * step / length), abs=0.1)
    assert abs(np.corrcoef(bias, tilt)[0, 1]) < 4 / np.sqrt(independent)


def test_the_spectrum_of_the_defaults_is_the_requirement_of_the_mission():
    """0.00125 k^-2 cm2 / cpkm over wavelengths of some hundred km, mean over the swath."""
    error = SwathError()
    sides = SWOT.offsets_km[SWOT.offsets_km != 0]
    variance = 1e4 * (error.bias_m**2 + (1e-3 * error.tilt_urad) ** 2 * (sides**2).mean())
    for wavelength in (15.0, 50.0, 150.0):
        k = 1 / wavelength
        spectrum = 4 * variance * error.length_km / (1 + (2 * np.pi * error.length_km * k) ** 2)
        assert spectrum == pytest.approx(0.00125 / k**2, rel=0.06)
    assert np.sqrt(variance) == pytest.approx(1.4, rel=0.02)  # cm


def test_passes_apart_have_errors_of_their_own():
    """Across a gap the process goes on as if it had been followed all the way."""
    track = ground_track(SWOT, 0.0, 60.0, box=(38.0, 38.3, 0.0, 360.0))
    values = draw_swath_error(
        SwathError(tilt_urad=0.0, bias_m=1.0), SWOT, track, np.random.default_rng(0)
    )
    sides = track.offset_km != 0
    key = track.cycle * 1000 + track.pass_number
    bias = np.array([values[sides & (key == one)].mean() for one in np.unique(key)])
    assert bias.size > 1000
    assert abs(np.corrcoef(bias[1:], bias[:-1])[0, 1]) < 0.1
    assert bias.std() == pytest.approx(1.0, rel=0.1)


# In the observations -----------------------------------------------------------------------


def test_the_error_is_added_to_swaths_and_to_nothing_else():
    truth, systems = flat(), ["jason", "swot"]
    without = track_points(truth, systems, noise=0.01, seed=3)
    points = track_points(truth, systems, noise=0.01, seed=3, swath_error=SwathError())
    added = (points - without).ssh
    nadir = points.cross_track_distance == 0
    assert (added[nadir] == 0).all()
    assert {"jason", "swot"} == set(points.satellite.values[nadir.values])
    assert 0.005 < float(added[~nadir].std()) < 0.05
    # One line across each time's samples: the second differences of those of a side are none.
    offset, error = points.cross_track_distance.values, added.values
    neighbours = (np.diff(points.time.values) == np.timedelta64(0)) & (
        np.abs(np.diff(offset)) < 7
    )
    slope = np.diff(error) / np.where(neighbours, np.diff(offset), 1)
    both = neighbours[1:] & neighbours[:-1]
    assert both.sum() > 500
    assert np.abs(np.diff(slope)[both]).max() < 1e-12
    # The white noise of each sample is the one that it had.
    again = track_points(truth, systems, noise=0.01, seed=3, swath_error=SwathError())
    xr.testing.assert_identical(again, points)
    other = track_points(truth, systems, noise=0.01, seed=4, swath_error=SwathError())
    assert not other.equals(points)


def test_cells_hold_the_mean_of_their_samples_error():
    truth = flat()
    options = {"noise": 0.0, "seed": 3, "swath_error": SwathError()}
    seen = observe(truth, "swot", **options)
    gridded = grid_tracks(track_points(truth, "swot", **options), truth, noise="noise")
    xr.testing.assert_allclose(gridded.ssh, seen.ssh, atol=1e-12)
    assert float(seen.ssh.std()) > 0.005
    assert not seen.ssh_noise.fillna(0).any()  # of the white noise only


def test_the_noise_of_points_is_that_of_their_mission():
    noise = {"jason": 0.03, "swot": 0.01}
    points = track_points(flat(), ["jason", "swot"], noise=noise)
    for name, deviation in noise.items():
        assert (points.noise[points.satellite == name] == deviation).all()
    seen = observe(flat(), ["jason", "swot"], noise=noise)
    gridded = grid_tracks(points, flat(), noise="noise")
    xr.testing.assert_allclose(gridded.ssh_noise, seen.ssh_noise, atol=1e-12)


@pytest.mark.parametrize("spacing", [8.0, 12.0, 18.0, 28.0])
def test_cells_that_swot_sees_lie_in_its_swaths(spacing):
    """10 to 60 km from nadir, to half the diagonal of a cell; and nearly all of those."""
    truth = flat(spacing, cells=40, days=21)
    seen = observe(truth, "swot", noise=0.0, seed=2).ssh.notnull().values
    lat, lon = truth.latitude.values, truth.longitude.values
    (satellite,) = launch(["swot"], 2)
    track = ground_track(
        replace(SWOT, swath_km=None),
        -0.5,
        20.5,
        phase=satellite.phase,
        node_longitude=satellite.node_longitude,
        box=(lat.min() - 1, lat.max() + 1, lon.min() - 1, lon.max() + 1),
    )
    half = spacing / np.sqrt(2)
    north_cell, east_cell = np.meshgrid(
        (lat - 38) * KM_PER_DEGREE, (lon - 300) * KM_PER_DEGREE, indexing="ij"
    )
    cosine = np.cos(np.deg2rad(lat))[:, None]
    checked = 0
    for day in range(21):
        now = np.round(track.time) == day
        if not now.any():
            assert not seen[day].any()
            continue
        north = (track.latitude[now] - 38) * KM_PER_DEGREE
        east = (track.longitude[now] % 360 - 300) * KM_PER_DEGREE
        apart = np.min(
            [
                np.hypot(north_cell - y, cosine * (east_cell - x))
                for y, x in zip(north, east, strict=True)
            ],
            axis=0,
        )
        beside = seen[day] & (apart > half + 4)  # not the cells that nadir itself crosses
        assert (apart[beside] < 61 + half).all()
        assert (apart[beside] > 9 - half).all()
        within = (apart > 11 + half) & (apart < 59 - half)
        checked += within.sum()
        # Samples are 6 to 7 km apart: a few cells of 8 km lie between them.
        assert (seen[day] | ~within).mean() > (0.98 if spacing < 12 else 0.999)
    assert checked > 100
    swath = set(np.abs(track_points(truth, "swot", seed=2).cross_track_distance.values))
    assert swath == set(np.abs(SWOT.offsets_km))


def test_the_same_cells_are_seen_again_after_a_repeat_cycle():
    """SWOT's 20.86455 days: the samples of a grid that starts so much later."""
    truth = flat(cells=30, days=5)
    days, lat, lon = np.arange(5.0), truth.latitude.values, truth.longitude.values
    first = sample_tracks(days, lat, lon, ["swot"], seed=1)
    later = sample_tracks(days + SWOT.repeat_days, lat, lon, ["swot"], seed=1)
    assert first[0].size > 500
    for a, b in zip(first, later, strict=True):
        assert a.size == pytest.approx(b.size, abs=20)  # one second of a pass at each edge
    both = {tuple(c) for c in np.stack(first, 1)} ^ {tuple(c) for c in np.stack(later, 1)}
    assert len(both) < 0.05 * first[0].size


# Mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"tilt_urad": -1.0}, {"bias_m": np.nan}, {"length_km": 0.0}, {"length_km": np.inf}],
)
def test_a_number_that_is_none(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        SwathError(**options)


def test_an_error_along_a_swath_needs_one():
    with pytest.raises(OptionError, match="no swath"):
        observe(flat(), "nadir:4", swath_error=SwathError())
    with pytest.raises(UnitsError, match="'cm'"):
        observe(flat(units="cm"), "swot", swath_error=SwathError())
