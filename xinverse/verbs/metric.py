"""How far the distances within tiles are from those on the Earth."""

from __future__ import annotations

import numpy as np

from xinverse.errors import MetricWarning, warn
from xinverse.fields.grid import Grid
from xinverse.methods.tile_statistics import tile_latitude
from xinverse.tiling.plan import Plan

__all__ = ["metric_errors", "metric_words"]

# Beyond it a map differs visibly: a correlation of 0.65 becomes 0.54 or 0.74.
WARN_ABOVE = 0.2


def metric_errors(grid: Grid, tiles: Plan) -> np.ndarray:
    r"""Relative error of east-west distances in each row.

    A tile takes one latitude :math:`\phi_0` for all of its rows, so a row at :math:`\phi` is
    wrong by :math:`\cos\phi_0 / \cos\phi - 1`.

    Parameters
    ----------
    grid : Grid
        The whole grid, geographic.
    tiles : Plan
        Its tiles.

    Returns
    -------
    ndarray, shape (ny,)
        Positive where distances are too long. A row on a pole counts half a step from it.
    """
    axis = tiles.axes[1]
    errors = np.empty(axis.size)
    nearest = 90.0 - 0.5 * float(np.median(np.abs(np.diff(grid.y))))
    own = np.cos(np.deg2rad(np.minimum(np.abs(grid.y), nearest)))
    for k in range(axis.count):
        core = slice(axis.edges[k], axis.edges[k + 1])
        errors[core] = np.cos(np.deg2rad(tile_latitude(grid.y[axis.read(k)]))) / own[core] - 1.0
    return errors


def metric_words(grid: Grid, tiles: Plan) -> str:
    """The largest of `metric_errors` in words; empty if the grid is not geographic.

    Parameters
    ----------
    grid : Grid
        The whole grid.
    tiles : Plan
        Its tiles.

    Warns
    -----
    MetricWarning
        The error is above 20 %.
    """
    if not grid.geographic:
        return ""
    errors = np.abs(metric_errors(grid, tiles))
    worst = int(errors.argmax())
    percent, latitude = f"{100 * errors[worst]:.0f} %", f"{grid.y[worst]:.4g}°"
    large = np.abs(grid.y[errors > WARN_ABOVE])
    if large.size:
        warn(
            f"East-west distances are wrong by up to {percent}, at latitude {latitude}, and by "
            f"more than {100 * WARN_ABOVE:.0f} % from {large.min():.4g}° on: a tile takes one "
            "latitude for all of its rows, and does not reach across a pole. For the polar "
            "ocean give the field on a projected grid: polar stereographic x and y in metres, "
            "made with pyproj, each with units='m'. Elsewhere shorter cores (tile={'y': ...}) "
            "help, or a shorter length_scale=.",
            MetricWarning,
        )
    return f"east-west distances within {percent} (at latitude {latitude})"
