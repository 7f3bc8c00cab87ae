"""What a network learns from: truth, observations and backgrounds that belong together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from xinverse.checks import check_count, check_number
from xinverse.errors import OptionError
from xinverse.fields.seam import joined_together

__all__ = ["Fields", "TrainingFields"]

Fields = xr.DataArray | Sequence[xr.DataArray]


@dataclass(frozen=True, eq=False, repr=False)
class TrainingFields:
    """Fields that `xinverse.train` learns from.

    All but the first three may also be passed to `xinverse.train` as keywords. Build one
    to train several networks on the same fields.

    Parameters
    ----------
    truth : DataArray or sequence of DataArray, optional
        Complete fields on (time, y, x), NaN on land, such as simulations. Each may have a
        grid of its own. Default: none, which trains on observations alone.
    observations : DataArray or sequence of DataArray
        The observations of each field, NaN in the gaps, on the same grid.
    background : DataArray or sequence of DataArray, optional
        The first guess of each field. Default: optimal interpolation of the observations,
        computed once and written to disk if the data are lazy.
    mask : DataArray or ndarray, optional
        True (or 1) in the sea, as for `xinverse.interpolate`.
    dims : mapping, optional
        Dimension names of ``"time"``, ``"y"`` and ``"x"``. Default: found from the labels.
    noise : float, DataArray or sequence of them, optional
        Standard deviation of the observation noise, as for ``method="oi"``: one number
        for all fields, or a number or a field like the observations for each.
    mask_shifts : int
        Number of times that each truth is used again, with the gaps and errors of its
        observations moved to other dates.
    withheld : float
        Share of the observations that self-supervised training withholds, in blocks of 3
        time steps and 12 x 12 cells.
    validation : float
        Share of each series, at its end, that is used for validation only.

    Raises
    ------
    OptionError
        A value is of the wrong type, or there are not as many of one as of the others.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> import xinverse
    >>> ssh = xr.DataArray(np.zeros((30, 8, 8)), dims=("time", "y", "x"))
    >>> xinverse.TrainingFields(ssh, ssh.where(ssh.y > 3), noise=0.02)
    <xinverse.TrainingFields: 1 field with truth; background: optimal interpolation>
    """

    truth: Fields | None = None
    observations: Fields | None = None
    _: KW_ONLY
    background: Fields | None = None
    mask: Any = None
    dims: Mapping[str, Hashable] | None = None
    noise: float | xr.DataArray | Sequence[float | xr.DataArray] | None = None
    mask_shifts: int = 0
    withheld: float = 0.2
    validation: float = 0.2

    def __post_init__(self) -> None:
        """Check every value, and turn fields and noise into tuples."""
        if self.observations is None:
            raise OptionError(
                "No observations were given. Pass observations=, the field with its gaps; "
                "xinverse.osse.observe makes them from a truth."
            )
        given = {name: getattr(self, name) for name in ("observations", "truth", "background")}
        listed_each = {n: _listed(n, g) for n, g in given.items() if g is not None}
        for name, value in joined_together({**listed_each, "mask": self.mask}).items():
            object.__setattr__(self, name, value)
        seen = listed_each["observations"]
        for what in ("truth", "background"):
            if what not in listed_each:
                continue
            listed = listed_each[what]
            if len(listed) != len(seen):
                raise OptionError(
                    f"{len(listed)} fields were given as {what} and {len(seen)} as "
                    "observations: give one for each."
                )
        noises: Any = self.noise
        if isinstance(noises, xr.DataArray):
            noises = noises if len(seen) == 1 else [noises]
        if not isinstance(noises, xr.DataArray) and np.ndim(noises):
            noise = tuple(n if isinstance(n, xr.DataArray) else float(n) for n in noises)
            if len(noise) != len(seen):
                raise OptionError(
                    f"{len(noise)} numbers were given as noise and {len(seen)} fields as "
                    "observations: give one for each, or one for all."
                )
            object.__setattr__(self, "noise", noise)
        check_number("withheld", self.withheld, above=0, below=1)
        check_number("validation", self.validation, least=0, below=1)
        check_count("mask_shifts", self.mask_shifts, least=0)
        if self.mask_shifts and self.truth is None:
            raise OptionError(
                "mask_shifts= needs truth=, from which the observations of other dates are "
                "made. Leave it out, or pass a truth."
            )

    def each(self) -> list[TrainingFields]:
        """Split into one object per field.

        Returns
        -------
        list of TrainingFields
            With one field and one noise each.
        """
        count = len(self.observations or ())
        noise = self.noise if isinstance(self.noise, tuple) else (self.noise,) * count
        return [
            replace(
                self,
                truth=None if self.truth is None else self.truth[k],
                observations=None if self.observations is None else self.observations[k],
                background=None if self.background is None else self.background[k],
                noise=noise[k],
            )
            for k in range(count)
        ]

    def __repr__(self) -> str:
        count = len(self.observations or ())
        truth = "without" if self.truth is None else "with"
        background = "optimal interpolation" if self.background is None else "given"
        return (
            f"<xinverse.TrainingFields: {count} field{'s' * (count != 1)} {truth} truth; "
            f"background: {background}>"
        )


def _listed(what: str, given: Fields) -> tuple[xr.DataArray, ...]:
    listed = (given,) if isinstance(given, xr.DataArray | xr.Dataset) else tuple(given)
    for field in listed:
        if not isinstance(field, xr.DataArray):
            raise OptionError(
                f"{what} holds a {type(field).__name__}. Expected a DataArray, such as "
                "ds['ssh'], or a list of them."
            )
    if not listed:
        raise OptionError(f"{what} is an empty list. Give at least one field.")
    return listed
