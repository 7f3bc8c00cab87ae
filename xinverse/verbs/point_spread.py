"""A point spread function as a user writes it: scales in km, or values on cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from xinverse.checks import check_number
from xinverse.errors import OptionError
from xinverse.methods.problem import OperatorSpec

__all__ = ["blur_of"]


def blur_of(psf: Any, angle: float = 0.0) -> OperatorSpec:
    """The blur by a point spread function.

    Parameters
    ----------
    psf, angle
        As of `xinverse.deconvolve`.

    Raises
    ------
    OptionError
        Anything else, and a kernel of even sides or of zeros alone.
    """
    check_number("angle", angle)
    try:
        given: np.ndarray = np.asarray(psf, dtype="float64")
    except (TypeError, ValueError):
        given = np.full(3, np.nan)
    found = f"psf={psf!r}" if given.ndim < 2 else f"psf of shape {given.shape}"
    if given.ndim == 2 and not angle:
        if not (np.isfinite(given).all() and given.any()):
            raise OptionError(f"{found}: expected finite values that are not all zero.")
        if not all(side % 2 for side in given.shape):
            raise OptionError(
                f"{found}: expected an odd number of cells along both sides, so that it has a "
                "middle. Pad it with zeros."
            )
        return OperatorSpec("blur", {"psf": given})
    if given.shape not in {(), (2,)} or not np.isfinite(given).all():
        raise OptionError(
            f"{found}, angle={angle}: expected a standard deviation in km, two of them (y, x), "
            "or a 2-D array of finite values without angle=."
        )
    if not (given > 0).all():
        raise OptionError(f"{found}: expected a standard deviation above 0 km.")
    scale = float(given) if given.ndim == 0 else tuple(given.tolist())
    return OperatorSpec("blur", {"scale": scale, "angle": float(angle)})
