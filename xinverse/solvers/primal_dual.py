r"""The exact minimum of a total-variation cost, by a primal-dual iteration."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from xinverse.linear_systems import Solution
from xinverse.priors.differences import Differences
from xinverse.solvers.base import SOLVERS, Callback, VariationalSolver
from xinverse.variational import Inversion

__all__ = ["DualPrior", "PrimalDual"]

# Iterations between two checks of the bound; a check costs about as much as one of them.
BETWEEN_CHECKS = 10

# Restart when the residual has fallen to the first share of its value at the last restart; to
# the second, if it rises again; or after this share of all iterations (the rules of Applegate
# et al. 2023, section 6). Half instead of their fifth saves a third of the iterations for a
# mask, a blur and block means of 32 x 32 cells.
SUFFICIENT, NECESSARY, LONG = 0.5, 0.8, 0.36

# Power iterations for the norm of H, and the margin for what they have not found yet.
POWER_ITERATIONS, MARGIN = 60, 1.05

ROUNDING = 4  # of a sum, in units of the last digit


@runtime_checkable
class DualPrior(Protocol):
    r"""A prior :math:`U(x) = \max_{q \in Q} \langle q, D x \rangle`: total variation."""

    differences: Differences

    def variation(self, slopes: Tensor) -> Tensor:
        """U as a function of D x, ``(batch,)``."""

    def project_dual(self, q: Tensor, limit: Tensor) -> Tensor:
        """Projection on ``limit`` times Q."""


class Point(NamedTuple):
    """State, and dual variables of the misfit and of the differences, both scaled."""

    x: Tensor
    p: Tensor
    q: Tensor


@SOLVERS.register("primal-dual")
class PrimalDual(VariationalSolver):
    r"""Primal-dual hybrid gradient with reflection and restarts, for total variation.

    .. math::

        \min_x \max_{p, \; q \in \lambda_2 Q}
        \langle p, H x - y \rangle - \frac{\| p \|^2}{4 \lambda_1} + \langle q, D x \rangle

    is the minimum of :math:`\lambda_1 \| y - H x \|^2 + \lambda_2 U(x)` for any
    linear operator and any prior that is a maximum over dual variables, such as
    `TotalVariation` without its smoothing. One iteration T of Chambolle and Pock
    (2011) applies H, D and their adjoints once. Over-relaxed steps are averaged
    with the point z of the last restart,

    .. math:: z^{(k+1)} = \frac{k+1}{k+2} \left( 2 T(z^{(k)}) - z^{(k)} \right)
        + \frac{1}{k+2} z

    (reflected Halpern iteration, Lu and Yang 2024), and restarts balance the
    steps of state and dual variables (Applegate et al. 2023). Each element of the
    batch has its own steps and restarts.

    Parameters
    ----------
    steps : int
        Maximum number of iterations.
    tolerance : float
        An element stops when its cost is above the minimum by at most this share of
        the background's cost, according to the bound below; zero runs all the steps.

    Notes
    -----
    The bound is that of convexity, for any state x and any q in :math:`\lambda_2 Q`:

    .. math::

        U_\Phi(x) - U_\Phi(x^\star) \le \lambda_2 U(x) - \langle q, D x \rangle
        + \| r \| \, \| x - x^\star \|, \qquad
        r = 2 \lambda_1 H^\top (H x - y) + D^\top q

    with :math:`\| x - x^\star \|` estimated by the distance from the background, or
    the first step along the gradient where that is larger. The history is the
    largest fixed-point residual :math:`\| T(z) - z \|` of the batch, relative to the
    first. The solution has no derivative by the mode ``"implicit"``.

    Use float64 for tolerances below 1e-5. U is exact, without the smoothing of
    `TotalVariation.cost`, which the callback sees.
    """

    minimises = False

    def __init__(self, steps: int = 10_000, tolerance: float = 1e-4) -> None:
        super().__init__(steps, tolerance)

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
        saddle = _Saddle(inversion, x0)
        start = saddle.start()
        at, anchor, state = start, start, x0
        balance = saddle.balance()
        active = torch.ones_like(balance, dtype=torch.bool)
        age = torch.zeros_like(balance)  # iterations since the last restart
        first = before = fresh = torch.zeros_like(balance)
        history: list[Tensor] = []
        taken = 0
        while taken < steps and bool(active.any()):
            if callback is not None:
                with torch.no_grad():
                    callback(taken, state.detach(), inversion.value(state))
            image = saddle.step(at, balance)
            with torch.no_grad():
                residual = _length(at, image, balance)
                first = residual if taken == 0 else first
                fresh = torch.where(age == 0, residual, fresh)
                rising = (age > 0) & (residual > before)
                restart = (residual <= SUFFICIENT * fresh) | (age >= LONG * (taken + 1))
                restart = (restart | (rising & (residual <= NECESSARY * fresh))) & (age > 0)
                before = residual
                share = torch.where(active, residual / torch.where(first > 0, first, 1.0), 0.0)
                history.append(share.max() if share.numel() else share.new_zeros(()))
            state = torch.where(_like(active, x0), image.x, state)
            taken += 1
            if self.tolerance > 0 and (taken % BETWEEN_CHECKS == 0 or taken == steps):
                active = active & ~(saddle.bound(image) <= self.tolerance * saddle.scale)
            weight = (age + 1) / (age + 2)
            averaged = _join(weight, _reflect(at, image), anchor)
            balance = torch.where(restart, _rebalance(anchor, image, balance), balance)
            at, anchor = _choose(restart, image, averaged), _choose(restart, image, anchor)
            age = torch.where(restart, 0.0, age + 1)
        if callback is not None:
            with torch.no_grad():
                callback(taken, state.detach(), inversion.value(state))
        converged = self.tolerance == 0 or not bool(active.any())
        return Solution(state, taken, converged, torch.stack(history).tolist() if taken else [])


class _Saddle:
    """The saddle point of one inverse problem, with H and D scaled to norm one."""

    def __init__(self, inversion: Inversion, x0: Tensor) -> None:
        operator, prior = inversion.operator, inversion.cost.prior
        if not operator.linear:
            raise ValueError(
                f"{type(operator).__name__} is not linear, and the primal-dual solver expects "
                "a linear operator. Use 'lbfgs'."
            )
        if not isinstance(prior, DualPrior):
            raise ValueError(
                f"{type(prior).__name__} has no dual projection, and the primal-dual solver "
                "expects a prior such as TotalVariation. Use 'conjugate-gradient' for a "
                "quadratic prior, 'lbfgs' for another."
            )
        self.inversion, self.x0 = inversion, x0
        self.operator, self.prior = operator, prior
        misfit, roughness = inversion.cost.weights(x0, operator)
        batch = x0.new_ones(len(x0))
        self.misfit, self.roughness = misfit.to(x0) * batch, roughness.to(x0) * batch
        with torch.no_grad():
            self.seen_norm = self._norm()
        self.slope_norm = math.sqrt(prior.differences.bound)
        # Weight of half the squared misfit, and limit of q, both in the scaled variables.
        self.curvature = 2 * self.misfit * self.seen_norm**2
        self.limit = self.roughness * self.slope_norm
        self.y = inversion.y / _like(self.seen_norm, inversion.y)
        with torch.no_grad():
            gradient = self._gradient(x0)
            self.first_step = _norm(gradient) / self.curvature
            self.scale = self.misfit * _square(inversion.y - operator(x0))
            self.scale = self.scale + self.roughness * prior.variation(prior.differences(x0))

    def _norm(self) -> Tensor:
        """Norm of H for each element of the batch, by power iteration."""
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(self.x0.shape[1:], generator=generator, dtype=torch.float64)
        v = self.inversion.at_sea(noise.to(self.x0).expand_as(self.x0))
        square = _square(v)
        for _ in range(POWER_ITERATIONS):
            v = v / _like(torch.where(square > 0, square, 1.0).sqrt(), v)
            v = self.inversion.at_sea(self.operator.adjoint(self.operator(v), v))
            square = _square(v)
        return torch.where(square > 0, MARGIN * square.sqrt().sqrt(), 1.0)

    def _gradient(self, x: Tensor) -> Tensor:
        """Gradient of the weighted misfit, zero on land."""
        misfit = self.operator(x) - self.inversion.y
        gradient = self.operator.adjoint(misfit, x)
        return self.inversion.at_sea(2 * _like(self.misfit, x) * gradient)

    def start(self) -> Point:
        """The background, with dual variables of zero."""
        slopes = self.prior.differences(self.x0)
        return Point(self.x0, torch.zeros_like(self.y), torch.zeros_like(slopes))

    def balance(self) -> Tensor:
        """First guess of the ratio of the dual variables to the state."""
        size = (
            (_square(self.y) / max(self.y[0].numel(), 1)).sqrt() if len(self.y) else self.limit
        )
        return self.limit / torch.where(size > 0, size, 1.0)

    def step(self, at: Point, balance: Tensor) -> Point:
        """One iteration T of Chambolle and Pock."""
        x, p, q = at
        # The product of the two steps is below one over the squared norm of (H, D), 2.
        length = 0.99 / math.sqrt(2)
        operator, differences = self.operator, self.prior.differences
        pull = operator.adjoint(p, x) / _like(self.seen_norm, x)
        pull = pull + differences.adjoint(q) / self.slope_norm
        state = x - _like(length / balance, x) * self.inversion.at_sea(pull)
        ahead = 2 * state - x
        dual = _like(length * balance, p)
        seen = operator(ahead) / _like(self.seen_norm, p)
        p = (p + dual * (seen - self.y)) / (1 + dual / _like(self.curvature, p))
        q = q + _like(length * balance, q) * differences(ahead) / self.slope_norm
        return Point(state, p, self.prior.project_dual(q, _like(self.limit, q)))

    @torch.no_grad()
    def bound(self, at: Point) -> Tensor:
        """Estimated upper bound of the cost above its minimum, ``(batch,)``."""
        q = at.q / self.slope_norm
        slopes = self.prior.differences(at.x)
        most = self.roughness * self.prior.variation(slopes)
        gap = most - (slopes * q).flatten(1).sum(1)
        gap = torch.where(gap > ROUNDING * torch.finfo(gap.dtype).eps * most, gap, 0.0)
        left = self._gradient(at.x) + self.inversion.at_sea(self.prior.differences.adjoint(q))
        distance = torch.maximum(_norm(at.x - self.x0), self.first_step)
        return gap + _norm(left) * distance


def _like(values: Tensor, x: Tensor) -> Tensor:
    """One value for each element of the batch, shaped to broadcast."""
    return values.reshape(-1, *[1] * (x.ndim - 1))


def _square(x: Tensor) -> Tensor:
    return x.square().flatten(1).sum(1)


def _norm(x: Tensor) -> Tensor:
    return _square(x).sqrt()


def _join(weight: Tensor, a: Point, b: Point) -> Point:
    """Weighted mean of two points."""
    return Point(*(torch.lerp(v, u, _like(weight, u)) for u, v in zip(a, b, strict=True)))


def _choose(which: Tensor, a: Point, b: Point) -> Point:
    return Point(*(torch.where(_like(which, u), u, v) for u, v in zip(a, b, strict=True)))


def _reflect(at: Point, image: Point) -> Point:
    return Point(*(2 * v - u for u, v in zip(at, image, strict=True)))


def _length(at: Point, image: Point, balance: Tensor) -> Tensor:
    """Size of a step, in the norm in which steps of state and dual variables weigh alike."""
    dual = _square(image.p - at.p) + _square(image.q - at.q)
    return (balance * _square(image.x - at.x) + dual / balance).sqrt()


def _rebalance(anchor: Point, image: Point, balance: Tensor) -> Tensor:
    """Move the balance, half way on a logarithmic scale, to what the last epoch showed."""
    state = _square(image.x - anchor.x)
    dual = _square(image.p - anchor.p) + _square(image.q - anchor.q)
    sound = (state > 0) & (dual > 0)
    ratio = torch.where(sound, dual, 1.0) / torch.where(sound, state, 1.0)
    return torch.where(sound, (balance * ratio.sqrt()).sqrt(), balance)
