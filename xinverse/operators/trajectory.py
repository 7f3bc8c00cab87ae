"""Strong-constraint 4DVar: the state is the start of a model's trajectory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import Tensor

from xinverse.dynamics.base import Dynamics
from xinverse.operators.base import OPERATORS, Operator

__all__ = ["Trajectory", "check_parameters"]


def check_parameters(model: Dynamics, names: Iterable[str]) -> None:
    """Require names of parameters that the model has."""
    numbers = [*model.named_buffers(), *model.named_parameters()]
    known = sorted({path.rpartition(".")[2] for path, _ in numbers})
    if strange := [name for name in names if name not in known]:
        raise ValueError(
            f"{type(model).__name__} has no parameter named {', '.join(strange)}: expected "
            f"some of {', '.join(known) or 'none'}."
        )


@OPERATORS.register("trajectory")
class Trajectory(Operator):
    r"""Trajectory of a model from its first state.

    .. math::

        H(x_0) = \left( x_0, \; \phi_\Delta(x_0), \; \phi_{2 \Delta}(x_0), \ldots \right)

    The model is assumed to be perfect, and only the first state is estimated:
    strong-constraint 4DVar (Le Dimet and Talagrand 1986). Named parameters are
    estimated with it:

    .. math:: H(x_0, \theta) = \left( x_0, \; \phi_\Delta(x_0; \theta), \ldots \right)

    Parameters
    ----------
    model : Dynamics
        :math:`\phi`.
    dt : float
        :math:`\Delta`, in the model's unit of time.
    times : int
        Number of times, the first included.
    substeps : int
        Time steps of the model in :math:`\Delta`.
    parameters : sequence of str
        Names of the model's parameters that are part of the state.
    shape : sequence of int, optional
        Shape of the model's state; required with parameters.

    Raises
    ------
    ValueError
        ``times`` or ``substeps`` below one; a parameter that the model does not have;
        parameters without a shape; when it is applied, a state with another number
        of values.

    Notes
    -----
    A state is ``(batch, *state)``, an observation ``(batch, time, *state)``.
    With p parameters a state is ``(batch, n + p)``: the n numbers of the first
    state, then the parameters in the order of their names. `unpack` separates them.
    """

    linear = False

    def __init__(
        self,
        model: Dynamics,
        dt: float,
        times: int,
        substeps: int = 1,
        parameters: Sequence[str] = (),
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if times < 1 or substeps < 1:
            raise ValueError(f"times={times}, substeps={substeps}: expected one at least.")
        check_parameters(model, parameters)
        if parameters and shape is None:
            raise ValueError(
                f"Parameters ({', '.join(parameters)}) without shape=: expected the shape of "
                "the model's state."
            )
        self.model = model
        self.dt, self.times, self.substeps = float(dt), times, substeps
        self.parameter_names = tuple(parameters)
        self.shape = None if shape is None else tuple(shape)

    def unpack(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Separate the first state and the parameters.

        Parameters
        ----------
        x : Tensor
            ``(batch, n + p)``, or ``(batch, *state)`` without parameters.

        Returns
        -------
        first : Tensor
            The state that the model starts from, ``(batch, *state)``.
        parameters : dict of str to Tensor
            Their values, ``(batch, 1, ...)``, of as many axes as the first state.
        """
        if not self.parameter_names or self.shape is None:
            return x, {}
        n, count = math.prod(self.shape), len(self.parameter_names)
        if x.ndim != 2 or x.shape[1] != n + count:
            raise ValueError(
                f"A state of shape {tuple(x.shape[1:])}: expected ({n + count},), the {n} "
                f"numbers of the first state and {count} parameters."
            )
        values = x[:, n:].reshape(-1, count, *(1,) * len(self.shape)).unbind(1)
        first = x[:, :n].reshape(-1, *self.shape)
        return first, dict(zip(self.parameter_names, values, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """States at all times, ``(batch, time, *state)``."""
        first, parameters = self.unpack(x)
        return self.model.trajectory(
            first, self.dt, self.times, self.substeps, parameters or None
        )
