"""Complete maps with error bars from gappy ocean fields, by solving inverse problems."""

from xinverse import osse, scores, tiling
from xinverse._version import __version__
from xinverse.accessor import InverseAccessor
from xinverse.climatology import climatology
from xinverse.methods import table as methods
from xinverse.model import Model, load_model
from xinverse.options import set_options
from xinverse.points.grid_tracks import grid_tracks
from xinverse.recipe import Recipe
from xinverse.scores import compare
from xinverse.validation import Validation, validate
from xinverse.verbs.deconvolve import deconvolve
from xinverse.verbs.denoise import denoise
from xinverse.verbs.downscale import downscale
from xinverse.verbs.forecast import forecast
from xinverse.verbs.interpolate import interpolate
from xinverse.verbs.plan_tiles import plan_tiles
from xinverse.verbs.train import train
from xinverse.verbs.training_fields import TrainingFields
from xinverse.weights import fetch

__all__ = [
    "InverseAccessor",
    "Model",
    "Recipe",
    "TrainingFields",
    "Validation",
    "__version__",
    "climatology",
    "compare",
    "deconvolve",
    "denoise",
    "downscale",
    "fetch",
    "forecast",
    "grid_tracks",
    "interpolate",
    "load_model",
    "methods",
    "osse",
    "plan_tiles",
    "scores",
    "set_options",
    "tiling",
    "train",
    "validate",
]
