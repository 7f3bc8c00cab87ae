"""Column-pivoted QR of EOF modes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xinverse.checks import check_count
from xinverse.errors import OptionError
from xinverse.sampling.base import DESIGNS, Design, Score
from xinverse.sampling.problem import SamplingProblem

__all__ = ["PivotedQR"]

# Singular values below this share of the largest are rounding.
RANK_SHARE = 1e-6

# Norms of columns that differ by less, as a share of the largest before the first choice, are
# zero: what the places taken leave of the modes is rounding.
NEGLIGIBLE = 1e-18


class _Columns:
    """Squared norms of the columns of the modes, without what the taken ones explain."""

    def __init__(self, modes: np.ndarray, shape: tuple[int, int, int]) -> None:
        self._columns = modes.copy()
        self._shape = shape
        self._update()
        self._least = NEGLIGIBLE * float(self.values.max())

    def _update(self) -> None:
        self.values = np.square(self._columns).sum(0).reshape(self._shape)

    def exact(self, place: int) -> float:
        """Squared norm of a column."""
        return float(self.values.reshape(-1)[place])

    def take(self, place: int) -> None:
        """Project the column of a place out of all others."""
        column = self._columns[:, place]
        norm = float(np.linalg.norm(column))
        if norm**2 <= self._least:
            return
        direction = column / norm
        self._columns -= np.outer(direction, direction @ self._columns)
        self._columns[:, place] = 0.0
        self._update()


@DESIGNS.register("qr")
@dataclass(frozen=True, kw_only=True)
class PivotedQR(Design):
    r"""Places whose values determine the leading EOF modes of the field.

    With the modes :math:`\Psi`, r rows by cells, the pivots of :math:`\Psi P = Q R` are the
    places: each is the column of the largest norm after the projection on those before
    (Businger and Golub 1965; Manohar et al. 2018, 10.1109/MCS.2018.2810460). The pivots are
    those of ``scipy.linalg.qr(modes, pivoting=True)``; constraints leave places out on the
    way. Noise, scales and existing observations are not used.

    Attributes
    ----------
    modes : int, optional
        Number of modes. Default: as many as places (at each time for daily designs), and not
        more than the sample has.
    """

    name: ClassVar[str] = "qr"
    summary: ClassVar[str] = "column-pivoted QR of EOF modes"
    needs_maps: ClassVar[bool] = True

    modes: int | None = None

    def __post_init__(self) -> None:
        """Check the number of modes."""
        if self.modes is not None:
            check_count("modes", self.modes)

    def score(self, problem: SamplingProblem) -> Score:
        """Norms of the columns of the modes.

        Parameters
        ----------
        problem : SamplingProblem
            With complete maps in its sample.

        Raises
        ------
        OptionError
            The sample has fewer modes than places are wanted.
        """
        sample = problem.windows.astype(np.float64)
        # Stations: every map is a sample. Daily: every window is one.
        rows = sample.reshape(-1, *problem.shape)
        matrix = np.where(problem.sea, rows, 0.0).reshape(len(rows), -1)
        _, values, vectors = np.linalg.svd(matrix, full_matrices=False)
        rank = int((values > RANK_SHARE * values[0]).sum())
        wanted = int(problem.constraints.budget) if problem.constraints.cost is None else rank
        number = min(wanted, rank) if self.modes is None else self.modes
        if number > rank or (problem.constraints.cost is None and wanted > number):
            most = min(rank, number)
            raise OptionError(
                f"method='qr' places at most one observation for each EOF mode. {wanted} "
                f"places and {number} modes are wanted; the sample of {len(rows)} maps "
                f"has {rank} modes, {max(wanted, number) - most} too few. Lower the budget, "
                "give a longer archive=, or use method='variance'."
            )
        return _Columns(vectors[:number], problem.shape)
