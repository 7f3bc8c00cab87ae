"""Diffusion in time that smooths a temporal covariance, on dates of any spacing."""

from __future__ import annotations

import torch
from torch import Tensor

from xinverse.errors import DataError, OptionError

__all__ = ["days_of", "time_smoother"]


def time_smoother(
    time: Tensor | None, time_filter: tuple[float, int] | None, dates: Tensor
) -> Tensor | None:
    r"""Diffusion in time, ``(nt, nt)``: :math:`f \leftarrow f + \alpha \, \partial_t^2 f`.

    With no flux through the ends, on dates of any spacing.
    """
    if time_filter is None:
        return None
    alpha, steps = time_filter
    days = days_of(time, dates)[dates]
    gaps = days.diff()
    if not (alpha > 0 and steps >= 1):
        raise OptionError(
            f"time_filter={time_filter}: expected a positive number and a number of steps."
        )
    widest = float(gaps.min()) ** 2 / 2
    if alpha > widest:
        raise OptionError(
            f"time_filter={time_filter}: the filter is unstable above {widest:.3g}, half the "
            "square of the shortest time between two dates. Give a smaller number."
        )
    edges = torch.cat(
        [days[:1] - gaps[:1] / 2, (days[1:] + days[:-1]) / 2, days[-1:] + gaps[-1:] / 2]
    )
    smoother = torch.eye(len(days), dtype=torch.float64, device=days.device)
    for _ in range(steps):
        flux = torch.nn.functional.pad(
            alpha * smoother.diff(dim=0) / gaps[:, None], (0, 0, 1, 1)
        )
        smoother = smoother + flux.diff(dim=0) / edges.diff()[:, None]
    return smoother


def days_of(time: Tensor | None, dates: Tensor) -> Tensor:
    """Dates in float64, checked against the first axis of ``dates``."""
    if time is None or time.shape != dates.shape[:1]:
        raise OptionError(
            "time_filter= and smooth= expect time=, one number of days for each date."
        )
    days = time.to(torch.float64)
    if not bool((days.diff() > 0).all()):
        raise DataError("time: expected increasing dates, without repetition.")
    return days
