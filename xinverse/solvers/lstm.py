r"""The learned solver: a convolutional LSTM fed with the gradient of the cost.

.. math::

    g^{(k+1)} &= \mathrm{LSTM}[\alpha \nabla_x U_\Phi(x^{(k)}, y, \Omega), h^{(k)}, c^{(k)}], \\
    x^{(k+1)} &= x^{(k)} - \mathcal{H}(g^{(k+1)})

(equation 4 of Fablet, Drumetz and Rousseau 2020; the LSTM is convolutional,
Shi et al. 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xinverse.convolution import Convolution, from_channels, to_channels
from xinverse.solvers.base import SOLVERS, DescentSolver

if TYPE_CHECKING:  # a solver takes any cost; only the type is named here
    from xinverse.operators.base import Operator
    from xinverse.variational import CostGradient

__all__ = ["ConvLSTMCell", "LSTMSolver"]

Carried = tuple[tuple[Tensor, Tensor], Tensor | None]


class ConvLSTMCell(nn.Module):
    """Convolutional LSTM cell with gates three cells wide.

    Parameters
    ----------
    inputs : int
        Channels that come in.
    hidden : int
        Channels of the hidden state and of the cell.
    rank : int
        Axes that are convolved.
    periodic : sequence of bool, optional
        Which of them close on themselves.
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
            What comes in.
        state : tuple of Tensor
            Hidden state and cell.
        always : Tensor, optional
            Added to the gates, ``(batch, 4 * hidden, *cells)``: what does not change
            from step to step need be convolved only once.
        """
        h, c = state
        gates = self.gates(torch.cat([x, h], 1))
        if always is not None:
            gates = gates + always
        # All at once, though one of the four is not used: where channels lie last in
        # memory, parts of them take several times as long as the whole.
        enter, forget, leave, _ = torch.sigmoid(gates).chunk(4, 1)
        c = forget * c + enter * torch.tanh(gates[:, 3 * self.hidden :])
        return leave * torch.tanh(c), c


@SOLVERS.register("lstm")
class LSTMSolver(DescentSolver):
    r"""Fixed number of learned descent steps from a background.

    The two halves of the gradient enter side by side, so that the cell sees
    where the state disagrees with the observations and where with the prior.
    Because the cost is a sum over cells of a state that was normalised by its
    own scale, the gradient needs no further normalisation: a step depends
    neither on the size of the tile nor on the rest of the batch.

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
        Axis of the state that the convolutions take as channels (the batch's is
        0); None where they see a single channel, as of images.
    periodic : sequence of bool, optional
        Which of the convolved axes close on themselves.
    gain : float
        :math:`\alpha`, at first, of both halves of the gradient; learned.
    sees_state : bool
        Let the cell see the state too. The paper's cell sees the gradient alone, and so
        knows of a state that fits its observations only what the prior makes of it.
    sees_coverage : bool
        Let it see where the state is observed, and how precisely: :math:`H^\top 1`, one
        or zero for a mask, less where it is weighed by noise. A gradient of zero says
        that a state fits, or that nothing was seen.
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
        # Drawn last: the other weights are the same with it and without.
        self.coverage = (
            Convolution(channels, 4 * hidden, rank=rank, periodic=periodic)
            if sees_coverage
            else None
        )
        # Untrained, the solver returns the background, and one that is trained goes on as it
        # did when it begins to see the coverage.
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
