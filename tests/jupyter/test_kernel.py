"""A real Jupyter kernel: apply() in one cell, nested runs in later ones, interrupting a cell, a notebook by nbclient."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")


@pytest.fixture(scope="module")
def session():
    r = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("session.py"))], capture_output=True, text=True, timeout=300
    )
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout.splitlines()[-1])


@pytest.mark.timeout(320)
def test_cells(session):
    assert session["cells"] == [
        "same cell 1 2",
        "3",
        "4",
        "5",
        "6",
        "7",
        "'kept'",
        "[0.1, 0.2, 0.3]",
        "ZeroDivisionError",
        "still here",
    ]


def test_interrupting_a_cell(session):
    assert session["interrupts"] == [["KeyboardInterrupt", True, "'alive'"]] * 4


def test_notebook_run_by_nbclient(session):
    assert session["notebook"] == "'second cell'"
