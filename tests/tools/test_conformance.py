"""The runner of the conformance suite: what it counts as passed, and what fails a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tools.conformance import __main__ as runner
from tools.conformance import page
from tools.conformance.expected import Case, Expected

CASE = Case("loader", "2026-07-28", "tools_call")


def result(tmp_path, verdict="as expected", **checks):
    """What is made of these checks, and that last line of the client."""
    folder = tmp_path / "client-one"
    folder.mkdir()
    found = [{"id": name, "status": status, "description": name} for name, status in checks.items()]
    (folder / "checks.json").write_text(json.dumps(found))
    (folder / "stdout.txt").write_text(f"something\n{verdict}\n")
    (folder / "stderr.txt").write_text("")
    return runner.judged(tmp_path, "")


def test_a_case_that_passes(tmp_path):
    outcome = result(tmp_path, a="SUCCESS", b="INFO", c="SKIPPED")
    assert outcome.passed and outcome.checks == {"a"}


@pytest.mark.parametrize("status", ["SKIPPED", "INFO", "WARNING", "FAILURE"])
def test_a_case_passes_only_with_a_check_that_succeeds(tmp_path, status):
    assert not result(tmp_path, a=status).passed


@pytest.mark.parametrize("status", ["WARNING", "FAILURE"])
def test_one_bad_check_is_enough(tmp_path, status):
    assert not result(tmp_path, a="SUCCESS", b=status).passed


def test_the_client_has_the_last_word(tmp_path):
    outcome = result(tmp_path, "no error, where one with /iss mismatch/ has to come", a="SUCCESS")
    assert not outcome.passed and "iss mismatch" in outcome.said[0]


def test_the_suite_that_has_checked_nothing(tmp_path):
    assert not runner.judged(tmp_path, "").passed


@pytest.mark.parametrize(
    "passed, checks, fault",
    [
        (True, {"a", "b"}, None),
        (False, {"a", "b"}, "is listed and does not pass"),
        (True, {"a"}, "the check b is listed"),
        (True, {"a", "b", "c"}, "not listed; add:\n    c"),
    ],
)
def test_a_listed_case_against_the_list(tmp_path, passed, checks, fault):
    expected = Expected(tmp_path / "list", passing={CASE: {"a", "b"}})
    _, faults = runner.compared(CASE, runner.Outcome(passed, checks), expected)
    assert (fault is None and not faults) or (len(faults) == 1 and fault in faults[0]), faults


def test_a_case_that_is_not_listed(tmp_path):
    expected = Expected(tmp_path / "list", reasons={CASE: "not yet"})
    assert runner.compared(CASE, runner.Outcome(False), expected) == ("-", [])
    assert "loader 2026-07-28 tools_call\n    a" in runner.compared(CASE, runner.Outcome(True, {"a"}), expected)[1][0]
    assert "no reason" in runner.compared(CASE, runner.Outcome(False), Expected(tmp_path / "list"))[1][0]


def test_lists_are_read_as_they_are_written(tmp_path):
    file = tmp_path / "list"
    file.write_text("# for people\nloader default auth/dpop: because: so\n")
    expected = Expected.read(file)
    expected.add({CASE: {"b", "a"}})
    again = Expected.read(file)
    assert again.passing == {CASE: {"a", "b"}} and list(again.reasons.values()) == ["because: so"]
    assert file.read_text().startswith("# for people\n")


@pytest.mark.parametrize("line", page.LINES)
def test_each_scenario_that_does_not_pass_has_its_reason(line):
    expected = Expected.read(page.LISTS / f"{line}.txt")
    assert len(expected.passing) > 20 and all(expected.passing.values()) and all(expected.reasons.values())
    assert not set(expected.passing) & set(expected.reasons)


def test_the_documentation_says_what_the_lists_say():
    text = page.PAGE.read_text("utf-8")
    assert text == page.written(text), "python -m tools.conformance.page"


def test_the_client_refuses_what_it_does_not_expect():
    pytest.importorskip("mcp")
    words = [sys.executable, str(ROOT / "tools/conformance/client.py"), "loader", "http://127.0.0.1:9/mcp"]
    done = subprocess.run(
        words, env={"MCP_CONFORMANCE_SCENARIO": "auth/iss-unexpected"}, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stdout.startswith("not /iss mismatch/ but "), done.stdout + done.stderr
