from __future__ import annotations

import inspect
from unittest.mock import patch

import pytest
from strategies import Layout, build

from xinverse import accessor
from xinverse.summary import summarise

VERBS = [
    name
    for name, _ in inspect.getmembers(accessor.InverseAccessor, inspect.isfunction)
    if not name.startswith("_")
]


@pytest.mark.parametrize("verb", VERBS)
def test_signatures_agree(verb):
    (_, *ours) = inspect.signature(getattr(accessor.InverseAccessor, verb)).parameters.values()
    (_, *theirs) = inspect.signature(getattr(accessor, verb)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [
        (p.name, p.kind, p.default) for p in theirs
    ]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("as_dataset", [False, True])
def test_every_argument_is_forwarded(verb, as_dataset):
    obj = build(Layout()).to_dataset() if as_dataset else build(Layout())
    signature = inspect.signature(getattr(accessor, verb))
    first, *rest = signature.parameters.values()
    given = {p.name: object() for p in rest if p.kind is not p.VAR_KEYWORD}
    with patch.object(accessor, verb) as function:
        result = getattr(obj.inverse, verb)(**given, an_option=1)
    assert result is function.return_value
    call = signature.bind(*function.call_args.args, **function.call_args.kwargs)
    (options,) = [p.name for p in rest if p.kind is p.VAR_KEYWORD]
    assert call.arguments == {first.name: obj, **given, options: {"an_option": 1}}


def test_shown_it_tells_what_is_understood():
    for obj in (build(Layout()), build(Layout()).to_dataset()):
        assert repr(obj.inverse) == repr(summarise(obj))
        assert obj.inverse._repr_html_() == summarise(obj)._repr_html_()


def test_there_is_no_state():
    da = build(Layout())
    assert list(vars(da.inverse)) == ["_obj"]
    assert da.inverse._obj is da
