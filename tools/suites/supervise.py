"""Runs one side of a suite to its end in child processes, whatever its tests do.

A child that hangs or dies is put away with all that it started, the test that was running counts as failed ("hang" or
"crash", with the stacks that faulthandler wrote), and a new child goes on with the tests that are left. What comes out is
one outcome for each test that was collected; `:collect` and `:exit` are made-up keys for what is no test.

Outcomes: pass, skip, xfail, xpass, fail, error (set-up or tear-down), hang, crash, lost (never started, and nobody knows why),
late (not over when the suite's time was up). Thread: the main one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
POLL = 0.05
DUMP_GRACE = 2.0
LOG_TAIL = 60
EXIT_LIMIT = 60.0  # a process that is over, but for its exit
COLLECT_LIMIT = 60.0  # or more, where a test has more: without a sign of life until all tests are collected
RESTARTS = 12

BAD = frozenset({"fail", "error", "hang", "crash", "lost"})


@dataclass(frozen=True)
class Setup:
    """How a suite is run: the same on both sides, but for ``apply``."""

    python: str
    folder: Path
    args: list[str]
    environment: Mapping[str, str]
    aionest: Path  # a folder that holds the package and nothing else
    everywhere: bool = False
    shim: bool = False
    test_limit: float = 60.0
    limit: float = 480.0


@dataclass
class Outcome:
    outcome: str
    text: str = ""
    seconds: float = 0.0

    @property
    def bad(self) -> bool:
        return self.outcome in BAD


@dataclass
class Side:
    """What one side showed. ``outcomes`` has all keys of ``collected`` that were to be run, in that order."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    collected: list[str] = field(default_factory=list)
    warnings: list[tuple[str | None, str, str]] = field(default_factory=list)  # key, category, text
    logs: list[tuple[str | None, str]] = field(default_factory=list)
    left: dict[str, Any] = field(default_factory=dict)
    children: int = 0
    seconds: float = 0.0
    tail: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Side:
        fields = json.loads(text)
        fields["outcomes"] = {k: Outcome(**o) for k, o in fields["outcomes"].items()}
        return cls(**fields)

    def count(self, *outcomes: str) -> int:
        return sum(o.outcome in outcomes for o in self.outcomes.values())


# From mild to bad: a test whose body fails and whose tear-down errors has errored.
_ORDER = ("pass", "xpass", "xfail", "skip", "fail", "error")


def outcome_of(reports: list[dict[str, Any]]) -> Outcome:
    """One outcome of a test's phases. A plugin may run a test again: the last report of each phase counts."""
    last = {r["when"]: r for r in reports if r["outcome"] != "rerun"}
    worst, texts = "pass", []
    for when, report in last.items():
        found = {"passed": "pass", "failed": "fail" if when == "call" else "error", "skipped": "skip"}.get(
            report["outcome"], report["outcome"]
        )
        if report["text"]:
            texts.append(report["text"])
        if _ORDER.index(found) > _ORDER.index(worst):
            worst = found
    return Outcome(worst, "\n".join(texts))


def _environment(setup: Setup, apply: bool, tmp: Path) -> dict[str, str]:
    keep = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "PIP_", "VIRTUAL_ENV", "COV_"))
    }
    bin_folder = os.path.dirname(setup.python)
    (tmp / "home").mkdir()
    (tmp / "tmp").mkdir()
    keep.update(
        PATH=f"{bin_folder}{os.pathsep}{keep.get('PATH', '')}",
        HOME=str(tmp / "home"),
        TMPDIR=str(tmp / "tmp"),
        SUITES_EVENTS=str(tmp / "events"),
        # what compiling warns of is said on both sides, and the sources stay as they are; it costs a tenth of a collection
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONHASHSEED="0",
        LC_ALL="C.UTF-8",
        **{k: v.replace("{tmp}", str(tmp / "tmp")) for k, v in setup.environment.items()},
    )
    path = [str(HERE / "child")]
    if apply:
        path.append(str(setup.aionest))
        keep.update({"SUITES_SHIM": "1"} if setup.shim else {})
        if setup.everywhere:
            path.append(str(HERE / "child_everywhere"))
    before = setup.environment.get("PYTHONPATH")
    keep["PYTHONPATH"] = os.pathsep.join([*path, *([before] if before else [])])
    return keep


class _Child:
    def __init__(self, setup: Setup, apply: bool, only: list[str] | None) -> None:
        self.tmp = Path(tempfile.mkdtemp(prefix="suites-"))
        environment = _environment(setup, apply, self.tmp)
        if only is not None:
            (self.tmp / "only").write_text(json.dumps(only))
            environment["SUITES_ONLY"] = str(self.tmp / "only")
        (self.tmp / "events").touch()
        self._events = open(self.tmp / "events", "rb")
        self._rest = b""
        command = [setup.python, "-X", "faulthandler", "-m", "pytest", "-p", "suites_record"]
        command += ["-p", "suites_apply"] if apply else []
        command += [
            "-p",
            "no:cacheprovider",
            f"--rootdir={setup.folder}",
            "-q",
            "--continue-on-collection-errors",
            "-o",
            "addopts=",
            *setup.args,
        ]
        with open(self.tmp / "log", "wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=setup.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_fresh_signals,
            )

    def read(self) -> list[dict[str, Any]]:
        *lines, self._rest = (self._rest + self._events.read()).split(b"\n")
        return [json.loads(line) for line in lines]

    def dump(self) -> None:
        """Has faulthandler write where each thread is."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGUSR1)
            time.sleep(DUMP_GRACE)

    def log(self) -> str:
        return (self.tmp / "log").read_text(errors="replace")

    def close(self) -> None:
        """Ends the child and what it started and did not move to another session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._events.close()
        shutil.rmtree(self.tmp, ignore_errors=True)


