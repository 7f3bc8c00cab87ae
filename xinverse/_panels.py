"""Panels of figures: maps cut from fields, with their land, colours and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xinverse.errors import OptionError
from xinverse.fields.alignment import aligned_error
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import Grid, make_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes as PlotAxes
    from matplotlib.collections import QuadMesh

__all__ = [
    "Panel",
    "Scale",
    "add_bar",
    "common_scale",
    "cut",
    "draw",
    "draw_with_errors",
    "find_land",
    "moment",
    "outer_labels",
    "pyplot",
    "size",
    "with_units",
]

LAND = "0.75"
WIDTH = 2.9  # of a panel, inches
WITHIN = 99.5  # per cent of the values within the ends of a colour scale


@dataclass(frozen=True, eq=False)
class Panel:
    """One map on (y, x), and its grid."""

    field: xr.DataArray
    grid: Grid


@dataclass(frozen=True)
class Scale:
    """Colours of maps of one quantity."""

    cmap: Any
    low: float
    high: float
    label: str


def pyplot() -> Any:
    """Import ``matplotlib.pyplot`` when something is drawn."""
    try:
        import cmocean  # noqa: F401  fail before drawing if it is missing
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"Drawing needs matplotlib and cmocean ({error}): "
            'python -m pip install "xinverse[plot]".'
        ) from error
    return plt


def moment(field: xr.DataArray, time: Any) -> Any:
    """Return the time at a position, nearest to a date, or (for None) in the middle."""
    clock = field[find_axes(field).time]
    if time is None:
        time = clock.size // 2
    one = (
        clock[time]
        if isinstance(time, int)
        else clock.sel({clock.name: time}, method="nearest")
    )
    return one.values[()]


def cut(field: xr.DataArray, time: Any) -> Panel:
    """Cut one map from a field, at a position in time or nearest to a date."""
    if not isinstance(field, xr.DataArray):
        raise OptionError(f"Got a {type(field).__name__} to draw. Expected a DataArray.")
    field = field.squeeze()
    if field.ndim == 2:  # axes are found on three dimensions
        scalars = [name for name, value in field.coords.items() if value.ndim == 0]
        date = np.array(["2000-01-01"], dtype="datetime64[ns]")
        field, time = field.drop_vars(scalars).expand_dims(time=date), 0
    axes = find_axes(field)
    if time is None:
        raise OptionError(
            f"{field.name!r} has {field.sizes[axes.time]} times. Choose one with time=."
        )
    grid = make_grid(field, axes)
    if isinstance(time, int):
        one = field.isel({axes.time: time})
    else:
        one = field.sel({axes.time: time}, method="nearest")
    if set(one.dims) != {axes.y, axes.x}:
        raise OptionError(
            f"{field.name!r} has the dimensions {field.dims}. Expected only time, y and x: "
            "select along the others first."
        )
    return Panel(one.transpose(axes.y, axes.x).compute(), grid)


def _error_of(analysis: Panel, truth: Panel) -> Panel:
    """Analysis minus truth, with the truth's attributes."""
    error = aligned_error(analysis.field, truth.field)["error"]
    return Panel(error.assign_attrs(truth.field.attrs), truth.grid)


def find_land(panels: Sequence[Panel], sea: xr.DataArray | None) -> np.ndarray:
    """Return where land is, ``(y, x)``: outside the sea. Default: NaN in every map."""
    if sea is not None:
        wet = sea.transpose(*panels[0].field.dims).to_numpy().astype(np.float64)
        return np.asarray(np.nan_to_num(wet) == 0)
    return np.all([np.isnan(one.field.values) for one in panels], axis=0)


def common_scale(
    panels: Sequence[Panel],
    limits: tuple[float, float] | None = None,
    *,
    signed: bool = False,
    label: str | None = None,
) -> Scale:
    """Choose one scale for several maps, by the kind of quantity."""
    import cmocean.cm as colours

    first = panels[0].field
    standard_name = str(first.attrs.get("standard_name", ""))
    values = np.concatenate([one.field.values[np.isfinite(one.field.values)] for one in panels])
    low, high = np.percentile(values, [100 - WITHIN, WITHIN]) if values.size else (0.0, 1.0)
    if standard_name.endswith("standard_error") or str(first.name).endswith("_error"):
        cmap, low = colours.amp, 0.0
    elif "temperature" in standard_name and not signed:
        cmap = colours.thermal
    elif signed or low < 0 < high:
        cmap, high = colours.balance, max(-low, high)
        low = -high
    else:
        cmap = colours.haline
    if limits is not None:
        low, high = limits
    elif low == high:
        low, high = low - 1, high + 1
    name = "" if first.name is None else str(first.name)
    words = label or str(first.attrs.get("long_name", "")) or name or standard_name
    return Scale(cmap, float(low), float(high), with_units(words, first))


