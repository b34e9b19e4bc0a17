"""Run the official conformance suite's client scenarios, and compare with the list of what passes.

    python -m tools.conformance --node build/conformance --python build/env-3.13/bin/python [-j 3] [--page FILE] [SCENARIO ...]

Contract
  * A case is a driver (the loader, or the command line), a revision of the protocol and a scenario. It passes if the client has
    ended in time and as ``client.py`` expects it for this scenario, no check is a FAILURE or a WARNING, and one at least is a
    SUCCESS. What the suite calls SKIPPED or INFO never counts.
  * ``lists/1.txt`` and ``lists/2.txt``, one for each line of the MCP SDK, have every case: with the checks that pass, or with
    the reason why it does not pass. They only grow: a listed case or check that does not pass fails the run, and so does one
    that passes and is not listed, with the lines to add (``--add`` adds them). So do cases that are in neither.
  * A listed case that fails is run once more: some have a time limit for the client.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .expected import Case, Expected

HERE = Path(__file__).parent
TIMEOUT = 120  # seconds for a client, on a busy machine
REVISIONS = {"1": ["2025-11-25"], "2": ["2025-11-25", "2026-07-28"]}
# the command line stands on the loader, so what is below that is not tried twice: one scenario of each kind that it has words for
BY_CLI = {
    "initialize",
    "tools_call",
    "sse-retry",
    "request-metadata",
    "auth/metadata-default",
    "auth/basic-cimd",
    "auth/scope-retry-limit",
    "auth/token-endpoint-auth-basic",
    "auth/pre-registration",
    "auth/2025-03-26-oauth-metadata-backcompat",
    "auth/resource-mismatch",
    "auth/iss-wrong-issuer",
    "auth/client-credentials-jwt",
    "auth/client-credentials-basic",
    "auth/enterprise-managed-authorization",
    "http-standard-headers",
    "http-invalid-tool-headers",
    "json-schema-2020-12-preservation",
}


class Suite(NamedTuple):
    """How the suite is started."""

    node: str
    script: str

    @classmethod
    def within(cls, folder: Path) -> Suite:
        """As npm has installed it in a folder."""
        node = folder / "node_modules" / ".bin" / "node"
        found = str(node.resolve()) if node.exists() else shutil.which("node")
        return cls(found or "node", str(folder.resolve() / "node_modules/.bin/conformance"))

    def scenarios(self) -> dict[str, list[str]]:
        """All client scenarios, with the revisions that each is for; an extension's have "extension"."""
        said = subprocess.run([*self, "list"], capture_output=True, text=True, check=True).stdout
        part = said.partition("Client scenarios")[2].partition("Authorization server scenarios")[0]
        found = re.findall(r"^\s+- (\S+) \[(.*)\]", part, re.MULTILINE)
        return {name: revisions.split(",") for name, revisions in found}


@dataclass
class Outcome:
    """What came of a case."""

    passed: bool = False
    checks: set[str] = field(default_factory=set)  # those that are a SUCCESS and nothing else
    said: list[str] = field(default_factory=list)  # what is wrong, for people
    error: str = ""  # that had to come, and has


def cases(scenarios: dict[str, list[str]], line: str, drivers: list[str]) -> list[Case]:
    """All there are. A scenario of none of the line's revisions is run once, as the suite runs it by itself."""
    found = []
    for name, revisions in scenarios.items():
        chosen = [one for one in REVISIONS[line] if one in revisions] or ["default"]
        for driver in drivers:
            if driver == "loader":
                found += [Case(driver, one, name) for one in chosen]
            elif name in BY_CLI:
                found.append(Case(driver, chosen[-1], name))
    return found


def run(suite: Suite, python: str, case: Case) -> Outcome:
    """Run one."""
    with tempfile.TemporaryDirectory() as folder:
        command = f"{python} {HERE / 'client.py'} {case.driver}"
        words = [
            "client",
            "--command",
            command,
            "--scenario",
            case.scenario,
            "--timeout",
            str(TIMEOUT * 1000),
            "-o",
            folder,
        ]
        if case.revision != "default":
            words += ["--spec-version", case.revision]
        environ = {**os.environ, "PYTHONWARNINGS": "ignore"}
        try:
            done = subprocess.run(
                [*suite, *words], capture_output=True, text=True, timeout=TIMEOUT + 30, cwd=folder, env=environ
            )
        except subprocess.TimeoutExpired:
            return Outcome(said=["no end"])
        return judged(Path(folder), done.stdout + done.stderr)


