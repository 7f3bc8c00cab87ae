r"""Ground tracks of repeat orbits.

The ground track of a satellite on a circular orbit of inclination :math:`i` closes after
:math:`N` revolutions, while the Earth turns :math:`D` times relative to the precessing orbital
plane (:math:`D` nodal days). With the argument of latitude

.. math:: u(t) = 2\pi N \left(\frac{t}{T} + \varphi\right)

(:math:`T` the repeat cycle, :math:`\varphi` the phase), the point below the satellite is

.. math::
    \sin\text{lat} &= \sin i \sin u \\
    \text{lon} &= \text{lon}_0 + \operatorname{atan2}(\cos i \sin u, \cos u)
                  - \frac{D}{N} u

so :math:`D/N` includes the precession of the node, and the track closes exactly. The Earth is a
sphere and the orbit a circle: compared with one cycle of the real reference mission, the
``jason`` track is off by 0.14 degrees (root mean square; at most 0.27), mostly the difference
between geocentric and geodetic latitude. The pattern of tracks is correct.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from xinverse.constants import KM_PER_DEGREE, SECONDS_PER_DAY
from xinverse.errors import OptionError, UnknownNameError

__all__ = ["ORBITS", "GroundTrack", "Orbit", "find_orbit", "ground_track"]

_BLOCK = 1_000_000  # points at once: bounds the memory of long global tracks

Box = tuple[float, float, float, float]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Orbit:
    """A circular repeat orbit and the swath of its altimeter.

    Parameters
    ----------
    name : str
        Key in :data:`ORBITS`.
    altitude_km : float
        Mean altitude, for information only: the repeat cycle determines the track.
    inclination_deg : float
        Angle between orbital plane and equator; above 90 for retrograde orbits.
    repeat_days : float
        Length of the repeat cycle in solar days.
    revolutions : int
        Revolutions in a repeat cycle.
    nodal_days : int
        Turns of the Earth relative to the orbital plane in a repeat cycle.
    swath_km : tuple of float, optional
        Distances from nadir between which both sides are measured, km.
    swath_step_km : float
        Spacing of swath samples across the track, km.
    """

    name: str
    altitude_km: float
    inclination_deg: float
    repeat_days: float
    revolutions: int
    nodal_days: int
    swath_km: tuple[float, float] | None = None
    swath_step_km: float = 6.25

    @property
    def track_spacing_deg(self) -> float:
        """Degrees of longitude between neighbouring ascending tracks at the equator."""
        return 360.0 / self.revolutions

    @property
    def offsets_km(self) -> Floats:
        """Distances from nadir of the samples across the track, km; positive to the left."""
        if self.swath_km is None:
            return np.zeros(1)
        near, far = self.swath_km
        number = max(round((far - near) / self.swath_step_km), 1)
        # Samples are cell centres; the edges of the swath are cell edges.
        side = near + (np.arange(number) + 0.5) * (far - near) / number
        return np.concatenate([-side[::-1], [0.0], side])


# Repeat cycles in solar days, revolutions and nodal days, as published by the missions.
# Sun-synchronous planes turn once a year, so that nodal days are solar days.
ORBITS: dict[str, Orbit] = {
    orbit.name: orbit
    for orbit in (
        Orbit("jason", 1336.0, 66.04, 9.9156, 127, 10),
        Orbit("sentinel3a", 814.5, 98.65, 27.0, 385, 27),
        Orbit("saral", 800.0, 98.55, 35.0, 501, 35),
        Orbit("sentinel3b", 814.5, 98.65, 27.0, 385, 27),
        Orbit("cryosat", 717.0, 92.0, 368.24, 5344, 369),
        Orbit("swot", 890.6, 77.6, 20.86455, 292, 21, swath_km=(10.0, 60.0)),
    )
}


@dataclass(frozen=True, eq=False)
class GroundTrack:
    """Points below a satellite, sorted by time.

    Parameters
    ----------
    time : ndarray, shape (points,)
        Days, from the same origin as `start` and `end`.
    latitude, longitude : ndarray, shape (points,)
        Degrees north; degrees east within [-180, 180).
    pass_number : ndarray of int64, shape (points,)
        Half revolution within the cycle, from 1; odd ones ascend.
    cycle : ndarray of int64, shape (points,)
        Repeat cycles completed since time 0 (minus the phase).
    offset_km : ndarray, shape (points,)
        Distance from nadir, km; positive to the left of the flight direction.
    """

    time: Floats
    latitude: Floats
    longitude: Floats
    pass_number: Integers
    cycle: Integers
    offset_km: Floats


def find_orbit(orbit: str | Orbit) -> Orbit:
    """Return an orbit by its name in :data:`ORBITS`; an `Orbit` is returned unchanged.

    Raises
    ------
    UnknownNameError
        The name is unknown.
    """
    if isinstance(orbit, Orbit):
        return orbit
    if orbit not in ORBITS:
        raise UnknownNameError("orbit", orbit, ORBITS)
    return ORBITS[orbit]


def ground_track(
    orbit: str | Orbit,
    start: float,
    end: float,
    *,
    step_s: float = 1.0,
    phase: float = 0.0,
    node_longitude: float = 0.0,
    box: Box | None = None,
) -> GroundTrack:
    """Return the points that a satellite measures.

    Parameters
    ----------
    orbit : str or Orbit
        Name in :data:`ORBITS`, or an orbit of your own.
    start, end : float
        Days from any origin; samples lie at ``start + k * step_s``, before `end`.
    step_s : float, default 1
        Seconds between samples (1 Hz, 6 to 7 km).
    phase : float, default 0
        Fraction of the repeat cycle completed at time 0.
    node_longitude : float, default 0
        Longitude of the ascending node at which a cycle begins, in degrees east.
    box : tuple of float, optional
        ``(south, north, west, east)`` in degrees: return only points inside it.

    Returns
    -------
    GroundTrack
        Sorted by time, with all samples across the track at each time.

    Raises
    ------
    UnknownNameError
        The orbit is unknown.
    OptionError
        `end` is before `start`, `step_s` is not positive, or the box has south above north.
    """
    orbit = find_orbit(orbit)
    if not (np.isfinite(start) and np.isfinite(end) and end >= start):
        raise OptionError(
            f"The track goes from day {start} to day {end}. Expected finite days with start <= "
            "end."
        )
    if not step_s > 0:
        raise OptionError(f"step_s is {step_s}. Expected seconds above 0.")
    if box is not None and not box[0] <= box[1]:
        raise OptionError(
            f"The box {box} has south above north. Expected (south, north, west, east)."
        )
    parts = [
        _points(orbit, time, phase, node_longitude, box)
        for time in _times(orbit, start, end, step_s, phase, _nadir_box(orbit, box))
    ]
    return GroundTrack(
        *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(GroundTrack))
    )


def _nadir_box(orbit: Orbit, box: Box | None) -> Box | None:
    """Widen a box by the swath, to keep the nadir of each sample inside it."""
    if box is None or orbit.swath_km is None:
        return box
    margin = orbit.swath_km[1] / KM_PER_DEGREE
    return (max(box[0] - margin, -90.0), min(box[1] + margin, 90.0), box[2], box[3])


def _times(
    orbit: Orbit, start: float, end: float, step_s: float, phase: float, box: Box | None
) -> Iterator[Floats]:
    """Yield blocks of sample times with the nadir between the latitudes of the box."""
    step = step_s / SECONDS_PER_DAY
    number = int(np.ceil((end - start) / step - 1e-9))
    rate = 2.0 * orbit.revolutions / orbit.repeat_days  # half revolutions a day
    origin = 2.0 * orbit.revolutions * phase
    # Half revolution j runs over [j - 1/2, j + 1/2): northward when j is even.
    half = np.arange(
        np.floor(rate * start + origin + 0.5), np.floor(rate * end + origin + 0.5) + 1
    )
    low, high = -0.5, 0.5
    if box is not None:
        top = np.sin(np.deg2rad(orbit.inclination_deg))
        sines = np.clip(np.sin(np.deg2rad(box[:2])) / top, -1.0, 1.0)
        slack = 1e-9  # for rounding; the exact test comes later
        low = max(np.arcsin(sines[0]) / np.pi - slack, -0.5)
        high = min(np.arcsin(sines[1]) / np.pi + slack, 0.5)
    south_first = half % 2 == 0
    entry = half + np.where(south_first, low, -high)
    leave = half + np.where(south_first, high, -low)
    first, last = (
        np.clip(np.ceil(((edge - origin) / rate - start) / step), 0, number).astype(np.int64)
        for edge in (entry, leave)
    )
    count = np.maximum(last - first, 0)
    block = np.cumsum(count) // _BLOCK
    for key in np.unique(block):
        chosen = block == key
        size = count[chosen]
        shift = np.repeat(first[chosen] - np.cumsum(size) + size, size)
        yield start + (shift + np.arange(size.sum())) * step


def _points(
    orbit: Orbit, time: Floats, phase: float, node_longitude: float, box: Box | None
) -> GroundTrack:
    """Return all samples across the track at the given times, inside the box."""
    # Remove whole cycles first, to keep the precision at late times.
    cycles = time / orbit.repeat_days + phase
    cycle = np.floor(cycles)
    revolution = (cycles - cycle) * orbit.revolutions
    inclination = np.deg2rad(orbit.inclination_deg)
    u = 2 * np.pi * (revolution % 1.0)
    offsets = orbit.offsets_km
    angle = np.deg2rad(offsets / KM_PER_DEGREE)
    # A sample across the track is tilted from the nadir towards the pole of the orbit.
    along, across = np.cos(angle), np.sin(angle)
    x = np.cos(u)[:, None] * along
    y = (np.cos(inclination) * np.sin(u))[:, None] * along - np.sin(inclination) * across
    z = (np.sin(inclination) * np.sin(u))[:, None] * along + np.cos(inclination) * across
    latitude = np.rad2deg(np.arcsin(np.clip(z, -1.0, 1.0)))
    turned = (revolution * orbit.nodal_days / orbit.revolutions) % 1.0 * 360.0
    longitude = node_longitude + np.rad2deg(np.arctan2(y, x)) - turned[:, None]
    longitude = (longitude + 180.0) % 360.0 - 180.0
    half = np.floor(2 * revolution + 0.5)
    # The last quarter revolution of a cycle belongs to the first pass of the next one.
    wrapped = half == 2 * orbit.revolutions
    number = np.where(wrapped, 0, half).astype(np.int64) + 1
    whole = (cycle + wrapped).astype(np.int64)

    inside = np.ones(latitude.shape, dtype=bool)
    if box is not None:
        south, north, west, east = box
        inside = (latitude >= south) & (latitude <= north)
        if abs(east - west) < 360.0:
            inside &= (longitude - west) % 360.0 <= (east - west) % 360.0
    row, column = np.nonzero(inside)
    return GroundTrack(
        time[row], latitude[inside], longitude[inside], number[row], whole[row], offsets[column]
    )
