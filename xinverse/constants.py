"""Physical constants that several parts of the package share."""

from __future__ import annotations

from math import pi

__all__ = [
    "EARTH_RADIUS",
    "EARTH_RADIUS_KM",
    "EARTH_ROTATION",
    "GRAVITY",
    "KM_PER_DEGREE",
    "SECONDS_PER_DAY",
]

EARTH_RADIUS_KM = 6371.0  # of the sphere with the Earth's mean radius
EARTH_RADIUS = 1e3 * EARTH_RADIUS_KM  # m
KM_PER_DEGREE = pi * EARTH_RADIUS_KM / 180.0  # of latitude
EARTH_ROTATION = 7.2921e-5  # rad s-1
GRAVITY = 9.81  # m s-2
SECONDS_PER_DAY = 86400.0
