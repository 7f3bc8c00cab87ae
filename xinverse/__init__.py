"""Complete maps with error bars from gappy ocean fields, by solving inverse problems."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
from xinverse.verbs.deconvolve import deconvolve
from xinverse.verbs.denoise import denoise
from xinverse.verbs.design_sampling import design_sampling
from xinverse.verbs.downscale import downscale
from xinverse.verbs.forecast import forecast
from xinverse.verbs.interpolate import interpolate
from xinverse.verbs.plan_tiles import plan_tiles
from xinverse.verbs.train import train
from xinverse.verbs.training_fields import TrainingFields
from xinverse.verbs.training_scenes import TrainingScenes
from xinverse.weights import fetch

if TYPE_CHECKING:
    from xinverse.validation import Validation, validate


def __getattr__(name: str) -> Any:
    """Import what most calls do not need when it is used: it takes time."""
    if name == "plot":
        return import_module("xinverse.plot")
    if name in {"Validation", "validate"}:
        return getattr(import_module("xinverse.validation"), name)
    raise AttributeError(f"module 'xinverse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "InverseAccessor",
    "Model",
    "Recipe",
    "TrainingFields",
    "TrainingScenes",
    "Validation",
    "__version__",
    "climatology",
    "compare",
    "deconvolve",
    "denoise",
    "design_sampling",
    "downscale",
    "fetch",
    "forecast",
    "grid_tracks",
    "interpolate",
    "load_model",
    "methods",
    "osse",
    "plan_tiles",
    "plot",
    "scores",
    "set_options",
    "tiling",
    "train",
    "validate",
]
