"""Passes and noise recognised in gridded observations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from xinverse.validation.noise_level import noise_level
from xinverse.validation.passes import are_thin, pass_keys


@pytest.fixture
def crossing():
    """Two crossing lines on the first date, and one of them on the second."""
    rising = np.zeros((40, 40), dtype=bool)
    rows = np.arange(40)
    rising[rows, (5 + 0.6 * rows).astype(int)] = True
    falling = np.zeros((40, 40), dtype=bool)
    falling[rows, (33 - 0.7 * rows).astype(int)] = True
    return rising, falling


def test_crossing_passes_are_two(crossing):
    rising, falling = crossing
    seen = np.stack([rising | falling, rising])
    keys = pass_keys(seen)
    assert are_thin(seen)
    far = np.abs(np.arange(40) - 21.5) > 6  # rows from where the lines cross
    one, other = (set(keys[0][line & far[:, None]]) for line in (rising, falling))
    assert len(one) == len(other) == 1
    assert one != other
    assert not set(keys[0][seen[0]]) & set(keys[1][seen[1]])


def test_images_are_not_thin(rng):
    clouds = ndimage.gaussian_filter(rng.standard_normal((3, 40, 40)), (0, 3, 3))
    assert not are_thin(clouds > 0)


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_the_noise_is_found(rng, noise):
    smooth = ndimage.gaussian_filter(rng.standard_normal((6, 60, 60)), (0, 5, 5))
    values = 0.1 * smooth / smooth.std() + noise * rng.standard_normal(smooth.shape)
    values[rng.random(values.shape) < 0.3] = np.nan
    assert noise_level(values, (1.0, 1.0)) == pytest.approx(noise, rel=0.15)


def test_too_few_neighbours_have_no_noise(rng):
    values = np.full((2, 20, 20), np.nan)
    values[:, ::5, ::5] = 1.0
    assert np.isnan(noise_level(values, (1.0, 1.0)))
