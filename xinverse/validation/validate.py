"""Which method to take: maps scored against observations that were withheld from them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from time import process_time
from typing import Any

import numpy as np
import xarray as xr

from xinverse.checks import check_count, check_mapping, check_number
from xinverse.errors import OptionError, XinverseError
from xinverse.fields.axes import find_axes
from xinverse.fields.field import Field, to_field
from xinverse.fields.grid import make_grid
from xinverse.methods.registry import find
from xinverse.scores.distributions import crps_gaussian
from xinverse.validation.noise_level import noise_level
from xinverse.validation.withhold import groups_of
from xinverse.verbs.choose import chosen_variables, variables_to_fill
from xinverse.verbs.interpolate import interpolate
from xinverse.withholding import balanced_folds

__all__ = ["Validation", "validate"]

_FEWEST = 6  # withheld groups, below which nothing is said
_DRAWS = 2000  # of the bootstrap
_CERTAIN = 0.95
_WITHIN_90 = 1.6448536269514722  # of a standard normal number, with a probability of 90 %

_COLUMNS = {
    "rmse": "RMSE",
    "map_rmse": "map error",
    "explained_variance": "explained",
    "crps": "CRPS",
    "coverage_90": "in 90 %",
    "cpu": "CPU (s)",
}


@dataclass(frozen=True, eq=False, repr=False)
class Validation:
    """Scores of methods against withheld observations, displayed as a table.

    Parameters
    ----------
    scores : Dataset
        Along ``variable`` and ``analysis``: ``rmse`` of map minus withheld observation;
        ``map_rmse``, without the noise of the observations; ``explained_variance``; ``crps``
        and ``coverage_90`` of methods with errors; ``cpu``, in seconds; ``probability_best``,
        the share of bootstrap samples of the withheld groups in which a method has the lowest
        RMSE. Along ``variable``: ``noise``, ``groups``, ``withheld`` and ``observations``.
    withheld : dict of str to DataArray
        Of each variable, the fold in which each observation was withheld; -1 elsewhere.
    recommendation : dict of str to str
        Of each variable, the method to take, or why nothing can be said.
    notes : tuple of str
        Which methods could not map, and why.
    """

    scores: xr.Dataset
    withheld: dict[str, xr.DataArray]
    recommendation: dict[str, str]
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        lines = ["xinverse, maps against withheld observations"]
        for name in self.scores["variable"].values:
            lines += ["", *self._of(str(name))]
        return "\n".join([*lines, *self.notes])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"

    def _of(self, name: str) -> list[str]:
        one = self.scores.sel(variable=name)
        units = self.withheld[name].attrs.get("of_units", "")
        head = (
            f"{name}{f' ({units})' if units else ''}: {int(one['withheld'])} of "
            f"{int(one['observations'])} observations withheld, in {int(one['groups'])} groups "
            f"({self.withheld[name].attrs['groups']}); noise {float(one['noise']):.3g}"
        )
        rows = [["method", *_COLUMNS.values()]]
        for method in one["analysis"].values:
            values = [float(one[key].sel(analysis=method)) for key in _COLUMNS]
            rows.append([str(method), *("-" if np.isnan(v) else f"{v:.3g}" for v in values)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join(
                [row[0].ljust(widths[0])]
                + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
            )
            for row in rows
        ]
        return [head, *table, self.recommendation[name]]


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

    The difference of two methods is judged by a bootstrap over the withheld groups.

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
        noise that neighbours share.
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
        An option cannot be meant, or there is no such method.
    DataError
        No method could map any variable.
    """
    check_number("share", share, above=0, most=0.5)
    check_count("repeats", repeats, what="a number of repeats")
    folds = round(1 / share)
    if repeats > folds:
        raise OptionError(f"repeats={repeats}: with share={share:g}, expected at most {folds}.")
    runs = _runs(methods, keywords)
    ds, names = _as_fields(obj, variables, dims)
    notes: list[str] = []
    rows, withheld, advice = [], {}, {}
    for name in names:
        axes = find_axes(ds[name], dims)
        one = to_field(ds[name], axes, make_grid(ds[name], axes))
        label = str(name)
        level = noise.get(label) if isinstance(noise, Mapping) else noise
        if level is not None:
            check_number("noise", level, least=0)
        row, folds_of, text = _one(
            ds, name, one, runs, folds, repeats, block, level, seed, dims, notes
        )
        rows.append(row.assign_coords(variable=label))
        withheld[label], advice[label] = folds_of, text
    scores = xr.concat(rows, "variable", combine_attrs="override")
    return Validation(scores, withheld, advice, tuple(dict.fromkeys(notes)))


