r"""Alternate between what was observed and what the prior makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from xinverse.operators.base import Operator
from xinverse.solvers.base import (
    SOLVERS,
    Callback,
    Solution,
    VariationalSolver,
    norm,
)

if TYPE_CHECKING:
    from xinverse.variational import VariationalCost

__all__ = ["FixedPoint", "anderson"]

Map = Callable[[Tensor], Tensor]

# Iterations of the linear fixed point of a backward pass, at most.
MAX_ITERATIONS = 1000


@SOLVERS.register("fixed-point")
class FixedPoint(VariationalSolver):
    r"""Put the observations in, project, and again.

    .. math:: x^{(k+1)} = \Phi\left( x^{(k)} + \omega H^\top (y - H x^{(k)}) \right)

    (Fablet, Drumetz and Rousseau 2019 and 2020). With a mask and
    :math:`\omega = 1` observed cells are replaced by the observations and the
    state is projected: DINEOF where :math:`\Phi` keeps a few EOFs (Beckers and
    Rixen 2003). One iteration from zero is :math:`\Phi(y)`. It has no step to
    choose and converges where :math:`\Phi` brings states together; what it
    converges to is a state that agrees with the observations as far as the prior
    lets it, not the minimum of the cost, whose weights play no part.

    Parameters
    ----------
    steps : int
        Iterations, at most.
    tolerance : float
        An element stops where an iteration changes it by no more than this share
        of its length; zero goes on while anything changes.
    omega : float
        :math:`\omega`, from 0 to 2 over the largest eigenvalue of
        :math:`H^\top H`; 1 for a mask.
    anderson : int
        Iterations that are combined to extrapolate (Anderson 1965; Walker and Ni
        2011), for each element by itself; none where it is zero.

    Notes
    -----
    The history is the largest relative change of the batch. Implicitly, the
    solution is differentiated as the fixed point that it is (a deep equilibrium,
    Bai, Kolter and Koltun 2019), by an iteration of the same kind.
    """

    minimises = False

    def __init__(
        self,
        steps: int = 100,
        tolerance: float = 0.0,
        *,
        omega: float = 1.0,
        anderson: int = 0,
    ) -> None:
        super().__init__(steps, tolerance)
        if not omega > 0:
            raise ValueError(f"omega={omega}: expected a positive number.")
        if anderson < 0:
            raise ValueError(f"anderson={anderson}: expected a number of iterations, or 0.")
        self.omega = float(omega)
        self.anderson = anderson

    def _update(
        self,
        cost: VariationalCost,
        y: Tensor,
        operator: Operator,
        like: Tensor,
        sea: Tensor | None,
    ) -> Map:
        """One iteration, of a state; land stays where it is in the one given."""
        project = getattr(cost.prior, "project", None)
        if project is None:
            raise ValueError(
                f"{type(cost.prior).__name__} has no projection, and a fixed point expects a "
                "prior with `project`. Use a solver that descends the cost, such as 'lbfgs'."
            )

        def update(x: Tensor) -> Tensor:
            seen, adjoint = operator.linearise(x)
            filled = x + self.omega * adjoint(y - seen)
            projected: Tensor = project(filled)
            return projected if sea is None else torch.where(sea, projected, like)

        return update

    def run(
        self,
        cost: VariationalCost,
        x0: Tensor,
        y: Tensor,
        operator: Operator,
        *,
        sea: Tensor | None,
        steps: int,
        unroll: bool,  # noqa: ARG002  nothing here keeps a graph unless grad mode is on
        callback: Callback | None,
    ) -> Solution:
        """Iterate, with the graph of every step where grad mode is on."""

        def watch(iteration: int, x: Tensor) -> None:
            if callback is not None:
                with torch.no_grad():
                    callback(iteration, x.detach(), cost(x, y, operator))

        update = self._update(cost, y, operator, x0, sea)
        return anderson(update, x0, self.anderson, steps, self.tolerance, watch)

    def differentiate(
        self,
        cost: VariationalCost,
        x0: Tensor,
        y: Tensor,
        operator: Operator,
        *,
        sea: Tensor | None,
        steps: int,
        callback: Callback | None,
    ) -> Solution:
        r"""Differentiate :math:`x^\star = G(x^\star)`: backward, :math:`v = g + J^\top v`."""
        from xinverse.solvers.implicit import attach, linear_tolerance

        update = self._update(cost, y, operator, x0, sea)

        def solve(transposed: Map, g: Tensor) -> Solution:
            # The equation is x - G(x) = 0, whose transposed derivative is v - J^T v.
            return anderson(
                lambda v: g + v - transposed(v),
                g,
                max(self.anderson, 5),
                MAX_ITERATIONS,
                linear_tolerance(g),
            )

        with torch.no_grad():
            solution = self.run(
                cost, x0, y, operator, sea=sea, steps=steps, unroll=False, callback=callback
            )
        if torch.is_grad_enabled():
            solution.state = attach(solution.state, lambda x: x - update(x), solve, x0, sea)
        return solution


def anderson(
    update: Map,
    x0: Tensor,
    depth: int,
    steps: int,
    tolerance: float,
    callback: Callable[[int, Tensor], object] | None = None,
) -> Solution:
    r"""Find :math:`x = G(x)`, each element of the batch by itself.

    .. math::

        x^{(k+1)} = G(x^{(k)}) - \sum_j \gamma_j \, \Delta G_j, \qquad
        \gamma = \arg\min \Big\| f^{(k)} - \sum_j \gamma_j \, \Delta f_j \Big\|^2

    with :math:`f = G(x) - x` and :math:`\Delta` the changes between the last
    iterations (Walker and Ni 2011, section 2); plain iterations where ``depth``
    is zero. The least squares are regularised.

    Parameters
    ----------
    update : callable
        G, of states ``(batch, *state)``.
    x0 : Tensor
        Where to start.
    depth : int
        Changes that are combined, at most.
    steps : int
        Evaluations of G, at most.
    tolerance : float
        An element is left where :math:`\| f \| \le` ``tolerance``
        :math:`\| G(x) \|`; zero goes on while anything changes.
    callback : callable, optional
        Called as ``callback(iteration, x)`` before every iteration and after the last.

    Returns
    -------
    Solution
        With the largest relative change as history.
    """
    x = x0
    active = torch.ones_like(norm(x0), dtype=torch.bool)
    pairs: list[tuple[Tensor, Tensor]] = []
    last: tuple[Tensor, Tensor] | None = None
    history: list[Tensor] = []
    taken = 0
    while taken < steps and bool(active.any()):
        if callback is not None:
            callback(taken, x)
        image = update(x)
        left = image - x
        if depth and last is not None:
            pairs = [*pairs, (image - last[0], left - last[1])][-depth:]
        last = (image, left)
        size, length = norm(left.detach()), norm(image.detach())
        moving = ~(size <= tolerance * length)  # nor is NaN at rest
        # An element that is done takes its last image as it is, and no more.
        extrapolated = torch.where(moving, _extrapolate(image, left, pairs), image)
        x = torch.where(active, extrapolated, x)
        change = torch.where(active, size / torch.where(length > 0, length, 1.0), 0.0)
        history.append(change.max() if change.numel() else change.new_zeros(()))
        active = active & moving
        taken += 1
    if callback is not None:
        callback(taken, x)
    converged = tolerance == 0 or not bool(active.any())
    return Solution(x, taken, converged, torch.stack(history).tolist() if history else [])


def _extrapolate(image: Tensor, left: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Combine the last images so that what is left of their changes is least."""
    if not pairs:
        return image
    images = torch.stack([pair[0].flatten(1) for pair in pairs], 1)
    changes = torch.stack([pair[1].flatten(1) for pair in pairs], 1)
    # Each of length one, or the first and longest would hide what the last ones tell.
    lengths = changes.detach().norm(dim=2, keepdim=True)
    lengths = torch.where(lengths > 0, lengths, 1.0)
    images, changes = images / lengths, changes / lengths
    # Above the rounding of the products, far below what they tell.
    ridge = torch.eye(len(pairs), dtype=changes.dtype, device=changes.device)
    ridge = torch.finfo(changes.dtype).eps ** 0.75 * ridge
    gram, right = changes @ changes.mT + ridge, changes @ left.flatten(1)[..., None]
    weights = torch.linalg.solve(gram, right)
    return image - (weights.mT @ images).reshape(image.shape)
