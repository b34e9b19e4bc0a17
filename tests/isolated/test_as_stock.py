"""Whole programs that nest nothing print, and exit with, the same after apply(): what stock does is not written down here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = sorted((Path(__file__).parent / "as_stock").glob("*.py"))
RUN = "import runpy, sys; {}; runpy.run_path(sys.argv[1], run_name='__main__')"


def shown(program, first):
    """Exit status, output, and what is written to stderr, without addresses and tracebacks' frames."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", RUN.format(first), str(program)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith((" ", "sys:1"))]
    return done.returncode, done.stdout.splitlines(), [re.sub("0x[0-9a-f]+", "0x", line) for line in said]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.stem)
def test_a_program_that_nests_nothing(program):
    stock = shown(program, "pass")
    assert stock[1], stock
    assert shown(program, "import aionest; aionest.apply()") == stock
