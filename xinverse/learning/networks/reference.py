r"""The network of the reference 4DVarNet code, so that its checkpoints run here.

.. math::

    x^{(k+1)} = x^{(k)} - \frac{1}{k+1} \, \mathrm{LSTM}\left[\frac{g_k}{r}\right]
        - \gamma \, \frac{k+1}{K} \, g_k, \qquad
    g_k = \nabla_x \left( \lambda^2 \, \overline{(y - x)^2_\Omega}
        + \overline{(x - \Phi(x))^2} \right)

with means in place of the sums of `VariationalCost`, and r the root mean square of the
first gradient. Written from the published description of the network, not from its code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from xinverse.convolution import Convolution
from xinverse.learning.networks.base import ITERATIONS, WIDTH, WINDOW, WindowNetwork
from xinverse.learning.variational_net import VariationalNet
from xinverse.operators.base import Operator
from xinverse.operators.mask import Mask
from xinverse.priors.base import ProjectionPrior
from xinverse.schema import List, Maybe, Number, Schema, Switch, Whole
from xinverse.solvers.base import DescentSolver, Mode
from xinverse.solvers.lstm import ConvLSTMCell
from xinverse.variational import CostGradient, VariationalCost

__all__ = ["BilinearAutoencoder", "MeanCost", "ModulatedDescent", "ReferenceFourDVarNet"]

DROPOUT = 0.1  # of the gradient that the LSTM sees, in training


class BilinearAutoencoder(ProjectionPrior):
    r"""The reference's prior: one bilinear network on one scale.

    .. math::

        \Phi(x) = \mathrm{Up}\left( C_o [\, C_1 h, \; C_{21} h \odot C_{22} h \,] \right),
        \quad h = C_h \, \rho(C_i \, \mathrm{Dw}(x))

    Parameters
    ----------
    channels : int
        Time steps of a window.
    hidden : int
        Width.
    quadratic : bool
        Square :math:`C_{21} h` rather than multiply it by :math:`C_{22} h`.
    factor : int
        Factor of the averaging before and the bilinear interpolation after; 1 for none.
        Sides that are not multiples of it are padded by repeating the edge.
    """

    def __init__(self, channels: int, hidden: int, quadratic: bool, factor: int) -> None:
        super().__init__()
        self.conv_in = Convolution(channels, hidden)
        self.conv_hidden = Convolution(hidden, hidden)
        self.bilin_1 = Convolution(hidden, hidden)
        self.bilin_21 = Convolution(hidden, hidden)
        self.bilin_22 = Convolution(hidden, hidden)  # in checkpoints even if unused
        self.conv_out = Convolution(2 * hidden, channels)
        self.quadratic, self.factor = quadratic, factor

    def project(self, x: Tensor) -> Tensor:
        r"""Apply :math:`\Phi` to ``(batch, time, y, x)``."""
        return _coarsened(self._project, x, self.factor)

    def _project(self, x: Tensor) -> Tensor:
        h = self.conv_hidden(functional.relu(self.conv_in(x)))
        first = self.bilin_21(h)
        second = first if self.quadratic else self.bilin_22(h)
        return self.conv_out(torch.cat([self.bilin_1(h), first * second], 1))


class MeanCost(VariationalCost):
    r"""The variational cost with means in place of sums.

    .. math:: \frac{\lambda_1}{|\Omega|} \| y - x \|^2_\Omega + \frac{\lambda_2}{n} U(x)

    Its gradient at a cell decreases as the patch grows. The means are over each sample of
    the batch. Without observations the first term is zero.
    """

    def forward(self, x: Tensor, y: Tensor, operator: Operator) -> Tensor:
        """Cost of each state of the batch, shape ``(batch,)``."""
        weights = self.log_weights.exp()
        misfit = (y - operator(x)).square().flatten(1).sum(1) / _counted(x, operator)
        return weights[0] * misfit + weights[1] * self.prior.cost(x) / x[0].numel()

    def gradient(
        self, x: Tensor, y: Tensor, operator: Operator, *, create_graph: bool = False
    ) -> CostGradient:
        """Cost, and its gradient with respect to the state; see `VariationalCost`."""
        weights, count, cells = self.log_weights.exp(), _counted(x, operator), x[0].numel()
        seen, adjoint = operator.linearise(x)
        misfit = seen - y
        observation = 2 * weights[0] * adjoint(misfit) / _along(count, x)
        prior, slope = self.prior.cost_and_gradient(x, create_graph=create_graph)
        value = weights[0] * misfit.square().flatten(1).sum(1) / count
        return CostGradient(
            value + weights[1] * prior / cells, observation, weights[1] * slope / cells
        )

    def weights(self, x: Tensor, operator: Operator) -> tuple[Tensor, Tensor]:
        """Weights of the squared misfit and of the prior's cost, means for sums."""
        weights = self.log_weights.exp()
        return weights[0] / _counted(x, operator), weights[1] / x[0].numel()


