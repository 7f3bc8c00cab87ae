"""Train the network of a learned method on patches: from arrays to a trained module."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xinverse.device import resolve_device
from xinverse.errors import OptionError
from xinverse.methods.learned import LearnedMethod
from xinverse.methods.windows import network_class
from xinverse.tiling.patches import PatchSampler, Region
from xinverse.weights.store import atomic_write

if TYPE_CHECKING:
    import torch

    from xinverse.learning.batch import Batch
    from xinverse.learning.loop import Objective, Settings
    from xinverse.learning.network import WindowNetwork

__all__ = ["Recipe", "fit", "make_recipe", "new_network"]

VALIDATION_BATCHES = 8
STRETCH = (0.7, 1.4)
SETTINGS_FILE, CHECKPOINT = "training.json", "checkpoint.pt"


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    settings : Settings
        Of the loop.
    loss : str
        ``"supervised"``, ``"self-supervised"`` or ``"unsupervised"``.
    patch : tuple of int
        Cells along (y, x).
    batch : int
        Patches of a step.
    flips : tuple of str
        As `xinverse.learning.augment.augment`.
    drift : float
        Likewise.
    gradient_weight : float
        Of the supervised loss, as `xinverse.learning.background_loss`.
    seed : int
        Of the untrained network and of the patches.
    device : str
        Where.
    """

    settings: Settings
    loss: str
    patch: tuple[int, int]
    batch: int
    flips: tuple[str, ...]
    drift: float
    gradient_weight: float
    seed: int
    device: str


def make_recipe(
    settings: Mapping[str, Any],
    *,
    precision: str | None,
    flips: Sequence[str],
    device: str,
    **others: Any,
) -> Recipe:
    """A recipe, checked.

    Parameters
    ----------
    settings : mapping
        Of `xinverse.learning.Settings`, without the precision.
    precision : str, optional
        By default what the device is good at.
    flips : sequence of str
        Symmetries.
    device : str
        Where.
    **others
        The recipe's.

    Raises
    ------
    OptionError
        A precision or a symmetry that does not exist.
    """
    from xinverse.learning.augment import FLIPS
    from xinverse.learning.loop import Settings

    for flip in flips:
        if flip not in FLIPS:
            raise OptionError(
                f"flips={tuple(flips)}: {flip!r} is none of {', '.join(map(repr, FLIPS))}."
            )
    if precision is None:
        precision = "bfloat16" if resolve_device(device).type == "cuda" else "float32"
    try:
        whole = Settings(**settings, precision=cast(Any, precision))
    except ValueError as error:
        raise OptionError(str(error)) from error
    return Recipe(settings=whole, flips=tuple(flips), device=device, **others)


