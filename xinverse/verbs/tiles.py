"""The tiles that a verb uses: what the method wants, or what the user gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from xinverse.errors import TileError
from xinverse.methods.base import Method
from xinverse.methods.footprint import covered_cells
from xinverse.methods.limits import Limit
from xinverse.methods.problem import Layout
from xinverse.options import get_option
from xinverse.tiling.plan import Plan, plan
from xinverse.verbs.metric import metric_words

__all__ = ["plan_for"]

# Beyond both, a plan is a mistake. Cores as long as their halo solve 27 cells for each.
MOST_OVERHEAD = 100
MANY_TILES = 1000


def plan_for(
    method: Method, layout: Layout, tile: Any = "auto", limit: Limit | None = None
) -> Plan:
    """The tiles of a method on a grid: a function of these alone, never of chunks.

    Parameters
    ----------
    method : Method
        Says which core and halo it wants.
    layout : Layout
        The grid, and what observes it.
    tile : "auto", Plan, or mapping of "time", "y", "x" to int
        ``"auto"`` fits the option ``memory_budget``; a mapping sets the longest
        core along some axes; a plan is taken as it is.
    limit : Limit, optional
        How far from the observations the maps reach; tiles must see as far.

    Raises
    ------
    TileError
        If the tile was not understood, needs more than the memory budget, or is so small
        that its halo is nearly all of the work.
    """
    budget, grid = get_option("memory_budget"), layout.grid
    measured = method.metric or (limit is not None and limit.distance is not None)
    per_cell = method.bytes_per_cell * len(layout.variables)
    # The part of a tile that is kept goes half way into its halo.
    reach = [limit.halo(grid) if limit else (0, 0, 0)]
    reach += [(0, *covered_cells(source, grid)) for source in layout.sources]
    least = tuple(2 * max(cells) for cells in zip(*reach, strict=True))
    if isinstance(tile, Plan):
        sizes = tuple(a.size for a in tile.axes)
        if sizes != grid.shape:
            raise TileError(
                f"The plan is for a grid of {sizes} cells along (time, y, x); this one has "
                f"{grid.shape}. Make one for it with xinverse.plan_tiles."
            )
        if tile.axes[2].periodic and not grid.periodic:
            raise TileError(
                "The plan wraps along x, and this grid does not go round the globe. Make a "
                "plan for it with xinverse.plan_tiles."
            )
        short = [a.count > 1 and a.halo < n for a, n in zip(tile.axes, least, strict=True)]
        if any(short):
            raise TileError(
                f"max_distance=, max_gap= or the cells of a source need halos of {least} cells "
                f"along (time, y, x), and the plan has {tuple(a.halo for a in tile.axes)}: "
                "leave tile= out, or make a plan with longer halos."
            )
        _within(budget, _worth_it(tile), per_cell)
        if measured:
            metric_words(grid, tile)
        return tile
    wanted = method.footprint(layout, budget / len(layout.variables))
    core = list(wanted.core)
    reason = f"auto: {wanted.reason}"
    if not isinstance(tile, str) or tile != "auto":
        roles = ("time", "y", "x")
        if not isinstance(tile, Mapping) or not set(tile) <= set(roles):
            raise TileError(
                f"tile={tile!r}: expected 'auto', a Plan, or cells of the core along some of "
                "'time', 'y' and 'x', such as {'time': 30, 'y': 128, 'x': 128}."
            )
        for role, cells in tile.items():
            if isinstance(cells, bool) or not isinstance(cells, int | np.integer) or cells < 1:
                raise TileError(
                    f"tile[{role!r}]={cells!r}: expected a number of cells above 0."
                )
            core[roles.index(role)] = min(int(cells), grid.shape[roles.index(role)])
        reason = "core as given"
    longest = (core[0], core[1], core[2])
    t, y, x = (max(pair) for pair in zip(wanted.halo, least, strict=True))
    tiles = plan(grid.shape, longest, (t, y, x), periodic=grid.periodic, reason=reason)
    if reason == "core as given":
        _worth_it(tiles)
    _within(budget, tiles, per_cell)
    words = metric_words(grid, tiles) if measured else ""
    return replace(tiles, reason=f"{reason}; {words}") if words else tiles


def _worth_it(tiles: Plan) -> Plan:
    """The plan, if it does not spend nearly all of its work on halos."""
    if tiles.size > MANY_TILES and tiles.overhead > MOST_OVERHEAD:
        cores = {
            name: max(axis.halo, axis.core)
            for name, axis in zip(("time", "y", "x"), tiles.axes, strict=True)
        }
        raise TileError(
            f"tile= gives {tiles.size} tiles, which solve {tiles.overhead:.0f} cells for each "
            f"cell of the grid, because of the halo of {tuple(a.halo for a in tiles.axes)} "
            "cells along (time, y, x) around each core. Expected cores as long as their halo "
            f"or longer: tile={cores}. Or leave tile= out."
        )
    return tiles


def _within(budget: float, tiles: Plan, bytes_per_cell: float) -> Plan:
    """The plan, if one of its tiles fits the memory budget."""
    needed = float(np.prod(tiles.shape)) * bytes_per_cell
    if needed > budget:
        t, y, x = tiles.shape
        halo = tuple(axis.halo for axis in tiles.axes)
        raise TileError(
            f"A tile of {t} x {y} x {x} cells (time, y, x), its halo of {halo} on each side "
            f"included, would take about {needed / 2**20:.3g} MiB, and the memory budget is "
            f"{budget / 2**20:.3g} MiB. Give shorter tile= or scales, or raise the budget: "
            f"xinverse.set_options(memory_budget='{np.ceil(needed / 2**30):.0f} GiB')."
        )
    return tiles
