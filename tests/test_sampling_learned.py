"""The learned mask: its gradient against finite differences, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_sampling import SCALES, sea

from xinverse.errors import OptionError
from xinverse.sampling.sampler import LearnedScales, reconstruct, temperature, top_k_mask


def case():
    rng = np.random.default_rng(3)
    points = np.column_stack([np.repeat([0.0, 1.0], 12), rng.uniform(0, 300, (24, 2))])
    at = torch.as_tensor(points)
    x = torch.as_tensor(rng.standard_normal((4, 24)))
    lag = torch.cdist(at[:, 1:], at[:, 1:])
    root = torch.linalg.cholesky(torch.exp(-((lag / 100) ** 2)) + 0.01 * torch.eye(24))
    x = x @ root.T
    y = x + 0.1 * torch.as_tensor(rng.standard_normal((4, 24)))
    sigma = torch.as_tensor(rng.uniform(0.5, 1.5, 24))
    return at, x, y, sigma


def relaxed_loss(weights: np.ndarray) -> float:
    """The loss with the precision m / r in each cell, by dense matrices."""
    at, x, y, sigma = case()
    lag = torch.cdist(at[:, 1:], at[:, 1:])
    days = (at[:, None, 0] - at[:, 0]).abs()
    b = sigma[:, None] * torch.exp(-((lag / 100) ** 2) - (days / 5) ** 2) * sigma
    precision = torch.as_tensor(weights / 0.3**2)
    system = torch.eye(24) + b * precision
    mean = torch.linalg.solve(system, b @ (precision[:, None] * y.T)).T
    return float((mean - x).square().mean())


def test_the_gradient_of_the_mask_agrees_with_finite_differences():
    at, x, y, sigma = case()
    hard = np.zeros(24)
    hard[[2, 7, 15, 20]] = 1.0
    mask = torch.as_tensor(hard.copy()).requires_grad_()
    scales = LearnedScales(100.0, 5.0, 0.3)
    found = reconstruct(y, mask, at, sigma, scales(), ("gaussian", "gaussian"))
    loss = (found - x).square().mean()
    loss.backward()
    np.testing.assert_allclose(float(loss.detach()), relaxed_loss(hard), rtol=1e-9)
    gradient = mask.grad.numpy()
    assert (gradient != 0).all()  # of cells that are not observed, too
    step = 1e-6
    for cell in range(24):
        more, less = hard.copy(), hard.copy()
        more[cell] += step
        less[cell] -= step
        difference = (relaxed_loss(more) - relaxed_loss(less)) / (2 * step)
        np.testing.assert_allclose(gradient[cell], difference, rtol=1e-4, atol=1e-8)
    assert scales.logs.grad is not None
    assert bool((scales.logs.grad != 0).all())


def test_the_gradient_of_the_logits_agrees_in_sign_with_finite_differences():
    """Through the relaxed mask of a draw: the straight-through derivative is its sigmoid's."""
    at, x, y, sigma = case()
    rng = np.random.default_rng(0)
    theta = torch.as_tensor(rng.standard_normal((1, 24))).requires_grad_()
    noise = torch.as_tensor(rng.gumbel(size=(1, 24)))
    mask = top_k_mask(theta, 4, 0.5, noise)
    assert float(mask.detach().sum()) == pytest.approx(4)
    scales = LearnedScales(100.0, 5.0, 0.3)()
    found = reconstruct(y, mask.reshape(-1), at, sigma, scales, ("gaussian", "gaussian"))
    (found - x).square().mean().backward()
    gradient = theta.grad.numpy().reshape(-1)
    assert (gradient != 0).all()
    hard = mask.detach().numpy().reshape(-1).round()
    for cell in range(24):  # a larger logit observes a cell more
        more, less = hard.copy(), hard.copy()
        more[cell] += 1e-6
        less[cell] -= 1e-6
        assert np.sign(gradient[cell]) == np.sign(relaxed_loss(more) - relaxed_loss(less))


def test_the_temperature_falls():
    assert temperature(0.0) == pytest.approx(3.2)
    assert temperature(1.0) == pytest.approx(0.2 + 3 * np.exp(-2.5))


def test_it_finds_the_part_of_the_sea_that_varies():
    rng = np.random.default_rng(1)
    field = sea(nt=60, ny=6, nx=10)
    field = field.copy(data=rng.standard_normal(field.shape)).where(field.notnull())
    field[..., :5] *= 0.05
    options = {**SCALES, "energy": "uniform", "noise": 0.05}
    # The prior says nothing of the energy: what is learned comes from the maps.
    plain = field.inverse.design_sampling(budget=6, placement="fixed", **options)
    learned = field.inverse.design_sampling(
        budget=6, method="learned", steps=150, rate=0.2, **options
    )
    assert int(learned.sampling.sum()) == 6
    assert int(learned.sampling[:, 5:].sum()) > int(plain.sampling[:, 5:].sum())


def test_the_same_seed_gives_the_same_design():
    field = sea(nt=20, ny=5, nx=6)
    first, again = (
        field.inverse.design_sampling(budget=3, method="learned", steps=5, **SCALES)
        for _ in range(2)
    )
    assert bool((first.sampling == again.sampling).all())


def test_what_it_cannot_do_is_an_error(monkeypatch):
    field = sea(nt=30)
    with pytest.raises(OptionError, match="does not take existing="):
        field.inverse.design_sampling(
            budget=2, method="learned", existing=field > 0.2, placement="daily", **SCALES
        )
    monkeypatch.setattr("xinverse.sampling.learned.MOST_CELLS", 900)
    with pytest.raises(OptionError, match="a window has 930 cells, 30 more than it can"):
        field.inverse.design_sampling(budget=2, method="learned", **SCALES)
