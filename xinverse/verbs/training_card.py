"""The model card of a training: entries that follow from fields, recipe and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields as fields_of
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xinverse.errors import DataError
from xinverse.fields.attributes import describe_call
from xinverse.fields.field import Field
from xinverse.fields.sea_level import SEA_LEVEL
from xinverse.recipe import Recipe
from xinverse.verbs.training_fields import TrainingFields
from xinverse.verbs.training_scenes import TrainingScenes

__all__ = ["command_of", "described", "noise_numbers", "scores_of", "with_flips"]

SLACK = 0.05  # of the grid spacing, accepted beyond the range of the training
SHOWN = ("steps", "learning_rate", "batch", "patch", "seed", "length_scale", "time_scale")


def described(fields: Sequence[Field]) -> dict[str, Any]:
    """Entries of the card that follow from the labels of the fields.

    Parameters
    ----------
    fields : sequence of Field
        The observations.

    Raises
    ------
    DataError
        Units are missing, or are not the same for all fields.
    """
    templates = [field.template for field in fields]
    units = {str(t.attrs.get("units", "")) for t in templates}
    if len(units) > 1 or "" in units:
        raise DataError(
            f"The units of the fields are {sorted(units)}: expected one, the same for all. "
            "Set attrs['units']."
        )
    variables = {str(t.attrs.get("standard_name", t.name)) for t in templates}
    if variables & set(SEA_LEVEL):
        variables |= set(SEA_LEVEL)
    spacings = [spacing for field in fields for spacing in field.grid.spacing_km]
    return {
        "variables": tuple(sorted(variables)),
        "units": units.pop(),
        "grid_spacing_km": (min(spacings) * (1 - SLACK), max(spacings) * (1 + SLACK)),
        "time_step_days": fields[0].grid.time_step,
    }


def with_flips(recipe: Recipe, variables: Sequence[str]) -> Recipe:
    """Set the symmetries of the variable, unless the recipe does.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    variables : sequence of str
        As on the model card.
    """
    if recipe.flips is not None:
        return recipe
    return replace(recipe, flips=("y-sign",) if set(variables) & set(SEA_LEVEL) else ())


def scores_of(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Scores for the card: the last validation.

    Parameters
    ----------
    history : sequence of dict
        As returned by the training loop.
    """
    score = history[-1]["validation"] if history else float("nan")
    key = "validation error variance over the background's"
    return {key: round(score, 4)} if np.isfinite(score) else {}


def command_of(
    method: str,
    recipe: Recipe,
    source: TrainingFields | TrainingScenes,
    network: Mapping[str, Any] | None,
) -> str:
    """The call, in one line: what matters most, and what differs from the defaults.

    Parameters
    ----------
    method, recipe, source, network
        As of `xinverse.train`.
    """
    chosen = {
        f.name: getattr(recipe, f.name)
        for f in fields_of(Recipe)
        if f.name in SHOWN or getattr(recipe, f.name) != f.default
    }
    if isinstance(source, TrainingFields):
        chosen |= {
            f.name: getattr(source, f.name)
            for f in fields_of(TrainingFields)
            if f.name in {"mask_shifts", "withheld", "validation"}
            and getattr(source, f.name) != f.default
        }
        chosen["noise"] = noise_numbers(source)
    return f"xinverse.{describe_call('train', method=method, network=network, **chosen)}"


def noise_numbers(fields: TrainingFields) -> Any:
    """The noise of the fields as JSON values: a field of noise is only named.

    Parameters
    ----------
    fields : TrainingFields
        The fields.
    """

    def number(noise: Any) -> Any:
        return "a field" if isinstance(noise, xr.DataArray) else noise

    noise = fields.noise
    return tuple(map(number, noise)) if isinstance(noise, tuple) else number(noise)
