"""Train a learned method on labelled fields."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xinverse.checks import check_count
from xinverse.device import check_device, require_device
from xinverse.errors import DataError, OptionError, UnknownNameError
from xinverse.fields.attributes import describe_call
from xinverse.fields.sea_level import SEA_LEVEL
from xinverse.methods.fit import fit, grown_network, make_recipe, new_network
from xinverse.model import Model, load_model
from xinverse.options import get_option
from xinverse.tiling.patches import Region
from xinverse.verbs.job import Job
from xinverse.verbs.training_arguments import (
    Fields,
    check_numbers,
    field_by_field,
    learned_method,
    of_each,
)
from xinverse.verbs.training_regions import make_region, shifted
from xinverse.weights import ModelCard

__all__ = ["train", "train_on"]

BACKGROUND = {"length_scale": 90.0, "time_scale": 10.0}
GRADIENT_WEIGHT = 0.3
SLACK = 0.05  # of the grid spacing, beyond what was trained on


def train(
    method: str,
    truth: Fields | None = None,
    observations: Fields | None = None,
    *,
    background: Fields | None = None,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
    loss: str | None = None,
    withheld: float = 0.2,
    mask_shifts: int = 0,
    start: Model | str | os.PathLike[str] | None = None,
    network: Mapping[str, Any] | None = None,
    patch: int | tuple[int, int] = 48,
    batch: int = 8,
    steps: int = 2500,
    learning_rate: float = 2e-3,
    clip: float = 1.0,
    warm_steps: int = 3,
    validation: float = 0.2,
    every: int = 100,
    flips: Sequence[str] | None = None,
    drift: float = 0.0,
    gradient_weight: float = GRADIENT_WEIGHT,
    passes: int | None = None,
    length_scale: float = BACKGROUND["length_scale"],
    time_scale: float = BACKGROUND["time_scale"],
    noise: float | Sequence[float] | None = None,
    precision: str | None = None,
    seed: int = 0,
    name: str | None = None,
    summary: str | None = None,
    variables: Sequence[str] | None = None,
    card: Mapping[str, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    trainer: Any = None,
    device: str | None = None,
    progress: bool | None = None,
) -> Model:
    r"""Train a learned method: on a truth, or on nothing but observations.

    Patches are drawn at random and read one by one from where the data lie, so
    that a store may be larger than memory. What is learned is normalised, so
    that the weights serve other amplitudes.

    Parameters
    ----------
    method : str
        A learned method, such as ``"4dvarnet"`` or ``"unet"``.
    truth : DataArray or sequence of DataArray, optional
        Complete fields on (time, y, x), NaN on land: simulated oceans. Several
        may have different grids.
    observations : DataArray or sequence of DataArray
        What was seen of each, NaN in the gaps, on the same grid.
    background : DataArray or sequence of DataArray, optional
        First guess of each. Optimal interpolation of the observations, with the
        scales below, where not given; it is computed once, to disk where the
        data are lazy or large.
    mask : DataArray or ndarray, optional
        True (or 1) where the sea is, as for `xinverse.interpolate`.
    dims : mapping, optional
        Dimension names of ``"time"``, ``"y"`` and ``"x"``, where they cannot be found.
    loss : {"supervised", "self-supervised", "unsupervised"}, optional
        ``"supervised"``, with a truth: errors of field, gradient and projections.
        ``"self-supervised"``, without: the error at observations that are
        withheld from network and background. ``"unsupervised"``: the variational
        cost alone, for the solver of ``start``, whose prior stays as it is. By
        default the first with a truth and the second without.
    withheld : float
        Share of the observations that self-supervised learning withholds, in
        blocks of 3 time steps and 12 x 12 cells.
    mask_shifts : int
        How many times each truth is seen again, through its own observations'
        gaps and errors moved to other dates.
    start : Model, str or path, optional
        A trained model to go on from.
    network : mapping, optional
        Sizes of the network, such as ``{"window": 11, "steps": 8}``. With ``start``,
        what is to differ from its own: its weights must fit, and those that it has
        not begin untrained. Its window may be longer: the days before and after begin
        without a say.
    patch : int or (int, int)
        Cells along y and x.
    batch : int
        Patches of a step.
    steps : int
        Steps of the optimiser, Adam, at rates that fall by half a cosine.
    learning_rate : float
        At the start; half of it for the prior.
    clip : float
        Largest norm of the gradient.
    warm_steps : int
        Iterations of the solver at the start, which grow to the network's own.
    validation : float
        Share of each series, at its end, that is kept from training.
    every : int
        Steps between validations, and checkpoints.
    flips : sequence of str, optional
        Symmetries: ``"x"``, ``"y"``, ``"time"``, ``"sign"``, ``"y-sign"``. By
        default ``"y-sign"`` for sea level and none for others.
    drift : float
        Standard deviation, over that of the field, of a level that is added to
        whole patches, and of its change within half a window: for seas whose
        level rises and falls as a whole, as simulated boxes do not.
    gradient_weight : float
        Weight of the gradient's error in the supervised loss, where that of the field has
        one: the more, the more the small scales count.
    passes : int, optional
        How many times the weights are to go over the days, where a user does not say:
        each time from the map of the time before. For a network to learn what is left to
        do there, give it a field twice, the second time with the map that ``start`` makes
        of it as ``background``. As many as of ``start``, else one.
    length_scale, time_scale : float
        Scales of the optimal interpolation, in km and days.
    noise : float or sequence of float, optional
        Standard deviation of the observations' noise, as for ``method="oi"``: of
        all fields, or of each.
    precision : {"float32", "bfloat16"}, optional
        Of the convolutions; the second by default on GPUs.
    seed : int
        Of the untrained network and of the patches.
    name : str, optional
        Of the weights, on the model card.
    summary : str, optional
        What they are, in a sentence, there.
    variables : sequence of str, optional
        Standard or short names that the weights serve; those of the fields
        where not given, and all names of sea level for one of them.
    card : mapping, optional
        Other entries of the `xinverse.weights.ModelCard`, such as ``training``,
        ``licence`` or ``command``, in place of what is found out.
    folder : path, optional
        Where background and checkpoints are kept: a training that was killed
        goes on from there, to the same weights.
    trainer : lightning.Trainer, optional
        Runs the training in place of the package's own loop (``pip install
        "xinverse[train]"``): on several GPUs, with loggers and checkpoints of its own.
        Devices, precision and clipping are then the trainer's.
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; that of
        `xinverse.set_options` where not given.
    progress : bool, optional
        Show bars.

    Returns
    -------
    Model
        With its card; ``model.save("mine.safetensors")`` writes what ``weights=`` takes.

    Raises
    ------
    AxesError, GridError, MaskError, DataError, UnitsError
        The labels or the values are not what is needed.
    UnknownNameError, OptionError, WeightsError, DeviceError
        The method, an option, the weights, or the device.

    Notes
    -----
    Source: Fablet, Drumetz and Rousseau (2020), section 3.3.

    Examples
    --------
    >>> import xinverse
    >>> from xinverse.osse.nature import Ocean, nature_runs
    >>> (ssh,) = nature_runs([Ocean()], days=40, spinup=5, size=32)
    >>> seen = xinverse.osse.observe(ssh, ["nadir:4"], noise=0.02, seed=1).ssh
    >>> model = xinverse.train(
    ...     "4dvarnet", ssh, seen, steps=2, patch=16, network={"window": 5, "steps": 2}
    ... )
    >>> model.card.units, model.card.window
    ('m', 5)
    """
    chosen = learned_method(method)
    pairs = field_by_field(truth, observations, background)
    if loss is None:
        loss = "self-supervised" if truth is None else "supervised"
    check_numbers(
        loss,
        truth,
        withheld,
        validation,
        steps,
        batch,
        patch,
        start,
        mask_shifts,
        drift,
        gradient_weight,
    )
    if passes is not None:
        check_count("passes", passes, what="a number of passes")
    if trainer is not None and not hasattr(trainer, "fit"):
        raise OptionError(
            f"trainer is a {type(trainer).__name__}. Expected a lightning.Trainer, such as "
            "lightning.Trainer(max_epochs=1, gradient_clip_val=1.0)."
        )
    _check_card(card or {})
    device = check_device(get_option("device") if device is None else device)
    require_device(device)
    shown = get_option("progress") if progress is None else bool(progress)
    known = None if start is None else _trained(start, chosen.name)
    if known is None:
        net = new_network(chosen, network or {}, seed)
    else:
        net = grown_network(known.network, chosen, network or {}, seed)
    if loss == "unsupervised":
        _hold_prior(net, method)
    noises = of_each("noise", noise, len(pairs))
    told = noises if noise is not None and np.ndim(noise) else noise
    scales = {"length_scale": length_scale, "time_scale": time_scale}
    with ExitStack() as stack:
        place = Path(folder) if folder is not None else None
        cache = place or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        regions: list[Region] = []
        jobs, tokens = [], []
        for number, (x, y, b) in enumerate(pairs):
            for shift in range(mask_shifts + 1):
                seen = shifted(x, y, shift, mask_shifts, dims)
                job, region, token = make_region(
                    x,
                    seen,
                    b if shift == 0 else None,
                    scales={**scales, "noise": noises[number]},
                    mask=mask,
                    dims=dims,
                    hide=withheld if loss == "self-supervised" else 0.0,
                    seed=seed + number,
                    validation=validation,
                    store=cache / f"background-{number}-{shift}.zarr",
                    progress=shown,
                )
                regions.append(region)
                jobs.append(job)
                tokens.append(token)
        first = jobs[0]
        label, units = _names(jobs, variables)
        if flips is None:
            flips = ("y-sign",) if set(label) & set(SEA_LEVEL) else ()
        recipe = make_recipe(
            {
                "steps": steps,
                "learning_rate": learning_rate,
                "clip": clip,
                "warm_steps": warm_steps,
                "every": every,
            },
            precision=precision,
            loss=loss,
            patch=(patch, patch) if isinstance(patch, int) else (patch[0], patch[1]),
            batch=batch,
            flips=flips,
            drift=drift,
            gradient_weight=gradient_weight,
            seed=seed,
            device=device,
        )
        data = {
            "fields": "-".join(tokens),
            "validation": validation,
            "withheld": withheld if loss == "self-supervised" else 0.0,
            **scales,
            "noise": told,
        }
        history = fit(net, regions, recipe, place, data, trainer=trainer, progress=shown)
    spacings = [s for job in jobs for s in job.field.grid.spacing_km]
    call = describe_call(
        "train",
        method=method,
        loss=loss,
        network=network,
        patch=patch,
        batch=batch,
        steps=steps,
        learning_rate=learning_rate,
        mask_shifts=mask_shifts or None,
        drift=drift or None,
        gradient_weight=None if gradient_weight == GRADIENT_WEIGHT else gradient_weight,
        passes=passes,
        seed=seed,
        **scales,
        noise=told,
    )
    variable = first.field.template.name
    found = {
        "name": name or f"{label[0] if variable is None else variable}-{method}",
        "summary": summary or f"{chosen.summary}; trained by xinverse.train",
        "variables": label,
        "units": units,
        "grid_spacing_km": (min(spacings) * (1 - SLACK), max(spacings) * (1 + SLACK)),
        "time_step_days": first.field.grid.time_step,
        "training": f"{len(pairs)} fields, {loss}",
        "scores": _last(history),
        "command": f"xinverse.{call}",
    }
    config = {**net.config, "background": {k: scales[k] for k in BACKGROUND}}
    if passes is None and known is not None:
        passes = known.card.config.get("passes")
    config |= {} if passes is None else {"passes": int(passes)}
    fixed = {"method": method, "window": net.window, "config": config}
    return Model(net, ModelCard(**{**found, **(card or {}), **fixed}), history)


def train_on(
    obj: xr.Dataset | xr.DataArray,
    method: str,
    truth: Any = None,
    observations: Any = None,
    *,
    background: Any = None,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
    **options: Any,
) -> Model:
    r"""Train a learned method on variables of a dataset.

    `xinverse.train`, with names for what the object holds.

    Parameters
    ----------
    obj : Dataset or DataArray
        Holds the variables; an array is the observations itself.
    method : str
        A learned method, such as ``"4dvarnet"``.
    truth : str or DataArray, optional
        Complete field on (time, y, x); without it, learning is self-supervised.
    observations : str or DataArray, optional
        What was seen of it, NaN in the gaps.
    background : str or DataArray, optional
        First guess; optimal interpolation where not given.
    mask : DataArray, ndarray or str, optional
        True (or 1) where the sea is.
    dims : mapping, optional
        Dimension names of ``"time"``, ``"y"`` and ``"x"``, where they cannot be found.
    **options
        As `xinverse.train`.

    Returns
    -------
    Model
        With its card; ``model.save("mine.safetensors")`` writes what ``weights=`` takes.

    Raises
    ------
    UnknownNameError
        The dataset has no variable of that name.
    OptionError
        No observations were named; and as `xinverse.train`.
    """
    if isinstance(obj, xr.DataArray) and observations is None:
        observations = obj
    given = {"truth": truth, "observations": observations, "background": background}
    chosen = {what: _variable(obj, value) for what, value in given.items()}
    if isinstance(mask, str):
        mask = _variable(obj, mask)
    return train(method, **chosen, mask=mask, dims=dims, **options)


def _trained(start: Model | str | os.PathLike[str], method: str) -> Model:
    """The trained model to go on from, of the method."""
    model = start if isinstance(start, Model) else load_model(start)
    if model.card.method != method:
        raise OptionError(
            f"start= is a model of method={model.card.method!r}, not of {method!r}."
        )
    return model


def _hold_prior(network: Any, method: str) -> None:
    """Keep what the variational cost is made of from changing."""
    if not hasattr(network, "cost"):
        raise OptionError(
            f"loss='unsupervised': method={method!r} has no variational cost to make small. "
            "Take method='4dvarnet', or another loss."
        )
    network.cost.requires_grad_(False)


def _check_card(card: Mapping[str, Any]) -> None:
    """Refuse entries that a model card has not."""
    unknown = sorted(set(card) - {f.name for f in fields(ModelCard)})
    if unknown:
        raise OptionError(f"card= has {', '.join(map(repr, unknown))}, which no ModelCard has.")


def _variable(obj: xr.Dataset | xr.DataArray, value: Any) -> Any:
    """The variable of that name, where a name was given."""
    if not isinstance(value, str):
        return value
    names = obj.data_vars if isinstance(obj, xr.Dataset) else obj.coords
    if value not in names:
        raise UnknownNameError("variable", value, [str(n) for n in names])
    return obj[value]


def _names(jobs: Sequence[Job], variables: Sequence[str] | None) -> tuple[Any, str]:
    """Names that the weights serve, and the units."""
    templates = [job.field.template for job in jobs]
    found = {str(t.attrs.get("standard_name", t.name)) for t in templates}
    units = {str(t.attrs.get("units", "")) for t in templates}
    if len(units) > 1 or "" in units:
        raise DataError(
            f"The units of the fields are {sorted(units)}: expected one, the same for all. "
            "Set attrs['units']."
        )
    if variables is not None:
        return tuple(variables), units.pop()
    if found & set(SEA_LEVEL):
        found |= set(SEA_LEVEL)
    return tuple(sorted(found)), units.pop()


def _last(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    score = history[-1]["validation"] if history else float("nan")
    key = "validation error variance over the background's"
    return {key: round(score, 4)} if np.isfinite(score) else {}
