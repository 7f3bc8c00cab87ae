"""A trained method: its network, its model card and its learning curve."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xinverse.checks import is_number
from xinverse.errors import OptionError, WeightsError
from xinverse.weights import ModelCard, load_tensors, save
from xinverse.weights.checkpoint import CHECKPOINTS
from xinverse.weights.registry import SUFFIX, cards, fetch
from xinverse.weights.store import read_header

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from xinverse.learning.networks import WindowNetwork

__all__ = ["Model", "load_model"]


@dataclass(eq=False)
class Model:
    """A trained method, from `xinverse.train` or `xinverse.load_model`.

    Parameters
    ----------
    network : Module
        The trained network.
    card : ModelCard
        What it was trained for; the verbs check fields against it.
    history : list of dict
        Step, loss and validation score during the training. Empty for a model that was
        read from a file.
    """

    network: WindowNetwork
    card: ModelCard
    history: Sequence[dict[str, float]] = field(default_factory=list)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write weights and card to one file, completely or not at all.

        Parameters
        ----------
        path : path
            A name that ends in ``.safetensors``, to be used as ``weights=``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OptionError
            The name has another ending.
        """
        path = Path(path)
        if path.suffix != SUFFIX:
            raise OptionError(f"{path}: expected a name in {SUFFIX}, as for weights=.")
        tensors = {name: t.cpu() for name, t in self.network.state_dict().items()}
        save(path, tensors, self.card)
        return path

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the learning curve: loss, and validation score, over the steps.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. Default: those of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            Errors relative to the background, on a logarithmic axis.
        """
        from xinverse.plot import learning_curve

        if not self.history:
            raise OptionError(
                "This model has no history: it was read from a file. Plot the model that "
                "xinverse.train returned."
            )
        drawn = learning_curve(self.history, ax)
        drawn.set(title=self.card.name, ylabel="error variance over the background's")
        return drawn

    @property
    def parameters(self) -> int:
        """Number of learned parameters."""
        return sum(p.numel() for p in self.network.parameters())

    def _lines(self) -> list[tuple[str, str]]:
        card = self.card
        low, high = card.grid_spacing_km
        lines = [
            ("method", f"{card.method}, {self.parameters:,} parameters"),
            ("variables", f"{', '.join(card.variables)} in {card.units}"),
            ("grid", f"{low:.3g} to {high:.3g} km, every {card.time_step_days:g} days"),
            ("window", f"{card.window} time steps"),
            ("training", card.training),
        ]
        return lines + [(name, f"{value:.4g}") for name, value in _numbers(card.scores)]

    def __repr__(self) -> str:
        rows = "\n".join(f"  {name:<10} {text}" for name, text in self._lines())
        return f"<xinverse.Model {self.card.name!r}>\n{rows}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>"
            for name, text in self._lines()
        )
        return f"<table><caption>{escape(self.card.name)}</caption>{rows}</table>"


def _numbers(scores: dict[str, Any]) -> list[tuple[str, float]]:
    return [(k, float(v)) for k, v in scores.items() if is_number(v)]


def load_model(
    weights: str | os.PathLike[str],
    *,
    variables: Sequence[str] | None = None,
    units: str | None = None,
    grid_spacing_km: Sequence[float] | None = None,
    normalisation: Sequence[float] | None = None,
    time_step_days: float | None = None,
    patch: Sequence[int] | None = None,
    network: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Model:
    """Read a trained method, or a checkpoint of the reference 4DVarNet code.

    Files of xinverse hold a model card and need no keywords. A checkpoint of the
    reference code (``4dvarnet-starter``, ``ocean4dvarnet``) does not say what it was
    trained for, so keywords are needed. Only its tensors are read, and no code in it is
    run. Its method is ``"4dvarnet-reference"``; ``save`` writes a file for ``weights=``.

    Parameters
    ----------
    weights : str or path
        Name of registered weights, a ``.safetensors`` file, or a checkpoint with suffix
        ``.ckpt``, ``.pt`` or ``.pth``.
    variables : sequence of str, optional
        For a checkpoint: CF standard names and short names of its variables.
    units : str, optional
        For a checkpoint: units of the fields.
    grid_spacing_km : (float, float), optional
        For a checkpoint: smallest and largest grid spacing, in km.
    normalisation : (float, float), optional
        For a checkpoint: mean and standard deviation of the training field, in ``units``;
        printed by the reference as ``Norm stats``.
    time_step_days : float, optional
        For a checkpoint: the time step, in days. Default: 1.
    patch : (int, int), optional
        For a checkpoint without ``rec_weight``: cells of its patches along (y, x).
    network : mapping, optional
        For a checkpoint: options that its tensors do not show, by the reference's names.
        Default: those of its ``base.yaml``, ``{"n_step": 10, "lr_grad":
        1e3, "lbd": 1.0, "bilin_quad": False, "downsamp": 2, "solver_downsamp": 1}``.
    name : str, optional
        For a checkpoint: name of the weights on the model card. Default: that of the file.

    Returns
    -------
    Model
        Without history.

    Raises
    ------
    WeightsError, HashError, UnknownNameError
        The file is absent or damaged, has no card, or is not a checkpoint of that code;
        or no weights have this name.
    OptionError
        A keyword is missing for a checkpoint, or was passed with another file.
    """
    keywords = {
        "variables": variables,
        "units": units,
        "grid_spacing_km": grid_spacing_km,
        "normalisation": normalisation,
        "time_step_days": time_step_days,
        "patch": patch,
        "network": network,
        "name": name,
    }
    if not isinstance(weights, str | os.PathLike):
        raise OptionError(
            f"weights is {weights!r}, of type {type(weights).__name__}; expected a registered "
            "name or the path of a file."
        )
    registered = isinstance(weights, str) and weights in cards()
    if not registered and Path(weights).suffix in CHECKPOINTS:
        from xinverse.methods.reference_checkpoint import read_reference

        return Model(*read_reference(weights, **cast(Any, keywords)))
    if given := [key for key, value in keywords.items() if value is not None]:
        raise OptionError(
            f"{', '.join(f'{key}=' for key in given)}: {str(weights)!r} has a card with "
            "these entries. Leave them out; only checkpoints of other programs need them."
        )
    from xinverse.methods.network_file import build_network, check_tensors

    path = fetch(cast(str, weights)) if registered else Path(weights)
    header = read_header(path)
    try:
        check_tensors(header.card, header.tensors)
        trained = build_network(header.card, load_tensors(path, header.token))
    except WeightsError as reason:
        raise type(reason)(f"In the weight file {str(path)!r}: {reason}") from reason
    return Model(trained, header.card)
