"""Prior, cost and solver as one module, whichever they are, learned together or in turn."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from xinverse.operators.base import Operator
from xinverse.priors.base import Prior, ProjectionPrior
from xinverse.solvers.base import Mode, VariationalSolver
from xinverse.variational import Inversion, VariationalCost

__all__ = ["VariationalNet"]


class VariationalNet(nn.Module):
    r"""The end-to-end reconstruction :math:`\Psi_{\Phi, \Gamma}(x^{(0)}, y, \Omega)`.

    Any prior goes with any solver (section 3.2 of Fablet, Drumetz and Rousseau
    2020). *Joint* learning trains both, *sequential* learning the solver alone.

    Parameters
    ----------
    prior : Prior
        :math:`\Phi` or U.
    solver : VariationalSolver
        :math:`\Gamma`.
    observation_weight, prior_weight : float
        :math:`\lambda_1` and :math:`\lambda_2`.
    joint : bool
        Learn prior and weights with the solver. Otherwise they stay fixed.

    Attributes
    ----------
    cost : VariationalCost
    solver : VariationalSolver
    """

    def __init__(
        self,
        prior: Prior,
        solver: VariationalSolver,
        *,
        observation_weight: float = 1.0,
        prior_weight: float = 1.0,
        joint: bool = True,
    ) -> None:
        super().__init__()
        self.cost = VariationalCost(prior, observation_weight, prior_weight, learned=joint)
        self.solver = solver
        if not joint:
            self.cost.requires_grad_(False)

    @property
    def steps(self) -> int:
        """Iterations of the solver."""
        return self.solver.steps

    def forward(
        self,
        x0: Tensor,
        y: Tensor,
        operator: Operator,
        *,
        sea: Tensor | None = None,
        steps: int | None = None,
        mode: Mode = "iterate",
    ) -> Tensor:
        """Reconstruct states.

        Parameters
        ----------
        x0 : Tensor
            Background, ``(batch, *state)``, normalised.
        y : Tensor
            Observations, zero where nothing was observed.
        operator : Operator
            H.
        sea : Tensor, optional
            Boolean, broadcasting to the state.
        steps : int, optional
            Solver iterations. Default: those of the solver.
        mode : {"iterate", "unroll", "implicit"}
            Which graph is kept: none, that of every step, or that of the minimum.
        """
        inversion = Inversion(self.cost, y, operator, sea)
        solution = self.solver(inversion, x0, steps=steps, mode=mode)
        return cast(Tensor, solution.state)

    def project(self, x: Tensor) -> Tensor:
        r"""The prior's projection :math:`\Phi(x)`."""
        return cast(ProjectionPrior, self.cost.prior).project(x)
