r"""Alternate between inserting the observations and projecting on the prior."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xinverse.linear_systems import Solution, norm
from xinverse.solvers.base import SOLVERS, Callback, VariationalSolver
from xinverse.solvers.implicit import attach, linear_tolerance
from xinverse.variational import Inversion

__all__ = ["FixedPoint", "anderson"]

Map = Callable[[Tensor], Tensor]

# Maximum number of iterations of the linear fixed point of a backward pass.
MAX_ITERATIONS = 1000


@SOLVERS.register("fixed-point")
class FixedPoint(VariationalSolver):
    r"""Insert the observations, project, repeat.

    .. math:: x^{(k+1)} = \Phi\left( x^{(k)} + \omega H^\top (y - H x^{(k)}) \right)

    (Fablet, Drumetz and Rousseau 2019 and 2020). With a mask and
    :math:`\omega = 1` observed cells are replaced by the observations and the
    state is projected: this is DINEOF if :math:`\Phi` keeps a few EOFs (Beckers
    and Rixen 2003). One iteration from zero is :math:`\Phi(y)`. It has no step to
    choose and converges if :math:`\Phi` is a contraction. The result agrees with
    the observations as far as the prior allows; it is not the minimum of the
    cost, and does not depend on the weights of the cost.

    Parameters
    ----------
    steps : int
        Maximum number of iterations.
    tolerance : float
        An element stops when an iteration changes it by no more than this share
        of its norm; zero continues while anything changes.
    omega : float
        :math:`\omega`, from 0 to 2 over the largest eigenvalue of
        :math:`H^\top H`; 1 for a mask.
    anderson : int
        Number of iterations that are combined to extrapolate, for each element by
        itself (Anderson 1965; Walker and Ni 2011); zero for plain iterations.

    Notes
    -----
    The history is the largest relative change of the batch. The mode
    ``"implicit"`` differentiates the fixed point (a deep equilibrium, Bai, Kolter
    and Koltun 2019) by an iteration of the same kind.
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

    def _update(self, inversion: Inversion, x0: Tensor) -> Map:
        """One iteration of a state; land keeps the background."""
        prior, operator, sea = inversion.cost.prior, inversion.operator, inversion.sea
        project = getattr(prior, "project", None)
        if project is None:
            raise ValueError(
                f"{type(prior).__name__} has no projection, and a fixed point expects a "
                "prior with `project`. Use a solver that descends the cost, such as 'lbfgs'."
            )

        def update(x: Tensor) -> Tensor:
            seen, adjoint = operator.linearise(x)
            filled = x + self.omega * adjoint(inversion.y - seen)
            projected: Tensor = project(filled)
            return projected if sea is None else torch.where(sea, projected, x0)

        return update

    def run(
        self,
        inversion: Inversion,
        x0: Tensor,
        *,
        steps: int,
        unroll: bool,  # noqa: ARG002  grad mode alone decides
        callback: Callback | None,
    ) -> Solution:
        """Iterate, keeping the graph of every step if grad mode is on."""

        def watch(iteration: int, x: Tensor) -> None:
            if callback is not None:
                with torch.no_grad():
                    callback(iteration, x.detach(), inversion.value(x))

        update = self._update(inversion, x0)
        return anderson(update, x0, self.anderson, steps, self.tolerance, watch)

    def differentiate(
        self,
        inversion: Inversion,
        x0: Tensor,
        *,
        steps: int,
        callback: Callback | None,
    ) -> Solution:
        r"""Differentiate :math:`x^\star = G(x^\star)`: backward, :math:`v = g + J^\top v`."""
        update = self._update(inversion, x0)

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
            solution = self.run(inversion, x0, steps=steps, unroll=False, callback=callback)
        if torch.is_grad_enabled():
            solution.state = attach(
                inversion, solution.state, lambda x: x - update(x), solve, x0
            )
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
    iterations (Walker and Ni 2011, section 2); plain iterations if ``depth`` is
    zero. The least squares are regularised.

    Parameters
    ----------
    update : callable
        G, of states ``(batch, *state)``.
    x0 : Tensor
        Where to start.
    depth : int
        Maximum number of changes that are combined.
    steps : int
        Maximum number of evaluations of G.
    tolerance : float
        An element stops when :math:`\| f \| \le` ``tolerance``
        :math:`\| G(x) \|`; zero continues while anything changes.
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
        moving = ~(size <= tolerance * length)  # NaN has not converged either
        # An element that has converged takes its last image, and stops.
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
    # Each of length one, or the first and longest would dominate.
    lengths = changes.detach().norm(dim=2, keepdim=True)
    lengths = torch.where(lengths > 0, lengths, 1.0)
    images, changes = images / lengths, changes / lengths
    # Above the rounding of the products, far below their values.
    ridge = torch.eye(len(pairs), dtype=changes.dtype, device=changes.device)
    ridge = torch.finfo(changes.dtype).eps ** 0.75 * ridge
    gram, right = changes @ changes.mT + ridge, changes @ left.flatten(1)[..., None]
    weights = torch.linalg.solve(gram, right)
    return image - (weights.mT @ images).reshape(image.shape)
