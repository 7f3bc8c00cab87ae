"""Advection of a field by a uniform flow."""

from __future__ import annotations

import torch
from torch import Tensor

from xinverse.constants import SECONDS_PER_DAY
from xinverse.dynamics.base import DYNAMICS, Dynamics, Parameters
from xinverse.dynamics.spectral import wavenumbers

__all__ = ["Advection"]

KM_PER_DAY = 1e-3 * SECONDS_PER_DAY  # in a metre per second


@DYNAMICS.register("advection")
class Advection(Dynamics):
    r"""Uniform advection, doubly periodic, exact in time.

    .. math:: \partial_t x + u \, \partial_x x + v \, \partial_y x = 0

    Parameters
    ----------
    shape : tuple of int
        Cells along y and x.
    spacing : tuple of float
        Grid spacing along y and x, in km.
    u, v : float
        Eastward and northward velocity in m/s; the parameters ``"u"`` and ``"v"``.

    Notes
    -----
    States are ``(batch, ny, nx)``; time is in days. Steps of any length shift the phase of
    each wave exactly, except that the two-cell wave loses amplitude.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        spacing: tuple[float, float],
        *,
        u: float = 0.0,
        v: float = 0.0,
    ) -> None:
        super().__init__()
        ell, k = wavenumbers(shape, spacing)
        for name, value in (("ell", ell), ("k", k), ("u", u), ("v", v)):
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float64))
        self.shape = tuple(shape)

    ell: Tensor
    k: Tensor
    u: Tensor
    v: Tensor

    def _frequency(self, parameters: Parameters) -> Tensor:
        given = parameters or {}
        u, v = given.get("u", self.u), given.get("v", self.v)
        return KM_PER_DAY * (u * self.k + v * self.ell)

    def tendency(self, x: Tensor, parameters: Parameters = None) -> Tensor:
        """Rate of change of states ``(batch, ny, nx)``, per day."""
        slope = -1j * self._frequency(parameters) * torch.fft.rfft2(x)
        return torch.fft.irfft2(slope, s=self.shape)

    def forward(
        self, x: Tensor, dt: float, steps: int = 1, parameters: Parameters = None
    ) -> Tensor:
        """Return the states after ``steps`` times ``dt`` days, in a single step."""
        turned = torch.exp(-1j * (dt * steps) * self._frequency(parameters))
        return torch.fft.irfft2(turned * torch.fft.rfft2(x), s=self.shape)
