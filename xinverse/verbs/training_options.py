"""Keywords of a training, divided between the fields and the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from xinverse.errors import OptionError
from xinverse.recipe import Recipe
from xinverse.verbs.training_fields import TrainingFields
from xinverse.verbs.training_scenes import TrainingScenes
from xinverse.weights import ModelCard

__all__ = ["CARD_FIXED", "check_card", "divided"]

# Entries of the model card that the network decides.
CARD_FIXED = ("method", "window", "config")
# Names that other packages use.
ALIASES = {
    "batch_size": "batch",
    "epochs": "steps",
    "iterations": "steps",
    "lr": "learning_rate",
    "max_epochs": "steps",
    "max_steps": "steps",
    "n_epochs": "steps",
    "n_steps": "steps",
    "patch_size": "patch",
}


def divided(
    truth: Any,
    observations: Any,
    background: Any,
    recipe: Recipe | None,
    options: Mapping[str, Any],
) -> tuple[TrainingFields | TrainingScenes, Recipe]:
    """Make fields and recipe from the arguments of `xinverse.train`.

    Parameters
    ----------
    truth, observations, background, recipe
        As there.
    options : mapping
        Other fields of `TrainingFields` and `Recipe`; they replace those of the objects.

    Raises
    ------
    OptionError
        An option is unknown, or a value is not accepted.
    """
    of_recipe = {f.name for f in fields_of(Recipe)}
    of_fields = {f.name for f in fields_of(TrainingFields)} - {
        "truth",
        "observations",
        "background",
    }
    for name in options:
        if name not in of_recipe | of_fields:
            raise OptionError(_unknown(name, sorted(of_recipe | of_fields)))
    if recipe is None:
        recipe = Recipe()
    elif not isinstance(recipe, Recipe):
        raise OptionError(
            f"recipe is a {type(recipe).__name__}. Expected an xinverse.Recipe, such as "
            "xinverse.Recipe(steps=500)."
        )
    recipe = replace(recipe, **{k: v for k, v in options.items() if k in of_recipe})
    given = {k: v for k, v in options.items() if k in of_fields}
    if background is not None:
        given["background"] = background
    if not isinstance(truth, TrainingFields | TrainingScenes):
        return TrainingFields(truth, observations, **given), recipe
    if observations is not None:
        raise OptionError(
            f"observations= was given in addition to {type(truth).__name__}, which hold them. "
            "Leave it out, or change them with dataclasses.replace."
        )
    if isinstance(truth, TrainingScenes):
        if given:
            raise OptionError(
                f"{', '.join(f'{name}=' for name in given)} cannot be given with "
                "TrainingScenes: the function that draws a scene returns it in its "
                "TrainingFields."
            )
        return truth, recipe
    return replace(truth, **given), recipe


def check_card(card: Mapping[str, Any]) -> None:
    """Require entries of a model card that the training does not decide.

    Parameters
    ----------
    card : mapping
        As of `xinverse.train`.

    Raises
    ------
    OptionError
        An entry is unknown, or follows from the network.
    """
    known = [f.name for f in fields_of(ModelCard) if f.name not in CARD_FIXED]
    if wrong := sorted(set(card) - set(known)):
        raise OptionError(
            f"card= has {', '.join(map(repr, wrong))}, which cannot be set on the ModelCard. "
            f"Its entries are {', '.join(map(repr, known))}."
        )


def _unknown(name: str, known: list[str]) -> str:
    """Say what to use in place of an option that does not exist."""
    start = f"xinverse.train has no option {name!r}."
    if name in {"window", "solver", "hidden"}:
        return f"{start} It is an option of the network: network={{{name!r}: ...}}."
    if name in {f.name for f in fields_of(ModelCard)} - set(CARD_FIXED):
        return f"{start} It is an entry of the model card: card={{{name!r}: ...}}."
    near = [ALIASES[name]] if name in ALIASES else get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]}=?" if near else ""
    return f"{start}{hint} Its options are {', '.join(known)}."
