"""The types of portals and hosted resources, as mypy sees them: right uses pass, each wrong one is found."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("portal_cases.py")


def test_mypy_finds_what_is_wrong_and_nothing_else(tmp_path):
    pytest.importorskip("mypy")
    import aionest

    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context"),
            *("--config-file", "", "--cache-dir", str(tmp_path), str(CASES)),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env={"MYPYPATH": str(Path(aionest.__file__).parents[1]), "PATH": ""},
    )
    found = {int(n) for n in re.findall(rf"{CASES.name}:(\d+): error", done.stdout)}
    expected = {n for n, line in enumerate(CASES.read_text().split("\n"), 1) if "# E:" in line}
    assert found == expected, done.stdout + done.stderr
