"""Priors that are networks, and those that are models of dynamics."""

from __future__ import annotations

import pytest
import torch
from prior_cases import autoencoder, ocean, two_scale
from tensors import BOTH, random, rounding
from torch import Tensor

from xinverse.dynamics import DYNAMICS, BilinearODE, Lorenz63
from xinverse.priors import (
    EOF,
    Autoencoder,
    DynamicsPrior,
    Prior,
    ProjectionPrior,
    TwoScale,
    UNet,
)

# Two scales ---------------------------------------------------------------------------


@pytest.mark.parametrize("sides", [(8, 8), (7, 8), (8, 5), (9, 11)], ids=str)
@pytest.mark.parametrize("factor", [2, 3])
def test_projection_has_the_shape_of_the_state(sides, factor):
    x = random((2, 3, *sides), torch.float32)
    assert TwoScale(3, hidden=4, factor=factor).project(x).shape == x.shape


def test_units_that_start_at_zero_deepen_a_network_without_changing_it():
    x = random((2, 3, 8, 8), torch.float32)
    shallow, deep = TwoScale(3, hidden=4), TwoScale(3, hidden=4, depth=2, coarse_depth=3)
    missing = deep.load_state_dict(shallow.state_dict(), strict=False).missing_keys
    assert {name.split(".")[1] for name in missing} == {"deeper"}
    for network in (deep.fine, deep.coarse):
        for unit in network.deeper:
            torch.nn.init.zeros_(unit.join.weight)
            torch.nn.init.zeros_(unit.join.bias)
    torch.testing.assert_close(deep.project(x), shallow.project(x))


def test_cost_of_a_projection_prior_is_the_distance_from_the_projection():
    class Half(ProjectionPrior):
        def project(self, x: Tensor) -> Tensor:
            return x / 2

    x = random((3, 2, 2))
    torch.testing.assert_close(Half().cost(x), (x / 2).square().sum((1, 2)))
    torch.testing.assert_close(Half().gradient(x), x / 2)


@BOTH
def test_a_tile_of_the_projection_is_the_projection_of_a_tile(dtype):
    """Beyond the reach of the networks from its edge, cut where the coarse grid begins."""
    prior = two_scale(dtype).prior
    x = random((1, 3, 60, 56), dtype)
    whole, small = prior.gradient(x), prior.gradient(x[..., 4:52, 2:50])
    # Up to 9 cells for the projection, as many again for its transpose.
    inside = (..., slice(18, -18), slice(18, -18))
    assert small[inside].numel()
    cut = whole[..., 4:52, 2:50]
    torch.testing.assert_close(cut[inside], small[inside], rtol=0, atol=rounding(small))


def test_a_prior_that_says_nothing_of_its_cost_is_an_error():
    with pytest.raises(NotImplementedError, match="must define cost"):
        Prior().cost(torch.zeros(1, 2))
    with pytest.raises(NotImplementedError, match="must define project"):
        ProjectionPrior().cost(torch.zeros(1, 2))


# Autoencoder --------------------------------------------------------------------------


def test_the_autoencoder_of_an_image_has_the_size_of_the_papers():
    prior = Autoencoder((28, 28))
    count = sum(p.numel() for p in prior.parameters())
    layers = (784 * 256 + 256) + (256 * 128 + 128) + (128 * 20 + 20)
    back = (20 * 128 + 128) + (128 * 256 + 256) + (256 * 784 + 784)
    assert count == layers + back == 473_636
    assert prior.encoder(torch.zeros(2, 784)).shape == (2, 20)
    assert Autoencoder(784).project(torch.zeros(2, 784)).shape == (2, 784)


def test_a_linear_autoencoder_can_be_the_projection_on_modes():
    """E x - E m, then E' z + m."""
    modes = EOF.fit(ocean(), modes=3)
    prior = Autoencoder((5, 6), latent=3, hidden=()).double()
    weights = [modes.modes, -modes.modes @ modes.mean, modes.modes.T, modes.mean]
    with torch.no_grad():
        for parameter, value in zip(prior.parameters(), weights, strict=True):
            parameter.copy_(value)
    x = random((4, 5, 6))
    torch.testing.assert_close(prior.project(x), modes.project(x))


