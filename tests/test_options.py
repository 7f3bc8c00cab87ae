from __future__ import annotations

import pytest

from xinverse.errors import OptionError, UnknownNameError
from xinverse.options import get_option, set_options

DEFAULTS = {"device": "auto", "memory_budget": 2**30, "progress": False}


@pytest.fixture(autouse=True)
def _as_before():
    with set_options(**DEFAULTS):
        yield


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_option_has_its_documented_default(name):
    assert get_option(name) == DEFAULTS[name]


def test_a_block_ends_with_what_was_before():
    with set_options(device="cpu", progress=True):
        with set_options(device="cuda:1"):
            assert get_option("device") == "cuda:1"
            assert get_option("progress") is True
        assert get_option("device") == "cpu"
    assert {name: get_option(name) for name in DEFAULTS} == DEFAULTS


def test_a_block_that_fails_ends_with_what_was_before():
    with pytest.raises(RuntimeError, match="inside"), set_options(device="cpu"):
        raise RuntimeError("inside")
    assert get_option("device") == "auto"


def test_without_a_block_it_stays():
    set_options(device="cpu")
    assert get_option("device") == "cpu"


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (1, 1),
        (2e9, 2_000_000_000),
        ("2e9", 2_000_000_000),
        ("2 GiB", 2 * 2**30),
        ("2gib", 2 * 2**30),
        ("1.5 GB", 1_500_000_000),
        (" 500MB ", 500_000_000),
        ("64 KiB", 65_536),
        ("3 Ti", 3 * 2**40),
        ("100", 100),
    ],
)
def test_memory_budget_is_a_whole_number_of_bytes(given, size):
    with set_options(memory_budget=given):
        assert get_option("memory_budget") == size
        assert type(get_option("memory_budget")) is int


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"memory_budget": "much"}, "memory_budget='much': expected a number of bytes"),
        ({"memory_budget": "2 parsecs"}, "'2 GiB' or '500 MB'"),
        ({"memory_budget": 0}, "memory_budget=0"),
        ({"memory_budget": -1e9}, "memory_budget=-1000000000.0"),
        ({"memory_budget": float("nan")}, "memory_budget=nan"),
        ({"memory_budget": float("inf")}, "memory_budget=inf"),
        ({"memory_budget": True}, "memory_budget=True"),
        ({"memory_budget": None}, "memory_budget=None"),
        ({"device": "tpu"}, "device='tpu': expected 'auto'"),
        ({"device": "cuda:"}, "such as 'cuda:0'"),
        ({"device": 0}, "device=0: expected"),
        ({"progress": 1}, "progress=1: expected True or False."),
    ],
)
def test_a_bad_value_says_what_is_expected_and_sets_nothing(options, text):
    with pytest.raises(OptionError) as raised:
        set_options(**({"device": "cpu", "progress": True} | options))
    assert text in str(raised.value)
    assert {name: get_option(name) for name in DEFAULTS} == DEFAULTS


def test_an_unknown_option_is_told_the_near_ones():
    with pytest.raises(UnknownNameError, match="Did you mean 'memory_budget'"):
        set_options(memory_budge=1)
    with pytest.raises(KeyError, match=r"no option named 'devise'.*'device'"):
        get_option("devise")
