"""Scales that maps resolve, from spectra of the error and of the truth on one grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.constants import KM_PER_DEGREE
from xinverse.errors import DataError, GridError
from xinverse.fields.alignment import aligned_error
from xinverse.fields.axes import Axes, find_axes
from xinverse.fields.grid import REGULAR_WITHIN, Grid, make_grid
from xinverse.fields.seam import across_the_seam
from xinverse.fields.values import refuse_unusable, unpacked
from xinverse.spectra import (
    MIN_STEPS,
    plane_spectrum,
    smallest_resolved,
    smallest_resolved_of_rows,
)

__all__ = ["power_spectrum", "spectral_scores"]

Floats = NDArray[np.float64]

_ROUNDING = 1e-20  # of the largest density; below it a spectrum is rounding error


@across_the_seam
def power_spectrum(
    field: xr.DataArray, *, dims: Mapping[str, Hashable] | None = None
) -> xr.DataArray:
    r"""Power spectral density over time and x, averaged over y.

    .. math::
        P(f, k) = \Big\langle \frac{2 \Delta t \Delta x}{N_t N_x \langle w^2 \rangle}
        \big(|\hat a(f, k)|^2 + |\hat a(-f, k)|^2\big) \Big\rangle_y, \qquad f, k > 0,

    where :math:`\hat a` is the discrete Fourier transform over (time, x) of the field, minus
    its mean and multiplied by a Hann window :math:`w` along both. The sum times
    :math:`\Delta f \Delta k` is the variance.

    Parameters
    ----------
    field : DataArray
        On (time, y, x) in any order, regular in time and x. Rows of y with a missing value are
        left out.
    dims : mapping, optional
        Dimensions by role, such as ``{"y": "nlat"}``. Default: found automatically.

    Returns
    -------
    DataArray
        On (frequency, wavenumber), with the coordinates ``period`` in days and ``wavelength``
        in degrees of longitude (km on a projected grid). The attribute ``rows`` is the number
        of rows of y.

    Raises
    ------
    AxesError, UnitsError
        The axes are not recognised.
    GridError
        Times or x are irregular, or fewer than five.
    DataError
        Every row has a missing value, or the field is infinite.

    Notes
    -----
    As in ``mod_eval.py`` of the 2020a SSH mapping data challenge, except that waves in both
    directions count.
    """
    axes, field = find_axes(field, dims), unpacked(field)
    grid = make_grid(field, axes)
    _check_steps(grid, axes)
    values = field.transpose(axes.time, axes.y, axes.x).to_numpy().astype(np.float64)
    refuse_unusable(values, f"The field {field.name!r}")
    rows = _whole_rows(values)
    return _spectrum(values[:, rows], grid, str(field.attrs.get("units", "1")))


@across_the_seam
def spectral_scores(
    analysis: xr.DataArray,
    truth: xr.DataArray,
    *,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Score maps by scale, and find the smallest scales that they resolve.

    With :math:`P` as in :func:`power_spectrum`, wavelengths :math:`\lambda = 1/k` and periods
    :math:`T = 1/f`,

    .. math::
        s(T, \lambda) = 1 - \frac{P_e}{P_x}, \qquad
        \lambda_x = \min_T \, \lambda^\ast(s(T, \cdot)), \qquad
        \lambda_t = \min_\lambda \, \lambda^\ast(s(\cdot, \lambda)),

    where :math:`\lambda^\ast` is the wavelength (or period) at which a row of :math:`s`, from
    its largest scale down, first falls below one half, interpolated linearly. Smaller scales
    that exceed one half again do not count.

    Parameters
    ----------
    analysis, truth : DataArray
        On the same coordinates, regular in time and x; NaN in the truth is land. Rows of y
        with land are left out.
    dims : mapping, optional
        Dimensions by role, such as ``{"y": "nlat"}``. Default: found automatically.

    Returns
    -------
    Dataset
        On (frequency, wavenumber): ``psd_truth``, ``psd_error``, and ``score``, NaN where the
        truth has no power. Numbers: ``lambda_x`` (degrees of longitude, or km on a projected
        grid), ``lambda_x_km`` (at the mean cosine of the latitudes used) and ``lambda_t``
        (days); and with the suffix ``_averaged``, the same for the ratio of the spectra
        averaged over the other axis. A number is NaN if the largest scale is not resolved, and
        the smallest scale of the grid, an upper bound, if all are.

    Raises
    ------
    AxesError, GridError, UnitsError, OptionError
        Coordinates or units differ; times or x are irregular or fewer than five.
    DataError
        There are gaps, every row has land, or the truth is constant.

    Notes
    -----
    ``mod_eval.py`` of the 2020a SSH mapping data challenge reads λx and λt off the first path
    of the 0.5 contour of :math:`s` that matplotlib draws. For a single contour the results
    agree, since its smallest wavelength lies on one of the rows.
    """
    axes = find_axes(truth, dims)
    grid = make_grid(truth, axes)
    _check_steps(grid, axes)
    both = aligned_error(analysis, truth).transpose(axes.time, axes.y, axes.x)
    rows = _whole_rows(both["truth"].to_numpy())
    units = str(truth.attrs.get("units", "1"))
    wanted, wrong = (
        _spectrum(both[name].to_numpy()[:, rows], grid, units) for name in ("truth", "error")
    )
    if not float(wanted.max()) > 0:
        raise DataError(
            "The truth does not vary over time and x, so spectral scores are undefined. Use "
            "xinverse.scores.rmse."
        )
    result = xr.Dataset({"psd_truth": wanted, "psd_error": wrong})
    result["psd_truth"].attrs["long_name"] = "power spectral density of the truth"
    result["psd_error"].attrs["long_name"] = "power spectral density of the error"
    score = _score(wanted, wrong)
    result["score"] = score.assign_attrs(long_name="spectral score", units="1")
    by_x, by_t = (
        _score(wanted.mean(other), wrong.mean(other)) for other in ("frequency", "wavenumber")
    )
    x, t = score["wavelength"].to_numpy(), score["period"].to_numpy()
    numbers = {
        "lambda_x": smallest_resolved_of_rows(x, score.to_numpy()),
        "lambda_t": smallest_resolved_of_rows(t, score.to_numpy().T),
        "lambda_x_averaged": smallest_resolved(x, by_x.to_numpy()),
        "lambda_t_averaged": smallest_resolved(t, by_t.to_numpy()),
    }
    kilometres = _kilometres(grid, rows)
    length = score["wavelength"].attrs["units"]
    for name, value in numbers.items():
        what, unit = ("wavelength", length) if "_x" in name else ("period", "days")
        words = f"smallest resolved {what}"
        if name.endswith("averaged"):
            words += ", of averaged spectra"
        result[name] = ((), value, {"long_name": words, "units": unit})
        if what == "wavelength":
            in_km = name.replace("lambda_x", "lambda_x_km")
            result[in_km] = ((), value * kilometres, {"long_name": words, "units": "km"})
    return result


