"""The reference 4DVarNet: the same numbers from the same weights, and whose they are."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr

import xinverse
from xinverse.errors import OptionError, UnitsError, WeightsError
from xinverse.learning import ReferenceFourDVarNet
from xinverse.methods.base import Footprint
from xinverse.methods.problem import Layout, Source
from xinverse.methods.reference import ReferenceMethod
from xinverse.model import load_model
from xinverse.operators import Mask

T, PRIOR, HIDDEN, SIDE = 5, 3, 4, 12
TOLD: dict[str, Any] = {
    "variables": ("ssh", "sea_surface_height"),
    "units": "m",
    "grid_spacing_km": (5, 20),
    "normalisation": (0.4, 0.25),
}
NETWORK = {"n_step": 3, "lr_grad": 60.0}


def state(seed: int = 0, prefix: str = "") -> dict[str, torch.Tensor]:
    """Random weights under the reference's names, large enough for the steps to differ."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "prior_cost.conv_in": (PRIOR, T),
        "prior_cost.conv_hidden": (PRIOR, PRIOR),
        "prior_cost.bilin_1": (PRIOR, PRIOR),
        "prior_cost.bilin_21": (PRIOR, PRIOR),
        "prior_cost.bilin_22": (PRIOR, PRIOR),
        "prior_cost.conv_out": (T, 2 * PRIOR),
        "grad_mod.gates": (4 * HIDDEN, T + HIDDEN),
        "grad_mod.conv_out": (T, HIDDEN),
    }
    made = {}
    for name, shape in shapes.items():
        scale = 1.0 / (9 * shape[1]) ** 0.5
        made[f"{prefix}{name}.weight"] = scale * torch.randn(*shape, 3, 3, generator=generator)
        made[f"{prefix}{name}.bias"] = 0.3 * torch.randn(shape[0], generator=generator)
    return made


def rec_weight(border: int = 2) -> torch.Tensor:
    """The reference's weights of a patch: a triangle in time, nothing at the border."""
    days = np.arange(T)
    inside = np.zeros((SIDE, SIDE))
    inside[border:-border, border:-border] = 1
    return torch.from_numpy((1 - abs(1 + 2 * days - T) / T)[:, None, None] * inside)


def lightning(path: Path, **more: Any) -> Path:
    """A checkpoint as Lightning writes it."""
    content = {"rec_weight": rec_weight(), **state(prefix="solver.")}
    torch.save({"epoch": 3, "state_dict": content, "callbacks": {}, **more}, path)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return lightning(tmp_path / "mine.ckpt")


def observations(seed: int, batch: int = 1, side: int = SIDE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(batch, T, side, side, generator=generator)
    return y.where(torch.rand(y.shape, generator=generator) < 0.3, torch.nan)


def network(seed: int = 0, **options: Any) -> ReferenceFourDVarNet:
    from xinverse.methods.reference_checkpoint import reference_state

    made = ReferenceFourDVarNet(T, PRIOR, HIDDEN, **(NETWORK | options))
    own = {"cost.log_weights": made.cost.log_weights}
    made.load_state_dict(own | reference_state(state(seed), "here"))
    return made.eval().requires_grad_(False)


def reconstruct(net: ReferenceFourDVarNet, y: torch.Tensor) -> torch.Tensor:
    return net.reconstruct(torch.zeros_like(y), y, y.isfinite())


def restated(
    w: dict[str, torch.Tensor],
    y: torch.Tensor,
    *,
    n_step: int,
    lr_grad: float,
    lbd: float = 1.0,
    bilin_quad: bool = False,
    downsamp: int = 2,
    solver_downsamp: int = 1,
) -> torch.Tensor:
    """The equations once more, in double precision, for one patch."""
    w = {name: value.double() for name, value in w.items()}
    y = y.double()

    def conv(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)

    def down(x: torch.Tensor, by: int) -> torch.Tensor:
        return x if by == 1 else F.avg_pool2d(x, by)

    def up(x: torch.Tensor, by: int) -> torch.Tensor:
        return x if by == 1 else torch.nn.UpsamplingBilinear2d(scale_factor=by)(x)

    def phi(x: torch.Tensor) -> torch.Tensor:
        enter = conv("prior_cost.conv_in", down(x, downsamp)).clamp(min=0)
        h = conv("prior_cost.conv_hidden", enter)
        one = conv("prior_cost.bilin_21", h)
        product = one**2 if bilin_quad else one * conv("prior_cost.bilin_22", h)
        both = torch.cat([conv("prior_cost.bilin_1", h), product], 1)
        return up(conv("prior_cost.conv_out", both), downsamp)

    seen = y.isfinite()
    x = y.nan_to_num()
    coarse = down(x, solver_downsamp)
    h = c = torch.zeros(1, HIDDEN, *coarse.shape[2:], dtype=torch.float64)
    rms = None
    for k in range(n_step):
        x = x.detach().requires_grad_()
        cost = (x - phi(x)).square().mean()
        if seen.any():
            cost = cost + lbd**2 * (x[seen] - y[seen]).square().mean()
        (g,) = torch.autograd.grad(cost, x)
        rms = g.square().mean().sqrt() if rms is None else rms
        gates = conv("grad_mod.gates", torch.cat([down(g / rms, solver_downsamp), h], 1))
        i, f, o, new = gates.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * new.tanh()
        h = o.sigmoid() * c.tanh()
        learned = up(conv("grad_mod.conv_out", h), solver_downsamp)
        x = x - learned / (k + 1) - lr_grad * (k + 1) / n_step * g
    return phi(x).detach()


# The numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lbd": 1.7},
        {"bilin_quad": True},
        {"downsamp": 1},
        {"solver_downsamp": 2},
        {"n_step": 1, "lr_grad": 5.0},
        {"downsamp": 3, "n_step": 5},
    ],
)
def test_a_patch_is_the_reference_s(options):
    for seed in range(2):
        y = observations(seed)
        expected = restated(state(seed), y, **(NETWORK | options))
        found = reconstruct(network(seed, **options), y)
        apart = (found - expected).norm() / expected.norm()
        assert apart < 1e-5, options
        assert expected.std() > 0.05


