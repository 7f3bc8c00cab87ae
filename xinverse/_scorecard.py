"""The figure of a comparison: maps, and errors in space, time and wavelength."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xinverse._panels import (
    add_bar,
    cut,
    draw,
    draw_with_errors,
    find_land,
    moment,
    outer_labels,
    pyplot,
    size,
)
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import make_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes as PlotAxes
    from matplotlib.figure import Figure

    from xinverse.scores.comparison import Comparison

__all__ = ["scorecard"]

# Okabe and Ito's colours for the colour-blind; dashes distinguish the lines in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":")
HEIGHT = 2.7  # inches, of the lower panels


def scorecard(comparison: Comparison, time: Any = None) -> Figure:
    """Draw a comparison: maps of one time above, series and spectra below."""
    plt = pyplot()
    truth = comparison.truth
    when = moment(truth, time)
    whole = cut(truth, when)
    width, height = size(2, 1 + len(comparison.analyses), whole.grid)
    width = max(width, 8.0)
    figure = plt.figure(figsize=(width, height + HEIGHT), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(height, HEIGHT))
    _draw_maps(upper, comparison, whole, when)
    left, right = lower.subplots(1, 2)
    _draw_series(left, comparison)
    _draw_ratio(right, comparison)
    return figure


def _draw_maps(figure: Any, comparison: Comparison, whole: Any, when: Any) -> None:
    found = {name: cut(one, when) for name, one in comparison.analyses.items()}
    land = find_land([whole], None)
    axes = figure.subplots(2, 1 + len(found), squeeze=False)
    axes[1, 0].set_axis_off()
    axes[1, 0].text(0.5, 0.5, _written(when), ha="center", transform=axes[1, 0].transAxes)
    above, below = draw_with_errors(axes[0, 1:], axes[1, 1:], whole, found, land)
    draw(axes[0, 0], whole, land, above[1], "truth")
    add_bar(*above, list(axes[0]))
    add_bar(*below, list(axes[1]))
    outer_labels(axes)


def _draw_series(ax: PlotAxes, comparison: Comparison) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    series, truth = comparison.series, comparison.truth
    axes = find_axes(truth)
    clock = truth[axes.time].values
    if clock.dtype.kind == "M":
        locator = AutoDateLocator(minticks=3, maxticks=6)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:  # matplotlib does not support dates of other calendars
        clock = make_grid(truth, axes).time
        ax.set_xlabel("days")
    for name, style in _styles(comparison).items():
        ax.plot(clock, series.sel(analysis=name).values, label=name, **style)
    units = series.attrs.get("units")
    ax.set(ylabel=f"RMSE ({units})" if units else "RMSE", ylim=(0, None))
    ax.legend(frameon=False, fontsize="small")
    _finish(ax, "error in time")


def _draw_ratio(ax: PlotAxes, comparison: Comparison) -> None:
    spectra = comparison.spectra
    if spectra is None:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no spectra", ha="center", transform=ax.transAxes)
        return
    from matplotlib.ticker import LogLocator

    averaged = spectra.mean("frequency")
    ratio = averaged["psd_error"] / averaged["psd_truth"]
    length = spectra["wavelength"]
    for name, style in _styles(comparison).items():
        ax.plot(length.values, ratio.sel(analysis=name).values, label=name, **style)
    ax.axhline(0.5, color="0.3", lw=0.9)
    ax.annotate(
        "one half",
        (0.99, 0.5),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        fontsize="small",
        color="0.3",
    )
    highest = float(np.nanmax(ratio.values))
    ax.set(
        xscale="log",
        ylim=(0, min(max(1.1, 1.05 * highest), 2.0)),
        xlabel=f"wavelength ({length.attrs['units']})",
        ylabel="PSD of error / of truth",
    )
    ax.invert_xaxis()
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    _finish(ax, "error by wavelength, mean of all periods")


def _styles(comparison: Comparison) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "color": COLOURS[k % len(COLOURS)],
            "ls": DASHES[(k // len(COLOURS) + k) % len(DASHES)],
            "lw": 1.5,
        }
        for k, name in enumerate(comparison.analyses)
    }


def _finish(ax: PlotAxes, title: str) -> None:
    ax.set_title(title, loc="left", fontsize="medium")
    ax.grid(color="0.9", which="both", lw=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize="small")


def _written(when: Any) -> str:
    text = str(when)
    return text[:16].replace("T", " ").removesuffix(" 00:00")
