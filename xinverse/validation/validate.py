"""Which method to take: maps scored against observations that were withheld from them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from time import process_time
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.checks import check_count, check_mapping, check_number
from xinverse.errors import OptionError, UnknownNameError, XinverseError
from xinverse.fields.axes import find_axes
from xinverse.fields.field import Field, to_field
from xinverse.fields.grid import make_grid
from xinverse.methods.registry import find
from xinverse.scores.distributions import crps_gaussian
from xinverse.validation.judge import judge
from xinverse.validation.noise_level import noise_level
from xinverse.validation.report import COLUMNS, Validation
from xinverse.validation.withhold import groups_of
from xinverse.verbs.choose import chosen_variables, variables_to_fill
from xinverse.verbs.interpolate import interpolate
from xinverse.withholding import balanced_folds

__all__ = ["validate"]

_WITHIN_90 = 1.6448536269514722  # of a standard normal number, with a probability of 90 %

Array = NDArray[Any]


def validate(
    obj: xr.Dataset | xr.DataArray,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]] = ("oi",),
    *,
    variables: str | Sequence[str] | None = None,
    share: float = 0.1,
    repeats: int = 1,
    block: Mapping[str, float] | None = None,
    noise: float | Mapping[str, float] | None = None,
    seed: int = 0,
    dims: Mapping[str, Hashable] | None = None,
    **keywords: Any,
) -> Validation:
    r"""Withhold observations, map with each method, and say which one to take.

    Whole groups of observations are withheld: passes of tracks, or blocks in space and time
    that are as far from the other observations as the gaps of the data are. The error of map
    minus withheld observation :math:`y` is that of the map and the noise :math:`n` of the
    observation,

    .. math:: \langle (x^a - y)^2 \rangle = \text{map error}^2 + n^2 .

    The difference of two methods is judged by a bootstrap over the withheld groups. Each method
    maps `repeats` times, with the observations of one fold withheld.

    Parameters
    ----------
    obj : Dataset or DataArray
        Fields with gaps on (time, y, x). They are loaded: select a region and a period first.
    methods : sequence of str, or mapping of str to mapping
        Names of methods, or labels and the keywords of each, such as
        ``{"oi, 100 km": {"method": "oi", "length_scale": 100}}``.
    variables : str or sequence of str, optional
        Variables of a dataset. Default: every field on (time, y, x).
    share : float, default 0.1
        Share of the observations that is withheld, above 0 and at most 0.5.
    repeats : int
        Number of times that other observations are withheld, at most 1 / `share`. More groups
        make the answer more certain; the cost is proportional.
    block : mapping, optional
        Size of the withheld blocks, ``{"days": 3, "km": 100}``. Default: passes, or blocks like
        the gaps.
    noise : float or mapping of str to float, optional
        Standard deviation of the noise of the observations, or of those of each variable.
        Default: from the differences of neighbouring observations, which does not contain the
        noise that neighbours share. It serves the scores only; methods are given theirs by
        `methods`.
    seed : int
        Selects what is withheld, and the bootstrap samples.
    dims : mapping, optional
        As in `xinverse.interpolate`.
    **keywords
        For all methods, as in `xinverse.interpolate`: ``mask``, ``background`` ...

    Returns
    -------
    Validation
        Displayed as a table with the recommendation.

    Raises
    ------
    OptionError, UnknownNameError
        An option of `validate` cannot be meant, or there is no such method or variable. What a
        method raises is in ``notes``, and the others are scored.
    """
    check_number("share", share, above=0, most=0.5)
    check_count("repeats", repeats, what="a number of repeats")
    folds = round(1 / share)
    if repeats > folds:
        raise OptionError(f"repeats={repeats}: with share={share:g}, expected at most {folds}.")
    runs = _runs(methods, keywords)
    ds, names = _as_fields(obj, variables, dims, keywords)
    levels = _levels(noise, [str(name) for name in names])
    notes: list[str] = []
    tables, withheld, advice = [], {}, {}
    for name in names:
        label, axes = str(name), find_axes(ds[name], dims)
        field = to_field(ds[name], axes, make_grid(ds[name], axes))
        y = np.asarray(field.data, dtype=np.float64)
        observed = np.isfinite(y)
        anywhere = np.asarray(observed.any(axis=tuple(range(y.ndim - 3))))
        found = groups_of(anywhere, field.grid, block=block, seed=seed)
        keys = np.broadcast_to(found.keys, y.shape)
        fold = balanced_folds(observed, keys, folds)
        if np.unique(keys[observed]).size < 2:  # nothing would be left
            fold[:] = -1
        fold[fold >= repeats] = -1
        level = _noise(y, field, levels[label], notes)
        maps: dict[str, Maps] = {}
        cpu: dict[str, float] = {}
        for run, options in runs.items():
            begun = process_time()
            try:
                maps[run] = _mapped(ds, field, options, fold, dims)
            except XinverseError as error:
                notes.append(f"{label}: no map by {run}: {error}")
            else:
                cpu[run] = process_time() - begun
        scored = fold >= 0
        for mean, _ in maps.values():  # the same observations for all
            scored &= np.isfinite(mean)
        values, groups = y[scored], np.unique(keys[scored], return_inverse=True)[1]
        squares = {run: (mean[scored] - values) ** 2 for run, (mean, _) in maps.items()}
        advice[label], best = judge(squares, groups, cpu, seed=seed)
        withheld[label] = field.restore(
            fold,
            name,
            {"groups": found.words, "of_units": str(ds[name].attrs.get("units", ""))},
        )
        table = {run: _scores(*maps[run], scored, values, level) for run in maps}
        of_methods = {
            key: ("analysis", [table.get(run, {}).get(key, np.nan) for run in runs])
            for key in COLUMNS
        }
        of_methods["cpu"] = ("analysis", [cpu.get(run, np.nan) for run in runs])
        of_methods["probability_best"] = ("analysis", [best.get(run, np.nan) for run in runs])
        tables.append(
            xr.Dataset(of_methods, {"analysis": list(runs), "variable": label}).assign(
                noise=level,
                groups=np.unique(groups).size,
                withheld=int(scored.sum()),
                observations=int(observed.sum()),
            )
        )
    scores = xr.concat(tables, "variable")
    scores["cpu"].attrs["units"] = "s"
    return Validation(scores, withheld, advice, tuple(notes))


def _runs(
    methods: str | Sequence[str] | Mapping[str, Mapping[str, Any]], keywords: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Labels of the rows, and the keywords of `interpolate` of each."""
    if isinstance(methods, str):
        methods = [methods]
    if not isinstance(methods, Mapping):
        methods = {str(name): {"method": name} for name in methods}
    if not methods:
        raise OptionError("There is no method to validate. Expected methods=['oi', ...].")
    runs: dict[str, dict[str, Any]] = {}
    for label, options in methods.items():
        check_mapping(f"methods[{label!r}]", options)
        given = {"method": label, **keywords, **options}
        given.setdefault("error", "error" in find(given["method"]).gives)
        runs[str(label)] = given
    return runs