def judged(folder: Path, said: str) -> Outcome:
    """What the files say that the suite has left in a folder."""
    found = next(folder.rglob("checks.json"), None)
    if found is None:
        return Outcome(said=["the suite has checked nothing", said[-1500:]])
    checks = json.loads(found.read_text())
    bad = [one for one in checks if one["status"] in ("FAILURE", "WARNING")]
    good = {one["id"] for one in checks if one["status"] == "SUCCESS"} - {one["id"] for one in bad}
    output = found.with_name("stdout.txt").read_text().splitlines()
    verdict = output[-1] if output else "it was killed, or died"
    as_expected = verdict.startswith("as expected")
    wrong = [f"{one['status']} {one['id']}: {one.get('errorMessage') or one.get('description')}" for one in bad]
    if not as_expected:
        wrong.append(f"the client: {verdict}")
    if not good:
        wrong.append("no check has succeeded")
    if wrong:
        wrong.append(found.with_name("stderr.txt").read_text()[-1500:])
    return Outcome(not wrong, good, wrong, verdict.partition(": ")[2] if as_expected else "")


def line_of(python: str) -> str:
    """The line of the SDK that is installed there."""
    ask = "from importlib import metadata; print(metadata.version('mcp').split('.')[0])"
    return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


def compared(case: Case, outcome: Outcome, expected: Expected) -> tuple[str, list[str]]:
    """A word for a case, and what makes the run fail."""
    if case in expected.passing:
        listed = expected.passing[case]
        if not outcome.passed:
            return "FAILED", [f"{case} is listed and does not pass"]
        lost, new = sorted(listed - outcome.checks), sorted(outcome.checks - listed)
        faults = [f"{case}: the check {one} is listed and does not pass" for one in lost]
        if new:
            faults.append(f"{case}: checks pass that are not listed; add:\n" + "".join(f"    {one}\n" for one in new))
        return "FAILED" if lost else "ok", faults
    if outcome.passed:
        return "ok", [f"it passes and is not listed; add:\n{expected.lines(case, outcome.checks)}"]
    if case not in expected.reasons:
        return "FAILED", [f"{case} does not pass, and no reason is listed"]
    return "-", []


def options_of() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node", type=Path, required=True, help="folder where npm has installed the suite")
    parser.add_argument("--python", required=True, help="a Python that has aionest and the MCP SDK")
    parser.add_argument("--driver", nargs="+", default=["loader", "cli"], choices=["loader", "cli"])
    parser.add_argument("--add", action="store_true", help="list what passes and is not listed")
    parser.add_argument(
        "--verbose", action="store_true", help="say what is wrong also with cases that are known not to pass"
    )
    parser.add_argument("-j", type=int, default=3)
    parser.add_argument("only", nargs="*", help="scenarios")
    return parser.parse_args()


def results_of(
    suite: Suite, python: str, wanted: list[Case], expected: Expected, options: argparse.Namespace
) -> tuple[dict[Case, Outcome], list[str]]:
    """Run them, and say a line for each; the outcomes, and what makes the run fail."""
    pool = ThreadPoolExecutor(options.j)
    running = {case: pool.submit(run, suite, python, case) for case in wanted}
    results, faults = {}, []
    for case in wanted:
        results[case] = outcome = running[case].result()
        word, wrong = compared(case, outcome, expected)
        if wrong and case in expected.passing:
            results[case] = outcome = run(suite, python, case)
            word, wrong = compared(case, outcome, expected)
        print(f"{word:<7}{case}{f' (refused: {outcome.error[:160]})' if outcome.error else ''}", flush=True)
        if word == "FAILED" or (not outcome.passed and options.verbose):
            print("\n".join(f"         {text}" for part in outcome.said for text in part.splitlines()))
        faults += wrong
    return results, faults


def main() -> int:
    options = options_of()
    suite = Suite.within(options.node)
    python = str(Path(os.path.abspath(options.python)))
    line = line_of(python)
    expected = Expected.read(HERE / "lists" / f"{line}.txt")
    known = cases(suite.scenarios(), line, options.driver)
    wanted = [case for case in known if not options.only or case.scenario in options.only]
    results, faults = results_of(suite, python, wanted, expected, options)
    if options.add:
        expected.add({case: outcome.checks for case, outcome in results.items() if outcome.passed})
    elif not options.only:
        gone = [case for case in (*expected.passing, *expected.reasons) if case.driver in options.driver]
        faults += [f"{case} is listed, and is no case of the suite" for case in gone if case not in known]
    passed = sum(outcome.passed for outcome in results.values())
    checks = sum(len(outcome.checks) for outcome in results.values() if outcome.passed)
    print(f"MCP SDK {line}.x: {passed} of {len(results)} cases pass, with {checks} checks")
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
