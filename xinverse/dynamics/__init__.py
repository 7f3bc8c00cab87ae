"""Differentiable models of how states evolve."""

from xinverse.dynamics.quasi_geostrophic import TwoLayerQG

__all__ = ["TwoLayerQG"]
