"""The quasi-geostrophic model: what theory says of it, to the digits of its time step."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import Tensor

from xinverse.constants import EARTH_RADIUS, EARTH_ROTATION, GRAVITY
from xinverse.constants import SECONDS_PER_DAY as DAY
from xinverse.dynamics.quasi_geostrophic import TwoLayerQG

SIZE, SPACING, RADIUS, LATITUDE, RATIO = 32, 15e3, 30e3, 38.0, 0.25
BETA = 2 * EARTH_ROTATION * math.cos(math.radians(LATITUDE)) / EARTH_RADIUS
F1 = 1 / (RADIUS**2 * (1 + RATIO))
F2 = RATIO * F1


def model(size: int = SIZE, **keywords: float) -> TwoLayerQG:
    """Without shear, drag and filter unless they are asked for: what conserves."""
    settings = {
        "spacing": SPACING,
        "rossby_radius": RADIUS,
        "latitude": LATITUDE,
        "depth_ratio": RATIO,
        "shear": 0.0,
        "drag": 0.0,
        "filtered": False,
    }
    return TwoLayerQG(size, **(settings | keywords))


def wavenumbers(size: int = SIZE) -> tuple[Tensor, Tensor]:
    k = 2 * math.pi * torch.fft.rfftfreq(size, d=SPACING, dtype=torch.float64)
    ell = 2 * math.pi * torch.fft.fftfreq(size, d=SPACING, dtype=torch.float64)
    return k, ell[:, None]


def eddies(size: int = SIZE, speed: float = 0.3, seed: int = 0, batch: int = 1) -> Tensor:
    """Potential vorticity of eddies of a few deformation radii, moving at most so fast."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, 2, size, size, dtype=torch.float64, generator=generator)
    k, ell = wavenumbers(size)
    band = torch.exp(-((torch.hypot(k, ell) * 60e3 - 1) ** 2) / 0.1)
    band[0, 0] = 0  # no mean, which a stream function cannot tell
    q = torch.fft.irfft2(torch.fft.rfft2(noise) * band, s=(size, size))
    u, v = model(size).velocity(q)
    return q * speed / torch.hypot(u, v).amax((1, 2, 3), keepdim=True)


def potential_vorticity(psi: Tensor) -> Tensor:
    """q of a stream function, by its definition in spectral space."""
    k, ell = wavenumbers(psi.shape[-1])
    laplacian = torch.fft.irfft2(-(k**2 + ell**2) * torch.fft.rfft2(psi), s=psi.shape[-2:])
    apart = psi[:, 1] - psi[:, 0]
    return laplacian + torch.stack([F1 * apart, -F2 * apart], 1)


def plane_wave(m: int, n: int, phase: float = 0.0) -> Tensor:
    """cos of m waves along x and n along y."""
    at = 2 * math.pi * torch.arange(SIZE, dtype=torch.float64) / SIZE
    return torch.cos(m * at + n * at[:, None] + phase)


# Inversion -----------------------------------------------------------------------------


def test_stream_function_and_potential_vorticity_invert_each_other():
    q = eddies(batch=2)
    psi = model().stream_function(q)
    torch.testing.assert_close(
        potential_vorticity(psi), q, rtol=0, atol=1e-12 * float(q.abs().max())
    )
    again = model().stream_function(potential_vorticity(psi))
    torch.testing.assert_close(again, psi, rtol=0, atol=1e-10 * float(psi.abs().max()))


def test_the_velocity_is_the_rotated_gradient_of_the_stream_function():
    q = eddies()
    u, v = model().velocity(q)
    psi = torch.fft.rfft2(model().stream_function(q))
    k, ell = wavenumbers()
    for velocity, factor in ((u, -1j * ell), (v, 1j * k)):
        expected = torch.fft.irfft2(factor * psi, s=(SIZE, SIZE))
        torch.testing.assert_close(velocity, expected, rtol=0, atol=1e-12)
    # East is along the last axis: a high in the north of a box flows east on its north side.
    divergence = torch.fft.rfft2(u) * k + torch.fft.rfft2(v) * ell
    assert divergence.abs().max() < 1e-12 * (torch.fft.rfft2(u) * k).abs().max()


