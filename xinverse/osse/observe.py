"""Simulate the observations of altimeters and radiometers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import DataError, OptionError, UnitsError
from xinverse.fields.axes import Axes
from xinverse.fields.clock import date_after
from xinverse.fields.seam import across_the_seam
from xinverse.fields.units import same_units
from xinverse.osse.designed import Design, observe_design
from xinverse.osse.radiometer import Clouds, between_clouds
from xinverse.osse.sampling import Satellite, Sighting, sightings
from xinverse.osse.swath_error import SwathError, draw_swath_error
from xinverse.osse.truth import Noise, deviation_of, gridded, name_of, read_field
from xinverse.points.binning import CellSums

__all__ = ["observe", "track_points"]

ALTIMETERS = ("nadir:4",)
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Samples:
    """Measurements of one satellite at sea."""

    sighting: Sighting
    sea: NDArray[np.bool_]
    values: Floats
    noise: float


@across_the_seam
def observe(
    truth: xr.DataArray,
    systems: str | Sequence[str] | Design | None = None,
    *,
    noise: Noise = 0.02,
    seed: int = 0,
    swath_error: SwathError | None = None,
    clouds: Clouds | None = None,
) -> xr.Dataset:
    r"""Sample a complete field along orbits, or between clouds, to gridded L3 with gaps.

    Each sample is the truth at its nearest cell and time step plus white noise of standard
    deviation :math:`s`. A cell holds the mean of its :math:`n` samples of the time step, with
    noise :math:`s / \sqrt{n}`. A radiometer has one sample in every cloud-free cell and time
    step.

    Parameters
    ----------
    truth : xarray.DataArray
        Field on (time, latitude, longitude) in any order; NaN is land.
    systems : str, sequence of str, or Dataset, optional
        ``"nadir:N"`` (N altimeters of jason, sentinel3a, saral, sentinel3b, cryosat, then the
        same interleaved) or names in :data:`xinverse.osse.ORBITS`, such as ``"swot"``
        (nadir and two 50-km swaths). Default: ``("nadir:4",)`` without clouds. Or a sampling
        design of `xinverse.design_sampling`: each of its cells has one sample; stations
        are observed at every time.
    noise : float or mapping of str to float, default 0.02
        Standard deviation of the white noise of a sample, in the units of `truth`; or a mapping
        from orbit names to it.
    seed : int, default 0
        Seed of the positions of satellites, the noise and the clouds.
    swath_error : SwathError, optional
        Correlated error along the swaths; ``SwathError()`` has the size expected for SWOT. It
        is not part of ``<name>_noise``, since averaging samples does not reduce it.
    clouds : DataArray of bool or mapping, optional
        True where clouds hide the sea from a radiometer, on the grid of `truth`; or options of
        :func:`xinverse.osse.cloud_mask`, such as ``{"cover": 0.5}``.

    Returns
    -------
    xarray.Dataset
        On the grid of `truth`, in memory: the variable with gaps, ``<name>_count`` and
        ``<name>_noise``.

    Raises
    ------
    AxesError, GridError, UnitsError
        The axes of time, latitude and longitude are not recognised, or there are others; or
        `swath_error` is given and `truth` is not in metres.
    OptionError, UnknownNameError
        An observing system, the noise or an option of the clouds is invalid; systems and clouds
        are both given; or `swath_error` is given without a swath.
    MaskError
        The clouds are not boolean or not on the grid of `truth`.
    DataError
        No cell of the sea is observed.
    """
    if isinstance(systems, xr.Dataset | xr.DataArray):
        if clouds is not None or swath_error is not None:
            raise OptionError(
                "A sampling design takes neither clouds nor swath_error: leave them out."
            )
        return observe_design(truth, systems, noise, seed)
    if clouds is not None:
        return between_clouds(truth, systems, clouds, noise, seed, swath_error)
    systems = _systems(systems)
    field, axes, samples = _sample(truth, systems, noise, seed, swath_error)
    sums = CellSums(field.shape)
    for one in samples:
        at = one.sighting
        cells = (at.time_index[one.sea], at.y_index[one.sea], at.x_index[one.sea])
        sums.add(cells, one.values, one.noise)
    return gridded(truth, field, axes, sums, f"{', '.join(systems)}, seed {seed}")


def _systems(systems: str | Sequence[str] | None) -> tuple[str, ...]:
    if systems is None:
        return ALTIMETERS
    return (systems,) if isinstance(systems, str) else tuple(systems)


@across_the_seam
def track_points(
    truth: xr.DataArray,
    systems: str | Sequence[str] | None = None,
    *,
    noise: Noise = 0.02,
    seed: int = 0,
    swath_error: SwathError | None = None,
) -> xr.Dataset:
    """Sample a complete field along orbits, to points along the tracks.

    They are the samples that :func:`observe` averages for the same seed.

    Parameters
    ----------
    truth : xarray.DataArray
        Field on (time, latitude, longitude) in any order; NaN is land.
    systems : str or sequence of str, default ("nadir:4",)
        As in :func:`observe`.
    noise : float or mapping of str to float, default 0.02
        As in :func:`observe`.
    seed : int, default 0
        Seed of the positions of satellites and the noise.
    swath_error : SwathError, optional
        As in :func:`observe`.

    Returns
    -------
    xarray.Dataset
        Along ``point``, sorted by time: the variable, and coordinates ``time``, ``latitude``,
        ``longitude``, ``satellite`` (name), ``pass`` (number in its cycle),
        ``cross_track_distance`` (km from nadir, positive to the left of the flight) and
        ``noise`` (standard deviation of the white noise, in the units of the variable).

    Raises
    ------
    AxesError, GridError, UnitsError, OptionError, UnknownNameError, DataError
        As in :func:`observe`.
    """
    systems = _systems(systems)
    field, axes, samples = _sample(truth, systems, noise, seed, swath_error)
    tracks = [(one, one.sighting.track) for one in samples]
    days = np.concatenate([track.time[one.sea] for one, track in tracks])
    order = np.argsort(days, kind="stable")
    latitude = np.concatenate([track.latitude[one.sea] for one, track in tracks])
    longitude = np.concatenate([track.longitude[one.sea] for one, track in tracks])
    number = np.concatenate([track.pass_number[one.sea] for one, track in tracks])
    satellite = np.concatenate(
        [np.full(one.values.size, one.sighting.satellite.name) for one in samples]
    )
    offset = np.concatenate([track.offset_km[one.sea] for one, track in tracks])
    deviation = np.concatenate([np.full(one.values.size, one.noise) for one in samples])
    values = np.concatenate([one.values for one in samples])
    about_noise = {"long_name": "standard deviation of the white noise"}
    if "units" in truth.attrs:
        about_noise["units"] = truth.attrs["units"]
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
        "cross_track_distance": (
            offset,
            {
                "long_name": "distance from nadir, positive to the left of the flight",
                "units": "km",
            },
        ),
        "noise": (deviation, about_noise),
    }
    return xr.Dataset(
        {name_of(truth): ("point", values[order], dict(field.attrs))},
        {name: ("point", data[order], attrs) for name, (data, attrs) in columns.items()},
        {"comment": f"simulated observations: {', '.join(systems)}, seed {seed}"},
    )


def _sample(
    truth: xr.DataArray,
    systems: tuple[str, ...],
    noise: Noise,
    seed: int,
    swath_error: SwathError | None,
) -> tuple[xr.DataArray, Axes, list[_Samples]]:
    """Return the field on (time, y, x), its axes, and the samples of each satellite."""
    field, axes, grid = read_field(truth)
    data = field.to_numpy()
    random = np.random.default_rng([seed, 1])
    along = np.random.default_rng([seed, 2])
    seen = sightings(grid.time, grid.y, grid.x, systems, seed)
    if swath_error is not None:
        _check_swath_error(truth, [one.satellite for one in seen], systems)
    samples = []
    for one in seen:
        deviation = deviation_of(noise, one.satellite.orbit.name)
        values = data[one.time_index, one.y_index, one.x_index].astype(np.float64)
        values += deviation * random.standard_normal(values.size)
        if swath_error is not None and one.satellite.orbit.swath_km is not None:
            values += draw_swath_error(swath_error, one.satellite.orbit, one.track, along)
        sea = np.isfinite(values)
        samples.append(_Samples(one, sea, values[sea], deviation))
    if not any(one.values.size for one in samples):
        raise DataError(
            f"{', '.join(systems)} observed no cell of the sea in {grid.shape[0]} time steps "
            f"of {name_of(truth)!r}. Give more altimeters, more days or a larger region."
        )
    return field, axes, samples


def _check_swath_error(
    truth: xr.DataArray, satellites: list[Satellite], systems: tuple[str, ...]
) -> None:
    if all(one.orbit.swath_km is None for one in satellites):
        raise OptionError(
            f"swath_error was given, but {', '.join(systems)} has no swath. Add one, such as "
            '"swot", or leave swath_error out.'
        )
    units = truth.attrs.get("units", "m")
    if not same_units(units, "m"):
        raise UnitsError(
            f"{name_of(truth)!r} is in {units!r}, but the swath error in metres. Convert the "
            'truth to "m".'
        )
