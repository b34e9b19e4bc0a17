"""Fixtures of the portal tests.

Every test that takes ``portal`` runs three times: with only the engine in place, with ``aionest.apply()``, and with
asyncio's debug mode on. After every test no portal, thread, handle or file descriptor may be left.
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
import time

import pytest

import aionest
from aionest import _core

GUARD = 60  # seconds: a guard against hanging, never an expectation

# the attributes of these names are functions
portals = importlib.import_module("aionest.portal")
hosts = importlib.import_module("aionest.hosted")


def fds():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@pytest.fixture(autouse=True)
def portals_left_nothing():
    """Threads, owner tasks, runners and descriptors are back to what they were."""
    threads = set(threading.enumerate())
    before = fds()
    yield
    if portals._default is not None:
        portals._default.close(timeout=GUARD)
    gc.collect()
    deadline = time.monotonic() + GUARD
    while (left := set(threading.enumerate()) - threads) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left
    assert not portals.runners
    assert not hosts._owners
    assert _core._counters()["suspended"] == 0
    assert fds() <= before


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


class Thread(threading.Thread):
    """A thread whose outcome can be asked for."""

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
    """start(function, *args) runs it in a thread; .result() gives the outcome."""
    return Thread


HEADER = """
import asyncio, atexit, os, signal, sys, threading, time, warnings
import aionest
from contextlib import asynccontextmanager
from aionest.portal import Portal, portal, shared_run
from aionest.hosted import hosted
def interrupt_when(event, number=signal.SIGINT):
    def wait():
        event.wait(); time.sleep(0.05); os.kill(os.getpid(), number)
    threading.Thread(target=wait, daemon=True).start()
"""


@pytest.fixture
def child():
    """child(script) runs it in an interpreter of its own and returns its output, which must be free of complaints."""

    def run(script, *, returncode=0, options=("-X", "dev"), stderr="", header=HEADER, timeout=GUARD):
        done = subprocess.run(
            [sys.executable, *options, "-c", header + textwrap.dedent(script)],
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        # less what debug mode logs where the machine is slow
        said = re.sub(r"(?m)^Executing .* took [0-9.]+ seconds\n", "", done.stderr)
        assert (done.returncode, said if stderr == "" else stderr in said) == (
            returncode,
            "" if stderr == "" else True,
        ), f"{done.stdout}\n---\n{done.stderr}"
        return done.stdout.split("\n")[:-1]

    return run
