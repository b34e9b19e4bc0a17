"""The portal benchmark runs, and its contenders do what they are measured for."""

import subprocess
import sys
from pathlib import Path

import pytest

import aionest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "portal_call.py"


@pytest.mark.noasan
def test_one_tiny_round_of_each():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--rounds", "1", "--calls", "3"],
        capture_output=True,
        text=True,
        timeout=110,
        env={"PYTHONPATH": str(Path(aionest.__file__).parents[1])},
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("|")[1].strip() for line in done.stdout.split("\n") if line.startswith("| ")]
    assert {"lock ping-pong", "Portal.call", "run_coroutine_threadsafe", "Portal.call / lock ping-pong"} <= set(rows)
