"""Every prior in a small case: one per registered name, and some in other settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from tensors import random
from torch import Tensor

from xinverse.dynamics import BilinearODE, Lorenz63
from xinverse.priors import (
    EOF,
    Autoencoder,
    CirculantGaussian,
    DynamicsPrior,
    GaussianPrior,
    KroneckerGaussian,
    Prior,
    Tikhonov,
    TotalVariation,
    TwoScale,
    UNet,
    White,
)


@dataclass
class PriorCase:
    """A prior and the shape of the states that it speaks of."""

    prior: Prior
    shape: tuple[int, ...]


def axes(shape: tuple[int, int, int], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Days, and kilometres 10 and 12 apart."""
    steps = zip(shape, (1.0, 10.0, 12.0), strict=True)
    return [step * torch.arange(n, dtype=dtype) for n, step in steps]


def kronecker(dtype: torch.dtype) -> PriorCase:
    prior = KroneckerGaussian(
        *axes((3, 4, 5), dtype), length_scale=25.0, time_scale=2.0, variance=2.0, nugget=1e-3
    )
    return PriorCase(prior, prior.shape)


def circulant(dtype: torch.dtype) -> PriorCase:
    prior = CirculantGaussian(
        *axes((3, 4, 5), dtype), length_scale=25.0, time_scale=2.0, variance=2.0, nugget=1e-3
    )
    return PriorCase(prior, prior.shape)


def two_scale(dtype: torch.dtype) -> PriorCase:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return PriorCase(TwoScale(3, hidden=4, depth=2).to(dtype), (3, 7, 8))


def white(dtype: torch.dtype) -> PriorCase:
    return PriorCase(White(), (3, 4))


def dynamics(dtype: torch.dtype) -> PriorCase:
    return PriorCase(DynamicsPrior(Lorenz63(), dt=0.002, substeps=2).to(dtype), (5, 3))


def learned_dynamics(dtype: torch.dtype) -> PriorCase:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return PriorCase(DynamicsPrior(BilinearODE(3, 4), dt=0.01).to(dtype), (4, 3))


def coast(*shape: int) -> Tensor:
    """Sea with an island, a lake of one cell, and land on an edge."""
    sea = torch.ones(shape, dtype=torch.bool)
    sea[..., 1, 1:4] = False
    sea[..., -1, :2] = False
    sea[..., 0, 0] = False
    sea[..., 0, 2] = True
    sea[..., 0, 1] = sea[..., 0, 3] = False
    return sea


def tikhonov(dtype: torch.dtype) -> PriorCase:
    return PriorCase(Tikhonov(spacing=(1.0, 2.0)), (3, 4, 5))


def masked_tikhonov(dtype: torch.dtype) -> PriorCase:
    prior = Tikhonov((-3, -2, -1), (0.5, 1.0, 2.0), (False, False, True), sea=coast(5, 6))
    return PriorCase(prior, (3, 5, 6))


# Float32 does not prove more.
EXACTLY = {torch.float32: 5e-3, torch.float64: 1e-6}


def total_variation(dtype: torch.dtype) -> PriorCase:
    prior = TotalVariation(spacing=(1.0, 2.0), iterations=3000, tolerance=EXACTLY[dtype])
    return PriorCase(prior, (2, 4, 5))


def masked_total_variation(dtype: torch.dtype) -> PriorCase:
    return PriorCase(
        TotalVariation(
            periodic=(False, True), sea=coast(5, 6), iterations=3000, tolerance=EXACTLY[dtype]
        ),
        (5, 6),
    )


def eof(dtype: torch.dtype) -> PriorCase:
    return PriorCase(EOF.fit(random((20, 3, 4), seed=5), modes=3).to(dtype), (3, 4))


def autoencoder(dtype: torch.dtype) -> PriorCase:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        return PriorCase(Autoencoder((3, 4), latent=2, hidden=(8, 5)).to(dtype), (3, 4))


def unet(dtype: torch.dtype) -> PriorCase:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return PriorCase(UNet(3, hidden=4).to(dtype), (3, 5, 6))


def unet_of_series(dtype: torch.dtype) -> PriorCase:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        prior = UNet(2, hidden=4, levels=1, rank=1, channel=2, periodic=[True], residual=False)
        return PriorCase(prior.to(dtype), (8, 2))


PRIOR_CASES: dict[str, Callable[[torch.dtype], PriorCase]] = {
    "gaussian-kronecker": kronecker,
    "gaussian-circulant": circulant,
    "two-scale": two_scale,
    "dynamics": dynamics,
    "tikhonov": tikhonov,
    "total-variation": total_variation,
    "eof": eof,
    "autoencoder": autoencoder,
    "unet": unet,
    "white": white,
}
# The same, in other settings.
MORE_CASES: dict[str, Callable[[torch.dtype], PriorCase]] = {
    "dynamics, learned": learned_dynamics,
    "tikhonov, masked": masked_tikhonov,
    "total-variation, masked": masked_total_variation,
    "unet of series": unet_of_series,
}
CASES = PRIOR_CASES | MORE_CASES
EACH = pytest.mark.parametrize("name", CASES)
QUADRATIC = (GaussianPrior, Tikhonov, EOF, White)


# Of proximal operators: one for each element of a batch.
STRENGTHS = torch.tensor([0.01, 0.3, 2.0, 40.0], dtype=torch.float64)


def ocean(samples: int = 40) -> Tensor:
    """States of four patterns of falling variance, and noise."""
    amplitudes = random((samples, 4), seed=11) * torch.tensor([8.0, 4.0, 2.0, 1.0])
    patterns = torch.linalg.qr(random((30, 4), seed=12))[0].T
    return (10 + amplitudes @ patterns + 0.05 * random((samples, 30), seed=13)).unflatten(
        1, (5, 6)
    )


def inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def sharp(prior: TotalVariation) -> Callable[[Tensor], Tensor]:
    """Total variation, not rounded off."""
    return lambda x: prior.differences(x).square().sum(1).sqrt().flatten(1).sum(1)
