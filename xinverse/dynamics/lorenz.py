"""The Lorenz systems of 1963 and 1996: cheap, chaotic test cases of data assimilation."""

from __future__ import annotations

import torch
from torch import Tensor

from xinverse.dynamics.base import DYNAMICS, Dynamics, Parameters

__all__ = ["Lorenz63", "Lorenz96"]


@DYNAMICS.register("lorenz-63")
class Lorenz63(Dynamics):
    r"""Convection between two plates, truncated to three modes.

    .. math::

        \dot x_1 = \sigma (x_2 - x_1), \quad
        \dot x_2 = x_1 (\rho - x_3) - x_2, \quad
        \dot x_3 = x_1 x_2 - \beta x_3

    (Lorenz 1963, equations 25 to 27). States are ``(batch, 3)``.

    Parameters
    ----------
    sigma, rho, beta : float
        Prandtl number, Rayleigh number relative to its critical value, aspect ratio.
    scheme : {"rk4", "heun", "euler"}
        Time stepping scheme.
    """

    def __init__(
        self, sigma: float = 10.0, rho: float = 28.0, beta: float = 8 / 3, scheme: str = "rk4"
    ) -> None:
        super().__init__(scheme)
        for name, value in (("sigma", sigma), ("rho", rho), ("beta", beta)):
            self.register_buffer(name, torch.tensor(float(value), dtype=torch.float64))

    sigma: Tensor
    rho: Tensor
    beta: Tensor

    def tendency(self, x: Tensor, parameters: Parameters = None) -> Tensor:
        """Rate of change of states ``(batch, 3)``."""
        own = {"sigma": self.sigma, "rho": self.rho, "beta": self.beta}
        sigma, rho, beta = {**own, **(parameters or {})}.values()
        first, second, third = x.unbind(-1)
        if parameters:  # drop the axis of the components
            sigma, rho, beta = (v[..., 0] if v.ndim > 1 else v for v in (sigma, rho, beta))
        return torch.stack(
            [
                sigma * (second - first),
                first * (rho - third) - second,
                first * second - beta * third,
            ],
            -1,
        )


@DYNAMICS.register("lorenz-96")
class Lorenz96(Dynamics):
    r"""A quantity on a latitude circle, advected, damped and forced.

    .. math:: \dot x_i = (x_{i+1} - x_{i-2}) \, x_{i-1} - x_i + F

    with periodic indices (Lorenz 1996). States are ``(batch, n)`` with n of at least 4.

    Parameters
    ----------
    forcing : float
        F; the system is chaotic for 8.
    scheme : {"rk4", "heun", "euler"}
        Time stepping scheme.
    """

    def __init__(self, forcing: float = 8.0, scheme: str = "rk4") -> None:
        super().__init__(scheme)
        self.register_buffer("forcing", torch.tensor(float(forcing), dtype=torch.float64))

    forcing: Tensor

    def tendency(self, x: Tensor, parameters: Parameters = None) -> Tensor:
        """Rate of change of states ``(batch, n)``."""
        forcing = (parameters or {}).get("forcing", self.forcing)
        ahead, behind, far = x.roll(-1, -1), x.roll(1, -1), x.roll(2, -1)
        return (ahead - far) * behind - x + forcing
