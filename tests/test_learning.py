"""Learning: the loss, the network, and a training that goes on where it was killed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from tensors import rounding
from torch import Tensor

from xinverse.learning.batch import Batch
from xinverse.learning.loop import Settings
from xinverse.learning.loop import train as train_any
from xinverse.learning.losses import background_loss, time_taper
from xinverse.learning.networks import FourDVarNet
from xinverse.learning.objectives import supervised

WINDOW, SIDE = 5, 16
train = partial(train_any, objective=supervised)


def network(steps: int = 3, seed: int = 0) -> FourDVarNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FourDVarNet(window=WINDOW, prior_hidden=4, solver_hidden=6, steps=steps)


def trained_like(steps: int = 3) -> FourDVarNet:
    """With random weights where an untrained network has zeros."""
    model = network(steps)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        model.solver.update.weight.normal_(std=0.1, generator=generator)
        model.solver.update.bias.normal_(std=0.1, generator=generator)
    return model


def batch_at(step: int, size: int = 4) -> Batch:
    """Travelling waves, a third of them observed, and a blurred and late background."""
    rng = np.random.default_rng((7, step))
    t, y, x = np.meshgrid(np.arange(WINDOW), np.arange(SIDE), np.arange(SIDE), indexing="ij")
    fields = []
    for _ in range(size):
        k, ell, phase = rng.uniform(0.3, 0.8, 3)
        fields.append(np.sqrt(2) * np.sin(k * x + ell * y - 0.4 * t + 6 * phase))
    truth = torch.from_numpy(np.stack(fields).astype("float32"))
    observed = torch.from_numpy(rng.random(truth.shape) < 0.3)
    y_observed = truth + 0.05 * torch.from_numpy(rng.standard_normal(truth.shape)).float()
    return Batch(0.5 * truth.roll(1, 3), y_observed, observed, truth)


# Loss ----------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 5, 6, 11])
def test_the_taper_is_a_triangle_that_never_vanishes(window):
    taper = time_taper(window)
    assert taper.shape == (window,)
    assert (taper > 0).all()
    torch.testing.assert_close(taper, taper.flip(0))
    assert taper.max() == taper[window // 2]
    if window > 2:
        steps = taper[: (window + 1) // 2].diff()
        torch.testing.assert_close(steps, torch.full_like(steps, 2 / (window + 1)))
    if window % 2:
        assert taper.max() == 1
    like = torch.zeros(2, dtype=torch.float32)
    assert time_taper(window, like).dtype == torch.float32


def projection_terms(model: FourDVarNet, *states: Tensor, truth: Tensor) -> Tensor:
    """Of the last line of the loss, written anew."""
    taper = time_taper(WINDOW)[:, None, None].float()
    power = (taper * truth**2).mean((1, 2, 3))
    apart = [(taper * (s - model.project(s)) ** 2).mean((1, 2, 3)) for s in states]
    return (sum(apart) / power).mean()


@pytest.mark.parametrize("gradient", [0.0, 0.3, 2.0])
def test_a_loss_of_one_says_no_better_than_the_background(gradient):
    """Beside the weight of the gradients, and the two small projection terms."""
    model = network()
    background, _, _, truth = batch_at(0)[:4]
    terms = projection_terms(model, truth, background, truth=truth)
    loss = background_loss(
        model, background, truth, background, gradient=gradient, projection=0.02
    )
    torch.testing.assert_close(loss, 1 + gradient + 0.02 * terms, rtol=1e-5, atol=0)
    assert 0 < 0.02 * terms < 0.1
    without = background_loss(
        model, background, truth, background, gradient=gradient, projection=0.0
    )
    torch.testing.assert_close(without, torch.tensor(1 + gradient), rtol=1e-5, atol=0)


def test_the_loss_of_the_truth_is_what_the_projection_misses():
    model = network()
    background, _, _, truth = batch_at(1)[:4]
    loss = background_loss(model, truth, truth, background, projection=0.02)
    terms = projection_terms(model, truth, truth, truth=truth)
    torch.testing.assert_close(loss, 0.02 * terms, rtol=1e-5, atol=0)


def test_an_offset_has_no_gradient():
    model = network()
    background, _, _, truth = batch_at(2)[:4]
    by_gradient = [
        background_loss(model, truth + 0.1, truth, background, gradient=g, projection=0.0)
        for g in (0.0, 1.0)
    ]
    torch.testing.assert_close(by_gradient[0], by_gradient[1], rtol=1e-4, atol=1e-6)
    taper = time_taper(WINDOW)[:, None, None].float()
    reference = (taper * (background - truth) ** 2).mean((1, 2, 3))
    expected = (0.01 * taper.mean() / reference).mean()
    torch.testing.assert_close(by_gradient[0], expected, rtol=1e-4, atol=0)


def test_half_the_error_is_a_quarter_of_the_loss():
    model = network()
    background, _, _, truth = batch_at(3)[:4]
    halfway = (background + truth) / 2
    loss = background_loss(model, halfway, truth, background, projection=0.0)
    torch.testing.assert_close(loss, torch.tensor(1.3 / 4), rtol=1e-5, atol=0)


def test_calm_and_turbulent_oceans_weigh_alike():
    """Scaling one sample changes nothing, though its error is ten times as large."""
    model = network()
    background, _, _, truth = batch_at(4)[:4]
    estimate = truth + 0.3 * (background - truth).roll(2, 2)
    scale = torch.tensor([1.0, 10.0, 0.5, 2.0]).reshape(-1, 1, 1, 1)
    one, other = (
        background_loss(model, s * estimate, s * truth, s * background, projection=0.0)
        for s in (torch.ones(()), scale)
    )
    torch.testing.assert_close(one, other, rtol=1e-4, atol=0)


def test_the_loss_of_a_batch_is_the_mean_of_its_samples():
    model = network()
    background, _, _, truth = batch_at(5)[:4]
    estimate = truth + 0.5 * (background - truth).roll(1, 2)
    whole = background_loss(model, estimate, truth, background)
    parts = [
        background_loss(model, estimate[[k]], truth[[k]], background[[k]])
        for k in range(len(truth))
    ]
    torch.testing.assert_close(whole, torch.stack(parts).mean())


def test_a_perfect_background_does_not_divide_by_zero():
    _, _, _, truth = batch_at(6)[:4]
    assert torch.isfinite(background_loss(network(), truth, truth, truth))


# Network -------------------------------------------------------------------------------


def test_untrained_it_returns_the_background():
    background, y, observed, _ = batch_at(0)[:4]
    torch.testing.assert_close(
        network().reconstruct(background, y, observed), background, rtol=0, atol=0
    )


def test_what_stands_where_nothing_was_observed_does_not_count():
    model = trained_like()
    background, y, observed, _ = batch_at(0)[:4]
    torn = torch.where(observed, y, torch.nan)
    result = model.reconstruct(background, torn, observed)
    assert torch.isfinite(result).all()
    torch.testing.assert_close(
        result, model.reconstruct(background, y, observed), rtol=0, atol=0
    )
    assert (result - background).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_sample_does_not_depend_on_its_batch(dtype):
    model = trained_like().to(dtype)
    background, y, observed, _ = batch_at(0)[:4]
    background, y = background.to(dtype), y.to(dtype)
    background[1] *= 100  # a neighbour of another size
    together = model.reconstruct(background, y, observed)
    for k in range(len(y)):
        alone = model.reconstruct(background[[k]], y[[k]], observed[[k]])[0]
        torch.testing.assert_close(alone, together[k], rtol=0, atol=rounding(together[k]))


def test_noisy_observations_count_for_less():
    torch.manual_seed(0)
    model = FourDVarNet(
        WINDOW, prior_hidden=3, steps=1, solver="gradient-descent", representation=0.2
    )
    background, y, observed, _ = batch_at(0)[:4]
    noise = torch.tensor([0.0, 0.2, 0.4, 1e6]).reshape(-1, 1, 1, 1)
    blind = model.reconstruct(background, y, torch.zeros_like(observed))
    drawn = model.reconstruct(background, y, observed, noise=noise) - blind
    whole = model.reconstruct(background, y, observed) - blind  # nothing said of noise
    for found, full, share in zip(drawn, whole, (1.0, 0.5, 0.2, 0.0), strict=True):
        torch.testing.assert_close(found, share * full, rtol=1e-4, atol=1e-6)


def test_land_stays_where_the_background_is():
    model = trained_like()
    background, y, observed, _ = batch_at(0)[:4]
    sea = torch.ones(SIDE, SIDE, dtype=torch.bool)
    sea[:, :5] = False
    result = model.reconstruct(background, y, observed & sea, sea=sea)
    torch.testing.assert_close(result[..., :5], background[..., :5], rtol=0, atol=0)


def test_it_is_built_from_its_configuration():
    model = trained_like()
    twin = FourDVarNet.from_config({**model.config, "background": {"length_scale": 90.0}})
    twin.load_state_dict(model.state_dict())
    background, y, observed, _ = batch_at(0)[:4]
    torch.testing.assert_close(
        twin.reconstruct(background, y, observed),
        model.reconstruct(background, y, observed),
        rtol=0,
        atol=0,
    )


def test_a_graph_is_kept_only_to_train():
    model = trained_like()
    background, y, observed, _ = batch_at(0)[:4]
    assert not model.reconstruct(background, y, observed).requires_grad
    assert model.reconstruct(background, y, observed, mode="unroll").requires_grad
    assert not background.requires_grad


# Training ------------------------------------------------------------------------------


def fast(steps: int, every: int) -> Settings:
    return Settings(steps=steps, learning_rate=5e-3, warm_steps=2, every=every)


def same_weights(one: FourDVarNet, other: FourDVarNet) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_training_makes_the_loss_smaller():
    """On samples that it never saw, and below the loss of the background."""
    model = network()
    unseen = batch_at(10_000, size=8)

    def loss() -> float:
        background, y, observed, truth = unseen[:4]
        with torch.no_grad():
            return float(
                background_loss(
                    model, model.reconstruct(background, y, observed), truth, background
                )
            )

    before = loss()
    history = train(model, batch_at, fast(80, 40), validate=lambda m: loss(), progress=False)
    assert [row["step"] for row in history] == [40, 80]
    assert loss() == pytest.approx(history[-1]["validation"])
    assert loss() < 0.6 * before
    assert history[-1]["loss"] < history[0]["loss"]


def test_half_precision_learns_and_keeps_whole_weights():
    def trained(precision: str) -> float:
        model = network()
        settings = replace(fast(40, 40), precision=precision)
        history = train(model, batch_at, settings, progress=False)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        return history[-1]["loss"]

    whole, half = trained("float32"), trained("bfloat16")
    assert half != whole  # it was another arithmetic
    assert half == pytest.approx(whole, rel=0.05)


def test_a_precision_that_is_none_is_refused():
    with pytest.raises(ValueError, match="float16.*expected"):
        replace(fast(4, 4), precision="float16")


class KilledError(Exception):
    """The end of a process, in the middle of a step."""


@pytest.mark.parametrize("at", [5, 8, 11])
def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path, at):
    """Bit for bit: weights, the optimiser's memory, and the schedule."""
    whole = network()
    train(whole, batch_at, fast(12, 4), checkpoint=tmp_path / "whole.pt", progress=False)

    def until(step: int) -> Batch:
        if step == at:
            raise KilledError
        return batch_at(step)

    checkpoint = tmp_path / "killed.pt"
    with pytest.raises(KilledError):
        train(network(), until, fast(12, 4), checkpoint=checkpoint, progress=False)
    resumed = network(seed=99)  # other weights, which the checkpoint replaces
    history = train(resumed, batch_at, fast(12, 4), checkpoint=checkpoint, progress=False)
    assert same_weights(resumed, whole)
    assert [row["step"] for row in history] == [4, 8, 12]
    one, other = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True)["optimiser"]["state"]
        for name in ("whole", "killed")
    )
    for key, state in one.items():
        for name, value in state.items():
            torch.testing.assert_close(other[key][name], value, rtol=0, atol=0)


