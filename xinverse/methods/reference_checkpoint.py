"""From a checkpoint of the reference 4DVarNet code to a network and its card."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xinverse.errors import OptionError, WeightsError
from xinverse.weights import ModelCard
from xinverse.weights.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from xinverse.learning.networks import ReferenceFourDVarNet

__all__ = ["read_reference", "reference_state"]

# Where the reference's modules are here.
PLACES = {
    "prior_cost.": "cost.prior.",
    "grad_mod.gates.": "solver.cell.gates.",
    "grad_mod.conv_out.": "solver.conv_out.",
}
ANCHOR = "prior_cost.conv_in.weight"
OPTIONS = ("n_step", "lr_grad", "lbd", "bilin_quad", "downsamp", "solver_downsamp")
NEEDED = ("variables", "units", "grid_spacing_km", "normalisation")
SMALLEST_WEIGHT = 1e-6  # of a day, so that the first and the last are filled too


def read_reference(
    path: str | os.PathLike[str],
    *,
    variables: Sequence[str] | None,
    units: str | None,
    grid_spacing_km: Sequence[float] | None,
    normalisation: Sequence[float] | None,
    time_step_days: float | None,
    patch: Sequence[int] | None,
    network: Mapping[str, Any] | None,
    name: str | None,
) -> tuple[ReferenceFourDVarNet, ModelCard]:
    """Read a checkpoint of the reference 4DVarNet code.

    Parameters
    ----------
    path : path-like
        The checkpoint.
    variables, units, grid_spacing_km, time_step_days, name
        As the entries of `xinverse.weights.ModelCard`.
    normalisation : (float, float)
        Mean and standard deviation of the training's target, in ``units``.
    patch : (int, int), optional
        Cells of a patch along (y, x), where the checkpoint holds no ``rec_weight``.
    network : mapping, optional
        What tensors do not show, by the reference's names: ``n_step``,
        ``lr_grad``, ``lbd``, ``bilin_quad``, ``downsamp``, ``solver_downsamp``.

    Returns
    -------
    (ReferenceFourDVarNet, ModelCard)

    Raises
    ------
    WeightsError
        The file is no such checkpoint.
    OptionError
        Something needed was not given, or is of the wrong kind.
    """
    given = dict(zip(NEEDED, (variables, units, grid_spacing_km, normalisation), strict=True))
    missing = [what for what, value in given.items() if value is None]
    if missing:
        raise OptionError(
            f"{str(path)!r} is a checkpoint of another program, which does not say what it was "
            f"trained for. Give {', '.join(f'{what}=' for what in missing)} too; see "
            "xinverse.load_model."
        )
    mean, std = _pair("normalisation", normalisation)
    if not std > 0:
        raise OptionError(f"normalisation={normalisation!r}: expected a deviation above 0.")
    unknown = sorted(set(network or {}) - set(OPTIONS))
    if unknown:
        raise OptionError(
            f"network= has {', '.join(map(repr, unknown))}; what it may say of a checkpoint is "
            f"{', '.join(map(repr, OPTIONS))}. The sizes are those of its tensors."
        )
    tensors = read_checkpoint(path)
    state = reference_state(tensors, path)
    sides, border, days = _patches(tensors.get("rec_weight"), patch, path)
    window = state["cost.prior.conv_in.weight"].shape[1:2]
    if days is not None and window != (len(days),):
        raise WeightsError(
            f"{os.fspath(path)!r}: its 'rec_weight' has {len(days)} days, and its convolutions "
            f"take {list(window)}; expected as many. Leave 'rec_weight' out and give patch=."
        )
    net = _build(state, {**(network or {}), "patch": sides, "time_weights": days}, path)
    card = ModelCard(
        name=name or Path(path).stem,
        method="4dvarnet-reference",
        summary="4DVarNet, a checkpoint of the reference code",
        variables=cast("tuple[str, ...]", variables),  # the card refuses what they are not
        units=cast(str, units),
        grid_spacing_km=cast("tuple[float, float]", grid_spacing_km),
        time_step_days=1.0 if time_step_days is None else time_step_days,
        window=net.window,
        training=f"by the reference code; {', '.join(f'{k}={net.config[k]}' for k in OPTIONS)}",
        command=f"xinverse.load_model({Path(path).name!r}, ...)",
        config={
            **net.config,
            "normalisation": {"mean": mean, "std": std},
            "border": border,
        },
    )
    return net.eval().requires_grad_(False), card


def reference_state(
    tensors: Mapping[str, Tensor], path: str | os.PathLike[str]
) -> dict[str, Tensor]:
    """Tensors of the reference's solver, by the names that they have here.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        A state_dict of its solver, or of what holds the solver, under any prefix.
    path : path-like
        The file, for errors.

    Raises
    ------
    WeightsError
        They are another network's.
    """
    from xinverse.learning.networks import ReferenceFourDVarNet

    inside = ReferenceFourDVarNet(1, 1, 1).state_dict()
    back = {new: old for old, new in PLACES.items()}
    expected = {
        outer: key
        for key in inside
        for new, old in back.items()
        if key.startswith(new)
        for outer in [old + key.removeprefix(new)]
    }
    prefixes = [key.removesuffix(ANCHOR) for key in tensors if key.endswith(ANCHOR)]
    if len(prefixes) != 1:
        found = ", ".join(map(repr, list(tensors)[:6]))
        raise WeightsError(
            f"{os.fspath(path)!r} holds {len(prefixes) or 'no'} networks of the reference "
            f"4DVarNet code: expected one key that ends in {ANCHOR!r}, found {found} and so on "
            f"({len(tensors)} keys). Other networks are read with their own code."
        )
    prefix = prefixes[0]
    ours = {
        key.removeprefix(prefix): value
        for key, value in tensors.items()
        if key.startswith((f"{prefix}prior_cost.", f"{prefix}grad_mod.", f"{prefix}obs_cost."))
    }
    missing, more = sorted(set(expected) - set(ours)), sorted(set(ours) - set(expected))
    if missing or more:
        raise WeightsError(
            f"{os.fspath(path)!r} is of another architecture than the reference 4DVarNet: "
            f"missing {missing or 'none'}, beyond it {more or 'none'}. Expected "
            f"{len(expected)} tensors, from {min(expected)!r} to {max(expected)!r}."
        )
    return {expected[outer]: value for outer, value in ours.items()}


def _build(
    state: Mapping[str, Tensor], options: Mapping[str, Any], path: str | os.PathLike[str]
) -> ReferenceFourDVarNet:
    """The network whose sizes are those of the tensors."""
    import torch

    from xinverse.learning.networks import ReferenceFourDVarNet

    enter, leave = state["cost.prior.conv_in.weight"], state["solver.conv_out.weight"]
    name = os.fspath(path)
    if (enter.ndim, leave.ndim) != (4, 4):
        raise WeightsError(
            f"{name!r}: the tensors of its convolutions have {enter.ndim} and {leave.ndim} "
            "axes; expected four."
        )
    sizes: dict[str, Any] = {
        "window": enter.shape[1],
        "prior_hidden": enter.shape[0],
        "solver_hidden": leave.shape[1],
    }
    try:
        for key, size in sizes.items():
            ReferenceFourDVarNet.options.keys[key].check(key, size)
    except ValueError as error:
        raise WeightsError(f"{name!r}, sizes of its convolutions: {error}") from error
    try:
        with torch.device("meta"):  # without memory, since sizes may be those of one tensor
            shapes = ReferenceFourDVarNet(**sizes, **options).state_dict()
    except ValueError as error:
        raise OptionError(f"network=: {error}") from error
    for key, value in state.items():
        if value.shape != shapes[key].shape or not value.is_floating_point():
            raise WeightsError(
                f"{name!r}: its tensors are not those of the reference 4DVarNet with 3 x 3 "
                f"convolutions. {key!r} is {value.dtype} of shape {tuple(value.shape)}; "
                f"expected floats of shape {tuple(shapes[key].shape)}."
            )
        if not value.isfinite().all():
            raise WeightsError(f"{name!r}: {key!r} holds values that are not finite.")
    net = ReferenceFourDVarNet(**sizes, **options)
    net.load_state_dict({"cost.log_weights": net.cost.log_weights, **state})
    return net


def _patches(
    weight: Tensor | None, patch: Sequence[int] | None, path: str | os.PathLike[str]
) -> tuple[list[int], list[int], list[float] | None]:
    """Sides of a patch, its border without weight, and the weights of its days."""
    if weight is None:
        if patch is None:
            raise OptionError(
                f"{os.fspath(path)!r} holds no 'rec_weight', which tells the size of the "
                "patches that it was trained on. Give patch=(cells along y, cells along x)."
            )
        sides = [int(side) for side in _pair("patch", patch)]
        if min(sides) < 1 or sides != list(patch):
            raise OptionError(f"patch={patch!r}: expected whole cells along y and x, above 0.")
        return sides, [side // 10 for side in sides], None
    counted = weight > 0 if weight.is_floating_point() else weight.new_zeros(())
    if weight.ndim != 3 or not counted.any() or not weight.isfinite().all():
        raise WeightsError(
            f"{os.fspath(path)!r}: its 'rec_weight' is of shape {tuple(weight.shape)}, with "
            f"{int(counted.sum())} weights above 0; expected some, finite, on (time, y, x). "
            "Leave it out and give patch=."
        )
    if patch is not None and list(patch) != list(weight.shape[1:]):
        raise OptionError(
            f"patch={patch!r}: the patches of its training are {tuple(weight.shape[1:])}. "
            "Leave it out."
        )
    border = []
    for axis in (1, 2):
        along = counted.any(2 if axis == 1 else 1).any(0).nonzero()
        first, last = int(along.min()), int(along.max())
        border.append(min(first, weight.shape[axis] - 1 - last))
    days = weight.amax((1, 2)).double()
    days = (days / days.max()).clamp(min=SMALLEST_WEIGHT)
    return list(weight.shape[1:]), border, days.tolist()


def _pair(what: str, given: Sequence[float] | None) -> tuple[float, float]:
    """Two finite numbers."""
    values: Any = given
    right = isinstance(values, list | tuple) and len(values) == 2
    if not right or not all(
        isinstance(v, int | float) and not isinstance(v, bool) and isfinite(v) for v in values
    ):
        raise OptionError(f"{what}={given!r}: expected two numbers.")
    return values[0], values[1]
