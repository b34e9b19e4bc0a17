"""Runs one module of the suite to its end in child processes, whatever its tests do.

A child (child.py) that hangs or dies is put away with all that it started, the test that was running counts as failed
("hang" or "crash", with the tracebacks that faulthandler wrote), and a new child goes on with the tests that are left.
What comes out is one outcome for each test that the module holds. Two made-up keys stand for what is no test:
`<module>:load` (the module could not even be loaded) and `<module>:exit` (all tests were over, but the process did not
exit as it should).

Thread: any; a Suite is only read. Uses nothing but the standard library.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

CHILD = Path(__file__).with_name("child.py")
BAD = frozenset({"fail", "error", "uxsuccess", "crash", "hang", "lost"})
POLL = 0.05
DUMP_GRACE = 2.0
LOG_TAIL = 60


@dataclass(frozen=True)
class Suite:
    """What is run, by which interpreter, and how long a test and a module may take (seconds)."""

    python: str
    package: str
    test_limit: float = 60.0
    module_limit: float = 600.0


@dataclass
class Outcome:
    """How a test ended, and what was said about it: a text for each failure, as body and tearDown can both fail."""

    outcome: str
    texts: list = field(default_factory=list)
    seconds: float = 0.0

    @property
    def bad(self):
        return self.outcome in BAD

    @property
    def text(self):
        return "\n".join(self.texts)

    def says(self):
        """Each text with the outcome in front."""
        return [f"[{self.outcome}] {text}" for text in self.texts or [""]]


@dataclass
class ModuleRun:
    """All that one run of a module showed."""

    module: str
    mode: str
    outcomes: dict = field(default_factory=dict)  # key -> Outcome
    loaded: list | None = None
    skipped: str | None = None  # why the module as a whole is skipped
    notes: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    children: int = 0
    seconds: float = 0.0

    def add(self, other):
        """Takes over what another run of the same module, with other tests of it, showed."""
        self.outcomes.update(other.outcomes)
        self.notes += other.notes
        self.problems += other.problems
        self.children += other.children
        self.seconds += other.seconds

    def keys(self, *outcomes):
        return [k for k, o in self.outcomes.items() if o.outcome in outcomes]

    def bad(self):
        return [k for k, o in self.outcomes.items() if o.bad]


def find_python(name):
    """Absolute path of an interpreter. Links are kept: a venv's python is one."""
    return os.path.abspath(shutil.which(name) or name)


def _environment(tmp):
    env = dict(os.environ, TMPDIR=tmp, TEMP=tmp, TMP=tmp)
    # The tests assert on warnings and debug mode, and the child does not run in our cwd.
    for name in ("PYTHONWARNINGS", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONSAFEPATH"):
        env.pop(name, None)
    if env.get("PYTHONPATH"):
        env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, env["PYTHONPATH"].split(os.pathsep)))
    return env


_live = set()
_stopping = threading.Event()


class Stopped(Exception):
    """Raised in the threads that run modules when the run as a whole is broken off."""


def stop():
    """Ends all children, and lets no new one start: nothing may outlive a run that is interrupted."""
    _stopping.set()
    for child in list(_live):
        child.kill()


