"""The public exceptions are named as they are imported, and survive pickling."""

from __future__ import annotations

import pickle

import pytest

import aionest

MODULES = ["aionest", "aionest.mcp"]


def exceptions(module):
    return [v for v in (getattr(module, n) for n in module.__all__) if isinstance(v, type) and issubclass(v, Exception)]


@pytest.mark.parametrize("name", MODULES)
def test_a_traceback_names_what_can_be_imported(name):
    module = pytest.importorskip(name, exc_type=ImportError)
    found = exceptions(module)
    assert found and {each.__module__ for each in found} == {name}
    for each in found:
        assert pickle.loads(pickle.dumps(each)) is each


@pytest.mark.parametrize("cls", exceptions(aionest))
def test_its_instances_can_be_pickled(cls):
    copy = pickle.loads(pickle.dumps(cls("why")))
    assert (type(copy), copy.args) == (cls, ("why",))
