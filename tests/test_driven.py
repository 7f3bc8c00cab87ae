"""A model that its own errors drive: what white controls become, in space and in time."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from tensors import random
from torch import Tensor

from xinverse.dynamics import Advection, Dynamics, Lorenz63, OneLayerQG
from xinverse.operators import DrivenTrajectory, SpectralColour, Trajectory

SIGMA, DT = 0.7, 0.5
SHAPE, SPACING = (4, 5), (15.0, 12.0)
CELLS = SHAPE[0] * SHAPE[1]
ANY = pytest.mark.parametrize("error_scale", [0.0, 0.3, 2.0])


def still() -> Advection:
    """A model in which nothing moves."""
    return Advection(SHAPE, SPACING)


def colour(deviation: float = SIGMA) -> SpectralColour:
    return SpectralColour(SHAPE, SPACING, length_scale=14.0, deviation=deviation)


def driven(model: Dynamics | None = None, times: int = 4, **options: float) -> DrivenTrajectory:
    return DrivenTrajectory(model or still(), colour(), DT, times, **options)


def columns(linear: Callable[[Tensor], Tensor], size: int) -> Tensor:
    """Matrix of a linear map: a column for each unit vector."""
    return linear(torch.eye(size, dtype=torch.float64)).flatten(1).T


def in_space() -> Tensor:
    """C C', of all cells with all cells."""
    root = columns(lambda unit: colour()(unit.reshape(-1, *SHAPE)), CELLS)
    return root @ root.T


def in_time(times: int, memory: float, error_scale: float) -> Tensor:
    """Covariance of a number that forgets at a rate, and that correlated errors push.

    By brute force: the errors up to long before the start tell how large they have to be.
    """
    kept = math.exp(-DT / memory)

    def errors(count: int) -> Tensor:
        lag = DT * (torch.arange(count).double()[:, None] - torch.arange(count))
        return (
            torch.exp(-((lag / error_scale) ** 2)) if error_scale else torch.eye(count).double()
        )

    long = 400
    left = kept ** torch.arange(long).double()
    size = 1 / (left @ errors(long) @ left)
    step = torch.arange(times)[:, None] - torch.arange(times)
    pushed = torch.where(step >= 0, kept ** step.double(), 0.0)
    source = torch.block_diag(torch.ones(1, 1).double(), size * errors(times - 1))
    return pushed @ source @ pushed.T


# In space ------------------------------------------------------------------------------


