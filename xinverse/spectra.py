r"""Power spectra, and the smallest scale at which a score stays above one half; arrays only.

The spectrum of :math:`N_t \times N_x` values with steps :math:`\Delta t, \Delta x`, minus their
mean and multiplied by a Hann window :math:`w`, is

.. math::
    P(f, k) = \frac{2 \Delta t \Delta x}{N_t N_x \langle w^2 \rangle}
              \big(|\hat a(f, k)|^2 + |\hat a(-f, k)|^2\big), \qquad f, k > 0,

so that :math:`\sum P \, \Delta f \, \Delta k` is the variance. Both directions of propagation
count. The Nyquist frequency and wavenumber are left out.

Given scores :math:`s_i` at scales :math:`\lambda_1 > \lambda_2 > \dots`, with
:math:`s_1, \dots, s_m \ge 1/2 > s_{m+1}`, the smallest resolved scale is

.. math::
    \lambda = \lambda_m - (\lambda_m - \lambda_{m+1}) \frac{s_m - 1/2}{s_m - s_{m+1}}.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MIN_STEPS",
    "plane_spectrum",
    "segment_spectrum",
    "smallest_resolved",
    "smallest_resolved_of_rows",
]

Floats = NDArray[np.float64]

_RESOLVED = 0.5  # lowest score of a resolved scale
MIN_STEPS = 5  # gives the two positive frequencies that a crossing needs


def plane_spectrum(
    values: Floats, time_step: float, spacing: float
) -> tuple[Floats, Floats, Floats]:
    """Power spectral density over (time, x), averaged over y.

    Parameters
    ----------
    values : ndarray, shape (nt, ny, nx)
        Finite.
    time_step, spacing : float
        Steps along time and x.

    Returns
    -------
    frequency : ndarray, shape (nf,)
        Positive, ascending, per unit of `time_step`.
    wavenumber : ndarray, shape (nk,)
        Positive, ascending, per unit of `spacing`.
    density : ndarray, shape (nf, nk)
        Squared units of the values times those of both steps.
    """
    nt, _, nx = values.shape
    window = _hann(nt)[:, None] * _hann(nx)
    steps, columns = np.arange(1, (nt + 1) // 2), np.arange(1, (nx + 1) // 2)
    total = np.zeros((steps.size, columns.size))
    for row in np.moveaxis(values, 1, 0):  # one row at a time, to save memory
        wave = np.fft.fft(np.fft.rfft(window * (row - row.mean()))[:, columns], axis=0)
        total += np.abs(wave[steps]) ** 2 + np.abs(wave[-steps]) ** 2
    scale = 2.0 * time_step * spacing / (nt * nx * np.mean(window**2) * values.shape[1])
    return steps / (nt * time_step), columns / (nx * spacing), scale * total


def segment_spectrum(segments: Floats, spacing: float) -> tuple[Floats, Floats]:
    """Power spectral density along segments, averaged over them.

    Parameters
    ----------
    segments : ndarray, shape (segments, points)
        Finite.
    spacing : float
        Between neighbouring points.

    Returns
    -------
    wavenumber : ndarray, shape (nk,)
        Positive, ascending.
    density : ndarray, shape (nk,)
        From :func:`scipy.signal.welch`, with one window per segment.
    """
    from scipy.signal import welch

    wavenumber, density = welch(
        segments.ravel(), fs=1.0 / spacing, nperseg=segments.shape[1], noverlap=0
    )
    return wavenumber[1:], density[1:]


def _hann(number: int) -> Floats:
    # Sampled at the middle of each step: symmetric, with only three lines in its spectrum.
    return np.sin(np.pi * (np.arange(number) + 0.5) / number) ** 2


def smallest_resolved(scale: Floats, score: Floats) -> float:
    """Return the scale at which a score first falls below one half, from the largest down.

    Parameters
    ----------
    scale : ndarray, shape (n,)
        Wavelengths or periods, descending.
    score : ndarray, shape (n,)
        NaN counts as not resolved.

    Returns
    -------
    float
        Linearly interpolated between two scales. NaN if the largest scale is not resolved.
        If all are, the smallest of `scale`, which is an upper bound.
    """
    resolved = score >= _RESOLVED  # False for NaN
    if not resolved[0]:
        return float("nan")
    if resolved.all():
        return float(scale[-1])
    after = int(np.argmin(resolved))
    last = after - 1
    if np.isnan(score[after]):
        return float(scale[last])
    share = (score[last] - _RESOLVED) / (score[last] - score[after])
    return float(scale[last] - share * (scale[last] - scale[after]))


def smallest_resolved_of_rows(scale: Floats, score: Floats) -> float:
    """Return the smallest scale that any row resolves.

    Parameters
    ----------
    scale : ndarray, shape (n,)
        Descending.
    score : ndarray, shape (rows, n)
        One row per scale along the other axis.

    Returns
    -------
    float
        NaN if no row resolves its largest scale.
    """
    found = np.array([smallest_resolved(scale, row) for row in score])
    return float(np.nanmin(found)) if np.isfinite(found).any() else float("nan")
