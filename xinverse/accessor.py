"""The accessor ``.inverse`` of Dataset and DataArray: one line per verb, no state."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from xinverse.model import Model
from xinverse.summary import summarise
from xinverse.verbs.deconvolve import deconvolve
from xinverse.verbs.denoise import denoise
from xinverse.verbs.design_sampling import design_sampling
from xinverse.verbs.downscale import downscale
from xinverse.verbs.forecast import forecast
from xinverse.verbs.interpolate import interpolate
from xinverse.verbs.train import train_on as train

__all__ = ["InverseAccessor"]

Verb = TypeVar("Verb", bound=Callable[..., Any])


def _documented_as(verb: Callable[..., Any]) -> Callable[[Verb], Verb]:
    """Give a method the docstring of its verb, without ``obj``."""

    def document(method: Verb) -> Verb:
        method.__doc__ = re.sub(
            r"    obj : .*?\n(?=    \w+ : )", "", verb.__doc__ or "", flags=re.S
        )
        return method

    return document


@xr.register_dataset_accessor("inverse")
@xr.register_dataarray_accessor("inverse")
class InverseAccessor:
    """The verbs of xinverse on a labelled object; displayed as its summary.

    Parameters
    ----------
    obj : Dataset or DataArray
        The input of the verbs.
    """

    def __init__(self, obj: xr.Dataset | xr.DataArray) -> None:
        self._obj = obj

    @_documented_as(interpolate)
    def interpolate(  # noqa: D102  documented by the verb
        self,
        method: str = "oi",
        *,
        weights: str | os.PathLike[str] | None = None,
        variables: str | Sequence[str] | None = None,
        together: bool = False,
        mask: Any = None,
        dims: Mapping[str, Hashable] | None = None,
        background: Any = None,
        error: bool = False,
        members: int | None = None,
        keep_observed: bool = False,
        max_distance: float | None = None,
        max_gap: float | None = None,
        transform: str | None = None,
        tile: Any = "auto",
        device: str | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> xr.Dataset | xr.DataArray:
        return interpolate(
            self._obj,
            method,
            weights=weights,
            variables=variables,
            together=together,
            mask=mask,
            dims=dims,
            background=background,
            error=error,
            members=members,
            keep_observed=keep_observed,
            max_distance=max_distance,
            max_gap=max_gap,
            transform=transform,
            tile=tile,
            device=device,
            progress=progress,
            **options,
        )

    @_documented_as(denoise)
    def denoise(  # noqa: D102  documented by the verb
        self, method: str = "oi", *, noise: float | str | xr.DataArray, **keywords: Any
    ) -> xr.Dataset | xr.DataArray:
        return denoise(self._obj, method, noise=noise, **keywords)

    @_documented_as(deconvolve)
    def deconvolve(  # noqa: D102  documented by the verb
        self,
        method: str = "oi",
        *,
        psf: float | tuple[float, float] | np.ndarray,
        angle: float = 0.0,
        **keywords: Any,
    ) -> xr.Dataset | xr.DataArray:
        return deconvolve(self._obj, method, psf=psf, angle=angle, **keywords)

    @_documented_as(downscale)
    def downscale(  # noqa: D102  documented by the verb
        self, like: xr.Dataset | xr.DataArray, method: str = "oi", **keywords: Any
    ) -> xr.Dataset | xr.DataArray:
        return downscale(self._obj, like, method, **keywords)

    @_documented_as(forecast)
    def forecast(  # noqa: D102  documented by the verb
        self, days: float, method: str = "oi", **keywords: Any
    ) -> xr.Dataset | xr.DataArray:
        return forecast(self._obj, days, method, **keywords)

    @_documented_as(design_sampling)
    def design_sampling(  # noqa: D102  documented by the verb
        self,
        var: Hashable | None = None,
        budget: float | None = None,
        method: str = "variance",
        *,
        placement: str = "fixed",
        archive: xr.DataArray | xr.Dataset | None = None,
        existing: xr.DataArray | xr.Dataset | str | None = None,
        forbidden: xr.DataArray | str | None = None,
        cost: xr.DataArray | Mapping[str, float] | str | None = None,
        spacing: float = 0.0,
        platforms: Mapping[str, Any] | None = None,
        tracks: xr.DataArray | Mapping[str, xr.DataArray] | None = None,
        even: bool = True,
        mask: Any = None,
        dims: Mapping[str, Hashable] | None = None,
        **options: Any,
    ) -> xr.Dataset:
        return design_sampling(
            self._obj,
            var,
            budget,
            method,
            placement=placement,
            archive=archive,
            existing=existing,
            forbidden=forbidden,
            cost=cost,
            spacing=spacing,
            platforms=platforms,
            tracks=tracks,
            even=even,
            mask=mask,
            dims=dims,
            **options,
        )

    @_documented_as(train)
    def train(  # noqa: D102  documented by the verb
        self,
        method: str,
        truth: Any = None,
        observations: Any = None,
        **options: Any,
    ) -> Model:
        return train(self._obj, method, truth, observations, **options)

    def __repr__(self) -> str:
        return repr(summarise(self._obj))

    def _repr_html_(self) -> str:
        return summarise(self._obj)._repr_html_()
