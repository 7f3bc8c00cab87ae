"""Build networks to train: untrained ones, and larger copies of trained ones."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch

from xinverse.errors import OptionError
from xinverse.learning.growth import widened
from xinverse.learning.networks.base import WindowNetwork

__all__ = ["grown_network", "new_network"]


def new_network(
    network_type: type[WindowNetwork], options: Mapping[str, Any], seed: int
) -> WindowNetwork:
    """Build an untrained network.

    Parameters
    ----------
    network_type : type
        A subclass of `xinverse.learning.WindowNetwork`.
    options : mapping
        Its arguments, such as ``{"steps": 8}``.
    seed : int
        Seed of the weights. The random state of the process is left as it is.

    Raises
    ------
    OptionError
        The network does not have such an option, or not with this value.
    """
    known = list(signature(network_type).parameters)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise OptionError(
            f"network= has {', '.join(map(repr, unknown))}, which {network_type.__name__} does "
            f"not have. Its options are {', '.join(map(repr, known))}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return network_type(**options)
        except (TypeError, ValueError) as error:
            raise OptionError(f"network={dict(options)}: {error}") from error


def grown_network(
    trained: WindowNetwork, options: Mapping[str, Any], seed: int
) -> WindowNetwork:
    """Copy a trained network, or build a larger one that starts from its weights.

    Parameters
    ----------
    trained : WindowNetwork
        The trained network.
    options : mapping
        Options that differ from those of `trained`, such as ``{"sees_coverage": True}``.
    seed : int
        Seed of the weights that `trained` does not have.

    Raises
    ------
    OptionError
        Its weights do not fit a network with these options.
    """
    kind = type(trained)
    wanted = {**trained.config, **options}
    network = alike = new_network(kind, wanted, seed)
    if network.window > trained.window:
        alike = new_network(kind, {**wanted, "window": trained.window}, seed)
    try:
        weights = widened(
            trained.state_dict(),
            alike.state_dict(),
            network.state_dict(),
            trained.window,
            network.window,
        )
    except ValueError as error:
        raise OptionError(
            f"network={dict(options)} does not fit the weights of start=: {error}. Remove from "
            "network= what has another size in start (its window may be longer), or train "
            "without start=."
        ) from None
    network.load_state_dict(weights)
    return network
