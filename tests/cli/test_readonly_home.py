"""A home where nothing can be written: what was accepted cannot be remembered, and counts all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("mcp")
pytest.importorskip("typer")

pytestmark = pytest.mark.slow


def run(folder, *words):
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "AIONEST_", "MCP_"))}
    # nobody, not even root, can make a folder there
    environ["HOME"] = os.path.join(os.devnull, "home")
    command = [sys.executable, "-m", "aionest", "mcp", *words]
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )


def test_yes_accepts_what_was_found_here(tmp_path):
    notes = {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"notes": notes}}))
    refused = run(tmp_path, "tools")
    assert refused.returncode == 1 and "not been accepted" in refused.stderr and not refused.stdout
    done = run(tmp_path, "call", "notes.read", "id=1", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["isError"] is False
    assert done.stderr.count("cannot remember") == 1 and "Traceback" not in done.stderr, done.stderr
    assert os.listdir(tmp_path) == ["mcp.json"]