class _Child:
    """One child process: its events as they come, and its end."""

    def __init__(self, suite, arguments, only=None):
        if _stopping.is_set():
            raise Stopped
        self.tmp = tempfile.mkdtemp(prefix="aiosuite-")
        self.cwd = os.path.join(self.tmp, "cwd")
        os.mkdir(self.cwd)
        self._events_path = os.path.join(self.tmp, "events")
        self._log_path = os.path.join(self.tmp, "log")
        Path(self._events_path).touch()
        command = [suite.python, "-u", str(CHILD), "--events", self._events_path, *arguments]
        if only is not None:
            only_path = os.path.join(self.tmp, "only")
            Path(only_path).write_text(json.dumps(only), encoding="utf-8")
            command += ["--only", only_path]
        self._events = open(self._events_path, "rb")
        self._rest = b""
        with open(self._log_path, "wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.cwd,
                env=_environment(self.tmp),
                start_new_session=True,
            )
        _live.add(self)

    def read(self):
        """Events that came since the last call."""
        *lines, self._rest = (self._rest + self._events.read()).split(b"\n")
        return [json.loads(line) for line in lines]

    def dump(self):
        """Has faulthandler write where each thread is."""
        try:
            os.kill(self.process.pid, signal.SIGUSR1)
            self.process.wait(DUMP_GRACE)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass

    def kill(self):
        """Ends the child and all that it started and did not move to another session."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def log(self):
        text = Path(self._log_path).read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-LOG_TAIL:])

    def close(self):
        self.kill()
        _live.discard(self)
        self._events.close()
        shutil.rmtree(self.tmp, ignore_errors=True)


def _ended(code):
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exited with status {code}"


def discover(suite):
    """What stock Python loads: (hello event, {module: {"keys": [...]} or {"skip": why} or {"error": traceback}})."""
    child = _Child(suite, ["--discover", suite.package])
    try:
        try:
            code = child.process.wait(suite.module_limit)
        except subprocess.TimeoutExpired:
            child.dump()
            raise RuntimeError(f"discovery of {suite.package} hangs\n{child.log()}") from None
        events = {event["ev"]: event for event in child.read()}
        if code or "discovered" not in events:
            raise RuntimeError(f"discovery of {suite.package} {_ended(code)}\n{child.log()}")
        return events["hello"], events["discovered"]["modules"]
    finally:
        child.close()


class _Watch:
    """Follows one child until it is over; files what its events say."""

    def __init__(self, suite, run, child, deadline):
        self.suite, self.run, self.child, self.deadline = suite, run, child, deadline
        self.running = None
        self.started_at = time.monotonic()
        self.seen = set()
        self.fixtures = {}
        self.applied = None
        self.hung = False

    def take(self, event):
        kind = event["ev"]
        self.seen.add(kind)
        if kind == "loaded":
            self.run.loaded = event["keys"]
        elif kind == "module-skip":
            self.run.skipped = event["text"]
        elif kind == "start":
            self.running = event["key"]
        elif kind == "end":
            seconds = time.monotonic() - self.started_at
            self.run.outcomes[event["key"]] = Outcome(event["outcome"], event["texts"], seconds)
            self.running = None
        elif kind == "broken-off":
            self.run.outcomes[event["key"]] = Outcome("error", event["texts"])
            self.running = None
        elif kind == "fixture":
            self.fixtures[event["key"]] = Outcome(event["outcome"], event["texts"])
        elif kind == "note":
            self.run.notes.append({"test": self.running, "kind": event["kind"], "text": event["text"]})
        elif kind == "done":
            self.applied = event["applied"]
        self.started_at = time.monotonic()

    def follow(self):
        while True:
            over = self.child.process.poll() is not None
            for event in self.child.read():
                self.take(event)
            if over:
                return
            now = time.monotonic()
            if _stopping.is_set():
                self.child.kill()
                return
            if now - self.started_at > self.suite.test_limit or now > self.deadline:
                self.hung = True
                self.child.dump()
                self.child.kill()
                for event in self.child.read():
                    self.take(event)
                return
            time.sleep(POLL)


def run_module(suite, module, mode, keys, *, only=None):
    """Runs the tests `keys` of a module (or those in `only` of them). Always returns; never raises for a test's doing."""
    run = ModuleRun(module, mode)
    begin = time.monotonic()
    deadline = begin + suite.module_limit
    todo = list(keys if only is None else only)
    whole = only is None
    while todo or whole:
        child = _Child(suite, ["--module", module, "--mode", mode], only=None if whole else todo)
        run.children += 1
        try:
            watch = _Watch(suite, run, child, deadline)
            watch.follow()
            if _stopping.is_set():
                raise Stopped
            code = child.process.wait()
            left = [k for k in todo if k not in run.outcomes]
            todo = _after(run, watch, code, left, child.log())
        finally:
            child.close()
        whole = False
        if todo and time.monotonic() > deadline:
            run.problems.append(f"{module}: {len(todo)} tests not run within {suite.module_limit:.0f} s")
            run.outcomes.update((k, Outcome("lost", ["the module took too long"])) for k in todo)
            break
    if run.loaded is not None and set(run.loaded) != set(keys):
        odd = sorted(set(run.loaded) ^ set(keys))
        run.problems.append(f"{module}: loads other tests than the discovery found: {', '.join(odd[:5])} ({len(odd)})")
    run.seconds = time.monotonic() - begin
    return run


def _after(run, watch, code, left, log):
    """Decides about a child that is over; returns the tests that another one must go on with."""
    how = "hang" if watch.hung else "crash"
    why = f"no sign of life\n{log}" if watch.hung else f"{_ended(code)}\n{log}"
    if run.skipped is not None:
        return []
    if watch.running is not None:
        run.outcomes[watch.running] = Outcome(how, [why])
        return [k for k in left if k != watch.running]
    if "broken-off" in watch.seen:
        return left
    if "loaded" not in watch.seen:
        run.outcomes[f"{run.module}:load"] = Outcome(how, [why])
        run.problems.append(f"{run.module}: cannot be loaded, {len(left)} tests not run")
        return []
    left = _settle(run, watch.fixtures, left)
    if "ran" not in watch.seen:
        # Between two tests: the fixtures of the next one, or the tearDown of the last class.
        culprit = left[0] if left else f"{run.module}:exit"
        run.outcomes[culprit] = Outcome(how, [f"before it started: {why}" if left else why])
        return left[1:]
    for key in left:
        run.outcomes[key] = Outcome("lost", ["loaded, but never started"])
    if left:
        run.problems.append(f"{run.module}: {len(left)} tests were loaded but never started, {left[0]} is one")
    if watch.hung or code:
        run.outcomes[f"{run.module}:exit"] = Outcome(how, [why])
    elif run.mode != "stock" and not watch.applied:
        run.problems.append(f"{run.module}: when its tests were over, aionest was no longer applied")
    return []


def _settle(run, fixtures, left):
    """Gives the tests that a fixture kept from starting that fixture's outcome, and files what has no test."""
    for name, outcome in fixtures.items():
        step, _, where = name.partition(" (")
        prefix = where.rstrip(")") + "."
        covered = [k for k in left if step.startswith("setUp") and k.startswith(prefix)]
        if covered:
            run.outcomes.update((k, Outcome(outcome.outcome, [f"{name}: {outcome.text}"])) for k in covered)
            left = [k for k in left if k not in covered]
        elif outcome.bad:
            run.outcomes[name] = outcome
    return left
