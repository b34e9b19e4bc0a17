"""Fixtures of the tests of hosted().

``run`` runs a coroutine function on a loop that stays open, in four settings: asyncio as it is, with
``aionest.apply()``, with that and debug mode, and (3.12 and newer) with eager tasks. What holds on stock asyncio shows
that the test is right.
"""

import asyncio
import sys

import pytest
import support
from support import GUARD, Thread

import aionest

SETTINGS = ["stock", "applied", "debug"] + (["eager"] if sys.version_info >= (3, 12) else [])


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
        options = ("-X", "dev", "-W", "ignore::DeprecationWarning", "-u")
        return support.lines_of(support.child(script, options=options, timeout=GUARD))

    return go
