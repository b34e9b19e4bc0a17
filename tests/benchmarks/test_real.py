"""The benchmark with real servers runs; what it compares with is named where it is not installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FOLDER = os.environ.get("AIONEST_SERVERS")


@pytest.mark.long
@pytest.mark.skipif(not FOLDER, reason="AIONEST_SERVERS is not set: make long sets it")
def test_ten_servers():
    r = subprocess.run(
        [sys.executable, "-m", "benchmarks.real", "--servers", str(FOLDER), "--rounds", "2"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
    )
    assert r.returncode == 0, r.stderr
    loaded, called = r.stdout.splitlines()[-2:]
    if importlib.util.find_spec("fastmcp"):
        assert loaded.startswith("| ten real servers loaded, to fastmcp's ClientGroup |") and "| <= 0.9 |" in loaded
    else:
        assert "fastmcp's ClientGroup is not installed" in loaded
    assert "MCP Inspector --cli is not installed" in called
