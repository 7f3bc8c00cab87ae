"""Scores of maps against a truth on their grid, and against withheld points."""

from __future__ import annotations

from xinverse.points.along_track import along_track
from xinverse.points.from_maps import interpolate_to_points
from xinverse.points.track_spectrum import along_track_spectrum
from xinverse.scores.bands import explained_variance_by_band
from xinverse.scores.calibration import Calibration, calibration
from xinverse.scores.comparison import Comparison, compare
from xinverse.scores.currents import current_scores
from xinverse.scores.geostrophy import geostrophic_currents
from xinverse.scores.histograms import pit_histogram, rank_histogram, reliability
from xinverse.scores.map import (
    explained_variance,
    mu_sigma,
    normalised_mse,
    rmse,
    rmse_score,
)
from xinverse.scores.probabilistic import coverage, crps, spread_skill
from xinverse.scores.spectral import power_spectrum, spectral_scores

__all__ = [
    "Calibration",
    "Comparison",
    "along_track",
    "along_track_spectrum",
    "calibration",
    "compare",
    "coverage",
    "crps",
    "current_scores",
    "explained_variance",
    "explained_variance_by_band",
    "geostrophic_currents",
    "interpolate_to_points",
    "mu_sigma",
    "normalised_mse",
    "pit_histogram",
    "power_spectrum",
    "rank_histogram",
    "reliability",
    "rmse",
    "rmse_score",
    "spectral_scores",
    "spread_skill",
]
