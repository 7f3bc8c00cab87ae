"""Distances between the cells of a grid, over the sphere or in the plane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from xinverse.constants import KM_PER_DEGREE
from xinverse.fields.grid import Grid

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

__all__ = ["Positions"]

RADIUS_KM = KM_PER_DEGREE * 180 / np.pi

# Distances that agree to this share are the same distance.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Positions:
    """Points in space, whose straight distances order as those over the sphere.

    Attributes
    ----------
    points : ndarray, shape (ny * nx, 2 or 3)
        In km.
    geographic : bool
        Whether they lie on the sphere.
    """

    points: np.ndarray
    geographic: bool

    @classmethod
    def of(cls, grid: Grid) -> Positions:
        """Positions of the cells of a grid.

        Parameters
        ----------
        grid : Grid
            Degrees or km.
        """
        y, x = (a.reshape(-1) for a in np.meshgrid(grid.y, grid.x, indexing="ij"))
        if not grid.geographic:
            return cls(np.stack([y, x], axis=1), geographic=False)
        lat, lon = np.deg2rad(y), np.deg2rad(x)
        flat = np.cos(lat)
        points = np.stack([flat * np.cos(lon), flat * np.sin(lon), np.sin(lat)], axis=1)
        return cls(RADIUS_KM * points, geographic=True)

    @cached_property
    def _tree(self) -> cKDTree:
        from scipy.spatial import cKDTree

        return cKDTree(self.points)

    def _straight(self, km: float) -> float:
        """The straight distance of a distance over the ground."""
        if not self.geographic:
            return km
        return float(2 * RADIUS_KM * np.sin(min(km / (2 * RADIUS_KM), np.pi / 2)))

    def distance(self, one: int, others: np.ndarray) -> np.ndarray:
        """Distances in km from a cell to others, by their numbers in the flattened map.

        Parameters
        ----------
        one : int
            The cell.
        others : ndarray of int
            The others.
        """
        straight = np.linalg.norm(self.points[others] - self.points[one], axis=-1)
        if not self.geographic:
            return straight
        return 2 * RADIUS_KM * np.arcsin(np.clip(straight / (2 * RADIUS_KM), 0, 1))

    def within(self, one: int, km: float) -> np.ndarray:
        """Numbers of the cells at most so far from one, itself among them.

        Parameters
        ----------
        one : int
            The cell.
        km : float
            The distance.
        """
        far = self._straight(km) * (1 + ROUNDING)
        return np.asarray(self._tree.query_ball_point(self.points[one], far), dtype=np.int64)

    def closer(self, one: int, km: float) -> np.ndarray:
        """Numbers of the cells closer than a distance to one, itself among them.

        Parameters
        ----------
        one : int
            The cell.
        km : float
            The distance.
        """
        return self.within(one, km * (1 - 4 * ROUNDING))

    def reaches(self, cells: np.ndarray, km: float) -> np.ndarray:
        """Which cells of the map, ``(ny * nx,)``, have one of some cells within a distance.

        Parameters
        ----------
        cells : ndarray of int
            Numbers in the flattened map.
        km : float
            The distance.
        """
        from scipy.spatial import cKDTree

        if not len(cells):
            return np.zeros(len(self.points), dtype=bool)
        far = self._straight(km) * (1 + ROUNDING)
        nearest, _ = cKDTree(self.points[cells]).query(self.points)
        return np.asarray(nearest <= far)
