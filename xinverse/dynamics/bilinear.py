r"""A learned model: linear, and products of linear forms of the state."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from xinverse.dynamics.base import DYNAMICS, Dynamics

__all__ = ["BilinearODE"]


@DYNAMICS.register("bilinear")
class BilinearODE(Dynamics):
    r"""Tendency of second degree in the state, as that of fluids is.

    .. math:: f(x) = L x + b + O \, (A x \odot B x)

    (bilinear residual network of Fablet, Ouala and Herzet 2018). It can be any
    quadratic system whose products it has the rows for: two for `Lorenz63`. States
    are ``(batch, components)``.

    Parameters
    ----------
    components : int
        Length of a state.
    hidden : int
        Products, the rows of A and B.
    scheme : {"rk4", "heun", "euler"}
        The time step.

    Raises
    ------
    ValueError
        If ``components`` or ``hidden`` is below 1.
    """

    def __init__(self, components: int, hidden: int, scheme: str = "rk4") -> None:
        super().__init__(scheme)
        if min(components, hidden) < 1:
            raise ValueError(f"components={components}, hidden={hidden}: expected 1 or more.")
        self.linear = nn.Linear(components, components)
        self.first = nn.Linear(components, hidden, bias=False)
        self.second = nn.Linear(components, hidden, bias=False)
        self.leave = nn.Linear(hidden, components, bias=False)

    def tendency(self, x: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Rate of change of states ``(batch, components)``; its weights are no parameters."""
        if parameters:
            raise ValueError(
                f"parameters {sorted(parameters)}: a learned model has none to replace; "
                "change its weights."
            )
        return self.linear(x) + self.leave(self.first(x) * self.second(x))
