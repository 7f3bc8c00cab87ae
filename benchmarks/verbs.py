"""Forecasts against lead time, and the sharpening and refining of sea level.

    python benchmarks/verbs.py [--seed N] [--quick]

1. Forecast. Nature runs of three seeds (two-layer quasi-geostrophic turbulence, a grid of 14
   km), 25 days seen in full with a noise of 1 cm, from several first days. Root mean square
   error against lead time from 1 to 10 days, of `forecast` with `oi` and `4dvar`, beside
   persistence (the last day, which the noise spoils) and damped persistence (the last day times
   the lag correlation of the series seen).
2. Downscale and deconvolve. Daily maps of absolute dynamic topography on 1/4 degree in boxes of
   the global field of ../shared/data: means over 4 x 4 cells with a noise of 0.3 cm beside
   bicubic splines, and a Gaussian blur of 40 km with a noise of 0.3 cm beside a Wiener filter.
   Errors leave out a margin of 8 cells, and `deconvolve` sees no observation within two
   standard deviations of the blur from the edge. All know the noise; the Wiener
   filter takes the signal's spectrum from the blurred map, continued by a power law. Left out
   without the data.

The spread is the standard deviation over seeds and first days, or over boxes.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from _measure import finish, measured, save_figure
from _report import parser
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import gaussian_filter1d

import xinverse
from xinverse.constants import KM_PER_DEGREE
from xinverse.osse import Ocean, nature_runs

OCEAN = Ocean(spacing_km=14.0, rossby_radius_km=28.0, shear=0.1, drag=1.5e-7)
SEEN, AHEAD, SKIP = 25, 10, 20  # days
FORECAST_NOISE = 0.01  # m
FORECASTS: dict[str, dict[str, Any]] = {
    "oi": {"length_scale": 90.0, "time_scale": 12.0, "noise": FORECAST_NOISE},
    "4dvar": {"noise": FORECAST_NOISE},
}
BOXES = {  # south, north, west, east
    "Gulf Stream": (30, 42, 292, 308),
    "Agulhas": (-47, -35, 14, 30),
    "Kuroshio": (29, 41, 146, 162),
    "East Pacific": (16, 28, 222, 238),
}
RATIO, BLUR_KM, NOISE = 4, 40.0, 0.003
MARGIN, EDGE = 8, 3  # cells that are not scored, and not used, at the edge
SCALES = {"length_scale": 120.0, "time_scale": 10.0}
SHARPEN: dict[str, dict[str, Any]] = {
    "oi": {"covariance": "gaussian"},
    "tikhonov": {"weight": 30.0},
    "tv": {},
}


def main() -> None:
    """Run both parts, print and draw."""
    arguments = parser(__doc__).parse_args()
    rows, curves = forecasts(arguments.seed, quick=arguments.quick)
    folder = data_folder()
    if folder is None:
        print("downscale and deconvolve are left out: there is no ../shared/data")
        finish(
            "verbs", rows, quick=arguments.quick, seed=arguments.seed, error_by_day_cm=curves
        )
        return
    more, spectra = sharpening(folder, arguments.seed, quick=arguments.quick)
    if not arguments.quick:
        save_figure(drawn(curves, spectra), "verbs")
    finish(
        "verbs", rows + more, quick=arguments.quick, seed=arguments.seed, error_by_day_cm=curves
    )


def data_folder() -> Path | None:
    """Where the global field is, if it is anywhere."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("XINVERSE_REAL_DATA", default))
    return folder if folder.is_dir() else None


# Forecast ------------------------------------------------------------------------------


