"""`make run` ends only what it has started itself, and its web server does what the table says."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import eventually

DEMO = Path(__file__).parent.parent.parent / "tools" / "demo.py"


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def server(tmp_path):
    """A server that says when it runs, and then waits for ever."""
    program = tmp_path / "mcp-server-time"
    program.write_text(f"#!{sys.executable}\nprint('up', flush=True)\nimport time\ntime.sleep(300)\n")
    program.chmod(0o755)
    return program


def test_a_server_that_a_flow_leaves_is_ended_and_one_of_somebody_else_is_not(demo, server, tmp_path, is_alive):
    other = subprocess.Popen([server], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"up\n"
        flow = tmp_path / "python"
        pids = tmp_path / "pids"
        flow.write_text(
            f"#!{sys.executable}\n"
            "import json, subprocess, sys\n"
            "server = subprocess.Popen([sys.argv[3]], stdout=subprocess.PIPE, start_new_session=True)\n"
            f"open({str(pids)!r}, 'w').write(str(server.pid))\n"
            "server.stdout.readline()\n"
            "print(json.dumps({'step': 'load', 'ok': True, 'text': '', 'ms': 1}))\n"
        )
        flow.chmod(0o755)
        results, ended, _ = demo.run_flow(flow, "stock", server)
        assert results["load"]["ok"]
        assert "servers left: 1" in ended
        left = int(pids.read_text())
        eventually(lambda: not is_alive(left))
        assert other.poll() is None
    finally:
        other.kill()
        other.communicate()


def test_requirements_come_from_the_installed_package(demo, monkeypatch):
    metadata = [
        "greenlet<4,>=3.2",
        'mcp<3,>=1.24; extra == "mcp"',
        'tomli>=2; python_version < "3.11" and extra == "mcp"',
        'aionest[mcp]; extra == "cli"',
        'typer>=0.12.5; extra == "cli"',
        'keyring>=24; extra == "keyring"',
    ]
    monkeypatch.setattr(demo.importlib.metadata, "requires", lambda name: metadata)
    assert demo.requirements_of("mcp", "cli") == [
        "mcp<3,>=1.24",
        'tomli>=2; python_version < "3.11"',
        "typer>=0.12.5",
    ]


@pytest.mark.parametrize(("mode", "why"), [("stock", "RuntimeError: asyncio.run() cannot be called"), ("aionest", "")])
def test_the_web_server_of_the_demo(demo, mode, why):
    for module in ("fastapi", "uvicorn", "uvloop"):
        pytest.importorskip(module)
    done = subprocess.run([sys.executable, demo.WEB, mode], capture_output=True, text=True, timeout=100, check=True)
    found = json.loads(done.stdout)
    assert found["ok"] == (mode == "aionest") and found["why"].startswith(why)
    assert found["codes"] == {"HTTP 200" if mode == "aionest" else "HTTP 500": 20}
