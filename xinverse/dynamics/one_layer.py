r"""One active quasi-geostrophic layer over a deep ocean at rest.

.. math::

    \partial_t q + J(\psi, q) + U \, \partial_x \nabla^2 \psi + \beta \, \partial_x \psi = 0,
    \qquad q = \nabla^2 \psi - \psi / R_d^2, \qquad \psi = g h / f_0

The model of dynamic interpolation (Ubelmann, Klein and Fu 2015) and of back-and-forth nudging
(Le Guillou et al. 2021): the geostrophic flow of the sea surface height h conserves potential
vorticity. The mean flow U of the layer advects relative vorticity only, because the slope of
its interface cancels the advection of the stretching term.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from xinverse.constants import EARTH_RADIUS, EARTH_ROTATION, GRAVITY, SECONDS_PER_DAY
from xinverse.dynamics.base import DYNAMICS, Dynamics, Parameters
from xinverse.dynamics.spectral import two_thirds, wavenumbers
from xinverse.dynamics.steppers import STEPPERS

__all__ = ["OneLayerQG"]


@DYNAMICS.register("one-layer-qg")
class OneLayerQG(Dynamics):
    r"""Sea surface height of one quasi-geostrophic layer, doubly periodic.

    Pseudo-spectral, dealiased by the two-thirds rule. Time is in days.

    Parameters
    ----------
    shape : tuple of int
        Cells along y and x.
    spacing : tuple of float
        Grid spacing along y and x, in km.
    latitude : float
        Sets :math:`f_0` and :math:`\beta`, in degrees; more than 1 degree from the equator.
    rossby_radius : float
        :math:`R_d`, in km.
    drift : float
        U, in m/s; the parameter ``"drift"``.
    scheme : {"rk4", "heun", "euler"}
        Time stepping scheme.

    Notes
    -----
    States are ``(batch, ny, nx)``, in metres.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        spacing: tuple[float, float],
        *,
        latitude: float,
        rossby_radius: float,
        drift: float = 0.0,
        scheme: str = "rk4",
    ) -> None:
        super().__init__(scheme)
        if not abs(latitude) > 1:
            raise ValueError(
                f"latitude={latitude:g}: quasi-geostrophy needs rotation. Expected more than 1 "
                "degree from the equator."
            )
        if not rossby_radius > 0:
            raise ValueError(f"rossby_radius={rossby_radius:g}: expected km above 0.")
        ell, k = wavenumbers(shape, (1e3 * spacing[0], 1e3 * spacing[1]))
        phi = math.radians(latitude)
        f0 = 2 * EARTH_ROTATION * math.sin(phi)
        beta = 2 * EARTH_ROTATION * math.cos(phi) / EARTH_RADIUS
        square = k**2 + ell**2
        stretched = square + 1 / (1e3 * rossby_radius) ** 2

        def buffer(name: str, value: Tensor | float) -> None:
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float64))

        # In metres and seconds, except that tendencies are per day.
        buffer("k", k)
        buffer("ell", ell)
        buffer("to_stream", GRAVITY / f0)
        buffer("stretched", stretched)
        buffer("keep", two_thirds(shape))
        buffer("beta_wave", SECONDS_PER_DAY * beta * k / stretched)
        buffer("drift_wave", -SECONDS_PER_DAY * square * k / stretched)
        buffer("drift", float(drift))
        self.shape = tuple(shape)

    k: Tensor
    ell: Tensor
    to_stream: Tensor
    stretched: Tensor
    keep: Tensor
    beta_wave: Tensor
    drift_wave: Tensor
    drift: Tensor

    def _slope(self, h: Tensor, drift: Tensor) -> Tensor:
        """Tendency of the spectrum of h, per day."""
        psi = self.to_stream * h * self.keep
        fields = torch.stack([-1j * self.ell * psi, 1j * self.k * psi, -self.stretched * psi])
        u, v, q = torch.fft.irfft2(fields, s=self.shape)
        flux_x, flux_y = torch.fft.rfft2(torch.stack([u * q, v * q])) * self.keep
        divergence = 1j * self.k * flux_x + 1j * self.ell * flux_y
        advected = SECONDS_PER_DAY * divergence / (self.stretched * self.to_stream)
        return advected + 1j * (self.beta_wave + drift * self.drift_wave) * h

    def _drift(self, parameters: Parameters) -> Tensor:
        return (parameters or {}).get("drift", self.drift)

    def tendency(self, x: Tensor, parameters: Parameters = None) -> Tensor:
        """Rate of change of heights ``(batch, ny, nx)``, in metres per day."""
        slope = self._slope(torch.fft.rfft2(x), self._drift(parameters))
        return torch.fft.irfft2(slope, s=self.shape)

    def forward(
        self, x: Tensor, dt: float, steps: int = 1, parameters: Parameters = None
    ) -> Tensor:
        """Return the heights after ``steps`` time steps of ``dt`` days."""
        step, drift = STEPPERS[self.scheme], self._drift(parameters)
        h = torch.fft.rfft2(x)
        for _ in range(steps):
            h = step(lambda spectrum: self._slope(spectrum, drift), h, dt)
        return torch.fft.irfft2(h, s=self.shape)

    def velocity(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Geostrophic velocities u, v of heights, ``(batch, ny, nx)``, in m/s."""
        psi = self.to_stream * torch.fft.rfft2(x)
        u, v = torch.fft.irfft2(
            torch.stack([-1j * self.ell * psi, 1j * self.k * psi]), s=self.shape
        )
        return u, v

    def energy(self, x: Tensor) -> Tensor:
        r"""Kinetic plus potential energy per mass, averaged over the box, in m2/s2.

        .. math:: \tfrac12 \overline{ |\nabla \psi|^2 + \psi^2 / R_d^2 }
        """
        psi = self.to_stream * x
        q = torch.fft.irfft2(-self.stretched * torch.fft.rfft2(psi), s=self.shape)
        return -0.5 * (psi * q).mean((-2, -1))
