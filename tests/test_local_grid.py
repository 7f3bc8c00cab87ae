"""The grid of a tile, and operators and priors that are built on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tensors import random

from xinverse.errors import GridError
from xinverse.local_grid import LocalGrid
from xinverse.operators import OPERATORS, Blur, Coarsen, Mask, gaussian_psf
from xinverse.priors import PRIORS, Tikhonov, TotalVariation, White


def grid(periodic: bool = False) -> LocalGrid:
    """Three times 2 days apart, 12 rows 10 km apart, 16 columns 20 km apart."""
    return LocalGrid(
        2 * np.arange(3.0), 100 + 10 * np.arange(12.0), 20 * np.arange(16.0), periodic
    )


def island() -> torch.Tensor:
    sea = torch.ones(12, 16, dtype=torch.bool)
    sea[3:5, 6:9] = False
    return sea


def test_shape_spacing_and_regularity():
    assert grid().shape == (3, 12, 16)
    assert grid().spacing == (2.0, 10.0, 20.0)
    assert grid().regular == (True, True, True)
    uneven = LocalGrid(np.array([0, 1, 5]), np.array([7.0]), np.array([0.0, 10.0, 10.1]))
    assert uneven.spacing == pytest.approx((2.5, 1.0, 5.05))
    assert uneven.regular == (False, True, False)
    assert all(axis.dtype == np.float64 for axis in uneven.axes)


@pytest.mark.parametrize(
    ("axis", "text"),
    [
        (np.zeros((2, 2)), r"y has the shape \(2, 2\): expected one axis"),
        (np.array([]), "y has the shape"),
        (np.array([0.0, np.nan]), "finite"),
        (np.array([1.0, 0.0]), "y does not increase: sort"),
        (np.array([1.0, 1.0]), "y does not increase"),
    ],
)
def test_coordinates_are_checked(axis, text):
    with pytest.raises(GridError, match=text):
        LocalGrid(np.arange(2.0), axis, np.arange(2.0))


def test_by_default_a_grid_changes_nothing():
    observed = torch.rand(12, 16) < 0.5
    made = Mask.on(grid(), island(), observed=observed)
    torch.testing.assert_close(made.observed, observed)
    assert isinstance(White.on(grid()), White)
    for registry in (OPERATORS, PRIORS):
        assert all(callable(kind.on) for kind in registry.values())


@pytest.mark.parametrize("kind", [Tikhonov, TotalVariation])
def test_differences_are_per_km_and_stop_at_the_coast(kind):
    sea, x = island(), random((2, 3, 12, 16))
    made = kind.on(grid(periodic=True), sea, axes=(-3, -2, -1), km_per_day=15.0)
    named = {"smoothing": 1e-3 / 30} if kind is TotalVariation else {}
    expected = kind((-3, -2, -1), (30.0, 10.0, 20.0), (False, False, True), sea=sea, **named)
    torch.testing.assert_close(made.cost(x), expected.cost(x), rtol=1e-12, atol=0)
    maps = kind.on(grid())
    assert maps.differences.spacing == (10.0, 20.0)
    assert maps.differences.periodic == (False, False)
    assert maps.differences.sea is None


def test_what_is_given_goes_before_the_grid():
    made = Tikhonov.on(grid(True), spacing=(1, 2), periodic=(True, False))
    assert made.differences.spacing == (1.0, 2.0)
    assert made.differences.periodic == (True, False)
    assert made.differences.sea is None
    assert TotalVariation.on(grid(), smoothing=0.5).smoothing == 0.5
    assert TotalVariation.on(grid()).smoothing == pytest.approx(1e-3 / 20)
    all_sea = torch.ones(12, 16, dtype=torch.bool)
    assert Tikhonov.on(grid(), all_sea).differences.sea is None


def test_a_grid_that_differences_cannot_use_is_an_error():
    uneven = LocalGrid(np.arange(3.0), np.array([0, 1, 5.0]), np.arange(4.0))
    with pytest.raises(GridError, match="constant step along y; the steps range from 1 to 4"):
        Tikhonov.on(uneven)
    Tikhonov.on(uneven, axes=(-1,))
    with pytest.raises(ValueError, match="km_per_day=0: expected a number above 0"):
        Tikhonov.on(grid(), km_per_day=0)
    with pytest.raises(ValueError, match=r"axes=\(-4,\): expected some of -3"):
        TotalVariation.on(grid(), axes=(-4,))


def covariance(kernel: torch.Tensor, spacing: tuple[float, float]) -> np.ndarray:
    """Second moments of a kernel in km, along (y, x)."""
    y, x = (
        step * (np.arange(n) - n // 2) for n, step in zip(kernel.shape, spacing, strict=True)
    )
    at = np.stack([a.ravel() for a in np.meshgrid(y, x, indexing="ij")])
    return np.asarray((at * kernel.numpy().ravel()) @ at.T)


@pytest.mark.parametrize("angle", [0.0, 30.0, -70.0])
def test_a_gaussian_blur_has_its_width_in_km_and_its_direction(angle):
    made = Blur.on(grid(), scale=(25.0, 60.0), angle=angle, reach=6.0)
    along = np.radians(angle)
    # Unit vectors (y, x) of the long axis, turned from east towards north, and the short one.
    long = np.array([np.sin(along), np.cos(along)])
    short = np.array([np.cos(along), -np.sin(along)])
    expected = 60.0**2 * np.outer(long, long) + 25.0**2 * np.outer(short, short)
    np.testing.assert_allclose(covariance(made.kernel, (10.0, 20.0)), expected, atol=2)
    assert float(made.kernel.sum()) == pytest.approx(1)


def test_a_round_blur_does_not_know_its_angle():
    at, turned = (Blur.on(grid(), scale=40.0, angle=a, reach=6.0) for a in (0, 55))
    torch.testing.assert_close(at.kernel, turned.kernel, rtol=0, atol=1e-7)
    torch.testing.assert_close(at.kernel, gaussian_psf(40.0, (10.0, 20.0), reach=6.0))


def test_a_blur_of_an_array_is_used_as_it_is():
    psf = np.array([[0.0, 1.0, 0.0], [2.0, 5.0, 2.0], [0.0, 1.0, 0.0]])
    made = Blur.on(grid(periodic=True), psf=psf, method="direct")
    torch.testing.assert_close(made.kernel, torch.from_numpy(psf))
    assert made.periodic == (False, True)
    assert Blur.on(grid(True), psf=psf, periodic=(True, False)).periodic == (True, False)
    assert Blur.on(grid(True), kernel=torch.ones(3)).periodic == (True,)
    with pytest.raises(ValueError, match="scale and psf are both given"):
        Blur.on(grid(), scale=3.0, psf=psf)
    uneven = LocalGrid(np.arange(3.0), np.array([0, 1, 5.0]), np.arange(4.0))
    with pytest.raises(GridError, match="Blur needs a constant step along y"):
        Blur.on(uneven, scale=3.0)
    with pytest.raises(ValueError, match="angle=30 with 1 axes: expected two axes"):
        gaussian_psf(3.0, (1.0,), angle=30.0)


def test_block_means_leave_land_out_and_weigh_cells_by_their_width():
    sea, x = island(), random((1, 12, 16))
    made = Coarsen.on(grid(), sea, factor=(4, 4))
    torch.testing.assert_close(made(x), Coarsen((4, 4), sea.double())(x))
    assert Coarsen.on(grid(), factor=(4, 4)).area is None
    uneven = LocalGrid(np.arange(3.0), np.array([0.0, 1.0, 5.0, 9.0]), np.arange(4.0))
    widths = torch.tensor([1.0, 2.5, 4.0, 4.0], dtype=torch.float64)
    made = Coarsen.on(uneven, factor=(2, 2))
    x = random((1, 4, 4))
    torch.testing.assert_close(made(x), Coarsen((2, 2), widths)(x))
    given = Coarsen.on(
        uneven, sea=torch.zeros(4, 4, dtype=torch.bool), factor=(2, 2), area=None
    )
    assert given.area is None