def test_a_spectral_colour_has_a_gaussian_covariance():
    """On a box that is much longer than the scale, which the cells resolve."""
    shape, spacing, scale = (16, 20), (18.0, 15.0), 40.0
    whole = SpectralColour(shape, spacing, scale, SIGMA)
    point = torch.zeros(1, *shape, dtype=torch.float64)
    point[0, 3, 5] = 1
    found = whole(whole(point))[0]  # C is symmetric: C C' of a point
    y, x = (
        s * ((torch.arange(n).double() - at + n // 2) % n - n // 2)
        for n, s, at in zip(shape, spacing, (3, 5), strict=True)
    )
    expected = SIGMA**2 * torch.exp(-(x**2 + y[:, None] ** 2) / scale**2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    v = random((2, *shape))
    torch.testing.assert_close((whole(point) * v).sum((1, 2)), whole(v)[:, 3, 5])


@pytest.mark.parametrize("shape", [(4, 5), (5, 4), (1, 7), (6, 6)])
@pytest.mark.parametrize("scale", [1.0, 30.0, 500.0])
def test_the_variance_is_as_given_whatever_the_box(shape, scale):
    whole = SpectralColour(shape, SPACING, scale, SIGMA)
    root = columns(lambda unit: whole(unit.reshape(-1, *shape)), shape[0] * shape[1])
    variance = (root @ root.T).diagonal()
    torch.testing.assert_close(variance, torch.full_like(variance, SIGMA**2))


def test_a_colour_takes_axes_before_those_of_space():
    v = random((2, 3, *SHAPE))
    torch.testing.assert_close(colour()(v)[1, 2], colour()(v[1, 2][None])[0])


# In time -------------------------------------------------------------------------------


@ANY
def test_what_stands_still_has_the_covariance_of_space_times_that_of_time(error_scale):
    memory, times = 3.0, 4
    operator = driven(times=times, memory=memory, error_scale=error_scale)
    assert operator.size == times * CELLS
    root = columns(operator, operator.size)
    expected = torch.kron(in_time(times, memory, error_scale), in_space())
    torch.testing.assert_close(root @ root.T, expected, rtol=0, atol=1e-12)


def test_white_errors_make_an_exponential_correlation_in_time():
    operator = driven(times=5, memory=3.0, error_scale=0.0)
    root = columns(operator, operator.size)
    days = DT * torch.arange(5).double()
    decay = torch.exp(-(days[:, None] - days).abs() / 3.0)
    torch.testing.assert_close(root @ root.T, torch.kron(decay, in_space()), rtol=0, atol=1e-12)


@ANY
def test_the_variance_tends_to_that_of_the_first_field(error_scale):
    """Whatever the errors' correlation; it is kept all along where they have none."""
    times, grid = 60, ((1, 2), (15.0, 12.0))
    operator = DrivenTrajectory(
        Advection(*grid),
        SpectralColour(*grid, length_scale=10.0, deviation=SIGMA),
        DT,
        times,
        memory=2.0,
        error_scale=error_scale,
    )
    variance = columns(operator, operator.size).square().sum(1).reshape(times, 2) / SIGMA**2
    ones = torch.ones(times, 2, dtype=torch.float64)
    torch.testing.assert_close(variance[0], ones[0])
    torch.testing.assert_close(variance[-20:], ones[-20:], rtol=0, atol=1e-6)
    if error_scale == 0:
        torch.testing.assert_close(variance, ones)
    assert variance.max() < 1 + 1e-6


def test_what_moves_is_forgotten_and_pushed_where_it_is():
    """The equation, step by step, with a flow that is known."""
    model = Advection(SHAPE, SPACING, u=0.2, v=-0.1)
    operator, v = driven(model, times=3, memory=3.0), random((2, 3 * CELLS))
    first, *errors = colour()(v.reshape(2, 3, *SHAPE)).unbind(1)
    kept = math.exp(-DT / 3.0)
    second = kept * model(first, DT) + math.sqrt(1 - kept**2) * errors[0]
    third = kept * model(second, DT) + math.sqrt(1 - kept**2) * errors[1]
    torch.testing.assert_close(operator(v), torch.stack([first, second, third], 1))


# The strong constraint -----------------------------------------------------------------


def layer() -> OneLayerQG:
    return OneLayerQG(SHAPE, SPACING, latitude=38.0, rossby_radius=30.0)


def test_the_strong_constraint_is_the_models_own_trajectory():
    """Its control is the first field alone, and the parameters."""
    operator = driven(layer(), times=3, substeps=2, parameters={"drift": (0.1, 0.5)})
    assert operator.size == CELLS + 1
    v = 0.1 * random((2, operator.size))
    drift = operator.parameters_of(v)["drift"]
    assert drift.shape == (2, 1, 1)
    torch.testing.assert_close(drift.flatten(), 0.1 + 0.5 * v[:, -1])
    first = colour()(v[:, :-1].reshape(2, *SHAPE))
    perfect = Trajectory(layer(), DT, 3, 2, parameters=("drift",), shape=SHAPE)
    expected = perfect(torch.cat([first.flatten(1), drift[:, :, 0]], 1))
    torch.testing.assert_close(operator(v), expected)


def test_a_long_memory_becomes_the_strong_constraint():
    v = 0.1 * random((1, 3 * CELLS))
    weak = driven(layer(), times=3, memory=1e12, error_scale=1.0)(v)
    torch.testing.assert_close(weak, driven(layer(), times=3)(v[:, :CELLS]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("memory", [math.inf, 3.0])
def test_one_map_has_nothing_to_drive(memory):
    operator, v = driven(times=1, memory=memory, error_scale=1.0), random((2, CELLS))
    assert operator.size == CELLS
    torch.testing.assert_close(operator(v)[:, 0], colour()(v.reshape(2, *SHAPE)))


# Derivatives ---------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [math.inf, 3.0])
def test_the_gradient_is_that_of_differences(memory):
    """Through a model that is not linear, its errors and its parameter."""
    grid = (3, 4), (20.0, 20.0)
    operator = DrivenTrajectory(
        OneLayerQG(*grid, latitude=38.0, rossby_radius=30.0),
        SpectralColour(*grid, length_scale=40.0, deviation=0.2),
        1.0,
        3,
        substeps=2,
        memory=memory,
        error_scale=1.0,
        parameters={"drift": (0.0, 0.3)},
    )
    v = random((1, operator.size)).requires_grad_()
    assert torch.autograd.gradcheck(operator, (v,), rtol=1e-4, fast_mode=True)


def test_memory_grows_with_the_maps_and_not_with_the_steps_between_them():
    kept = []
    for substeps in (1, 5):
        operator = driven(layer(), times=3, substeps=substeps)
        v, sizes = random((1, operator.size)).requires_grad_(), []

        def keep(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            operator(v)
        kept.append(sum(sizes))
    assert kept[0] == kept[1] > 0


# What cannot be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"memory": 0.0}, "memory=0: expected more than 0"),
        ({"memory": -1.0}, "memory=-1"),
        ({"memory": math.nan}, "memory=nan"),
        ({"error_scale": -1.0}, "error_scale=-1: expected 0 or more"),
        ({"error_scale": math.nan}, "error_scale=nan"),
        ({"times": 0}, "times=0, substeps=1: expected one at least"),
        ({"substeps": 0}, "substeps=0: expected one at least"),
        (
            {"parameters": {"drift": (0.0, 1.0)}},
            "Advection has no parameter named drift: expected some of .*u, v",
        ),
    ],
)
def test_a_trajectory_that_cannot_be_is_an_error(options, text):
    with pytest.raises(ValueError, match=text):
        driven(**options)


@pytest.mark.parametrize("more", [-1, 1])
def test_a_control_of_another_length_is_an_error(more):
    operator = driven(times=3, memory=2.0, parameters={"u": (0.0, 1.0)})
    with pytest.raises(ValueError, match=r"expected \(61,\), the fields of 4 x 5 cells and 1"):
        operator(random((1, operator.size + more)))


def test_the_models_own_name_is_told():
    with pytest.raises(ValueError, match="Lorenz63 has no parameter named u: .*rho"):
        driven(Lorenz63(), parameters={"u": (0.0, 1.0)})
