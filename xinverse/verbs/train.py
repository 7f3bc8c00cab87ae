"""Train a learned method on labelled fields."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr

from xinverse.checks import check_mapping, check_switch
from xinverse.device import check_device, require_device
from xinverse.errors import OptionError, UnknownNameError
from xinverse.methods.training import (
    default_precision,
    learned_method,
    network_to_train,
    train_patches,
)
from xinverse.model import Model, load_model
from xinverse.options import get_option
from xinverse.recipe import Recipe
from xinverse.verbs.training_card import (
    command_of,
    described,
    scores_of,
    with_flips,
)
from xinverse.verbs.training_fields import Fields, TrainingFields
from xinverse.verbs.training_folder import checkpoint_of
from xinverse.verbs.training_options import check_card, divided
from xinverse.verbs.training_scenes import TrainingScenes
from xinverse.verbs.training_source import identity_of, learned_from, with_loss
from xinverse.weights import ModelCard

__all__ = ["train", "train_on"]


def train(
    method: str,
    truth: Fields | TrainingFields | TrainingScenes | None = None,
    observations: Fields | None = None,
    *,
    background: Fields | None = None,
    recipe: Recipe | None = None,
    start: Model | str | os.PathLike[str] | None = None,
    network: Mapping[str, Any] | None = None,
    card: Mapping[str, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    trainer: Any = None,
    device: str | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Model:
    r"""Train a learned method, on a truth and its observations or on observations alone.

    Patches are drawn at random and read one by one, so the fields may be larger than
    memory. They are normalised, so the weights apply to other amplitudes.

    Parameters
    ----------
    method : str
        A learned method, such as ``"4dvarnet"`` or ``"unet"``.
    truth : DataArray, sequence of DataArray, TrainingFields or TrainingScenes, optional
        Complete fields on (time, y, x), NaN on land, such as simulations; or everything
        to learn from in one object, which may be drawn again for every batch. Default:
        none, which trains on observations alone.
    observations : DataArray or sequence of DataArray
        The observations of each field, NaN in the gaps, on the same grid.
    background : DataArray or sequence of DataArray, optional
        The first guess of each field. Default: optimal interpolation of the observations.
    recipe : Recipe, optional
        How to train. Default: ``xinverse.Recipe()``.
    start : Model, str or path, optional
        A trained model to continue from.
    network : mapping, optional
        Options of the network, such as ``{"window": 11, "steps": 8}``. With ``start``,
        those that differ from its own. Its weights must fit; new weights start untrained.
        The window may be longer: days before and after it start with weight zero.
    card : mapping, optional
        Entries of the `xinverse.weights.ModelCard`, such as ``name``, ``summary``,
        ``variables``, ``training`` or ``licence``. Default: found from the fields.
    folder : path, optional
        Where backgrounds and checkpoints are kept. A training that was killed continues
        from there, to the same weights.
    trainer : lightning.Trainer, optional
        Replaces the package's own training loop (``pip install "xinverse[train]"``), for
        several GPUs, loggers and other checkpoints. Devices, precision and clipping are
        then those of the trainer.
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``. Default: that of
        `xinverse.set_options`.
    progress : bool, optional
        Show progress bars. Default: that of `xinverse.set_options`.
    **options
        Fields of `Recipe`, such as ``steps``, ``patch`` and ``seed``, and of
        `TrainingFields`, such as ``noise`` and ``mask``. They replace those of the
        objects.

    Returns
    -------
    Model
        The network and its card. ``model.save("mine.safetensors")`` writes a file for
        ``weights=``.

    Raises
    ------
    AxesError, GridError, MaskError, DataError, UnitsError
        The labels or the values are not what training needs.
    UnknownNameError, OptionError, WeightsError, DeviceError
        The method, an option, the weights or the device is not accepted.

    Notes
    -----
    Source: Fablet, Drumetz and Rousseau (2020), section 3.3.

    Examples
    --------
    >>> import xinverse
    >>> from xinverse.osse.nature import Ocean, nature_runs
    >>> (ssh,) = nature_runs([Ocean()], days=40, spinup=5, size=32)
    >>> seen = xinverse.osse.observe(ssh, ["nadir:4"], noise=0.02, seed=1).ssh
    >>> small = {"window": 5, "steps": 2}
    >>> model = xinverse.train("4dvarnet", ssh, seen, steps=2, patch=16, network=small)
    >>> model.card.units, model.card.window
    ('m', 5)

    Fields and recipe as objects, to use them more than once:

    >>> fields = xinverse.TrainingFields(ssh, seen, noise=0.02)
    >>> recipe = xinverse.Recipe(steps=2, patch=16)
    >>> model = xinverse.train("4dvarnet", fields, recipe=recipe, network=small)
    """
    kind = learned_method(method)
    source, recipe = divided(truth, observations, background, recipe, options)
    recipe = with_loss(recipe, source, start)
    if trainer is not None and not hasattr(trainer, "fit"):
        raise OptionError(
            f"trainer is a {type(trainer).__name__}. Expected a lightning.Trainer, such as "
            "lightning.Trainer(max_epochs=1, gradient_clip_val=1.0)."
        )
    for what, given in (("network", network), ("card", card)):
        if given is not None:
            check_mapping(what, given)
    check_card(card or {})
    device = check_device(get_option("device") if device is None else device)
    require_device(device)
    if progress is not None:
        check_switch(progress=progress)
    shown = get_option("progress") if progress is None else bool(progress)
    known = None if start is None else _trained(start, kind.name)
    trained = None if known is None else known.network
    net = network_to_train(kind.name, network or {}, recipe, trained)
    recipe = _with_usage(recipe, known, net.window)
    with ExitStack() as stack:
        kept = None if folder is None else Path(folder)
        cache = kept or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        learned = learned_from(source, recipe, net.window, cache, progress=shown)
        entries = {**described(learned.fields), **(card or {})}
        whole = replace(
            with_flips(recipe, entries["variables"]),
            precision=recipe.precision or default_precision(device),
        )
        identity = identity_of(net.config, whole, learned)
        history = train_patches(
            net,
            learned.patches,
            whole,
            device,
            checkpoint=None if kept is None else checkpoint_of(kept, identity),
            trainer=trainer,
            progress=shown,
        )
    label = learned.fields[0].template.name
    variable = entries["variables"][0] if label is None else label
    usage = {n: v for n in ("passes", "overhang") if (v := getattr(recipe, n))}
    found = {
        "name": f"{variable}-{method}",
        "summary": f"{kind.summary}; trained by xinverse.train",
        "training": f"{learned.words}, {recipe.loss}",
        "scores": scores_of(history),
        "command": command_of(method, recipe, source, network),
        "method": method,
        "window": net.window,
        "config": {**net.config, "background": recipe.scales, **usage},
    }
    return Model(net, ModelCard(**{**found, **entries}), history)


def train_on(
    obj: xr.Dataset | xr.DataArray,
    method: str,
    truth: Any = None,
    observations: Any = None,
    **options: Any,
) -> Model:
    r"""Train a learned method on variables of a dataset.

    `xinverse.train`, with variables by name.

    Parameters
    ----------
    obj : Dataset or DataArray
        Holds the variables. A DataArray is the observations.
    method : str
        A learned method, such as ``"4dvarnet"``.
    truth : str or DataArray, optional
        Complete field on (time, y, x). Default: none, which trains on observations alone.
    observations : str or DataArray, optional
        The observations, NaN in the gaps.
    **options
        As of `xinverse.train`; ``background`` and ``mask`` may be names of variables.

    Returns
    -------
    Model
        The network and its card. ``model.save("mine.safetensors")`` writes a file for
        ``weights=``.

    Raises
    ------
    UnknownNameError
        The dataset has no variable of that name.
    OptionError
        No observations were named; and as `xinverse.train`.
    """
    if isinstance(obj, xr.DataArray) and observations is None:
        observations = obj
    given = {"truth": truth, "observations": observations, **options}
    for name in ("truth", "observations", "background", "mask"):
        if isinstance(given.get(name), str):
            given[name] = _variable(obj, given[name])
    return train(method, **given)


def _with_usage(recipe: Recipe, known: Model | None, window: int) -> Recipe:
    """Take how the weights are used from the model to continue from, unless it is given."""
    for name in ("passes", "overhang"):
        if getattr(recipe, name) is None and known is not None and name in known.card.config:
            recipe = replace(recipe, **{name: known.card.config[name]})
    if (recipe.overhang or 0) >= window:
        raise OptionError(
            f"overhang={recipe.overhang}: expected fewer days than the window, {window}."
        )
    return recipe


def _trained(start: Model | str | os.PathLike[str], method: str) -> Model:
    """Load the model to continue from, which must be of the same method."""
    model = start if isinstance(start, Model) else load_model(start)
    if model.card.method != method:
        raise OptionError(
            f"start= is a model of method={model.card.method!r}, not of {method!r}. Train "
            f"method={model.card.method!r}, or leave start= out."
        )
    return model


def _variable(obj: xr.Dataset | xr.DataArray, name: str) -> xr.DataArray:
    """Find a variable (or a coordinate of a DataArray) by name."""
    names = obj.data_vars if isinstance(obj, xr.Dataset) else obj.coords
    if name not in names:
        raise UnknownNameError("variable", name, [str(n) for n in names])
    return obj[name]
