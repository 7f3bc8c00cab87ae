"""A map with its predicted error or members, beside the values that it is scored against."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xinverse.checks import check_choice, check_number, is_number
from xinverse.errors import DataError, OptionError
from xinverse.fields.alignment import comparable, variable_of
from xinverse.fields.axes import find_axes
from xinverse.fields.grid import make_grid
from xinverse.fields.values import in_units_of, unpacked
from xinverse.points.from_maps import interpolate
from xinverse.points.pairs import pair
from xinverse.scores.distributions import crps_ensemble, crps_gaussian, pit_gaussian, ranks

__all__ = ["Predicted", "predicted", "with_companions"]

Floats = NDArray[np.float64]

KINDS = ("error", "members")


@dataclass(frozen=True, eq=False)
class Predicted:
    """Numbers of the cells or points that are scored; NaN elsewhere.

    Parameters
    ----------
    analysis, truth, noise : DataArray
        On the dimensions of the truth, or along points. The noise is that of the truth.
    error : DataArray or None
        Predicted standard deviation of the analysis.
    members : ndarray or None
        Of shape (members, ...).
    seed : int
        Of the noise that is added to members.
    """

    analysis: xr.DataArray
    truth: xr.DataArray
    noise: xr.DataArray
    error: xr.DataArray | None
    members: Floats | None
    seed: int

    def kind(self, use: str | None) -> str:
        """``"error"`` or ``"members"``: what is scored, the error by default."""
        if use is None:
            return "members" if self.error is None else "error"
        check_choice("use", use, KINDS)
        if getattr(self, use) is None:
            other = "members" if use == "error" else "error"
            raise OptionError(
                f"use={use!r}, and the result has no {use}. Compute it with {use}=..., or give "
                f"use={other!r}."
            )
        return use

    @property
    def wrong(self) -> xr.DataArray:
        """Analysis minus truth."""
        return self.analysis - self.truth

    def deviation(self, kind: str) -> xr.DataArray:
        """Predicted standard deviation of analysis minus truth, the noise included."""
        if kind == "error" and self.error is not None:
            variance = self.error**2
        else:
            variance = self.truth.copy(data=np.var(self._members(), axis=0, ddof=1))
        return (variance + self.noise**2) ** 0.5

    def crps(self, kind: str, *, fair: bool = True) -> xr.DataArray:
        """CRPS of each cell."""
        y = self.truth.to_numpy()
        if kind == "error":
            deviation = self.deviation(kind).to_numpy()
            values = crps_gaussian(self.analysis.to_numpy(), deviation, y)
        else:
            values = crps_ensemble(self.noisy_members(), y, fair=fair)
        return self.truth.copy(data=values)

    def pit(self, kind: str) -> xr.DataArray:
        """Probability integral transform of each cell: uniform in [0, 1] if right.

        Of members, (rank + u) / (members + 1) with u uniform, which is uniform for any number
        of members (Brocker and Smith 2007).
        """
        y = self.truth.to_numpy()
        if kind == "error":
            deviation = self.deviation(kind).to_numpy()
            return self.truth.copy(data=pit_gaussian(self.analysis.to_numpy(), deviation, y))
        number, random = len(self._members()), np.random.default_rng([self.seed, 2])
        position = (self.ranks() + random.random(y.shape)) / (number + 1)
        return self.truth.copy(data=np.where(np.isfinite(y), position, np.nan))

    def ranks(self) -> NDArray[np.int64]:
        """Rank of the truth among the members, of each cell."""
        random = np.random.default_rng([self.seed, 1])
        return ranks(
            self.noisy_members(), self.truth.to_numpy(), random.random(self.truth.shape)
        )

    def noisy_members(self) -> Floats:
        """Members as the truth sees them: with its noise (Saetra and others 2004)."""
        members, noise = self._members(), self.noise.to_numpy()
        if not (noise > 0).any():
            return members
        random = np.random.default_rng([self.seed, 0])
        return members + noise * random.standard_normal(members.shape)

    def _members(self) -> Floats:
        if self.members is None:
            raise OptionError(
                "The result has no members. Compute them first: interpolate(..., members=20)."
            )
        return self.members


def predicted(
    result: xr.Dataset,
    truth: xr.DataArray | xr.Dataset,
    *,
    noise: Any = None,
    variable: Hashable | None = None,
    seed: int = 0,
    mask: Any = None,
    dims: Mapping[str, Hashable] | None = None,
) -> Predicted:
    """Load a result and what it is scored against, and check them.

    Parameters
    ----------
    result : Dataset
        With the map, and its ``<name>_error`` or ``<name>_members`` or both.
    truth : DataArray or Dataset
        A map on the same coordinates, NaN where nothing is to be scored; or points, as in
        `xinverse.scores.along_track`.
    noise : float, DataArray or str, optional
        Standard deviation of the noise of the truth; of points, also the name of one of their
        variables. Default: none.
    variable : hashable, optional
        Of points, the variable to score against. Default: the only one of floats.
    seed : int
        Of the noise that is added to members.
    mask, dims : optional
        As in `xinverse.scores.along_track`.

    Raises
    ------
    OptionError
        `result` is not a Dataset, has no error or members, or `noise` is no number.
    GridError, AxesError, UnitsError, MaskError, DataError
        As in `xinverse.scores.rmse` and `xinverse.scores.along_track`; or the error is not
        finite and above zero, or there are fewer than two members.
    """
    if not isinstance(result, xr.Dataset):
        raise OptionError(
            f"The result is a {type(result).__name__}. Expected a Dataset with the map and its "
            "error or members, such as ssh.inverse.interpolate(error=True)."
        )
    if isinstance(truth, xr.Dataset):
        found = _at_points(result, truth, noise, variable, mask, dims)
    elif isinstance(truth, xr.DataArray):
        found = _on_the_grid(result, truth, noise)
    else:
        raise OptionError(
            f"The truth is a {type(truth).__name__}. Expected a DataArray on the grid of the "
            "result, or a Dataset of points."
        )
    analysis, wanted, spread, error, members = found
    _check_predicted(wanted, error, members, spread)
    return Predicted(analysis, wanted, spread, error, members, seed)


Loaded = tuple[xr.DataArray, xr.DataArray, xr.DataArray, xr.DataArray | None, Floats | None]


def _on_the_grid(result: xr.Dataset, truth: xr.DataArray, noise: Any) -> Loaded:
    import dask

    analysis, error, members = _parts(result, truth.name)
    if analysis is not None:
        analysis, _ = comparable(analysis, truth)
    if error is not None:
        comparable(error.drop_attrs(), truth)  # the same coordinates
        error = in_units_of(unpacked(error), truth, "error", deviation=True)
    if members is not None:
        comparable(members.isel(member=0, drop=True), truth)
        members = in_units_of(unpacked(members), truth, "members")
    truth = unpacked(truth)
    spread = _noise(noise)
    # Computed together, so that shared parts of the graphs are computed once.
    wanted, analysis, error, members = dask.compute(truth, analysis, error, members)
    wanted = wanted.astype(np.float64).drop_attrs()
    known = wanted.notnull()
    total = int(known.sum())
    if not total:
        raise DataError("The truth is NaN everywhere. Expected values where to score.")
    missing = int((known & ~np.isfinite(_placed(analysis, wanted))).sum())
    if missing:
        raise DataError(
            f"The analysis is missing or infinite at {missing} of the {total} cells with a "
            "truth. Gaps left unfilled would improve the scores: fill them, or set the truth "
            "to NaN there."
        )
    if isinstance(spread, str):
        raise OptionError(
            f"noise={spread!r} is a name, and the truth is a map. Give a number or a DataArray."
        )
    level = (wanted * 0 + spread).transpose(*wanted.dims)
    if level.shape != wanted.shape:
        raise OptionError(
            f"noise has the dimensions {spread.dims}, and the truth {wanted.dims}. Expected no "
            "others."
        )
    samples = None
    if members is not None:
        samples = members.transpose("member", *wanted.dims).to_numpy().astype(np.float64)
        samples = np.where(known.to_numpy(), samples, np.nan)
    return (
        _placed(analysis, wanted),
        wanted,
        level,
        None if error is None else _placed(error, wanted),
        samples,
    )


def _placed(values: xr.DataArray, wanted: xr.DataArray) -> xr.DataArray:
    """Values on the truth's coordinates, NaN where it is."""
    data = values.transpose(*wanted.dims).to_numpy().astype(np.float64)
    return wanted.copy(data=np.where(np.isfinite(wanted.to_numpy()), data, np.nan))