def forecasts(seed: int, *, quick: bool) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    """One row for each method, errors in cm with their spread; and the errors of all days."""
    runs, starts = (1, 1) if quick else (3, 2)
    size, spinup = (32, 60) if quick else (64, 300)
    days = SEEN + AHEAD + SKIP * (starts - 1)
    rng = np.random.default_rng(seed)
    errors: dict[str, list[np.ndarray]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    for run in range(runs):
        (truth,) = nature_runs(
            [OCEAN], days=days, spinup=spinup, size=size, seed=seed + 1000 * run
        )
        for start in range(starts):
            part = truth.isel(time=slice(SKIP * start, SKIP * start + SEEN + AHEAD))
            seen = part.isel(time=slice(0, SEEN)).astype("f8")
            seen = seen + FORECAST_NOISE * rng.standard_normal(seen.shape)
            future = part.isel(time=slice(SEEN, None))
            for name, ahead in beside(seen).items():
                errors[name].append(error_of(ahead, future))
            for method, options in FORECASTS.items():
                with measured() as cost:
                    ahead = seen.assign_attrs(truth.attrs).inverse.forecast(
                        AHEAD, method, **options
                    )
                errors[method].append(error_of(ahead.values, future))
                seconds[method] += cost.seconds
    rows, curves = [], {}
    for name, found in errors.items():
        mean, spread = np.mean(found, 0), np.std(found, 0)
        row: dict[str, Any] = {"verb": "forecast", "method": name}
        for day in (1, 2, 3, 5, 7, 10):
            row[f"day {day} cm"] = f"{mean[day - 1]:.2f} ± {spread[day - 1]:.2f}"
        curves[name] = [round(float(value), 3) for value in mean]
        row["seconds"] = round(seconds[name] / len(found), 1)
        rows.append(row)
    return rows, curves


def beside(seen: xr.DataArray) -> dict[str, np.ndarray]:
    """Persistence, and the same damped by the lag correlation of the series."""
    values = seen.values
    anomaly = values - values.mean()
    variance = float((anomaly**2).mean())
    damping = [
        float((anomaly[lag:] * anomaly[:-lag]).mean()) / variance for lag in range(1, AHEAD + 1)
    ]
    last = np.broadcast_to(anomaly[-1], (AHEAD, *anomaly.shape[1:]))
    return {
        "persistence": values.mean() + last,
        "damped persistence": values.mean() + np.array(damping)[:, None, None] * last,
    }


def error_of(found: np.ndarray, truth: xr.DataArray) -> np.ndarray:
    """Root mean square of each day, cm."""
    return 100 * np.sqrt(((found - truth.values) ** 2).mean((1, 2)))


# Downscale and deconvolve --------------------------------------------------------------


def sharpening(
    folder: Path, seed: int, *, quick: bool
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of errors over the boxes, and the mean spectra of truth and results by verb."""
    boxes = dict(list(BOXES.items())[:1]) if quick else BOXES
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    power: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    wavenumber = np.empty(0)
    file = folder / "ssh_l4_global_20181231_20190103.nc"
    with xr.open_dataset(file) as ds:
        for number, box in enumerate(boxes.values()):
            south, north, west, east = box
            truth = ds.adt.sel(latitude=slice(south, north), longitude=slice(west, east)).load()
            truth = truth.assign_attrs(units="m")
            rng = np.random.default_rng(seed + number)
            for verb, results in {
                "downscale": downscaled(truth, rng, seconds),
                "deconvolve": deconvolved(truth, rng, seconds),
            }.items():
                for method, found in {**results, "truth": truth.values}.items():
                    inner = (slice(None), *(slice(MARGIN, -MARGIN),) * 2)
                    apart = found[inner] - truth.values[inner]
                    wavenumber, spectrum = spectrum_of(found[inner], truth)
                    power[verb, method].append(spectrum)
                    _, wrong = spectrum_of(apart, truth)
                    power[verb, f"{method} error"].append(wrong)
                    if method != "truth":
                        errors[verb, method].append(100 * float(np.sqrt((apart**2).mean())))
    rows = []
    for (verb, method), found in errors.items():
        share = np.mean(power[verb, f"{method} error"], 0) / np.mean(power[verb, "truth"], 0)
        rows.append(
            {
                "verb": verb,
                "method": method,
                "rmse cm": f"{np.mean(found):.2f} ± {np.std(found):.2f}",
                "resolved km": resolved(wavenumber, share),
                "seconds": round(seconds[verb, method] / len(found), 1),
            }
        )
    return rows, {"wavenumber": wavenumber, "power": power}


def resolved(wavenumber: np.ndarray, share: np.ndarray) -> float:
    """Wavelength at which the error first has half the variance of the truth."""
    beyond = np.nonzero(share > 0.5)[0]
    return round(float(1 / wavenumber[beyond[0] if beyond.size else -1]), 0)


def spectrum_of(values: np.ndarray, truth: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the days' isotropic spectra; cycles per km, m2 per cycle/km."""
    step = 0.25 * KM_PER_DEGREE
    return ring_spectrum(values, step, step * float(np.cos(np.deg2rad(truth.latitude.mean()))))


def ring_spectrum(values: np.ndarray, dy: float, dx: float) -> tuple[np.ndarray, np.ndarray]:
    """Power in rings, of days without their mean, under a Hann window."""
    _, ny, nx = values.shape
    window = np.hanning(ny + 2)[1:-1, None] * np.hanning(nx + 2)[1:-1]
    anomaly = (values - values.mean((1, 2), keepdims=True)) * window
    power = (abs(np.fft.fft2(anomaly)) ** 2).mean(0) * dx * dy / (window**2).sum()
    k = np.hypot(np.fft.fftfreq(ny, dy)[:, None], np.fft.fftfreq(nx, dx))
    unit = 1 / (min(ny * dy, nx * dx))
    ring = np.round(k / unit).astype(int).ravel()
    count = int(0.5 / max(dx, dy) / unit)
    total = np.bincount(ring, power.ravel())[1 : count + 1]
    cells = np.bincount(ring)[1 : count + 1]
    wavenumber = unit * np.arange(1, count + 1)
    return wavenumber, 2 * np.pi * wavenumber * total / cells


def downscaled(
    truth: xr.DataArray, rng: np.random.Generator, seconds: dict[tuple[str, str], float]
) -> dict[str, np.ndarray]:
    """From means over 4 x 4 cells, weighted by the cosine of the latitude."""
    area = np.cos(np.deg2rad(truth.latitude)) + 0 * truth.longitude
    blocks = {"latitude": RATIO, "longitude": RATIO}
    coarse = (truth * area).coarsen(blocks).sum() / area.coarsen(blocks).sum()
    coarse = coarse + NOISE * rng.standard_normal(coarse.shape)
    coarse = coarse.transpose(*truth.dims).rename(truth.name).assign_attrs(truth.attrs)
    for axis in ("latitude", "longitude"):
        coarse[axis].attrs.update(truth[axis].attrs)
    results = {"bicubic": bicubic(coarse, truth)}
    results |= solved("downscale", coarse, {"like": truth}, seconds)
    return results


def bicubic(coarse: xr.DataArray, like: xr.DataArray) -> np.ndarray:
    """Cubic splines along both axes, day by day."""
    return np.stack(
        [
            RectBivariateSpline(coarse.latitude, coarse.longitude, day.values)(
                like.latitude, like.longitude
            )
            for day in coarse
        ]
    )


def deconvolved(
    truth: xr.DataArray, rng: np.random.Generator, seconds: dict[tuple[str, str], float]
) -> dict[str, np.ndarray]:
    """From maps under a Gaussian blur."""
    dy = 0.25 * KM_PER_DEGREE
    dx = dy * float(np.cos(np.deg2rad(truth.latitude.mean())))
    values = truth.values
    for axis, step in ((1, dy), (2, dx)):
        values = gaussian_filter1d(values, BLUR_KM / step, axis, mode="nearest")
    blurred = truth.copy(data=values + NOISE * rng.standard_normal(values.shape))
    results = {"wiener": wiener(blurred.values, dy, dx)}
    # The verb takes the field as flat beyond the edge: leave out what saw more than that.
    inner = {a: slice(EDGE, blurred.sizes[a] - EDGE) for a in ("latitude", "longitude")}
    inside = blurred.isel(inner).reindex_like(blurred)
    for axis in inner:
        inside[axis].attrs.update(truth[axis].attrs)
    results |= solved("deconvolve", inside, {"psf": BLUR_KM}, seconds)
    return results


def wiener(blurred: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Wiener filter on mirrored maps.

    The spectrum of the signal is a power law, fitted where the blurred maps have ten times
    the noise.
    """
    _, ny, nx = blurred.shape
    mean = blurred.mean((1, 2), keepdims=True)
    mirrored = np.pad(blurred - mean, ((0, 0), (0, ny), (0, nx)), "symmetric")
    k = np.hypot(np.fft.fftfreq(2 * ny, dy)[:, None], np.fft.fftfreq(2 * nx, dx))
    transfer = np.exp(-2 * (np.pi * BLUR_KM * k) ** 2)
    spectrum = np.fft.fft2(mirrored)
    power, noise = (abs(spectrum) ** 2).mean(0), NOISE**2 * 4 * ny * nx
    unit = 0.5 / (ny * dy)
    ring = np.round(k / unit).astype(int)
    rings = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel()).clip(1)
    centres = unit * np.arange(rings.size)
    clear = np.nonzero(rings > 10 * noise)[0]
    clear = clear[(clear > 1) & (clear < 4 / (BLUR_KM * unit))]
    seen = (rings[clear] - noise) / np.exp(-4 * (np.pi * BLUR_KM * centres[clear]) ** 2)
    slope, level = np.polyfit(np.log(centres[clear]), np.log(seen), 1)
    signal = np.exp(level) * np.maximum(k, unit) ** slope
    sharp = np.fft.ifft2(spectrum * transfer * signal / (transfer**2 * signal + noise)).real
    return sharp[:, :ny, :nx] + mean


def solved(
    verb: str,
    seen: xr.DataArray,
    own: dict[str, Any],
    seconds: dict[tuple[str, str], float],
) -> dict[str, np.ndarray]:
    """By every method of the package."""
    results = {}
    for method, options in SHARPEN.items():
        with measured() as cost:
            found = getattr(xinverse, verb)(
                seen, method=method, noise=NOISE, **own, **SCALES, **options
            )
        seconds[verb, method] += cost.seconds
        results[method] = found.values
    return results


def drawn(curves: dict[str, list[float]], spectra: dict[str, Any]) -> Any:
    """Error against lead time, and spectra of what is left over."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    colours = dict(
        zip(
            ("oi", "4dvar", "tikhonov", "tv", "persistence", "damped persistence"),
            ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "0.45", "0.65"),
            strict=True,
        )
    )
    colours |= {"bicubic": "0.45", "wiener": "0.45", "truth": "black"}
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for name, curve in curves.items():
        axes[0].plot(np.arange(1, AHEAD + 1), curve, color=colours[name], label=name)
    axes[0].set(xlabel="Lead time (days)", ylabel="Root mean square error (cm)", ylim=(0, None))
    axes[0].set_title("Forecast")
    axes[0].legend(frameon=False, fontsize="small")
    wavenumber, power = spectra["wavenumber"], spectra["power"]
    for ax, verb in zip(axes[1:], ("downscale", "deconvolve"), strict=True):
        for (which, name), found in power.items():
            if which != verb or name == "truth error":
                continue
            method = name.removesuffix(" error")
            if name == method and name != "truth":
                continue
            label = "truth" if name == "truth" else f"error of {method}"
            ax.loglog(wavenumber, np.mean(found, 0), color=colours[method], label=label)
        ax.set(xlabel="Wavenumber (cycles/km)", ylabel="m² per cycle/km", title=verb.title())
        ax.legend(frameon=False, fontsize="small")
    return figure


if __name__ == "__main__":
    main()
