"""What a training is given: fields that belong together, and numbers that make sense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from xinverse.errors import OptionError
from xinverse.methods.base import METHODS
from xinverse.methods.learned import LearnedMethod
from xinverse.methods.registry import find

__all__ = ["Fields", "check_numbers", "field_by_field", "learned_method", "of_each"]

LOSSES = ("supervised", "self-supervised", "unsupervised")

Fields = xr.DataArray | Sequence[xr.DataArray]


def learned_method(method: str) -> type[LearnedMethod]:
    """The method of that name, which must be one that is trained on maps."""
    chosen = find(method)
    if not issubclass(chosen, LearnedMethod):
        what = "is not trained here" if chosen.learned else "learns nothing"
        learned = [repr(n) for n in sorted(METHODS) if issubclass(METHODS[n], LearnedMethod)]
        raise OptionError(f"method={method!r} {what}. Methods to train: {', '.join(learned)}.")
    return chosen


def field_by_field(
    truth: Fields | None, observations: Fields | None, background: Fields | None
) -> list[tuple[xr.DataArray | None, xr.DataArray, xr.DataArray | None]]:
    """Truth, observations and background of each field."""
    if observations is None:
        raise OptionError(
            "No observations were given. Pass observations=, the field with its gaps; "
            "xinverse.osse.observe makes them of a truth."
        )
    seen = _listed("observations", observations)
    others = []
    for what, given in (("truth", truth), ("background", background)):
        listed = [None] * len(seen) if given is None else _listed(what, given)
        if len(listed) != len(seen):
            raise OptionError(
                f"{len(listed)} fields were given as {what} and {len(seen)} as observations: "
                "give one for each."
            )
        others.append(listed)
    return list(zip(others[0], seen, others[1], strict=True))


def _listed(what: str, given: Fields) -> list[Any]:
    listed = [given] if isinstance(given, xr.DataArray | xr.Dataset) else list(given)
    for field in listed:
        if not isinstance(field, xr.DataArray):
            raise OptionError(
                f"{what} holds a {type(field).__name__}. Expected a DataArray, such as "
                "ds['ssh'], or a list of them."
            )
    if not listed:
        raise OptionError(f"{what} is an empty list. Give at least one field.")
    return listed


def of_each(what: str, given: float | Sequence[float] | None, count: int) -> list[Any]:
    """A number for each field, where one may be for all."""
    if given is None or not np.ndim(given):
        return [given] * count
    listed = np.asarray(given).tolist()
    if len(listed) != count:
        raise OptionError(
            f"{len(listed)} numbers were given as {what} and {count} fields as observations: "
            "give one for each, or one for all."
        )
    return listed


def check_numbers(
    loss: str,
    truth: Fields | None,
    withheld: float,
    validation: float,
    steps: int,
    batch: int,
    patch: int | tuple[int, int],
    start: Any,
    mask_shifts: int,
    drift: float,
    gradient_weight: float,
) -> None:
    """Refuse what makes no sense, before anything is read."""
    if loss not in LOSSES:
        raise OptionError(f"loss={loss!r}: expected one of {', '.join(map(repr, LOSSES))}.")
    if loss == "supervised" and truth is None:
        raise OptionError(
            "loss='supervised' needs truth=. Without one, take loss='self-supervised', which "
            "learns from observations that are withheld."
        )
    if loss == "unsupervised" and start is None:
        raise OptionError(
            "loss='unsupervised' learns a solver for a prior that stays as it is: give "
            "start=, a trained model that holds it."
        )
    for what, share in (("withheld", withheld), ("validation", validation)):
        if not 0 <= share < 1 or (what == "withheld" and share == 0):
            raise OptionError(f"{what}={share!r}: expected a share between 0 and 1.")
    sides = (patch, patch) if isinstance(patch, int) else tuple(patch)
    numbers = {"steps": steps, "batch": batch, "patch": min(sides, default=0)}
    for what, number in numbers.items():
        whole: object = number  # whatever the annotation says
        if isinstance(whole, bool) or not isinstance(whole, int | np.integer) or number < 1:
            raise OptionError(f"{what}={number!r}: expected a whole number above 0.")
    if len(sides) != 2:
        raise OptionError(f"patch={patch!r}: expected cells along y and x.")
    if mask_shifts and truth is None:
        raise OptionError("mask_shifts= needs truth=: without it nothing can be seen anew.")
    for what, size in {"drift": drift, "gradient_weight": gradient_weight}.items():
        if not 0 <= size < float("inf"):
            raise OptionError(f"{what}={size!r}: expected a number, zero or above.")