def test_a_patch_without_observations_is_the_reference_s():
    y = torch.full((1, T, SIDE, SIDE), torch.nan)
    expected = restated(state(), y, **NETWORK)
    torch.testing.assert_close(
        reconstruct(network(), y), expected.float(), rtol=1e-4, atol=1e-5
    )


def test_a_patch_is_the_same_alone_and_beside_others():
    net = network()
    y = observations(3, batch=3)
    y[1] *= 5
    y[2] = torch.nan
    together = reconstruct(net, y)
    for one, alone in zip(together, y, strict=True):
        torch.testing.assert_close(one, reconstruct(net, alone[None])[0], rtol=1e-4, atol=1e-5)


def test_what_was_not_observed_does_not_count():
    net, y = network(), observations(4)
    seen = y.isfinite()
    zero = torch.zeros_like(y)
    found = net.reconstruct(zero, torch.where(seen, y, 1e9), seen)
    torch.testing.assert_close(found, reconstruct(net, y))
    assert not found.requires_grad


def test_sides_that_the_averaging_does_not_divide_are_solved():
    found = reconstruct(network(downsamp=2, solver_downsamp=4), observations(5, side=13))
    assert found.shape[2:] == (13, 13)
    assert bool(found.isfinite().all())


def test_a_patch_of_another_size_makes_the_same_step_at_a_cell():
    """The gradient of a mean over four patches is a quarter of that over one."""
    solver = network(patch=(SIDE, SIDE)).solver
    torch.nn.init.zeros_(solver.conv_out.weight)
    g = torch.randn(1, T, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    one, _ = _step(solver, g)
    four, _ = _step(solver, g.repeat(1, 1, 2, 2) / 4)
    torch.testing.assert_close(four, one.repeat(1, 1, 2, 2))


def _step(solver: torch.nn.Module, g: torch.Tensor) -> tuple[torch.Tensor, Any]:
    from xinverse.variational import CostGradient

    halves = CostGradient(torch.zeros(len(g)), g, torch.zeros_like(g))
    return solver.step(0, torch.zeros_like(g), halves, solver.begin(g, Mask(g > 0)))


def test_it_trains_through_every_step_and_gives_the_state_itself():
    net = network().requires_grad_(True).train()
    net.cost.log_weights.requires_grad_(False)  # as they are given
    y = observations(7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = net.reconstruct(torch.zeros_like(y), y, y.isfinite(), mode="unroll")
        out.square().mean().backward()
    for name, parameter in net.named_parameters():
        assert (parameter.grad is None) == (name == "cost.log_weights"), name
    assert net.cost(out.detach(), y.nan_to_num(), xinverse.operators.Mask(y.isfinite())).shape


# From file to map -----------------------------------------------------------------------


@pytest.fixture
def ssh() -> xr.DataArray:
    rng = np.random.default_rng(0)
    values = 0.4 + 0.25 * rng.standard_normal((9, SIDE, SIDE))
    values[rng.random(values.shape) > 0.3] = np.nan
    return xr.DataArray(
        values.astype("f4"),
        dims=("time", "latitude", "longitude"),
        coords={
            "time": np.arange("2020-01-01", "2020-01-10", dtype="M8[D]").astype("M8[ns]"),
            "latitude": 38 + 0.1 * np.arange(SIDE),
            "longitude": 5 + 0.1 * np.arange(SIDE),
        },
        name="ssh",
        attrs={"units": "m"},
    )


def test_a_checkpoint_becomes_a_model_and_a_method(checkpoint, ssh, tmp_path):
    model = load_model(checkpoint, **TOLD, network=NETWORK)
    card = model.card
    assert (card.name, card.method, card.window) == ("mine", "4dvarnet-reference", T)
    assert card.config["patch"] == [SIDE, SIDE]
    assert card.config["border"] == [2, 2]
    assert str(tmp_path) not in card.to_json()
    assert "n_step=3, lr_grad=60.0, lbd=1.0, bilin_quad=False" in repr(model)
    file = model.save(tmp_path / "mine.safetensors")
    again = load_model(file)
    assert again.card == card
    y = observations(1)
    torch.testing.assert_close(reconstruct(again.network, y), reconstruct(model.network, y))

    filled = ssh.inverse.interpolate(method="4dvarnet-reference", weights=file)
    assert bool(filled.notnull().all())
    # Every window, joined as the reference joins them.
    total, share = np.zeros(ssh.shape), np.zeros(9)
    days = np.arange(T)
    for first in range(9 - T + 1):
        part = slice(first, first + T)
        normal = torch.from_numpy((ssh.values[None, part] - 0.4) / 0.25)
        weight = 1 - abs(1 + 2 * days - T) / T
        total[part] += weight[:, None, None] * restated(state(), normal, **NETWORK)[0].numpy()
        share[part] += weight
    expected = total / share[:, None, None] * 0.25 + 0.4
    np.testing.assert_allclose(filled.values, expected, atol=1e-5 * expected.std() + 1e-6)
    lazy = ssh.chunk(time=4).inverse.interpolate(method="4dvarnet-reference", weights=file)
    np.testing.assert_allclose(lazy.values, filled.values, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "solver.", "model.solver."])
def test_any_state_dict_of_the_solver_is_read(tmp_path, prefix):
    file = tmp_path / "weights.pt"
    torch.save(state(prefix=prefix), file)
    model = load_model(file, **TOLD, network=NETWORK, patch=(SIDE, SIDE), name="other")
    assert model.card.name == "other"
    y = observations(2)
    torch.testing.assert_close(reconstruct(model.network, y), reconstruct(network(), y))


def test_land_is_masked_after_and_units_are_checked(checkpoint, ssh, tmp_path):
    file = load_model(checkpoint, **TOLD, network=NETWORK).save(tmp_path / "m.safetensors")
    sea = np.ones((SIDE, SIDE), bool)
    sea[3:6, 3:6] = False
    common = {"method": "4dvarnet-reference", "weights": file}
    filled = ssh.where(sea).inverse.interpolate(**common, mask=sea)
    whole = ssh.where(sea).inverse.interpolate(**common, mask=np.ones_like(sea))
    assert np.isnan(filled.values[:, ~sea]).all()
    np.testing.assert_allclose(filled.values[:, sea], whole.values[:, sea], atol=1e-6)
    with pytest.raises(UnitsError, match="cm"):
        ssh.assign_attrs(units="cm").inverse.interpolate(**common)
    with pytest.raises(OptionError, match="no option 'noise'"):
        ssh.inverse.interpolate(**common, noise=0.1)
    with pytest.raises(OptionError, match="stride=0"):
        ssh.inverse.interpolate(**common, stride=0)
    with pytest.raises(WeightsError, match="no default weights.*load_model"):
        ssh.inverse.interpolate(method="4dvarnet-reference")
    with pytest.raises(OptionError, match="cannot be trained.*'4dvarnet', 'unet'"):
        xinverse.train("4dvarnet-reference", observations=ssh)


@pytest.mark.parametrize(("size", "tiles"), [(12, 1), (10, 1), (13, 2), (40, 5), (41, 6)])
def test_tiles_are_the_patches_of_the_training(checkpoint, tmp_path, size, tiles):
    from xinverse.fields.grid import Grid
    from xinverse.tiling.plan import plan
    from xinverse.weights import describe

    file = load_model(checkpoint, **TOLD).save(tmp_path / "m.safetensors")
    weights = describe(file, "4dvarnet-reference")
    cells = np.arange(float(size))
    grid = Grid(np.arange(30.0), 38 + 0.1 * cells, 0.1 * cells, geographic=True, periodic=False)
    layout = Layout(("ssh",), grid, (Source("ssh", grid),))
    found = ReferenceMethod(weights=weights).footprint(layout, 2**30)
    assert isinstance(found, Footprint)
    cut = plan(grid.shape, found.core, found.halo)
    assert cut.counts == (1, tiles, tiles)
    assert cut.shape[1] in {SIDE - 1, SIDE, size}
    assert tiles == 1 or found.halo[1] >= 2


# What is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        (
            {"units": None, "normalisation": None},
            OptionError,
            "Give units=, normalisation= too",
        ),
        ({"normalisation": (0.4, 0.0)}, OptionError, "deviation above 0"),
        ({"normalisation": 0.4}, OptionError, "two numbers"),
        ({"grid_spacing_km": 5}, WeightsError, "grid_spacing_km is 5; expected two"),
        ({"variables": "ssh"}, WeightsError, "variables is 'ssh'; expected a list"),
        ({"network": {"steps": 3}}, OptionError, "'steps'.*'n_step'"),
        ({"network": {"n_step": 2.5}}, OptionError, "n_step=2.5"),
        ({"network": {"lr_grad": -1.0}}, OptionError, "lr_grad=-1.0"),
        ({"network": {"bilin_quad": 1}}, OptionError, "bilin_quad=1"),
        ({"patch": (9, 9)}, OptionError, r"the patches of its training are \(12, 12\)"),
    ],
)
def test_what_is_told_wrong_is_said(checkpoint, changes, error, words):
    with pytest.raises(error, match=words):
        load_model(checkpoint, **(TOLD | changes))


