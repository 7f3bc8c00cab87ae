r"""Weak-constraint 4DVar as an operator: a model driven by its own errors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from xinverse.dynamics.base import Dynamics
from xinverse.operators.base import OPERATORS, Operator
from xinverse.operators.trajectory import check_parameters

__all__ = ["DrivenTrajectory", "SpectralColour"]


class SpectralColour(nn.Module):
    r"""Square root of a Gaussian covariance on a doubly periodic grid.

    .. math:: C C^\top = \sigma^2 \exp(-r^2 / L^2)

    Parameters
    ----------
    shape : tuple of int
        Cells along y and x.
    spacing : tuple of float
        Their sides, in km.
    length_scale : float
        L, in km.
    deviation : float
        :math:`\sigma`, in the field's units.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        spacing: tuple[float, float],
        length_scale: float,
        deviation: float,
    ) -> None:
        super().__init__()
        ell = (
            2 * math.pi * torch.fft.fftfreq(shape[0], spacing[0], dtype=torch.float64)[:, None]
        )
        k = 2 * math.pi * torch.fft.fftfreq(shape[1], spacing[1], dtype=torch.float64)[None]
        power = torch.exp(-0.25 * length_scale**2 * (ell**2 + k**2))
        gain = deviation * (power / power.mean()).sqrt()
        self.register_buffer("gain", gain[:, : shape[1] // 2 + 1].contiguous())
        self.shape = tuple(shape)

    gain: Tensor

    def forward(self, v: Tensor) -> Tensor:
        """Colour white noise ``(batch, ..., ny, nx)``."""
        return torch.fft.irfft2(self.gain * torch.fft.rfft2(v), s=self.shape)


@OPERATORS.register("driven-trajectory")
class DrivenTrajectory(Operator):
    r"""Trajectory of a model from white control variables.

    .. math::

        x_0 = C v_0, \qquad
        x_{t+1} = \rho \, \phi_\Delta(x_t; \theta) + C \sum_s F_{ts} v_{s+1}

    With control variables v of unit variance this is the prior of
    weak-constraint 4DVar in its forcing formulation (Trémolet 2006),
    preconditioned by its covariances: :math:`C C^\top` in space, and
    :math:`F F^\top = \gamma^2 e^{-(t - s)^2 / \tau^2}` in time. The state forgets
    past errors at the rate :math:`\rho = e^{-\Delta / T}`. The factor
    :math:`\gamma` makes the variance of a state at rest (:math:`\phi = 1`) tend to
    that of :math:`x_0`. The limit of large T is the strong constraint.

    Parameters
    ----------
    model : Dynamics
        :math:`\phi`, of states ``(batch, ny, nx)``.
    colour : Module
        C.
    dt : float
        :math:`\Delta`, in the model's time.
    times : int
        Length of the trajectory.
    substeps : int
        Time steps of the model in :math:`\Delta`.
    memory : float
        T, in the model's time; infinite for the strong constraint, with
        :math:`v_0` as only control.
    error_scale : float
        :math:`\tau`, in the model's time; zero for errors that are white.
    parameters : mapping of str to tuple of float, optional
        Parameters of the model that are estimated with the state: prior mean and
        standard deviation of each.

    Raises
    ------
    ValueError
        ``times`` or ``substeps`` below one; a memory or an error scale that is not
        positive; a parameter that the model does not have; when it is applied, a
        control vector of another length.

    Notes
    -----
    The state is a vector ``(batch, n)``: the control fields one after another,
    then one number for each parameter. The trajectory is ``(batch, time, ny,
    nx)``. Each step is computed again for its derivative, so memory grows with the
    number of times, not of time steps.
    """

    linear = False

    def __init__(
        self,
        model: Dynamics,
        colour: SpectralColour,
        dt: float,
        times: int,
        *,
        substeps: int = 1,
        memory: float = math.inf,
        error_scale: float = 0.0,
        parameters: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        super().__init__()
        if times < 1 or substeps < 1:
            raise ValueError(f"times={times}, substeps={substeps}: expected one at least.")
        if not memory > 0:
            raise ValueError(f"memory={memory:g}: expected more than 0.")
        if not error_scale >= 0:
            raise ValueError(f"error_scale={error_scale:g}: expected 0 or more.")
        self.model, self.colour = model, colour
        self.dt, self.times, self.substeps = float(dt), times, substeps
        self.kept = math.exp(-dt / memory)
        self.weak = not math.isinf(memory) and times > 1  # a single map has no errors
        self.estimated = dict(parameters or {})
        check_parameters(model, self.estimated)
        if self.weak:
            self.register_buffer("errors", _error_factor(times, dt, self.kept, error_scale))

    errors: Tensor

    @property
    def size(self) -> int:
        """Length of the control vector."""
        ny, nx = self.colour.shape
        return (self.times if self.weak else 1) * ny * nx + len(self.estimated)

    def parameters_of(self, control: Tensor) -> dict[str, Tensor]:
        """Values of the estimated parameters, each ``(batch, 1, 1)``."""
        if not self.estimated:
            return {}
        numbers = control[:, -len(self.estimated) :].unbind(1)
        return {
            name: (mean + deviation * number)[:, None, None]
            for (name, (mean, deviation)), number in zip(
                self.estimated.items(), numbers, strict=True
            )
        }

    def forward(self, x: Tensor) -> Tensor:
        """Trajectory ``(batch, time, ny, nx)`` of control vectors ``(batch, n)``."""
        ny, nx = self.colour.shape
        if x.ndim != 2 or x.shape[1] != self.size:
            raise ValueError(
                f"A control of shape {tuple(x.shape[1:])}: expected ({self.size},), the fields "
                f"of {ny} x {nx} cells and {len(self.estimated)} parameters."
            )
        values = self.parameters_of(x)
        controls = x[:, : self.size - len(self.estimated)].reshape(len(x), -1, ny, nx)
        start = self.colour(controls[:, 0])
        forcing = None
        if self.weak:
            forcing = self.colour(torch.einsum("ts,bsyx->btyx", self.errors, controls[:, 1:]))

        def flow(state: Tensor) -> Tensor:
            return self.model(state, self.dt / self.substeps, self.substeps, values)

        states = [start]
        for t in range(self.times - 1):
            state = self.kept * checkpoint(flow, states[-1], use_reentrant=False)
            states.append(state if forcing is None else state + forcing[:, t])
        return torch.stack(states, 1)


def _error_factor(times: int, dt: float, kept: float, error_scale: float) -> Tensor:
    """Symmetric square root F of the covariance in time of a model's errors."""
    lag = dt * torch.arange(times - 1, dtype=torch.float64)
    if error_scale:
        covariance = torch.exp(-(((lag[:, None] - lag) / error_scale) ** 2))
        # Accumulated variance of the errors far from the start: sum of kept^(j+k) c(j-k).
        reach = math.ceil(6 * error_scale / dt)
        far = torch.arange(-reach, reach + 1, dtype=torch.float64)
        piled = (kept ** far.abs() * torch.exp(-((dt * far / error_scale) ** 2))).sum()
        piled = piled / (1 - kept**2)
        values, vectors = torch.linalg.eigh(covariance / piled)
        return vectors * values.clamp(min=0).sqrt() @ vectors.T
    return math.sqrt(1 - kept**2) * torch.eye(times - 1, dtype=torch.float64)
