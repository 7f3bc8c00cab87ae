"""Compare analyses with a truth: table, series, spectra and figure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import xarray as xr

from xinverse._text import aligned
from xinverse.errors import DataError, GridError, OptionError, UnitsError
from xinverse.fields.alignment import comparable, variable_of
from xinverse.fields.axes import find_axes
from xinverse.fields.sea_level import is_sea_level
from xinverse.fields.seam import across_the_seam
from xinverse.fields.values import unpacked
from xinverse.scores.currents import current_scores
from xinverse.scores.map import labelled, mu_sigma, normalised_mse, rmse
from xinverse.scores.predicted import predicted, with_companions
from xinverse.scores.probabilistic import CRPS_NAME, coverage_of, spread_of
from xinverse.scores.spectral import spectral_scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "compare"]

# Scores of the table, with heading and format.
_COLUMNS = {
    "mu": ("µ", "{:.3f}"),
    "mu_daily": ("µ daily", "{:.3f}"),
    "sigma": ("σ", "{:.3f}"),
    "rmse": ("RMSE", "{:.4g}"),
    "normalised_mse": ("nMSE", "{:.4f}"),
    "gain": ("gain", "{:.1f}"),
    "lambda_x": ("λx", "{:.2f}"),
    "lambda_x_km": ("λx", "{:.0f}"),
    "lambda_t": ("λt", "{:.1f}"),
    "current_normalised_mse": ("current nMSE", "{:.4f}"),
    "crps": ("CRPS", "{:.4g}"),
    "coverage_90": ("in 90 %", "{:.3f}"),
    "spread_ratio": ("predicted/actual", "{:.2f}"),
}
_SYMBOLS = {"1": "", "degrees": "°", "percent": "%"}
_WAVES = ("lambda_x", "lambda_x_km", "lambda_t")
_SURE = ("crps", "coverage_90", "spread_ratio")
_FLOW = ("current_rmse", "current_normalised_mse", "vorticity_normalised_mse")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Scores of several analyses, displayed as a table.

    Parameters
    ----------
    scores : Dataset
        Along ``analysis``, with units and long names: ``mu``, ``mu_daily``, ``sigma``,
        ``rmse``, ``normalised_mse``, ``gain``, ``lambda_x``, ``lambda_x_km``, ``lambda_t``,
        ``current_rmse``, ``current_normalised_mse`` and ``vorticity_normalised_mse``; of
        analyses with errors or members, ``crps``, ``coverage_90`` and ``spread_ratio``.
        ``scores.to_dataframe()`` is a table for pandas.
    series : DataArray
        Root-mean-square error on (analysis, time).
    spectra : Dataset or None
        ``psd_truth``, ``psd_error`` and ``score`` on (analysis, frequency, wavenumber), if the
        grid allows them.
    analyses : dict of str to DataArray
        The analyses, in memory.
    truth : DataArray
        The truth, in memory.
    notes : tuple of str
        What could not be scored, and why.
    """

    scores: xr.Dataset
    series: xr.DataArray
    spectra: xr.Dataset | None
    analyses: dict[str, xr.DataArray]
    truth: xr.DataArray
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "\n".join([self._title(), *aligned(self._rows()), *self.notes])

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        cell = 'style="text-align:right"'
        top = "".join(f"<th {cell}>{escape(one)}</th>" for one in head)
        body = "".join(
            f"<tr><th>{escape(row[0])}</th>"
            + "".join(f"<td {cell}>{escape(one)}</td>" for one in row[1:])
            + "</tr>"
            for row in rows
        )
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        title = f"<strong>{escape(self._title())}</strong>"
        return f"<div>{title}<table><tr>{top}</tr>{body}</table>{notes}</div>"

    def plot(self, time: Any = None) -> Figure:
        """Draw maps of the analyses and their errors, and errors in time and by wavelength.

        Parameters
        ----------
        time : datetime64, str or int, optional
            A date, whose nearest time is drawn, or a position. Default: the middle one.

        Returns
        -------
        matplotlib.figure.Figure
            Maps of the truth, the analyses and their errors; root-mean-square error in time;
            ratio of the spectra of error and truth, averaged over periods (a wavelength is
            resolved below one half).

        Raises
        ------
        ImportError
            matplotlib or cmocean is not installed.
        """
        from xinverse._scorecard import scorecard

        return scorecard(self, time)

    def _title(self) -> str:
        name = "unnamed" if self.truth.name is None else str(self.truth.name)
        sizes = " x ".join(f"{size} {dim}" for dim, size in self.truth.sizes.items())
        return f"xinverse, scores of {name} against a truth of {sizes}"

    def _rows(self) -> list[list[str]]:
        names = [
            name
            for name in _COLUMNS
            if bool(self.scores[name].notnull().any())
            # On a projected grid both would be in km.
            and not (name == "lambda_x" and self.scores[name].attrs["units"] == "km")
        ]
        head = ["analysis"]
        for name in names:
            units = str(self.scores[name].attrs.get("units", "1"))
            units = _SYMBOLS.get(units, units)
            head.append(_COLUMNS[name][0] + (f" ({units})" if units else ""))
        rows = [head]
        for method in self.scores["analysis"].values:
            one = self.scores.sel(analysis=method)
            cells = [self._bound(one, name) + self._digits(one, name) for name in names]
            rows.append([str(method), *cells])
        return rows

    def _digits(self, one: xr.Dataset, name: str) -> str:
        text = _COLUMNS[name][1].format(float(one[name]))
        return "-" if text == "nan" else text

    def _bound(self, one: xr.Dataset, name: str) -> str:
        """Return a sign for a scale that is an upper bound: the smallest of the grid."""
        if self.spectra is None or name not in _WAVES:
            return ""
        key, axis = ("lambda_t", "period") if name == "lambda_t" else ("lambda_x", "wavelength")
        return "≤" if float(one[key]) <= float(self.spectra[axis].min()) else ""


