"""Fixtures of the portal tests.

Every test that takes ``portal`` runs three times: with only the engine in place, with ``aionest.apply()``, and with
asyncio's debug mode on. After every test no portal, thread, handle or file descriptor may be left.
"""

import asyncio
import textwrap

import pytest
import support
from support import GUARD, Thread

import aionest
from aionest._portal import default as portals


@pytest.fixture(autouse=True)
def portals_left_nothing(nothing_left):
    """The process's portal is closed after each test: threads, owner tasks and runners are back to what they were."""
    yield
    if portals._default is not None:
        portals._default.close(timeout=GUARD)


@pytest.fixture(params=["engine", "applied", "debug"])
def portal(request):
    applied = aionest.is_applied()
    if request.param == "applied":
        aionest.apply()
    with portals.Portal(f"test-{request.param}") as p:
        if request.param == "debug":
            p.call(lambda: asyncio.get_running_loop().set_debug(True))
            p.call(lambda: setattr(asyncio.get_running_loop(), "slow_callback_duration", GUARD))
        yield p
    if request.param == "applied" and not applied:
        aionest.unapply()


@pytest.fixture
def start():
    """start(function, *args) runs it in a thread; .result() gives the outcome."""
    return Thread


HEADER = """
import asyncio, atexit, os, signal, sys, threading, time, warnings
import aionest
from contextlib import asynccontextmanager
from aionest._portal.default import portal, shared_run
from aionest._portal.portal import Portal
from aionest import hosted
def interrupt_when(event, number=signal.SIGINT):
    def wait():
        event.wait(); time.sleep(0.05)
        os.kill(os.getpid(), number) if os.name == "posix" else signal.raise_signal(number)
    threading.Thread(target=wait, daemon=True).start()
"""


@pytest.fixture
def child():
    """child(script) runs it in an interpreter of its own and returns its output, which must be free of complaints."""

    def run(script, *, returncode=0, options=support.DEV_MODE, stderr="", header=HEADER, timeout=GUARD):
        done = support.child(header + textwrap.dedent(script), options=options, timeout=timeout)
        return support.lines_of(done, returncode=returncode, stderr=stderr)

    return run