def _as_fields(
    obj: Any,
    variables: str | Sequence[str] | None,
    dims: Mapping[str, Hashable] | None,
    keywords: Mapping[str, Any],
) -> tuple[xr.Dataset, list[Hashable]]:
    """A loaded dataset, and its variables to validate."""
    if not isinstance(obj, xr.Dataset | xr.DataArray):
        raise OptionError(f"Got a {type(obj).__name__}. Expected a Dataset or DataArray.")
    names = chosen_variables(obj, variables)
    if isinstance(obj, xr.DataArray):
        name = "field" if obj.name is None else obj.name
        return obj.to_dataset(name=name).compute(), [name]
    return obj.compute(), variables_to_fill(obj, dims, keywords) if names is None else names


def _levels(
    noise: float | Mapping[str, float] | None, names: Sequence[str]
) -> dict[str, float | None]:
    """The noise that the user gave for each variable."""
    given = noise if isinstance(noise, Mapping) else dict.fromkeys(names, noise)
    for name, level in given.items():
        if name not in names:
            raise UnknownNameError("variable", name, names)
        if level is not None:
            check_number("noise", level, least=0)
    return {name: given.get(name) for name in names}


def _noise(y: Array, field: Field, given: float | None, notes: list[str]) -> float:
    level = noise_level(y, field.grid.spacing_km) if given is None else float(given)
    if not np.isnan(level):
        return level
    notes.append(
        f"{field.template.name}: too few neighbouring observations to estimate their noise, "
        "which is taken as zero. Give noise= if it is known."
    )
    return 0.0


Maps = tuple[Array, Array | None]


def _mapped(
    ds: xr.Dataset,
    field: Field,
    options: Mapping[str, Any],
    fold: Array,
    dims: Mapping[str, Hashable] | None,
) -> Maps:
    """Maps at the withheld observations of every fold, and their errors if there are any."""
    name = field.template.name
    mean = np.full(fold.shape, np.nan)
    error = mean.copy() if options["error"] else None
    for k in np.unique(fold[fold >= 0]):
        here = fold == k
        kept = ds.assign({name: field.restore(np.where(here, np.nan, field.data), name)})
        result = interpolate(kept, variables=[str(name)], dims=dims, **options)
        mean[here] = result[name].transpose(*field.dims).to_numpy()[here]
        if error is not None:
            error[here] = result[f"{name}_error"].transpose(*field.dims).to_numpy()[here]
    return mean, error


def _scores(
    mean: Array, error: Array | None, scored: Array, y: Array, noise: float
) -> dict[str, float]:
    if not y.size:
        return {}
    off, variance = mean[scored] - y, float(y.var())
    square = float(np.mean(off**2))
    found = {"rmse": np.sqrt(square), "map_rmse": np.sqrt(max(square - noise**2, 0.0))}
    if variance > 0:
        found["explained_variance"] = 1 - float(off.var()) / variance
    if error is not None:
        deviation = np.sqrt(error[scored] ** 2 + noise**2)
        found["crps"] = float(crps_gaussian(mean[scored], deviation, y).mean())
        found["coverage_90"] = float(np.mean(np.abs(off) <= _WITHIN_90 * deviation))
    return found
