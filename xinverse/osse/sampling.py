"""Which cells of a grid an observing system sees, and when; arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xinverse.errors import OptionError
from xinverse.fields.coordinates import FULL_CIRCLE, leading_columns
from xinverse.osse.orbits import ORBITS, GroundTrack, Orbit, find_orbit, ground_track
from xinverse.points.binning import cell_edges, nearest_cells

__all__ = ["Satellite", "Sighting", "launch", "sample_tracks", "sightings"]

Integers = NDArray[np.int64]

# The order of the altimeters in "nadir:N"; the next five are interleaved with them.
_NADIR_ORDER = ("jason", "sentinel3a", "saral", "sentinel3b", "cryosat")


@dataclass(frozen=True)
class Satellite:
    """A satellite: its orbit, and its position at time 0.

    Parameters
    ----------
    name : str
        Name of the satellite.
    orbit : Orbit
        Its orbit.
    node_longitude, phase : float
        As in :func:`xinverse.osse.ground_track`.
    """

    name: str
    orbit: Orbit
    node_longitude: float
    phase: float


@dataclass(frozen=True, eq=False)
class Sighting:
    """The points of one satellite within the grid, and their cells.

    Parameters
    ----------
    satellite : Satellite
        The satellite.
    track : GroundTrack
        Its points within the grid.
    time_index, y_index, x_index : ndarray of int64, shape (points,)
        The cell of each point.
    """

    satellite: Satellite
    track: GroundTrack
    time_index: Integers
    y_index: Integers
    x_index: Integers


def launch(systems: Sequence[str], seed: int) -> list[Satellite]:
    """Draw the positions of the satellites of some observing systems.

    Node longitude and phase are drawn one satellite after the other, so that ``"nadir:5"``
    contains the four satellites of ``"nadir:4"``.

    Parameters
    ----------
    systems : sequence of str
        ``"nadir:N"`` (N from 1 to 10) or names in :data:`xinverse.osse.ORBITS`.
    seed : int
        Seed of the draw.

    Returns
    -------
    list of Satellite
        In the order of the systems.

    Raises
    ------
    OptionError
        There is no system, or N is not a whole number from 1 to 10.
    UnknownNameError
        An orbit is unknown.
    """
    if isinstance(systems, str):
        systems = (systems,)
    if not systems:
        raise OptionError('No observing system was given. Expected some, such as ("nadir:4",).')
    random = np.random.default_rng([seed, 0])
    satellites: list[Satellite] = []
    for system in systems:
        name, colon, number = system.partition(":")
        if name == "nadir":
            satellites += _nadirs(_number(system, number if colon else "1"), random)
        else:
            orbit = find_orbit(system)
            satellites.append(Satellite(system, orbit, *_draw(random)))
    return satellites


def _number(system: str, text: str) -> int:
    most = 2 * len(_NADIR_ORDER)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise OptionError(
            f"The observing system {system!r} has {text!r} altimeters. "
            f'Expected "nadir:N" with N from 1 to {most}.'
        )
    return int(text)


def _nadirs(number: int, random: np.random.Generator) -> list[Satellite]:
    first = [
        Satellite(name, replace(ORBITS[name], swath_km=None), *_draw(random))
        for name in _NADIR_ORDER[:number]
    ]
    # As for Jason-1 and Jason-2, the tracks of the second lie half-way between the first's.
    second = [
        replace(
            satellite,
            name=f"{satellite.name}_interleaved",
            node_longitude=satellite.node_longitude + satellite.orbit.track_spacing_deg / 2,
        )
        for satellite in first[: number - len(first)]
    ]
    return first + second


def _draw(random: np.random.Generator) -> tuple[float, float]:
    return float(random.uniform(0.0, 360.0)), float(random.uniform(0.0, 1.0))


def sightings(
    times_days: ArrayLike,
    lat: ArrayLike,
    lon: ArrayLike,
    systems: Sequence[str] = ("nadir:4",),
    seed: int = 0,
) -> list[Sighting]:
    """Find the points of observing systems within a grid: one entry per satellite.

    Parameters and errors are those of :func:`sample_tracks`.
    """
    axes = [np.asarray(axis, dtype=np.float64) for axis in (times_days, lat, lon)]
    if leading := leading_columns(axes[2]):  # sorted across the seam of the globe
        axes[2] = np.unwrap(np.roll(axes[2], -leading), period=FULL_CIRCLE)
    edges = [
        cell_edges(axis, axis=name)
        for axis, name in zip(axes, ("time", "latitude", "longitude"), strict=True)
    ]
    start, end = np.sort(edges[0][[0, -1]])
    south, north = np.sort(edges[1][[0, -1]])
    west, east = np.sort(edges[2][[0, -1]])
    box = (south, north, west, west + min(east - west, FULL_CIRCLE))
    found = []
    for satellite in launch(systems, seed):
        track = ground_track(
            satellite.orbit,
            start,
            end,
            phase=satellite.phase,
            node_longitude=satellite.node_longitude,
            box=box,
        )
        it = nearest_cells(axes[0], track.time)
        iy = nearest_cells(axes[1], track.latitude)
        ix = nearest_cells(axes[2], track.longitude, period=FULL_CIRCLE)
        inside = (it >= 0) & (iy >= 0) & (ix >= 0)
        ix = np.where(inside, (ix + leading) % axes[2].size, -1)
        track = GroundTrack(
            track.time[inside],
            track.latitude[inside],
            track.longitude[inside],
            track.pass_number[inside],
            track.cycle[inside],
            track.offset_km[inside],
        )
        found.append(Sighting(satellite, track, it[inside], iy[inside], ix[inside]))
    return found


def sample_tracks(
    times_days: ArrayLike,
    lat: ArrayLike,
    lon: ArrayLike,
    systems: Sequence[str] = ("nadir:4",),
    seed: int = 0,
) -> tuple[Integers, Integers, Integers]:
    """Return the cells that observing systems see, one entry per 1 Hz (or swath) sample.

    A cell seen several times in a time step occurs several times.

    Parameters
    ----------
    times_days : array_like, shape (nt,)
        Time steps in days from any origin; a step reaches half-way to its neighbours.
    lat, lon : array_like, shapes (ny,) and (nx,)
        Cell centres in degrees, in either direction; longitudes modulo 360.
    systems : sequence of str
        ``"nadir:N"`` (N altimeters of jason, sentinel3a, saral, sentinel3b, cryosat, then the
        same interleaved) or names in :data:`xinverse.osse.ORBITS`.
    seed : int
        Seed of the node longitudes and phases.

    Returns
    -------
    tuple of ndarray of int64, each of shape (samples,)
        Time, latitude and longitude indices.

    Raises
    ------
    GridError
        An axis has fewer than two values or is not monotonic.
    OptionError, UnknownNameError
        An observing system is unknown.
    """
    seen = sightings(times_days, lat, lon, systems, seed)
    it, iy, ix = (
        np.concatenate([getattr(one, name) for one in seen])
        for name in ("time_index", "y_index", "x_index")
    )
    return it, iy, ix
