"""Fixtures of all tests: aionest applied for the test's time, and nothing left behind afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

import aionest
from aionest import _core, _run


def pytest_collection_finish(session):
    """What was imported is no garbage: the collections before and after each test need not look at it again."""
    from hypothesis import given, settings, strategies

    # what Hypothesis makes at its first use it looks for among the objects that are not frozen
    settings(max_examples=1, database=None)(given(strategies.none())(lambda _: None))()
    gc.collect()
    gc.freeze()


def drop_persistent_loop():
    """Close the loop that top-level runs of this thread share, as the thread's end would."""
    _run.close_persistent_loops()


def state():
    gc.collect()
    _core._check()
    counters = _core._counters()
    return {
        "applied": aionest.is_applied(),
        **{name: counters[name] for name in ("blocks", "fibers", "hubs_idle", "suspended", "pending")},
        # those for callbacks stay for some seconds, for the next one
        "threads": sorted(t.name for t in threading.enumerate() if t.name != "aionest-callback"),
        "fds": len(os.listdir("/proc/self/fd")),
        "sigint": signal.getsignal(signal.SIGINT),
        "running": asyncio._get_running_loop(),
        "asyncgen hooks": sys.get_asyncgen_hooks(),
    }


@pytest.fixture(autouse=True)
def nothing_left():
    """Threads, file descriptors, fibers, suspended runs, signal handlers and patches are as before the test."""
    drop_persistent_loop()
    before = state()
    yield
    drop_persistent_loop()
    if aionest.is_applied() and not before["applied"]:
        aionest.unapply()
    end = time.monotonic() + 10
    # a thread that has done its work may take a moment more to be gone
    while (after := state())["threads"] != before["threads"] and time.monotonic() < end:
        time.sleep(0.01)
    assert after == before


@pytest.fixture
def applied():
    aionest.apply()
    yield
    drop_persistent_loop()
    aionest.unapply()


MODES = ["applied", "debug", *(["eager"] if sys.version_info >= (3, 12) else [])]


@pytest.fixture(params=MODES)
def run(request, applied):
    """Runs a coroutine function at top level in each mode: as it is, debug, eager tasks."""

    def run(main, *args):
        async def with_mode():
            loop = asyncio.get_running_loop()
            if request.param == "eager":
                loop.set_task_factory(asyncio.eager_task_factory)
            try:
                return await main(*args)
            finally:
                loop.set_task_factory(None)

        return asyncio.run(with_mode(), debug=request.param == "debug")

    run.mode = request.param
    return run


# what debug mode logs where the machine is slow
SLOW = re.compile(r"^Executing .* took [0-9.]+ seconds\n", re.MULTILINE)


def child(source, *args, timeout=100, env=None, signal_after=None, dev=True):
    """Run a program in a child process of its own; its exit status, output and errors."""
    full = {**os.environ, "PYTHONFAULTHANDLER": "1", **(env or {})}
    p = subprocess.Popen(
        [
            sys.executable,
            *(["-X", "dev", "-W", "error::ResourceWarning"] if dev else []),
            "-c",
            textwrap.dedent(source),
            *args,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=full,
    )
    try:
        if signal_after is not None:
            line = ""
            for line in p.stdout:
                if line.strip() == signal_after:
                    break
            p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=timeout)
    except BaseException:
        # what it started may hold the pipes open
        for process in [*psutil.Process(p.pid).children(recursive=True), p]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            print(*p.communicate(timeout=10), file=sys.stderr)
        raise
    return subprocess.CompletedProcess(p.args, p.returncode, out, SLOW.sub("", err))


def is_alive(pid):
    """False for a zombie too: not every machine's first process reaps what is handed to it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(name="is_alive")
def is_alive_fixture():
    return is_alive


@pytest.fixture(name="child")
def child_fixture():
    return child


@pytest.fixture
def drop_loop():
    return drop_persistent_loop
