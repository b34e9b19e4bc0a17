"""Fixtures of the tests of hosted().

``run`` runs a coroutine function on a loop that stays open, in four settings: asyncio as it is, with
``aionest.apply()``, with that and debug mode, and (3.12 and newer) with eager tasks. What holds on stock asyncio shows
that the test is right.
"""

import asyncio
import gc
import importlib
import os
import re
import subprocess
import sys
import textwrap
import threading

import pytest

import aionest

GUARD = 60

hosts = importlib.import_module("aionest.hosted")

SETTINGS = ["stock", "applied", "debug"] + (["eager"] if sys.version_info >= (3, 12) else [])


@pytest.fixture(autouse=True)
def hosted_left_nothing():
    threads = set(threading.enumerate())
    yield
    gc.collect()
    assert not hosts._owners
    assert set(threading.enumerate()) <= threads


class Runner:
    def __init__(self, debug):
        self.debug = debug
        self.loop = self.new_loop()

    def new_loop(self):
        loop = asyncio.SelectorEventLoop()
        loop.set_debug(self.debug)
        loop.slow_callback_duration = GUARD
        return loop

    def __call__(self, function, *args):
        return self.loop.run_until_complete(asyncio.wait_for(function(*args), GUARD))

    def end(self):
        if not self.loop.is_closed():
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
                self.loop.run_until_complete(asyncio.wait([task]))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


@pytest.fixture(params=SETTINGS)
def run(request):
    applied = aionest.is_applied()
    if request.param != "stock":
        aionest.apply()
    runner = Runner(request.param == "debug")
    if request.param == "eager":
        runner.loop.set_task_factory(asyncio.eager_task_factory)
    yield runner
    runner.end()
    if request.param != "stock" and not applied:
        aionest.unapply()


class Thread(threading.Thread):
    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.function, self.args = function, args
        self.error = self.value = None
        self.start()

    def run(self):
        try:
            self.value = self.function(*self.args)
        except BaseException as exc:
            self.error = exc

    def result(self):
        self.join(GUARD)
        assert not self.is_alive(), "the thread hangs"
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None
        return self.value


@pytest.fixture
def start():
    return Thread


@pytest.fixture
def elsewhere(start):
    """elsewhere(coroutine function, *args) runs it on a loop of its own in a thread of its own."""

    def go(function, *args):
        def work():
            loop = asyncio.SelectorEventLoop()
            try:
                return loop.run_until_complete(asyncio.wait_for(function(*args), GUARD))
            finally:
                loop.close()

        return start(work)

    return go


@pytest.fixture
def child():
    def go(script):
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)],
            capture_output=True,
            text=True,
            timeout=GUARD,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        # less what debug mode logs where the machine is slow
        said = re.sub(r"(?m)^Executing .* took [0-9.]+ seconds\n", "", done.stderr)
        assert (done.returncode, said) == (0, ""), f"{done.stdout}\n---\n{done.stderr}"
        return done.stdout.split("\n")[:-1]

    return go
