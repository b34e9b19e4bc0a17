"""What takes the place of asyncio's functions looks like them: to inspect, to mocks, to pickle, in reports."""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
import pickle
import re
import sys
from types import FunctionType

import pytest

import aionest

MODULES = [m for name, m in sorted(sys.modules.items()) if name.partition(".")[0] == "asyncio"]


def functions():
    """Each function of asyncio, by the place where it is found."""
    found = {}
    for module in MODULES:
        for name, value in vars(module).items():
            if isinstance(value, type) and value.__module__ == module.__name__:
                for each, function in vars(value).items():
                    found[module.__name__, name, each] = function
            found[module.__name__, name] = value
    return found


def looks(function):
    return (
        function.__name__,
        function.__qualname__,
        getattr(function, "__module__", None) if type(function) is FunctionType else None,
        [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()],
        (inspect if sys.version_info >= (3, 12) else asyncio).iscoroutinefunction(function),
    )


def is_for_others(place):
    return not place[-1].startswith("_") or place[-1].endswith("__")


def test_replaced_functions_look_like_asyncios():
    aionest.unapply()
    stock = functions()
    aionest.apply()
    try:
        replaced = {
            place: function
            for place, function in functions().items()
            if type(stock.get(place)) is FunctionType and function is not stock[place]
        }
        assert ("asyncio", "run") in replaced
        assert ("asyncio.base_events", "BaseEventLoop", "create_task") in replaced
        for place, function in replaced.items():
            ours, theirs = looks(function), looks(stock[place])
            if type(function) is not FunctionType:  # a C function has no module and no self by name
                theirs = (
                    *theirs[:2],
                    None,
                    [("self", p[1], p[2]) if n == 0 else p for n, p in enumerate(theirs[3])],
                    theirs[4],
                )
                ours[3][0] = theirs[3][0]
            if place[-1] == "run" and sys.version_info < (3, 12):
                assert ours[3].pop()[0] in ("loop_factory", "context")  # one more than asyncio has there
                theirs = (*theirs[:3], [p for p in theirs[3] if p[0] != "context"], theirs[4])
            assert ours[:3] == theirs[:3]
            if is_for_others(place):
                assert ours == theirs, place
    finally:
        aionest.unapply()


def test_asyncio_run_can_be_pickled(applied):
    assert pickle.loads(pickle.dumps(asyncio.run)) is asyncio.run


@pytest.mark.usefixtures("applied")
def test_a_second_run_s_tasks_are_named_as_on_stock():
    async def names():
        task = asyncio.create_task(asyncio.sleep(0))
        await task
        return [int(one.get_name().removeprefix("Task-")) for one in (asyncio.current_task(), task)]

    first, second = asyncio.run(names()), asyncio.run(names())
    # asyncio ends generators and the executor in a task each
    assert [b - a for a, b in zip(first, second)] == [4, 4]


@pytest.mark.usefixtures("applied")
def test_debug_mode_says_what_it_says_on_stock():
    async def main():
        return repr(asyncio.current_task())

    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        task = asyncio.run(main(), debug=True)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert re.search(r"cb=\[_run_until_complete_cb\(\) at \S*base_events\.py:\d+\]", task)
    kind = "ProactorEventLoop" if sys.platform == "win32" else "_UnixSelectorEventLoop"
    assert re.search(rf"^Close <{kind} running=False closed=False debug=True>$", said.getvalue(), re.M)