def _runs(methods: Any, keywords: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
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
    obj: Any, variables: Any, dims: Mapping[str, Hashable] | None
) -> tuple[xr.Dataset, list[Hashable]]:
    """A loaded dataset, and its variables to validate."""
    if isinstance(obj, xr.DataArray):
        obj = obj.to_dataset(name="field" if obj.name is None else obj.name)
        return obj.compute(), list(obj.data_vars)
    if not isinstance(obj, xr.Dataset):
        raise OptionError(f"Got a {type(obj).__name__}. Expected a Dataset or DataArray.")
    names = chosen_variables(obj, variables)
    return obj.compute(), list(variables_to_fill(obj, dims, {}) if names is None else names)


def _one(
    ds: xr.Dataset,
    name: Hashable,
    one: Field,
    runs: Mapping[str, Mapping[str, Any]],
    folds: int,
    repeats: int,
    block: Mapping[str, float] | None,
    noise: float | None,
    seed: int,
    dims: Mapping[str, Hashable] | None,
    notes: list[str],
) -> tuple[xr.Dataset, xr.DataArray, str]:
    """Scores, folds and recommendation of one variable."""
    values = np.asarray(one.data, dtype=np.float64)
    observed = np.isfinite(values)
    if noise is None:
        noise = noise_level(values, one.grid.spacing_km)
        if np.isnan(noise):
            noise = 0.0
            notes.append(
                f"{name}: too few neighbouring observations to estimate their noise, which is "
                "taken as zero. Give noise= if it is known."
            )
    anywhere = np.asarray(observed.any(axis=tuple(range(observed.ndim - 3))))
    found = groups_of(anywhere, one.grid, block=block, seed=seed)
    keys = np.broadcast_to(found.keys, observed.shape)
    fold = balanced_folds(observed, keys, folds)
    fold = np.where(fold < repeats, fold, -1)
    number = np.unique(keys[fold >= 0]).size
    folds_of = one.restore(fold, name, {"groups": found.words})
    folds_of.attrs["of_units"] = str(one.template.attrs.get("units", ""))
    maps, cpu = {}, {}
    enough = 0 < number < np.unique(keys[observed]).size
    for label, options in runs.items() if enough else ():
        begun = process_time()
        try:
            maps[label] = _mapped(ds, name, one, options, fold, repeats, dims)
        except XinverseError as error:
            notes.append(f"{name}: no map by {label}: {error}")
            continue
        cpu[label] = process_time() - begun
    scored = fold >= 0
    for mean, _ in maps.values():  # the same observations for all
        scored &= np.isfinite(mean)
    y, groups = values[scored], np.unique(keys[scored], return_inverse=True)[1]
    rows = []
    for label in runs:
        row = _scores(maps, label, scored, y, noise)
        row["cpu"] = ((), cpu.get(label, np.nan), {"units": "s"})
        rows.append(row.assign_coords(analysis=label))
    result = xr.concat(rows, "analysis", combine_attrs="override")
    squares = {label: (mean[scored] - y) ** 2 for label, (mean, _) in maps.items()}
    sums = _group_sums(squares, groups)
    best = _bootstrap(sums, seed)
    result["probability_best"] = ("analysis", [best.get(label, np.nan) for label in runs])
    result = result.assign(
        noise=noise, groups=number, withheld=int(scored.sum()), observations=int(observed.sum())
    )
    return result, folds_of, _advice(sums, best, cpu, seed)


Maps = tuple[np.ndarray, np.ndarray | None]


