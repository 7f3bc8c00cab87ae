"""A radiometer, which sees the sea between clouds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import DataError, MaskError, OptionError
from xinverse.osse.clouds import cloud_mask
from xinverse.osse.swath_error import SwathError
from xinverse.osse.truth import Noise, deviation_of, gridded, name_of, read_field
from xinverse.points.binning import CellSums

__all__ = ["Clouds", "between_clouds"]

Clouds = xr.DataArray | Mapping[str, Any]
CLOUD_OPTIONS = set(signature(cloud_mask).parameters) - {"like"}


def between_clouds(
    truth: xr.DataArray,
    systems: str | Sequence[str] | None,
    clouds: Clouds,
    noise: Noise,
    seed: int,
    swath_error: SwathError | None,
) -> xr.Dataset:
    """Sample every cloud-free cell and time step; see :func:`xinverse.osse.observe`."""
    if systems is not None or swath_error is not None:
        raise OptionError(
            "Clouds affect radiometers only, not altimeters. Give either clouds, or systems "
            "(and swath_error), and call observe once for each."
        )
    if isinstance(noise, Mapping):
        raise OptionError(
            f"noise has entries for {sorted(noise)}. Expected one number for a radiometer."
        )
    if not isinstance(clouds, xr.DataArray | Mapping):
        raise OptionError(
            f"The clouds are a {type(clouds).__name__}. Expected a DataArray of booleans, or "
            'options of cloud_mask such as {"cover": 0.5}.'
        )
    deviation = deviation_of(noise, "radiometer")
    field, axes, _ = read_field(truth)
    if not isinstance(clouds, xr.DataArray):
        options = {"seed": seed, **clouds}
        unknown = set(options) - CLOUD_OPTIONS
        if unknown:
            raise OptionError(
                f"cloud_mask has no option {sorted(unknown)}. Expected {sorted(CLOUD_OPTIONS)}."
            )
        clouds = cloud_mask(field, **options)
    hidden = _aligned(clouds, field)
    values = field.to_numpy().astype(np.float64)
    seen = np.isfinite(values) & ~hidden
    if not seen.any():
        raise DataError(
            f"Clouds hide all of the sea in {name_of(truth)!r}. Give a smaller cover, more "
            "days or a larger region."
        )
    random = np.random.default_rng([seed, 1])
    # Drawn for every cell, so that the noise does not depend on the clouds.
    values += deviation * random.standard_normal(values.shape)
    sums = CellSums(field.shape)
    it, iy, ix = (index.astype(np.int64) for index in np.nonzero(seen))
    sums.add((it, iy, ix), values[seen], deviation)
    return gridded(truth, field, axes, sums, f"radiometer between clouds, seed {seed}")


def _aligned(clouds: xr.DataArray, field: xr.DataArray) -> NDArray[np.bool_]:
    if clouds.dtype != bool:
        raise MaskError(
            f"The clouds are of {clouds.dtype}. Expected booleans, True where the sea is "
            "hidden: compare them with a number first."
        )
    sizes = {dim: field.sizes[dim] for dim in field.dims}
    if dict(clouds.sizes) != sizes:
        raise MaskError(
            f"The clouds have the sizes {dict(clouds.sizes)}, the truth {sizes}. Make them "
            "with cloud_mask(truth)."
        )
    for dim in field.dims:
        if dim in clouds.coords and not clouds.indexes[dim].equals(field.indexes[dim]):
            raise MaskError(
                f"The clouds and the truth differ along {dim!r}. Make them with "
                "cloud_mask(truth), or interpolate them to its grid."
            )
    return np.asarray(clouds.transpose(*field.dims).to_numpy())
