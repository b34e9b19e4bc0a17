"""Random programs that nest from everywhere, with cancellation, guests, greenlets, finalizers and threads."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

MODES = [
    "plain",
    "debug",
    "adopted",
    "foreign",
    *(["eager"] if sys.version_info >= (3, 12) else []),
    *(["uvloop"] if importlib.util.find_spec("uvloop") else []),
]


def run(first, last, mode):
    r = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("chaos.py")), str(first), str(last), mode],
        capture_output=True,
        text=True,
    )
    assert (r.returncode, r.stdout) == (0, "clean\n"), r.stdout + r.stderr[-5000:]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mode", MODES)
def test_nothing_breaks(mode):
    run(0, 15, mode)


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_nothing_breaks_in_many_programs(mode):
    run(1000, 1400, mode)
