"""Names of sea level variables."""

from __future__ import annotations

import xarray as xr

__all__ = ["SEA_LEVEL", "is_sea_level"]

# CF standard names, then variable names of altimetry products and models.
SEA_LEVEL = (
    "sea_surface_height_above_geoid",
    "sea_surface_height_above_sea_level",
    "sea_surface_height_above_mean_sea_level",
    "ssh",
    "sla",
    "adt",
    "ssha",
    "zos",
)


def is_sea_level(da: xr.DataArray) -> bool:
    """Return whether a field is a sea level, by its standard name or its name.

    Parameters
    ----------
    da : DataArray
        The field.
    """
    standard_name = str(da.attrs.get("standard_name", ""))
    return standard_name.startswith("sea_surface_height") or str(da.name).lower() in SEA_LEVEL
