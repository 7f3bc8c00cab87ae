r"""Truncated empirical orthogonal functions: a state is a sum of a few patterns.

.. math:: \Phi(x) = m + E^\top E (x - m)

(Lorenz 1956; the prior of DINEOF, Beckers and Rixen 2003).
"""

from __future__ import annotations

import torch
from torch import Tensor

from xinverse.priors.base import PRIORS, ProjectionPrior
from xinverse.priors.differences import for_each_element

__all__ = ["EOF"]


@PRIORS.register("eof")
class EOF(ProjectionPrior):
    r"""Projection on the mean and the first patterns of a set of states.

    .. math:: \Phi(x) = m + E^\top E (x - m), \qquad U(x) = \| x - \Phi(x) \|^2

    The rows of E are the leading eigenvectors of the covariance of the states
    (principal components, proper orthogonal decomposition). The part of a state
    that they explain has no cost, whatever its size.

    Parameters
    ----------
    mean : Tensor
        The mean m, ``(n,)``, of states of n numbers in any shape.
    modes : Tensor
        The rows of E, ``(k, n)``, orthonormal.
    variance : Tensor
        Variance of the states along each mode, ``(k,)``, descending.

    Raises
    ------
    ValueError
        Shapes that do not fit one another.

    Notes
    -----
    States are ``(batch, *state)`` of any rank. Set land to a constant, such as zero.
    """

    has_prox = True

    def __init__(self, mean: Tensor, modes: Tensor, variance: Tensor) -> None:
        super().__init__()
        found = [tuple(t.shape) for t in (mean, modes, variance)]
        if modes.ndim != 2 or found != [modes.shape[1:], modes.shape, modes.shape[:1]]:
            raise ValueError(
                f"mean, modes and variance have the shapes {found[0]}, {found[1]} and "
                f"{found[2]}: expected (n,), (k, n) and (k,)."
            )
        self.register_buffer("mean", mean)
        self.register_buffer("modes", modes)
        self.register_buffer("variance", variance)

    mean: Tensor
    modes: Tensor
    variance: Tensor

    @classmethod
    def fit(
        cls, states: Tensor, *, modes: int | None = None, explained: float | None = None
    ) -> EOF:
        """Find the mean and the modes of states, by singular values in float64.

        Parameters
        ----------
        states : Tensor
            ``(samples, *state)``, complete.
        modes : int, optional
            How many to keep.
        explained : float, optional
            Instead: as few as explain this share of the variance, in (0, 1].

        Returns
        -------
        EOF
            In the precision of the states. The entry of each mode that is largest in
            magnitude is positive, so that the same states give the same modes.

        Raises
        ------
        ValueError
            If neither or both of ``modes`` and ``explained`` are given, or more is
            asked of the states than they hold; if a value is missing.
        """
        if (modes is None) == (explained is None):
            raise ValueError("Give either modes=, a number, or explained=, a share.")
        if not bool(torch.isfinite(states).all()):
            raise ValueError("The states have missing or infinite values: fill them first.")
        flat = states.detach().flatten(1).to(torch.float64)
        samples = len(flat)
        most = min(samples - 1, flat.shape[1])
        if modes is not None and not 1 <= modes <= most:
            raise ValueError(
                f"modes={modes}: {samples} states of {flat.shape[1]} numbers have 1 to {most}."
            )
        if explained is not None and (not 0 < explained <= 1 or most < 1):
            raise ValueError(
                f"explained={explained}, {samples} states: expected a share above 0 and up to "
                "1, and two states or more."
            )
        mean = flat.mean(0)
        _, singular, patterns = torch.linalg.svd(flat - mean, full_matrices=False)
        variance = singular.square() / (samples - 1)
        if explained is not None:
            share = variance.cumsum(0) / variance.sum()
            modes = min(int((share < explained).sum()) + 1, most)
        patterns, variance = patterns[:modes], variance[:modes]
        largest = patterns.gather(1, patterns.abs().argmax(1, keepdim=True))
        patterns = patterns * largest.sign()
        dtype = states.dtype
        return cls(mean.to(dtype), patterns.to(dtype), variance.to(dtype))

    def scores(self, x: Tensor) -> Tensor:
        """Amplitude of each mode in each state, ``(batch, k)``."""
        flat = x.flatten(1)
        if flat.shape[1] != len(self.mean):
            raise ValueError(
                f"The state has the shape {tuple(x.shape[1:])}, {flat.shape[1]} numbers: "
                f"these modes are of states of {len(self.mean)}."
            )
        return (flat - self.mean) @ self.modes.T

    def project(self, x: Tensor) -> Tensor:
        r""":math:`\Phi(x)`, of the shape of ``x``."""
        return (self.mean + self.scores(x) @ self.modes).reshape(x.shape)

    def cost_and_gradient(
        self, x: Tensor, *, create_graph: bool = False
    ) -> tuple[Tensor, Tensor]:
        r"""Cost, and :math:`2 (x - \Phi(x))`, since the projection is orthogonal."""
        with torch.set_grad_enabled(create_graph):
            residual = x - self.project(x)
            return residual.square().flatten(1).sum(1), 2 * residual

    def prox(self, x: Tensor, strength: float | Tensor) -> Tensor:
        r""":math:`\Phi(x) + (x - \Phi(x)) / (1 + 2 \tau)`.

        Parameters
        ----------
        x : Tensor
            ``(batch, *state)``.
        strength : float or Tensor
            :math:`\tau`; a tensor holds one for each element of the batch.
        """
        projection = self.project(x)
        return projection + (x - projection) / (1 + 2 * for_each_element(strength, x))
