"""Each program of the documentation about MCP gives the output that it says, and no traceback, on both lines of the SDK."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import forked
import pytest

pytest.importorskip("mcp")

pytestmark = pytest.mark.slow

PROGRAMS = sorted((Path(__file__).parent.parent.parent / "docs_src" / "mcp").glob("*.py"))
NEEDS = {"tracing": "opentelemetry"}


@pytest.fixture(scope="session", autouse=True)
def forked_programs():
    with forked.COMMANDS.there():
        yield


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_prints_what_it_says(program, tmp_path):
    need = NEEDS.get(program.stem)
    if need is not None and (importlib.util.find_spec(need) is None or importlib.util.find_spec(f"{need}.sdk") is None):
        pytest.skip(f"{need} is not installed")
    said = program.read_text().split("\n# Output:\n")[1]
    expected = [line.removeprefix("#").removeprefix(" ") for line in said.splitlines()]
    command = [sys.executable, "-m", program.stem]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    result = forked.COMMANDS.run(command, timeout=110, env=environment, cwd=program.parent)
    assert (result.returncode, result.stdout.splitlines()) == (0, expected), result.stderr
    assert "Traceback" not in result.stderr