def test_what_an_autoencoder_gives_lies_on_few_numbers():
    """The Jacobian has the rank of the latent space at most, and values go below zero."""
    case = autoencoder(torch.float64)
    x = random((1, *case.shape))
    jacobian = torch.autograd.functional.jacobian(case.prior.project, x).reshape(12, 12)
    assert torch.linalg.matrix_rank(jacobian, rtol=1e-10) <= 2
    assert case.prior.project(random((20, *case.shape))).min() < 0


def test_an_autoencoder_of_other_states_is_an_error():
    with pytest.raises(ValueError, match=r"shape \(4, 3\): this network.*\(3, 4\)"):
        autoencoder(torch.float32).prior.project(torch.zeros(1, 4, 3))
    with pytest.raises(ValueError, match="latent=0: expected sizes of 1 or more"):
        Autoencoder((3, 4), latent=0)


# U-Net --------------------------------------------------------------------------------

LAYOUTS = {
    "maps": ((3, 9, 10), {"channels": 3}),
    "images": ((9, 7), {"channels": 1, "channel": None}),
    "one cell": ((2, 1, 1), {"channels": 2}),
    "series": ((11, 3), {"channels": 3, "rank": 1, "channel": 2}),
    "one series": ((11,), {"channels": 1, "rank": 1, "channel": None}),
    "maps with depth": ((2, 3, 5, 6), {"channels": 2, "rank": 3}),
    "time convolved too": ((3, 5, 6), {"channels": 1, "rank": 3, "channel": None}),
    "channels last": ((5, 6, 2), {"channels": 2, "channel": 3}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("levels", [1, 2, 3])
@BOTH
def test_a_unet_keeps_the_shape_of_states_of_any_rank(layout, levels, dtype):
    shape, keywords = LAYOUTS[layout]
    prior = UNet(hidden=2, levels=levels, **keywords).to(dtype)
    x = random((2, *shape), dtype)
    projection = prior.project(x)
    assert projection.shape == x.shape
    assert projection.dtype == dtype
    assert prior.gradient(x).shape == x.shape
    with torch.no_grad():
        for part in prior.leave.parameters():
            part.zero_()
    torch.testing.assert_close(prior.project(x), x)  # the network gives the change
    prior.residual = False
    assert (prior.project(x) == 0).all()


def test_a_unet_has_no_edge_where_the_state_has_none():
    """Turned by as many cells as the coarsest are wide, it gives the same, turned."""
    prior = UNet(2, hidden=4, periodic=[False, True]).double()
    x = random((1, 2, 6, 16))
    turned = prior.project(x.roll(4, -1)).roll(-4, -1)
    torch.testing.assert_close(turned, prior.project(x))
    edged = UNet(2, hidden=4).double()
    edged.load_state_dict(prior.state_dict())
    assert (edged.project(x.roll(4, -1)).roll(-4, -1) - edged.project(x)).abs().max() > 1e-3


def test_a_tile_of_a_unet_is_that_of_the_whole():
    """Beyond its reach from the edge, cut where the coarsest grid begins."""
    prior = UNet(1, hidden=3, levels=1).double()
    x = random((1, 1, 48, 44))
    inside = (..., slice(12, -12), slice(12, -12))
    whole, tile = prior.project(x)[..., 4:40, 6:42], prior.project(x[..., 4:40, 6:42])
    torch.testing.assert_close(tile[inside], whole[inside])


def test_a_coarser_level_sees_farther():
    reach = []
    for levels in (1, 2):
        prior = UNet(1, hidden=16, levels=levels, rank=1, channel=None).double()
        x = random((1, 64)).requires_grad_()
        (slope,) = torch.autograd.grad(prior.project(x)[0, 32], x)
        reach.append(int((slope != 0).sum()))
    assert reach[0] < reach[1] < 64


def test_a_unet_that_cannot_be_is_an_error():
    with pytest.raises(ValueError, match="4 must divide a periodic side"):
        UNet(1, periodic=[False, True]).project(torch.zeros(1, 1, 8, 10))
    with pytest.raises(ValueError, match="levels=0: expected 1 or more"):
        UNet(1, levels=0)
    with pytest.raises(ValueError, match="expected 1, 2 or 3 convolved axes"):
        UNet(1, rank=4)


# Dynamics -----------------------------------------------------------------------------


def test_a_trajectory_of_the_model_costs_nothing():
    model = Lorenz63()
    prior = DynamicsPrior(model, dt=0.05, substeps=5)
    x = model.trajectory(random((3, 3)), 0.05, times=8, substeps=5)
    assert prior.cost(x).max() == 0
    torch.testing.assert_close(prior.project(x), x, rtol=0, atol=0)
    # An error at one time is paid for there and, by the flow, at the time after.
    off = x.clone()
    off[:, 3, 0] += 1e-3
    flown = model(off[:, 3], 0.01, 5) - x[:, 4]
    torch.testing.assert_close(prior.cost(off), 1e-6 + flown.square().sum(1))
    last = x.clone()
    last[:, -1, 2] += 0.5
    torch.testing.assert_close(prior.cost(last), torch.full((3,), 0.25).double())


def test_a_bilinear_model_can_be_lorenz_63():
    """Two products are enough: of the first component with the third, and the second."""
    truth = Lorenz63()
    learned = BilinearODE(3, 2).double()
    assert DYNAMICS["bilinear"] is BilinearODE
    with torch.no_grad():
        for parameter in learned.parameters():
            parameter.zero_()
        learned.linear.weight.copy_(
            torch.tensor([[-10.0, 10.0, 0.0], [28.0, -1.0, 0.0], [0.0, 0.0, 0.0]])
        )
        learned.linear.weight[2, 2] = -truth.beta
        learned.first.weight[:, 0] = 1.0
        learned.second.weight[0, 2] = learned.second.weight[1, 1] = 1.0
        learned.leave.weight[1, 0], learned.leave.weight[2, 1] = -1.0, 1.0
    x = 10 * random((5, 3))
    torch.testing.assert_close(learned.tendency(x), truth.tendency(x))
    torch.testing.assert_close(learned(x, 0.01, 100), truth(x, 0.01, 100), rtol=0, atol=1e-8)
    # With more products than it needs, the others are silent.
    wide = BilinearODE(3, 7).double()
    with torch.no_grad():
        wide.leave.weight.zero_()
        wide.linear.load_state_dict(learned.linear.state_dict())
        wide.leave.weight[:, :2] = learned.leave.weight
        wide.first.weight[:2], wide.second.weight[:2] = (
            learned.first.weight,
            learned.second.weight,
        )
    torch.testing.assert_close(wide(x, 0.01, 100), truth(x, 0.01, 100), rtol=0, atol=1e-8)


def test_a_bilinear_model_is_of_second_degree():
    """Third differences along a line vanish; second ones do not."""
    model = BilinearODE(4, 6).double()
    x, way = random((1, 4)), random((1, 4), seed=1)
    values = torch.cat([model.tendency(x + k * way) for k in range(6)])
    assert values.diff(3, 0).abs().max() < 1e-12
    assert values.diff(2, 0).abs().max() > 1e-2


def test_a_bilinear_model_that_cannot_be_is_an_error():
    with pytest.raises(ValueError, match="hidden=0: expected 1 or more"):
        BilinearODE(3, 0)
    with pytest.raises(ValueError, match="a learned model has none"):
        BilinearODE(3, 2).tendency(torch.zeros(1, 3), {"rho": torch.tensor(28.0)})
