"""Every benchmark runs, on the implementations that are installed, and gives a ratio."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.noasan
def test_one_tiny_round_of_each():
    r = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--rounds", "1", "--scale", "0.01", "--together", "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=110,
    )
    assert r.returncode == 0, r.stderr
    results = {x["workload"]: x for x in json.loads(r.stdout)["results"]}
    assert {"task_switch", "create_task", "queues", "call_soon", "timers", "nested_vs_task", "import"} <= set(results)
    assert all(x.get("ours", x.get("ms")) > -1000 for x in results.values())
