r"""Explicit time steps of :math:`dx/dt = f(x)`.

========== ===== =============================================================
name       order
========== ===== =============================================================
``euler``  1     :math:`x + \Delta f(x)`
``heun``   2     mean of the slopes at both ends
``rk4``    4     the classical scheme of Runge and Kutta
========== ===== =============================================================
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["ORDERS", "STEPPERS", "Tendency", "euler", "heun", "rk4"]

Tendency = Callable[[Tensor], Tensor]


def euler(f: Tendency, x: Tensor, dt: float) -> Tensor:
    """One step, first order."""
    return x + dt * f(x)


def heun(f: Tendency, x: Tensor, dt: float) -> Tensor:
    """One step, second order (Heun 1900)."""
    slope = f(x)
    return x + 0.5 * dt * (slope + f(x + dt * slope))


def rk4(f: Tendency, x: Tensor, dt: float) -> Tensor:
    """One step, fourth order (Kutta 1901)."""
    a = f(x)
    b = f(x + 0.5 * dt * a)
    c = f(x + 0.5 * dt * b)
    d = f(x + dt * c)
    return x + dt / 6 * (a + 2 * b + 2 * c + d)


STEPPERS: dict[str, Callable[[Tendency, Tensor, float], Tensor]] = {
    "euler": euler,
    "heun": heun,
    "rk4": rk4,
}
ORDERS = {"euler": 1, "heun": 2, "rk4": 4}
