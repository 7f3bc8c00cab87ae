"""Explained variance by band of wavelengths."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import DataError, GridError, OptionError
from xinverse.fields.alignment import aligned_error
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import Grid, make_grid
from xinverse.fields.seam import across_the_seam
from xinverse.scores.band_pass import band_pass, land_filler, wavelengths

__all__ = ["explained_variance_by_band"]

_BANDS = ((0.0, 65.0), (65.0, 200.0), (200.0, 500.0))
_STRETCH = 1.5  # largest ratio of the lengths of a degree of longitude within a map
_ROUNDING = 1e-20  # of the variance of the truth


@across_the_seam
def explained_variance_by_band(
    analysis: xr.DataArray,
    truth: xr.DataArray,
    bands_km: Sequence[tuple[float, float]] = _BANDS,
    *,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Explained variance :math:`1 - \mathrm{var}(B e) / \mathrm{var}(B x)` of each band.

    :math:`B` keeps the wavelengths :math:`\lambda_1 \le \lambda < \lambda_2` of each map in all
    directions: the modes :math:`(m, n)` of its cosine transform with wavelength
    :math:`\lambda = ((m / 2L_y)^2 + (n / 2L_x)^2)^{-1/2}` on a map of
    :math:`L_y \times L_x` km. Land is first filled with the harmonic extension of the sea, and
    left out of the variances.

    Parameters
    ----------
    analysis, truth : DataArray
        On the same coordinates, (time, y, x) in any order, with regular y and x. Cells where
        the truth is missing at any time are land.
    bands_km : sequence of tuple of float
        Shortest and longest wavelength of each band, in km.
    dims : mapping, optional
        Dimensions by role, such as ``{"y": "nlat"}``. Default: found automatically.

    Returns
    -------
    Dataset
        Along ``band``, with names such as ``"65-200 km"``, and ``shortest`` and ``longest`` in
        km: ``explained_variance`` (NaN if the truth has no variance), ``truth_variance`` and
        ``error_variance``.

    Raises
    ------
    AxesError, UnitsError
        The axes are not recognised, or units differ.
    GridError
        Coordinates differ, y or x is irregular, or the length of a degree of longitude varies
        too much over the map.
    OptionError
        A band is not an ordered pair of lengths, or contains no wavelength of the map.
    DataError
        There are gaps, no cell has a truth at all times, or the truth is constant.

    Notes
    -----
    The filter is sharp and mirrors the map, so that waves leave their band only within one or
    two wavelengths of edges and coasts. The 2023a SSH mapping data challenge scores bands (65
    to 500 km) along tracks.
    """
    axes = find_axes(truth, dims)
    grid = make_grid(truth, axes)
    dy, dx = _spacing(grid)
    scale = wavelengths(grid.shape[1:], dy, dx)
    inside = [_modes(band, scale) for band in bands_km]
    both = aligned_error(analysis, truth).transpose(axes.time, axes.y, axes.x)
    wanted, wrong = (both[name].to_numpy() for name in ("truth", "error"))
    sea = np.isfinite(wanted).all(axis=0)
    if not sea.any():
        raise DataError("No cell has a truth at all times. Select times with a common truth.")
    whole = float(wanted[:, sea].var())
    if not whole > 0:
        raise DataError("The truth is constant, so the explained variance is undefined.")
    fill = land_filler(sea)
    truth_variance, error_variance = (
        np.array([band_pass(fill(field), one)[:, sea].var() for one in inside])
        for field in (wanted, wrong)
    )
    base = np.where(truth_variance > _ROUNDING * whole, truth_variance, np.nan)
    squared = {"units": f"({truth.attrs.get('units', '1')})2"}
    names = [f"{shortest:g}-{longest:g} km" for shortest, longest in bands_km]
    label = "explained variance of the band"
    return xr.Dataset(
        {
            "explained_variance": (
                "band",
                1.0 - error_variance / base,
                {"long_name": label, "units": "1"},
            ),
            "truth_variance": ("band", truth_variance, squared),
            "error_variance": ("band", error_variance, squared),
        },
        {
            "band": names,
            "shortest": ("band", [float(one[0]) for one in bands_km], {"units": "km"}),
            "longest": ("band", [float(one[1]) for one in bands_km], {"units": "km"}),
        },
    )


def _spacing(grid: Grid) -> tuple[float, float]:
    if not grid.regular_space:
        raise GridError(
            "The spacing of y or x is irregular. Bands of wavelengths need a regular grid: "
            "interpolate to one."
        )
    if grid.geographic:
        length = np.cos(np.deg2rad(grid.y))
        if not length.max() <= _STRETCH * length.min():
            raise GridError(
                f"From {grid.y.min():g} to {grid.y.max():g} degrees north, the length of a "
                f"degree of longitude varies by more than a factor of {_STRETCH:g}. Score "
                "bands of latitude one by one: truth.sel(...)."
            )
    return grid.spacing_km


def _modes(band: tuple[float, float], scale: NDArray[np.float64]) -> NDArray[np.bool_]:
    try:
        shortest, longest = map(float, band)
    except (TypeError, ValueError):
        shortest, longest = np.nan, np.nan
    if not 0 <= shortest < longest:
        raise OptionError(
            f"The band {band!r} is not a pair of wavelengths. Expected the shortest and the "
            "longest in km, such as bands_km=((65, 200), (200, 500))."
        )
    # The mean, of infinite wavelength, is in no band.
    inside = (scale >= shortest) & (scale < longest) & np.isfinite(scale)
    if not inside.any():
        held = scale[np.isfinite(scale)]
        raise OptionError(
            f"The band of {shortest:g} to {longest:g} km has no wavelength of the map. "
            f"Expected bands_km= between {held.min():.4g} and {held.max():.4g} km."
        )
    return np.asarray(inside)