def _fresh_signals() -> None:
    # a parent in the background of a shell leaves SIGINT ignored, and asyncio.Runner then installs no handler
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.nice(5)


@contextlib.contextmanager
def _child(setup: Setup, apply: bool, only: list[str] | None) -> Iterator[_Child]:
    child = _Child(setup, apply, only)
    try:
        yield child
    finally:
        child.close()


class _Watch:
    """Follows one child until it is over; files what its events say."""

    def __init__(self, side: Side, test_limit: float, deadline: float) -> None:
        self.side, self.test_limit, self.deadline = side, test_limit, deadline
        self.keys: list[str] | None = None
        self.running: str | None = None
        self.reports: list[dict[str, Any]] = []
        self.since = self.sign = time.monotonic()
        self.hung = self.late = False

    def take(self, event: dict[str, Any]) -> None:
        side, kind = self.side, event["ev"]
        if kind == "collected":
            self.keys = event["keys"]
        elif kind == "collect-error":
            side.outcomes[f"{event['key']}:collect"] = Outcome("error", event["text"])
        elif kind == "start":
            self.running, self.reports, self.since = event["key"], [], time.monotonic()
        elif kind == "report":
            self.reports.append(event)
        elif kind == "end":
            found = outcome_of(self.reports)
            found.seconds = time.monotonic() - self.since
            side.outcomes[event["key"]] = found
            self.running = None
        elif kind == "warning":
            side.warnings.append((event["key"] or None, event["category"], event["text"]))
        elif kind == "log":
            side.logs.append((event["key"], event["text"]))
        elif kind == "left":
            side.left = event
        self.sign = time.monotonic()

    def follow(self, child: _Child) -> None:
        while True:
            over = child.process.poll() is not None
            for event in child.read():
                self.take(event)
            if over:
                return
            now = time.monotonic()
            collecting = max(COLLECT_LIMIT, self.test_limit * 3)
            limit = EXIT_LIMIT if self.side.left else self.test_limit if self.keys is not None else collecting
            if now - self.sign > limit or now > self.deadline:
                self.hung = now - self.sign > limit
                self.late = now > self.deadline
                child.dump()
                return
            time.sleep(POLL)


def run(setup: Setup, apply: bool, only: list[str] | None = None, limit: float | None = None) -> Side:
    """Runs a side, or the tests ``only`` of it. Always returns; never raises for a test's doing."""
    side = Side()
    begin = time.monotonic()
    deadline = begin + (limit or setup.limit)
    todo = only
    while True:
        side.left = {}
        with _child(setup, apply, todo) as child:
            side.children += 1
            watch = _Watch(side, setup.test_limit, deadline)
            watch.follow(child)
            code = child.process.poll()
            log = child.log()
        side.tail = "\n".join(log.splitlines()[-LOG_TAIL:])
        if watch.keys is None:
            how = "hang" if watch.hung or watch.late else "crash"
            side.outcomes[":collect"] = Outcome(how, side.tail)
            break
        if not side.collected:
            side.collected = watch.keys
        if todo is None:
            todo = list(watch.keys)
        _after(side, watch, code, side.tail)
        todo = _still_to_run(side, watch, code, todo)
        if not todo:
            break
    order = {k: i for i, k in enumerate(side.collected)}
    side.outcomes = dict(sorted(side.outcomes.items(), key=lambda kv: order.get(kv[0], -1)))
    side.seconds = time.monotonic() - begin
    return side


def _still_to_run(side: Side, watch: _Watch, code: int | None, todo: list[str]) -> list[str]:
    """What the next child is to run; where there is to be none, what was to be run has its outcome."""
    todo = [k for k in todo if k not in side.outcomes]
    over = side.left or (code is not None and watch.running is None and code >= 0)
    if todo and (over or watch.late or side.children > RESTARTS):
        # a key of ``only`` that is no longer collected is no loss of this side's; compare() sees it
        known = set(watch.keys or ())
        how = Outcome("late", "the time was up") if watch.late else Outcome("lost", "never started")
        side.outcomes.update((k, how) for k in todo if k in known)
        return []
    return todo


def collect(setup: Setup) -> list[str]:
    """The keys of all tests; empty if they cannot be collected."""
    return run(replace(setup, args=[*setup.args, "--collect-only"]), False).collected


def _after(side: Side, watch: _Watch, code: int | None, tail: str) -> None:
    """What the end of a child means for the test that was running, or for the process as a whole."""
    ended = "killed: no sign of life" if code is None else f"ended with status {code}"
    if watch.running is not None:
        how = "crash" if code is not None else "hang" if watch.hung else "late"
        side.outcomes[watch.running] = Outcome(how, f"{ended}\n{tail}")
    elif side.left and (code is None or code < 0):
        side.outcomes[":exit"] = Outcome("hang" if code is None else "crash", f"{ended}\n{tail}")


def plain(text: str) -> str:
    """A text without what differs from run to run: addresses, numbers, folders."""
    text = re.sub(r"0x[0-9a-fA-F]+", "0x", text)
    text = re.sub(r"(/[\w.@+-]+)+", "/...", text)
    return re.sub(r"\d+", "N", text)
