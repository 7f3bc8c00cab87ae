"""A trained method: its network, its card, how it was learned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xinverse.errors import OptionError
from xinverse.weights import ModelCard, load_tensors, read_card, save
from xinverse.weights.registry import SUFFIX, cards, fetch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from xinverse.learning.network import WindowNetwork

__all__ = ["Model", "load_model"]


@dataclass(eq=False)
class Model:
    """What `xinverse.train` returns and `xinverse.load_model` reads.

    Parameters
    ----------
    network : Module
        The trained network.
    card : ModelCard
        What it was trained for and how; the verbs check fields against it.
    history : list of dict
        Step, loss and validation score, along the training; empty where the
        model was read from a file.
    """

    network: WindowNetwork
    card: ModelCard
    history: Sequence[dict[str, float]] = field(default_factory=list)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write weights and card to one file, whole or not at all.

        Parameters
        ----------
        path : path
            Ends in ``.safetensors``; it is what ``weights=`` takes.

        Returns
        -------
        Path
            Where it is.

        Raises
        ------
        OptionError
            Another ending.
        """
        path = Path(path)
        if path.suffix != SUFFIX:
            raise OptionError(f"{path}: let the name end in {SUFFIX}, as weights= expects.")
        tensors = {name: t.cpu() for name, t in self.network.state_dict().items()}
        save(path, tensors, self.card)
        return path

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the learning curve: loss, and validation score, over the steps.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where; a new figure's where not given.

        Returns
        -------
        matplotlib.axes.Axes
            With a logarithmic axis of errors, over the background's.
        """
        from xinverse.plot import learning_curve

        if not self.history:
            raise OptionError(
                "This model has no history: it was read from a file. The curve can be drawn "
                "of what xinverse.train returned."
            )
        drawn = learning_curve(self.history, ax)
        drawn.set(title=self.card.name, ylabel="error variance over the background's")
        return drawn

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
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
    return [(k, float(v)) for k, v in scores.items() if isinstance(v, int | float)]


def load_model(weights: str | os.PathLike[str]) -> Model:
    """Read a trained method.

    Parameters
    ----------
    weights : str or path
        Name of registered weights, or a ``.safetensors`` file.

    Returns
    -------
    Model
        With no history.

    Raises
    ------
    WeightsError, HashError, UnknownNameError
        The file is absent, damaged or without a card; there is no such name.
    """
    from xinverse.methods.learned import LearnedMethod
    from xinverse.methods.registry import find

    registered = isinstance(weights, str) and weights in cards()
    path = fetch(cast(str, weights)) if registered else Path(weights)
    card = read_card(path)
    method = cast(LearnedMethod, find(card.method))
    network = method.network_type().from_config(card.config)
    network.load_state_dict(load_tensors(path))
    return Model(network.eval().requires_grad_(False), card)
