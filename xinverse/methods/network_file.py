"""From a weight file to its network: settings and tensors are checked before it is built."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from xinverse.errors import WeightsError
from xinverse.methods.base import METHODS
from xinverse.weights import ModelCard
from xinverse.weights.store import Header
from xinverse.weights.tensor_table import TensorEntry

if TYPE_CHECKING:
    import torch

    from xinverse.learning.networks import WindowNetwork
    from xinverse.methods.windows import WindowMethod

__all__ = ["build_network", "check_card", "check_file", "check_tensors", "network_class"]

# Types of PyTorch by their name in weight files.
NAMES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"}
NAMES |= {"int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64"}
NAMES |= {"uint8": "U8", "bool": "BOOL"}
FLOATS = {"F16", "BF16", "F32", "F64"}


def network_class(method: str) -> type[WindowNetwork]:
    """The class of a method's network, imported if it was named by its module.

    Parameters
    ----------
    method : str
        A learned method.
    """
    network = cast("type[WindowMethod]", METHODS[method]).network
    if isinstance(network, str):
        module, _, name = network.partition(":")
        network = getattr(import_module(module), name)
    return cast("type[WindowNetwork]", network)


def check_card(card: ModelCard) -> None:
    """Require settings that the network and the method of a card accept.

    Parameters
    ----------
    card : ModelCard
        The card; nothing is built from it.

    Raises
    ------
    WeightsError
        The method has no weights; or a setting is missing, unknown, of another kind or out of
        bounds, or differs from the card's window.
    """
    if card.method not in METHODS or not METHODS[card.method].learned:
        raise WeightsError(
            f"The weights {reprlib.repr(card.name)} are for {reprlib.repr(card.method)}, which "
            "is not a learned method. Import the package that registers it, or use others."
        )
    method = cast("type[WindowMethod]", METHODS[card.method])
    try:
        (network_class(card.method).options | method.settings).check("config", card.config)
        method.check_settings(card.config)
        window = card.config.get("window")
        if window != card.window:
            raise ValueError(
                f"config.window={window}: expected that of the card, {card.window}."
            )
    except ValueError as reason:
        raise _refusal(card, str(reason)) from reason


def check_tensors(card: ModelCard, tensors: Mapping[str, TensorEntry]) -> None:
    """Require the tensors of the network that a card describes: names, shapes and types.

    Parameters
    ----------
    card : ModelCard
        The card; its settings are checked first.
    tensors : mapping
        The tensors, as the header of the file lists them.

    Raises
    ------
    WeightsError
        As `check_card`; or tensors are missing, unknown, or of another shape or type.
    """
    check_card(card)
    expected = _expected(card)
    missing = sorted(set(expected) - set(tensors))
    unknown = sorted(set(tensors) - set(expected))
    if missing or unknown:
        raise _refusal(
            card,
            f"the file lacks the tensors {reprlib.repr(missing)} and has the unknown tensors "
            f"{reprlib.repr(unknown)}.",
        )
    for name, wanted in expected.items():
        found = tensors[name]
        kinds = FLOATS if wanted.dtype in FLOATS else {wanted.dtype}
        if found.shape != wanted.shape or found.dtype not in kinds:
            raise _refusal(
                card,
                f"the tensor {name!r} is {found.dtype} of shape {list(found.shape)}; expected "
                f"{wanted.dtype} of shape {list(wanted.shape)}.",
            )


def check_file(header: Header) -> None:
    """Require of a file what `check_tensors` requires.

    Parameters
    ----------
    header : Header
        The header of the file.
    """
    check_tensors(header.card, header.tensors)


def build_network(card: ModelCard, tensors: Mapping[str, torch.Tensor]) -> WindowNetwork:
    """The network that a card describes, with its weights, to be used and not trained.

    Parameters
    ----------
    card : ModelCard
        Its ``config`` holds the sizes.
    tensors : mapping
        The weights, by the network's own names.

    Raises
    ------
    WeightsError
        As `check_tensors`; or a weight is not finite.
    """
    check_tensors(card, {name: _entry(value) for name, value in tensors.items()})
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise _refusal(card, f"the tensor {name!r} holds values that are not finite.")
    network = network_class(card.method).from_config(card.config)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


@lru_cache(maxsize=16)
def _expected(card: ModelCard) -> dict[str, TensorEntry]:
    """The tensors of the network of a card, from a network without memory."""
    import torch

    kind = network_class(card.method)
    try:
        with torch.device("meta"):
            state = kind.from_config(card.config).state_dict()
    except Exception as reason:  # a user's network may raise anything
        raise _refusal(card, f"{type(reason).__name__}: {reason}") from reason
    return {name: _entry(value) for name, value in state.items()}


def _entry(value: torch.Tensor) -> TensorEntry:
    """Type and shape of a tensor, as in the header of a file."""
    kind = str(value.dtype).removeprefix("torch.")
    return TensorEntry(NAMES.get(kind, kind), tuple(value.shape))


def _refusal(card: ModelCard, reason: str) -> WeightsError:
    return WeightsError(
        f"The weights {reprlib.repr(card.name)} do not describe a network of the method "
        f"{card.method!r}: {reason} Copy the file again, or use the version of xinverse that "
        "wrote it."
    )