@across_the_seam
def compare(
    analyses: Mapping[str, xr.DataArray | xr.Dataset],
    truth: xr.DataArray,
    *,
    latitude: float | xr.DataArray | None = None,
    dims: Mapping[str, Hashable] | None = None,
) -> Comparison:
    r"""Score several analyses against one truth.

    The scores are those of :func:`xinverse.scores.mu_sigma`,
    :func:`~xinverse.scores.normalised_mse`, :func:`~xinverse.scores.spectral_scores` and, for
    sea surface height, :func:`~xinverse.scores.current_scores`; of analyses with a predicted
    error or members, :func:`~xinverse.scores.crps`, the :func:`~xinverse.scores.coverage` of
    the interval of 90 %, and the ratio of :func:`~xinverse.scores.spread_skill`. The gain is
    the relative reduction of the mean-square error compared with the first analysis,

    .. math:: 100 \, \big(1 - \langle e^2 \rangle / \langle e_1^2 \rangle\big) \ \%.

    Parameters
    ----------
    analyses : mapping of str to DataArray or Dataset
        Names and maps, on the coordinates of the truth. From datasets, the variable with the
        truth's name is scored, with its ``<name>_error`` (else its ``<name>_members``). Lazy
        ones are computed together and kept in memory.
    truth : DataArray
        On (time, y, x) in any order; NaN is land.
    latitude : float or DataArray, optional
        As in :func:`xinverse.scores.geostrophic_currents`: for currents on a projected grid.
    dims : mapping, optional
        Dimensions of the truth by role. Default: found automatically.

    Returns
    -------
    Comparison
        Displayed as a table; ``.scores`` has the numbers, and ``.plot()`` draws them. Scores
        that the grid or the units do not allow, such as wavelengths if each row has land, are
        NaN, left out of the table, and explained in ``.notes``.

    Raises
    ------
    OptionError
        `analyses` is not a mapping of maps, or empty.
    AxesError, GridError, UnitsError
        Axes are not recognised, or coordinates or units differ.
    DataError
        There is no truth, or an analysis has gaps where there is one.
    """
    _check(analyses, truth)
    named = {str(name): variable_of(one, truth.name) for name, one in analyses.items()}
    named = {name: comparable(one, truth)[0] for name, one in named.items()}
    truth = unpacked(truth)
    axes = find_axes(truth, dims)
    spreads = {
        str(name): found
        for name, one in analyses.items()
        if (found := with_companions(one, truth.name)) is not None
    }
    named, spreads, truth = _load(named, spreads, truth)
    space = [dim for dim in truth.dims if dim != axes.time]
    notes: list[str] = []
    rows, series, spectra = [], [], []
    for name, one in named.items():
        row = mu_sigma(one, truth, time=axes.time)[["mu", "mu_daily", "sigma", "rmse"]]
        row["normalised_mse"] = normalised_mse(one, truth)
        waves = _unless_refused(
            partial(spectral_scores, one, truth, dims=dims), "λx, λt", notes
        )
        flow = None
        if is_sea_level(truth):
            given = partial(current_scores, one, truth, latitude=latitude, dims=dims)
            flow = _unless_refused(given, "currents", notes)
        sure = None
        if name in spreads:
            sure = _unless_refused(
                partial(_probabilistic, spreads[name], truth), "CRPS and coverage", notes
            )
        row = row.merge(_numbers(waves, _WAVES)).merge(_numbers(flow, _FLOW))
        row = row.merge(_numbers(sure, _SURE))
        rows.append(row.assign_coords(analysis=name))
        series.append(rmse(one, truth, space).assign_coords(analysis=name))
        if waves is not None:
            spectra.append(waves[["psd_truth", "psd_error", "score"]])
    scores = xr.concat(rows, "analysis", combine_attrs="override")
    # Of the first analysis, which may have no error.
    scores["crps"].attrs = {**scores["rmse"].attrs, "long_name": CRPS_NAME}
    first = scores["rmse"][0] ** 2
    gain = 100.0 * (1.0 - scores["rmse"] ** 2 / first.where(first > 0))
    words = f"reduction of the mean-square error of {next(iter(named))}"
    scores["gain"] = gain.assign_attrs(long_name=words, units="percent")
    return Comparison(
        scores=scores,
        series=xr.concat(series, "analysis", combine_attrs="override"),
        spectra=_join(spectra, list(named)),
        analyses=named,
        truth=truth,
        notes=tuple(dict.fromkeys(notes)),
    )