def _mapped(
    ds: xr.Dataset,
    name: Hashable,
    one: Field,
    options: Mapping[str, Any],
    fold: np.ndarray,
    repeats: int,
    dims: Mapping[str, Hashable] | None,
) -> Maps:
    """Maps at the withheld observations of every fold, and their errors if there are any."""
    mean = np.full(fold.shape, np.nan)
    error = mean.copy() if options["error"] else None
    for k in range(repeats):
        here = fold == k
        kept = ds.assign({name: one.restore(np.where(here, np.nan, one.data), name)})
        result = interpolate(kept, variables=[str(name)], dims=dims, **options)
        mean[here] = result[name].transpose(*one.dims).to_numpy()[here]
        if error is not None:
            error[here] = result[f"{name}_error"].transpose(*one.dims).to_numpy()[here]
    return mean, error


def _scores(
    maps: Mapping[str, Maps], label: str, scored: np.ndarray, y: np.ndarray, noise: float
) -> xr.Dataset:
    names = [name for name in _COLUMNS if name != "cpu"]
    if label not in maps or not y.size:
        return xr.Dataset(dict.fromkeys(names, ((), np.nan)))
    mean, error = maps[label]
    off, spread = mean[scored] - y, y.var()
    square = float(np.mean(off**2))
    found = {
        "rmse": np.sqrt(square),
        "map_rmse": np.sqrt(max(square - noise**2, 0.0)),
        "explained_variance": 1 - off.var() / spread if spread > 0 else np.nan,
        "crps": np.nan,
        "coverage_90": np.nan,
    }
    if error is not None:
        deviation = np.sqrt(error[scored] ** 2 + noise**2)
        found["crps"] = crps_gaussian(mean[scored], deviation, y).mean()
        found["coverage_90"] = np.mean(np.abs(off) <= _WITHIN_90 * deviation)
    return xr.Dataset({name: ((), float(value)) for name, value in found.items()})


def _group_sums(squares: Mapping[str, np.ndarray], groups: np.ndarray) -> dict[str, np.ndarray]:
    return {label: np.bincount(groups, one) for label, one in squares.items()}


def _draws(number: int, seed: int) -> np.ndarray:
    """How often each group is in each bootstrap sample, ``(draws, groups)``."""
    random = np.random.default_rng([seed, number])
    return random.multinomial(number, np.full(number, 1 / number), size=_DRAWS)


def _bootstrap(sums: Mapping[str, np.ndarray], seed: int) -> dict[str, float]:
    """Share of the samples in which each method has the least squared error."""
    if not sums or not next(iter(sums.values())).size:
        return {}
    number = next(iter(sums.values())).size
    totals = _draws(number, seed) @ np.stack(list(sums.values()), axis=1)
    wins = np.bincount(totals.argmin(axis=1), minlength=len(sums)) / len(totals)
    return dict(zip(sums, map(float, wins), strict=True))


def _advice(
    sums: Mapping[str, np.ndarray],
    best: Mapping[str, float],
    cpu: Mapping[str, float],
    seed: int,
) -> str:
    """The method to take, or why nothing can be said."""
    if not best:
        return "Nothing can be said: no observations were withheld and mapped."
    number = next(iter(sums.values())).size
    order = sorted(sums, key=lambda label: float(sums[label].sum()))
    first = order[0]
    if number < _FEWEST:
        return (
            f"Nothing can be said: {number} groups of observations were withheld, and "
            f"{_FEWEST} are needed. Give more data, a larger repeats= or share=, or smaller "
            "block=."
        )
    if len(order) == 1:
        return f"{first} is the only method that could be scored."
    draws = _draws(number, seed)
    equal, gains = [first], []
    for other in order[1:]:
        ratio = 100 * (1 - (draws @ sums[first]) / (draws @ sums[other]))
        low, high = np.quantile(ratio, [(1 - _CERTAIN) / 2, (1 + _CERTAIN) / 2])
        if low <= 0:
            equal.append(other)
        gain = 100 * (1 - float(sums[first].sum()) / float(sums[other].sum()))
        gains.append(f"{gain:.0f} % less than {other} ({low:.0f} to {high:.0f} %)")
    text = f"mean-square difference of {first}: {', '.join(gains)}, 95 % intervals."
    if len(equal) == 1:
        return f"Take {first}: {text}"
    cheap = min(equal, key=lambda label: cpu[label])
    return (
        f"No difference can be shown between {', '.join(equal)}; {cheap} is the cheapest of "
        f"them. M{text[1:]}"
    )
