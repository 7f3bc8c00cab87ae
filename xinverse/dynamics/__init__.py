"""Differentiable models of how states evolve."""

from xinverse.dynamics.advection import Advection
from xinverse.dynamics.base import DYNAMICS, Dynamics, Rescaled
from xinverse.dynamics.bilinear import BilinearODE
from xinverse.dynamics.lorenz import Lorenz63, Lorenz96
from xinverse.dynamics.one_layer import OneLayerQG
from xinverse.dynamics.quasi_geostrophic import TwoLayerQG

__all__ = [
    "DYNAMICS",
    "Advection",
    "BilinearODE",
    "Dynamics",
    "Lorenz63",
    "Lorenz96",
    "OneLayerQG",
    "Rescaled",
    "TwoLayerQG",
]
