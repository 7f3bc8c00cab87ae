"""A call of a verb, checked once: the method with its options, and the common keywords."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xinverse.checks import (
    check_choice,
    check_count,
    check_number,
    check_switch,
    in_days,
    is_number,
)
from xinverse.device import check_device, require_device
from xinverse.errors import OptionError, UnknownNameError
from xinverse.fields.attributes import describe_call, history_line
from xinverse.methods.base import Method
from xinverse.methods.limits import Limit
from xinverse.methods.network_file import check_file
from xinverse.methods.problem import Wanted
from xinverse.methods.registry import find
from xinverse.methods.transforms import TRANSFORMS, log_level
from xinverse.options import get_option
from xinverse.weights import describe

__all__ = ["COMMON", "Call", "as_dataset"]

# Keywords that every verb shares; all others are the method's own.
COMMON = (
    "weights",
    "variables",
    "mask",
    "dims",
    "error",
    "members",
    "keep_observed",
    "tile",
    "device",
    "progress",
)


# Options in days, which may also be given as a duration.
DURATIONS = ("time_scale",)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a verb.

    Attributes
    ----------
    method : Method
        With its options and weights.
    companions : dict of str to DataArray
        Options that were given as variables, such as ``"noise"``.
    wanted : Wanted
        Error and members.
    variables, mask, dims, tile
        As in `xinverse.interpolate`.
    keep_observed, progress : bool
        Likewise.
    device : str
        Where tiles are solved.
    line : str
        What the history of the result says.
    limit : Limit, optional
        How far from the observations the maps reach.
    transform : str, optional
        ``"log"``, or None.
    """

    method: Method
    companions: Mapping[str, xr.DataArray]
    wanted: Wanted
    variables: str | Sequence[str] | None
    mask: Any
    dims: Mapping[str, Hashable] | None
    tile: Any
    keep_observed: bool
    progress: bool
    device: str
    line: str
    limit: Limit | None = None
    transform: str | None = None

    @classmethod
    def of(
        cls,
        verb: str,
        ds: xr.Dataset,
        method: str,
        options: Mapping[str, Any],
        *,
        weights: str | os.PathLike[str] | None = None,
        variables: str | Sequence[str] | None = None,
        mask: Any = None,
        dims: Mapping[str, Hashable] | None = None,
        error: bool = False,
        members: int | None = None,
        keep_observed: bool = False,
        tile: Any = "auto",
        device: str | None = None,
        progress: bool | None = None,
        max_distance: float | None = None,
        max_gap: float | None = None,
        transform: str | None = None,
        said: Mapping[str, Any] | None = None,
    ) -> Call:
        """Check the keywords that every verb shares, and make the method.

        Parameters
        ----------
        verb : str
            Its name, for the history.
        ds : Dataset
            Holds the variables that options name.
        method : str
            Name of the method.
        options : mapping
            The method's own.
        weights, variables, mask, dims, error, members, keep_observed, tile, device, progress
            As in `xinverse.interpolate`.
        max_distance, max_gap, transform
            Likewise.
        said : mapping, optional
            The verb's own keywords, for the history.

        Raises
        ------
        OptionError, UnknownNameError, WeightsError, DeviceError
            A keyword has a value that cannot be meant.
        """
        check_switch(error=error, keep_observed=keep_observed)
        if progress is not None:
            check_switch(progress=progress)
        if members is not None:
            check_count("members", members, what="a number of samples")
        device = check_device(get_option("device") if device is None else device)
        require_device(device)
        chosen = find(method)
        options = {n: in_days(v) if n in DURATIONS else v for n, v in options.items()}
        max_gap = in_days(max_gap)
        numbers, companions = _companions(chosen, options, ds)
        if chosen.learned:
            numbers["weights"] = describe(weights, chosen.name, check_file)
        elif weights is not None:
            raise OptionError(f"method={chosen.name!r} has no weights and takes no weights=.")
        if transform is not None:
            check_choice("transform", transform, TRANSFORMS)
            if is_number(numbers.get("background")):
                check_number("background", numbers["background"], above=0)
                numbers["background"] = log_level(numbers["background"])
        made = chosen.made(numbers, COMMON)
        for on, what in ((error, "error"), (members, "members")):
            if on and what not in chosen.gives:
                raise OptionError(
                    f"method={method!r} gives no {what}. method='oi' does; "
                    "xinverse.methods() lists what each gives."
                )
        limit = Limit(max_distance, max_gap)
        line = describe_call(
            verb,
            method=method,
            weights=weights,
            variables=variables,
            mask=mask,
            **{"background": options.get("background"), **(said or {})},
            error=error or None,
            members=members,
            keep_observed=keep_observed or None,
            max_distance=max_distance,
            max_gap=max_gap,
            transform=transform,
            tile=None if isinstance(tile, str) else tile,
            **{name: value for name, value in options.items() if name != "background"},
        )
        return cls(
            method=made,
            companions=companions,
            wanted=Wanted(bool(error), int(members or 0)),
            variables=variables,
            mask=mask,
            dims=dims,
            tile=tile,
            keep_observed=bool(keep_observed),
            progress=get_option("progress") if progress is None else bool(progress),
            device=device,
            line=history_line(line),
            limit=None if limit == Limit() else limit,
            transform=transform,
        )

    @classmethod
    def split(
        cls,
        verb: str,
        ds: xr.Dataset,
        method: str,
        keywords: Mapping[str, Any],
        said: Mapping[str, Any] | None = None,
    ) -> Call:
        """As `of`, from common keywords and options in one mapping.

        Parameters
        ----------
        verb, ds, method, said
            As `of`.
        keywords : mapping
            Both kinds.
        """
        common = {name: value for name, value in keywords.items() if name in COMMON}
        options = {name: value for name, value in keywords.items() if name not in COMMON}
        return cls.of(verb, ds, method, options, **common, said=said)


