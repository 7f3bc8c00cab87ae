"""Models of dynamics: what is known of them on paper, and what holds for each registered one.

The table of cases holds one per registered name; the first test says so.
"""

from __future__ import annotations

import copy
import inspect
import io
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from tensors import BOTH, random
from torch import Tensor

from xinverse.constants import EARTH_RADIUS, EARTH_ROTATION, GRAVITY
from xinverse.dynamics import (
    DYNAMICS,
    Advection,
    BilinearODE,
    Dynamics,
    Lorenz63,
    Lorenz96,
    OneLayerQG,
    Rescaled,
)
from xinverse.dynamics.spectral import interpolation_matrix, two_thirds, wavenumbers
from xinverse.dynamics.steppers import ORDERS, STEPPERS
from xinverse.errors import UnknownNameError
from xinverse.operators import Trajectory


@dataclass
class DynamicsCase:
    """How a model is made, its states, a time step, and values of its parameters."""

    make: Callable[..., Dynamics]
    shape: tuple[int, ...]
    dt: float
    size: float = 1.0  # of states that matter
    parameters: dict[str, tuple[float, float]] = field(default_factory=dict)

    def states(self, batch: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
        return self.size * random((batch, *self.shape), seed=seed).to(dtype)


def bilinear(**options: Any) -> BilinearODE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return BilinearODE(3, 4, **options).double()


def advection(**options: Any) -> Advection:
    return Advection((4, 5), (12.0, 15.0), **{"u": 0.2, "v": -0.1} | options)


def one_layer(**options: Any) -> OneLayerQG:
    place = {"latitude": 38.0, "rossby_radius": 30.0}
    return OneLayerQG((6, 5), (25.0, 20.0), **place | options)


DYNAMICS_CASES: dict[str, DynamicsCase] = {
    "lorenz-63": DynamicsCase(
        Lorenz63,
        (3,),
        0.02,
        5.0,
        {"sigma": (10.0, 9.0), "rho": (28.0, 20.0), "beta": (2.0, 3.0)},
    ),
    "lorenz-96": DynamicsCase(Lorenz96, (5,), 0.05, 3.0, {"forcing": (6.0, 4.0)}),
    "bilinear": DynamicsCase(bilinear, (3,), 0.1),
    "advection": DynamicsCase(
        advection, (4, 5), 0.5, parameters={"u": (0.3, -0.2), "v": (0.0, 0.1)}
    ),
    "one-layer-qg": DynamicsCase(
        one_layer, (6, 5), 0.2, 0.2, parameters={"drift": (0.1, -0.2)}
    ),
}
EACH = pytest.mark.parametrize("name", DYNAMICS_CASES)
WITH_PARAMETERS = pytest.mark.parametrize(
    "name", [name for name, case in DYNAMICS_CASES.items() if case.parameters]
)
STEPPED = [
    name for name, one in DYNAMICS.items() if "scheme" in inspect.signature(one).parameters
]


def build(name: str, dtype: torch.dtype = torch.float64) -> tuple[DynamicsCase, Dynamics]:
    case = DYNAMICS_CASES[name]
    return case, case.make().to(dtype)


# Whatever is registered ----------------------------------------------------------------


def test_every_registered_model_has_a_case():
    assert set(DYNAMICS) == set(DYNAMICS_CASES), "give what is new a case"


@EACH
def test_a_case_is_of_what_its_name_stands_for(name):
    _, model = build(name)
    assert type(model) is DYNAMICS[name]
    assert isinstance(model, Dynamics)
    assert type(model).__doc__


@EACH
@BOTH
def test_a_model_follows_its_state_to_another_precision(name, dtype):
    case, model = build(name, dtype)
    x = case.states(2, dtype)
    exact = build(name)[1](case.states(2), case.dt, 3)
    for result in (model.tendency(x), model(x, case.dt, 3)):
        assert result.dtype == dtype
        assert result.shape == x.shape
    torch.testing.assert_close(model(x, case.dt, 3).double(), exact, rtol=1e-4, atol=1e-4)
    loose = [
        key for part in model.modules() for key, v in vars(part).items() if type(v) is Tensor
    ]
    assert not loose, "tensors that .to() does not find"


@EACH
def test_an_element_does_not_depend_on_its_batch(name):
    case, model = build(name)
    x = case.states(4)
    x[3] = torch.nan  # and one that blew up takes no other with it
    together = model(x, case.dt, 2)
    for k in range(3):
        torch.testing.assert_close(model(x[[k]], case.dt, 2), together[[k]], rtol=0, atol=1e-12)


@EACH
def test_state_dict_round_trip(name):
    """Through a file read with weights_only, into a model whose numbers were all scrambled."""
    case, model = build(name)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    _, other = build(name)
    with torch.no_grad():
        for value in other.state_dict().values():
            value.zero_()
    other.load_state_dict(torch.load(file, weights_only=True))
    x = case.states(2)
    torch.testing.assert_close(other(x, case.dt), model(x, case.dt), rtol=0, atol=0)


@EACH
@pytest.mark.parametrize("copied", ["pickle", "deepcopy"])
def test_pickling_and_copying(name, copied):
    case, model = build(name)
    twin = pickle.loads(pickle.dumps(model)) if copied == "pickle" else copy.deepcopy(model)
    x = case.states(2)
    torch.testing.assert_close(twin(x, case.dt), model(x, case.dt), rtol=0, atol=0)


@EACH
def test_a_model_can_be_differentiated_twice(name):
    case, model = build(name)
    x = case.states(1).requires_grad_()
    for function in (model.tendency, lambda state: model(state, case.dt, 1)):
        assert torch.autograd.gradcheck(function, (x,))
        assert torch.autograd.gradgradcheck(function, (x,), fast_mode=True)


@EACH
def test_the_tendency_is_the_slope_of_the_flow(name):
    case, model = build(name)
    x, step = case.states(3), 1e-4 * case.dt
    slope = (model(x, step) - model(x, -step)) / (2 * step)
    tendency = model.tendency(x)
    torch.testing.assert_close(
        slope, tendency, rtol=1e-6, atol=1e-6 * float(tendency.detach().abs().max())
    )


@EACH
def test_a_trajectory_is_made_of_steps(name):
    case, model = build(name)
    x = case.states(2)
    path = model.trajectory(x, case.dt, times=4, substeps=2)
    assert path.shape == (2, 4, *case.shape)
    for t in range(4):
        torch.testing.assert_close(path[:, t], x, rtol=0, atol=0)
        x = model(x, case.dt / 2, 2)
    torch.testing.assert_close(
        model.trajectory(path[:, 0], 1.0, 1), path[:, :1], rtol=0, atol=0
    )


@WITH_PARAMETERS
def test_each_element_may_have_its_own_parameters(name):
    """One number of each for each element, as an operator hands them that estimates them."""
    case, model = build(name)
    x, ones = case.states(2), (1,) * len(case.shape)
    given = {
        key: torch.tensor(values, dtype=x.dtype).reshape(2, *ones)
        for key, values in case.parameters.items()
    }
    tendency, flown = model.tendency(x, given), model(x, case.dt, 2, given)
    for k in range(2):
        own = case.make(**{key: values[k] for key, values in case.parameters.items()})
        torch.testing.assert_close(tendency[[k]], own.tendency(x[[k]]))
        torch.testing.assert_close(flown[[k]], own(x[[k]], case.dt, 2))
    assert (flown - model(x, case.dt, 2)).abs().flatten(1).amax(1).min() > 1e-3 * case.size


@WITH_PARAMETERS
def test_parameters_may_be_estimated_with_the_state(name):
    """Some of them, in the state of the operator that sees all of the trajectory."""
    case, model = build(name)
    key, values = next(iter(case.parameters.items()))
    operator = Trajectory(model, case.dt, 3, 2, parameters=(key,), shape=case.shape)
    numbers = torch.tensor(values, dtype=torch.float64)[:, None].requires_grad_()
    first = case.states(2)

    def seen(parameter: Tensor) -> Tensor:
        return operator(torch.cat([first.flatten(1), parameter], 1))

    for k in range(2):
        own = case.make(**{key: values[k]}).trajectory(first[[k]], case.dt, 3, 2)
        torch.testing.assert_close(seen(numbers)[[k]], own)
    assert torch.autograd.gradcheck(seen, (numbers,), rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("name", STEPPED)
def test_a_time_step_that_does_not_exist_is_an_error(name):
    case = DYNAMICS_CASES[name]
    with pytest.raises(UnknownNameError, match="no time step named 'rk5'. Did you mean 'rk4'"):
        case.make(scheme="rk5")


# Rescaled states -----------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("how", ["numbers", "of each component"])
def test_the_flow_of_rescaled_states_is_the_rescaled_flow(name, how):
    case, model = build(name)
    x = case.states(2)
    mean, scale = 0.1 * case.size, 0.7 * case.size  # not exact in float32
    if how == "of each component":
        mean, scale = (
            mean * random(case.shape, seed=1),
            scale * random(case.shape, seed=2).exp(),
        )
    other = Rescaled(model, mean, scale)
    z = (x - mean) / scale
    torch.testing.assert_close(
        other.tendency(z), model.tendency(x) / scale, rtol=1e-12, atol=1e-12
    )
    flown = mean + scale * other(z, case.dt, 3)
    torch.testing.assert_close(flown, model(x, case.dt, 3), rtol=1e-12, atol=1e-12)
    path = mean + scale * other.trajectory(z, case.dt, 3)
    torch.testing.assert_close(path, model.trajectory(x, case.dt, 3), rtol=1e-11, atol=1e-11)


def test_rescaled_states_have_the_models_parameters():
    rho = torch.tensor([[28.0], [20.0]], dtype=torch.float64)
    x = random((2, 3))
    flown = Rescaled(Lorenz63(), 2.0, 5.0)((x - 2) / 5, 0.01, 4, {"rho": rho})
    torch.testing.assert_close(2 + 5 * flown, Lorenz63()(x, 0.01, 4, {"rho": rho}))


# Time steps ----------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "steps"), [("euler", 800), ("heun", 160), ("rk4", 40)])
def test_halving_the_step_divides_the_error_by_two_to_the_order(scheme, steps):
    """On Lorenz-63, against an integration of high order and tolerance."""
    assert set(STEPPERS) == set(ORDERS) == {"euler", "heun", "rk4"}
    model, start, end = Lorenz63(scheme=scheme), [1.5, -1.5, 25.5], 0.4

    def tendency(_: float, x: np.ndarray) -> np.ndarray:
        return model.tendency(torch.from_numpy(x)[None])[0].numpy()

    exact = solve_ivp(tendency, (0, end), start, "DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
    x = torch.tensor([start], dtype=torch.float64)
    errors = [
        np.linalg.norm(model(x, end / count, count)[0].numpy() - exact)
        for count in (steps, 2 * steps, 4 * steps)
    ]
    slopes = -np.diff(np.log2(errors))
    np.testing.assert_allclose(slopes, ORDERS[scheme], rtol=0, atol=0.1)


# The systems of Lorenz -----------------------------------------------------------------


def test_lorenz_63_at_a_point():
    """10 (2 - 1), 1 (28 - 3) - 2, 1 * 2 - 8."""
    tendency = Lorenz63().tendency(torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64))
    expected = torch.tensor([[10.0, 23.0, -6.0]], dtype=torch.float64)
    torch.testing.assert_close(tendency, expected)


@pytest.mark.parametrize("rho", [14.0, 28.0])
def test_lorenz_63_rests_where_convection_is_steady(rho):
    """At the origin, and where x1 = x2 = +- sqrt(beta (rho - 1)), x3 = rho - 1."""
    beta = 8 / 3
    roll = math.sqrt(beta * (rho - 1))
    points = torch.tensor([[0, 0, 0], [roll, roll, rho - 1], [-roll, -roll, rho - 1]]).double()
    model = Lorenz63(rho=rho, beta=beta)
    assert model.tendency(points).abs().max() < 1e-5  # the points are in float32
    exact = torch.tensor([[roll, roll, rho - 1.0]], dtype=torch.float64)
    assert model.tendency(exact).abs().max() < 1e-12


def test_lorenz_63_loses_volume_at_the_same_rate_everywhere():
    """The divergence of the tendency is -(sigma + 1 + beta)."""
    model = Lorenz63()
    for x in 10 * random((3, 3)):
        slope = torch.autograd.functional.jacobian(lambda s: model.tendency(s[None])[0], x)
        assert float(slope.trace()) == pytest.approx(-(10 + 1 + 8 / 3))


def test_lorenz_63_is_the_same_turned_by_half_around_its_axis():
    x, half = random((4, 3)), torch.tensor([-1.0, -1.0, 1.0]).double()
    torch.testing.assert_close(Lorenz63()(half * x, 0.01, 50), half * Lorenz63()(x, 0.01, 50))


def test_lorenz_96_at_a_point():
    """(x2 - x3) x4 - x1 + 8 and so on around the ring."""
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert Lorenz96().tendency(x).tolist() == [[3.0, 5.0, 11.0, 1.0]]
    rest = torch.full((1, 7), 6.0)
    assert not Lorenz96(forcing=6.0).tendency(rest).any()


def test_the_products_of_lorenz_96_neither_make_nor_take_energy():
    """So that the sum of squares changes by forcing and damping alone."""
    x, model = 5 * random((6, 9)), Lorenz96(forcing=8.0)
    change = (x * model.tendency(x)).sum(1)
    torch.testing.assert_close(change, 8 * x.sum(1) - x.square().sum(1))


def test_lorenz_96_has_no_first_component():
    x, model = random((2, 8)), Lorenz96()
    torch.testing.assert_close(model(x.roll(3, -1), 0.02, 10), model(x, 0.02, 10).roll(3, -1))


# Doubly periodic fields ----------------------------------------------------------------


@pytest.mark.parametrize(("ny", "nx"), [(5, 7), (6, 8)])
def test_wavenumbers_are_those_of_waves_that_fit_the_box(ny, nx):
    ell, k = wavenumbers((ny, nx), (10.0, 4.0))
    assert ell.shape == (ny, 1)
    assert k.shape == (1, nx // 2 + 1)
    y, x = 10.0 * torch.arange(ny).double()[:, None], 4.0 * torch.arange(nx).double()
    wave = torch.cos(ell[2, 0] * y + k[0, 1] * x)
    spectrum = torch.fft.rfft2(wave)
    assert spectrum[2, 1].abs() == pytest.approx(ny * nx / 2)
    spectrum[2, 1] = 0
    assert spectrum.abs().max() < 1e-12 * ny * nx


def test_products_of_what_two_thirds_keeps_alias_onto_nothing_kept():
    for n in range(4, 40):
        kept = two_thirds((n, 4))[:, 0]
        waves = torch.fft.fftfreq(n, 1 / n).round().long()[kept]
        total = (waves[:, None] + waves).flatten()
        aliased = total[(2 * total).abs() > n]
        assert not kept[aliased % n].any()
        assert int(kept.sum()) == 2 * ((n - 1) // 3) + 1  # and as much as can be is kept


def series(points: Tensor, size: int, batch: int = 3) -> Tensor:
    """Random sums of all waves that a ring of so many cells holds, at points, in cells."""
    waves = torch.arange((size - 1) // 2 + 1)
    angle = 2 * math.pi * points[:, None] * waves / size
    a, b = random((batch, len(waves)), seed=1), random((batch, len(waves)), seed=2)
    return (torch.cos(angle) @ a.T + torch.sin(angle) @ b.T).T


@pytest.mark.parametrize("size", [7, 8])
def test_interpolation_is_exact_for_what_the_grid_resolves(size):
    points = 10 * random((20,)).abs()  # beyond the box too, which closes on itself
    matrix = interpolation_matrix(12.5 * points, size, 12.5)
    cells = series(torch.arange(size).double(), size)
    torch.testing.assert_close(cells @ matrix.T, series(points, size), rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix.sum(1), torch.ones(20).double(), rtol=0, atol=1e-13)
    at_cells = interpolation_matrix(12.5 * torch.arange(size), size, 12.5)
    torch.testing.assert_close(at_cells, torch.eye(size).double(), rtol=0, atol=1e-13)


# Advection -----------------------------------------------------------------------------


def test_a_wave_is_carried_as_far_as_the_flow_goes():
    """0.3 m/s east and 0.1 m/s south are 25.92 and 8.64 km in a day."""
    shape, spacing = (8, 10), (12.0, 15.0)
    y, x = (
        s * torch.arange(n, dtype=torch.float64) for n, s in zip(shape, spacing, strict=True)
    )
    k, ell = 2 * math.pi * 2 / 150, 2 * math.pi * 3 / 96

    def wave(days: float) -> Tensor:
        east, north = x - 25.92 * days, y + 8.64 * days
        return torch.cos(k * east + ell * north[:, None] + 0.4)[None]

    model = Advection(shape, spacing, u=0.3, v=-0.1)
    for days, steps in ((1.0, 1), (0.25, 17), (-2.0, 1)):
        carried = model(wave(0.0), days, steps)
        torch.testing.assert_close(carried, wave(days * steps), rtol=0, atol=1e-12)
    slope = 25.92 * k - 8.64 * ell
    quarter = torch.cos(k * x + ell * y[:, None] + 0.4 - math.pi / 2)[None]
    torch.testing.assert_close(model.tendency(wave(0.0)), slope * quarter, rtol=0, atol=1e-12)


def test_a_field_carried_by_whole_cells_is_rolled():
    x = random((2, 5, 7))
    model = Advection((5, 7), (8.64, 17.28), u=0.2, v=-0.1)  # a cell a day, east and south
    torch.testing.assert_close(model(x, 3.0), x.roll((-3, 3), (1, 2)), rtol=0, atol=1e-12)


def test_advection_undoes_itself_and_keeps_what_there_is():
    """Where there is no wave of two cells, which has an even number of them."""
    x = random((2, 5, 7))
    model = Advection((5, 7), (12.0, 15.0), u=0.23, v=-0.11)
    later = model(x, 0.7, 3)
    torch.testing.assert_close(model(later, -0.7, 3), x, rtol=0, atol=1e-12)
    torch.testing.assert_close(later.sum((1, 2)), x.sum((1, 2)))
    torch.testing.assert_close(later.square().sum((1, 2)), x.square().sum((1, 2)))
    even = random((2, 4, 6))
    moved = Advection((4, 6), (12.0, 15.0), u=0.23, v=-0.11)(even, 0.7)
    torch.testing.assert_close(moved.sum((1, 2)), even.sum((1, 2)))
    assert (moved.square().sum((1, 2)) <= even.square().sum((1, 2))).all()


# One quasi-geostrophic layer -----------------------------------------------------------

CELLS, SIDE, RADIUS, LATITUDE, DAY = 24, 15.0, 30.0, 38.0, 86400.0
BETA = 2 * EARTH_ROTATION * math.cos(math.radians(LATITUDE)) / EARTH_RADIUS
CORIOLIS = 2 * EARTH_ROTATION * math.sin(math.radians(LATITUDE))
UNIT = 2 * math.pi / (CELLS * SIDE * 1e3)  # the longest wave, in radians per metre


def layer(**options: Any) -> OneLayerQG:
    place = {"latitude": LATITUDE, "rossby_radius": RADIUS}
    return OneLayerQG((CELLS, CELLS), (SIDE, SIDE), **place | options)


def wave(m: int, n: int, phase: float = 0.0) -> Tensor:
    """cos of m waves along x and n along y."""
    at = 2 * math.pi * torch.arange(CELLS, dtype=torch.float64) / CELLS
    return torch.cos(m * at + n * at[:, None] + phase)[None]


def frequency(m: int, n: int, drift: float = 0.0) -> float:
    """Of a wave in radians per day: its phase speed along x, times its wavenumber."""
    square = UNIT**2 * (m**2 + n**2)
    speed = (-BETA + drift * square) / (square + (1e3 * RADIUS) ** -2)
    return DAY * speed * m * UNIT


def eddies(batch: int = 2, speed: float = 0.3, most: int = CELLS // 3) -> Tensor:
    """Heights of eddies that flow at most so fast, of fewer waves than ``most``."""
    spectrum = torch.fft.rfft2(random((batch, CELLS, CELLS)))
    n = torch.fft.fftfreq(CELLS, 1 / CELLS)[:, None].abs()
    m = torch.fft.rfftfreq(CELLS, 1 / CELLS).abs()
    kept = (n < most) & (m < most) & (n + m > 0)
    h = torch.fft.irfft2(spectrum * kept / (1 + n**2 + m**2), s=(CELLS, CELLS))
    fastest = torch.hypot(*layer().velocity(h)).amax((1, 2), keepdim=True)
    return h * speed / fastest


def spectral(factor: Callable[[Tensor, Tensor], Tensor], h: Tensor) -> Tensor:
    """A derivative, written as a factor of the wavenumbers."""
    ell, k = wavenumbers((CELLS, CELLS), (1e3 * SIDE, 1e3 * SIDE))
    return torch.fft.irfft2(factor(ell, k) * torch.fft.rfft2(h), s=(CELLS, CELLS))


@pytest.mark.parametrize(("m", "n"), [(1, 0), (2, 3), (3, -1), (0, 2)])
@pytest.mark.parametrize("latitude", [LATITUDE, -LATITUDE])
@pytest.mark.parametrize("drift", [0.0, 0.15])
def test_a_rossby_wave_travels_at_its_phase_speed(m, n, latitude, drift):
    """West at beta / (k2 + 1 / Rd2); the mean flow carries it east at U k2 / (k2 + 1 / Rd2)."""
    model = layer(latitude=latitude, drift=drift)
    expected = 0.1 * wave(m, n, -frequency(m, n, drift) * 5.0)
    flown = model(0.1 * wave(m, n), 0.125, 40)
    torch.testing.assert_close(flown, expected, rtol=0, atol=1e-7)
    assert m == 0 or (flown - 0.1 * wave(m, n)).abs().max() > 1e-3  # it did move


def test_waves_of_one_length_pass_through_each_other():
    """Where potential vorticity is a multiple of the stream function neither carries it."""
    waves = [(3, 4, 0.0), (4, 3, 1.0), (5, 0, 2.0), (0, 5, 3.0), (-4, 3, 4.0)]
    start = 0.2 * sum(wave(*each) for each in waves)
    expected = 0.2 * sum(wave(m, n, phase - 3 * frequency(m, n)) for m, n, phase in waves)
    assert torch.hypot(*layer().velocity(start)).max() > 1  # a strong flow all the same
    torch.testing.assert_close(layer()(start, 0.05, 60), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("latitude", [LATITUDE, -LATITUDE])
def test_the_tendency_is_that_of_potential_vorticity(latitude):
    """Its equation, term by term; six waves at most, whose products the grid still holds."""
    h = eddies(most=CELLS // 6)
    model = layer(latitude=latitude, drift=0.1)
    psi = math.copysign(GRAVITY / CORIOLIS, latitude) * h
    vorticity = spectral(lambda ell, k: -(ell**2 + k**2), psi)
    q = vorticity - psi / (1e3 * RADIUS) ** 2
    u, v = spectral(lambda ell, k: -1j * ell + 0 * k, psi), spectral(lambda ell, k: 1j * k, psi)
    torch.testing.assert_close(torch.stack(model.velocity(h)), torch.stack([u, v]))
    along_x, along_y = (
        spectral(lambda ell, k: 1j * k + 0 * ell, q),
        spectral(lambda ell, k: 1j * ell + 0 * k, q),
    )
    expected = -DAY * (
        u * along_x
        + v * along_y
        + BETA * v
        + 0.1 * spectral(lambda ell, k: 1j * k + 0 * ell, vorticity)
    )
    slope = math.copysign(GRAVITY / CORIOLIS, latitude) * model.tendency(h)
    found = spectral(lambda ell, k: -(ell**2 + k**2) - (1e3 * RADIUS) ** -2, slope)
    torch.testing.assert_close(
        found, expected, rtol=0, atol=1e-10 * float(expected.abs().max())
    )
    assert (u * along_x + v * along_y).abs().max() > 0.1 * (BETA * v).abs().max()


@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_energy_and_potential_enstrophy_are_conserved(drift):
    """For a day, to the error of the time step."""
    model, h = layer(drift=drift), eddies()
    later = model(h, 1 / 48, 48)
    assert (later - h).abs().max() > 0.02 * h.abs().max()

    def enstrophy(height: Tensor) -> Tensor:
        factor = (1e3 * RADIUS) ** -2
        return spectral(lambda ell, k: ell**2 + k**2 + factor, height).square().mean((1, 2))

    torch.testing.assert_close(model.energy(later), model.energy(h), rtol=1e-6, atol=0)
    torch.testing.assert_close(enstrophy(later), enstrophy(h), rtol=1e-6, atol=0)
    torch.testing.assert_close(later.mean((1, 2)), h.mean((1, 2)), rtol=0, atol=1e-12)


def test_the_southern_ocean_is_the_northern_one_in_a_mirror():
    """Where the rotation is turned, highs turn the other way, on the mirrored map."""
    h = eddies()
    north = layer(drift=0.1)(h, 0.05, 10)
    south = layer(drift=0.1, latitude=-LATITUDE)(h.flip(1), 0.05, 10)
    torch.testing.assert_close(south.flip(1), north, rtol=0, atol=1e-12)


def test_velocity_and_energy_of_a_wave():
    """g A k / f at its steepest; half of psi2 (k2 + 1 / Rd2), of which a wave has half."""
    k, height = 3 * UNIT, 0.2
    u, v = layer().velocity(height * wave(3, 0))
    assert u.abs().max() < 1e-12
    at = 2 * math.pi * torch.arange(CELLS, dtype=torch.float64) / CELLS
    expected = -GRAVITY * height * k / CORIOLIS * torch.sin(3 * at)
    torch.testing.assert_close(v, expected.expand(1, CELLS, CELLS), rtol=0, atol=1e-12)
    energy = 0.25 * (GRAVITY * height / CORIOLIS) ** 2 * (k**2 + (1e3 * RADIUS) ** -2)
    assert float(layer().energy(height * wave(3, 0))) == pytest.approx(energy)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"latitude": 0.0}, "latitude=0: quasi-geostrophy needs rotation. Expected more"),
        ({"latitude": -1.0}, "latitude=-1: quasi-geostrophy needs rotation"),
        ({"latitude": math.nan}, "latitude=nan"),
        ({"rossby_radius": 0.0}, "rossby_radius=0: expected km above 0"),
        ({"rossby_radius": -30.0}, "rossby_radius=-30"),
        ({"rossby_radius": math.nan}, "rossby_radius=nan"),
        ({"scheme": "leapfrog"}, "no time step named 'leapfrog'"),
    ],
)
def test_a_layer_that_cannot_be_is_an_error(options, text):
    with pytest.raises((ValueError, UnknownNameError), match=text):
        layer(**options)
