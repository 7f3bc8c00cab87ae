"""The checks of what users pass: what goes through, and what the errors say."""

from __future__ import annotations

import math
from fractions import Fraction
from types import MappingProxyType

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xinverse  # noqa: F401  registers .inverse
from xinverse.checks import (
    LARGEST,
    check_choice,
    check_count,
    check_mapping,
    check_number,
    check_switch,
    is_number,
)
from xinverse.errors import OptionError, XinverseError

NUMBERS = [0, -3, 2.5, np.float32(1.5), np.float64(-2), np.int8(4), np.uint16(7), 10**30]
NOT_NUMBERS = [
    True,
    False,
    np.True_,
    None,
    "1",
    math.inf,
    -math.inf,
    math.nan,
    np.float32("nan"),
    [1.0],
    np.array([1.0]),
    {},
    1j,
]


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_numbers(value):
    assert is_number(value) is True
    check_number("size", value)


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=repr)
def test_what_is_not_a_number(value):
    assert is_number(value) is False
    with pytest.raises(OptionError) as caught:
        check_number("size", value)
    assert str(caught.value) == f"size={value!r}: expected a number."


BOUNDS = ("above", "least", "below", "most")


@given(
    value=st.floats(-10, 10) | st.integers(-10, 10),
    bounds=st.dictionaries(st.sampled_from(BOUNDS), st.integers(-10, 10)),
)
def test_bounds(value, bounds):
    met = {
        "above": lambda bound: value > bound,
        "least": lambda bound: value >= bound,
        "below": lambda bound: value < bound,
        "most": lambda bound: value <= bound,
    }
    if all(met[name](bound) for name, bound in bounds.items()):
        check_number("size", value, **bounds)
        return
    words = {
        "above": "above {}",
        "least": "{} or more",
        "below": "below {}",
        "most": "at most {}",
    }
    said = " and ".join(words[name].format(bounds[name]) for name in BOUNDS if name in bounds)
    with pytest.raises(OptionError) as caught:
        check_number("size", value, **bounds)
    assert str(caught.value) == f"size={value!r}: expected a number {said}."


@pytest.mark.parametrize(
    ("value", "bounds", "text"),
    [
        (0, {"above": 0}, "share=0: expected a number above 0."),
        (1, {"above": 0, "below": 1}, "share=1: expected a number above 0 and below 1."),
        (
            -0.1,
            {"least": 0, "most": 0.5},
            "share=-0.1: expected a number 0 or more and at most 0.5.",
        ),
        ("half", {"above": 0}, "share='half': expected a number above 0."),
        (math.nan, {"most": 1}, "share=nan: expected a number at most 1."),
        (True, {"least": 0}, "share=True: expected a number 0 or more."),
    ],
)
def test_numbers_out_of_bounds_say_what_was_expected(value, bounds, text):
    with pytest.raises(OptionError) as caught:
        check_number("share", value, **bounds)
    assert str(caught.value) == text


@pytest.mark.parametrize("value", [1, 3, np.int64(2), np.uint8(9), 10**30])
def test_counts(value):
    check_count("cells", value)
    check_count("cells", value, least=1)


@pytest.mark.parametrize(
    "value", [0, -1, 1.0, 2.5, True, np.True_, "3", None, np.float32(2), [1]]
)
def test_what_is_not_a_count(value):
    with pytest.raises(OptionError) as caught:
        check_count("rounds", value)
    assert str(caught.value) == f"rounds={value!r}: expected a whole number, 1 or more."


def test_a_count_says_what_is_counted_and_how_many_at_least():
    check_count("seed", 0, least=0)
    check_count("seed", -2, least=-2)
    with pytest.raises(OptionError) as caught:
        check_count("members", 1, least=2, what="a number of samples")
    assert str(caught.value) == "members=1: expected a number of samples, 2 or more."


@pytest.mark.parametrize("known", [("one", "two"), iter(["one", "two"]), {"one": 1, "two": 2}])
def test_choices(known):
    with pytest.raises(OptionError) as caught:
        check_choice("kind", "three", known)
    assert str(caught.value) == "kind='three': expected one of 'one', 'two'."


def test_a_known_word_is_a_choice_and_nothing_else_is():
    check_choice("kind", "two", ("one", "two"))
    check_choice("kind", "two", iter(["one", "two"]))
    for value in (None, 2, ["two"], {"two": 1}, "tw", "TWO"):
        with pytest.raises(OptionError, match="expected one of 'one', 'two'"):
            check_choice("kind", value, ("one", "two"))


def test_switches():
    check_switch(error=True, keep=False, other=np.True_)
    check_switch()
    for value in (1, 0, "yes", None, 1.0, [True]):
        with pytest.raises(OptionError) as caught:
            check_switch(error=True, keep=value)
        assert str(caught.value) == f"keep={value!r}: expected True or False."


def test_mappings():
    check_mapping("options", {})
    check_mapping("options", MappingProxyType({"a": 1}))
    for value in (None, [1], "a", [("a", 1)]):
        with pytest.raises(OptionError) as caught:
            check_mapping("options", value)
        assert str(caught.value) == f"options={value!r}: expected a dictionary."


def test_an_error_of_a_check_is_one_of_the_package():
    for value in ("1", Fraction(1, 2)):
        with pytest.raises(XinverseError, match="expected a number"):
            check_number("size", value)


@pytest.mark.parametrize("name", sorted(LARGEST))
def test_values_that_cannot_be_meant(name):
    most, why = LARGEST[name]
    check_number(name, most)
    for value in (2 * most, 1e300):
        with pytest.raises(OptionError) as caught:
            check_number(name, value)
        assert str(caught.value) == f"{name}={value!r}: expected at most {most:g} ({why})."


@pytest.mark.parametrize(
    "options",
    [
        {"length_scale": 1e12},
        {"time_scale": 1e9},
        {"tolerance": 1e300},
        {"members": 10**6},
        {"method": "fixed-point", "rounds": 10**9},
        {"method": "4dvarnet", "passes": 10**6},
    ],
    ids=str,
)
def test_they_are_errors_at_the_call(options):
    data = xr.DataArray(
        np.zeros((2, 3, 3)),
        {"time": np.arange("2020-01-01", "2020-01-03", dtype="M8[D]").astype("M8[ns]")}
        | {"lat": 40 + 0.1 * np.arange(3), "lon": 0.1 * np.arange(3)},
        ("time", "lat", "lon"),
        name="sla",
    )
    name, value = next(item for item in options.items() if item[0] != "method")
    with pytest.raises(
        OptionError, match=rf"{name}={value!r}: expected at most".replace("+", r"\+")
    ):
        data.inverse.interpolate(**options)