class ModulatedDescent(DescentSolver):
    r"""The reference's solver: an LSTM's share falls, that of the plain gradient grows.

    .. math::

        x^{(k+1)} = x^{(k)} - \frac{1}{k+1} \, \mathrm{LSTM}\left[\frac{g_k}{r}\right]
            - \gamma \, \frac{k+1}{K} \, g_k, \qquad r^2 = \overline{g_0^2}

    Parameters
    ----------
    channels : int
        Time steps of a window.
    hidden : int
        Width of the LSTM.
    steps : int
        K. A call with fewer runs the first of them.
    rate : float
        :math:`\gamma`.
    factor : int
        Factor of the averaging before the LSTM and the bilinear interpolation after; 1 for
        none.
    patch : (int, int), optional
        Cells along (y, x) that the rate was chosen for. The gradient of a mean decreases as
        the patch grows, so the rate is scaled to make the same step at a cell of a state
        of another size. Default: the size of the state.
    """

    minimises = False

    def __init__(
        self,
        channels: int,
        hidden: int,
        steps: int,
        rate: float,
        factor: int,
        patch: tuple[int, int] | None,
    ) -> None:
        super().__init__(steps)
        self.cell = ConvLSTMCell(channels, hidden)
        self.conv_out = Convolution(hidden, channels)
        self.rate, self.factor, self.patch = rate, factor, patch

    def begin(
        self,
        x: Tensor,  # noqa: ARG002  the start does not depend on it
        operator: Operator,  # noqa: ARG002  likewise
    ) -> tuple[Tensor | None, Any]:
        """Start without root mean square, hidden state or cell."""
        return None, None

    def step(
        self, number: int, x: Tensor, gradient: CostGradient, carried: tuple[Tensor | None, Any]
    ) -> tuple[Tensor, tuple[Tensor | None, Any]]:
        """Step of LSTM and gradient, and what the next step needs."""
        size, memory = carried
        slope = gradient.total
        if size is None:
            size = _along(slope.square().flatten(1).mean(1).sqrt(), x)
            size = torch.where(size > 0, size, 1.0)  # a gradient of zero stays one

        def modulate(g: Tensor) -> Tensor:
            nonlocal memory
            memory = self.cell(g, self.cell.start(g) if memory is None else memory)
            return self.conv_out(memory[0])

        seen = functional.dropout(slope / size, DROPOUT, self.training)
        learned = _coarsened(modulate, seen, self.factor)
        rate = self.rate * (number + 1) / self.steps
        if self.patch is not None:
            rate *= x.shape[-2] * x.shape[-1] / (self.patch[0] * self.patch[1])
        return -(learned / (number + 1) + rate * slope), (size, memory)