def with_units(label: str, field: xr.DataArray) -> str:
    """Append the units of a variable, if any, to a label."""
    units = field.attrs.get("units")
    return f"{label} ({units})" if units else label


def draw(ax: PlotAxes, one: Panel, land: np.ndarray, scale: Scale, title: str) -> QuadMesh:
    """Draw one map: land grey, gaps white."""
    from matplotlib.colors import ListedColormap

    x, y = one.grid.x, one.grid.y
    style: dict[str, Any] = {"shading": "nearest", "rasterized": True}
    sea = np.where(land, np.nan, one.field.values)
    mesh = ax.pcolormesh(x, y, sea, cmap=scale.cmap, vmin=scale.low, vmax=scale.high, **style)
    if land.any():
        ax.pcolormesh(x, y, np.where(land, 1.0, np.nan), cmap=ListedColormap([LAND]), **style)
    ax.set_title(title, loc="left", fontsize="medium")
    _label_axes(ax, one.grid)
    return mesh


def draw_with_errors(
    upper: Sequence[PlotAxes],
    lower: Sequence[PlotAxes],
    truth: Panel,
    found: Mapping[str, Panel],
    land: np.ndarray,
) -> tuple[tuple[QuadMesh, Scale], tuple[QuadMesh, Scale]]:
    """Draw maps and, below them, their errors; return a mesh and the scale of both rows."""
    wrong = [_error_of(one, truth) for one in found.values()]
    scale = common_scale([truth, *found.values()])
    off = common_scale(wrong, signed=True, label="analysis − truth")
    for ax, (title, one) in zip(upper, found.items(), strict=True):
        mesh = draw(ax, one, land, scale, title)
    for ax, one in zip(lower, wrong, strict=True):
        rms = f"{float((one.field**2).mean() ** 0.5):#.2g} {one.field.attrs.get('units', '')}"
        mesh_off = draw(ax, one, land, off, f"error: rms {rms}".rstrip())
    return (mesh, scale), (mesh_off, off)


def add_bar(mesh: QuadMesh, scale: Scale, axes: Sequence[PlotAxes], **where: Any) -> None:
    """Draw a colour bar next to panels, or into the axes ``cax``."""
    figure = axes[0].figure
    if "cax" not in where:
        where = {"ax": list(axes), "aspect": 22, "pad": 0.02}
    bar = figure.colorbar(mesh, extend="max" if scale.low == 0 else "both", **where)
    bar.set_label(scale.label)
    bar.outline.set_linewidth(0.5)


def outer_labels(axes: Any) -> None:
    """Keep tick labels at the left and bottom of an array of axes only."""
    down, across = axes.shape
    for j, i in np.ndindex(down, across):
        left = not any(ax.axison for ax in axes[j, :i])
        lowest = not any(ax.axison for ax in axes[j + 1 :, i])
        axes[j, i].tick_params(labelleft=left, labelbottom=lowest)
        if not left:
            axes[j, i].set_ylabel("")
        if not lowest:
            axes[j, i].set_xlabel("")


def size(down: int, across: int, grid: Grid) -> tuple[float, float]:
    """Return the size in inches of a figure with panels and a colour bar."""
    tall = float(np.ptp(grid.y)) / max(float(np.ptp(grid.x)), 1e-9)
    if grid.geographic:
        tall *= _stretch(grid)
    height = WIDTH * float(np.clip(tall, 0.4, 2.0)) + 0.35
    return WIDTH * across + 0.9, height * down + 0.2


def _stretch(grid: Grid) -> float:
    """Ratio of a degree of latitude to one of longitude, at the middle of the map."""
    return float(1 / max(np.cos(np.deg2rad(0.5 * (grid.y[0] + grid.y[-1]))), 0.1))


def _label_axes(ax: PlotAxes, grid: Grid) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    if grid.geographic:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: _degrees(v, "EW")))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: _degrees(v, "NS")))
        ax.set_aspect(_stretch(grid))
    else:
        ax.set(xlabel="x (km)", ylabel="y (km)", aspect="equal")
    ax.tick_params(labelsize="small", width=0.6)


def _degrees(value: float, signs: str) -> str:
    if signs == "EW":
        value = (value + 180.0) % 360.0 - 180.0
    if abs(value) in {0.0, 180.0}:
        return f"{abs(value):g}°"
    return f"{abs(value):g}°{signs[0] if value > 0 else signs[1]}"
