r"""The posterior variance of a Gaussian prior, and what one more observation would take off it.

With :math:`P` the covariance given the observations so far and :math:`w` weights, an
observation of cell j with noise variance r lowers :math:`\sum_i w_i P_{ii}` by

.. math:: \frac{g_j}{P_{jj} + r}, \qquad g_j = \sum_i w_i P_{ij}^2.

Observing cells Q changes P by :math:`- U U^\top` with :math:`U = P_Q L^{-\top}`,
:math:`L L^\top = P_{QQ} + R`, so that the diagonal and g of *all* cells follow from one
product with P each:

.. math::

    P_{jj} &\leftarrow P_{jj} - \sum_a U_{ja}^2, \\
    g_j &\leftarrow g_j - 2 \sum_a U_{ja} (P W U)_{ja}
        + \sum_{ab} U_{ja} (U^\top W U)_{ab} U_{jb}.

P is never stored: :math:`P v = B v - B_S K^{-1} (B v)_S` with :math:`K = B_{SS} + R`
and S the cells observed, and the prior multiplies by B without a matrix.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

from xinverse.local_grid import LocalGrid
from xinverse.priors.gaussian import CirculantGaussian, GaussianPrior, KroneckerGaussian

__all__ = ["Posterior", "make_prior"]

# Numbers in the largest array of one update.
BLOCK_NUMBERS = 2**24


def make_prior(grid: LocalGrid, options: dict[str, float | str]) -> GaussianPrior:
    """The correlation of a field on a grid, with a variance of 1.

    Parameters
    ----------
    grid : LocalGrid
        Days and km.
    options : dict
        ``length_scale``, ``time_scale``, ``covariance`` and ``temporal``.
    """
    scales: dict[str, float] = {
        name: float(options[name]) for name in ("length_scale", "time_scale")
    }
    covariance, temporal = str(options["covariance"]), str(options["temporal"])
    if covariance == "gaussian":
        return KroneckerGaussian.on(grid, **scales, temporal=temporal)
    grid.require_regular(f"covariance={covariance!r}")
    return CirculantGaussian.on(grid, **scales, space=covariance, temporal=temporal)


class Posterior:
    """Variance and gains on one box of cells, given observations that are added in turn.

    Parameters
    ----------
    prior : GaussianPrior
        The correlation; a variance other than 1 multiplies the squares of `deviation`.
    deviation : ndarray, shape (nt, ny, nx)
        Standard deviation of the field.
    weights : ndarray, shape (nt, ny, nx)
        w: how much the variance of each cell counts.

    Attributes
    ----------
    variance, gain : Tensor, shape (nt, ny, nx)
        Diagonal of P, and g.
    """

    def __init__(
        self, prior: GaussianPrior, deviation: np.ndarray, weights: np.ndarray
    ) -> None:
        self.prior = prior
        self.shape = prior.shape
        self.deviation = torch.as_tensor(deviation, dtype=torch.float64).expand(self.shape)
        self.weights = torch.as_tensor(weights, dtype=torch.float64).expand(self.shape)
        squares = self.deviation.square()
        self.variance = prior.variance * squares
        self.gain = prior.variance**2 * squares * _times_squares(prior, self.weights * squares)
        self._cells = torch.empty(0, 3, dtype=torch.int64)
        self._root = torch.empty(0, 0, dtype=torch.float64)

    def observe(
        self, cells: np.ndarray, noise_variance: np.ndarray, *, gains: bool = True
    ) -> None:
        """Add observations.

        Parameters
        ----------
        cells : ndarray of int, shape (q, 3)
            Along (time, y, x).
        noise_variance : ndarray, shape (q,)
            Of each.
        gains : bool
            Whether the gains are needed afterwards; without, it is twice as fast.
        """
        size = max(1, min(256, BLOCK_NUMBERS // (4 * prod(self.shape))))
        for start in range(0, len(cells), size):
            some = slice(start, start + size)
            at = torch.as_tensor(np.ascontiguousarray(cells[some]), dtype=torch.int64)
            noise = torch.as_tensor(noise_variance[some], dtype=torch.float64)
            self._observe(at, noise, gains)

    def _observe(self, cells: Tensor, noise: Tensor, gains: bool) -> None:
        u, factor = self._directions(cells, noise)
        if gains:
            weighed = self.weights * u
            flat = u.flatten(1)
            product = self._apply(weighed).flatten(1)
            inner = weighed.flatten(1) @ flat.T
            change = -2 * (flat * product).sum(0) + (flat * (inner @ flat)).sum(0)
            self.gain = (self.gain + change.reshape(self.shape)).clamp(min=0)
        self.variance = (self.variance - u.square().sum(0)).clamp(min=0)
        self._extend(cells, factor)

    def joint_gain(
        self, cells: np.ndarray, noise_variance: np.ndarray, counted: tuple[slice, slice]
    ) -> float:
        """What observing some cells together takes off the weighted sum of variances.

        Parameters
        ----------
        cells : ndarray of int, shape (q, 3)
            Along (time, y, x).
        noise_variance : ndarray, shape (q,)
            Of each.
        counted : tuple of slice
            The part of the box, along (y, x), whose variances count.
        """
        at = torch.as_tensor(np.ascontiguousarray(cells), dtype=torch.int64)
        u, _ = self._directions(at, torch.as_tensor(noise_variance, dtype=torch.float64))
        return float((self.weights * u.square().sum(0))[:, counted[0], counted[1]].sum())

    def _directions(self, cells: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        r"""U as fields, ``(q, nt, ny, nx)``, and L of :math:`P_{QQ} + R`."""
        one = torch.zeros(len(cells), *self.shape, dtype=torch.float64)
        one[torch.arange(len(cells)), cells[:, 0], cells[:, 1], cells[:, 2]] = 1
        columns = self._apply(one)
        block = columns[:, cells[:, 0], cells[:, 1], cells[:, 2]]
        block = (block + block.T) / 2 + torch.diag(noise)
        factor = torch.linalg.cholesky(block)
        u = torch.linalg.solve_triangular(factor, columns.flatten(1), upper=False)
        return u.reshape(-1, *self.shape), factor

    def _times_prior(self, fields: Tensor) -> Tensor:
        return self.deviation * self.prior.matvec(self.deviation * fields)

    def _apply(self, fields: Tensor) -> Tensor:
        """P times fields ``(q, nt, ny, nx)``."""
        found = self._times_prior(fields)
        if not len(self._cells):
            return found
        t, y, x = self._cells.T
        weights = torch.cholesky_solve(found[:, t, y, x].T, self._root).T
        spread = torch.zeros_like(fields)
        spread.index_put_(
            (torch.arange(len(fields))[:, None], t, y, x), weights, accumulate=True
        )
        return found - self._times_prior(spread)

    def _extend(self, cells: Tensor, factor: Tensor) -> None:
        """Add rows to the Cholesky factor of K."""
        old, new = len(self._cells), len(cells)
        root = torch.zeros(old + new, old + new, dtype=torch.float64)
        root[:old, :old] = self._root
        if old:
            between = self.prior.between(self._cells, cells)
            for side, at in ((0, self._cells), (1, cells)):
                scale = self.deviation[at[:, 0], at[:, 1], at[:, 2]]
                between = between * (scale[:, None] if side == 0 else scale)
            below = torch.linalg.solve_triangular(self._root, between, upper=False)
            root[old:, :old] = below.T
        root[old:, old:] = factor
        self._root, self._cells = root, torch.cat([self._cells, cells])


def _times_squares(prior: GaussianPrior, field: Tensor) -> Tensor:
    r""":math:`\sum_i C_{ij}^2 f_i`, exactly, with C the correlation in space and time."""
    lag = (prior.time[:, None] - prior.time).abs()
    between = prior.temporal(lag, prior.time_scale).square()
    field = torch.einsum("ts,syx->tyx", between, field)
    if isinstance(prior, KroneckerGaussian):
        axes = [(a[:, None] - a).abs() for a in (prior.y, prior.x)]
        along_y, along_x = (prior.space(lag, prior.length_scale).square() for lag in axes)
        return along_y @ field @ along_x
    lags, sizes = [], []
    for axis in (prior.y, prior.x):
        size = 2 * axis.numel()
        step = torch.arange(size, dtype=torch.float64)
        spacing = float(axis[-1] - axis[0]) / max(axis.numel() - 1, 1)
        lags.append(torch.minimum(step, size - step) * spacing)
        sizes.append(size)
    kernel = prior.space(torch.hypot(lags[0][:, None], lags[1]), prior.length_scale).square()
    spectrum = torch.fft.rfft2(kernel)
    ny, nx = field.shape[1:]
    return torch.fft.irfft2(torch.fft.rfft2(field, s=sizes) * spectrum, s=sizes)[:, :ny, :nx]
