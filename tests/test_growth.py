"""A trained network with longer windows: same results for the known days, then learning."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from xinverse.errors import OptionError
from xinverse.learning import DirectUNet, FourDVarNet, WindowNetwork
from xinverse.learning.build import grown_network
from xinverse.learning.growth import widened


def lstm(window: int) -> WindowNetwork:
    return FourDVarNet(window, 4, 6, 3, sees_state=True, representation=0.2, sees_coverage=True)


def descent(window: int) -> WindowNetwork:
    return FourDVarNet(window, 4, 6, 3, solver="gradient-descent")


def unet(window: int) -> WindowNetwork:
    return DirectUNet(window, 4, 1)


def trained_like(network: WindowNetwork) -> WindowNetwork:
    """With random weights where an untrained network has zeros."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=generator)
    return network.eval()


def widened_to(known: WindowNetwork, alike: WindowNetwork, larger: WindowNetwork):
    states = (each.state_dict() for each in (known, alike, larger))
    return widened(*states, known.window, larger.window)


def grown(known: WindowNetwork, build: Callable[[int], WindowNetwork], wider: int):
    large = build(wider)
    large.load_state_dict(widened_to(known, build(known.window), large))
    return large.eval()


def given(window: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 2, window, 16, 16, generator=generator)
    return x, y, torch.rand(x.shape, generator=generator) < 0.2


@pytest.mark.parametrize("wider", [8, 9, 11])
@pytest.mark.parametrize("build", [lstm, unet])
def test_between_the_new_days_it_says_what_it_said(
    build: Callable[[int], WindowNetwork], wider: int
):
    small = trained_like(build(5))
    large = grown(small, build, wider)
    x, y, observed = given(wider)
    inside = slice((wider - 5) // 2, (wider - 5) // 2 + 5)
    noise = torch.full((2, 1, 1, 1), 0.1)
    before = small.reconstruct(x[:, inside], y[:, inside], observed[:, inside], noise=noise)
    after = large.reconstruct(x, y, observed, noise=noise)
    torch.testing.assert_close(after[:, inside], before, rtol=0, atol=1e-5)
    assert (before - x[:, inside]).abs().max() > 0.1
    outside = [day for day in range(wider) if not inside.start <= day < inside.stop]
    torch.testing.assert_close(after[:, outside], x[:, outside])


def test_the_new_days_learn():
    large = grown(trained_like(lstm(5)), lstm, 9).train()
    x, y, observed = given(9)
    large.reconstruct(x, y, observed, mode="unroll").square().sum().backward()
    for name, parameter in large.named_parameters():
        if name.endswith(("update.weight", "gates.weight")):
            slope = parameter.grad
            axis = 0 if "update" in name else 1
            assert slope is not None
            assert slope.narrow(axis, 0, 2).abs().max() > 0


def test_the_descent_of_the_gradient_has_the_same_prior_between():
    small = trained_like(descent(5))
    large = grown(small, descent, 9)
    x, _, _ = given(9)
    torch.testing.assert_close(
        large.project(x)[:, 2:7], small.project(x[:, 2:7]), rtol=0, atol=1e-5
    )


def test_the_same_window_takes_the_same_weights():
    small = trained_like(lstm(5))
    weights = widened_to(small, lstm(5), lstm(5))
    assert all(torch.equal(weights[k], v) for k, v in small.state_dict().items())


@pytest.mark.parametrize(
    ("known", "alike", "wanted"),
    [
        (lstm(7), lstm(5), lstm(5)),  # a shorter window
        (descent(5), FourDVarNet(5, 8, 6, 3), FourDVarNet(9, 8, 6, 3)),  # and another width
        (lstm(5), unet(5), unet(9)),  # another network
    ],
)
def test_what_has_no_place_is_refused(
    known: WindowNetwork, alike: WindowNetwork, wanted: WindowNetwork
):
    with pytest.raises(ValueError, match="absent or of another shape"):
        widened_to(known, alike, wanted)


def test_a_width_that_grows_as_the_window_does_is_no_window():
    """Four channels more: as many as there are days, and none of them is a day."""
    small = FourDVarNet(5, 8, 6, 3, solver="gradient-descent")
    options = {"window": 9, "prior_hidden": 12}
    with pytest.raises(OptionError, match="does not fit the weights"):
        grown_network(small, options, 0)
