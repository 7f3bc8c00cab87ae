"""How results are written to files: what of the input's encoding still fits them."""

from __future__ import annotations

from typing import TypeVar, cast

import xarray as xr

__all__ = ["lasting_encoding", "with_lasting_encoding"]

COMPRESSION = ("zlib", "complevel", "shuffle", "fletcher32", "compression", "compression_opts")
DATES = ("units", "calendar")

Labelled = TypeVar("Labelled", bound=xr.DataArray | xr.Dataset)


def lasting_encoding(variable: xr.Variable) -> dict[str, object]:
    """Return what of the encoding fits any values on any grid.

    These are the compression of netCDF files, the grid mapping, and units and calendar of
    dates. Packing, dtypes, fill values and chunks fit the values that were read.

    Parameters
    ----------
    variable : Variable
        Its values are not read.
    """
    kept = [*COMPRESSION, "grid_mapping"]
    if variable.dtype.kind in "mMO":
        kept += DATES
    return {key: variable.encoding[key] for key in kept if key in variable.encoding}


def with_lasting_encoding(obj: Labelled) -> Labelled:
    """Return a copy without the encodings that may not fit; the input is not changed.

    Parameters
    ----------
    obj : DataArray or Dataset
        Its values are not read.
    """
    bare = obj.drop_encoding()
    if isinstance(obj, xr.DataArray):
        bare.encoding = lasting_encoding(obj.variable)
    names = list(obj.coords) if isinstance(obj, xr.DataArray) else list(obj.variables)
    for name in names:
        bare[name].encoding = lasting_encoding(obj[name].variable)
    return cast("Labelled", bare)