def _at_points(
    result: xr.Dataset,
    points: xr.Dataset,
    noise: Any,
    variable: Hashable | None,
    mask: Any,
    dims: Mapping[str, Hashable] | None,
) -> Loaded:
    fields = [name for name in result.data_vars if _has_companions(result, name)]
    if len(fields) != 1:
        raise OptionError(
            f"The result has {fields or 'no variable'} with an error or members. Expected one "
            "for points: select it first, such as result[['ssh', 'ssh_error']]."
        )
    analysis, error, members = _parts(result, fields[0])
    pairs = pair(analysis, points, variable, mask, dims)
    axes = find_axes(analysis, dims)
    grid, at = make_grid(analysis, axes), [pairs.days, pairs.y, pairs.x]

    def read(field: xr.DataArray) -> Floats:
        return interpolate(field, axes, grid, at, mask)[0]

    def along(values: Floats) -> xr.DataArray:
        return xr.DataArray(values, dims="point", name=analysis.name)

    spread = _noise(noise)
    if isinstance(spread, str):
        if spread not in points.data_vars:
            known = ", ".join(map(repr, points.data_vars))
            raise OptionError(
                f"noise={spread!r}: the points have no such variable, but {known}."
            )
        same = in_units_of(unpacked(points[spread]), analysis, "noise", deviation=True)
        points = points.assign({spread: same})
        level = pair(analysis, points, spread, mask, dims).truth
        if level.size != pairs.truth.size:
            raise DataError(
                f"The noise {spread!r} is known at {level.size} of the points that can be "
                f"scored, and the values at {pairs.truth.size}. Drop the points without either."
            )
    elif isinstance(spread, xr.DataArray):
        raise OptionError(
            "noise is a DataArray, and the truth is points. Give a number, or the name of a "
            "variable of the points."
        )
    else:
        level = np.full(pairs.truth.size, spread)
    spreads = None if error is None else along(read(error))
    samples = None
    if members is not None:
        each = [members.isel(member=k, drop=True) for k in range(members.sizes["member"])]
        samples = np.stack([read(one) for one in each])
    return along(pairs.maps), along(pairs.truth), along(level), spreads, samples