def _whole_rows(values: Floats) -> NDArray[np.bool_]:
    rows = np.isfinite(values).all(axis=(0, 2))
    if not rows.any():
        raise DataError(
            f"Each of the {rows.size} rows of y has land or a missing value. Expected a "
            "complete row, for a spectrum: select a part of the sea with one."
        )
    return np.asarray(rows)


def _check_steps(grid: Grid, axes: Axes) -> None:
    # Each row of y is transformed separately, so y may be irregular.
    for name, values in ((axes.time, grid.time), (axes.x, grid.x)):
        steps = np.diff(values)
        if values.size < MIN_STEPS:
            found = f"has {values.size} values"
        elif np.ptp(steps) > REGULAR_WITHIN * abs(steps.mean()):
            found = f"has steps from {abs(steps).min():.4g} to {abs(steps).max():.4g}"
        else:
            continue
        raise GridError(
            f"The axis {name!r} {found}. Expected at least {MIN_STEPS} values at equal steps, "
            "for a spectrum: select or interpolate them."
        )


def _spectrum(values: Floats, grid: Grid, units: str) -> xr.DataArray:
    spacing = abs(float(grid.x[-1] - grid.x[0])) / (grid.x.size - 1)
    step = float(grid.time[-1]) / (grid.time.size - 1)
    frequency, wavenumber, density = plane_spectrum(values, step, spacing)
    length = "degrees" if grid.geographic else "km"
    per = length.removesuffix("s")
    return xr.DataArray(
        density,
        {
            "frequency": ("frequency", frequency, {"units": "day-1"}),
            "wavenumber": ("wavenumber", wavenumber, {"units": f"{per}-1"}),
            "period": ("frequency", 1 / frequency, {"units": "days"}),
            "wavelength": ("wavenumber", 1 / wavenumber, {"units": length}),
        },
        ("frequency", "wavenumber"),
        "psd",
        {
            "long_name": "power spectral density",
            "units": f"({units})2 day {per}",
            "rows": values.shape[1],
        },
    )


def _score(wanted: xr.DataArray, wrong: xr.DataArray) -> xr.DataArray:
    return 1.0 - wrong / wanted.where(wanted > _ROUNDING * wanted.max())


def _kilometres(grid: Grid, rows: NDArray[np.bool_]) -> float:
    if not grid.geographic:
        return 1.0
    return KM_PER_DEGREE * float(np.cos(np.deg2rad(grid.y[rows])).mean())
