"""The registries: names, near names, and that what is registered is tested.

Each family keeps a table of cases beside its tests, one per registered name. A name that is
registered without a case fails here, so that a new operator, prior or solver is put through
every property test of its family by being registered.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import pytest
import torch
from prior_cases import PRIOR_CASES
from solver_cases import SOLVER_CASES
from test_operators import OPERATOR_CASES
from torch import Tensor, nn

from xinverse.errors import UnknownNameError, XinverseError
from xinverse.methods.base import Method
from xinverse.methods.registry import available
from xinverse.operators import OPERATORS, Operator
from xinverse.priors import PRIORS, Prior
from xinverse.registry import Registry
from xinverse.solvers import SOLVERS, Solver


@dataclass
class Family:
    """A registry, the cases that test its entries, and how an entry is applied to a batch."""

    registry: Registry[Any]
    cases: Mapping[str, Callable[[torch.dtype], Any]]
    base: type[nn.Module]
    part: str
    apply: Callable[[Any, Any, Tensor], Tensor]


FAMILIES = {
    "operator": Family(
        OPERATORS, OPERATOR_CASES, Operator, "operator", lambda case, module, x: module(x)
    ),
    "prior": Family(
        PRIORS, PRIOR_CASES, Prior, "prior", lambda case, module, x: module.gradient(x)
    ),
    "solver": Family(
        SOLVERS, SOLVER_CASES, Solver, "solver", lambda case, module, x: case.apply(module, x)
    ),
}
EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)
ENTRIES = [(kind, name) for kind, family in FAMILIES.items() for name in family.cases]
EACH_ENTRY = pytest.mark.parametrize(("kind", "name"), ENTRIES)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def untested(registry: Mapping[str, Any], cases: Mapping[str, Any]) -> set[str]:
    return set(registry) - set(cases)


def build(kind: str, name: str, dtype: torch.dtype) -> tuple[Family, Any, nn.Module, Tensor]:
    family = FAMILIES[kind]
    case = family.cases[name](dtype)
    generator = torch.Generator().manual_seed(21)
    x = torch.randn(2, *case.shape, dtype=dtype, generator=generator)
    return family, case, getattr(case, family.part), x


# Whatever is registered ----------------------------------------------------------------


@EACH_FAMILY
def test_every_registered_name_has_a_case(family):
    kind = FAMILIES[family]
    assert not untested(kind.registry, kind.cases), "give these a case beside their tests"
    assert not untested(kind.cases, kind.registry), "these cases test nothing registered"


def test_a_name_without_a_case_is_found():
    registry: Registry[type] = Registry("operator")
    registry.register("blur")(object)
    assert untested(registry, {}) == {"blur"}


@EACH_ENTRY
def test_a_case_is_of_what_its_name_stands_for(kind, name):
    family, _, module, _ = build(kind, name, torch.float32)
    assert type(module) is family.registry[name]
    assert isinstance(module, family.base)
    assert type(module).__doc__


@EACH_ENTRY
@DTYPES
def test_what_comes_out_is_of_the_type_of_what_goes_in(kind, name, dtype):
    family, case, module, x = build(kind, name, dtype)
    result = family.apply(case, module, x)
    assert result.dtype == dtype
    assert torch.isfinite(result).all()


@EACH_ENTRY
def test_a_module_changes_its_precision_as_a_whole(kind, name):
    """No tensor is left behind as a plain attribute, where .to() would not find it."""
    _, case, module, x = build(kind, name, torch.float32)
    family = FAMILIES[kind]
    if kind == "solver":  # its closure holds other parts, in the precision of the case
        case = family.cases[name](torch.float64)
    result = family.apply(case, module.double(), x.double())
    assert result.dtype == torch.float64
    loose = [
        key
        for part in module.modules()
        for key, value in vars(part).items()
        if isinstance(value, Tensor)
    ]
    assert not loose


@EACH_ENTRY
def test_state_dict_round_trip(kind, name):
    """Through a file read with weights_only, into a module whose tensors were all scrambled."""
    family, case, module, x = build(kind, name, torch.float64)
    expected = family.apply(case, module, x)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other_case = family.cases[name](torch.float64)
    other = getattr(other_case, family.part)
    with torch.no_grad():
        for value in other.state_dict().values():
            value.zero_()
    missing, unexpected = other.load_state_dict(torch.load(file, weights_only=True))
    assert not missing
    assert not unexpected
    torch.testing.assert_close(family.apply(other_case, other, x), expected, rtol=0, atol=0)


@EACH_ENTRY
@pytest.mark.parametrize("copied", ["pickle", "deepcopy"])
def test_pickling_and_copying(kind, name, copied):
    """What dask does on the way to a worker, before and after it was used."""
    family, case, module, x = build(kind, name, torch.float64)
    clone = {"pickle": lambda m: pickle.loads(pickle.dumps(m)), "deepcopy": copy.deepcopy}[
        copied
    ]
    before = clone(module)
    expected = family.apply(case, module, x)
    for twin in (before, clone(module)):
        torch.testing.assert_close(family.apply(case, twin, x), expected, rtol=0, atol=0)


@EACH_ENTRY
def test_applying_it_does_not_change_it(kind, name):
    family, case, module, x = build(kind, name, torch.float64)
    before = copy.deepcopy(module.state_dict())
    family.apply(case, module, x)
    after = module.state_dict()
    assert before.keys() == after.keys()
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=0, atol=0)
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@EACH_ENTRY
@DTYPES
def test_the_same_on_a_gpu(kind, name, dtype):
    family, case, module, x = build(kind, name, dtype)
    expected = family.apply(case, module, x)
    if kind == "solver" and name != "gaussian-posterior":
        pytest.skip("its case closes over tensors of the CPU")
    result = family.apply(case, module.to("cuda"), x.to("cuda"))
    assert result.device.type == "cuda"
    torch.testing.assert_close(result.cpu(), expected, rtol=1e-4, atol=1e-4)


def test_methods_are_registered_under_their_own_names():
    methods = available()
    assert {"oi", "4dvarnet"} <= set(methods)
    for name, method in methods.items():
        assert issubclass(method, Method)
        assert is_dataclass(method)
        assert method.__dataclass_params__.frozen
        assert method.name == name
        assert method.summary
        assert set(method.gives) <= {"error", "members"}
        assert set(method.regular) <= {"time", "space"}
        options = {option.name for option in fields(method)}
        assert set(method.companions) <= options
        assert ("weights" in options) == method.learned


# The registry itself -------------------------------------------------------------------


@pytest.fixture
def registry() -> Registry[Any]:
    colours: Registry[Any] = Registry("colour")
    colours.register("red")("#f00")
    colours.register("green")("#0f0")
    return colours


def test_it_is_a_mapping(registry):
    assert registry["red"] == "#f00"
    assert list(registry) == ["red", "green"]
    assert len(registry) == 2
    assert "blue" not in registry
    assert registry.get("blue") is None
    assert dict(registry) == {"red": "#f00", "green": "#0f0"}


def test_registering_gives_back_what_was_registered(registry):
    class Entry:
        pass

    assert registry.register("entry")(Entry) is Entry
    assert registry["entry"] is Entry


def test_an_unknown_name_is_an_error_that_names_the_near_ones(registry):
    with pytest.raises(UnknownNameError, match="no colour named 'gren'. Did you mean 'green'"):
        registry["gren"]
    with pytest.raises(KeyError, match="Known colours: 'green', 'red'"):
        registry["zzz"]
    with pytest.raises(XinverseError, match="no colour named 'zzz'. Known"):
        registry["zzz"]


@pytest.mark.parametrize("name", [None, 3, ["red"], {"red": 1}])
def test_what_is_no_name_at_all_is_the_same_error(registry, name):
    with pytest.raises(UnknownNameError, match="There is no colour named"):
        registry[name]


def test_a_name_is_taken_once(registry):
    with pytest.raises(ValueError, match="The colour 'red' is already '#f00'"):
        registry.register("red")("#a00")
    registry.register("red")("#f00")  # a module imported anew registers the same again
    assert registry["red"] == "#f00"
