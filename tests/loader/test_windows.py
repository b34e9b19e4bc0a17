"""Servers on Windows: scripts, the job that ends them with their host, and Ctrl-C in the host's console."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest
import windows
from servers import SERVER
from support import eventually

pytest.importorskip("mcp")
if sys.platform != "win32":
    pytest.skip("what is Windows' own", allow_module_level=True)

HOST = """
import os, sys, time
from aionest.mcp import ToolsLoader
servers = {name or "good": {"command": sys.executable, "args": [sys.argv[1], "--fault", name]} for name in ("", "child")}
loader = ToolsLoader(config=servers, strict=True)
loader.load()
print("ready", flush=True)
sys.stdin.readline()
%s
"""


def host(ending, **options):
    process = subprocess.Popen(
        [sys.executable, "-c", HOST % ending, str(SERVER)], stdin=-1, stdout=-1, stderr=-1, text=True, **options
    )
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process, psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize("ending", ["KILL", "raise SystemExit(3)"])
def test_a_host_that_dies_leaves_no_server(ending):
    process, below = host("" if ending == "KILL" else ending)
    assert len(below) >= 3
    if ending == "KILL":
        process.kill()
        process.wait(80)
        process.stdin.close()
    else:
        process.stdin.write("\n")
        process.stdin.close()
    process.wait(80)
    _, alive = psutil.wait_procs(below, timeout=80)
    process.stdout.close()
    process.stderr.close()
    assert not alive


def test_what_a_server_has_started_ends_with_it(make_loader):
    loader = make_loader({"a": {"command": sys.executable, "args": [str(SERVER), "--fault", "child"]}})
    pid = loader.status["a"].pid
    below = psutil.Process(pid).children(recursive=True)
    assert below
    loader.cleanup()
    _, alive = psutil.wait_procs(below, timeout=80)
    assert not alive and not psutil.pid_exists(pid)


@pytest.fixture
def script(tmp_path):
    """A folder with a script by which bare.py is started, as npm's are: it hands on what it is given."""
    folder = tmp_path / "my tools"
    folder.mkdir()
    (folder / "serve.cmd").write_text(f'@echo off\n"{sys.executable}" "{SERVER}" %*\n')
    return folder


def test_a_script_found_by_path_gets_its_arguments(make_loader, script):
    env = {"Path": str(script) + os.pathsep + os.environ["PATH"]}
    names = ["plain", "two words", "a&b|c", "C:\\dir\\", 'a"b']
    if not windows.on_wine:  # its shell looks for variables once more in what it has put in place of %*
        names += ["100%", "%PATH%"]
    servers = {
        f"s{i}": {"command": "serve", "args": ["--name", name], "env": env, "connect_timeout": 120}
        for i, name in enumerate(names)
    }
    loader = make_loader(servers)
    assert not loader.errors
    assert [loader.status[server].server for server in servers] == names
    assert loader.call("s0.env", {"name": "PATH"}).text == env["Path"]


def test_a_server_behind_a_script_ends_with_it(make_loader, script):
    loader = make_loader(
        {"a": {"command": str(script / "serve"), "args": ["--fault", "stubborn"], "connect_timeout": 120}}
    )
    pid = int(loader.call("a.pid").text)
    assert pid != loader.status["a"].pid
    loader.cleanup()
    eventually(lambda: not psutil.pid_exists(pid))


def test_a_command_that_is_nowhere(make_loader, tmp_path, monkeypatch):
    (tmp_path / "here.cmd").write_text("@exit 0\n")
    monkeypatch.chdir(tmp_path)
    loader = make_loader({"a": {"command": "here"}})  # not in PATH
    assert "here" in loader.errors["a"]


def test_a_ctrl_c_in_the_console_of_the_host_is_not_for_its_servers():
    """GenerateConsoleCtrlEvent to a group reaches all processes of the console that are in it."""
    code = """
import signal
call = []
signal.signal(signal.SIGBREAK, lambda *_: call.append("break"))
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.kill(0, signal.CTRL_C_EVENT)
os.kill(os.getpid(), signal.CTRL_BREAK_EVENT)
end = time.monotonic() + 60
while not call and time.monotonic() < end:
    time.sleep(0.01)
print(call, loader.call("good.count").text, loader.status["good"].connections, flush=True)
"""
    process, _ = host(code, creationflags=subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NEW_CONSOLE)
    out, err = process.communicate("\n", timeout=100)
    assert out == "['break'] 1 1\n", err
