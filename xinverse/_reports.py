"""Figures of reports: the calibration of predicted errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xinverse._panels import pyplot, with_units

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes as PlotAxes
    from matplotlib.figure import Figure

    from xinverse.scores.calibration import Calibration

__all__ = ["calibration_figure"]

BLUE, GREY = "#0072B2", "0.35"


def calibration_figure(found: Calibration) -> Figure:
    """Draw coverage, reliability, and the histogram of ranks or of the PIT.

    Parameters
    ----------
    found : Calibration
        The scores.

    Returns
    -------
    matplotlib.figure.Figure
        Bars and bands are two sampling errors.
    """
    plt = pyplot()
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.3), layout="constrained")
    _draw_coverage(axes[0], found.coverage)
    _draw_reliability(axes[1], found.reliability)
    ranks = found.ranks
    one, dim, title = (
        (found.pit, "pit", "probability integral transform")
        if ranks is None
        else (ranks, "rank", "rank of the truth among the members")
    )
    _draw_histogram(axes[2], one, dim, title)
    for ax in axes:
        ax.grid(color="0.9", lw=0.6)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize="small")
    return figure


def _draw_coverage(ax: PlotAxes, cover: xr.Dataset) -> None:
    ax.plot([0, 100], [0, 100], color=GREY, lw=0.9)
    level, share, error = (
        100 * cover[name].values for name in ("level", "coverage", "sampling_error")
    )
    ax.errorbar(level, share, 2 * error, color=BLUE, marker="o", ms=4, lw=1.4, capsize=3)
    ax.set(xlim=(0, 100), ylim=(0, 100), xlabel="interval (%)", ylabel="truth within it (%)")
    ax.set_title("coverage", loc="left", fontsize="medium")


def _draw_reliability(ax: PlotAxes, groups: xr.Dataset) -> None:
    x, y, error = (
        groups[name].values for name in ("predicted", "actual", "actual_sampling_error")
    )
    top = 1.15 * float(np.max([x.max(), (y + 2 * error).max()]))
    ax.plot([0, top], [0, top], color=GREY, lw=0.9)
    ax.errorbar(x, y, 2 * error, color=BLUE, marker="o", ms=4, lw=1.4, capsize=3)
    label: dict[str, Any] = {
        "xlabel": with_units("predicted error", groups["predicted"]),
        "ylabel": with_units("actual error", groups["actual"]),
    }
    ax.set(xlim=(0, top), ylim=(0, top), **label)
    ax.set_title("by predicted error", loc="left", fontsize="medium")


def _draw_histogram(ax: PlotAxes, found: xr.Dataset, dim: str, title: str) -> None:
    centre, share = found[dim].values, 100 * found["frequency"].values
    width = float(centre[1] - centre[0])
    ax.bar(centre, share, 0.92 * width, color=BLUE, alpha=0.55)
    expected, error = 100 * float(found["expected"]), 100 * found["sampling_error"].values
    edges = np.append(centre - width / 2, centre[-1] + width / 2)
    ax.stairs(
        expected + 2 * error,
        edges,
        baseline=expected - 2 * error,
        fill=True,
        color=GREY,
        alpha=0.35,
        label="flat, two sampling errors",
    )
    ax.set(
        xlabel=title,
        ylabel="share (%)",
        ylim=(0, 1.3 * max(share.max(), expected + 2 * error.max())),
    )
    ax.legend(frameon=False, fontsize="small", loc="upper center")
    ax.set_title(
        f"{'rank' if dim == 'rank' else 'PIT'} histogram", loc="left", fontsize="medium"
    )
