"""Training on labelled fields: what is read, what is learned, which errors are raised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import xinverse
from xinverse.errors import (
    DataError,
    GridError,
    OptionError,
    UnitsError,
    UnknownNameError,
    WeightsError,
)
from xinverse.learning import OBJECTIVES, Batch, DirectUNet
from xinverse.learning.augment import augment
from xinverse.learning.prefetch import ahead
from xinverse.model import Model, load_model
from xinverse.osse.nature import Ocean, nature_runs
from xinverse.recipe import FLIPS, LOSSES, Recipe
from xinverse.scores import normalised_mse
from xinverse.tiling.patches import PatchSampler
from xinverse.verbs.training_fields import TrainingFields
from xinverse.verbs.training_regions import make_example, shifted
from xinverse.verbs.training_scenes import SceneSampler

SMALL = {
    "steps": 4,
    "every": 2,
    "patch": 12,
    "batch": 2,
    "network": {"window": 5, "steps": 2, "prior_hidden": 4, "solver_hidden": 4},
    "noise": 0.02,
}


@pytest.fixture(scope="module")
def truth() -> xr.DataArray:
    (run,) = nature_runs([Ocean(spacing_km=14.0)], days=50, spinup=60, size=24, seed=1)
    return run


@pytest.fixture(scope="module")
def seen(truth: xr.DataArray) -> xr.DataArray:
    return xinverse.osse.observe(truth, ["nadir:4"], noise=0.02, seed=2)["ssh"]


@pytest.fixture(scope="module")
def model(truth: xr.DataArray, seen: xr.DataArray) -> Model:
    return xinverse.train("4dvarnet", truth, seen, **SMALL)


def same(one: Model, other: Model) -> bool:
    a, b = one.network.state_dict(), other.network.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def region(truth, seen, *, background=None, mask=None, hide=0.0, store=Path("unused.zarr")):
    fields = TrainingFields(truth, seen, background=background, mask=mask, noise=0.02)
    recipe = Recipe(loss="self-supervised" if hide else "supervised")
    if hide:
        fields = replace(fields, withheld=hide)
    return make_example(fields, recipe, seed=0, store=store, progress=False).region


WHOLE = (slice(0, 50), slice(0, 24), slice(0, 24))


# What a model is ------------------------------------------------------------------------


def test_a_trained_model_is_saved_read_and_used(model, seen, tmp_path):
    file = model.save(tmp_path / "mine.safetensors")
    again = load_model(file)
    assert same(model, again)
    assert again.card == model.card
    filled = seen.inverse.interpolate(method="4dvarnet", weights=file, noise=0.02)
    assert bool(filled.notnull().all())
    assert filled.dims == seen.dims


def test_the_card_says_what_the_weights_serve(model):
    card = model.card
    assert (card.method, card.units, card.window) == ("4dvarnet", "m", 5)
    assert card.grid_spacing_km == pytest.approx((14 * 0.95, 14 * 1.05), rel=0.01)
    assert {"sla", "ssh", "sea_surface_height_above_geoid"} <= set(card.variables)
    assert "xinverse.train(method='4dvarnet'" in card.command
    assert card.config["background"] == {"length_scale": 90.0, "time_scale": 10.0}


def test_what_one_knows_better_goes_onto_the_card(truth, seen):
    known = {"licence": "CC0-1.0", "training": "one ocean", "grid_spacing_km": (8, 28)}
    card = xinverse.train("4dvarnet", truth, seen, **SMALL, card=known | {"name": "mine"}).card
    assert (card.name, card.licence, card.training) == ("mine", "CC0-1.0", "one ocean")
    assert card.grid_spacing_km == (8, 28)


def test_registered_weights_are_a_model():
    shipped = load_model("ssh-qg")
    assert shipped.card.name == "ssh-qg"
    assert "171,324 parameters" in repr(shipped)
    assert "<table>" in shipped._repr_html_()
    with pytest.raises(OptionError, match="no history"):
        shipped.plot()


def test_the_learning_curve_is_drawn(model):
    import matplotlib.pyplot as plt

    ax = model.plot()
    assert ax.get_title() == "ssh-4dvarnet"
    assert [list(line.get_xdata()) for line in ax.lines[:2]] == [[2, 4], [2, 4]]
    plt.close(ax.figure)


def test_learning_lowers_the_error_of_an_ocean(truth, seen):
    """Days that were not trained on, in a few seconds: better than the background already."""
    network = {"window": 5, "steps": 3, "prior_hidden": 8, "solver_hidden": 12}
    longer = SMALL | {"steps": 120, "every": 120, "learning_rate": 1e-2, "network": network}
    trained = xinverse.train("4dvarnet", truth, seen, **longer)
    (row,) = trained.history
    assert row["validation"] < 0.97


# What is read ---------------------------------------------------------------------------


def test_a_region_is_normalised_as_a_tile_is(truth, seen):
    found = region(truth, seen).cut(WHOLE)
    observed = np.isfinite(seen.values)
    np.testing.assert_array_equal(found["observed"], observed)
    assert abs(found["y"][observed].mean()) < 0.1  # of a scale: some days are looked at
    error = found["truth"][observed] - found["y"][observed]
    scale = np.std(truth.values[observed] - seen.values[observed]) / error.std()
    np.testing.assert_allclose(found["truth"] * scale, truth - truth.mean(), atol=0.02)
    assert found["background"][observed].std() > 0.5


def test_dimension_order_and_directions_are_taken_as_a_solve_takes_them(truth, seen):
    expected = region(truth, seen).cut(WHOLE)
    turned = [
        da.isel(latitude=slice(None, None, -1)).transpose("longitude", "time", "latitude")
        for da in (truth, seen)
    ]
    found = region(*turned).cut(WHOLE)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4, err_msg=name)


def test_land_is_neither_observed_nor_counted(truth, seen):
    sea = xr.ones_like(truth[0], dtype=bool)
    sea[:, :6] = False
    found = region(truth.where(sea), seen.where(sea), mask=sea).cut(WHOLE)
    for name in ("observed", "counted"):
        assert not found[name][..., :6].any()
    assert found["counted"][..., 6:].all()
    assert np.isfinite(found["background"]).all()
    np.testing.assert_array_equal(found["sea"][0], sea.values)


def test_what_is_withheld_is_kept_from_network_and_background(truth, seen):
    found = region(None, seen, hide=0.3)
    cut = found.cut(WHOLE)
    observed = np.isfinite(seen.values)
    assert not (cut["observed"] & cut["counted"]).any()
    np.testing.assert_array_equal(cut["observed"] | cut["counted"], observed)
    assert cut["counted"].sum() / observed.sum() == pytest.approx(0.3, abs=0.1)
    # Other values there change nothing that the network gets.
    other = region(None, xr.where(cut["counted"], 1.0, seen).assign_attrs(seen.attrs), hide=0.3)
    again = other.cut(WHOLE)
    np.testing.assert_allclose(
        (again["background"] * other.scale + other.level)[cut["observed"]],
        (cut["background"] * found.scale + found.level)[cut["observed"]],
        atol=0.2,  # level and scale are estimates
    )


def test_a_truth_is_seen_through_the_gaps_and_errors_of_other_dates(truth, seen):
    (moved,) = shifted(TrainingFields(truth, seen, mask_shifts=1), 1).observations
    errors, before = (moved - truth).values, (seen - truth).values
    np.testing.assert_allclose(errors, np.roll(before, 25, axis=0), atol=1e-6)
    assert moved.attrs == seen.attrs


def test_only_boxes_are_read(truth, seen, tmp_path, monkeypatch):
    """From a store, without dask: never more than a patch at once."""
    monkeypatch.setattr("xinverse.verbs.training_regions.IN_MEMORY", 0)
    xr.Dataset({"truth": truth, "seen": seen}).chunk(time=5).to_zarr(
        tmp_path / "osse.zarr", consolidated=False
    )
    lazy = xr.open_zarr(tmp_path / "osse.zarr", chunks=None, consolidated=False)
    whole = region(truth, seen)
    background = xr.zeros_like(seen)
    fields = lazy["truth"], lazy["seen"]
    found = region(*fields, background=background)
    box = (slice(3, 8), slice(2, 9), slice(0, 5))
    np.testing.assert_array_equal(found.cut(box)["y"], whole.cut(box)["y"])
    for field in fields:  # still on disk
        assert not field.variable._in_memory


def test_lazy_fields_leave_their_background_on_disk(truth, seen, tmp_path):
    lazy = [da.chunk(time=10) for da in (truth, seen)]
    eager = xinverse.train("4dvarnet", truth, seen, **SMALL)
    model = xinverse.train("4dvarnet", *lazy, **SMALL, folder=tmp_path)
    assert (tmp_path / "background-0-0.zarr").is_dir()
    for one, other in zip(
        eager.network.state_dict().values(), model.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_batches_depend_on_the_step_alone(truth, seen):
    sampler = PatchSampler([region(truth, seen)], 5, (12, 12), 3, seed=4)
    for name, value in sampler.at(7).items():
        np.testing.assert_array_equal(sampler.at(7)[name], value)
        assert value.shape[0] == 3
    assert not np.array_equal(sampler.at(7)["truth"], sampler.at(8)["truth"])
    held = sampler.validation(2)
    assert len(held) == 2


def test_validation_days_are_not_trained_on(truth, seen):
    """The last fifth holds a value that no training patch may show."""
    marked = truth.copy()
    marked[40:] = 1000.0
    sampler = PatchSampler([region(marked, seen)], 5, (12, 12), 4, seed=0)
    assert all(sampler.at(step)["truth"].max() < 100 for step in range(30))
    assert all((batch["truth"] > 100).all() for batch in sampler.validation(3))


def test_the_next_batch_is_ready_and_the_same():
    asked: list[int] = []

    def batch_at(step: int) -> int:
        asked.append(step)
        return step * step

    with ahead(batch_at) as at:
        assert [at(step) for step in (0, 1, 2, 7, 8)] == [0, 1, 4, 49, 64]
    assert len(asked) == len(set(asked)) or asked.count(3) == 1


@pytest.mark.parametrize("flip", FLIPS)
def test_a_flip_keeps_observations_on_the_truth(flip):
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(16, 3, 4, 5, generator=generator)
    observed = torch.rand(truth.shape, generator=generator) < 0.5
    batch = Batch(truth / 2, truth * observed, observed, truth, observed, observed[:, :1])
    found = augment(batch, generator, flips=(flip,), stretch=(0.5, 2.0))
    torch.testing.assert_close(found.y, found.truth * found.observed)
    torch.testing.assert_close(found.background, found.truth / 2)
    changed = ~torch.isclose(
        found.truth / found.truth.square().mean((1, 2, 3), keepdim=True).sqrt(),
        truth / truth.square().mean((1, 2, 3), keepdim=True).sqrt(),
    ).flatten(1).all(1)
    assert 2 < changed.sum() < 14  # some windows, not all


def test_a_drift_raises_whole_days_alike():
    truth = torch.randn(16, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    observed = truth > 0
    batch = Batch(truth / 2, truth * observed, observed, truth, observed, observed[:, :1])

    def augmented(**options: float) -> Batch:
        generator = torch.Generator().manual_seed(1)
        return augment(batch, generator, flips=("x",), stretch=(0.5, 2.0), **options)

    still, moved = augmented(), augmented(drift=0.5)
    raised = (moved.truth - still.truth).double()
    level = raised.mean((2, 3), keepdim=True)
    torch.testing.assert_close(raised, level.expand_as(raised), atol=1e-6, rtol=0)
    torch.testing.assert_close(level.diff(n=2, dim=1), 0 * level[:, :3], atol=1e-6, rtol=0)
    assert 0.3 < level[:, 2].std() < 0.8
    assert (level[:, -1] - level[:, 0]).abs().min() > 0
    for part in ("background", "y"):
        difference = getattr(moved, part) - getattr(still, part)
        torch.testing.assert_close(difference, moved.truth - still.truth)
    assert torch.equal(moved.observed, still.observed)


# A kill ---------------------------------------------------------------------------------


class KilledError(Exception):
    """The end of a process, in the middle of a step."""


@pytest.mark.parametrize("at", [1, 3])
def test_a_training_that_was_killed_goes_on_to_the_same_weights(
    truth, seen, model, tmp_path, monkeypatch, at
):
    draw = PatchSampler.at

    def until(self: PatchSampler, step: int):
        if step == at:
            raise KilledError
        return draw(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(PatchSampler, "at", until)
        with pytest.raises(KilledError):
            xinverse.train("4dvarnet", truth, seen, **SMALL, folder=tmp_path)
    resumed = xinverse.train("4dvarnet", truth, seen, **SMALL, folder=tmp_path)
    assert same(resumed, model)


def test_a_folder_of_another_training_is_refused(truth, seen, tmp_path):
    xinverse.train("4dvarnet", truth, seen, **SMALL, folder=tmp_path)
    with pytest.raises(OptionError, match=r"holds another training: seed differ \(seed is 0"):
        xinverse.train("4dvarnet", truth, seen, **SMALL, folder=tmp_path, seed=1)
    other = (2 * seen).assign_attrs(seen.attrs)
    with pytest.raises(OptionError, match="fields differ"):
        xinverse.train("4dvarnet", truth, other, **SMALL, folder=tmp_path)
    for option in ({"length_scale": 60.0}, {"noise": 0.05}, {"validation": 0.3}):
        with pytest.raises(OptionError, match=f"{next(iter(option))} differ"):
            xinverse.train("4dvarnet", truth, seen, **(SMALL | option), folder=tmp_path)
    with pytest.raises(OptionError, match="fields differ"):
        xinverse.train("4dvarnet", truth, seen, background=0 * truth, **SMALL, folder=tmp_path)
    with pytest.raises(OptionError, match="fields differ"):
        xinverse.train("4dvarnet", truth * 1.5, seen, **SMALL, folder=tmp_path)


# Losses and methods ---------------------------------------------------------------------


def test_without_a_truth_it_learns_from_what_is_withheld(seen):
    trained = xinverse.train("4dvarnet", observations=seen, **SMALL)
    assert trained.card.training == "1 fields, self-supervised"
    assert np.isfinite(trained.history[-1]["validation"])


def test_the_variational_cost_alone_teaches_the_solver_and_not_the_prior(seen, model):
    options = {k: v for k, v in SMALL.items() if k != "network"} | {"steps": 30, "every": 30}
    trained = xinverse.train(
        "4dvarnet", observations=seen, start=model, loss="unsupervised", **options
    )
    before, after = model.network.state_dict(), trained.network.state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name]) == name.startswith("cost."), name
    assert trained.history[-1]["loss"] < 1


def test_the_direct_network_trains_and_maps(truth, seen, tmp_path):
    options = SMALL | {"network": {"window": 5, "hidden": 4}}
    trained = xinverse.train("unet", truth, seen, **options)
    file = trained.save(tmp_path / "unet.safetensors")
    filled = seen.inverse.interpolate(method="unet", weights=file, noise=0.02)
    oi = seen.inverse.interpolate(method="oi", noise=0.02, length_scale=90, time_scale=10)
    assert float(normalised_mse(filled, truth)) < 1.1 * float(normalised_mse(oi, truth))
    with pytest.raises(WeightsError, match="no default weights"):
        seen.inverse.interpolate(method="unet")


def test_the_direct_network_starts_from_its_background_and_leaves_land_alone():
    torch.manual_seed(0)
    net = DirectUNet(window=3, hidden=4)
    x, y = torch.randn(2, 2, 3, 9, 10)
    observed = torch.rand(x.shape) < 0.5
    torch.testing.assert_close(net.reconstruct(x, y, observed), x)
    torch.nn.init.normal_(net.net.leave.weight)
    sea = torch.rand(2, 1, 9, 10) < 0.5
    found = net.reconstruct(x, y, observed, sea=sea)
    land = (~sea).expand_as(x)
    torch.testing.assert_close(found[land], x[land])
    assert not torch.allclose(found, x)
    hidden = torch.where(observed, y, 1e9)  # what was not observed does not count
    torch.testing.assert_close(net.reconstruct(x, hidden, observed, sea=sea), found)


def test_the_solver_may_be_plain_gradient_descent(truth, seen):
    options = SMALL | {"network": SMALL["network"] | {"solver": "gradient-descent"}}
    trained = xinverse.train("4dvarnet", truth, seen, **options)
    assert not any("cell" in name for name in trained.network.state_dict())


def test_the_solver_may_see_the_state(truth, seen, tmp_path):
    options = SMALL | {"network": SMALL["network"] | {"sees_state": True}}
    trained = xinverse.train("4dvarnet", truth, seen, **options)
    assert same(load_model(trained.save(tmp_path / "seeing.safetensors")), trained)


def test_a_trained_network_may_begin_to_see_more(truth, seen, model, tmp_path):
    more = {"network": {"sees_coverage": True}, "start": model, "learning_rate": 1e-12}
    grown = xinverse.train("4dvarnet", truth, seen, **(SMALL | more))
    assert grown.card.config["sees_coverage"]
    assert grown.card.config["window"] == model.card.window
    maps = [
        seen.inverse.interpolate(
            method="4dvarnet", weights=one.save(tmp_path / f"{k}.safetensors"), noise=0.02
        )
        for k, one in enumerate((grown, model))
    ]
    xr.testing.assert_allclose(*maps, atol=1e-6)
    smaller = {k: v for k, v in more.items() if k != "network"} | {"start": grown}
    with pytest.raises(OptionError, match="coverage"):
        xinverse.train(
            "4dvarnet", truth, seen, **(SMALL | smaller | {"network": {"sees_coverage": False}})
        )


def test_a_trained_network_may_be_given_longer_windows(truth, seen, model):
    longer = SMALL | {"network": {"window": 9}, "start": model}
    grown = xinverse.train("4dvarnet", truth, seen, **longer)
    assert grown.card.window == grown.network.window == 9
    with pytest.raises(OptionError, match="its window may be longer"):
        xinverse.train("4dvarnet", truth, seen, **(longer | {"network": {"window": 3}}))


def test_slopes_weigh_what_they_are_told_to(truth, seen, model):
    assert same(model, xinverse.train("4dvarnet", truth, seen, gradient_weight=0.3, **SMALL))
    steeper = xinverse.train("4dvarnet", truth, seen, gradient_weight=1.0, **SMALL)
    assert not same(model, steeper)
    assert "gradient_weight=1.0" in steeper.card.command


@pytest.mark.parametrize("method", ["4dvarnet", "unet"])
def test_the_noise_of_each_field_is_told(truth, seen, method):
    sizes = {"4dvarnet": SMALL["network"], "unet": {"window": 5, "hidden": 4}}[method]
    told = SMALL | {"network": sizes | {"representation": 0.2}}
    once = xinverse.train(method, [truth, truth], [seen, seen], **told)
    assert same(
        once,
        xinverse.train(method, [truth, truth], [seen, seen], **told | {"noise": [0.02, 0.02]}),
    )
    other = told | {"noise": np.array([0.02, 0.05])}
    assert not same(once, xinverse.train(method, [truth, truth], [seen, seen], **other))


def test_the_noise_of_a_patch_is_that_of_a_tile(truth, seen):
    cut = region(truth, seen).cut((slice(0, 5), slice(0, 24), slice(0, 24)))
    expected = np.where(cut["observed"], 0.02 / region(truth, seen).scale, 0.0)
    np.testing.assert_allclose(cut["noise"], expected, rtol=1e-5)
    halved = region(truth, (seen / 2).assign_attrs(seen.attrs))  # its own noise is 0.02 too
    assert halved.noise == pytest.approx(0.02)


def test_a_lightning_trainer_goes_the_same_way(truth, seen, model, tmp_path):
    import lightning

    trainer = lightning.Trainer(
        max_epochs=1,
        gradient_clip_val=1.0,
        accelerator="cpu",
        devices=1,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
    by_it = xinverse.train("4dvarnet", truth, seen, **SMALL, trainer=trainer)
    for name, value in model.network.state_dict().items():
        torch.testing.assert_close(by_it.network.state_dict()[name], value, rtol=0, atol=1e-6)
    assert by_it.history[-1]["validation"] == pytest.approx(model.history[-1]["validation"])
    with pytest.raises(OptionError, match=r"Expected a lightning\.Trainer"):
        xinverse.train("4dvarnet", truth, seen, **SMALL, trainer="lightning")


def test_several_oceans_on_several_grids(truth, seen):
    smaller = [da.isel(latitude=slice(0, 16)) for da in (truth, seen)]
    trained = xinverse.train(
        "4dvarnet", [truth, smaller[0]], [seen, smaller[1]], **SMALL | {"patch": 20}
    )
    assert trained.card.training == "2 fields, supervised"


def test_the_accessor_takes_names(truth, seen, model):
    ds = xr.Dataset({"truth": truth, "l3": seen.assign_attrs(truth.attrs)})
    assert same(ds.inverse.train("4dvarnet", truth="truth", observations="l3", **SMALL), model)
    with pytest.raises(UnknownNameError, match="l4"):
        ds.inverse.train("4dvarnet", truth="truth", observations="l4")


# Fields and recipes ---------------------------------------------------------------------


def test_fields_and_recipe_may_be_objects(truth, seen, model):
    fields = xinverse.TrainingFields(truth, seen, noise=0.02)
    recipe = xinverse.Recipe(steps=4, every=2, patch=12, batch=2)
    options = {"recipe": recipe, "network": SMALL["network"]}
    trained = xinverse.train("4dvarnet", fields, **options)
    assert same(trained, model)
    assert trained.card == model.card
    # Keywords replace their values, for this call.
    other = xinverse.train("4dvarnet", fields, **options, seed=1, noise=0.05)
    expected = xinverse.train("4dvarnet", truth, seen, **SMALL | {"seed": 1, "noise": 0.05})
    assert same(other, expected)
    assert not same(other, model)
    assert (recipe.seed, fields.noise) == (0, 0.02)
    with pytest.raises(OptionError, match="in addition to TrainingFields"):
        xinverse.train("4dvarnet", fields, seen, **options)


def test_a_background_replaces_that_of_the_fields(truth, seen):
    fields = TrainingFields(truth, seen, noise=0.02)
    options = {k: v for k, v in SMALL.items() if k != "noise"}
    given = xinverse.train("4dvarnet", fields, background=0.5 * truth, **options)
    within = replace(fields, background=0.5 * truth)
    assert same(given, xinverse.train("4dvarnet", within, **options))


def test_fields_are_split_with_their_noise(truth, seen):
    fields = TrainingFields([truth, 2 * truth], [seen, 2 * seen], noise=np.array([0.02, 0.04]))
    one, two = fields.each()
    assert (one.noise, two.noise) == (0.02, 0.04)
    assert two.observations[0].identical(2 * seen)
    assert two.truth[0].identical(2 * truth)
    assert [f.noise for f in replace(fields, noise=0.1).each()] == [0.1, 0.1]
    assert repr(fields) == (
        "<xinverse.TrainingFields: 2 fields with truth; background: optimal interpolation>"
    )


def test_every_loss_has_an_objective():
    assert set(LOSSES) == set(OBJECTIVES)


def test_a_recipe_takes_lists_and_gives_tuples():
    recipe = Recipe(patch=[24, 32], flips=["x", "time"])
    assert (recipe.sides, recipe.flips) == ((24, 32), ("x", "time"))
    assert Recipe(patch=16).sides == (16, 16)
    assert recipe == Recipe(patch=(24, 32), flips=("x", "time"))
    assert len({recipe, Recipe(patch=(24, 32), flips=("x", "time"))}) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "mean"},
        {"steps": 0},
        {"steps": True},
        {"batch": 2.0},
        {"warm_steps": -1},
        {"every": 0},
        {"learning_rate": 0.0},
        {"clip": float("nan")},
        {"drift": -0.1},
        {"length_scale": "90"},
        {"time_scale": 0},
        {"passes": 0},
        {"precision": "float64"},
        {"patch": (4, 0)},
        {"seed": -1},
    ],
)
def test_a_recipe_checks_its_values(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match=f"{name}="):
        Recipe(**wrong)


# Errors ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"method": "oi"}, OptionError, "'oi' has no weights.*'4dvarnet', 'unet'"),
        ({"method": "4dvarnt"}, UnknownNameError, "Did you mean '4dvarnet'"),
        ({"loss": "square"}, OptionError, "'supervised', 'self-supervised'"),
        ({"truth": None, "loss": "supervised"}, OptionError, "needs truth="),
        ({"loss": "unsupervised"}, OptionError, "pass start="),
        ({"observations": None}, OptionError, "No observations"),
        ({"patch": 0}, OptionError, "patch=0"),
        ({"patch": (4, 4, 4)}, OptionError, "cells along y and x"),
        ({"steps": 1.5}, OptionError, "steps=1.5"),
        ({"validation": 1.0}, OptionError, "validation=1.0"),
        ({"flips": ("z",)}, OptionError, "flips='z': expected one of"),
        ({"network": {"widow": 5}}, OptionError, "'widow'.*'window'"),
        ({"network": {"window": 45}}, GridError, "40 time steps to train with"),
        ({"network": {"solver": "adam"}}, OptionError, "expected one of 'lstm'"),
        ({"precision": "float16"}, OptionError, "float16"),
        ({"mask_shifts": 1, "truth": None}, OptionError, "needs truth="),
        (
            {"card": {"license": "CC0"}},
            OptionError,
            "'license'.* cannot be set.*'licence'",
        ),
        ({"start": "ssh-qg"}, OptionError, "does not fit the weights of start=.*first 'cost"),
        ({"noise": [0.02, 0.03]}, OptionError, "2 numbers were given as noise and 1 fields"),
        ({"network": {"representation": 0.0}}, OptionError, "representation=0.0: expected"),
        ({"gradient_weight": -1.0}, OptionError, "gradient_weight=-1.0: expected"),
        ({"epochs": 1}, OptionError, r"no option 'epochs'\. Did you mean steps=\?"),
        ({"learning_rat": 1e-3}, OptionError, r"Did you mean learning_rate=\?"),
        ({"validatoin": 0.1}, OptionError, r"Did you mean validation=\?"),
        ({"window": 5}, OptionError, r"an option of the network: network=\{'window'"),
        ({"name": "mine"}, OptionError, r"an entry of the model card: card=\{'name'"),
        ({"card": {"window": 3}}, OptionError, "'window', which cannot be set"),
        ({"card": "mine"}, OptionError, "card='mine': expected a dictionary"),
        ({"recipe": {"steps": 3}}, OptionError, r"recipe is a dict\. Expected an xinverse"),
        ({"progress": "yes"}, OptionError, "progress='yes'"),
    ],
)
def test_what_is_wrong_is_said_at_the_call(truth, seen, changes, error, words):
    given = {"method": "4dvarnet", "truth": truth, "observations": seen} | SMALL | changes
    with pytest.raises(error, match=words):
        xinverse.train(**given)


def test_fields_that_do_not_belong_together_are_refused(truth, seen):
    late = truth.assign_coords(time=truth.time + np.timedelta64(1, "D"))
    with pytest.raises(GridError, match="not on the coordinates"):
        xinverse.train("4dvarnet", late, seen, **SMALL)
    with pytest.raises(UnitsError, match="is in 'K'"):
        xinverse.train("4dvarnet", truth.assign_attrs(units="K"), seen, **SMALL)
    with pytest.raises(DataError, match="units of the fields"):
        xinverse.train("4dvarnet", truth.drop_attrs(), seen.drop_attrs(), **SMALL)
    with pytest.raises(DataError, match="NaN everywhere"):
        xinverse.train("4dvarnet", truth * np.nan, seen, **SMALL)
    with pytest.raises(OptionError, match="2 fields were given as truth and 1"):
        xinverse.train("4dvarnet", [truth, truth], seen, **SMALL)


def test_a_model_is_saved_under_a_name_that_weights_understands(model, tmp_path):
    with pytest.raises(OptionError, match="safetensors"):
        model.save(tmp_path / "mine.pt")


# Scenes -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenes(truth):
    def draw(seed):
        rng = np.random.default_rng(seed)
        first = int(rng.integers(30))
        part = truth.isel(time=slice(first, first + int(rng.integers(3, 20))))
        l3 = xinverse.osse.observe(part, ["nadir:8"], noise=0.02, seed=seed)
        return TrainingFields(part, l3["ssh"], noise=l3["ssh_noise"])

    return xinverse.TrainingScenes(draw)


SCENES = {k: v for k, v in SMALL.items() if k != "noise"} | {"overhang": 2}


def test_scenes_are_drawn_anew_for_every_batch(scenes):
    sampler = SceneSampler(scenes, Recipe(patch=12, batch=4, overhang=2), window=5)
    one, again, other = sampler.at(0), sampler.at(0), sampler.at(1)
    for name, part in one.items():
        np.testing.assert_array_equal(part, again[name])
    assert not np.array_equal(one["observed"], other["observed"])
    held = sampler.validation(1)[0]
    assert not np.array_equal(one["y"], held["y"])


def test_a_scene_is_normalised_as_a_method_normalises_a_tile(scenes):
    region = SceneSampler(scenes, Recipe(patch=12), window=5).example(0, 0).region
    nt, ny, nx = region.shape
    cut = region.cut((slice(0, nt), slice(0, ny), slice(0, nx)))
    np.testing.assert_allclose(cut["background"].mean((1, 2)), 0, atol=1e-5)
    assert (cut["noise"][cut["observed"]] > 0).all()
    assert not cut["noise"][~cut["observed"]].any()


def test_a_window_beyond_the_ends_sees_nothing_there(truth, seen):
    own = region(truth, seen)
    box = (slice(0, 12), slice(0, 12))
    inside = own.cut((slice(0, 3), *box))
    cut = own.cut_padded(-2, 5, slice(0, 50), box)
    assert not cut["observed"][:2].any()
    assert not cut["counted"][:2].any()
    np.testing.assert_array_equal(cut["background"][0], inside["background"][0])
    for name in ("y", "truth", "background", "observed", "noise"):
        np.testing.assert_array_equal(cut[name][2:], inside[name])


def test_a_training_on_scenes_resumes_to_the_same_weights(scenes, tmp_path):
    once = xinverse.train("4dvarnet", scenes, **SCENES)
    xinverse.train("4dvarnet", scenes, **SCENES, folder=tmp_path)
    assert same(once, xinverse.train("4dvarnet", scenes, **SCENES, folder=tmp_path))
    assert once.card.config["overhang"] == 2
    assert np.isfinite(once.history[-1]["validation"])


@pytest.mark.parametrize(
    ("source", "options", "text"),
    [
        (lambda _: xinverse.TrainingScenes(3), {}, "draw is a int"),
        (lambda _: xinverse.TrainingScenes(lambda seed: seed), {}, "returned a int"),
        (lambda s: s, {"noise": 0.02}, "noise= cannot be given with TrainingScenes"),
        (lambda s: s, {"overhang": 5}, "fewer days than the window, 5"),
    ],
)
def test_scenes_that_are_not_understood(scenes, source, options, text):
    with pytest.raises(OptionError, match=text):
        xinverse.train("4dvarnet", source(scenes), **SCENES | options)


def test_a_scene_smaller_than_a_patch_is_refused(scenes):
    with pytest.raises(DataError, match="24 x 24 cells, and a patch 30 x 30"):
        xinverse.train("4dvarnet", scenes, **SCENES | {"patch": 30})
