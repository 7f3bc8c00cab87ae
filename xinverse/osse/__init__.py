"""Observing-system simulation experiments: nature runs, orbits and observations."""

from __future__ import annotations

from xinverse.osse.clouds import cloud_mask
from xinverse.osse.designed import design_points
from xinverse.osse.nature import Ocean, draw_ocean, nature_runs
from xinverse.osse.observe import observe, track_points
from xinverse.osse.orbits import ORBITS, GroundTrack, Orbit, ground_track
from xinverse.osse.runs import simulate
from xinverse.osse.sampling import sample_tracks
from xinverse.osse.swath_error import SwathError

__all__ = [
    "ORBITS",
    "GroundTrack",
    "Ocean",
    "Orbit",
    "SwathError",
    "cloud_mask",
    "design_points",
    "draw_ocean",
    "ground_track",
    "nature_runs",
    "observe",
    "sample_tracks",
    "simulate",
    "track_points",
]
