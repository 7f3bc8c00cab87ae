"""Observing-system experiments: nature runs, orbits and what they observe."""

from __future__ import annotations

from xinverse.osse.observe import observe, track_points
from xinverse.osse.orbits import ORBITS, GroundTrack, Orbit, ground_track
from xinverse.osse.sampling import sample_tracks

__all__ = [
    "ORBITS",
    "GroundTrack",
    "Orbit",
    "ground_track",
    "observe",
    "sample_tracks",
    "track_points",
]
