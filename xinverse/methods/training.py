"""Training of a registered method: its network, built and trained by `xinverse.learning`.

Importing this module does not import PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xinverse.device import Precision, resolve_device
from xinverse.errors import OptionError
from xinverse.methods.base import METHODS
from xinverse.methods.learned import LearnedMethod
from xinverse.methods.network_file import network_class
from xinverse.methods.registry import find
from xinverse.recipe import Recipe

if TYPE_CHECKING:
    from xinverse.learning import WindowNetwork
    from xinverse.learning.train_network import Patches

__all__ = ["default_precision", "learned_method", "network_to_train", "train_patches"]


def learned_method(name: str) -> type[LearnedMethod]:
    """Find a method that can be trained on maps.

    Parameters
    ----------
    name : str
        Name of the method.

    Raises
    ------
    UnknownNameError
        There is no such method.
    OptionError
        It cannot be trained.
    """
    chosen = find(name)
    if not issubclass(chosen, LearnedMethod):
        what = "cannot be trained with this package" if chosen.learned else "has no weights"
        learned = [repr(n) for n in sorted(METHODS) if issubclass(METHODS[n], LearnedMethod)]
        raise OptionError(f"method={name!r} {what}. Methods to train: {', '.join(learned)}.")
    return chosen


def default_precision(device: str) -> Precision:
    """Precision of a training on a device, unless the recipe sets it.

    Parameters
    ----------
    device : str
        As of `xinverse.train`.
    """
    return "bfloat16" if resolve_device(device).type == "cuda" else "float32"


def network_to_train(
    method: str,
    options: Mapping[str, Any],
    recipe: Recipe,
    trained: WindowNetwork | None = None,
) -> WindowNetwork:
    """Build the network of a method, untrained or from trained weights.

    Parameters
    ----------
    method : str
        Name of the method.
    options : mapping
        Options of the network; with `trained`, those that differ from its own.
    recipe : Recipe
        Its seed draws untrained weights. With ``loss="unsupervised"`` the prior is fixed.
    trained : WindowNetwork, optional
        The network to continue from.

    Raises
    ------
    OptionError
        The network does not have such options, the trained weights do not fit, or it has
        no variational cost to minimise.
    """
    from xinverse.learning.build import grown_network, new_network

    if trained is None:
        network = new_network(network_class(method), options, recipe.seed)
    else:
        network = grown_network(trained, options, recipe.seed)
    if recipe.loss == "unsupervised":
        cost: Any = getattr(network, "cost", None)
        if cost is None:
            raise OptionError(
                f"loss='unsupervised' minimises a variational cost, and method={method!r} has "
                "none. Use method='4dvarnet', or another loss."
            )
        cost.requires_grad_(False)
    return network


def train_patches(
    network: WindowNetwork,
    patches: Patches,
    recipe: Recipe,
    device: str,
    *,
    checkpoint: Path | None,
    trainer: Any,
    progress: bool,
) -> list[dict[str, float]]:
    """Train a network in place; see `xinverse.learning.train_network.train_network`.

    Parameters
    ----------
    network, patches, recipe, checkpoint, trainer, progress
        As there.
    device : str
        As of `xinverse.train`.
    """
    from xinverse.learning.train_network import train_network

    # The device is not locked as for a solve: reading a patch may itself solve tiles, in
    # another thread.
    return train_network(
        network,
        patches,
        recipe,
        device=resolve_device(device),
        checkpoint=checkpoint,
        trainer=trainer,
        progress=progress,
    )
