"""Base class of models of dynamics: a tendency, and the flow that integrates it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from xinverse.dynamics.steppers import STEPPERS
from xinverse.errors import UnknownNameError
from xinverse.registry import Registry

__all__ = ["DYNAMICS", "Dynamics", "Parameters", "Rescaled"]

# Replace those of a model: one value per element of the batch, broadcasting with its state.
Parameters = Mapping[str, Tensor] | None


class Dynamics(nn.Module):
    r"""An autonomous system :math:`dx/dt = f(x; \theta)`, differentiable and batched.

    A subclass defines ``tendency``, and keeps its numbers as buffers, so that the model can
    move to the precision and device of its states.

    Parameters
    ----------
    scheme : {"rk4", "heun", "euler"}
        Time stepping scheme.
    """

    def __init__(self, scheme: str = "rk4") -> None:
        super().__init__()
        if scheme not in STEPPERS:
            raise UnknownNameError("time step", scheme, STEPPERS)
        self.scheme = scheme

    def tendency(self, x: Tensor, parameters: Parameters = None) -> Tensor:
        r"""Rate of change :math:`f(x; \theta)` of states ``(batch, *state)``.

        Parameters
        ----------
        x : Tensor
            States.
        parameters : mapping of str to Tensor, optional
            Replace the parameters of the model: one value per element of the batch,
            broadcasting with ``x``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define tendency(x).")

    def forward(
        self, x: Tensor, dt: float, steps: int = 1, parameters: Parameters = None
    ) -> Tensor:
        """Return the states after ``steps`` time steps of ``dt``."""
        step = STEPPERS[self.scheme]
        for _ in range(steps):
            x = step(lambda state: self.tendency(state, parameters), x, dt)
        return x

    def trajectory(
        self, x: Tensor, dt: float, times: int, substeps: int = 1, parameters: Parameters = None
    ) -> Tensor:
        """Return the states at ``times`` times, ``dt`` apart, starting with ``x``.

        Returns
        -------
        Tensor
            ``(batch, time, *state)``.
        """
        states = [x]
        for _ in range(times - 1):
            states.append(self(states[-1], dt / substeps, substeps, parameters))
        return torch.stack(states, 1)


class Rescaled(Dynamics):
    r"""A model of normalised states, :math:`z = (x - m) / s`.

    .. math:: dz/dt = f(m + s z) / s

    Parameters
    ----------
    model : Dynamics
        Model of the states x.
    mean, scale : float or Tensor
        :math:`m` and :math:`s`, broadcasting to a state.
    """

    def __init__(
        self, model: Dynamics, mean: float | Tensor = 0.0, scale: float | Tensor = 1.0
    ) -> None:
        super().__init__(model.scheme)
        self.model = model
        for name, given in (("mean", mean), ("scale", scale)):
            precision = given.dtype if isinstance(given, Tensor) else torch.float64
            exact = torch.as_tensor(given, dtype=precision)
            self.register_buffer(name, exact)

    mean: Tensor
    scale: Tensor

    def tendency(self, x: Tensor, parameters: Parameters = None) -> Tensor:
        """Rate of change of the normalised states."""
        return self.model.tendency(self.mean + self.scale * x, parameters) / self.scale

    def forward(
        self, x: Tensor, dt: float, steps: int = 1, parameters: Parameters = None
    ) -> Tensor:
        """Return the states after ``steps`` steps of the wrapped model's own scheme."""
        flown: Tensor = self.model(self.mean + self.scale * x, dt, steps, parameters)
        return (flown - self.mean) / self.scale


DYNAMICS: Registry[type[Dynamics]] = Registry("model of dynamics")
