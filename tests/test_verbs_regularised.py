"""`tikhonov` and `tv` reach the minimum that they promise, in every verb."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
import verb_cases as dense
import xarray as xr
from test_solvers_primal_dual import MISFIT, admm

import xinverse
from xinverse.constants import KM_PER_DEGREE
from xinverse.errors import DataError

SCALES = {"length_scale": 60.0, "time_scale": 2.0}
NOISE, VARIANCE = 0.4, 1.3
OPTIONS = {"background": 0.0, "noise": NOISE, "variance": VARIANCE, **SCALES}
SHAPE = (3, 5, 6)
Y, X = 20.0 * np.arange(5), 25.0 * np.arange(6)


@dataclass
class Case:
    """A result, and the problem of which it should be the minimum, in numpy."""

    found: xr.DataArray
    H: np.ndarray
    y: np.ndarray
    shape: tuple[int, int, int]
    km: tuple[float, float]
    first: int = 0  # of the cells that come back
    sea: np.ndarray | None = None

    @property
    def steps(self) -> tuple[float, float, float]:
        """Spacings in scales."""
        length = SCALES["length_scale"]
        return 1 / SCALES["time_scale"], self.km[0] / length, self.km[1] / length

    def differences(self) -> np.ndarray:
        return dense.differences(self.shape, self.steps, self.sea)

    def check(self, expected: np.ndarray, atol: float) -> None:
        reached = self.found.to_numpy().ravel()
        expected = expected[self.first :]
        seen = np.isfinite(reached)
        np.testing.assert_allclose(reached[seen], expected[seen], rtol=0, atol=atol)


def observations(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 1.2, shape)


def denoise(method: str, **options) -> Case:
    y = dense.with_gaps(observations())
    found = xinverse.denoise(dense.labelled(y, Y, X), method, **OPTIONS | options)
    assert np.isnan(found.to_numpy()[np.isnan(y)]).all()
    return Case(found, np.eye(90), y, SHAPE, (20.0, 25.0))


def deconvolve(method: str, **options) -> Case:
    y = dense.with_gaps(observations())
    scale = (15.0, 30.0)
    found = xinverse.deconvolve(
        dense.labelled(y, Y, X), method, psf=scale, angle=20, **OPTIONS | options
    )
    kernel = dense.gaussian_kernel(scale, (20.0, 25.0), 20.0)
    H = dense.every_day(dense.blur((5, 6), kernel), 3)
    return Case(found, H, y, SHAPE, (20.0, 25.0))


def downscale(method: str, **options) -> Case:
    y, x = 10.0 * np.arange(6), 12.0 * np.arange(6)
    by, bx = -5 + 17.0 * (0.5 + np.arange(3)), -6 + 24.0 * (0.5 + np.arange(3))
    seen = observations((2, 3, 3))
    like = dense.labelled(np.zeros((1, 6, 6)), y, x)
    found = xinverse.downscale(dense.labelled(seen, by, bx), like, method, **OPTIONS | options)
    H = dense.every_day(dense.block_means((y, x), (by, bx)), 2)
    return Case(found, H, seen, (2, 6, 6), (10.0, 12.0))


def downscale_at_a_coast(method: str, **options) -> Case:
    y, x = 40 + 0.1 * np.arange(6), 0.2 * np.arange(6)
    by, bx = 39.95 + 0.2 * (0.5 + np.arange(3)), -0.1 + 0.3 * (0.5 + np.arange(4))
    seen = observations((2, 3, 4))
    sea = np.ones((6, 6), bool)
    sea[2:4, 1:3] = False
    like = dense.labelled(np.zeros((1, 6, 6)), y, x, degrees=True)
    coarse = dense.labelled(seen, by, bx, degrees=True)
    found = xinverse.downscale(coarse, like, method, mask=sea, **OPTIONS | options)
    H = dense.every_day(dense.block_means((y, x), (by, bx), sphere=True, sea=sea), 2)
    east = 0.2 * KM_PER_DEGREE * np.cos(np.deg2rad(40.25))
    return Case(found, H, seen, (2, 6, 6), (0.1 * KM_PER_DEGREE, east), sea=sea)


def forecast(method: str, **options) -> Case:
    y = observations((3, 4, 5))
    found = xinverse.forecast(dense.labelled(y, Y[:4], X[:5]), 2, method, **OPTIONS | options)
    H = np.eye(100)[:60]
    return Case(found, H, y, (5, 4, 5), (20.0, 25.0), 60)


VERBS = [denoise, deconvolve, downscale, downscale_at_a_coast, forecast]
EACH = pytest.mark.parametrize("verb", VERBS, ids=lambda v: v.__name__)


@EACH
@pytest.mark.parametrize("weight", [None, 0.3, 50.0])
def test_tikhonov_solves_the_normal_equations(verb, weight):
    """Of anomalies in units of their standard deviation, which has no effect on x."""
    options = {} if weight is None else {"weight": weight}
    case = verb("tikhonov", tolerance=1e-10, **options)
    strength = (10.0 if weight is None else weight) * prod(case.steps) / VARIANCE
    D, H = case.differences(), case.H
    land = ~(H.any(0) | D.any((0, 1)))
    ridge = 1e-12 * np.eye(H.shape[1]) + np.diag(land.astype(float))
    seen = np.isfinite(case.y.ravel())
    system = H[seen].T @ H[seen] / NOISE**2 + ridge
    flat = D.reshape(-1, D.shape[-1])
    system += strength * flat.T @ flat
    expected = np.linalg.solve(system, H[seen].T @ case.y.ravel()[seen] / NOISE**2)
    case.check(expected, 1e-5 * VARIANCE**0.5)


@EACH
def test_tikhonov_by_default_stops_near_enough(verb):
    """A tolerance of 1e-6 of the residual, against one of 1e-12."""
    found, exact = (verb("tikhonov", **o).found for o in ({}, {"tolerance": 1e-12}))
    assert float(abs(found - exact).max()) <= 1e-3 * VARIANCE**0.5


@EACH
def test_tv_is_the_minimum_of_another_convex_solver(verb):
    """To 1e-5 of the standard deviation where it is unique, and in what is seen of it."""
    case = verb("tv", weight=6.0, tolerance=1e-11, iterations=100_000)
    strength, sigma = 6.0 * prod(case.steps), VARIANCE**0.5
    seen = np.isfinite(case.y.ravel())
    H, D = case.H[seen], case.differences()
    y = case.y.ravel()[seen] / sigma
    scaled = sigma / NOISE / MISFIT**0.5  # the reference's misfit has a weight of its own
    expected = sigma * admm(scaled * H, D, scaled * y, strength)
    if verb in (denoise, deconvolve):
        case.check(expected, 1e-5 * sigma)
    whole = case.found.to_numpy().ravel()
    if not case.first and np.isfinite(whole[H.any(0)]).all():
        whole = np.where(np.isfinite(whole), whole, 0.0)
        np.testing.assert_allclose(H @ whole, H @ expected, rtol=0, atol=1e-5 * sigma)


@pytest.mark.parametrize("method", ["tikhonov", "tv"])
def test_a_minimum_that_is_not_reached_is_an_error(method):
    with pytest.raises(DataError, match="did not reach its minimum in 3 iterations.*Raise"):
        denoise(method, iterations=3, tolerance=1e-12)
