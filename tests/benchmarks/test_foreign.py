"""The benchmark of loops that are not asyncio's own runs: each workload gives a ratio."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.noasan
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("uvloop", "uvicorn", "httptools")),
    reason="uvloop, uvicorn or httptools is missing",
)
def test_one_tiny_round_of_each():
    r = subprocess.run(
        [sys.executable, "-m", "benchmarks.foreign", "--rounds", "2", "--scale", "400"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=110,
    )
    assert r.returncode == 0, r.stderr
    found = re.findall(r"^(\w.*?) +[\d.]+ (?:us|KB) +([\d.]+)   [\d.]+ to [\d.]+$", r.stdout, re.M)
    ratios = {name: float(ratio) for name, ratio in found}
    assert set(ratios) == {
        "task switch",
        "call_soon",
        "call_soon, 10 at once",
        "stream echo",
        "hello",
        "nested run",
        "suspended run",
    }, r.stdout
    assert all(0 < ratio < 1000 for ratio in ratios.values())


def test_quartiles_of_few_rounds_are_no_guesses_beyond_them(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    quartiles = importlib.import_module("benchmarks.foreign").quartiles
    assert quartiles([2.0, 10.0]) == [4.0, 6.0, 8.0]
