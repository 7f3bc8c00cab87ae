r"""The learned solver: a convolutional LSTM fed with the gradient of the cost.

.. math::

    g^{(k+1)} &= \mathrm{LSTM}[\alpha \nabla_x U_\Phi(x^{(k)}, y, \Omega), h^{(k)}, c^{(k)}], \\
    x^{(k+1)} &= x^{(k)} - \mathcal{H}(g^{(k+1)})

(equation 4 of Fablet, Drumetz and Rousseau 2020; the LSTM is convolutional,
Shi et al. 2015).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xinverse.convolution import Convolution, from_channels, to_channels
from xinverse.operators.base import Operator
from xinverse.solvers.base import SOLVERS, DescentSolver
from xinverse.variational import CostGradient

__all__ = ["ConvLSTMCell", "LSTMSolver"]

Carried = tuple[tuple[Tensor, Tensor], Tensor | None]


class ConvLSTMCell(nn.Module):
    """Convolutional LSTM cell with gates three cells wide.

    Parameters
    ----------
    inputs : int
        Input channels.
    hidden : int
        Channels of the hidden state and of the cell.
    rank : int
        Axes that are convolved.
    periodic : sequence of bool, optional
        Which of them are periodic. Default: none.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        rank: int = 2,
        periodic: Sequence[bool] | None = None,
    ) -> None:
        super().__init__()
        self.gates = Convolution(inputs + hidden, 4 * hidden, rank=rank, periodic=periodic)
        self.hidden = hidden

    def start(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Zero hidden state and cell for inputs like this one."""
        zero = like.new_zeros(len(like), self.hidden, *like.shape[2:])
        return zero, zero

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor], always: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """One step: the new hidden state and cell.

        Parameters
        ----------
        x : Tensor
            Input, ``(batch, inputs, *cells)``.
        state : tuple of Tensor
            Hidden state and cell.
        always : Tensor, optional
            Added to the gates, ``(batch, 4 * hidden, *cells)``: the part that is the
            same at every step, convolved once.
        """
        h, c = state
        gates = self.gates(torch.cat([x, h], 1))
        if always is not None:
            gates = gates + always
        # All four at once, though one is not used: with channels last in memory, a part of
        # them takes several times as long as the whole.
        enter, forget, leave, _ = torch.sigmoid(gates).chunk(4, 1)
        c = forget * c + enter * torch.tanh(gates[:, 3 * self.hidden :])
        return leave * torch.tanh(c), c


@SOLVERS.register("lstm")
class LSTMSolver(DescentSolver):
    r"""Fixed number of learned descent steps from a background.

    The two halves of the gradient are separate inputs, so the cell sees where the
    state disagrees with the observations and where with the prior. The cost is a
    sum over cells of a normalised state, so the gradient needs no further
    normalisation: a step depends neither on the size of the tile nor on the rest
    of the batch.

    Parameters
    ----------
    channels : int
        Length of the axis that ``channel`` names: the time steps of a window of
        maps, the components of a series.
    hidden : int
        Width of the cell.
    steps : int
        Iterations.
    rank : int
        Axes that are convolved: 2 for maps and images, 1 for series.
    channel : int or None
        Axis of the state that becomes the channels (the batch is axis 0). None for a
        single channel, as in images.
    periodic : sequence of bool, optional
        Which of the convolved axes are periodic. Default: none.
    gain : float
        Initial :math:`\alpha` of both halves of the gradient; learned.
    sees_state : bool
        Add the state to the inputs. The paper's cell sees the gradient alone.
    sees_coverage : bool
        Add :math:`H^\top 1` to the inputs: where the state is observed, and how
        precisely. It is one or zero for a mask, less for noisy observations. Without
        it, a gradient of zero may mean a perfect fit or no observation.
    """

    minimises = False

    def __init__(
        self,
        channels: int,
        hidden: int = 32,
        steps: int = 8,
        *,
        rank: int = 2,
        channel: int | None = 1,
        periodic: Sequence[bool] | None = None,
        gain: float = 1.0,
        sees_state: bool = False,
        sees_coverage: bool = False,
    ) -> None:
        super().__init__(steps)
        inputs = (3 if sees_state else 2) * channels
        self.cell = ConvLSTMCell(inputs, hidden, rank=rank, periodic=periodic)
        self.update = Convolution(hidden, channels, rank=rank, periodic=periodic)
        # Initialised last: the other weights are the same with it and without.
        self.coverage = (
            Convolution(channels, 4 * hidden, rank=rank, periodic=periodic)
            if sees_coverage
            else None
        )
        # An untrained solver returns the background, and adding the coverage to a trained
        # solver leaves its results as they were.
        for layer in (self.update, self.coverage):
            for parameter in () if layer is None else layer.parameters():
                nn.init.zeros_(parameter)
        self.gain = nn.Parameter(torch.full((2,), float(gain)))
        self.channel, self.sees_state = channel, sees_state

    def begin(self, x: Tensor, operator: Operator) -> Carried:
        """Hidden state and cell, zero, and what the coverage adds to the gates."""
        memory = self.cell.start(to_channels(x, self.channel))
        if self.coverage is None:
            return memory, None
        seen, adjoint = operator.linearise(x)
        covered = adjoint(torch.ones_like(seen)).detach()
        return memory, self.coverage(to_channels(covered, self.channel))

    def step(
        self,
        number: int,  # noqa: ARG002  the cell keeps its own count
        x: Tensor,
        gradient: CostGradient,
        carried: Carried,
    ) -> tuple[Tensor, Carried]:
        """What the cell makes of the gradient."""
        inputs = [
            gain * to_channels(half, self.channel)
            for gain, half in zip(
                self.gain, (gradient.observation, gradient.prior), strict=True
            )
        ]
        if self.sees_state:
            inputs.append(to_channels(x, self.channel))
        memory, always = carried
        memory = self.cell(torch.cat(inputs, 1), memory, always)
        return -from_channels(self.update(memory[0]), self.channel), (memory, always)
