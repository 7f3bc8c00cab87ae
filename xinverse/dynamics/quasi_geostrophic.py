r"""Two-layer quasi-geostrophic turbulence in a doubly periodic box.

.. math::

    \partial_t q_i + J(\psi_i, q_i) + U_i \partial_x q_i + \partial_y Q_i \, \partial_x \psi_i
      = - \delta_{i2} \, r \nabla^2 \psi_2

with the potential vorticity anomalies

.. math::

    q_1 = \nabla^2 \psi_1 + F_1 (\psi_2 - \psi_1), \qquad
    q_2 = \nabla^2 \psi_2 + F_2 (\psi_1 - \psi_2),

the background gradients :math:`\partial_y Q_1 = \beta + F_1 U`,
:math:`\partial_y Q_2 = \beta - F_2 U` of a sheared mean flow
:math:`(U_1, U_2) = (U, 0)`, and :math:`F_1 = 1 / (R_d^2 (1 + \delta))`,
:math:`F_2 = \delta F_1` for a deformation radius :math:`R_d` and a ratio
:math:`\delta = H_1 / H_2` of the layers' depths (Vallis 2017, section 5.6).
The sea surface height is :math:`f_0 \psi_1 / g`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from xinverse.constants import EARTH_RADIUS, EARTH_ROTATION, GRAVITY
from xinverse.dynamics.spectral import two_thirds, wavenumbers

__all__ = ["TwoLayerQG"]


def _column(value: float | Tensor) -> Tensor:
    """Shape one number per run to broadcast over ``(batch, layer, y, x)``."""
    return torch.as_tensor(value, dtype=torch.float64).reshape(-1, 1, 1, 1)


class TwoLayerQG(nn.Module):
    r"""Doubly periodic, pseudo-spectral two-layer quasi-geostrophic model.

    Each parameter is one number, or one per run, so that a batch holds several oceans. The
    advection, dealiased by the two-thirds rule, conserves energy and enstrophy; an exponential
    spectral filter removes enstrophy at the smallest scales after each step. Time stepping is
    fourth-order Runge-Kutta.

    Parameters
    ----------
    size : int
        Cells along each side of the square box.
    spacing : float or Tensor
        Grid spacing, in metres.
    rossby_radius : float or Tensor
        First baroclinic deformation radius :math:`R_d`, in metres.
    shear : float or Tensor
        Mean flow of the upper layer, in m/s.
    latitude : float or Tensor
        Sets :math:`f_0` and :math:`\beta`, in degrees.
    drag : float or Tensor
        Linear bottom drag :math:`r`, in 1/s.
    depth_ratio : float or Tensor
        :math:`\delta = H_1 / H_2`.
    filtered : bool
        Apply the small-scale filter. Without it and drag, the model conserves energy up to
        the error of the time step.

    Notes
    -----
    States are potential vorticity ``(batch, 2, size, size)``, in 1/s; time is in seconds.
    """

    def __init__(
        self,
        size: int,
        *,
        spacing: float | Tensor = 12e3,
        rossby_radius: float | Tensor = 30e3,
        shear: float | Tensor = 0.1,
        latitude: float | Tensor = 38.0,
        drag: float | Tensor = 1.0e-7,
        depth_ratio: float | Tensor = 0.25,
        filtered: bool = True,
    ) -> None:
        super().__init__()
        spacing, shear, drag = _column(spacing), _column(shear), _column(drag)
        delta, phi = _column(depth_ratio), torch.deg2rad(_column(latitude))
        f0 = 2 * EARTH_ROTATION * torch.sin(phi)
        beta = 2 * EARTH_ROTATION * torch.cos(phi) / EARTH_RADIUS
        f1 = 1 / (_column(rossby_radius) ** 2 * (1 + delta))
        f2 = delta * f1

        ell, k = wavenumbers((size, size), (1.0, 1.0))
        square = (k**2 + ell**2) / spacing**2
        # q = M psi for each wavenumber, with the 2 x 2 inverse written out.
        determinant = square * (square + f1 + f2)
        determinant[..., 0, 0] = 1.0
        inverse = torch.stack(
            [
                torch.cat([-(square + f2), -f1.expand_as(square)], 1),
                torch.cat([-f2.expand_as(square), -(square + f1)], 1),
            ],
            1,
        ) / determinant.unsqueeze(1)
        inverse[..., 0, 0] = 0.0  # the mean stream function is arbitrary
        # Exponential filter of Arbic & Flierl (2004): 1 up to 0.65 of the largest wavenumber
        # that the two-thirds rule keeps.
        radius = torch.sqrt(k**2 + ell**2) / (2 * math.pi / 3)
        smooth = torch.exp(-23.6 * (radius - 0.65).clamp(min=0) ** 4 / 0.35**4)
        layers = torch.tensor([1.0, 0.0], dtype=torch.float64).reshape(1, 2, 1, 1)
        bottom = 1 - layers

        def buffer(name: str, value: Tensor) -> None:
            self.register_buffer(name, value)

        buffer("k", k / spacing)
        buffer("ell", ell / spacing)
        buffer("square", square)
        buffer("inverse", inverse)
        buffer("keep", two_thirds((size, size)).to(torch.float64))
        buffer("smooth", smooth if filtered else torch.ones_like(smooth))
        buffer("mean_flow", shear * layers)
        buffer("gradient", beta + shear * (f1 * layers - f2 * bottom))
        buffer("friction", drag * bottom)
        buffer("to_height", f0 / GRAVITY)
        buffer("spacing", spacing)
        buffer("f1", f1)
        buffer("depths", torch.cat([delta, torch.ones_like(delta)], 1) / (1 + delta))
        self.size = size

    k: Tensor
    ell: Tensor
    square: Tensor
    inverse: Tensor
    keep: Tensor
    smooth: Tensor
    mean_flow: Tensor
    gradient: Tensor
    friction: Tensor
    to_height: Tensor
    spacing: Tensor
    f1: Tensor
    depths: Tensor

    def _real(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft2(spectrum, s=(self.size, self.size))

    def _stream(self, q_hat: Tensor) -> Tensor:
        """Spectrum of the stream function from that of the potential vorticity."""
        first, second = q_hat[:, :1], q_hat[:, 1:]
        # ``inverse`` is (batch, row, column, ky, kx): rows give psi_1 and psi_2.
        return self.inverse[:, :, 0] * first + self.inverse[:, :, 1] * second

    def stream_function(self, q: Tensor) -> Tensor:
        """Stream function ``(batch, 2, y, x)``, in m2/s."""
        return self._real(self._stream(torch.fft.rfft2(q)))

    def sea_surface_height(self, q: Tensor) -> Tensor:
        """Sea surface height anomaly ``(batch, y, x)``, in metres."""
        return (self.to_height * self.stream_function(q))[:, 0]

    def velocity(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Eddy velocities u, v ``(batch, 2, y, x)``, in m/s."""
        psi = self._stream(torch.fft.rfft2(q))
        return self._real(-1j * self.ell * psi), self._real(1j * self.k * psi)

    def _tendency(self, q_hat: Tensor) -> Tensor:
        q_hat = q_hat * self.keep
        psi = self._stream(q_hat)
        fields = torch.stack([-1j * self.ell * psi, 1j * self.k * psi, q_hat])
        u, v, q = self._real(fields)
        flux = torch.fft.rfft2(torch.stack([u * q, v * q])) * self.keep
        advection = 1j * self.k * flux[0] + 1j * self.ell * flux[1]
        mean = 1j * self.k * (self.mean_flow * q_hat + self.gradient * psi)
        return -advection - mean + self.friction * self.square * psi

    def forward(self, q: Tensor, dt: float, steps: int = 1) -> Tensor:
        """Return the state after ``steps`` Runge-Kutta steps of ``dt`` seconds."""
        q_hat = torch.fft.rfft2(q)
        for _ in range(steps):
            a = self._tendency(q_hat)
            b = self._tendency(q_hat + 0.5 * dt * a)
            c = self._tendency(q_hat + 0.5 * dt * b)
            d = self._tendency(q_hat + dt * c)
            q_hat = (q_hat + dt / 6 * (a + 2 * b + 2 * c + d)) * self.smooth
        return self._real(q_hat)

    def courant(self, q: Tensor, dt: float) -> Tensor:
        """Largest Courant number of each run, ``max(|u| + |v|) dt / spacing``."""
        u, v = self.velocity(q)
        speed = ((u + self.mean_flow).abs() + v.abs()).amax((1, 2, 3))
        return speed * dt / self.spacing.reshape(-1)

    def energy(self, q: Tensor) -> Tensor:
        """Total energy of each run per unit depth and area, in m2/s2."""
        psi = self.stream_function(q)
        return -0.5 * (self.depths * psi * q).sum(1).mean((1, 2))

    def enstrophy(self, q: Tensor) -> Tensor:
        """Potential enstrophy of each run, depth-averaged, in 1/s2."""
        return 0.5 * (self.depths * q**2).sum(1).mean((1, 2))
