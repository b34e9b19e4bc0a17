"""What asyncio looks up at each turn may be replaced while a run is on, and then counts as on stock."""

from __future__ import annotations

import asyncio
import ctypes
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import aionest

sys.path.insert(0, str(Path(__file__).parent))
import patched_programs

SCRIPT = Path(patched_programs.__file__)


def values(*args):
    done = subprocess.run([sys.executable, str(SCRIPT), *args], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def stock():
    return values()


@pytest.fixture(scope="module")
def on_aionest():
    return values("aionest")


@pytest.mark.parametrize("name", patched_programs.PROGRAMS)
def test_a_patch_during_the_run_counts_as_on_stock(name, stock, on_aionest):
    assert on_aionest[name] == stock[name]


def test_the_programs_see_their_patches(stock):
    assert stock["time_of_the_loop"][0] == ["late", "back"]
    assert all(value not in (None, 0, [], [[]]) for value in stock.values())


class MethodDef(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("meth", ctypes.c_void_p)]


def definition(function):
    """Where a built-in function's C function is written."""
    return ctypes.cast(
        ctypes.c_void_p.from_address(id(function) + object.__basicsize__).value, ctypes.POINTER(MethodDef)
    ).contents


def test_a_clock_whose_c_function_is_exchanged_is_read():
    """Libraries that travel in time do that: the name stays what it was."""
    aionest.apply()
    monotonic = definition(time.monotonic)

    async def main():
        loop, fired = asyncio.get_running_loop(), []
        loop.call_later(100, fired.append, 1)
        before, real = monotonic.meth, loop.time()
        monotonic.meth = definition(time.time).meth  # seconds since 1970
        try:
            moved = loop.time() - real
            for _ in range(3):
                await asyncio.sleep(0)
        finally:
            monotonic.meth = before
        return moved > 1e6, fired, loop.time() - real < 1e6

    assert asyncio.run(main()) == (True, [1], True)


def test_a_nested_run_sees_a_moved_clock():
    aionest.apply()

    async def inner():
        loop, fired = asyncio.get_running_loop(), []
        loop.call_later(100, fired.append, 1)
        loop.time = lambda: 1e12
        for _ in range(3):
            await asyncio.sleep(0)
        del loop.time
        return fired

    async def outer():
        return asyncio.run(inner())

    assert asyncio.run(outer()) == [1]


def test_many_changes_of_a_class_do_not_blind_it():
    """CPython gives a class so many version tags and no more."""
    aionest.apply()

    class Loop(asyncio.SelectorEventLoop):
        pass

    for i in range(1500):
        Loop.mark = i
        hasattr(Loop, "mark")
    loop = Loop()

    async def main():
        for _ in range(2):
            fired = []
            loop.call_later(100, fired.append, 1)
            Loop.time = lambda self: 1e12
            for _ in range(3):
                await asyncio.sleep(0)
            del Loop.time
        return fired

    try:
        assert loop.run_until_complete(main()) == [1]
    finally:
        loop.close()
