"""Explained variance by band, on maps of which the bands are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xinverse import scores
from xinverse.errors import DataError, GridError, OptionError, UnitsError
from xinverse.scores.band_pass import land_filler

NY, NX, KM = 60, 80, 10.0


def labelled(values):
    nt, ny, nx = values.shape
    return xr.DataArray(
        values,
        {
            "time": pd.date_range("2020-01-01", periods=nt),
            "y": ("y", KM * np.arange(ny), {"units": "km"}),
            "x": ("x", KM * np.arange(nx), {"units": "km"}),
        },
        ("time", "y", "x"),
        "ssh",
        {"units": "m"},
    )


def mode(m, n):
    """A cosine mode of the map, and its wavelength in km."""
    y, x = (np.arange(NY) + 0.5) / NY, (np.arange(NX) + 0.5) / NX
    wave = np.cos(np.pi * m * y)[:, None] * np.cos(np.pi * n * x)
    return wave, 1 / np.hypot(m / (2 * NY * KM), n / (2 * NX * KM))


@pytest.fixture
def three(rng):
    """A wave in each of three bands, by the day; the middle of the box is anywhere."""
    waves, lengths = zip(*[mode(20, 20), mode(8, 6), mode(2, 4)], strict=True)
    assert [length < edge for length, edge in zip(lengths, (65, 200, 500), strict=True)]
    amplitude = rng.standard_normal((5, 3))
    return [labelled(amplitude[:, k, None, None] * waves[k]) for k in range(3)]


def test_each_band_has_its_own_score(three):
    truth = sum(three[1:], three[0]) + 0.7
    analysis = 0.5 * three[0] + 0.8 * three[1] + three[2]
    found = scores.explained_variance_by_band(analysis, truth.assign_attrs(units="m"))
    np.testing.assert_allclose(found.explained_variance, [0.75, 0.96, 1], atol=1e-9)
    np.testing.assert_allclose(found.truth_variance, [float(one.var()) for one in three])
    assert list(found.band.values) == ["0-65 km", "65-200 km", "200-500 km"]
    assert found.truth_variance.units == "(m)2"


def test_bands_share_out_the_variance(rng):
    truth = labelled(rng.standard_normal((4, NY, NX)))
    found = scores.explained_variance_by_band(0 * truth, truth, [(0, 50), (50, 1e6)])
    mean_of_maps = truth.mean(["y", "x"]).var()
    assert float(found.truth_variance.sum() + mean_of_maps) == pytest.approx(
        float(truth.var()), rel=1e-3
    )
    np.testing.assert_allclose(found.explained_variance, 0, atol=1e-12)


def test_scale_and_order_of_dimensions_change_nothing(three, rng):
    truth = sum(three[1:], three[0])
    analysis = truth + 0.1 * rng.standard_normal(truth.shape)
    expected = scores.explained_variance_by_band(analysis, truth)
    other = scores.explained_variance_by_band(100 * analysis.transpose(), 100 * truth)
    xr.testing.assert_allclose(other.explained_variance, expected.explained_variance)


def test_land_is_filled_smoothly_and_left_out(three):
    truth = sum(three[1:], three[0])
    sea = (truth.x > 200) | (truth.y > 150)
    analysis = 0.8 * truth
    found = scores.explained_variance_by_band(analysis, truth.where(sea))
    np.testing.assert_allclose(found.explained_variance, 1 - 0.2**2, atol=1e-9)
    # What stands on land in the analysis is not seen.
    other = scores.explained_variance_by_band(analysis.where(sea, 9.0), truth.where(sea))
    xr.testing.assert_identical(other, found)
    whole = scores.explained_variance_by_band(analysis, truth)
    np.testing.assert_allclose(found.truth_variance, whole.truth_variance, rtol=0.35)


def test_the_fill_of_a_plane_is_a_plane_inland(rng):
    y, x = np.mgrid[:9, :11].astype(float)
    sea = np.ones((9, 11), bool)
    sea[3:6, 4:8] = False
    plane = (2 * y - x)[None]
    filled = land_filler(sea)(np.where(sea, plane, np.nan))
    np.testing.assert_allclose(filled, plane, atol=1e-12)
    corner = np.ones((9, 11), bool)
    corner[:3, :3] = False
    rough = rng.standard_normal((2, 9, 11))
    filled = land_filler(corner)(rough)
    assert np.abs(filled[:, :3, :3]).max() < np.abs(rough[:, corner]).max()
    np.testing.assert_array_equal(filled[:, corner], rough[:, corner])


def test_a_band_without_variance_has_no_score(three):
    found = scores.explained_variance_by_band(0.9 * three[2], three[2])
    np.testing.assert_allclose(found.explained_variance, [np.nan, np.nan, 0.99])


def test_mistakes_are_named(three):
    truth = three[0]
    wide = truth.rename(y="latitude", x="longitude").assign_coords(
        latitude=np.linspace(0, 60, NY), longitude=np.linspace(0, 60, NX)
    )
    for analysis, given, bands, error, match in (
        (truth, truth, [(65, 20)], OptionError, "shortest"),
        (truth, truth, [65, 200], OptionError, "not a pair"),
        (truth, truth, [(0, 5)], OptionError, "14.35 and 1600 km"),
        (wide, wide, [(65, 200)], GridError, "latitude"),
        (truth[:, [0, 1, 3]], truth[:, [0, 1, 3]], [(65, 200)], GridError, "irregular"),
        (0 * truth, 0 * truth, [(65, 200)], DataError, "constant"),
        (truth.assign_attrs(units="K"), truth, [(65, 200)], UnitsError, "'K'"),
        (truth, truth.where(truth > 0), [(65, 200)], DataError, "at all times"),
    ):
        with pytest.raises(error, match=match):
            scores.explained_variance_by_band(analysis, given, bands)
