"""All scores of a predicted error at once: table and figure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xinverse._text import aligned
from xinverse.scores.histograms import (
    pit_histogram_of,
    rank_histogram_of,
    reliability_of,
)
from xinverse.scores.map import labelled
from xinverse.scores.predicted import predicted
from xinverse.scores.probabilistic import CRPS_NAME, LEVELS, coverage_of, spread_of, units_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Calibration", "calibration"]

_BINS, _GROUPS, _LEVEL = 10, 3, 0.9


@dataclass(frozen=True, eq=False, repr=False)
class Calibration:
    """Scores of the predicted errors of one map, displayed as a table.

    Parameters
    ----------
    name : str
        Of the variable.
    use : str
        ``"error"`` or ``"members"``: what was scored.
    scores : Dataset
        ``crps``, ``spread``, ``rmse``, ``ratio`` and ``count``, the number of values.
    coverage : Dataset
        As :func:`xinverse.scores.coverage`.
    reliability : Dataset
        As :func:`xinverse.scores.reliability`, by thirds of the predicted error.
    pit : Dataset
        As :func:`xinverse.scores.pit_histogram`.
    ranks : Dataset or None
        As :func:`xinverse.scores.rank_histogram`, if there are members.
    """

    name: str
    use: str
    scores: xr.Dataset
    coverage: xr.Dataset
    reliability: xr.Dataset
    pit: xr.Dataset
    ranks: xr.Dataset | None = None

    def __repr__(self) -> str:
        scores, units = self.scores, self.scores["rmse"].attrs.get("units")
        unit = f" {units}" if units else ""
        lines = [
            f"xinverse, calibration of {self.name} by its {self.use}: {int(scores['count'])} "
            f"values, as {float(self.coverage['independent']):.0f} independent ones",
            f"CRPS {float(scores['crps']):.4g}{unit}, RMSE {float(scores['rmse']):.4g}{unit}, "
            f"predicted {float(scores['spread']):.4g}{unit}, "
            f"ratio {float(scores['ratio']):.2f}",
            *self._table(),
        ]
        for what, one in (("PIT", self.pit), ("rank", self.ranks)):
            if one is not None:
                departure = float(one["departure"])
                lines.append(f"{what} histogram: {departure:.1f} sampling errors from flat")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"

    def plot(self) -> Figure:
        """Draw coverage, reliability and the histogram of ranks, or of the PIT.

        Returns
        -------
        matplotlib.figure.Figure
            Bars and bands are two sampling errors.

        Raises
        ------
        ImportError
            matplotlib or cmocean is not installed.
        """
        from xinverse._reports import calibration_figure

        return calibration_figure(self)

    def _table(self) -> list[str]:
        cover, groups = self.coverage, self.reliability
        units = groups["actual"].attrs.get("units")
        unit = f" ({units})" if units else ""
        first = [["interval", *(f"{level:.0%}" for level in cover["level"].values)]]
        first.append(["covers", *_with_errors(cover, "coverage", "sampling_error")])
        second = [["predicted error", *_thirds(groups.sizes["group"])]]
        second.append([f"predicted{unit}", *(f"{v:.3g}" for v in groups["predicted"].values)])
        second.append([f"actual{unit}", *_with_errors(groups, "actual")])
        second.append([f"{_LEVEL:.0%} covers", *_with_errors(groups, "coverage")])
        return [*aligned(first), *aligned(second)]


def calibration(
    result: xr.Dataset,
    truth: xr.DataArray | xr.Dataset,
    *,
    use: str | None = None,
    noise: Any = None,
    variable: Hashable | None = None,
    seed: int = 0,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
) -> Calibration:
    """Score a predicted error, or members, in every way.

    Parameters
    ----------
    result, truth : Dataset, Dataset or DataArray
        As in :func:`crps`. Lazy ones are computed together, once.
    use, noise, variable, seed, mask, dims : optional
        As in :func:`crps`.

    Returns
    -------
    Calibration
        Displayed as a table; ``.plot()`` draws it.

    Raises
    ------
    OptionError, AxesError, GridError, UnitsError, MaskError, DataError
        As in :func:`crps`.
    """
    found = predicted(
        result, truth, noise=noise, variable=variable, seed=seed, mask=mask, dims=dims
    )
    kind, units = found.kind(use), units_of(result, truth)
    scores = spread_of(found, kind, units)
    scores["crps"] = labelled(found.crps(kind).mean(), CRPS_NAME, units)
    scores["count"] = ((), int(np.isfinite(found.truth).sum()), {"long_name": "values scored"})
    name = found.analysis.name if found.truth.name is None else found.truth.name
    return Calibration(
        name="field" if name is None else str(name),
        use=kind,
        scores=scores,
        coverage=coverage_of(found, kind, LEVELS),
        reliability=reliability_of(found, kind, _GROUPS, _LEVEL, units),
        pit=pit_histogram_of(found, kind, _BINS),
        ranks=None if found.members is None else rank_histogram_of(found),
    )


def _with_errors(found: xr.Dataset, name: str, error: str | None = None) -> list[str]:
    errors = found[error or f"{name}_sampling_error"].values
    return [
        f"{value:.3g}" + (f" ± {off:.1g}" if np.isfinite(off) else "")
        for value, off in zip(found[name].values, errors, strict=True)
    ]


def _thirds(number: int) -> list[str]:
    if number == _GROUPS:
        return ["lowest third", "middle", "highest"]
    return [f"group {one}" for one in range(1, number + 1)]
