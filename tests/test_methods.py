"""What holds for every method: options, names, and what each refuses to take."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from dask.base import tokenize
from dask_counting import raise_if_dask_computes

import xinverse
from xinverse.errors import GridError, OptionError, WeightsError
from xinverse.fields.grid import Grid
from xinverse.learning import WindowNetwork
from xinverse.methods.base import METHODS, Method
from xinverse.methods.learned import LearnedMethod, register_network
from xinverse.methods.problem import Layout, OperatorSpec, Source
from xinverse.methods.registry import available, find
from xinverse.weights import describe
from xinverse.weights.reference import WeightsRef

# Another value of each option whose default does not lead to one.
OTHER: dict[str, Any] = {
    "smooth": True,
    "covariance": "matern32",
    "temporal": "exponential",
    "correlation": 0.5,
    "dynamics": "advection",
    "constraint": "strong",
    "precision": "bfloat16",
    "prior": "tv",
    "solver": "gradient-descent",
    "operator": "divergence",
    "prior_options": {"axes": (-1,)},
    "solver_options": {"steps": 3},
    "operator_options": {"unused": 1},
    "passes": 2,
    "prior_weight": 0.5,
    "rossby_radius": 30.0,
    "resolution": 20.0,
    "noise": 0.1,
    "variance": 0.2,
    "background": 0.3,
    "length_scale": 61.0,
    "time_scale": 6.1,
    "withheld": "clouds",
    "time_filter": (0.01, 3),
}


@pytest.fixture(scope="module")
def weights() -> WeightsRef:
    return describe(None, "4dvarnet")


def made(name: str, weights: WeightsRef, **options: Any) -> Method:
    method = find(name)
    return method.made({**({"weights": weights} if method.learned else {}), **options})


EACH_METHOD = pytest.mark.parametrize("name", sorted(available()))


def layout(*variables: str, grid: Grid | None = None, **source: Any) -> Layout:
    if grid is None:
        grid = Grid(np.arange(30.0), 36 + 0.1 * np.arange(20), 0.1 * np.arange(24), True, False)
    return Layout(variables, grid, tuple(Source(v, grid, **source) for v in variables))


# Options -----------------------------------------------------------------------------------


@EACH_METHOD
def test_options_are_fields_that_nobody_changes(name, weights):
    method = made(name, weights)
    assert isinstance(method, available()[name])
    assert replace(method) == method
    with pytest.raises(FrozenInstanceError):
        method.background = 1.0


@EACH_METHOD
def test_an_unknown_option_is_an_error_that_names_the_near_ones(name, weights):
    method = find(name)
    first = fields(method)[0].name if not method.learned else "stride"
    with pytest.raises(OptionError) as caught:
        made(name, weights, **{first + "x": 1})
    assert str(caught.value).startswith(
        f"method={name!r} has no option {first + 'x'!r}. Did you mean {first!r}? Its options "
        "are "
    )
    with pytest.raises(OptionError, match=rf"method='{name}' has no option 'zzzz'\. Its"):
        made(name, weights, zzzz=1)


@EACH_METHOD
def test_a_learned_method_needs_weights_and_another_knows_none(name, weights):
    method = find(name)
    if method.learned:
        with pytest.raises(OptionError, match=f"method='{name}' needs 'weights'"):
            method.made({})
    else:
        with pytest.raises(OptionError, match=f"method='{name}' has no option 'weights'"):
            method.made({"weights": weights})


# Names of lazy results ---------------------------------------------------------------------


def other_value(method: Method, option: str, weights: WeightsRef) -> Any:
    if option == "weights":
        return replace(weights, token="another file")
    default = getattr(method, option)
    if option in OTHER:
        return OTHER[option]
    if isinstance(default, bool):
        return not default
    return default + 1 if isinstance(default, int) else default / 2


@EACH_METHOD
def test_a_token_tells_every_option(name, weights, monkeypatch):
    if name == "variational":  # the token is a matter of the options, and not of the parts
        monkeypatch.setattr(find(name), "parts", lambda *_: None)
    method = made(name, weights)
    tokens = {tokenize(method.token)}
    for option in fields(method):
        value = other_value(method, option.name, weights)
        other = replace(method, **{option.name: value})
        assert getattr(other, option.name) != getattr(method, option.name)
        tokens.add(tokenize(other.token))
    assert len(tokens) == 1 + len(fields(method))
    assert tokenize(made(name, weights).token) == tokenize(method.token)
    assert tokenize(pickle.loads(pickle.dumps(method)).token) == tokenize(method.token)


def test_methods_with_the_same_options_have_tokens_of_their_own(weights):
    tokens = {tokenize(made(name, weights).token) for name in available()}
    assert len(tokens) == len(available())


def test_weights_are_told_by_their_content(weights):
    method = made("4dvarnet", weights)
    moved = replace(weights, name_or_path="elsewhere")
    assert tokenize(replace(method, weights=moved).token) == tokenize(method.token)


# Pickling ----------------------------------------------------------------------------------


@EACH_METHOD
def test_a_method_travels_with_its_options(name, weights):
    number = {
        "4dvar": {"memory": 5.0},
        "dineof": {"modes": 3},
        "fixed-point": {"modes": 3},
    }.get(name)
    options = number or ({"stride": 2} if find(name).learned else {"length_scale": 70.0})
    method = made(name, weights, **options)
    twin = pickle.loads(pickle.dumps(method))
    assert type(twin) is find(name)
    assert twin == method
    assert not any(isinstance(value, torch.nn.Module) for value in vars(twin).values())


# Several variables, and operators ----------------------------------------------------------


ONE_AT_A_TIME = [name for name, method in available().items() if not method.couples]


@pytest.mark.parametrize("name", ONE_AT_A_TIME)
def test_methods_of_one_variable_refuse_several(name, weights):
    with pytest.raises(OptionError) as caught:
        made(name, weights).check(layout("u", "v"))
    assert str(caught.value) == (
        f"method={name!r} takes one variable at a time; found 'u', 'v' to solve together. "
        "Use method='oi' with correlation=, or solve each variable on its own."
    )


@pytest.mark.parametrize(
    ("variables", "correlation", "text"),
    [
        (
            ("u", "v"),
            None,
            r"correlation=None: expected the correlations between 'u', 'v', a 2 x 2 matrix, or "
            r"one number\.",
        ),
        (
            ("u", "v", "w"),
            0.5,
            r"correlation=0\.5: expected the correlations between 'u', 'v', 'w', a 3 x 3 "
            r"matrix\.",
        ),
        (
            ("u",),
            0.5,
            r"correlation=0\.5 couples variables that are solved together; found only 'u'\. "
            r"Name several in variables=\.",
        ),
    ],
)
def test_a_correlation_must_fit_the_variables(variables, correlation, text):
    with pytest.raises(OptionError, match=text):
        find("oi")(correlation=correlation).check(layout(*variables))


@pytest.mark.parametrize(
    "correlation",
    [1.5, [[1.0, 0.2], [0.3, 1.0]], [[1.0, 0.2]], [[2.0, 0.2], [0.2, 2.0]], [0.5, 0.5], -2],
    ids=str,
)
def test_what_is_not_a_correlation(correlation):
    with pytest.raises(OptionError, match="expected a number from -1 to 1, or a symmetric"):
        find("oi")(correlation=correlation)


@pytest.mark.parametrize("correlation", [-1, 0, 0.3, 1.0, [[1, 0.2], [0.2, 1]], np.eye(2)])
def test_correlations_of_two_variables(correlation):
    find("oi")(correlation=correlation).check(layout("u", "v"))


@pytest.mark.parametrize("how", [{"operator": OperatorSpec("blur")}, {"own_grid": True}])
@EACH_METHOD
def test_an_operator_is_refused_where_it_would_be_left_out(name, how, weights):
    method, seen = made(name, weights), layout("ssh", **how)
    if method.through:
        method.check(seen)
        return
    with pytest.raises(OptionError) as caught:
        method.check(seen)
    assert str(caught.value) == (
        f"method={name!r} takes observations of the field itself, cell by cell; these are "
        "made through an operator. Use method='oi', 'tikhonov', 'tv' or 'variational'."
    )


@EACH_METHOD
def test_irregular_axes_are_refused_where_they_must_be_regular(name, weights):
    method = made(name, weights)
    regular = layout("ssh").grid
    time, x = regular.time.copy(), regular.x.copy()
    time[5:] += 2
    x[5:] += 1
    for what, grid in (
        ("time", replace(regular, time=time)),
        ("space", replace(regular, x=x)),
    ):
        one = layout("ssh", grid=grid)
        if what not in method.regular:
            method.check(one)
            continue
        text = "a regular time step" if what == "time" else "a regular grid in space"
        with pytest.raises(GridError, match=f"method='{name}' needs {text}"):
            method.check(one)


def two_variables() -> xr.Dataset:
    rng = np.random.default_rng(0)
    shape = (12, 8, 9)
    coords = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(12) * np.timedelta64(1, "D"),
        "lat": 40 + 0.25 * np.arange(8),
        "lon": 5 + 0.25 * np.arange(9),
    }
    dims = ("time", "lat", "lon")
    values = [np.where(rng.random(shape) < 0.5, rng.normal(size=shape), np.nan) for _ in "uv"]
    return xr.Dataset(
        {name: (dims, array) for name, array in zip("uv", values, strict=True)}, coords
    )


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_together_is_refused_at_the_call(lazy):
    ds = two_variables().chunk({"time": 2}) if lazy else two_variables()
    calls = {
        "method='fixed-point' takes one variable at a time; found 'u', 'v' to": (
            ds,
            {"method": "fixed-point"},
        ),
        "method='variational' takes one variable at a time; found 'u', 'v' to": (
            ds,
            {"method": "variational"},
        ),
        "expected the correlations between 'u', 'v', a 2 x 2 matrix, or one number": (ds, {}),
        "together=True solves several variables, and there is 'u' alone": (
            ds,
            {"variables": "u"},
        ),
        "together=True solves several variables: give a dataset": (ds.u, {}),
    }
    for text, (obj, options) in calls.items():
        with raise_if_dask_computes(), pytest.raises(OptionError, match=text):
            xinverse.interpolate(obj, together=True, **options)
    with pytest.raises(OptionError, match="correlation=0.5 couples .* found only 'u'"):
        xinverse.interpolate(ds, variables=["u", "v"], correlation=0.5)


def test_variables_together_are_lazy_and_the_numbers_of_the_eager_way():
    ds = two_variables()
    how = {"together": True, "correlation": 0.7, "error": True, "members": 2, "noise": 0.3}
    how |= {"tile": {"time": 3, "x": 5}, "length_scale": 60, "time_scale": 2, "background": 0}
    expected = xinverse.interpolate(ds, **how)
    with raise_if_dask_computes():
        found = xinverse.interpolate(ds.chunk({"time": 4, "lat": 3}), **how)
    names = {f"{v}{what}" for v in "uv" for what in ("", "_error", "_members")}
    assert set(expected.data_vars) == set(found.data_vars) == names
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-5)


# Networks of a user ------------------------------------------------------------------------


class Halved(WindowNetwork):
    """Observations where there are some, and half the background elsewhere."""

    def __init__(self, window: int = 3) -> None:
        super().__init__()
        self.window, self.config = window, {"window": window}
        self.share = torch.nn.Parameter(torch.tensor(0.5))

    def reconstruct(self, background, y, observed, **_):
        return torch.where(observed, y, self.share * background)


@pytest.fixture
def halved(monkeypatch):
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    register_network("halved-map", "learned: half of the background")(Halved)
    return find("halved-map")


def ssh() -> xr.DataArray:
    return (
        two_variables()
        .u.rename("ssh")
        .assign_attrs(units="m", standard_name="sea_surface_height")
    )


def test_a_registered_network_is_a_learned_method(halved):
    assert issubclass(halved, LearnedMethod)
    assert (halved.name, halved.learned, halved.network) == ("halved-map", True, Halved)
    assert halved.__name__ == "HalvedMapMethod"
    assert halved.summary == "learned: half of the background"
    rows = {row["method"]: row for row in xinverse.methods()}
    assert "passes=None" in rows["halved-map"]["options"]
    assert "weights" not in rows["halved-map"]["options"]
    assert "weights" in rows["halved-map"]["needs"]
    with pytest.raises(WeightsError):
        xinverse.interpolate(ssh(), "halved-map")


def test_a_registered_network_travels_and_is_used(halved, tmp_path):
    da = ssh()
    truth = da.fillna(0.1)
    how = {
        "observations": da,
        "background": truth,
        "steps": 1,
        "patch": 8,
        "batch": 1,
        "validation": 0,
    }
    model = xinverse.train("halved-map", truth, **how, learning_rate=1e-9, progress=False)
    file = model.save(tmp_path / "halved.safetensors")
    method = halved(weights=describe(file, "halved-map"), stride=1, variance=0.5)
    twin = pickle.loads(pickle.dumps(method))
    assert type(twin) is halved
    assert twin == method
    assert tokenize(twin.token) == tokenize(method.token)
    first = xr.zeros_like(da) + np.arange(9.0)
    call = {"weights": file, "background": first, "variance": 0.5, "stride": 1}
    eager = da.inverse.interpolate("halved-map", **call)
    with raise_if_dask_computes():
        lazy = da.chunk({"time": 2, "lat": 4}).inverse.interpolate("halved-map", **call)
    lazy = pickle.loads(pickle.dumps(lazy))
    np.testing.assert_allclose(lazy, eager, rtol=0, atol=1e-6)
    # Each day's mean of the background is its level.
    expected = xr.where(da.notnull(), da, 4.0 + 0.5 * (first - 4.0))
    np.testing.assert_allclose(eager, expected, rtol=0, atol=1e-5)


def test_a_network_that_is_named_is_imported_when_it_is_used(tmp_path):
    """Neither PyTorch nor the module of the network by registering, finding and describing."""
    (tmp_path / "my_network.py").write_text("import torch\nclass Mine:\n    window = 3\n")
    program = """
        import sys
        sys.path.append(sys.argv[1])
        import xinverse
        from xinverse.methods.learned import register_network
        from xinverse.methods.network_file import network_class
        from xinverse.methods.registry import find

        register_network("mine", "learned: mine", "my_network:Mine")
        assert find("mine").learned
        assert "mine" in repr(xinverse.methods())
        assert not {"my_network", "torch"} & set(sys.modules)
        assert network_class("mine").window == 3
        assert {"my_network", "torch"} <= set(sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
