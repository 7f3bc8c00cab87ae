"""What a training reads its patches from: fields, or scenes that are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from xinverse.errors import OptionError
from xinverse.fields.field import Field
from xinverse.recipe import Recipe
from xinverse.tiling.patches import PatchSampler
from xinverse.verbs.training_card import noise_numbers
from xinverse.verbs.training_fields import TrainingFields
from xinverse.verbs.training_regions import make_examples
from xinverse.verbs.training_scenes import SceneSampler, TrainingScenes

__all__ = ["Learned", "identity_of", "learned_from", "with_loss"]


class Learned(NamedTuple):
    """Patches, and what describes them.

    Attributes
    ----------
    patches : PatchSampler or SceneSampler
        Draws the batches.
    fields : sequence of Field
        Labels of the fields, or of the first scenes.
    words : str
        Description, for the card.
    identity : dict
        What the trained weights depend on, as JSON values.
    """

    patches: PatchSampler | SceneSampler
    fields: Sequence[Field]
    words: str
    identity: dict[str, Any]


def learned_from(
    source: TrainingFields | TrainingScenes,
    recipe: Recipe,
    window: int,
    cache: Path,
    *,
    progress: bool,
) -> Learned:
    """Prepare fields or scenes.

    Parameters
    ----------
    source : TrainingFields or TrainingScenes
        What to learn from.
    recipe : Recipe
        With its loss.
    window : int
        Time steps of the network's windows.
    cache : Path
        Where the backgrounds of lazy fields are stored.
    progress : bool
        Show bars.
    """
    overhang = recipe.overhang or 0
    if isinstance(source, TrainingScenes):
        sampler = SceneSampler(source, recipe, window)
        scenes = [
            sampler.example(0, k, validation=kind) for kind in (False, True) for k in (0, 1)
        ]
        identity = {"fields": "-".join(s.token for s in scenes), "windows": source.windows}
        return Learned(
            sampler, [s.field for s in scenes], "scenes drawn for each batch", identity
        )
    examples = make_examples(source, recipe, cache, progress=progress)
    regions = [example.region for example in examples]
    patches = PatchSampler(regions, window, recipe.sides, recipe.batch, recipe.seed, overhang)
    identity = {
        "fields": "-".join(example.token for example in examples),
        "withheld": source.withheld if recipe.loss == "self-supervised" else 0.0,
        "validation": source.validation,
        "noise": noise_numbers(source),
    }
    words = f"{len(source.each())} fields"
    return Learned(patches, [example.field for example in examples], words, identity)


def identity_of(config: Mapping[str, Any], recipe: Recipe, learned: Learned) -> dict[str, Any]:
    """Everything that the trained weights depend on, except the device.

    Parameters
    ----------
    config : mapping
        Arguments of the network.
    recipe : Recipe
        With its precision and flips.
    learned : Learned
        What it learns from.
    """
    chosen = asdict(recipe)
    del chosen["passes"]  # changes how the weights are used, not the weights
    return {"network": dict(config), **chosen, **learned.identity}


def with_loss(recipe: Recipe, source: TrainingFields | TrainingScenes, start: Any) -> Recipe:
    """Choose the loss, unless the recipe does, and require what it needs.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    source : TrainingFields or TrainingScenes
        What to learn from.
    start : Model, path or None
        The model to continue from.

    Raises
    ------
    OptionError
        The loss needs a truth or a trained model, and there is none.
    """
    blind = isinstance(source, TrainingFields) and source.truth is None
    if recipe.loss is None:
        return replace(recipe, loss="self-supervised" if blind else "supervised")
    if recipe.loss == "supervised" and blind:
        raise OptionError(
            "loss='supervised' needs truth=. Without a truth, use loss='self-supervised', "
            "which learns from withheld observations."
        )
    if recipe.loss == "unsupervised" and start is None:
        raise OptionError(
            "loss='unsupervised' trains the solver for a prior that stays fixed: pass "
            "start=, a trained model with that prior."
        )
    return recipe
