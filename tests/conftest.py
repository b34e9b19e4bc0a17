"""Fixtures of all tests: aionest applied for the test's time, and nothing left behind afterwards."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import signal
import sys
import threading
import time

import pytest
import support
import windows

import aionest
from aionest import _core
from aionest._runs import thread_loop


def pytest_configure(config):
    """A shell without job control starts what it puts in the background with SIGINT ignored, and so would be every
    child of ours: each test of Ctrl-C would hang."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Trio's plugin for Hypothesis imports Trio; each worker imports Hypothesis, and no test of Trio's is one of its
    os.environ["HYPOTHESIS_NO_PLUGINS"] = "1"
    # No test speaks TLS; but each HTTP client reads whom this machine trusts, which takes longer than to connect and to ask.
    # A folder without certificates is read in no time
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = os.path.dirname(support.__file__)


# CI runs what has failed once more, alone: AIONEST_RECORD_FAILED names a file that the ids of failed tests are added to,
# AIONEST_ONLY one with those to run
RECORD, ONLY = os.environ.get("AIONEST_RECORD_FAILED"), os.environ.get("AIONEST_ONLY")


def record(line):
    if RECORD and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(RECORD, "a") as file:
            file.write(f"{line}\n")


def pytest_runtest_logreport(report):
    if report.failed:
        record(report.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """What is imported to collect the tests stays: to look for garbage amid it takes a tenth of that time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(config, items):
    for item in items if sys.platform == "win32" else ():
        params = getattr(item, "callspec", None)
        reason = windows.reason_not_to_run(item.nodeid, params.params.values() if params else ())
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
    if ONLY:
        with open(ONLY) as file:
            wanted = set(file.read().splitlines())
        config.hook.pytest_deselected(items=[i for i in items if i.nodeid not in wanted])
        items[:] = [i for i in items if i.nodeid in wanted]


def pytest_sessionfinish(session, exitstatus):
    if ONLY and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK
    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        record("INCOMPLETE")  # not all tests were run: to run those that failed is not enough


def pytest_collection_finish(session):
    """What was imported is no garbage: the collections after each test need not look at it again."""
    if "hypothesis" in sys.modules:
        from hypothesis import given, settings, strategies

        # what it makes at its first use it looks for among the objects that are not frozen
        settings(max_examples=1, database=None)(given(strategies.none())(lambda _: None))()
    # descriptors that uvloop keeps for the whole process come with its first loop
    for make in INSTALLED.values():
        loop = make()()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    freeze()


def freeze():
    gc.collect()
    gc.freeze()


def drop_persistent_loop():
    """Close the loop that top-level runs of this thread share, as the thread's end would."""
    thread_loop.close_persistent_loops()


def size(module, name):
    return len(getattr(sys.modules.get(module), name, ()))


def state():
    _core._check()
    counters = _core._counters()
    return {
        "applied": aionest.is_applied(),
        **{name: counters[name] for name in ("blocks", "fibers", "hubs_idle", "suspended", "pending")},
        "portals": size("aionest._portal.runner", "runners"),
        "hosted": size("aionest._hosted.owner", "_owners"),
        # those for callbacks stay for some seconds, for the next one
        "threads": {(t.name, t.ident) for t in threading.enumerate() if t.name != "aionest-callback"},
        "fds": support.descriptors(),
        "sigint": signal.getsignal(signal.SIGINT),
        "running": asyncio._get_running_loop(),
        "asyncgen hooks": sys.get_asyncgen_hooks(),
    }


def settled(before, limit, collect):
    """The state now. A thread that has done its work may take a moment more to be gone."""
    end = time.monotonic() + limit
    while True:
        collect()
        now = state()
        if now["threads"] == before["threads"] or time.monotonic() > end:
            return now
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def nothing_left():
    """Threads, descriptors, portals, fibers, suspended runs, signal handlers and patches are as before the test.

    Collections are what this costs: they look at what is new since the test's begin, or that of the one before. (What that
    one had is garbage not at its end, where pytest still holds its fixtures, but here.)
    """
    drop_persistent_loop()
    freeze()
    before = state()
    yield
    drop_persistent_loop()
    if aionest.is_applied() and not before["applied"]:
        aionest.unapply()
    left = settled(before, 0.1, gc.collect)
    if left != before:
        # what was there before may have become garbage since
        gc.unfreeze()
        left = settled(before, support.GUARD, gc.collect)
    assert left == before


@pytest.fixture
def applied():
    aionest.apply()
    yield
    drop_persistent_loop()
    aionest.unapply()


def _uvloop():
    import uvloop

    return uvloop.new_event_loop


def _foreign():
    from foreign_loop import ForeignLoop

    return ForeignLoop


# loops whose run_forever is not asyncio's own, by what gives their factory; AIONEST_LOOPS=asyncio runs only the tests that
# are about them
INSTALLED = {"foreign": _foreign, **({"uvloop": _uvloop} if importlib.util.find_spec("uvloop") else {})}
FOREIGN = {} if os.environ.get("AIONEST_LOOPS") == "asyncio" else INSTALLED
MODES = ["applied", "debug", *(["eager"] if sys.version_info >= (3, 12) else []), *FOREIGN]


def pytest_generate_tests(metafunc):
    """A module with ON_EACH_LOOP = True is about all loops: its tests run once more for each kind that is not asyncio's own."""
    names = metafunc.fixturenames
    if getattr(metafunc.module, "ON_EACH_LOOP", False) and not {"run", "child", "asyncios_loop"} & set(names):
        metafunc.parametrize("new_loops", ["asyncio", *FOREIGN], indirect=True)


@pytest.fixture(autouse=True)
def new_loops(request, nothing_left):
    """What asyncio.new_event_loop() gives."""
    kind = getattr(request, "param", "asyncio")
    with support.loops_made_by(FOREIGN[kind]() if kind in FOREIGN else None):
        yield kind
        if kind in FOREIGN:
            drop_persistent_loop()


@pytest.fixture
def asyncios_loop():
    """For a test in a module that is ON_EACH_LOOP: this one is about asyncio's own loop."""


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

        return asyncio.run(with_mode(), debug=True if request.param == "debug" else None)

    run.mode = request.param
    with support.loops_made_by(FOREIGN[run.mode]() if run.mode in FOREIGN else None):
        yield run
        drop_persistent_loop()


@pytest.fixture(name="is_alive")
def is_alive_fixture():
    return support.is_alive


@pytest.fixture(name="child")
def child_fixture():
    return support.child


@pytest.fixture
def drop_loop():
    return drop_persistent_loop
