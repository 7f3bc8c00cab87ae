"""Cut a grid into tiles, solve each, and blend the results."""

from xinverse.tiling.plan import Plan, Tile, plan

__all__ = ["Plan", "Tile", "plan"]
