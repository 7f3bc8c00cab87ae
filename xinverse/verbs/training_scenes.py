"""Scenes to train on: short series that are drawn again for every batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from xinverse.checks import check_count
from xinverse.errors import DataError, OptionError
from xinverse.recipe import Recipe
from xinverse.tiling.patches import ATTEMPTS, draw_patch, stacked
from xinverse.verbs.training_fields import TrainingFields
from xinverse.verbs.training_regions import Example, make_example

__all__ = ["SceneSampler", "TrainingScenes"]

Draw = Callable[[int], TrainingFields]


@dataclass(frozen=True, eq=False)
class TrainingScenes:
    """Scenes that `xinverse.train` draws while it trains, each used once.

    A network that sees the same gaps and the same errors again and again learns them by
    heart. A function that observes a truth again for every batch, with other satellites and
    other noise, prevents this. A scene is a short series on a small grid, mapped as a whole:
    windows reach its first and last days and the edges of its domain.

    Parameters
    ----------
    draw : callable
        ``draw(seed)`` returns a `TrainingFields` of one field with its truth, in memory. It
        must return the same for the same seed, so that a training that was killed continues
        to the same weights.
    validation : callable, optional
        Draws the scenes to validate with. Default: `draw`, with other seeds.
    windows : int
        Windows that are taken from each scene. More of them make a batch cheaper, and
        less varied.

    Raises
    ------
    OptionError
        A value is of the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> import xinverse
    >>> from xinverse.osse.nature import Ocean, nature_runs
    >>> (ssh,) = nature_runs([Ocean()], days=40, spinup=5, size=24)
    >>> def scene(seed):
    ...     rng = np.random.default_rng(seed)
    ...     truth = ssh.isel(time=slice(first := rng.integers(20), first + 20))
    ...     noise = rng.uniform(0.01, 0.04)
    ...     systems = [f"nadir:{rng.integers(3, 7)}"]
    ...     seen = xinverse.osse.observe(truth, systems, noise=noise, seed=seed)
    ...     return xinverse.TrainingFields(truth, seen.ssh, noise=seen.ssh_noise)
    >>> small = {"window": 5, "steps": 2}
    >>> scenes = xinverse.TrainingScenes(scene)
    >>> model = xinverse.train("4dvarnet", scenes, steps=2, batch=2, patch=16, network=small)
    >>> model.card.window
    5
    """

    draw: Draw
    _: KW_ONLY
    validation: Draw | None = None
    windows: int = 2

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("draw", "validation"):
            given = getattr(self, name)
            if not (callable(given) or (name == "validation" and given is None)):
                raise OptionError(
                    f"{name} is a {type(given).__name__}. Expected a function of a seed that "
                    "returns xinverse.TrainingFields."
                )
        check_count("windows", self.windows)


class SceneSampler:
    """Windows of scenes; those of each step are drawn from its number alone.

    Parameters
    ----------
    scenes : TrainingScenes
        Draws scenes.
    recipe : Recipe
        Batch, patch, seed, overhang, and the scales of backgrounds that are not given.
    window : int
        Time steps of a window.

    Raises
    ------
    OptionError, DataError
        A scene is not a field in memory with a truth, or is smaller than a patch.
    """

    def __init__(self, scenes: TrainingScenes, recipe: Recipe, window: int) -> None:
        self.scenes, self.recipe, self.window = scenes, recipe, window

    def example(self, step: int, number: int, *, validation: bool = False) -> Example:
        """Draw a scene and normalise it as a method does.

        Parameters
        ----------
        step, number : int
            Of the batch, and of the scene in it.
        validation : bool
            Whether it is one to validate with.
        """
        own = np.random.SeedSequence((self.recipe.seed, int(validation), step, number))
        seed = int(own.generate_state(1)[0])
        draw = self.scenes.draw
        if validation and self.scenes.validation is not None:
            draw = self.scenes.validation
        fields = draw(seed)
        _check(fields)
        with TemporaryDirectory() as nothing:  # a scene in memory is not stored
            fields = replace(fields, validation=0.0)
            store = Path(nothing) / "background.zarr"
            made = make_example(fields, self.recipe, seed=seed, store=store, progress=False)
        sides = made.region.shape[1:]
        if any(n < side for n, side in zip(sides, self.recipe.sides, strict=True)):
            raise DataError(
                f"A scene has {sides[0]} x {sides[1]} cells, and a patch "
                f"{self.recipe.sides[0]} x {self.recipe.sides[1]}. Draw larger scenes, or use "
                "a smaller patch=."
            )
        return made._replace(region=made.region.levelled())

    def at(self, step: int) -> dict[str, np.ndarray]:
        """Draw the windows of a step, stacked.

        Parameters
        ----------
        step : int
            Number of the step.
        """
        return self._batch(step, validation=False)

    def validation(self, count: int) -> list[dict[str, np.ndarray]]:
        """Draw batches to validate with, always the same ones.

        Parameters
        ----------
        count : int
            Number of batches.
        """
        return [self._batch(number, validation=True) for number in range(count)]

    def _batch(self, step: int, *, validation: bool) -> dict[str, np.ndarray]:
        rng = np.random.default_rng((self.recipe.seed, int(validation), step))
        cuts: list[dict[str, np.ndarray]] = []
        for number in range(ATTEMPTS + self.recipe.batch):
            region = self.example(step, number, validation=validation).region
            for _ in range(min(self.scenes.windows, self.recipe.batch - len(cuts))):
                days = slice(region.shape[0])
                patch, overhang = self.recipe.sides, self.recipe.overhang or 0
                cut = draw_patch(region, days, self.window, patch, overhang, rng)
                if cut is not None:
                    cuts.append(cut)
            if len(cuts) == self.recipe.batch:
                return stacked(cuts)
        raise DataError(
            f"{ATTEMPTS} scenes had no values to compare an estimate with, or almost no sea. "
            "Draw scenes with more sea and a truth."
        )


def _check(fields: Any) -> None:
    """Require one field with a truth."""
    if not isinstance(fields, TrainingFields):
        raise OptionError(
            f"The function of the scenes returned a {type(fields).__name__}. Expected an "
            "xinverse.TrainingFields."
        )
    if len(cast(Any, fields.observations)) != 1 or fields.truth is None:
        raise OptionError(
            f"The function of the scenes returned {fields!r}. Expected one field with its "
            "truth."
        )