def test_a_kill_before_the_first_checkpoint_starts_anew(tmp_path):
    whole, again = network(), network()
    train(whole, batch_at, fast(4, 4), progress=False)

    def until(step: int) -> Batch:
        if step == 2:
            raise KilledError
        return batch_at(step)

    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(KilledError):
        train(network(), until, fast(4, 4), checkpoint=checkpoint, progress=False)
    assert not checkpoint.exists()
    train(again, batch_at, fast(4, 4), checkpoint=checkpoint, progress=False)
    assert same_weights(again, whole)


def test_a_kill_while_writing_leaves_the_last_whole_checkpoint(tmp_path, monkeypatch):
    checkpoint = tmp_path / "checkpoint.pt"
    train(network(), batch_at, fast(4, 4), checkpoint=checkpoint, progress=False)
    before = checkpoint.read_bytes()

    def half(state: object, path: object) -> None:
        with open(path, "wb") as file:
            file.write(b"half a file")
        raise KilledError

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KilledError):
        train(network(), batch_at, fast(8, 4), checkpoint=checkpoint, progress=False)
    assert checkpoint.read_bytes() == before


def test_a_training_that_is_done_is_not_done_again(tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    model = network()
    train(model, batch_at, fast(4, 2), checkpoint=checkpoint, progress=False)

    def never(step: int) -> Batch:
        raise AssertionError("no batch is asked for")

    again = network(seed=3)
    history = train(again, never, fast(4, 2), checkpoint=checkpoint, progress=False)
    assert same_weights(again, model)
    assert [row["step"] for row in history] == [2, 4]


def test_iterations_grow_to_those_of_the_model_over_the_first_third():
    model = network(steps=6)
    counts = []
    forward = model.solver.forward

    def watch(*arguments: object, **keywords: object) -> object:
        counts.append(keywords["steps"])
        return forward(*arguments, **keywords)

    model.solver.forward = watch
    train(model, lambda step: batch_at(step, size=1), fast(18, 18), progress=False)
    assert counts[0] == 2
    assert counts == sorted(counts)
    assert set(counts[6:]) == {6}


def test_the_gradient_is_clipped_and_the_rate_follows_a_cosine(monkeypatch):
    norms, rates = [], []
    step = torch.optim.Adam.step

    def watch(self: torch.optim.Adam, *arguments: object) -> object:
        gradients = [
            p.grad for g in self.param_groups for p in g["params"] if p.grad is not None
        ]
        norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))
        rates.append([g["lr"] for g in self.param_groups])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", watch)
    settings = Settings(steps=100, learning_rate=2e-3, clip=0.05, warm_steps=1, every=100)
    train(network(steps=1), lambda k: batch_at(k, size=1), settings, progress=False)
    assert max(norms) <= 0.05 * 1.001
    solver, prior = np.array(rates).T
    np.testing.assert_allclose(prior, solver / 2)
    assert np.argmax(solver) in range(30, 55)  # a linear start over fifty steps
    assert solver[0] == pytest.approx(2e-3 / 50)
    assert solver[-1] < 0.001 * solver.max()
