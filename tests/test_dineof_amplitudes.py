"""Amplitudes of EOFs in time: the exact posterior, memory, and empty dates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from tensors import random

import xinverse
from xinverse.errors import DataError, OptionError
from xinverse.solvers.amplitudes import memory_of, smoothed
from xinverse.solvers.dineof import dineof
from xinverse.solvers.rare import regress

DAYS = torch.tensor([0.0, 1.0, 1.5, 4.0, 5.0, 9.0], dtype=torch.float64)


def waves(nt: int = 60, n: int = 50, noise: float = 0.05) -> torch.Tensor:
    """Three slow modes about 10."""
    day = torch.arange(nt, dtype=torch.float64)[:, None]
    slow = torch.sin(2 * torch.pi * day / torch.tensor([60.0, 31.0, 17.0]))
    return 10 + slow.double() @ random((3, n), seed=2) + noise * random((nt, n), seed=3)


def test_smoothed_amplitudes_are_the_gaussian_posterior():
    """Against the dense posterior of all dates and modes together, on uneven dates."""
    nt, n, p, noise = len(DAYS), 7, 2, 0.3
    basis, others = random((n, p), seed=1), random((9, p), seed=2) + 1
    observed = random((nt, n), seed=3) > 0
    observed[2] = False
    y = torch.where(observed, random((nt, n), seed=4), 0.0)
    memory = torch.tensor([2.0, 5.0], dtype=torch.float64)
    mean, spread = smoothed(y, observed, basis, others, noise, DAYS, memory)

    usual, scale = others.mean(0), others.std(0, correction=0)
    apart = (DAYS[:, None] - DAYS).abs()
    prior = torch.zeros(nt, p, nt, p, dtype=torch.float64)
    for k in range(p):
        prior[:, k, :, k] = scale[k] ** 2 * torch.exp(-apart / memory[k])
    prior = prior.reshape(nt * p, nt * p)
    operator = torch.block_diag(*[basis * observed[t][:, None] for t in range(nt)])
    gain = (
        prior
        @ operator.T
        @ torch.linalg.inv(
            operator @ prior @ operator.T + noise**2 * torch.eye(nt * n, dtype=torch.float64)
        )
    )
    level = usual.repeat(nt)
    expected = level + gain @ (y.flatten() - operator @ level)
    covariance = (prior - gain @ operator @ prior).reshape(nt, p, nt, p)
    torch.testing.assert_close(mean, expected.reshape(nt, p), rtol=0, atol=1e-10)
    for t in range(nt):
        torch.testing.assert_close(spread[t], covariance[t, :, t], rtol=0, atol=1e-10)


def test_amplitudes_without_memory_are_those_of_each_date():
    nt, n, p = len(DAYS), 7, 2
    basis, others = random((n, p), seed=1), random((9, p), seed=2)
    observed = random((nt, n), seed=3) > 0
    y = torch.where(observed, random((nt, n), seed=4), 0.0)
    alone = regress(y, observed, basis, others, 0.3)
    short = torch.full((p,), 1e-3, dtype=torch.float64)
    for one, other in zip(
        smoothed(y, observed, basis, others, 0.3, DAYS, short), alone, strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("memory", [3.0, 12.0])
def test_memory_of_a_process(memory):
    steps = 20000
    keep = np.exp(-1 / memory)
    shocks = random((steps,), seed=1).numpy() * np.sqrt(1 - keep**2)
    values = np.zeros(steps)
    for t in range(1, steps):
        values[t] = keep * values[t - 1] + shocks[t]
    found = memory_of(torch.from_numpy(values)[:, None], torch.arange(steps).double())
    assert float(found) == pytest.approx(memory, rel=0.1)


def test_empty_dates_follow_their_neighbours():
    field = waves()
    observed = random(tuple(field.shape), seed=6) > -0.5
    observed[20:23] = observed[41] = False
    time = torch.arange(len(field)).double()
    results = {
        smooth: dineof(field, observed, max_modes=6, time=time, smooth=smooth)
        for smooth in (False, True, None)
    }
    errors = {
        smooth: float((found.state - field)[20:23].square().mean().sqrt())
        for smooth, found in results.items()
    }
    assert errors[False] > 0.5  # near the mean map
    assert errors[True] < 0.3 * errors[False]
    assert len(results[True].memory) == results[True].modes
    assert results[None].smoothed == (
        results[True].expected_error < results[False].expected_error
    )
    # Error bars: larger on empty dates, smaller than without the neighbours.
    error = results[True].error.mean(1)
    assert float(error[21]) > float(error[10])
    assert float(error[21]) < float(results[False].error[21].mean())


def test_maps_in_any_order_are_left_alone_by_default():
    """Without memory in time, the withheld points choose as well as without smoothing."""
    field = waves()[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    observed = random(tuple(field.shape), seed=6) > -0.5
    time = torch.arange(len(field)).double()
    plain, auto = (
        dineof(field, observed, max_modes=6, time=time, smooth=smooth)
        for smooth in (False, None)
    )
    assert auto.expected_error <= plain.expected_error
    truth = (field[~observed],)
    error, before = (
        float((found.state[~observed] - truth[0]).square().mean().sqrt())
        for found in (auto, plain)
    )
    assert error < 1.1 * before


def series(field: torch.Tensor, observed: torch.Tensor) -> xr.DataArray:
    nt = len(field)
    return xr.DataArray(
        torch.where(observed, field, torch.nan).numpy().reshape(nt, 5, -1),
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(nt).astype("m8[D]"),
            "y": ("y", 10.0 * np.arange(5), {"units": "km"}),
            "x": ("x", 10.0 * np.arange(field.shape[1] // 5), {"units": "km"}),
        },
        ("time", "y", "x"),
        name="sst",
    )


def test_the_method_takes_the_option():
    field = waves()
    observed = random(tuple(field.shape), seed=6) > -0.5
    observed[20:23] = False
    da = series(field, observed)
    truth = field.reshape(da.shape).numpy()[20:23]
    errors = [
        np.sqrt(np.mean((xinverse.interpolate(da, "dineof", smooth=on)[20:23] - truth) ** 2))
        for on in (False, True)
    ]
    assert errors[1] < 0.3 * errors[0]
    with pytest.raises(OptionError, match="smooth"):
        xinverse.interpolate(da, "dineof", smooth="yes")


def test_the_method_withholds_your_own_list():
    """On axes that descend and lazily: as the solver with the same list."""
    field = waves()
    observed = random(tuple(field.shape), seed=6) > -0.5
    held = random(tuple(field.shape), seed=7) > 1.5
    da = series(field, observed)
    mine = da.copy(data=held.numpy().reshape(da.shape)).rename("mine")
    options = {"smooth": False, "modes": 6}
    found = xinverse.interpolate(da, "dineof", withheld=mine, **options)
    values = torch.where(observed, field, 0.0)
    level = values.sum() / observed.sum()
    expected = dineof(values - level, observed, max_modes=6, withheld=held)
    np.testing.assert_allclose(
        found.values.reshape(len(field), -1), level + expected.state, atol=1e-6
    )
    flipped = xinverse.interpolate(
        da.isel(y=slice(None, None, -1)),
        "dineof",
        withheld=mine.isel(y=slice(None, None, -1)),
        **options,
    )
    np.testing.assert_allclose(flipped.isel(y=slice(None, None, -1)), found, atol=1e-6)
    both = xr.Dataset({"sst": da, "mine": mine})
    lazy = xinverse.interpolate(both.chunk(time=20), "dineof", withheld="mine", **options)
    assert lazy.sst.chunks is not None
    np.testing.assert_allclose(lazy.sst, found, atol=1e-6)
    with pytest.raises(DataError, match="booleans expected"):
        xinverse.interpolate(da, "dineof", withheld=da, **options)