def test_a_size_that_nothing_tells_is_asked_for(tmp_path):
    torch.save(state(), tmp_path / "bare.pth")
    with pytest.raises(OptionError, match="no 'rec_weight'.*patch="):
        load_model(tmp_path / "bare.pth", **TOLD)
    with pytest.raises(OptionError, match="above 0"):
        load_model(tmp_path / "bare.pth", **TOLD, patch=(0, 4))
    for weight, words in {
        "two axes": (torch.ones(3, 4), r"shape \(3, 4\)"),
        "nothing": (torch.zeros(T, 4, 4), "with 0 weights"),
        "days": (torch.ones(T + 1, 4, 4), "has 6 days.*take \\[5\\]"),
    }.values():
        torch.save(state() | {"rec_weight": weight}, tmp_path / "odd.pth")
        with pytest.raises(WeightsError, match=words):
            load_model(tmp_path / "odd.pth", **TOLD)


class Trap:
    """What a pickle of it would do."""

    def __reduce__(self):
        return (Path.touch, (Path("trap-was-run"),))


def test_no_code_in_a_checkpoint_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, write in (("zip", torch.save), ("bare", _pickled)):
        file = tmp_path / f"{name}.ckpt"
        write({"state_dict": state(), "extra": Trap()}, file)
        with pytest.raises(WeightsError, match="Python objects.*state_dict"):
            load_model(file, **TOLD)
    assert not Path("trap-was-run").exists()


