"""Each verb with `method="oi"` is the exact Gaussian posterior, mean, error and members."""

from __future__ import annotations

import numpy as np
import pytest
import verb_cases as dense
import xarray as xr

import xinverse
from xinverse.constants import KM_PER_DEGREE
from xinverse.solvers import GaussianPosterior

SHAPE = (4, 6, 7)
Y, X = 20.0 * np.arange(6), 25.0 * np.arange(7)
OI = {"background": 0.0, "noise": dense.NOISE, "variance": dense.VARIANCE, **dense.SCALES}
GIVEN = np.random.default_rng(8).random((3, 5))  # a kernel of no symmetry


def noisy(shape: tuple[int, ...] = SHAPE, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1.2, shape)


def close(found: xr.DataArray, expected: np.ndarray) -> None:
    """To 1e-5 of the field's standard deviation; the iterations stop at 1e-7."""
    reached = found.to_numpy().reshape(expected.shape)
    np.testing.assert_allclose(reached, expected, rtol=0, atol=1e-5)


def is_posterior(
    result: xr.Dataset, H: np.ndarray, y: np.ndarray, B: np.ndarray, keep: slice = slice(None)
) -> None:
    mean, left = dense.posterior(B, H, y.ravel())
    close(result.ssh, mean[keep])
    error = np.sqrt(np.diag(left)[keep])
    # Beyond few observations the package may leave out modes that raise it by 0.1 % at most.
    np.testing.assert_allclose(result.ssh_error.to_numpy().ravel(), error, rtol=1.1e-3)


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
def test_denoise(gaps):
    y = dense.with_gaps(noisy()) if gaps else noisy()
    found = xinverse.denoise(dense.labelled(y, Y, X), error=True, **OI)
    mean, left = dense.posterior(
        dense.covariance(np.arange(4), Y, X), np.eye(y.size), y.ravel()
    )
    seen = np.isfinite(y)
    close(found.ssh, np.where(seen, mean.reshape(SHAPE), np.nan))
    error = np.sqrt(np.diag(left)).reshape(SHAPE)
    close(found.ssh_error, np.where(seen, error, np.nan))


KERNELS = {
    "one scale": ({"psf": 30.0}, dense.gaussian_kernel((30.0, 30.0), (20.0, 25.0))),
    "elongated": ({"psf": (15.0, 40.0)}, dense.gaussian_kernel((15.0, 40.0), (20.0, 25.0))),
    "turned": (
        {"psf": (15.0, 40.0), "angle": 30.0},
        dense.gaussian_kernel((15.0, 40.0), (20.0, 25.0), 30.0),
    ),
    "given": ({"psf": GIVEN}, GIVEN),
}


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
@pytest.mark.parametrize("name", KERNELS)
def test_deconvolve(name, gaps):
    options, kernel = KERNELS[name]
    y = dense.with_gaps(noisy()) if gaps else noisy()
    found = xinverse.deconvolve(dense.labelled(y, Y, X), error=True, **options, **OI)
    H = dense.every_day(dense.blur((6, 7), kernel), 4)
    is_posterior(found, H, y, dense.covariance(np.arange(4), Y, X))


def test_a_background_is_blurred_too():
    """Observations are of the whole field; beyond the edge its anomaly is zero."""
    y, background = noisy(), 3 + noisy(seed=2)
    da = dense.labelled(y, Y, X)
    options = OI | {"background": da.copy(data=background)}
    found = xinverse.deconvolve(da, psf=30.0, **options)
    H = dense.every_day(dense.blur((6, 7), KERNELS["one scale"][1]), 4)
    mean, level = background.ravel(), background.mean()
    seen = y.ravel() - H @ (mean - level) - level
    expected, _ = dense.posterior(dense.covariance(np.arange(4), Y, X), H, seen)
    close(found, (mean + expected).reshape(SHAPE))


# Fine cells of 5 km in 30 and 34 km; ratios 3, 4 and 1.7.
RATIOS = {
    "3 x 4": (10.0 * np.arange(9), 10.0 * np.arange(8), 30.0, 40.0),
    "1.7": (10.0 * np.arange(12), 10.0 * np.arange(14), 17.0, 17.0),
    "2 x 1.5": (10.0 * np.arange(8), 10.0 * np.arange(12), 20.0, 15.0),
}


