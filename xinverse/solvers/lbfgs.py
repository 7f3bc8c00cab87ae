r"""A quasi-Newton method that remembers a few steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from xinverse.linear_systems import Solution, dot, norm
from xinverse.solvers.base import SOLVERS, Callback, VariationalSolver, means
from xinverse.variational import Inversion

__all__ = ["LBFGS"]

# Constants of the weak Wolfe conditions: sufficient decrease and curvature (Nocedal and
# Wright 2006, section 3.1, for quasi-Newton directions).
DECREASE, CURVATURE = 1e-4, 0.9
TRIALS = 30

# A shorter step is given up if the cost would change by rounding only.
SHORT = 2**-5

# An element stops after this many iterations without a lower cost: the rest is rounding.
PATIENCE = 20


class Point(NamedTuple):
    """A state, its cost, shaped to broadcast, and its gradient, zero on land."""

    x: Tensor
    value: Tensor
    gradient: Tensor


Evaluate = Callable[[Tensor], Point]


@SOLVERS.register("lbfgs")
class LBFGS(VariationalSolver):
    r"""Limited-memory BFGS, every element of the batch with a memory of its own.

    .. math:: x^{(k+1)} = x^{(k)} - \alpha_k B_k \nabla_x U(x^{(k)})

    with :math:`B_k` the BFGS approximation of the inverse Hessian from the last
    few changes of state and gradient, applied by the two-loop recursion (Liu
    and Nocedal 1989). The step :math:`\alpha_k` is found by bisection until it
    satisfies the weak Wolfe conditions (Lewis and Overton 2013), so that the
    cost falls and :math:`B_k` stays positive. If two costs differ by rounding
    only, the slope decides (Hager and Zhang 2005).

    The usual implementations treat the batch as one long vector, with one step
    and one memory. Here each element has its own step and memory, and stays
    where it is once it has converged.

    Parameters
    ----------
    steps : int
        Maximum number of iterations. Each evaluates the cost and its gradient
        once, or a few times if a step has to be searched.
    memory : int
        Number of changes that are kept.
    tolerance : float
        An element stops when its gradient is this small relative to the first,
        :math:`\| \nabla U(x^{(k)}) \| \le` ``tolerance``
        :math:`\| \nabla U(x^{(0)}) \|`; zero continues until no step lowers the
        cost.

    Notes
    -----
    The history is the cost, mean over the batch. In mode ``"unroll"`` the steps
    :math:`\alpha_k` are constants: they are powers of two.
    """

    def __init__(self, steps: int = 200, memory: int = 10, tolerance: float = 1e-6) -> None:
        super().__init__(steps, tolerance)
        if memory < 1:
            raise ValueError(f"memory={memory}: expected at least one change to remember.")
        self.memory = memory

    def run(
        self,
        inversion: Inversion,
        x0: Tensor,
        *,
        steps: int,
        unroll: bool,
        callback: Callback | None,
    ) -> Solution:
        """Descend, keeping the graph of every step if ``unroll`` is True."""

        def evaluate(x: Tensor, *, graph: bool = False) -> Point:
            at = inversion.gradient(x, create_graph=graph)
            value = at.value.reshape(-1, *[1] * (x.ndim - 1))
            return Point(x, value, inversion.at_sea(at.total))

        def tell(iteration: int, point: Point) -> None:
            if callback is not None:
                callback(iteration, point.x.detach(), point.value.detach().flatten())

        point = evaluate(x0, graph=unroll)
        limit = self.tolerance * norm(point.gradient.detach())
        past = _Memory(self.memory, point)
        least, idle = point.value.detach(), torch.zeros_like(limit)
        stalled = torch.zeros_like(limit, dtype=torch.bool)
        values: list[Tensor] = []
        taken = 0
        while True:
            values.append(point.value.detach().flatten())
            tell(taken, point)
            active = (norm(point.gradient.detach()) > limit) & ~stalled
            if taken == steps or not bool(active.any()):
                break
            change = -past.multiply(point.gradient)
            with torch.no_grad():
                found, length = _search(evaluate, point, change, active)
            moved = length > 0
            if unroll:
                found = evaluate(point.x + length * change, graph=True)
            # No step along the direction lowers the cost: the next one is that of the
            # gradient alone, and where it was that already, this is the end.
            lost = active & ~moved
            stalled = stalled | (lost & past.is_empty) | (idle >= PATIENCE)
            idle = torch.where(found.value.detach() < least, 0.0, idle + 1)
            least = torch.minimum(least, found.value.detach())
            past.keep(point, found, moved, lost)
            point = found
            taken += 1
        size = norm(point.gradient.detach())
        return Solution(point.x, taken, bool((size <= limit).all()), means(values))


class _Memory:
    """The last changes of state and gradient, and what they say of the inverse Hessian."""

    def __init__(self, size: int, start: Point) -> None:
        self.size = size
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        self.scale = _first_scale(start)
        self.is_empty = torch.ones_like(self.scale, dtype=torch.bool)

    def multiply(self, gradient: Tensor) -> Tensor:
        """Apply the inverse Hessian, in two loops over the pairs."""
        shares = []
        for change, bend, rate in reversed(self.pairs):
            share = rate * dot(change, gradient)
            gradient = gradient - share * bend
            shares.append(share)
        result = self.scale * gradient
        for (change, bend, rate), share in zip(self.pairs, reversed(shares), strict=True):
            result = result + (share - rate * dot(bend, result)) * change
        return result

    def keep(self, before: Point, after: Point, moved: Tensor, lost: Tensor) -> None:
        """Remember a step where it was one, and forget all where there was none to be had.

        A pair that says nothing of an element has the rate zero there, so that the
        others keep theirs.
        """
        change, bend = after.x - before.x, after.gradient - before.gradient
        curvature = dot(change, bend)
        rounding = torch.finfo(curvature.dtype).eps * norm(change) * norm(bend)
        sound = moved & (curvature > rounding).detach()
        rate = torch.where(sound, 1 / torch.where(sound, curvature, 1.0), 0.0)
        self.pairs = [*self.pairs, (change, bend, rate)][-self.size :]
        length = torch.where(sound, dot(bend, bend), 1.0)
        self.scale = torch.where(sound, curvature / length, self.scale)
        self.is_empty = self.is_empty & ~sound
        if bool(lost.any()):
            # But for the scale: where it is wrong, the next search finds out.
            self.pairs = [(s, b, torch.where(lost, 0.0, r)) for s, b, r in self.pairs]
            self.is_empty = self.is_empty | lost


def _first_scale(point: Point) -> Tensor:
    """Length of a step down the gradient, while nothing is known of the Hessian.

    A quadratic cost that is nowhere negative has its minimum along the gradient
    within this; a cost that is negative has no such scale, and moves by one.
    """
    square = dot(point.gradient, point.gradient)
    square = torch.where(square > 0, square, 1.0)
    return torch.where(point.value > 0, 2 * point.value / square, square.rsqrt())


def _search(
    evaluate: Evaluate, start: Point, change: Tensor, active: Tensor
) -> tuple[Point, Tensor]:
    """Step along a direction, of each element, by the weak Wolfe conditions.

    Returns
    -------
    found : Point
        Where the step leads.
    length : Tensor
        Of the step, as a share of the change; zero where none was found.
    """
    slope = dot(start.gradient, change)
    rounding = torch.finfo(slope.dtype).eps * start.value.abs()
    seeking = active & (slope < 0)
    length = torch.where(seeking, torch.ones_like(slope), 0.0)
    low, high = torch.zeros_like(slope), torch.full_like(slope, torch.inf)

    def at(length: Tensor) -> Point:
        return evaluate(torch.where(length > 0, start.x + length * change, start.x))

    for _ in range(TRIALS):
        found = at(length)
        tilt = dot(found.gradient, change)
        enough = found.value <= start.value + DECREASE * length * slope
        enough = enough & (found.value < start.value)
        level = found.value <= start.value + 10 * rounding
        flatter = tilt <= (2 * DECREASE - 1) * slope
        # Something has to fall, or steps among states that rounding levels would never end.
        level = level & flatter & (norm(found.gradient) < norm(start.gradient))
        falls = (enough | level) & torch.isfinite(tilt)
        steep = tilt < CURVATURE * slope
        # Where the cost would fall by less than rounding, a few trials are enough.
        in_vain = seeking & ~falls & (-length * slope <= rounding) & (length <= SHORT)
        high = torch.where(seeking & ~falls, length, high)
        low = torch.where(seeking & falls & steep, length, low)
        length = torch.where(in_vain, low, length)
        seeking = seeking & ~(falls & ~steep) & ~in_vain
        if not bool(seeking.any()):
            return (at(length) if bool(in_vain.any()) else found), length
        middle = torch.where(torch.isfinite(high), (low + high) / 2, 2 * length)
        length = torch.where(seeking, middle, length)
    length = torch.where(seeking, low, length)
    return at(length), length
