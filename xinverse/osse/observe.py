"""Observe a simulated truth as altimeters would: the OSSE's L3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import AxesError, DataError, OptionError
from xinverse.fields.axes import Axes
from xinverse.fields.clock import date_after
from xinverse.fields.l3 import build_l3, geographic_grid, grid_coordinates, in_order_of
from xinverse.osse.binning import CellSums
from xinverse.osse.sampling import Sighting, sightings

__all__ = ["observe", "track_points"]

Noise = float | Mapping[str, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Samples:
    """What one satellite measured over the sea."""

    sighting: Sighting
    sea: NDArray[np.bool_]
    values: Floats
    noise: float


def observe(
    truth: xr.DataArray,
    systems: str | Sequence[str] = ("nadir:4",),
    *,
    noise: Noise = 0.02,
    seed: int = 0,
) -> xr.Dataset:
    r"""Sample a complete field along orbits: gridded L3 with gaps.

    Each sample is the truth of its nearest cell and time step plus white noise of standard
    deviation :math:`s`; a cell holds the mean of the :math:`n` samples that fall in it during
    the time step, with noise :math:`s / \sqrt{n}`.

    Parameters
    ----------
    truth : xarray.DataArray
        Field on (time, latitude, longitude) in any order; NaN is land and never seen.
    systems : str or sequence of str, default ("nadir:4",)
        ``"nadir:N"`` (N altimeters of jason, sentinel3a, saral, sentinel3b, cryosat, then the
        same interleaved) or names in :data:`xinverse.osse.ORBITS`, such as ``"swot"``
        (nadir and two 50-km swaths).
    noise : float or mapping of str to float, default 0.02
        Standard deviation of the white noise of one sample, in the units of `truth`; a mapping
        gives it by orbit name.
    seed : int, default 0
        Draws the satellites' positions and the noise.

    Returns
    -------
    xarray.Dataset
        On the grid of `truth`: the variable with gaps, ``<name>_count`` and
        ``<name>_noise``. In memory, whatever `truth` is.

    Raises
    ------
    AxesError, GridError, UnitsError
        If the axes of time, latitude and longitude are not understood, or there are others.
    OptionError, UnknownNameError
        If an observing system or the noise is not understood.
    DataError
        If the satellites see no cell of the sea.
    """
    systems = (systems,) if isinstance(systems, str) else tuple(systems)
    field, axes, samples = _sample(truth, systems, noise, seed)
    sums = CellSums(field.shape)
    for one in samples:
        at = one.sighting
        cells = (at.time_index[one.sea], at.y_index[one.sea], at.x_index[one.sea])
        sums.add(cells, one.values, one.noise)
    mean = sums.mean.astype(field.dtype if field.dtype.kind == "f" else np.float64)
    seen = build_l3(
        _name(truth),
        mean,
        sums.count,
        sums.noise.astype(mean.dtype),
        grid_coordinates(field, axes),
        axes,
        truth.attrs,
    )
    seen.attrs["comment"] = f"simulated observations: {', '.join(systems)}, seed {seed}"
    return in_order_of(truth, seen, axes)


def track_points(
    truth: xr.DataArray,
    systems: str | Sequence[str] = ("nadir:4",),
    *,
    noise: Noise = 0.02,
    seed: int = 0,
) -> xr.Dataset:
    """Sample a complete field along orbits: points along the tracks, not gridded.

    With the same seed, :func:`observe` holds the same samples.

    Parameters
    ----------
    truth : xarray.DataArray
        Field on (time, latitude, longitude) in any order; NaN is land and never seen.
    systems : str or sequence of str, default ("nadir:4",)
        As in :func:`observe`.
    noise : float or mapping of str to float, default 0.02
        As in :func:`observe`.
    seed : int, default 0
        Draws the satellites' positions and the noise.

    Returns
    -------
    xarray.Dataset
        Along ``point``, in the order of time: the variable, and coordinates ``time``,
        ``latitude``, ``longitude``, ``satellite`` (name) and ``pass`` (number in its cycle).

    Raises
    ------
    AxesError, GridError, UnitsError, OptionError, UnknownNameError, DataError
        As in :func:`observe`.
    """
    systems = (systems,) if isinstance(systems, str) else tuple(systems)
    field, axes, samples = _sample(truth, systems, noise, seed)
    tracks = [(one, one.sighting.track) for one in samples]
    days = np.concatenate([track.time[one.sea] for one, track in tracks])
    order = np.argsort(days, kind="stable")
    latitude = np.concatenate([track.latitude[one.sea] for one, track in tracks])
    longitude = np.concatenate([track.longitude[one.sea] for one, track in tracks])
    number = np.concatenate([track.pass_number[one.sea] for one, track in tracks])
    satellite = np.concatenate(
        [np.full(one.values.size, one.sighting.satellite.name) for one in samples]
    )
    values = np.concatenate([one.values for one in samples])
    clock = field[axes.time]
    columns = {
        "time": (date_after(clock, days), {**clock.attrs, "standard_name": "time"}),
        "latitude": (latitude, {"standard_name": "latitude", "units": "degrees_north"}),
        "longitude": (longitude, {"standard_name": "longitude", "units": "degrees_east"}),
        "satellite": (satellite, {"long_name": "name of the satellite"}),
        "pass": (
            number.astype(np.int32),
            {"long_name": "half revolution within the repeat cycle, ascending when odd"},
        ),
    }
    return xr.Dataset(
        {_name(truth): ("point", values[order], dict(truth.attrs))},
        {name: ("point", data[order], attrs) for name, (data, attrs) in columns.items()},
        {"comment": f"simulated observations: {', '.join(systems)}, seed {seed}"},
    )


def _sample(
    truth: xr.DataArray, systems: tuple[str, ...], noise: Noise, seed: int
) -> tuple[xr.DataArray, Axes, list[_Samples]]:
    """The field in canonical order, its axes, and what each satellite measures."""
    axes, grid = geographic_grid(truth, "an orbit")
    others = set(truth.dims) - {axes.time, axes.y, axes.x}
    if others:
        first = dict.fromkeys(sorted(map(str, others)), 0)
        raise AxesError(
            f"{_name(truth)!r} has the dimensions {tuple(truth.dims)}; orbits fly over time, "
            f"latitude and longitude only. Take one along the others: truth.isel({first})."
        )
    field = truth.transpose(axes.time, axes.y, axes.x)
    data = field.to_numpy()
    if np.isinf(data).any():
        raise DataError(
            f"{_name(truth)!r} has {int(np.isinf(data).sum())} infinite values. A truth is "
            "finite over the sea and NaN on land: replace them."
        )
    random = np.random.default_rng([seed, 1])
    samples = []
    for one in sightings(grid.time, grid.y, grid.x, systems, seed):
        deviation = _deviation(noise, one.satellite.orbit.name)
        values = data[one.time_index, one.y_index, one.x_index].astype(np.float64)
        values += deviation * random.standard_normal(values.size)
        sea = np.isfinite(values)
        samples.append(_Samples(one, sea, values[sea], deviation))
    if not any(one.values.size for one in samples):
        raise DataError(
            f"{', '.join(systems)} saw no cell of the sea in {grid.shape[0]} time steps of "
            f"{_name(truth)!r}. Give more altimeters, more days or a larger domain."
        )
    return field, axes, samples


def _deviation(noise: Noise, orbit: str) -> float:
    if isinstance(noise, Mapping):
        if orbit not in noise:
            raise OptionError(
                f"noise has no entry for {orbit!r}, only for {sorted(noise)}. Give one for "
                "every orbit that flies."
            )
        noise = noise[orbit]
    if not (np.isfinite(noise) and noise >= 0):
        raise OptionError(f"The noise of {orbit!r} is {noise}. Give a number of 0 or more.")
    return float(noise)


def _name(truth: xr.DataArray) -> str:
    return "observation" if truth.name is None else str(truth.name)
