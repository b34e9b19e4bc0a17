"""Scopes are left elsewhere on uvloop as on asyncio: tests without the ``run`` fixture run once more where new loops are uvloop's."""

from __future__ import annotations

import importlib.util

import pytest
import support


def pytest_generate_tests(metafunc):
    if (
        "run" not in metafunc.fixturenames
        and "child" not in metafunc.fixturenames
        and importlib.util.find_spec("uvloop")
    ):
        metafunc.parametrize("loops", ["asyncio", "uvloop"], indirect=True)


@pytest.fixture(autouse=True)
def loops(request):
    """What makes the event loops of the test."""
    factory = None
    if getattr(request, "param", None) == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with support.loops_made_by(factory):
        yield