def coarse_axis(fine: np.ndarray, cell: float) -> np.ndarray:
    """Centres of the coarse cells that lie within the fine axis, from its start."""
    low, high = dense.edges(fine)[[0, -1]]
    return low + cell * (0.5 + np.arange(int((high - low + 1e-9) // cell)))


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
@pytest.mark.parametrize("name", RATIOS)
def test_downscale(name, gaps):
    y, x, *cells = RATIOS[name]
    by, bx = (coarse_axis(a, c) for a, c in zip((y, x), cells, strict=True))
    seen = noisy((3, len(by), len(bx)))
    seen = dense.with_gaps(seen, 0.2) if gaps else seen
    like = dense.labelled(np.zeros((1, len(y), len(x))), y, x)
    found = xinverse.downscale(dense.labelled(seen, by, bx), like, error=True, **OI)
    assert found.ssh.shape == (3, len(y), len(x))
    H = dense.every_day(dense.block_means((y, x), (by, bx)), 3)
    is_posterior(found, H, seen, dense.covariance(np.arange(3), y, x))


@pytest.mark.parametrize("land", [False, True], ids=["sea", "land"])
def test_downscale_on_the_sphere(land):
    """Areas shrink towards the pole; a coarse cell's mean is that of its sea."""
    y, x = 60 + 0.1 * np.arange(9), 5 + 0.2 * np.arange(8)
    by, bx = coarse_axis(y, 0.3), coarse_axis(x, 0.4)
    seen = noisy((2, 3, 4))
    sea = np.ones((9, 8), bool)
    if land:
        sea[2:5, 1:5] = False
        sea[:3, 6:] = False  # a whole coarse cell
    like = dense.labelled(np.zeros((1, 9, 8)), y, x, degrees=True)
    coarse = dense.labelled(seen, by, bx, degrees=True)
    found = xinverse.downscale(coarse, like, error=True, mask=sea, **OI)
    H = dense.block_means((y, x), (by, bx), sphere=True, sea=sea)
    H = dense.every_day(H, 2)
    assert (H.sum(1) == 0).sum() == (2 if land else 0)
    middle = np.cos(np.deg2rad(60.4))
    B = dense.covariance(np.arange(2), y * KM_PER_DEGREE, x * KM_PER_DEGREE * middle)
    mean, left = dense.posterior(B, H, seen.ravel())
    expected = np.where(sea, mean.reshape(2, 9, 8), np.nan)
    close(found.ssh, expected)
    error = np.where(sea, np.sqrt(np.diag(left)).reshape(2, 9, 8), np.nan)
    np.testing.assert_allclose(found.ssh_error, error, rtol=1.1e-3)


@pytest.mark.parametrize("method", ["oi", "tikhonov"])
@pytest.mark.parametrize("name", RATIOS)
def test_the_means_of_a_downscaled_field_are_the_observations(name, method):
    y, x, *cells = RATIOS[name]
    by, bx = (coarse_axis(a, c) for a, c in zip((y, x), cells, strict=True))
    truth = np.sin(y / 40)[:, None] * np.cos(x / 30) + np.zeros((3, 1, 1))
    H = dense.block_means((y, x), (by, bx))
    seen = (truth.reshape(3, -1) @ H.T).reshape(3, len(by), len(bx))
    noise = 0.02
    options = OI | {"noise": noise, "length_scale": 40.0}
    like = dense.labelled(truth, y, x)
    found = xinverse.downscale(dense.labelled(seen, by, bx), like, method, **options)
    means = (found.to_numpy().reshape(3, -1) @ H.T).reshape(seen.shape)
    assert abs(means - seen).max() <= 3 * noise
    assert np.sqrt(((means - seen) ** 2).mean()) <= noise


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
def test_forecast(gaps):
    y = dense.with_gaps(noisy()) if gaps else noisy()
    found = xinverse.forecast(dense.labelled(y, Y, X), 3, error=True, **OI)
    assert list(found.time.values) == list(np.arange("2020-01-05", "2020-01-08", dtype="M8[D]"))
    H = np.eye(7 * 42)[: 4 * 42]
    is_posterior(found, H, y, dense.covariance(np.arange(7), Y, X), slice(4 * 42, None))


@pytest.mark.parametrize("noise", [dense.NOISE, 0.01])
def test_a_forecast_of_many_complete_maps_is_exact_in_closed_form(noise, monkeypatch):
    """1536 observations are too many for a factor; without one it takes minutes."""
    monkeypatch.setattr(GaussianPosterior, "_decompose", None)
    y, x = 40.0 * np.arange(16), 45.0 * np.arange(16)
    seen = noisy((6, 16, 16))
    found = xinverse.forecast(
        dense.labelled(seen, y, x), 2, error=True, **OI | {"noise": noise}
    )
    B = dense.covariance(np.arange(8), y, x)
    mean, left = dense.posterior(B, np.eye(2048)[:1536], seen.ravel(), noise)
    # A noise of 1 % amplifies the residual at which the iterations stop.
    atol = 1e-5 * max(1, dense.NOISE / noise)
    reached = found.ssh.to_numpy().ravel()
    np.testing.assert_allclose(reached, mean[1536:], rtol=0, atol=atol * abs(mean).max())
    error = np.sqrt(np.diag(left))[1536:]
    np.testing.assert_allclose(found.ssh_error.to_numpy().ravel(), error, rtol=1e-5)


@pytest.mark.parametrize("step", [0.5, 2.0])
def test_a_forecast_goes_in_the_steps_of_the_series(step):
    y = noisy()
    da = dense.labelled(y, Y, X)
    start = da.time.values[0]
    hours = (24 * step * np.arange(4)).astype("m8[h]")
    found = xinverse.forecast(da.assign_coords(time=start + hours), 4.9, **OI)
    ahead = int(4.9 / step)
    assert found.sizes["time"] == ahead
    np.testing.assert_array_equal(np.diff(found.time), np.timedelta64(int(24 * step), "h"))
    B = dense.covariance(step * np.arange(4 + ahead), Y, X)
    mean, _ = dense.posterior(B, np.eye(len(B))[: 4 * 42], y.ravel())
    close(found, mean[4 * 42 :])


def verbs() -> dict[str, tuple[xr.Dataset, np.ndarray, np.ndarray, np.ndarray, slice]]:
    """Calls with many members, and H, y, B and what of the state comes back."""
    y = noisy((2, 4, 5))
    days, state = np.arange(2), (Y[:4], X[:5])
    da = dense.labelled(y, *state)
    options = OI | {"members": 200, "error": True}
    kernel = dense.gaussian_kernel((30.0, 30.0), (20.0, 25.0))
    fine = 10.0 * np.arange(8), 25 / 2 * np.arange(10)
    coarse = tuple(coarse_axis(a, c) for a, c in zip(fine, (20.0, 25.0), strict=True))
    like, seen = dense.labelled(np.zeros((1, 8, 10)), *fine), dense.labelled(y, *coarse)
    B, all_cells = dense.covariance(days, *state), slice(None)
    longer = dense.covariance(np.arange(4), *state)
    return {
        "denoise": (xinverse.denoise(da, **options), np.eye(40), y, B, all_cells),
        "deconvolve": (
            xinverse.deconvolve(da, psf=30.0, **options),
            dense.every_day(dense.blur((4, 5), kernel), 2),
            y,
            B,
            all_cells,
        ),
        "downscale": (
            xinverse.downscale(seen, like, **options),
            dense.every_day(dense.block_means(fine, coarse), 2),
            y,
            dense.covariance(days, *fine),
            all_cells,
        ),
        "forecast": (
            xinverse.forecast(da, 2, **options),
            np.eye(80)[:40],
            y,
            longer,
            slice(40, None),
        ),
    }


def test_members_are_samples_of_the_posterior():
    """Mean, and covariance of every pair of cells, of 200 members."""
    for result, H, y, B, keep in verbs().values():
        mean, left = dense.posterior(B, H, y.ravel())
        mean, left = mean[keep], left[keep, keep]
        drawn = result.ssh_members.transpose("member", ...).to_numpy().reshape(200, -1)
        error = np.sqrt(np.diag(left))
        assert (abs(drawn.mean(0) - mean) <= 5 * error / np.sqrt(200)).all()
        found = np.cov(drawn.T)
        spread = np.sqrt((np.outer(error, error) ** 2 + left**2) / 199)
        assert (abs(found - left) <= 6 * spread).all()


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize("gaps", ["none", "the same", "different"])
def test_two_variables_that_the_prior_couples(gaps, lazy):
    """Temperature and salinity in their own units, and their joint Gaussian."""
    values = [noisy(seed=3), 5 * noisy(seed=4)]
    if gaps != "none":
        seeds = (5, 5) if gaps == "the same" else (5, 6)
        pairs = zip(values, seeds, strict=True)
        values = [dense.with_gaps(v, 0.5, seed) for v, seed in pairs]
    one, two = (
        dense.labelled(v, Y, X, name=n, lazy=lazy)
        for v, n in zip(values, ("temperature", "salinity"), strict=True)
    )
    ds = xr.Dataset({"temperature": one, "salinity": two})
    options = {name: v for name, v in OI.items() if name not in ("noise", "variance")}
    noise = 0.3
    variances = [np.nanvar(v) - noise**2 for v in values]
    found = ds.inverse.interpolate(
        together=True, correlation=0.6, noise=noise, error=True, **options
    )
    if lazy:
        assert found.temperature.chunks == one.chunks
        found = found.compute(scheduler="synchronous")
    scales = np.sqrt(variances)
    coupling = np.array([[1, 0.6], [0.6, 1]]) * np.outer(scales, scales)
    B = np.kron(coupling, dense.covariance(np.arange(4), Y, X, 1.0))
    y = np.concatenate([v.ravel() for v in values])
    mean, left = dense.posterior(B, np.eye(y.size), y, noise)
    error = np.sqrt(np.diag(left))
    for k, name in enumerate(("temperature", "salinity")):
        own = slice(k * 168, (k + 1) * 168)
        np.testing.assert_allclose(
            found[name].to_numpy().ravel(), mean[own], rtol=0, atol=1e-5 * scales[k]
        )
        np.testing.assert_allclose(
            found[f"{name}_error"].to_numpy().ravel(), error[own], rtol=1e-3
        )


def test_what_one_variable_saw_helps_the_other():
    values = noisy(seed=3)
    hidden = values.copy()
    hidden[:, :, 3:] = np.nan
    ds = xr.Dataset(
        {
            "a": dense.labelled(values, Y, X, name="a"),
            "b": dense.labelled(hidden, Y, X, name="b"),
        }
    )
    both = ds.inverse.interpolate(together=True, correlation=0.9, error=True, **OI)
    alone = ds.inverse.interpolate(variables="b", error=True, **OI)
    far = {"x": slice(4, None)}
    assert float((both.b_error / alone.b_error).isel(far).max()) < 0.9