def test_an_anticyclone_is_a_high_and_turns_clockwise():
    """In the northern hemisphere: the sea stands higher, and flows east north of its centre."""
    y = (torch.arange(SIZE) - SIZE / 2).double() * SPACING
    psi = torch.exp(-(y[:, None] ** 2 + y**2) / (60e3) ** 2).expand(1, 2, -1, -1)
    q = potential_vorticity(psi * 1e3)
    height = model().sea_surface_height(q)[0]
    assert height[SIZE // 2, SIZE // 2] == height.max()
    u, _ = model().velocity(q)
    assert u[0, 0, SIZE // 2 + 3, SIZE // 2] > 0 > u[0, 0, SIZE // 2 - 3, SIZE // 2]


def test_sea_surface_height_is_geostrophic():
    """g eta = f0 psi_1."""
    q = eddies()
    f0 = 2 * EARTH_ROTATION * math.sin(math.radians(LATITUDE))
    expected = f0 * model().stream_function(q)[:, 0] / GRAVITY
    torch.testing.assert_close(model().sea_surface_height(q), expected)


def test_energy_is_kinetic_and_potential():
    q = eddies(batch=3)
    ocean = model()
    psi, (u, v) = ocean.stream_function(q), ocean.velocity(q)
    share = torch.tensor([RATIO, 1.0]).double() / (1 + RATIO)
    kinetic = 0.5 * ((u**2 + v**2).mean((2, 3)) * share).sum(1)
    potential = 0.5 * share[0] * F1 * (psi[:, 0] - psi[:, 1]).square().mean((1, 2))
    torch.testing.assert_close(ocean.energy(q), kinetic + potential, rtol=1e-10, atol=0)
    enstrophy = 0.5 * (q.square().mean((2, 3)) * share).sum(1)
    torch.testing.assert_close(ocean.enstrophy(q), enstrophy, rtol=1e-10, atol=0)


# Dynamics ------------------------------------------------------------------------------


def test_energy_and_enstrophy_are_conserved():
    """To 1e-6 over ten days of eddies that turn over several times."""
    ocean, q = model(), eddies(speed=0.5, batch=2)
    steps = 100
    later = ocean(q, 10 * DAY / steps, steps)
    assert ((later - q).norm() / q.norm()) > 0.3  # it did move
    for invariant in (ocean.energy, ocean.enstrophy):
        change = (invariant(later) / invariant(q) - 1).abs().max()
        assert change < 1e-6


def test_the_mean_potential_vorticity_stays():
    q = eddies() + torch.tensor([1e-6, -2e-6]).double()[:, None, None]
    later = model(shear=0.1, drag=1e-7)(q, 4320.0, 20)
    torch.testing.assert_close(later.mean((2, 3)), q.mean((2, 3)), rtol=1e-9, atol=0)


def test_the_time_step_is_of_fourth_order():
    """Each halving divides the error by sixteen."""
    ocean, q = model(shear=0.05, drag=1e-7), eddies(speed=0.6)
    states = [ocean(q, 2 * DAY / n, n) for n in (12, 24, 48, 96)]
    changes = [float((a - b).norm()) for a, b in itertools.pairwise(states)]
    ratios = [a / b for a, b in itertools.pairwise(changes)]
    assert ratios[-1] == pytest.approx(16, rel=0.1)


@pytest.mark.parametrize(("m", "n"), [(1, 0), (2, 1), (3, -2)])
@pytest.mark.parametrize("mode", ["barotropic", "baroclinic"])
def test_a_rossby_wave_moves_at_its_phase_speed(m, n, mode):
    """omega = -beta k / (K^2 + 1/Rd^2), without 1/Rd^2 for the barotropic mode.

    One plane wave is a solution of the full equations, however steep.
    """
    unit = 2 * math.pi / (SIZE * SPACING)
    stretching = 0.0 if mode == "barotropic" else RADIUS**-2
    omega = -BETA * m * unit / ((m**2 + n**2) * unit**2 + stretching)
    layers = torch.tensor([1.0, 1.0 if mode == "barotropic" else -RATIO]).double()

    def wave(time: float) -> Tensor:
        return (2e3 * layers[:, None, None] * plane_wave(m, n, -omega * time))[None]

    q = potential_vorticity(wave(0.0))
    days, steps = 20.0, 400
    later = model()(q, days * DAY / steps, steps)
    expected = potential_vorticity(wave(days * DAY))
    assert abs(omega) * days * DAY > 0.3  # a good part of a cycle
    assert (later - expected).abs().max() < 1e-6 * q.abs().max()


@pytest.mark.parametrize(("m", "n"), [(2, 0), (3, 1), (5, 0)])
@pytest.mark.parametrize("drag", [0.0, 2e-7])
def test_small_waves_grow_as_linear_theory_says(m, n, drag):
    """Shear, beta and drag at once: the state follows exp(A t) of the 2 x 2 problem."""
    U = 0.15
    unit = 2 * math.pi / (SIZE * SPACING)
    k, K2 = m * unit, (m**2 + n**2) * unit**2
    M = np.array([[-(K2 + F1), F1], [F2, -(K2 + F2)]])
    gradient = np.diag([BETA + F1 * U, BETA - F2 * U])
    A = -1j * k * (np.diag([U, 0.0]) + gradient @ np.linalg.inv(M))
    A = A + np.diag([0.0, drag * K2]) @ np.linalg.inv(M)
    start = np.array([1.0, 0.4 - 0.3j]) * 1e-12
    wave = [float(np.abs(c)) * plane_wave(m, n, float(np.angle(c))) for c in start]
    days, steps = 10.0, 200
    later = model(shear=U, drag=drag)(torch.stack(wave)[None], days * DAY / steps, steps)
    amplitude = torch.fft.rfft2(later)[0, :, n, m].numpy() * 2 / SIZE**2
    expected = expm(A * days * DAY) @ start
    np.testing.assert_allclose(amplitude, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_sheared_ocean_is_unstable_and_a_still_one_is_not():
    """Criticality F2 U / beta above one: the eddies of the training runs have their source."""
    U = 1.5 * BETA / F2
    q = 1e-3 * eddies()
    grown = [
        float(ocean.energy(ocean(q, 4320.0, 600)) / ocean.energy(q))
        for ocean in (model(shear=U, filtered=True), model(filtered=True))
    ]
    assert grown[0] > 2
    assert grown[1] < 1.0001


def test_drag_takes_energy_and_the_filter_enstrophy():
    q = eddies(speed=0.5)
    for ocean in (model(drag=1e-6), model(filtered=True)):
        steps = [q]
        for _ in range(4):
            steps.append(ocean(steps[-1], 4320.0, 20))
        energies = [float(ocean.energy(s)) for s in steps]
        enstrophies = [float(ocean.enstrophy(s)) for s in steps]
        assert np.all(np.diff(enstrophies) < 1e-9 * enstrophies[0])
        assert np.all(np.diff(energies) < 1e-6 * energies[0])
    ocean = model(drag=1e-6)
    assert ocean.energy(ocean(q, 4320.0, 80)) < 0.9 * ocean.energy(q)


def test_the_filter_leaves_large_scales_alone():
    wave = potential_vorticity((1e3 * plane_wave(3, 2)).expand(1, 2, -1, -1))
    filtered, plain = (model(filtered=f)(wave, 4320.0, 10) for f in (True, False))
    torch.testing.assert_close(filtered, plain, rtol=0, atol=1e-15)
    small = 1e-6 * plane_wave(SIZE // 2 - 1, SIZE // 2 - 1).expand(1, 2, -1, -1)
    assert model(filtered=True)(small, 4320.0, 10).abs().max() < 0.1 * small.abs().max()


def test_the_filter_takes_the_smallest_scales_that_the_flow_carries():
    """Enstrophy gathers at the edge of the two-thirds rule: a wave there halves in a day."""
    number = SIZE // 3 - 1
    for wave in (plane_wave(number, 0), plane_wave(0, number)):
        small = 1e-6 * wave.expand(1, 2, -1, -1)
        left = model(filtered=True)(small, 4320.0, 20).abs().max() / small.abs().max()
        assert left < 0.5


# Budgets -------------------------------------------------------------------------------


def rates(ocean: TwoLayerQG, q: Tensor) -> tuple[Tensor, Tensor]:
    """Rates of change of energy and potential enstrophy, by central differences in time."""
    dt = 200.0
    after, before = ocean(q, dt), ocean(q, -dt)
    return tuple(
        (measure(after) - measure(before)) / (2 * dt)
        for measure in (ocean.energy, ocean.enstrophy)
    )


def slope_x(field: Tensor) -> Tensor:
    k, _ = wavenumbers(field.shape[-1])
    return torch.fft.irfft2(1j * k * torch.fft.rfft2(field), s=field.shape[-2:])


@pytest.mark.parametrize(("shear", "drag"), [(0.1, 0.0), (0.0, 2e-7), (0.15, 1e-7)])
def test_energy_changes_by_its_source_and_its_sink(shear, drag):
    r"""What the shear gives and the bottom takes, and nothing else.

    dE/dt = d_1 F_1 U <psi_1 dpsi_2/dx> - d_2 r <|grad psi_2|^2>, with d_i = H_i / (H_1 + H_2):
    the mean flow works against the form drag of the interface.
    """
    ocean, q = model(shear=shear, drag=drag), eddies(speed=0.4, batch=3)
    psi, (u, v) = ocean.stream_function(q), ocean.velocity(q)
    share = torch.tensor([RATIO, 1.0]).double() / (1 + RATIO)
    source = share[0] * F1 * shear * (psi[:, 0] * slope_x(psi)[:, 1]).mean((1, 2))
    sink = share[1] * drag * (u[:, 1] ** 2 + v[:, 1] ** 2).mean((1, 2))
    size = source.abs() + sink
    assert (size * 30 * DAY > 1e-3 * ocean.energy(q)).all()  # it counts within a month
    assert ((rates(ocean, q)[0] - source + sink).abs() < 1e-3 * size).all()


@pytest.mark.parametrize(("shear", "drag"), [(0.1, 0.0), (0.0, 2e-7), (0.15, 1e-7)])
def test_enstrophy_changes_by_its_source_and_its_sink(shear, drag):
    """dZ/dt = - sum d_i dQ_i/dy <v_i q_i> - d_2 r <q_2 laplacian psi_2>."""
    ocean, q = model(shear=shear, drag=drag), eddies(speed=0.4, batch=3)
    psi, (_, v) = ocean.stream_function(q), ocean.velocity(q)
    share = torch.tensor([RATIO, 1.0]).double() / (1 + RATIO)
    gradient = torch.tensor([BETA + F1 * shear, BETA - F2 * shear]).double()
    source = -(share * gradient * (v * q).mean((2, 3))).sum(1)
    vorticity = q[:, 1] - F2 * (psi[:, 0] - psi[:, 1])
    sink = share[1] * drag * (q[:, 1] * vorticity).mean((1, 2))
    size = source.abs() + sink.abs()
    assert ((rates(ocean, q)[1] - source + sink).abs() < 1e-3 * size).all()


def test_the_shear_converts_no_energy_where_the_layers_move_as_one():
    """A barotropic eddy has no form drag: psi_1 = psi_2 gives <psi dpsi/dx> = 0."""
    psi = 1e3 * plane_wave(2, 1) + 7e2 * plane_wave(1, 3, 0.4)
    q = potential_vorticity(psi.expand(1, 2, -1, -1))
    ocean = model(shear=0.2)
    assert abs(float(rates(ocean, q)[0])) < 1e-6 * float(ocean.energy(q)) / DAY


def test_what_is_conserved_is_conserved_to_the_order_of_the_scheme():
    """Halving the step divides the drift of both invariants by 16, nearly."""
    ocean, q = model(), eddies(speed=0.6)
    once, twice = ocean(q, 6 * DAY / 80, 80), ocean(q, 6 * DAY / 160, 160)
    for invariant in (ocean.energy, ocean.enstrophy):
        before = invariant(q)
        drift = [float((invariant(later) / before - 1).abs()) for later in (once, twice)]
        assert drift[0] < 1e-8
        assert drift[0] / drift[1] > 12


# Symmetries ----------------------------------------------------------------------------


@pytest.mark.parametrize("turn", ["shift", "flip"])
def test_symmetries_of_the_beta_plane(turn):
    """A box has no place of its own, and q(x, y) -> -q(x, -y) maps solutions on solutions.

    The training makes use of the second.
    """

    def act(q: Tensor) -> Tensor:
        return q.roll((5, -3), (2, 3)) if turn == "shift" else -q.flip(2)

    ocean = model(shear=0.1, drag=1e-7, filtered=True)
    q = eddies()
    torch.testing.assert_close(
        ocean(act(q), 4320.0, 40), act(ocean(q, 4320.0, 40)), rtol=0, atol=1e-16
    )


def test_so_many_steps_at_once_or_one_after_the_other():
    ocean, q = model(shear=0.1, filtered=True), eddies()
    one_by_one = q
    for _ in range(5):
        one_by_one = ocean(one_by_one, 4320.0)
    torch.testing.assert_close(one_by_one, ocean(q, 4320.0, 5), rtol=0, atol=1e-16)


# Batches, precision, derivatives ---------------------------------------------------------

PARAMETERS = {
    "spacing": [12e3, 15e3, 18e3],
    "rossby_radius": [20e3, 30e3, 35e3],
    "shear": [0.05, 0.1, 0.2],
    "latitude": [25.0, 38.0, 50.0],
    "drag": [0.0, 1e-7, 2e-7],
    "depth_ratio": [0.2, 0.25, 0.3],
}


def test_an_ocean_does_not_depend_on_its_batch():
    together = TwoLayerQG(
        SIZE, **{k: torch.tensor(v, dtype=torch.float64) for k, v in PARAMETERS.items()}
    )
    q = eddies(batch=3)
    later = together(q, 2160.0, 40)
    for k in range(3):
        alone = TwoLayerQG(SIZE, **{name: v[k] for name, v in PARAMETERS.items()})
        for whole, one in (
            (later, alone(q[[k]], 2160.0, 40)),
            (together.sea_surface_height(q), alone.sea_surface_height(q[[k]])),
            (together.energy(q), alone.energy(q[[k]])),
            (together.enstrophy(q), alone.enstrophy(q[[k]])),
            (together.courant(q, 60.0), alone.courant(q[[k]], 60.0)),
        ):
            torch.testing.assert_close(whole[[k]], one, rtol=1e-9, atol=1e-16)


def test_one_set_of_parameters_serves_a_batch():
    q = eddies(batch=2)
    later = model(shear=0.1)(q, 4320.0, 10)
    torch.testing.assert_close(later[[1]], model(shear=0.1)(q[[1]], 4320.0, 10))


def test_single_precision_follows_double_for_days():
    q = eddies()
    exact = model(shear=0.1, drag=1e-7, filtered=True)
    single = model(shear=0.1, drag=1e-7, filtered=True).float()
    a, b = exact(q, 4320.0, 100), single(q.float(), 4320.0, 100)
    assert b.dtype == torch.float32
    assert single.sea_surface_height(b).dtype == torch.float32
    assert (a - b).abs().max() < 1e-4 * a.abs().max()


def test_the_model_is_differentiable():
    """By finite differences, through two steps and the sea surface height."""
    ocean = model(size=6, shear=0.1, drag=1e-7, filtered=True)
    q = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda z: 1e5 * ocean(1e-5 * z, 4320.0, 2), (q,), atol=1e-7, rtol=1e-4
    )
    assert torch.autograd.gradcheck(lambda z: ocean.sea_surface_height(1e-5 * z), (q,))


def test_the_courant_number_is_that_of_the_fastest_cell():
    ocean, q = model(shear=0.2), eddies(batch=2)
    u, v = ocean.velocity(q)
    mean = torch.tensor([0.2, 0.0]).double()[:, None, None]
    expected = ((u + mean).abs() + v.abs()).amax((1, 2, 3)) * 3600 / SPACING
    torch.testing.assert_close(ocean.courant(q, 3600.0), expected)


def test_state_dict_holds_the_ocean():
    one, other = model(shear=0.1, latitude=30.0), model()
    q = eddies()
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other(q, 4320.0), one(q, 4320.0), rtol=0, atol=0)
