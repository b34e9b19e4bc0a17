"""The fixture that looks for what a test leaves finds it, blames that test, and no other; SIGINT is never ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent

LEAKS = """
import asyncio, os, signal, sys, threading
import pytest, support
import aionest

support.GUARD = 0.2
kept = []

def thread():
    kept.append(threading.Event())
    threading.Thread(target=kept[-1].wait, daemon=True).start()

def thread_in_the_place_of_another():
    kept[-1].set()
    kept.append(threading.Event())
    threading.Thread(target=kept[-1].wait, daemon=True, name="Thread-1 (wait)").start()

def descriptor():
    kept.append(os.open(os.devnull, os.O_RDONLY))

def portal():
    kept.append(aionest.Portal("left"))
    kept[-1].call(asyncio.sleep, 0)

def handler():
    signal.signal(signal.SIGINT, lambda *_: None)

def hooks():
    sys.set_asyncgen_hooks(firstiter=lambda _: None)

def running_loop():
    kept.append(asyncio.new_event_loop())
    asyncio._set_running_loop(kept[-1])

def test_applies():
    aionest.apply()

def test_was_taken_back():
    assert not aionest.is_applied()

LEAKS = [thread, thread_in_the_place_of_another, descriptor, portal, handler, hooks, running_loop]

@pytest.mark.parametrize("leak", LEAKS)
def test_leaves(leak):
    leak()

@pytest.mark.parametrize("leak", LEAKS)
def test_finds_what_others_left(leak):
    pass

class Cycle:
    def __init__(self):
        self.me = self
        self.fd = os.open(os.devnull, os.O_RDONLY)

    def __del__(self):
        os.close(self.fd)

def test_garbage_is_no_leak():
    Cycle()

@pytest.fixture(scope="module")
def wider():
    yield os.open(os.devnull, os.O_RDONLY)

def test_what_a_wider_fixture_makes_is_no_leak(wider):
    pass

"""


def run_pytest(file, *options, variables=None, **more):
    """pytest with our conftest and no plugin of others, whose import takes most of the time."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS / "helpers")])}
    env |= {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
        "AIONEST_RECORD_FAILED": "",
        "AIONEST_ONLY": "",
    }
    env |= variables or {}
    env.pop("PYTEST_XDIST_WORKER", None)  # what runs this may be one of several workers
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-c", os.devnull, "-rA"]
    command += ["--rootdir", str(file.parent), *options, str(file)]
    return subprocess.run(command, cwd=file.parent, env=env, capture_output=True, text=True, timeout=110, **more)


def outcomes(result):
    lines = [line.split(" - ")[0].split() for line in result.stdout.splitlines()]
    return {
        (line[0], line[-1].partition("::")[2]) for line in lines if line and line[0] in ("PASSED", "ERROR", "FAILED")
    }


def test_what_a_test_leaves_is_found_in_that_test(tmp_path):
    file = tmp_path / "test_leaks.py"
    file.write_text(LEAKS)
    result = run_pytest(file)
    found = outcomes(result)
    names = ["thread", "thread_in_the_place_of_another", "descriptor", "portal", "handler", "hooks", "running_loop"]
    blamed = {name for kind, name in found if kind != "PASSED"}
    assert blamed == {f"test_leaves[{name}]" for name in names}, result.stdout
    assert len([1 for kind, name in found if kind == "PASSED"]) == 2 * len(names) + 4, result.stdout


@pytest.mark.skipif(os.name == "nt", reason="SIGINT cannot be ignored there")
def test_sigint_is_not_ignored_where_a_shell_ignores_it_for_what_it_starts(tmp_path):
    file = tmp_path / "test_sigint.py"
    file.write_text("""
import signal, support
def test_here():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
def test_in_a_child():
    done = support.child("import os, signal; os.kill(os.getpid(), signal.SIGINT)", dev=False)
    assert done.returncode == -signal.SIGINT and "KeyboardInterrupt" in done.stderr
""")
    result = run_pytest(file, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert {kind for kind, _ in outcomes(result)} == {"PASSED"}, result.stdout


def test_ci_runs_what_failed_once_more_and_nothing_else(tmp_path):
    file, failed = tmp_path / "test_some.py", tmp_path / "failed"
    file.write_text("""
import os, pytest
@pytest.mark.parametrize("text", ["a b", "c"])
def test_one(text):
    assert text == "c" or "AGAIN" in os.environ
""")

    first = run_pytest(file, "-p", "xdist.plugin", "-n", "2", variables={"AIONEST_RECORD_FAILED": str(failed)})
    assert first.returncode == 1 and "1 failed, 1 passed" in first.stdout, first.stdout
    assert failed.read_text() == "test_some.py::test_one[a b]\n"
    again = run_pytest(file, variables={"AIONEST_ONLY": str(failed), "AGAIN": "1"})
    assert again.returncode == 0 and "1 passed" in again.stdout, again.stdout
    failed.write_text("another.py::test\n")
    assert run_pytest(file, variables={"AIONEST_ONLY": str(failed)}).returncode == 0
