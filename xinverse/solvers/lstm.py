r"""The learned solver: a convolutional LSTM fed with the gradient of the cost.

.. math::

    g^{(k+1)} &= \mathrm{LSTM}[\alpha \nabla_x U_\Phi(x^{(k)}, y, \Omega), h^{(k)}, c^{(k)}], \\
    x^{(k+1)} &= x^{(k)} - \mathcal{H}(g^{(k+1)})

(equation 4 of Fablet, Drumetz and Rousseau 2020; the LSTM is convolutional,
Shi et al. 2015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xinverse.operators.base import Operator
from xinverse.solvers.base import SOLVERS, Solution, Solver

if TYPE_CHECKING:  # a solver takes any cost; only the type is named here
    from xinverse.variational import VariationalCost

__all__ = ["ConvLSTMCell", "LSTMSolver"]


class ConvLSTMCell(nn.Module):
    """Convolutional LSTM cell with 3 x 3 gates.

    Parameters
    ----------
    inputs : int
        Channels that come in.
    hidden : int
        Channels of the hidden state and of the cell.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(inputs + hidden, 4 * hidden, 3, padding=1)
        self.hidden = hidden

    def start(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Zero hidden state and cell for inputs like this one."""
        zero = like.new_zeros(len(like), self.hidden, *like.shape[2:])
        return zero, zero

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """One step: the new hidden state and cell."""
        h, c = state
        enter, forget, leave, new = self.gates(torch.cat([x, h], 1)).chunk(4, dim=1)
        c = torch.sigmoid(forget) * c + torch.sigmoid(enter) * torch.tanh(new)
        return torch.sigmoid(leave) * torch.tanh(c), c


@SOLVERS.register("lstm")
class LSTMSolver(Solver):
    r"""Fixed number of learned descent steps from a background.

    The two halves of the gradient enter side by side, so that the cell sees
    where the state disagrees with the observations and where with the prior.
    Because the cost is a sum over cells of a state that was normalised by its
    own scale, the gradient needs no further normalisation: a step depends
    neither on the size of the tile nor on the rest of the batch.

    Parameters
    ----------
    channels : int
        Time steps of the window.
    hidden : int
        Width of the cell.
    steps : int
        Iterations.
    """

    def __init__(self, channels: int, hidden: int = 32, steps: int = 8) -> None:
        super().__init__()
        self.cell = ConvLSTMCell(2 * channels, hidden)
        self.update = nn.Conv2d(hidden, channels, 3, padding=1)
        # Untrained, the solver returns the background.
        for parameter in self.update.parameters():
            nn.init.zeros_(parameter)
        self.gain = nn.Parameter(torch.ones(2))
        self.steps = steps

    def forward(
        self,
        cost: VariationalCost,
        x0: Tensor,
        y: Tensor,
        operator: Operator,
        *,
        sea: Tensor | None = None,
        steps: int | None = None,
        train: bool = False,
    ) -> Solution:
        """Descend the cost from a background.

        Parameters
        ----------
        cost : VariationalCost
            What is minimised.
        x0 : Tensor
            Background, ``(batch, time, y, x)``.
        y : Tensor
            Observation, zero where nothing was observed.
        operator : Operator
            H.
        sea : Tensor, optional
            Boolean, broadcasting to the state; land stays where the background is.
        steps : int, optional
            Iterations, where they are not those of the solver.
        train : bool
            Keep the graph of every step, so that prior and solver can be learned.

        Returns
        -------
        Solution
            After the last step.
        """
        x = x0
        h, c = self.cell.start(x)
        wet = None if sea is None else sea.to(x.dtype)

        count = self.steps if steps is None else steps
        with torch.set_grad_enabled(train):
            for _ in range(count):
                gradient = cost.gradient(x, y, operator, create_graph=train)
                stacked = torch.cat(
                    [self.gain[0] * gradient.observation, self.gain[1] * gradient.prior], 1
                )
                h, c = self.cell(stacked, (h, c))
                change = self.update(h)
                x = x - (change if wet is None else wet * change)
        return Solution(x, count)