def new_network(
    method: type[LearnedMethod], options: Mapping[str, Any], seed: int
) -> WindowNetwork:
    """An untrained network.

    Parameters
    ----------
    method : LearnedMethod
        Whose.
    options : mapping
        Of the network, such as ``{"steps": 8}``.
    seed : int
        Draws the weights; the process's own random numbers are left alone.

    Raises
    ------
    OptionError
        The network has no such option, or refuses its value.
    """
    import torch

    network_type = network_class(method.name)
    known = list(signature(network_type).parameters)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise OptionError(
            f"network= has {', '.join(map(repr, unknown))}, which the network of "
            f"method={method.name!r} does not know. Its options are "
            f"{', '.join(map(repr, known))}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return network_type(**options)
        except (TypeError, ValueError) as error:
            raise OptionError(f"network={dict(options)}: {error}") from error


def grown_network(
    known: WindowNetwork, method: type[LearnedMethod], options: Mapping[str, Any], seed: int
) -> WindowNetwork:
    """A copy of a trained network, or a larger one that takes its weights.

    Parameters
    ----------
    known : Module
        The trained one.
    method : LearnedMethod
        Whose.
    options : mapping
        What is to differ from its own, such as ``{"sees_coverage": True}``.
    seed : int
        Draws what the trained one has not.

    Raises
    ------
    OptionError
        Its weights have no place in a network with such options.
    """
    from xinverse.learning.growth import widened

    wanted = {**known.config, **options}
    network = alike = new_network(method, wanted, seed)
    if network.window > known.window:
        alike = new_network(method, {**wanted, "window": known.window}, seed)
    try:
        weights = widened(
            known.state_dict(),
            alike.state_dict(),
            network.state_dict(),
            known.window,
            network.window,
        )
    except ValueError as error:
        raise OptionError(
            f"network={dict(options)} does not take the weights of start=: {error}. Leave out "
            "of network= what start has in another size (its window may be longer), or train "
            "without start=."
        ) from None
    network.load_state_dict(weights)
    return network


def fit(
    network: WindowNetwork,
    regions: Sequence[Region],
    recipe: Recipe,
    folder: Path | None,
    data: Mapping[str, Any],
    *,
    trainer: Any = None,
    progress: bool,
) -> list[dict[str, float]]:
    """Train a network in place.

    Parameters
    ----------
    network : Module
        The network.
    regions : sequence of Region
        What it learns from.
    recipe : Recipe
        How.
    folder : Path, optional
        Where checkpoints are kept, and found.
    data : mapping
        What stands for the fields, and how they are read.
    trainer : lightning.Trainer, optional
        Takes the place of the package's own loop.
    progress : bool
        Show a bar.

    Returns
    -------
    list of dict
        Step, loss and validation score.

    Raises
    ------
    OptionError
        The folder holds another training.
    """
    import torch

    from xinverse.learning.augment import augment
    from xinverse.learning.batch import Batch
    from xinverse.learning.loop import train
    from xinverse.learning.objectives import objective_of
    from xinverse.learning.prefetch import ahead

    sampler = PatchSampler(regions, network.window, recipe.patch, recipe.batch, recipe.seed)
    if folder is not None:
        _claim(folder, _identity(network, recipe, data))
    # Not held as a solve holds it: reading a patch may itself solve tiles, in its thread.
    device = resolve_device(recipe.device)
    network.to(device)

    def tensors(cuts: Mapping[str, np.ndarray]) -> Batch:
        return Batch(**{name: torch.from_numpy(value) for name, value in cuts.items()})

    def batch_at(step: int) -> Batch:
        drawn = tensors(sampler.at(step))
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        return augment(
            drawn, generator, flips=recipe.flips, stretch=STRETCH, drift=recipe.drift
        )

    held = [tensors(cuts) for cuts in sampler.validation(VALIDATION_BATCHES)]

    def validate(model: WindowNetwork) -> float:
        return _score(model, [batch.to(device) for batch in held])

    objective = objective_of(recipe.loss, recipe.gradient_weight)
    if trainer is not None:
        history = _by_lightning(trainer, network, recipe.settings, objective, batch_at)
        network.to(device)
        if held:
            history[-1]["validation"] = validate(network)
    else:
        with ahead(batch_at) as next_batch:
            history = train(
                network,
                lambda step: next_batch(step).to(device),
                recipe.settings,
                objective=objective,
                validate=validate if held else None,
                checkpoint=None if folder is None else folder / CHECKPOINT,
                progress=progress,
            )
    network.cpu().eval().requires_grad_(False)
    return history


def _by_lightning(
    trainer: Any,
    network: WindowNetwork,
    settings: Settings,
    objective: Objective[WindowNetwork, Batch],
    batch_at: Callable[[int], Batch],
) -> list[dict[str, float]]:
    """Train with a trainer of Lightning, which knows devices, precision and checkpoints."""
    from xinverse.learning.lightning_module import TrainingModule, loader

    module = TrainingModule(network, settings, objective)
    trainer.fit(module, loader(batch_at, settings.steps))
    last = trainer.callback_metrics.get("loss", float("nan"))
    return [{"step": float(trainer.global_step), "loss": float(last), "validation": np.nan}]


def _score(model: WindowNetwork, batches: Sequence[Batch]) -> float:
    """Error variance over the background's where it is counted, tapered in time."""
    error = reference = 0.0
    for batch in batches:
        estimate = model.reconstruct(
            batch.background, batch.y, batch.observed, noise=batch.noise, sea=batch.sea
        )
        counted = cast("torch.Tensor", batch.counted)
        weight = counted * model.taper(estimate)[:, None, None]
        error += float((weight * (estimate - batch.truth).square()).sum())
        reference += float((weight * (batch.background - batch.truth).square()).sum())
    return error / reference


def _identity(
    network: WindowNetwork, recipe: Recipe, data: Mapping[str, Any]
) -> dict[str, Any]:
    plain = asdict(recipe)
    plain.pop("device")  # the same training wherever it goes on
    return json.loads(json.dumps({"network": network.config, **plain, **data}))


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    """Say in a folder which training its checkpoint is of, and refuse another's."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / SETTINGS_FILE
    if not file.exists():
        atomic_write(file, json.dumps(identity, indent=1, sort_keys=True).encode())
        return
    found = json.loads(file.read_text(encoding="utf-8"))
    if found != identity:
        keys = sorted(k for k in {*found, *identity} if found.get(k) != identity.get(k))
        first = keys[0]
        raise OptionError(
            f"The folder {str(folder)!r} holds another training: {', '.join(keys)} differ "
            f"({first} is {found.get(first)!r} there, {identity.get(first)!r} here). Give "
            "another folder=, or remove it."
        )
