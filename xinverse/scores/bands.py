"""Explained variance, band of wavelengths by band."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.errors import DataError, GridError, OptionError
from xinverse.fields.alignment import aligned_error
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import Grid, make_grid
from xinverse.scores.band_pass import band_pass, land_filler, wavelengths

__all__ = ["explained_variance_by_band"]

_BANDS = ((0.0, 65.0), (65.0, 200.0), (200.0, 500.0))
_STRETCH = 1.5  # of a degree of longitude, from one end of the map to the other
_ROUNDING = 1e-20  # of the variance of the truth


def explained_variance_by_band(
    analysis: xr.DataArray,
    truth: xr.DataArray,
    bands_km: Sequence[tuple[float, float]] = _BANDS,
    *,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Explained variance :math:`1 - \mathrm{var}(B e) / \mathrm{var}(B x)` of each band.

    :math:`B` keeps the wavelengths :math:`\lambda_1 \le \lambda < \lambda_2` of each map,
    whatever their direction: the modes :math:`(m, n)` of its cosine transform, of wavelength
    :math:`\lambda = ((m / 2L_y)^2 + (n / 2L_x)^2)^{-1/2}` on a map of
    :math:`L_y \times L_x` kilometres. Land is filled before with the harmonic function that
    continues the sea, and left out of the variances.

    Parameters
    ----------
    analysis, truth : DataArray
        On the same coordinates, (time, y, x) in any order, y and x regular. Cells where the
        truth is missing at any time count as land.
    bands_km : sequence of tuple of float
        Shortest and longest wavelength of each band, in km.
    dims : mapping, optional
        Dimensions that are not found by themselves.

    Returns
    -------
    Dataset
        Along ``band``, named such as ``"65-200 km"``, with ``shortest`` and ``longest`` in km:
        ``explained_variance``, ``truth_variance`` and ``error_variance``. The first is NaN
        where the truth has no variance.

    Raises
    ------
    AxesError, UnitsError
        The axes are not understood, or units differ.
    GridError
        Coordinates differ, y or x is irregular, or the map reaches over latitudes so different
        that no one length is that of a degree of longitude.
    OptionError
        A band is no pair of lengths in order, or holds no wavelength of the map.
    DataError
        There are gaps, no cell has a truth at all times, or the truth is constant.

    Notes
    -----
    A sharp filter on a mirrored map: a wave within a band stays in it, but for the few of one
    to two wavelengths beside the edges and coasts. The 2023a SSH mapping data challenge scores
    bands (65 to 500 km) along tracks.
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
        raise DataError("No cell has a truth at all times. Select times at which some have.")
    whole = float(wanted[:, sea].var())
    if not whole > 0:
        raise DataError("The truth is constant: there is no variance to explain.")
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
                f"The map reaches from {grid.y.min():g} to {grid.y.max():g} degrees north, "
                f"where degrees of longitude differ in length by more than {_STRETCH:g}. Score "
                "it in bands of latitude: truth.sel(...)."
            )
    return grid.spacing_km


def _modes(band: tuple[float, float], scale: NDArray[np.float64]) -> NDArray[np.bool_]:
    try:
        shortest, longest = map(float, band)
    except (TypeError, ValueError):
        shortest, longest = np.nan, np.nan
    if not 0 <= shortest < longest:
        raise OptionError(
            f"The band {band!r} is no pair of wavelengths. Expected the shortest and the "
            "longest in km, such as bands_km=((65, 200), (200, 500))."
        )
    # The mean has an infinite wavelength, and is in no band.
    inside = (scale >= shortest) & (scale < longest) & np.isfinite(scale)
    if not inside.any():
        held = scale[np.isfinite(scale)]
        raise OptionError(
            f"The band of {shortest:g} to {longest:g} km holds no wavelength of the map, which "
            f"has {held.min():.4g} to {held.max():.4g} km. Choose bands_km= among these."
        )
    return np.asarray(inside)
