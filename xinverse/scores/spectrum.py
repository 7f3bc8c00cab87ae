r"""Power spectra in the plane of time and x, and along tracks; arrays without labels.

Of :math:`N_t \times N_x` values at steps :math:`\Delta t, \Delta x`, less their mean and
multiplied by a Hann window :math:`w`,

.. math::
    P(f, k) = \frac{2 \Delta t \Delta x}{N_t N_x \langle w^2 \rangle}
              \big(|\hat a(f, k)|^2 + |\hat a(-f, k)|^2\big), \qquad f, k > 0,

so that :math:`\sum P \, \Delta f \, \Delta k` is the variance: both directions of propagation
are counted. The largest frequency and wavenumber (Nyquist's) are left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_STEPS", "plane_spectrum", "segment_spectrum"]

Floats = NDArray[np.float64]

MIN_STEPS = 5  # with fewer there are not two positive frequencies to cross between


def plane_spectrum(
    values: Floats, time_step: float, spacing: float
) -> tuple[Floats, Floats, Floats]:
    """Power spectral density over (time, x), averaged over y.

    Parameters
    ----------
    values : ndarray, shape (nt, ny, nx)
        Finite.
    time_step, spacing : float
        Between neighbours along time and x.

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
    for row in np.moveaxis(values, 1, 0):  # one row at a time: a spectrum is large
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
        By :func:`scipy.signal.welch`, one window per segment and no overlap.
    """
    from scipy.signal import welch

    wavenumber, density = welch(
        segments.ravel(), fs=1.0 / spacing, nperseg=segments.shape[1], noverlap=0
    )
    return wavenumber[1:], density[1:]


def _hann(number: int) -> Floats:
    # At the middles of the steps: the same from both ends, and three lines in its spectrum.
    return np.sin(np.pi * (np.arange(number) + 0.5) / number) ** 2
