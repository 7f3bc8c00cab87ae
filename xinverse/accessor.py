"""``.inverse`` on Dataset and DataArray: one line per verb, and no state."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any

import xarray as xr

from xinverse.fields.summary import summarise
from xinverse.verbs.interpolate import interpolate

__all__ = ["InverseAccessor"]


@xr.register_dataset_accessor("inverse")
@xr.register_dataarray_accessor("inverse")
class InverseAccessor:
    """The verbs of xinverse on a labelled object; shown, what is understood of it.

    Parameters
    ----------
    obj : Dataset or DataArray
        What the verbs act on.
    """

    def __init__(self, obj: xr.Dataset | xr.DataArray) -> None:
        self._obj = obj

    def interpolate(
        self,
        method: str = "oi",
        *,
        weights: str | os.PathLike[str] | None = None,
        mask: Any = None,
        dims: Mapping[str, Hashable] | None = None,
        background: Any = None,
        error: bool = False,
        members: int | None = None,
        keep_observed: bool = False,
        tile: Any = "auto",
        device: str | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> xr.Dataset | xr.DataArray:
        """Fill the gaps; see :func:`xinverse.interpolate`."""
        return interpolate(
            self._obj,
            method,
            weights=weights,
            mask=mask,
            dims=dims,
            background=background,
            error=error,
            members=members,
            keep_observed=keep_observed,
            tile=tile,
            device=device,
            progress=progress,
            **options,
        )

    def __repr__(self) -> str:
        return repr(summarise(self._obj))

    def _repr_html_(self) -> str:
        return summarise(self._obj)._repr_html_()
