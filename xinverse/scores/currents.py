"""Scores of the geostrophic currents of maps of sea surface height."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import xarray as xr

from xinverse.errors import DataError
from xinverse.fields.alignment import aligned_error
from xinverse.fields.seam import across_the_seam
from xinverse.scores.geostrophy import EQUATOR, geostrophic_currents

__all__ = ["current_scores"]


@across_the_seam
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

    and the last two for the vorticity.

    Parameters
    ----------
    analysis, truth : DataArray
        Sea surface height on the same coordinates; NaN in the truth is land.
    latitude : float or DataArray, optional
        As in :func:`geostrophic_currents`.
    dims : mapping, optional
        Dimensions by role, such as ``{"y": "nlat"}``. Default: found automatically.

    Returns
    -------
    Dataset
        ``current_rmse`` in m s-1, ``current_normalised_mse``, ``current_explained_variance``,
        ``vorticity_normalised_mse`` and ``vorticity_explained_variance``, over all cells with
        sea neighbours, 5 degrees or more from the equator.

    Raises
    ------
    AxesError, GridError, UnitsError, OptionError
        As in :func:`geostrophic_currents`, or coordinates differ.
    DataError
        There are gaps, no cell has a current, or the true currents do not vary.
    """
    both = aligned_error(analysis, truth)
    units = {"units": truth.attrs.get("units")} if "units" in truth.attrs else {}
    # Currents are linear in the height, so these of the error are the error of the currents.
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
            "No cell has a geostrophic current and a vorticity: all lie within "
            f"{EQUATOR:g} degrees of the equator, or next to land. Give a larger region."
        )
    variance = float(wanted["u"].var() + wanted["v"].var())
    spin = float(wanted["vorticity"].var())
    if not (variance > 0 and spin > 0):
        raise DataError("The currents of the truth do not vary, so scores are undefined.")
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
