"""Empirical orthogonal functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prior_cases import ocean
from tensors import BOTH, random

from xinverse.priors import EOF


def test_modes_are_eigenvectors_of_the_covariance():
    states = ocean()
    prior = EOF.fit(states, modes=4)
    flat = states.flatten(1)
    torch.testing.assert_close(prior.mean, flat.mean(0))
    covariance = torch.cov(flat.T)
    torch.testing.assert_close(
        prior.modes @ covariance, prior.variance[:, None] * prior.modes, rtol=0, atol=1e-9
    )
    torch.testing.assert_close(prior.modes @ prior.modes.T, torch.eye(4).to(flat))
    torch.testing.assert_close(prior.variance, torch.linalg.eigvalsh(covariance).flip(0)[:4])
    # The amplitudes are uncorrelated, each with the variance of its mode.
    scores = torch.cov(prior.scores(states).T)
    torch.testing.assert_close(scores, prior.variance.diag(), rtol=0, atol=1e-9)


def test_modes_equal_those_of_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    states = ocean()
    flat = states.flatten(1).numpy()
    pca = decomposition.PCA(3, svd_solver="full").fit(flat)
    prior = EOF.fit(states, modes=3)
    sign = np.sign((pca.components_ * prior.modes.numpy()).sum(1))
    near = {"rtol": 0, "atol": 1e-10}
    np.testing.assert_allclose(prior.modes, sign[:, None] * pca.components_, **near)
    np.testing.assert_allclose(prior.variance, pca.explained_variance_, rtol=1e-10)
    np.testing.assert_allclose(prior.scores(states), sign * pca.transform(flat), **near)
    again = pca.inverse_transform(pca.transform(flat))
    np.testing.assert_allclose(prior.project(states).flatten(1), again, **near)


@BOTH
def test_a_projection_on_modes_is_a_projection(dtype):
    """Twice is once, what is left out is orthogonal, and the modes' own states cost nothing."""
    prior = EOF.fit(ocean(), modes=3).to(dtype)
    x = 10 + random((4, 5, 6), dtype)
    once = prior.project(x)
    near = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(prior.project(once), once, rtol=0, atol=near)
    assert prior.scores(x - once + prior.mean.unflatten(0, (5, 6))).abs().max() < near
    some = prior.mean + random((6, 3), dtype, seed=2) @ prior.modes
    assert prior.cost(some.unflatten(1, (5, 6))).max() < near
    torch.testing.assert_close(prior.prox(once, 50.0), once, rtol=0, atol=near)


def test_a_fit_leaves_out_the_variance_of_the_modes_that_it_drops():
    states = ocean()
    whole = EOF.fit(states, modes=30).variance
    for modes in (1, 2, 5):
        left = EOF.fit(states, modes=modes).cost(states).sum() / (len(states) - 1)
        torch.testing.assert_close(left, whole[modes:].sum())


def test_as_many_modes_as_explain_a_share_of_the_variance():
    states = ocean()
    whole = EOF.fit(states, modes=30).variance
    share = (whole.cumsum(0) / whole.sum()).tolist()
    assert len(EOF.fit(states, explained=share[0] - 1e-9).modes) == 1
    assert len(EOF.fit(states, explained=share[0] + 1e-9).modes) == 2
    assert len(EOF.fit(states, explained=0.999).modes) == 4
    assert len(EOF.fit(states, explained=1.0).modes) >= 29
    # Fewer states than numbers: as many modes as states, less the mean.
    few = EOF.fit(states[:6], explained=1.0)
    assert len(few.modes) <= 5
    assert few.cost(states[:6]).max() < 1e-20


def test_refits_agree():
    """Whatever the order of the states, and their sign about the mean."""
    states = ocean()
    first = EOF.fit(states, modes=4)
    assert (first.modes.gather(1, first.modes.abs().argmax(1, keepdim=True)) > 0).all()
    mirrored = 2 * states.mean(0) - states
    for other in (states.flip(0), states[random((40,)).argsort()], mirrored):
        torch.testing.assert_close(EOF.fit(other, modes=4).modes, first.modes)
    low = EOF.fit(states.float(), modes=4)
    assert low.modes.dtype == torch.float32
    torch.testing.assert_close(low.modes.double(), first.modes, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ({}, "either modes=, a number, or explained="),
        ({"modes": 2, "explained": 0.9}, "either modes=, a number, or explained="),
        ({"modes": 0}, "modes=0: 40 states of 30 numbers have 1 to 30"),
        ({"modes": 31}, "modes=31: 40 states of 30 numbers have 1 to 30"),
        ({"explained": 0.0}, "explained=0.0.*share above 0"),
        ({"explained": 1.5}, "explained=1.5.*up to 1"),
    ],
)
def test_a_fit_that_cannot_be_is_an_error(keywords, match):
    with pytest.raises(ValueError, match=match):
        EOF.fit(ocean(), **keywords)


def test_modes_of_other_states_are_errors():
    with pytest.raises(ValueError, match="missing or infinite values: fill them first"):
        EOF.fit(torch.tensor([[1.0, float("nan")], [0.0, 1.0]]), modes=1)
    with pytest.raises(ValueError, match="two states or more"):
        EOF.fit(torch.zeros(1, 4), explained=0.9)
    with pytest.raises(
        ValueError, match=r"\(4, 6\), 24 numbers: these modes are of states of 30"
    ):
        EOF.fit(ocean(), modes=2).project(torch.zeros(1, 4, 6, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"expected \(n,\), \(k, n\) and \(k,\)"):
        EOF(torch.zeros(4), torch.zeros(2, 5), torch.zeros(2))
