"""A learned model with linear and bilinear terms."""

from __future__ import annotations

from torch import Tensor, nn

from xinverse.dynamics.base import DYNAMICS, Dynamics, Parameters

__all__ = ["BilinearODE"]


@DYNAMICS.register("bilinear")
class BilinearODE(Dynamics):
    r"""Learned tendency that is quadratic in the state, like that of fluids.

    .. math:: f(x) = L x + b + O \, (A x \odot B x)

    (bilinear residual network of Fablet, Ouala and Herzet 2018). It can represent any
    quadratic system with at most ``hidden`` products; `Lorenz63` has two. States are
    ``(batch, components)``.

    Parameters
    ----------
    components : int
        Length of a state.
    hidden : int
        Number of products: rows of A and B.
    scheme : {"rk4", "heun", "euler"}
        Time stepping scheme.

    Raises
    ------
    ValueError
        ``components`` or ``hidden`` is below 1.
    """

    def __init__(self, components: int, hidden: int, scheme: str = "rk4") -> None:
        super().__init__(scheme)
        if min(components, hidden) < 1:
            raise ValueError(f"components={components}, hidden={hidden}: expected 1 or more.")
        self.linear = nn.Linear(components, components)
        self.first = nn.Linear(components, hidden, bias=False)
        self.second = nn.Linear(components, hidden, bias=False)
        self.leave = nn.Linear(hidden, components, bias=False)

    def tendency(self, x: Tensor, parameters: Parameters = None) -> Tensor:
        """Rate of change of states ``(batch, components)``; it takes no parameters."""
        if parameters:
            raise ValueError(
                f"parameters {sorted(parameters)}: a learned model has none. "
                "Change its weights instead."
            )
        return self.linear(x) + self.leave(self.first(x) * self.second(x))
