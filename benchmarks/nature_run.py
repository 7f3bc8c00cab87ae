"""A nature run from rest to turbulence: how high its sea stands, how fast it flows.

    python benchmarks/nature_run.py [--seed N] [--quick] [--cache FOLDER]

Two quasi-geostrophic layers on 96 x 96 cells of 12 km, a deformation radius of 30 km and a
shear of 0.1 m/s, from weak noise for 1100 days, streamed to a Zarr store block by block. The
table tells the standard deviation of sea surface height, the root mean square of the
geostrophic speed at the surface and that of vorticity over the Coriolis parameter, by 100 days.
Expected of the last 200 days: about 10 cm and 0.16 m/s, to within 30 %. What they are hangs on
the bottom drag, of which that says nothing: the default's, and the strongest that
`xinverse.osse.draw_ocean` draws, which is the one that is drawn here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from _measure import finish, measured, save_figure
from _report import parser

from xinverse.constants import EARTH_ROTATION, GRAVITY
from xinverse.osse import Ocean, simulate

OCEAN = Ocean(spacing_km=12.0, rossby_radius_km=30.0, shear=0.1)
DRAGS = (1.0e-7, 1.6e-7)  # 1/s
EXPECTED = {"ssh cm": 10.0, "speed m/s": 0.16}
WITHIN = 0.3
SETTLED = 200  # the last days, whose mean is compared with what is expected


def coriolis() -> float:
    """Of the latitude of the box, in 1/s."""
    return 2 * EARTH_ROTATION * float(np.sin(np.deg2rad(OCEAN.latitude)))


def wavenumbers(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Of rfft2, along y and x, in radians per metre."""
    spacing = 1e3 * OCEAN.spacing_km
    ell = 2 * np.pi * np.fft.fftfreq(size, spacing)[:, None]
    return ell, 2 * np.pi * np.fft.rfftfreq(size, spacing)[None]


def velocity(ssh: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Geostrophic u and v, in m/s, and vorticity over the Coriolis parameter."""
    size = ssh.shape[-1]
    ell, k = wavenumbers(size)
    psi = np.fft.rfft2(ssh) * GRAVITY / coriolis()
    factors = (-1j * ell, 1j * k, -(ell**2 + k**2) / coriolis())
    u, v, vorticity = (np.fft.irfft2(f * psi, s=(size, size)) for f in factors)
    return u, v, vorticity


def rows_of(ssh: xr.DataArray, every: int) -> list[dict[str, Any]]:
    """One row for so many days."""
    rows = []
    for first in range(0, ssh.sizes["time"], every):
        heights = ssh.isel(time=slice(first, first + every)).values
        rows.append({"days": f"{first} to {first + len(heights) - 1}", **figures(heights)})
    return rows


def figures(heights: np.ndarray) -> dict[str, float]:
    """Standard deviation and root mean squares of some days."""
    u, v, vorticity = velocity(heights)
    return {
        "ssh cm": 100 * float(heights.std()),
        "speed m/s": float(np.sqrt((u**2 + v**2).mean())),
        "vorticity / f": float(np.sqrt((vorticity**2).mean())),
    }


def spectrum(ssh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kinetic energy by wavenumber (cycles per km; m2/s2 per cycle/km), in rings."""
    size = ssh.shape[-1]
    ell, k = wavenumbers(size)
    u, v, _ = velocity(ssh)
    power = (abs(np.fft.rfft2(u)) ** 2 + abs(np.fft.rfft2(v)) ** 2).mean(0) / (2 * size**4)
    power[:, 1 : (size + 1) // 2] *= 2  # rfft2 holds one of each pair of conjugates
    unit = 1 / (size * OCEAN.spacing_km)
    ring = np.round(np.hypot(ell, k) * 1e3 / (2 * np.pi) / unit).astype(int)
    energy = np.bincount(ring.ravel(), power.ravel())[1 : size // 2]
    return unit * np.arange(1, size // 2), energy / unit


def main() -> None:
    """Simulate, print and draw."""
    options = parser(__doc__)
    options.add_argument("--cache", type=Path, default=Path("training-cache"))
    arguments = options.parse_args()
    quick = arguments.quick
    size, days, every = (32, 20, 10) if quick else (96, 1100, 100)
    rows = []
    for drag in DRAGS:
        store = arguments.cache / f"nature-run-{size}-{drag:g}-{arguments.seed}.zarr"
        with measured() as cost:
            run = simulate(
                replace(OCEAN, drag=drag),
                store,
                days=days,
                spinup=0,
                size=size,
                seed=arguments.seed,
                overwrite=True,
            )
        ssh = run["ssh"].transpose("time", "latitude", "longitude")
        settled = figures(ssh.isel(time=slice(-SETTLED, None)).values)
        met = all(abs(settled[name] / value - 1) < WITHIN for name, value in EXPECTED.items())
        last = {
            "days": f"the last {min(SETTLED, days)}",
            **settled,
            "expected": "10 cm, 0.16 m/s",
            "met": "yes" if met else "NO",
            **cost.columns,
        }
        rows += [{"drag 1/s": f"{drag:g}", **row} for row in (*rows_of(ssh, every), last)]
    if not quick:
        save_figure(drawn(ssh), "nature_run")
    finish("nature_run", rows, quick=quick, seed=arguments.seed, size=size, days=days)


def drawn(ssh: xr.DataArray) -> Any:
    """Maps of the last day, and the spectrum of the last 200."""
    import cmocean
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    last = ssh.isel(time=-1)
    _, _, vorticity = velocity(last.values)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    panels = (
        (100 * last.values, "Sea surface height (cm)", cmocean.cm.balance),
        (vorticity, "Vorticity / f", cmocean.cm.curl),
    )
    for ax, (values, title, colours) in zip(axes, panels, strict=False):
        most = float(np.percentile(abs(values), 99.5))
        mesh = ax.pcolormesh(
            last.longitude, last.latitude, values, cmap=colours, vmin=-most, vmax=most
        )
        figure.colorbar(mesh, ax=ax, extend="both")
        ax.set(title=title, xlabel="Longitude (°E)", ylabel="Latitude (°N)")
        ax.set_aspect(1 / np.cos(np.deg2rad(OCEAN.latitude)))
    k, energy = spectrum(ssh.isel(time=slice(-SETTLED, None)).values)
    # The model advects with the waves below two thirds of the grid's largest wavenumber.
    kept = k < 1 / (3 * OCEAN.spacing_km)
    k, energy = k[kept], energy[kept]
    axes[2].loglog(k, energy, color="#0072B2", label="kinetic energy")
    slope = (k > 1 / 200) & (k < 1 / 45)
    middle = len(k[slope]) // 2
    line = 3 * energy[slope][middle] * (k[slope] / k[slope][middle]) ** -3
    axes[2].loglog(k[slope], line, "--", color="0.45", label="k$^{-3}$")
    axes[2].axvline(
        1 / (2 * np.pi * OCEAN.rossby_radius_km), color="#D55E00", label="deformation radius"
    )
    axes[2].set(
        title="Spectrum at the surface",
        xlabel="Wavenumber (cycles/km)",
        ylabel="m²/s² per cycle/km",
    )
    axes[2].legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
