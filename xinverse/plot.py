"""Plots of maps, comparisons with a truth, tiles and learning curves.

Colour maps are from cmocean. Land is grey, gaps are white. Needs
``pip install "xinverse[plot]"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xinverse._panels import (
    add_bar,
    common_scale,
    cut,
    draw,
    draw_with_errors,
    find_land,
    moment,
    outer_labels,
    pyplot,
    size,
)
from xinverse.errors import OptionError
from xinverse.fields.alignment import variable_of
from xinverse.fields.seam import across_the_seam

if TYPE_CHECKING:
    from matplotlib.axes import Axes as PlotAxes
    from matplotlib.figure import Figure

    from xinverse.tiling.plan import Plan

__all__ = ["comparison", "learning_curve", "maps", "plan"]

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.45"


@across_the_seam
def maps(
    fields: Mapping[str, xr.DataArray],
    *,
    time: Any = None,
    sea: xr.DataArray | None = None,
    limits: tuple[float, float] | None = None,
    columns: int | None = None,
) -> Figure:
    """Draw maps side by side, with one colour scale.

    Parameters
    ----------
    fields : mapping of str to DataArray
        Titles and maps on (y, x), or on (time, y, x) with `time`.
    time : datetime64, str or int, optional
        A date, whose nearest time is drawn, or a position. Needed for several times.
    sea : DataArray, optional
        True or 1 on the sea, on (y, x). Default: cells that are NaN in every map are land.
    limits : tuple of float, optional
        Ends of the colour scale. Default: from the values; symmetric about zero for anomalies,
        from zero for errors.
    columns : int, optional
        Maps in a row. Default: at most four.

    Returns
    -------
    matplotlib.figure.Figure
        The maps and their colour bar.

    Raises
    ------
    OptionError
        There is no map, or a field has several times and `time` is missing.
    AxesError, GridError
        The axes of a field are not recognised.
    ImportError
        matplotlib or cmocean is not installed.
    """
    plt = pyplot()
    if not fields:
        raise OptionError("There is no map to draw. Expected {'title': DataArray}.")
    panels = {title: cut(field, time) for title, field in fields.items()}
    found = list(panels.values())
    land, scale = find_land(found, sea), common_scale(found, limits)
    across = min(columns or 4, len(found))
    down = -(-len(found) // across)
    inches = size(down, across, found[0].grid)
    figure, axes = plt.subplots(
        down, across, figsize=inches, layout="compressed", squeeze=False
    )
    for ax in axes.flat[len(found) :]:
        ax.set_axis_off()
    for ax, (title, one) in zip(axes.flat, panels.items(), strict=False):
        mesh = draw(ax, one, land, scale, title)
    outer_labels(axes)
    add_bar(mesh, scale, axes.ravel())
    return figure


@across_the_seam
def comparison(
    truth: xr.DataArray,
    observations: xr.DataArray | xr.Dataset,
    analyses: Mapping[str, xr.DataArray | xr.Dataset],
    *,
    time: Any = None,
    sea: xr.DataArray | None = None,
) -> Figure:
    """Draw truth, observations and analyses, with the errors of the analyses below.

    Parameters
    ----------
    truth : DataArray
        On (time, y, x); NaN is land.
    observations : DataArray or Dataset
        The same variable with gaps.
    analyses : mapping of str to DataArray or Dataset
        Names and maps. From datasets, the variable with the truth's name is drawn, and the
        first ``<name>_error`` as the predicted error.
    time : datetime64, str or int, optional
        A date, whose nearest time is drawn, or a position. Default: the middle one.
    sea : DataArray, optional
        True or 1 on the sea, on (y, x). Default: NaN in the truth is land.

    Returns
    -------
    matplotlib.figure.Figure
        Above: truth, observations, analyses. Below: the predicted error, if any, and analysis
        minus truth with its root mean square.

    Raises
    ------
    OptionError
        There is no analysis, or a dataset has no variable with the truth's name.
    AxesError, GridError
        The axes of a field are not recognised.
    ImportError
        matplotlib or cmocean is not installed.
    """
    plt = pyplot()
    if not analyses:
        raise OptionError("There is no analysis to compare. Expected {'name': DataArray}.")
    # A date of the truth, so that all panels show the same time.
    when = moment(truth, time)
    whole = cut(truth, when)
    seen = cut(variable_of(observations, truth.name), when)
    found = {title: cut(variable_of(a, truth.name), when) for title, a in analyses.items()}
    land = find_land([whole], sea)
    across = 2 + len(found)
    inches = size(2, across, whole.grid)
    figure, axes = plt.subplots(2, across, figsize=inches, layout="compressed")
    above, below = draw_with_errors(axes[0, 2:], axes[1, 2:], whole, found, land)
    draw(axes[0, 0], whole, land, above[1], "truth")
    draw(axes[0, 1], seen, land, above[1], "observations")
    add_bar(*above, [axes[0, -1]])
    add_bar(*below, [axes[1, -1]])
    _draw_predicted(axes[1], analyses, f"{truth.name}_error", land, when)
    outer_labels(axes)
    return figure


def plan(
    plan: Plan, ax: PlotAxes | None = None, *, tile: tuple[int, int] | None = None
) -> PlotAxes:
    """Draw the tiles of a plan over (y, x): cores, ramps, and one tile with its halo.

    Parameters
    ----------
    plan : Plan
        The tiles.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.
    tile : tuple of int, optional
        Position of the highlighted tile along (y, x). Default: the middle one.

    Returns
    -------
    matplotlib.axes.Axes
        Those that were drawn on.

    Raises
    ------
    OptionError
        The plan has no such tile.
    ImportError
        matplotlib or cmocean is not installed.
    """
    plt = pyplot()
    from matplotlib.patches import Rectangle

    time, y, x = plan.axes
    j, i = (y.count // 2, x.count // 2) if tile is None else tile
    if not (0 <= j < y.count and 0 <= i < x.count):
        raise OptionError(
            f"There is no tile {tile}. The plan has {y.count} x {x.count} tiles along (y, x)."
        )
    if ax is None:
        height = min(max(5.5 * y.size / x.size, 2.5), 7.0)
        _, ax = plt.subplots(figsize=(6.5, height + 1.2), layout="compressed")

    def box(low_y: float, high_y: float, low_x: float, high_x: float, **style: Any) -> None:
        # A halo beyond a periodic grid continues on its other side.
        for shift in (-x.size, 0, x.size) if x.periodic else (0,):
            corner, width = (low_x + shift, low_y), high_x - low_x
            ax.add_patch(Rectangle(corner, width, high_y - low_y, **style))

    around = (y.start(j), y.start(j) + y.length, x.start(i), x.start(i) + x.length)
    box(*around, facecolor=ORANGE, alpha=0.15, lw=0)
    box(y.edges[j], y.edges[j + 1], x.edges[i], x.edges[i + 1], facecolor=ORANGE, alpha=0.45)
    for edge in y.edges if y.periodic else y.edges[1:-1]:
        box(edge - y.ramp, edge + y.ramp, 0, x.size, facecolor=BLUE, alpha=0.2, lw=0)
    for edge in x.edges[:-1] if x.periodic else x.edges[1:-1]:
        box(0, y.size, edge - x.ramp, edge + x.ramp, facecolor=BLUE, alpha=0.2, lw=0)
    ax.vlines(x.edges, 0, y.size, color=GREY, lw=0.8)
    ax.hlines(y.edges, 0, x.size, color=GREY, lw=0.8)
    box(*around, fill=False, edgecolor=ORANGE, ls="--", lw=1.4)
    ax.set(xlim=(0, x.size), ylim=(0, y.size), xlabel="x (cells)", ylabel="y (cells)")
    ax.set_aspect("equal")
    ax.set_title(
        f"{y.count} × {x.count} tiles, {time.count} in time; "
        f"{plan.overhead:.2f} cells solved for each cell",
        loc="left",
        fontsize="medium",
    )
    key: dict[str, dict[str, Any]] = {
        "core of one tile": {"facecolor": ORANGE, "alpha": 0.5},
        "its halo": {"facecolor": ORANGE, "alpha": 0.15, "edgecolor": ORANGE, "ls": "--"},
        "ramps, where tiles blend": {"facecolor": BLUE, "alpha": 0.25},
    }
    ax.legend(
        [Rectangle((0, 0), 1, 1, **style) for style in key.values()],
        list(key),
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=3,
        frameon=False,
    )
    return ax


def learning_curve(
    history: Sequence[Mapping[str, float]], ax: PlotAxes | None = None
) -> PlotAxes:
    """Draw training losses against steps.

    Parameters
    ----------
    history : sequence of mapping
        From the training loop: one entry per validation, with ``"step"`` and ``"loss"`` or
        ``"validation"`` or both.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With logarithmic losses.

    Raises
    ------
    OptionError
        The history is empty or has no steps.
    ImportError
        matplotlib or cmocean is not installed.
    """
    plt = pyplot()
    if not history or any("step" not in row for row in history):
        raise OptionError(
            "The history is empty or has no steps. Expected [{'step': ..., 'loss': ...}, ...]."
        )
    if ax is None:
        _, ax = plt.subplots(figsize=(6.0, 3.4), layout="compressed")
    lines = (("loss", BLUE, "o", "training"), ("validation", ORANGE, "s", "validation"))
    for name, colour, marker, label in lines:
        rows = [row for row in history if name in row]
        if rows:
            steps, losses = [row["step"] for row in rows], [row[name] for row in rows]
            ax.plot(steps, losses, color=colour, marker=marker, ms=3, lw=1.4, label=label)
    ax.set(xlabel="step", ylabel="loss", yscale="log")
    for which in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        which("{x:g}")
    ax.grid(color="0.9", which="both", lw=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return ax


def _draw_predicted(
    row: Any,
    analyses: Mapping[str, xr.DataArray | xr.Dataset],
    name: str,
    land: np.ndarray,
    time: Any,
) -> None:
    """Draw the first predicted error below the truth, and its colour bar next to it."""
    row[1].set_axis_off()
    for title, analysis in analyses.items():
        if isinstance(analysis, xr.Dataset) and name in analysis:
            one = cut(analysis[name], time)
            scale = common_scale([one], label="one standard deviation")
            mesh = draw(row[0], one, land, scale, f"predicted error, {title}")
            place = row[1].inset_axes((0.04, 0.05, 0.045, 0.9))
            add_bar(mesh, scale, [row[0]], cax=place)
            return
    row[0].set_axis_off()
