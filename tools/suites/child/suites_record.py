"""A pytest plugin: writes what each test does to the file $SUITES_EVENTS, line by line, while it happens.

JSON lines, each in one write, so that after a hang or a crash the last ones name the test that was running:

    collected   the keys of all tests, in order           collect-error   a file that cannot be collected
    start, end  a test                                    report          one phase of it: outcome, text of a failure
    warning     category and text                         log             what asyncio logged, from WARNING on
    left        once all is over and the garbage collected: threads, descriptors and child processes still there

A key is the node id with addresses blanked; where it is collected more than once, `#2`, `#3`... is added. With
$SUITES_ONLY, a JSON list of keys, the others are deselected. Imports nothing of asyncio or aionest: it must not change
what it looks at. A fork of this process writes nothing, its tests are not ours.
"""

import faulthandler
import gc
import json
import logging
import os
import re
import signal
import sys
import threading

import pytest

ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")

_events = os.open(os.environ["SUITES_EVENTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
_pid = os.getpid()
_keys = {}  # node id -> keys not yet started, in order
_running = None
_stderr = os.fdopen(os.dup(2), "w")
faulthandler.register(signal.SIGUSR1, file=_stderr, all_threads=True)


def emit(event, **fields):
    if os.getpid() == _pid:
        os.write(
            _events, (json.dumps({"ev": event, **fields}, default=repr) + "\n").encode("utf-8", "backslashreplace")
        )


def key_of(item):
    return getattr(item, "_suites_key", item.nodeid)


class _Log(logging.Filter):
    """On asyncio's logger: a filter sees records and changes nothing, where a handler would keep them from stderr."""

    def filter(self, record):
        try:
            text = record.getMessage()
        except Exception as exc:
            text = f"{record.msg} ({exc!r})"
        if record.levelno >= logging.WARNING:
            if record.exc_info and record.exc_info[1] is not None:
                text = f"{text.splitlines()[0]} {record.exc_info[1]!r}"
            emit("log", key=_running, text=f"{record.levelname} {text}")
        return True


logging.getLogger("asyncio").addFilter(_Log())
for _pair in os.environ.get("SUITES_LOG_LEVELS", "").split():  # what a project's own runner would set
    logging.getLogger(_pair.split("=")[0]).setLevel(_pair.split("=")[1])


# last: what -k, -m or another plugin drops or moves is not ours to tell
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session, config, items):
    seen = {}
    for item in items:
        name = ADDRESS.sub("0x", item.nodeid)
        number = seen[name] = seen.get(name, 0) + 1
        item._suites_key = name if number == 1 else f"{name}#{number}"
    emit("collected", keys=[key_of(i) for i in items])
    if "SUITES_ONLY" in os.environ:
        with open(os.environ["SUITES_ONLY"], encoding="utf-8") as file:
            only = set(json.load(file))
        dropped = [i for i in items if key_of(i) not in only]
        config.hook.pytest_deselected(items=dropped)
        items[:] = [i for i in items if key_of(i) in only]


def pytest_collectreport(report):
    if report.failed:
        emit("collect-error", key=report.nodeid, text=str(report.longrepr))


# around the whole protocol: plugins that run a test several times report each phase more than once
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    global _running
    _running = key_of(item)
    emit("start", key=_running)
    yield
    emit("end", key=_running)
    _running = None


def pytest_runtest_logreport(report):
    outcome = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfail" if report.skipped else "xpass"
    text = "" if report.outcome == "passed" else str(report.longrepr)
    emit("report", key=_running or report.nodeid, when=report.when, outcome=outcome, text=text[-12000:])


def pytest_warning_recorded(warning_message, when, nodeid):
    emit("warning", key=nodeid, category=warning_message.category.__name__, text=str(warning_message.message))


def _descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("/"):
            target = "file"
        kind = target.split(":[")[0] if not target.startswith("anon_inode") else target
        found[kind] = found.get(kind, 0) + 1
    return found


def _children():
    """Commands of the child processes that are still there."""
    found = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children") as file:
                pids = file.read().split()
        except OSError:
            continue
        for pid in pids:
            try:
                with open(f"/proc/{pid}/comm") as file:
                    found.append(file.read().strip())
            except OSError:
                pass
    return found


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    for _ in range(3):
        gc.collect()
    threads = [t.name for t in threading.enumerate() if t is not threading.current_thread()]
    emit("left", threads=threads, descriptors=_descriptors(), children=_children())
    sys.stderr.flush()
