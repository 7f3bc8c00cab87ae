"""Problems for methods, made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xinverse.fields.grid import Grid
from xinverse.methods.problem import Place, Problem, Source


def one_source(
    y: np.ndarray,
    grid: Grid,
    *,
    sea: np.ndarray | None = None,
    noise: float | np.ndarray | None = None,
    background: np.ndarray | None = None,
    name: str = "sla",
    **place,
) -> Problem:
    """One variable that one source observes, on a tile of which all is kept."""
    nt, ny, nx = y.shape
    sea = np.ones((ny, nx), bool) if sea is None else sea
    cells = (np.arange(nt), np.arange(ny), np.arange(nx))
    keep = (slice(0, nt), slice(0, ny), slice(0, nx))
    where = replace(Place(cells, keep), **place)
    values = np.where(sea, y, np.nan)
    source = Source(name, grid, values, noise, cells=where.cells, period=where.period)
    backgrounds = {} if background is None else {name: background}
    return Problem((name,), grid, sea, (source,), backgrounds, where)
