"""A real Jupyter kernel: apply() in one cell, nested runs in later ones, interrupting a cell, a notebook by nbclient."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import support

support.needs("nbclient", "ipykernel")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session():
    r = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("session.py"))], capture_output=True, text=True, timeout=300
    )
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout.splitlines()[-1])


KERNELS = ["", "applied"]


def of(session, kernel):
    """What a plain kernel gave, or one in which apply() came first, so that its own loop is aionest's from the beginning."""
    return session[kernel] if kernel else session


@pytest.mark.timeout(320)
@pytest.mark.parametrize("kernel", KERNELS)
def test_cells(session, kernel):
    assert of(session, kernel)["cells"] == [
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


@pytest.mark.parametrize("kernel", KERNELS)
def test_interrupting_a_cell(session, kernel):
    assert of(session, kernel)["interrupts"] == [["KeyboardInterrupt", True, "'alive'"]] * 4


@pytest.mark.parametrize("kernel", KERNELS)
def test_interrupting_a_cell_whose_nested_runs_sleep_in_tasks(session, kernel):
    """All of them are cancelled and clean up, the next cell works, the kernel's other tasks go on, and nothing is logged."""
    for call, raised, after, errors in of(session, kernel)["in tasks"]:
        number = 3 if "gathered" in call else 1
        # a cell with an await of its own is cancelled by the kernel itself
        kind = "CancelledError" if call.startswith("await ") else "KeyboardInterrupt"
        assert (raised, after, errors) == (kind, f"{number} True False [] True", "[]"), call


def test_notebook_run_by_nbclient(session):
    assert session["notebook"] == "'second cell'"
