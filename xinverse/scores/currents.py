"""Scores of the geostrophic currents that maps of sea surface height imply."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import xarray as xr

from xinverse.errors import DataError
from xinverse.fields.alignment import aligned_error
from xinverse.scores.geostrophy import EQUATOR, geostrophic_currents

__all__ = ["current_scores"]


def current_scores(
    analysis: xr.DataArray,
    truth: xr.DataArray,
    *,
    latitude: float | xr.DataArray | None = None,
    dims: Mapping[str, Hashable] | None = None,
) -> xr.Dataset:
    r"""Score the geostrophic currents and the vorticity of maps of sea surface height.

    With the currents :math:`\mathbf{u} = (u, v)` and the vorticity :math:`\zeta / f` of
    :func:`geostrophic_currents`, and :math:`\mathbf{e} = \mathbf{u}^a - \mathbf{u}`,

    .. math::
        \langle |\mathbf{e}|^2 \rangle^{1/2}, \qquad
        \frac{\langle |\mathbf{e}|^2 \rangle}{\mathrm{var}(u) + \mathrm{var}(v)}, \qquad
        1 - \frac{\mathrm{var}(e_u) + \mathrm{var}(e_v)}{\mathrm{var}(u) + \mathrm{var}(v)},

    and the last two of the vorticity likewise.

    Parameters
    ----------
    analysis, truth : DataArray
        Sea surface height on the same coordinates; NaN in the truth is land.
    latitude : float or DataArray, optional
        As in :func:`geostrophic_currents`.
    dims : mapping, optional
        Dimensions that are not found by themselves.

    Returns
    -------
    Dataset
        ``current_rmse`` in m s-1, ``current_normalised_mse``, ``current_explained_variance``,
        ``vorticity_normalised_mse`` and ``vorticity_explained_variance``. Over all cells whose
        neighbours are sea and that are 5 degrees or more from the equator.

    Raises
    ------
    AxesError, GridError, UnitsError, OptionError
        As in :func:`geostrophic_currents`, or the two do not lie on the same coordinates.
    DataError
        There are gaps, no cell has a current, or the currents of the truth do not vary.
    """
    both = aligned_error(analysis, truth)
    units = {"units": truth.attrs.get("units")} if "units" in truth.attrs else {}
    # The currents are linear in the height: those of the error are the error of the currents.
    wrong, wanted = (
        geostrophic_currents(
            both[name].assign_coords(truth.coords).assign_attrs(units),
            latitude=latitude,
            dims=dims,
        )
        for name in ("error", "truth")
    )
    if not bool(wanted["vorticity"].notnull().any()):
        raise DataError(
            "No cell has a geostrophic current and a vorticity: each lies within "
            f"{EQUATOR:g} degrees of the equator, or beside land. Give a larger sea."
        )
    variance = float(wanted["u"].var() + wanted["v"].var())
    spin = float(wanted["vorticity"].var())
    if not (variance > 0 and spin > 0):
        raise DataError("The currents of the truth do not vary: a score has no meaning.")
    squared = (wrong["u"] ** 2).mean() + (wrong["v"] ** 2).mean()
    left = wrong["u"].var() + wrong["v"].var()
    result = {
        "current_rmse": squared**0.5,
        "current_normalised_mse": squared / variance,
        "current_explained_variance": 1.0 - left / variance,
        "vorticity_normalised_mse": (wrong["vorticity"] ** 2).mean() / spin,
        "vorticity_explained_variance": 1.0 - wrong["vorticity"].var() / spin,
    }
    for name, score in result.items():
        words = name.replace("_", " ").replace("mse", "mean-square error")
        score.attrs = {"long_name": words, "units": "1"}
    result["current_rmse"].attrs = {
        "long_name": "root-mean-square error of the geostrophic currents",
        "units": "m s-1",
    }
    return xr.Dataset(result)
