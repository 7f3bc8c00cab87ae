"""Every public name says what it does, in numpydoc."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType

import pytest
from numpydoc.validate import validate

import xinverse

# What numpydoc would also have, and this project leaves to the author's judgement.
LEFT_OPEN = {
    "ES01",  # an extended summary
    "EX01",  # an example
    "GL01",  # the summary on the line after the quotes
    "SA01",  # a "See Also" section
    "SA04",  # a description for each entry of it
    "SS05",  # a summary that starts with a verb
    "YD01",  # a "Yields" section, asked for where a generator documents "Returns"
}


def public(holder: object, prefix: str) -> Iterator[tuple[str, object]]:
    """Walk the public names, into modules that list theirs and into classes of ours."""
    names = getattr(holder, "__all__", ()) if isinstance(holder, ModuleType) else vars(holder)
    for name in names:
        if name.startswith("_"):
            continue
        member = getattr(holder, name)
        full = f"{prefix}.{name}"
        if isinstance(member, ModuleType):
            yield from public(member, full)
        elif inspect.isclass(member) and member.__module__.startswith("xinverse"):
            yield full, member
            yield from public(member, full)
        elif inspect.isroutine(member) or isinstance(member, property):
            yield full, member


NAMES = dict(public(xinverse, "xinverse"))


@pytest.mark.parametrize(
    "name", NAMES or [pytest.param("", marks=pytest.mark.skip("none yet"))]
)
def test_a_public_name_has_a_numpydoc_docstring(name):
    member = NAMES[name]
    if inspect.isfunction(member):  # by its own name: xinverse.methods is a module's name too
        name = f"{member.__module__}.{member.__qualname__}"
    found = [
        f"{code}: {text}" for code, text in validate(name)["errors"] if code not in LEFT_OPEN
    ]
    assert not found
