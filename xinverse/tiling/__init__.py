"""Tiles: how a grid is cut, solved piece by piece and joined again."""

from xinverse.tiling.plan import Plan, Tile, plan

__all__ = ["Plan", "Tile", "plan"]
