"""The table of a validation."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import xarray as xr

from xinverse._text import aligned

__all__ = ["Validation"]

COLUMNS = {
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
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = ["xinverse, maps against withheld observations"]
        for name in self.withheld:
            lines += ["", *self._of(name)]
        return "\n".join([*lines, *self.notes])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"

    def _of(self, name: str) -> list[str]:
        one, attrs = self.scores.sel(variable=name), self.withheld[name].attrs
        units = f" ({attrs['of_units']})" if attrs["of_units"] else ""
        head = (
            f"{name}{units}: {int(one['withheld'])} of {int(one['observations'])} observations "
            f"withheld, in {int(one['groups'])} groups ({attrs['groups']}); noise "
            f"{float(one['noise']):.3g}"
        )
        rows = [["method", *COLUMNS.values()]]
        for method in one["analysis"].values:
            values = [float(one[key].sel(analysis=method)) for key in COLUMNS]
            rows.append([str(method), *("-" if np.isnan(v) else f"{v:.3g}" for v in values)])
        return [head, *aligned(rows), self.recommendation[name]]
