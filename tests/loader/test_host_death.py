"""The host dies in each of the ways it can: its servers end, also those that ignore the end of their input and SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from servers import SERVER

pytest.importorskip("mcp")

HOST = """
import os, sys, time
from aionest.mcp import ToolsLoader
servers = {}
for name in ("good", "stubborn", "child"):
    args = [sys.argv[1], "--fault", name if name != "good" else ""]
    servers[name] = {"command": sys.executable, "args": args}
loader = ToolsLoader(config=servers, strict=True)
loader.load()
sys.stdin.close()
print("ready", flush=True)
%s
"""


def host(ending):
    """The process, and all that are below it once it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOST % ending, str(SERVER)], stdin=-1, stdout=-1, stderr=-1, text=True
    )
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process, psutil.Process(process.pid).children(recursive=True)


def end(process, number=None):
    if number is not None:
        process.send_signal(number)
    process.communicate(timeout=80)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_signal(name):
    # not one long sleep: a signal that comes just before it is noticed after it
    process, below = host("while True: time.sleep(0.05)")
    assert len(below) >= 4
    end(process, getattr(signal, name))
    assert process.returncode != 0
    _, alive = psutil.wait_procs(below, timeout=80)
    assert not alive


@pytest.mark.parametrize("ending", ["os._exit(3)", "raise SystemExit(3)"])
def test_an_end_of_its_own(ending):
    process, below = host(ending)
    end(process)
    _, alive = psutil.wait_procs(below, timeout=80)
    assert not alive


@pytest.mark.slow
def test_a_child_of_fork_does_not_hold_it_up():
    code = """
pid = os.fork()
if not pid:
    os.close(1)
    os.close(2)
    time.sleep(600)
    os._exit(0)
print(pid, flush=True)
os._exit(0)
"""
    process, below = host(code)
    child = int(process.stdout.readline())
    try:
        end(process)
        # it may have been there already when those below were listed
        _, alive = psutil.wait_procs([p for p in below if p.pid != child], timeout=80)
        assert not alive and psutil.pid_exists(child)
    finally:
        os.kill(child, signal.SIGKILL)
