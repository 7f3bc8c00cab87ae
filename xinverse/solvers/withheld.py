"""Observations to withhold for cross-validation: single values, or pieces of real gaps."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from xinverse.errors import DataError, OptionError

__all__ = ["withheld_points"]

# Clouds are cut into pieces, so that they lie on several dates.
PIECES = 20


def withheld_points(
    observed: Tensor,
    *,
    count: int | None = None,
    share: float | None = None,
    seed: int = 0,
    shape: Literal["points", "clouds"] = "points",
    sea: Tensor | None = None,
) -> Tensor:
    """Choose observations to withhold for cross-validation.

    Parameters
    ----------
    observed : Tensor
        Boolean, ``(nt, *cells)``; ``(nt, ny, nx)`` for clouds.
    count : int, optional
        How many, at most half of the observations. Default: the lesser of
        0.01 N + 40 and 0.03 N of N values, as DINEOF does, and at most a tenth of
        the observations.
    share : float, optional
        Instead of ``count``: a share of the observations.
    seed : int
        The same seed gives the same points.
    shape : {"points", "clouds"}
        Random observations, or pieces of the gaps of another date, shifted to a
        random place, so that what is withheld looks like real gaps.
    sea : Tensor, optional
        Boolean, ``(ny, nx)``: where a missing value is a gap. Default: cells that
        are observed at least once.

    Returns
    -------
    Tensor
        Boolean, of the shape of ``observed``.

    Raises
    ------
    DataError
        Too few observations, or no gaps to take clouds from.
    OptionError
        Both or wrong ``count`` and ``share``, or an unknown shape.
    """
    present = int(observed.sum())
    if count is not None and share is not None:
        raise OptionError("Give either count= or share= of the withheld points.")
    if share is not None:
        if not 0 < share <= 0.5:
            raise OptionError(f"share={share}: expected a number above 0, at most 0.5.")
        count = int(share * present)
    elif count is None:
        total = observed.numel()
        count = int(min(0.01 * total + 40, 0.03 * total, 0.1 * present))
    elif not 1 <= count <= present // 2:
        raise OptionError(
            f"count={count}: expected 1 or more, up to half of the {present} observations."
        )
    if count < 1:
        raise DataError(
            f"There are {present} observations: too few to withhold any for cross-validation."
        )
    generator = torch.Generator().manual_seed(seed)
    if shape == "points":
        places = observed.cpu().flatten().nonzero()[:, 0]
        chosen = places[torch.randperm(present, generator=generator)[:count]]
        held = torch.zeros(observed.numel(), dtype=torch.bool)
        held[chosen] = True
        return held.reshape(observed.shape).to(observed.device)
    if shape != "clouds":
        raise OptionError(f"shape={shape!r}: expected 'points' or 'clouds'.")
    if observed.ndim != 3:
        raise OptionError(
            f"shape='clouds': observed has {observed.ndim} dimensions, expected (nt, ny, nx). "
            "Use shape='points'."
        )
    return _clouds(observed.cpu(), sea, count, generator).to(observed.device)


def _clouds(
    observed: Tensor, sea: Tensor | None, count: int, generator: torch.Generator
) -> Tensor:
    """Pieces of shifted gaps, each within a circle; half of a date stays, at least."""
    sea = observed.any(0) if sea is None else sea.cpu()
    gaps = sea & ~observed
    if not bool(gaps.any()):
        raise DataError("The series has no gaps to take clouds from: use shape='points'.")
    _, ny, nx = observed.shape
    rows, columns = torch.meshgrid(torch.arange(ny), torch.arange(nx), indexing="ij")
    held = torch.zeros_like(observed)
    size = max(count // PIECES, 1)

    def draw(most: int) -> int:
        return int(torch.randint(most, (1,), generator=generator))

    cloudy, seen = (
        gaps.flatten(1).any(1).nonzero()[:, 0],
        observed.flatten(1).any(1).nonzero()[:, 0],
    )
    left, failed = count, 0
    while left > 0 and failed < 100 * PIECES:
        day = int(seen[draw(len(seen))])
        gap = gaps[int(cloudy[draw(len(cloudy))])].roll((draw(ny), draw(nx)), (0, 1))
        patch = gap & observed[day] & ~held[day]
        room = int(observed[day].sum()) // 2 - int(held[day].sum())
        wanted = min(size, left, room, int(patch.sum()))
        if wanted < 1:
            failed += 1
            continue
        places = patch.nonzero()
        centre = places[draw(len(places))]
        distance = (rows - centre[0]).square() + (columns - centre[1]).square()
        nearest = distance[patch].argsort(stable=True)[:wanted]
        held[day, places[nearest, 0], places[nearest, 1]] = True
        left -= wanted
    return held
