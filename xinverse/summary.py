"""The summary of a labelled object, as text and HTML."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from html import escape
from textwrap import wrap
from typing import Any

import numpy as np
import xarray as xr

from xinverse.errors import XinverseError
from xinverse.fields.axes import ROLES, Axes, explain_axes
from xinverse.fields.field import to_field
from xinverse.fields.grid import Grid, make_grid
from xinverse.fields.land import find_sea
from xinverse.fields.seam import joined

__all__ = ["Summary", "summarise"]

WIDTH = 96
NOT_COMPUTED = "lazy, not computed"


@dataclass(eq=False)
class Summary:
    """What the package found in a dataset or a variable.

    Parameters
    ----------
    title : str
        The first line.
    axes : Axes or None
        None if they were not found.
    grid : Grid or None
        None if the coordinates cannot be used.
    land : str or None
        Source of the land mask.
    observed : dict
        For each variable on (time, y, x), the observed share of its sea cells and times;
        None if it is not in memory.
    facts : list of (str, list of str)
        The summary in words: labels and their lines.
    """

    title: str
    axes: Axes | None = None
    grid: Grid | None = None
    land: str | None = None
    observed: dict[Hashable, float | None] = field(default_factory=dict)
    facts: list[tuple[str, list[str]]] = field(default_factory=list)

    def __repr__(self) -> str:
        margin = 4 + max((len(label) for label, _ in self.facts), default=0)
        text = [self.title]
        for label, lines in self.facts:
            folded = [part for line in lines for part in wrap(line, WIDTH - margin)]
            for number, line in enumerate(folded):
                text.append(f"  {label if number == 0 else '':<{margin - 2}}{line}")
        return "\n".join(text)

    def _repr_html_(self) -> str:
        cell = 'style="text-align:left;vertical-align:top"'
        rows = "".join(
            f"<tr><th {cell}>{escape(label)}</th>"
            f"<td {cell}>{'<br>'.join(escape(line) for line in lines)}</td></tr>"
            for label, lines in self.facts
        )
        return f"<div><strong>{escape(self.title)}</strong><table>{rows}</table></div>"


def summarise(obj: xr.DataArray | xr.Dataset) -> Summary:
    """Describe the axes, grid, land, variables, methods and weights of a labelled object.

    Problems are included with the error text that a verb would raise; nothing is raised,
    and nothing lazy is computed.

    Parameters
    ----------
    obj : DataArray or Dataset
        Any object.

    Returns
    -------
    Summary
    """
    summary = Summary(f"xinverse summary of this {type(obj).__name__}")
    try:
        axes, how = explain_axes(obj)
        summary.axes = axes
        found = (f"{role} is {getattr(axes, role)!r} ({how[role]})" for role in ROLES)
        _tell(summary, "axes", [", ".join(found)])
        grid = make_grid(joined(obj), axes)
        summary.grid = grid
    except XinverseError as error:
        _tell(summary, "problem", [str(error)])
        return summary
    _tell_grid(summary, obj, axes, grid)
    fields = _fields(obj, axes)
    _tell_observed(summary, obj, axes, grid, fields)
    _tell(summary, "methods", _methods())
    _tell(summary, "weights", _weights(grid, fields))
    return summary


def _tell(summary: Summary, label: str, lines: Iterable[str]) -> None:
    if lines := list(lines):
        summary.facts.append((label, lines))


def _tell_grid(summary: Summary, obj: Any, axes: Axes, grid: Grid) -> None:
    nt, ny, nx = grid.shape
    dy, dx = grid.spacing_km
    south, north = sorted((grid.y[0], grid.y[-1]))
    west, east = sorted((grid.x[0], grid.x[-1]))
    if grid.geographic:
        place = f"{south:.5g} to {north:.5g} °N, {west:.5g} to {east:.5g} °E"
        at = f" at {0.5 * (south + north):.3g} °N"
    else:
        place, at = f"y {south:.5g} to {north:.5g} km, x {west:.5g} to {east:.5g} km", ""
    kind = "latitude-longitude" if grid.geographic else "projected"
    regular = "regular" if grid.regular_space else "irregular spacing"
    _tell(summary, "grid", [f"{nt} x {ny} x {nx} (time, y, x), {kind}, {regular}"])
    _tell(summary, "spacing", [f"{dy:.3g} km in y, {dx:.3g} km in x{at}"])
    _tell(summary, "extent", [place + (", round the globe" if grid.periodic else "")])
    times = obj.coords[axes.time].values
    if nt == 1:
        _tell(summary, "time", [_clock(times[0])])
    else:
        step = f"every {_duration(grid.time_step)}"
        if not grid.regular_time:
            step = f"irregular steps, median {_duration(grid.time_step)}"
        _tell(summary, "time", [f"{_clock(times[0])} to {_clock(times[-1])}, {step}"])


def _fields(obj: xr.DataArray | xr.Dataset, axes: Axes) -> dict[Hashable, xr.DataArray]:
    candidates = obj.data_vars.values() if isinstance(obj, xr.Dataset) else [obj]
    return {da.name: da for da in candidates if {axes.time, axes.y, axes.x} <= set(da.dims)}


def _tell_observed(
    summary: Summary,
    obj: xr.DataArray | xr.Dataset,
    axes: Axes,
    grid: Grid,
    fields: dict[Hashable, xr.DataArray],
) -> None:
    if not fields:
        _tell(summary, "variables", ["none has the dimensions time, y and x"])
        return
    try:
        like, ds = next(iter(fields.values())), obj if isinstance(obj, xr.Dataset) else None
        sea, summary.land = find_sea(like, ds, axes)
        _tell(summary, "land", [summary.land])
    except XinverseError as error:
        sea = None
        _tell(summary, "land", [f"problem: {error}"])
    lines = []
    for name, da in fields.items():
        label = "unnamed" if name is None else str(name)
        if "units" in da.attrs:
            label += f" ({da.attrs['units']})"
        try:
            share = _share_observed(da, axes, grid, sea)
        except XinverseError as error:
            lines.append(f"{label}: problem: {error}")
            continue
        summary.observed[name] = share
        whole = "of the sea " if sea is not None else ""
        words = NOT_COMPUTED if share is None else f"{100 * share:.3g} % {whole}observed"
        lines.append(f"{label}: {words}")
    _tell(summary, "variables", lines)


def _share_observed(
    da: xr.DataArray, axes: Axes, grid: Grid, sea: xr.DataArray | None
) -> float | None:
    # A file opened without chunks would be read as a whole, only to be shown.
    if not _is_in_memory(da):
        return None
    values = to_field(da, axes, grid).data
    observed = np.isfinite(values)
    if sea is None:
        return float(observed.mean())
    if not isinstance(sea.data, np.ndarray):
        return None
    cells = np.asarray(sea.data)
    return float((observed & cells).sum() / (cells.sum() * (observed.size / cells.size)))


def _is_in_memory(da: xr.DataArray) -> bool:
    """Return whether the values are a numpy array, without reading any.

    An empty slice is at the address of the array that it is cut from. From a file, each slice
    is a new array.
    """
    if da.chunks is not None:
        return False
    empty = dict.fromkeys(da.dims, slice(0, 0))
    one, two = da.isel(empty).data, da.isel(empty).data
    arrays = isinstance(one, np.ndarray) and isinstance(two, np.ndarray)
    return arrays and one.ctypes.data == two.ctypes.data


def _methods() -> list[str]:
    from xinverse.methods import registry

    return [f"{name}: {method.summary}" for name, method in registry.available().items()]


def _weights(grid: Grid, fields: dict[Hashable, xr.DataArray]) -> list[str]:
    from xinverse.weights import registry

    lines = []
    for name, card in registry.cards().items():
        reasons = {key: card.fits(grid, da) for key, da in fields.items()}
        fit = [str(key) for key, reason in reasons.items() if reason is None]
        if fit:
            lines.append(f"{name}: fits {', '.join(fit)}")
        elif reasons:
            lines.append(f"{name}: does not fit. {next(iter(reasons.values()))}")
    return lines


def _clock(moment: Any) -> str:
    if isinstance(moment, np.datetime64):
        text = np.datetime_as_string(moment, unit="m")
        return text.removesuffix("T00:00")
    return str(moment).removesuffix(" 00:00:00")


def _duration(days: float) -> str:
    units = (("day", 1.0), ("hour", 1 / 24), ("minute", 1 / 1440))
    name, length = next((unit for unit in units if days >= 0.999 * unit[1]), units[-1])
    count = f"{days / length:.4g}"
    return f"{count} {name}" if count == "1" else f"{count} {name}s"
