"""Trained weights: model cards, the registry, files.

===============  ==============================================================
`cards`          the model card of every registered name
`fetch`          the file of a registered name, downloaded if it is absent
`describe`       a `WeightsRef` from a user's ``weights=``, without reading tensors
`fitting`        which registered weights fit a field
`read_card`      the card in a file's header
`load_tensors`   the tensors of a file
`save`           tensors and card to a file
===============  ==============================================================
"""

from xinverse.weights.card import ModelCard
from xinverse.weights.reference import WeightsRef
from xinverse.weights.registry import WeightsRegistry, cards, describe, fetch, fitting
from xinverse.weights.store import file_sha256, load_tensors, read_card, save

__all__ = [
    "ModelCard",
    "WeightsRef",
    "WeightsRegistry",
    "cards",
    "describe",
    "fetch",
    "file_sha256",
    "fitting",
    "load_tensors",
    "read_card",
    "save",
]
