"""Differentiable models of how states evolve."""

from xinverse.dynamics.base import DYNAMICS, Dynamics, Rescaled
from xinverse.dynamics.lorenz import Lorenz63, Lorenz96
from xinverse.dynamics.quasi_geostrophic import TwoLayerQG

__all__ = ["DYNAMICS", "Dynamics", "Lorenz63", "Lorenz96", "Rescaled", "TwoLayerQG"]