def _check(analyses: Any, truth: Any) -> None:
    if not isinstance(analyses, Mapping) or not analyses:
        found = "empty" if isinstance(analyses, Mapping) else f"a {type(analyses).__name__}"
        raise OptionError(
            f"The analyses are {found}. Expected names and maps, such as "
            "compare({'oi': maps.ssh}, truth)."
        )
    if not isinstance(truth, xr.DataArray):
        raise OptionError(
            f"The truth is a {type(truth).__name__}. Expected a DataArray: select a variable, "
            "such as ds['ssh']."
        )


def _load(
    named: dict[str, xr.DataArray], spreads: dict[str, xr.Dataset], truth: xr.DataArray
) -> tuple[dict[str, xr.DataArray], dict[str, xr.Dataset], xr.DataArray]:
    """Compute all together, so that shared parts are computed once."""
    import dask

    named, spreads, truth = dask.compute(named, spreads, truth)
    return {name: one.compute() for name, one in named.items()}, spreads, truth.compute()


def _probabilistic(result: xr.Dataset, truth: xr.DataArray) -> xr.Dataset:
    """CRPS, coverage of 90 % and ratio of predicted and actual error."""
    found = predicted(result, truth)
    kind, units = found.kind(None), truth.attrs.get("units")
    cover = coverage_of(found, kind, [0.9])["coverage"].squeeze(drop=True)
    return xr.Dataset(
        {
            "crps": labelled(found.crps(kind).mean(), CRPS_NAME, units),
            "coverage_90": labelled(cover, "share of the truth within the interval of 90 %"),
            "spread_ratio": spread_of(found, kind, units)["ratio"],
        }
    )


def _unless_refused(
    score: Callable[[], xr.Dataset], what: str, notes: list[str]
) -> xr.Dataset | None:
    try:
        return score()
    except (DataError, GridError, UnitsError) as error:
        notes.append(f"No {what}: {error}")
        return None


def _numbers(found: xr.Dataset | None, names: tuple[str, ...]) -> xr.Dataset:
    if found is None:
        return xr.Dataset({name: ((), float("nan"), {"units": "1"}) for name in names})
    return found[list(names)].drop_vars(list(found.coords), errors="ignore")


def _join(spectra: list[xr.Dataset], names: list[str]) -> xr.Dataset | None:
    if len(spectra) < len(names):
        return None
    whole = [one.assign_coords(analysis=name) for one, name in zip(spectra, names, strict=True)]
    return xr.concat(whole, "analysis", combine_attrs="override")