def _pickled(content: object, file: Path) -> None:
    torch.save(content, file, _use_new_zipfile_serialization=False)


def test_other_files_are_named(tmp_path):
    broken = state()
    del broken["prior_cost.bilin_1.weight"]
    broken["grad_mod.more.weight"] = torch.ones(2)
    shapes = state() | {"prior_cost.conv_in.weight": torch.ones(PRIOR, T, 5, 5)}
    flat = state() | {"prior_cost.conv_in.weight": torch.ones(3)}
    two = state(prefix="a.") | state(prefix="b.")
    cases = {
        "other.pt": ({"layer.weight": torch.ones(3)}, "no networks.*'layer.weight'"),
        "broken.pt": (broken, "another architecture.*bilin_1.*grad_mod.more"),
        "shapes.pt": (shapes, "3 x 3 convolutions"),
        "flat.pt": (flat, "axes; expected four"),
        "two.pt": (two, "2 networks"),
        "list.pt": ([1, 2], "a list; expected a state_dict"),
        "odd.pt": ({"epoch": 3, "model": "x"}, "not a state_dict.*'epoch', 'model', not"),
        "empty.pt": ({"state_dict": {}}, "no keys|keys none"),
    }
    for name, (content, words) in cases.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(WeightsError, match=words):
            load_model(tmp_path / name, **TOLD, patch=(SIDE, SIDE))
    (tmp_path / "text.ckpt").write_text("These are no weights.")
    (tmp_path / "cut.ckpt").write_bytes(lightning(tmp_path / "x.ckpt").read_bytes()[:900])
    (tmp_path / "nothing.ckpt").write_bytes(b"")
    (tmp_path / "pickle.ckpt").write_bytes(pickle.dumps(3, protocol=2))
    for name in ("text", "cut", "nothing", "pickle"):
        with pytest.raises(WeightsError, match="cannot be read|a int"):
            load_model(tmp_path / f"{name}.ckpt", **TOLD)
    with pytest.raises(WeightsError, match="does not exist"):
        load_model(tmp_path / "absent.ckpt", **TOLD)


def test_weights_with_a_card_are_told_nothing():
    with pytest.raises(OptionError, match="units=.*has a card"):
        load_model("ssh-qg", units="m")
