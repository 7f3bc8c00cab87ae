"""How a network is trained: loss, patches, optimiser, and the background it starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from xinverse.checks import check_choice, check_count, check_number
from xinverse.device import Precision
from xinverse.errors import OptionError

__all__ = ["FLIPS", "LOSSES", "Recipe"]

LOSSES = ("supervised", "self-supervised", "unsupervised")
FLIPS = ("x", "y", "time", "sign", "y-sign")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How `xinverse.train` trains a network.

    Its fields may also be passed to `xinverse.train` as keywords. Build one to reuse it
    for several methods or seas; `dataclasses.replace` changes some of its values.

    Parameters
    ----------
    loss : {"supervised", "self-supervised", "unsupervised"}, optional
        ``"supervised"`` needs a truth and minimises the errors of the field, its gradient
        and its projections. ``"self-supervised"`` minimises the error at observations
        that are withheld from the network and the background. ``"unsupervised"``
        minimises the variational cost with the solver of a trained model (``start=``),
        whose prior stays fixed. Default: ``"supervised"`` with a truth, else
        ``"self-supervised"``.
    steps : int
        Steps of the optimiser, Adam. The learning rate decreases as half a cosine.
    learning_rate : float
        Learning rate at the start. The prior has half of it.
    batch : int
        Patches per step.
    patch : int or (int, int)
        Cells of a patch along y and x.
    clip : float
        Largest norm of the gradient.
    warm_steps : int
        Solver iterations at the start. They grow to those of the network over the first
        third of the training.
    every : int
        Steps between validations, and between checkpoints.
    flips : sequence of str, optional
        Symmetries by which patches are mirrored at random: ``"x"``, ``"y"``, ``"time"``,
        ``"sign"``, ``"y-sign"``. Default: ``"y-sign"`` for sea level, none for other
        variables.
    drift : float
        Standard deviation of a level that is added to whole patches, and of its change
        from the middle of a window to its ends, in units of the field's standard
        deviation. For seas whose mean level varies, which simulated regions often lack.
    gradient_weight : float
        Weight of the gradient's error in the supervised loss; that of the field is 1.
        Larger values favour small scales.
    precision : {"float32", "bfloat16"}, optional
        Precision of the convolutions. Default: ``"bfloat16"`` on GPUs, else
        ``"float32"``.
    seed : int
        Seed of the initial weights and of the patches.
    length_scale, time_scale : float
        Scales of the optimal interpolation that makes the background, in km and days.
    passes : int, optional
        Default number of passes over the series when the weights are used; each starts
        from the map of the one before. Default: that of ``start=``, else 1.
    overhang : int, optional
        Days by which windows may reach beyond the ends of a series, where nothing is
        observed, in training and when the weights are used. The first and the last day are
        then also mapped in the middle of a window. Default: that of ``start=``, else 0.

    Raises
    ------
    OptionError
        A value is of the wrong type, or out of bounds.

    Examples
    --------
    >>> import dataclasses
    >>> import xinverse
    >>> short = xinverse.Recipe(steps=500, patch=32)
    >>> dataclasses.replace(short, seed=1).steps
    500
    """

    loss: str | None = None
    steps: int = 2500
    learning_rate: float = 2e-3
    batch: int = 8
    patch: int | tuple[int, int] = 48
    clip: float = 1.0
    warm_steps: int = 3
    every: int = 100
    flips: Sequence[str] | None = None
    drift: float = 0.0
    gradient_weight: float = 0.3
    precision: Precision | None = None
    seed: int = 0
    length_scale: float = 90.0
    time_scale: float = 10.0
    passes: int | None = None
    overhang: int | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        if self.loss is not None:
            check_choice("loss", self.loss, LOSSES)
        if self.precision is not None:
            check_choice("precision", self.precision, get_args(Precision))
        for name in ("steps", "batch", "warm_steps", "every"):
            check_count(name, getattr(self, name))
        if self.passes is not None:
            check_count("passes", self.passes, what="a number of passes")
        if self.overhang is not None:
            check_count("overhang", self.overhang, least=0, what="a number of days")
        check_count("seed", self.seed, least=0)
        for name in ("learning_rate", "clip", "length_scale", "time_scale"):
            check_number(name, getattr(self, name), above=0)
        for name in ("drift", "gradient_weight"):
            check_number(name, getattr(self, name), least=0)
        self._check_patch()
        if self.flips is not None:
            flips = (self.flips,) if isinstance(self.flips, str) else tuple(self.flips)
            for flip in flips:
                check_choice("flips", flip, FLIPS)
            object.__setattr__(self, "flips", flips)

    def _check_patch(self) -> None:
        """Require one or two numbers of cells."""
        patch: object = self.patch
        if isinstance(patch, list | tuple):
            if len(patch) != 2:
                raise OptionError(f"patch={patch!r}: expected cells along y and x.")
            for side in patch:
                check_count("patch", side, what="a whole number of cells")
            object.__setattr__(self, "patch", tuple(patch))
        else:
            check_count("patch", patch, what="a whole number of cells")

    @property
    def sides(self) -> tuple[int, int]:
        """Cells of a patch along y and x."""
        patch = self.patch
        return patch if isinstance(patch, tuple) else (patch, patch)

    @property
    def scales(self) -> dict[str, float]:
        """Scales of the background's optimal interpolation, by the names of its options."""
        return {"length_scale": self.length_scale, "time_scale": self.time_scale}