class ReferenceFourDVarNet(WindowNetwork, VariationalNet):
    r"""Mask, bilinear autoencoder, LSTM on the gradient: the reference code's 4DVarNet.

    It reproduces, patch by patch, what the packages ``4dvarnet-starter`` and
    ``ocean4dvarnet`` do with the same weights. Start: the observations, and the
    background (zero, the mean of the training) where there is none. Result, in
    evaluation: the prior's projection of the last state,
    :math:`\tilde x = \Phi(x^{(K)})`; in training, that state itself.

    Parameters
    ----------
    window : int
        Time steps of a window; the reference's ``dim_in``.
    prior_hidden, solver_hidden : int
        Widths of prior and LSTM; the reference's two ``dim_hidden``.
    n_step : int
        Iterations K.
    lr_grad : float
        :math:`\gamma`, of the plain gradient.
    lbd : float
        :math:`\lambda`; its square is the weight of the observations.
    bilin_quad : bool
        Square one convolution rather than multiply two.
    downsamp, solver_downsamp : int
        Factors by which the state is averaged for prior and LSTM; 1 for none.
    patch : (int, int), optional
        Cells along (y, x) of the patches of the training; see `ModulatedDescent`.
    time_weights : sequence of float, optional
        Weights by which the days of overlapping windows are averaged, above zero.
        Default: the reference's triangle, :math:`1 - |2t + 1 - T| / T`.

    Notes
    -----
    The reference takes the mean over observations, and the root mean square of
    the first gradient, over the whole batch, so that a patch's result there
    depends on the others of its batch. Here both belong to one sample: a batch of one
    agrees with the reference to round-off, and a larger batch gives the same for each
    sample. A batch of B in the reference's training makes the gradient B times smaller;
    to take the same steps with one sample, divide ``lr_grad`` by B.

    Defaults are those of the reference's configuration ``base.yaml``. Land is
    treated as a gap, as in the reference.

    Sources: Fablet et al. (2021), doi:10.1029/2021MS002572; Beauchamp et al.
    (2023), doi:10.5194/gmd-16-2119-2023.
    """

    options = Schema(
        window=WINDOW,
        prior_hidden=WIDTH,
        solver_hidden=WIDTH,
        n_step=ITERATIONS,
        lr_grad=Number(1e-12, 1e12),
        lbd=Number(1e-6, 1e6),
        bilin_quad=Switch(),
        downsamp=Whole(1, 64),
        solver_downsamp=Whole(1, 64),
        patch=Maybe(List(Whole(1, 100_000), 2, 2)),
        time_weights=Maybe(List(Number(1e-12, 1e12), 1, WINDOW.most)),
    )

    def __init__(
        self,
        window: int = 15,
        prior_hidden: int = 32,
        solver_hidden: int = 48,
        *,
        n_step: int = 10,
        lr_grad: float = 1e3,
        lbd: float = 1.0,
        bilin_quad: bool = False,
        downsamp: int = 2,
        solver_downsamp: int = 1,
        patch: Sequence[int] | None = None,
        time_weights: Sequence[float] | None = None,
    ) -> None:
        config = self.options.read(
            {
                "window": window,
                "prior_hidden": prior_hidden,
                "solver_hidden": solver_hidden,
                "n_step": n_step,
                "lr_grad": lr_grad,
                "lbd": lbd,
                "bilin_quad": bilin_quad,
                "downsamp": downsamp,
                "solver_downsamp": solver_downsamp,
                "patch": None if patch is None else list(patch),
                "time_weights": None if time_weights is None else list(time_weights),
            }
        )
        if time_weights is not None and len(time_weights) != window:
            raise ValueError(
                f"time_weights has {len(time_weights)} values: expected one for each of the "
                f"{window} time steps of the window."
            )
        prior = BilinearAutoencoder(window, prior_hidden, bilin_quad, downsamp)
        cells = None if patch is None else (patch[0], patch[1])
        solver = ModulatedDescent(
            window, solver_hidden, n_step, lr_grad, solver_downsamp, cells
        )
        super().__init__(prior, solver)
        self.cost = MeanCost(prior, lbd**2).float()  # as the rest
        self.window = window
        self.time_weights = time_weights
        self.config = config

    def reconstruct(
        self,
        background: Tensor,
        y: Tensor,
        observed: Tensor,
        *,
        noise: Tensor | None = None,  # noqa: ARG002  not used by the reference
        sea: Tensor | None = None,  # noqa: ARG002  land is a gap here
        steps: int | None = None,
        mode: Mode = "iterate",
    ) -> Tensor:
        """Descend from observations and background; see `WindowNetwork`."""
        y = torch.where(observed, y, torch.zeros((), dtype=y.dtype, device=y.device))
        start = torch.where(observed, y, background)
        x = self(start, y, Mask(observed), steps=steps, mode=mode)
        if self.training:
            return x
        with torch.set_grad_enabled(mode != "iterate" and torch.is_grad_enabled()):
            return self.project(x)

    def taper(self, like: Tensor) -> Tensor:
        """Weights by which the days of overlapping windows are averaged."""
        if self.time_weights is not None:
            return torch.tensor(self.time_weights).to(like)
        days = torch.arange(self.window, dtype=torch.float64)
        return (1 - (2 * days + 1 - self.window).abs() / self.window).to(like)


def _coarsened(work: Callable[[Tensor], Tensor], x: Tensor, factor: int) -> Tensor:
    """Apply a network to block means, and interpolate the result back, corners aligned."""
    if factor == 1:
        return work(x)
    ny, nx = x.shape[-2:]
    missing = (0, -nx % factor, 0, -ny % factor)
    padded = functional.pad(x, missing, mode="replicate") if any(missing) else x
    coarse = work(functional.avg_pool2d(padded, factor))
    fine = functional.interpolate(
        coarse, size=padded.shape[-2:], mode="bilinear", align_corners=True
    )
    return fine[..., :ny, :nx]


def _counted(x: Tensor, operator: Operator) -> Tensor:
    """Observations of each sample, at least one."""
    return operator(torch.ones_like(x)).flatten(1).sum(1).clamp(min=1.0)


def _along(per_sample: Tensor, x: Tensor) -> Tensor:
    return per_sample.reshape(-1, *[1] * (x.ndim - 1))