def as_dataset(obj: xr.Dataset | xr.DataArray, verb: str) -> xr.Dataset:
    """The object as a dataset, under whose names masks and options are looked up.

    Parameters
    ----------
    obj : Dataset or DataArray
        What a verb acts on.
    verb : str
        Its name, for the error.

    Raises
    ------
    OptionError
        Anything else.
    """
    if isinstance(obj, xr.Dataset):
        return obj
    if isinstance(obj, xr.DataArray):
        return obj.coords.to_dataset()
    if isinstance(obj, xr.DataTree):
        raise OptionError(
            f"Got a DataTree to {verb}; an xarray Dataset or DataArray is expected. Take its "
            f"nodes one by one: tree.map_over_datasets(lambda ds: ds.inverse.{verb}(...) if "
            f"ds.data_vars else ds), or a node: tree['group'].to_dataset()."
        )
    raise OptionError(
        f"Got a {type(obj).__name__} to {verb}; an xarray Dataset or DataArray is expected. "
        "Label an array first: xr.DataArray(values, dims=..., coords=...)."
    )


def _companions(
    method: type[Method], options: Mapping[str, Any], ds: xr.Dataset
) -> tuple[dict[str, Any], dict[str, xr.DataArray]]:
    """Options that are numbers, and those that are variables."""
    numbers: dict[str, Any] = {}
    variables: dict[str, xr.DataArray] = {}
    for name, given in options.items():
        if isinstance(given, str) and given in method.words.get(name, ()):
            numbers[name] = given
            continue
        value = _named(given, ds) if name in method.companions else given
        if isinstance(value, xr.DataArray):
            if name not in method.companions:
                raise OptionError(
                    f"{name} is a variable, and method={method.name!r} expects a number there. "
                    f"It takes a variable as {', '.join(method.companions)}."
                )
            variables[name] = value
        elif isinstance(value, np.ndarray) and value.ndim and name != "correlation":
            raise OptionError(
                f"{name} is an array without labels. Give a number, or an xarray.DataArray "
                "on the dimensions of the field."
            )
        elif name in method.companions and value is not None and not is_number(value):
            raise OptionError(
                f"{name}={value!r}: expected a finite number, an xarray.DataArray, or the name "
                "of a variable of the dataset."
            )
        else:
            numbers[name] = value
    return numbers, variables


def _named(value: Any, ds: xr.Dataset) -> Any:
    """The variable of that name, if a name was given."""
    if not isinstance(value, str):
        return value
    if value not in ds.variables:
        known = [name for name in ds.variables if isinstance(name, str)]
        raise UnknownNameError("variable", value, known)
    return ds[value]