def with_companions(
    found: xr.DataArray | xr.Dataset, name: Hashable | None
) -> xr.Dataset | None:
    """The map with its error and members only, or None without either of them."""
    if not isinstance(found, xr.Dataset) or not _has_companions(found, name):
        return None
    kept = [one for one in (name, *(f"{name}_{kind}" for kind in KINDS)) if one in found]
    return found[kept]


def _has_companions(result: xr.Dataset, name: Hashable | None) -> bool:
    return any(f"{name}_{kind}" in result for kind in KINDS)


def _parts(
    result: xr.Dataset, name: Hashable | None
) -> tuple[xr.DataArray, xr.DataArray | None, xr.DataArray | None]:
    """The map, its error and its members, as the verbs name them."""
    name = "field" if name is None else name
    analysis = variable_of(result, name)
    if not _has_companions(result, name):
        raise OptionError(
            f"The result has neither {name}_error nor {name}_members. Compute one of them: "
            "interpolate(..., error=True), or members=20."
        )
    error, members = (result.get(f"{name}_{kind}") for kind in KINDS)
    if members is not None and members.sizes.get("member", 0) < 2:
        raise DataError(
            f"{name}_members has {members.sizes.get('member', 0)} members along 'member'. "
            "Expected two or more."
        )
    return analysis, error, members


def _noise(noise: Any) -> Any:
    """A noise that can be meant: a number, a variable, or a name."""
    if noise is None:
        return 0.0
    if is_number(noise):
        check_number("noise", noise, least=0)
        return float(noise)
    if isinstance(noise, xr.DataArray | str):
        return noise
    raise OptionError(
        f"noise={noise!r}: expected a standard deviation, 0 or more, a DataArray, or the name "
        "of a variable of the points."
    )


def _check_predicted(
    truth: xr.DataArray,
    error: xr.DataArray | None,
    members: Floats | None,
    noise: xr.DataArray,
) -> None:
    known = np.isfinite(truth.to_numpy())
    level = noise.to_numpy()[known]
    if not (np.isfinite(level) & (level >= 0)).all():
        raise DataError("The noise is negative, missing or infinite where there is a truth.")
    if error is not None:
        given = error.to_numpy()[known]
        bad = int((~np.isfinite(given) | (given < 0) | (given**2 + level**2 <= 0)).sum())
        if bad:
            raise DataError(
                f"The predicted error is missing, infinite, negative or zero at {bad} of the "
                f"{known.sum()} values that are scored. Expected a standard deviation above "
                "zero; give the noise of the truth if it is known."
            )
    if members is not None:
        bad = int((~np.isfinite(members[:, known])).any(axis=0).sum())
        if bad:
            raise DataError(
                f"Members are missing or infinite at {bad} of the {known.sum()} values that "
                "are scored."
            )
