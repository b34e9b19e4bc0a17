"""What tests of every folder use: wait for something, a thread whose outcome can be asked for, a program of its own.

On the path of all tests (``pythonpath`` in pyproject.toml): ``from support import eventually``. Nothing here imports
aionest, so that programs which must not have it may use this too.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import windows

# seconds: a guard against hanging, never an expectation. Under wine each file that an import looks for is asked of one server:
# a program of the SDK's takes 8 s there, and on a busy machine 100
GUARD = 240 if os.environ.get("AIONEST_SANITIZED") or windows.on_wine else 60
PROGRAM_GUARD = max(GUARD, 100)

# what debug mode logs where the machine is slow
SLOW = re.compile(r"^Executing .* took [0-9.]+ seconds\n", re.MULTILINE)

# development mode, on wine without asyncio's debug mode: windows.SLOW_DEBUG
DEV_MODE = ("-X", "faulthandler", "-W", "default") if windows.on_wine else ("-X", "dev")
DEV = (*DEV_MODE, "-W", "error::ResourceWarning")


def eventually(condition, what=None, *, timeout=GUARD, every=0.01):
    """Wait until condition() is true, and give what it gave. For what has no event to wait for: other processes, files."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what or _source_of(condition)}")
        time.sleep(every)
    return value


async def eventually_async(condition, what=None, *, timeout=GUARD, every=0.001):
    """The same inside a coroutine: the loop goes on meanwhile."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what or _source_of(condition)}")
        await asyncio.sleep(every)
    return value


async def value(x, delay=0):
    """x, after so many seconds."""
    await asyncio.sleep(delay)
    return x


def sync(x=1, delay=0.001):
    """The same from synchronous code."""
    return asyncio.run(value(x, delay))


async def until(when):
    """As sleep, but to a point in time: a loop runs its timers in the order of their times, however late it is."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_at(when, future.set_result, None)
    await future


def timeouts_until(begun):
    """Ever longer ones, until what a timeout is to interrupt had begun: on a busy machine a short one may come before."""
    timeout = 0.01
    while not begun:
        yield timeout
        timeout *= 2


async def after_finalizers():
    """Until what finalizers have posted to the running loop so far has run (by call_soon_threadsafe, which may take its time)."""
    posted = asyncio.Event()
    asyncio.get_running_loop().call_soon_threadsafe(posted.set)
    await posted.wait()
    await asyncio.sleep(0.01)


def needs(*packages):
    """Skip this module's tests unless these are installed. They are not imported: only the programs of its tests use them."""
    import pytest  # not in programs that use this module

    for name in packages:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not there for this Python", allow_module_level=True)


def _source_of(function):
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


class Thread(threading.Thread):
    """A thread, started at once, whose outcome can be asked for."""

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


@contextlib.contextmanager
def loops_made_by(factory):
    """As under an event loop policy whose new loops this makes; None changes nothing."""
    if factory is None:
        yield
        return
    get = getattr(asyncio.events, "_get_event_loop_policy", None) or asyncio.get_event_loop_policy
    put = getattr(asyncio.events, "_set_event_loop_policy", None) or asyncio.set_event_loop_policy
    before = get()
    put(type("Policy", (type(before),), {"_loop_factory": staticmethod(factory)})())
    try:
        yield
    finally:
        put(before)


def child(source, *args, timeout=PROGRAM_GUARD, env=None, signal_after=None, dev=True, options=None):
    """Run a program in an interpreter of its own; its exit status, output and errors.

    signal_after: send SIGINT when the program has printed this line. SIGINT is never ignored in it: see ``conftest``.
    """
    if options is None:
        options = DEV if dev else ()
    full = {**os.environ, "PYTHONFAULTHANDLER": "1", **(env or {})}
    p = subprocess.Popen(
        [sys.executable, *options, "-c", textwrap.dedent(source), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=full,
    )
    try:
        if signal_after is not None:
            for line in p.stdout:
                if line.strip() == signal_after:
                    break
            p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=timeout)
    except BaseException:
        kill_with_children(p)
        with contextlib.suppress(subprocess.TimeoutExpired):
            print(*p.communicate(timeout=10), file=sys.stderr)
        raise
    return subprocess.CompletedProcess(p.args, p.returncode, out, SLOW.sub("", err))


def lines_of(done, *, returncode=0, stderr=""):
    """The lines a child printed. Its exit status must be this one, and what it says on stderr contain this, or be empty."""
    assert done.returncode == returncode and (stderr in done.stderr if stderr else not done.stderr), (
        f"exit status {done.returncode}\n{done.stdout}\n---\n{done.stderr}"
    )
    return done.stdout.split("\n")[:-1]


def kill_with_children(process):
    """What it started may hold its pipes open."""
    for p in [*psutil.Process(process.pid).children(recursive=True), process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            p.kill()


def listens(port):
    """Whether somebody takes connections at this port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def free_port():
    """One of this machine's that nobody listens at now; another process may take it meanwhile."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def descriptors():
    """How many this process has open; None where that cannot be told: Windows has handles, and opens its own."""
    if sys.platform == "win32":
        return None  # (wine shows the files of the system below it)
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.isdir(folder):
            return len(os.listdir(folder))
    return None


def mode(number):
    """What a file of this mode is said to have: Windows knows only whether it may be written to."""
    return number if os.name == "posix" else 0o666 if number & 0o200 else 0o444


def script(path, *command):
    """Make a program of the system's shell at this path that runs a command: on Windows with .bat at the end, which is found without."""
    if sys.platform == "win32":
        path.with_name(f"{path.name}.bat").write_text(f"@{subprocess.list2cmdline(map(str, command))} %*\n")
    else:
        path.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, command))} "$@"\n')
        path.chmod(0o755)


def is_alive(pid):
    """False for a zombie too: not every machine's first process reaps what is handed to it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
