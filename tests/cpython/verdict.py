"""Decides which failures are ours.

A test that failed with aionest is run again, then on stock Python, on this machine and at this moment:

    flaky    it passes when run again, and the whole module run again does not show the failure either
    stock    it fails on stock Python too, each time
    listed   `expected/<version>.txt` says so, and it fails in the way that the list says
    ours     all else: the run fails

A failure that shows only in the company of the module's other tests is as real as one that shows alone; it is compared
with the whole module on stock. A test that is skipped must be skipped on stock too. The list only shrinks: a listed
test that passes, or is not there at all, fails the run.

A line of a list has four fields:

    TAG | test id | words that the text of each of its failures contains | reason

A test whose body and tearDown both fail has two failures: a listed one must not hide another. The only TAG
is `refusal`: the test asserts that nesting is refused.

Thread: any; judge() starts child processes. Uses nothing but the standard library.
"""

from dataclasses import dataclass, field, replace

from supervise import run_module

TAGS = ("refusal",)
TRIES = 2
HANG = "[hang]"  # what a hanging test's text begins with; so it can be the words of a line in the list
LISTED_HANG_LIMIT = 5.0


@dataclass(frozen=True)
class Expected:
    tag: str
    key: str
    words: str
    reason: str


class ListError(Exception):
    """Raised when an expected/ list cannot be read."""


def read_list(path):
    """The entries of a list, by key. A list that is not there is empty."""
    entries = {}
    if not path.exists():
        return entries
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = [part.strip() for part in line.split("|")]
        if len(fields) != 4 or fields[0] not in TAGS or not all(fields):
            raise ListError(
                f"{path.name}:{number}: want `TAG | test id | words | reason`, TAG one of {', '.join(TAGS)}"
            )
        entry = Expected(*fields)
        if entry.key in entries:
            raise ListError(f"{path.name}:{number}: {entry.key} is listed twice")
        entries[entry.key] = entry
    return entries


@dataclass
class Verdict:
    """Where each failure belongs; what makes the run fail is in `ours` and `problems`."""

    flaky: dict = field(default_factory=dict)  # key -> text of the failure that did not come back
    stock: dict = field(default_factory=dict)
    listed: dict = field(default_factory=dict)  # key -> Expected
    ours: dict = field(default_factory=dict)
    problems: list = field(default_factory=list)


def _says(outcome):
    return "\n".join(outcome.says())


class Judge:
    """Judges the runs of one mode, module by module. `discovered` maps each module to all of its keys."""

    def __init__(self, suite, mode, discovered, expected):
        self.suite, self.mode, self.discovered, self.expected = suite, mode, discovered, expected

    def run(self, module, mode=None):
        """Runs a whole module. Tests that are listed because they hang go last, with a short limit of their own."""
        mode = mode or self.mode
        keys = self.discovered[module]
        hanging = [k for k in keys if mode != "stock" and (e := self.expected.get(k)) and e.words == HANG]
        if not hanging:
            return run_module(self.suite, module, mode, keys)
        run = run_module(self.suite, module, mode, keys, only=[k for k in keys if k not in hanging])
        quick = replace(self.suite, test_limit=min(self.suite.test_limit, LISTED_HANG_LIMIT))
        run.add(run_module(quick, module, mode, keys, only=hanging))
        return run

    def module(self, run):
        """The verdict on one module's run: the children that it takes are started here."""
        verdict = Verdict(problems=list(run.problems))
        known = set(self.discovered[run.module])
        doubtful = {}
        for key in run.bad():
            outcome = run.outcomes[key]
            if outcome.outcome == "lost" or key == f"{run.module}:load":
                verdict.ours[key] = _says(outcome)  # run.problems tells why
            elif self._is_listed(key, outcome):
                verdict.listed[key] = self.expected[key]
            else:
                doubtful[key] = outcome
        alone = [k for k in doubtful if k in known and self._fails_each_time(k, self.mode)]
        rest = [k for k in doubtful if k not in alone]
        together = self.run(run.module) if rest else None
        for key in rest:
            if not (key in together.outcomes and together.outcomes[key].bad):
                verdict.flaky[key] = _says(doubtful[key])
        real = [k for k in rest if k not in verdict.flaky]
        on_stock = self.run(run.module, "stock") if real else None
        for key in alone:
            self._file(verdict, key, doubtful[key], self._fails_each_time(key, "stock"))
        for key in real:
            self._file(verdict, key, doubtful[key], key in on_stock.outcomes and on_stock.outcomes[key].bad)
        self._check_skips(run, verdict)
        self._check_list(run, verdict)
        return verdict

    def _is_listed(self, key, outcome):
        entry = self.expected.get(key)
        return entry is not None and all(entry.words in text for text in outcome.says())

    def _file(self, verdict, key, outcome, fails_on_stock):
        if fails_on_stock:
            verdict.stock[key] = _says(outcome)
        elif key in self.expected:
            verdict.ours[key] = f"listed, but fails in another way than the list says\n{_says(outcome)}"
        else:
            verdict.ours[key] = _says(outcome)

    def _alone(self, key, mode):
        module = next(m for m, keys in self.discovered.items() if key in keys)
        return run_module(self.suite, module, mode, self.discovered[module], only=[key])

    def _fails_each_time(self, key, mode):
        return all(self._alone(key, mode).bad() for _ in range(TRIES))

    def _check_skips(self, run, verdict):
        if run.skipped is not None:
            if self.discovered[run.module]:
                verdict.problems.append(f"{run.module}: skipped as a whole ({run.skipped}), but not on stock Python")
            return
        skipped = run.keys("skip")
        if not skipped:
            return
        stock = run_module(self.suite, run.module, "stock", self.discovered[run.module], only=skipped)
        for key in skipped:
            if stock.outcomes[key].outcome != "skip":
                verdict.ours[key] = f"skipped ({run.outcomes[key].text}), but not on stock Python"

    def _check_list(self, run, verdict):
        for key, entry in self.expected.items():
            if not key.startswith(run.module + "."):
                continue
            if key not in self.discovered[run.module]:
                verdict.problems.append(f"{key}: listed, but there is no such test")
                continue
            if key not in verdict.listed and key not in verdict.ours:
                verdict.problems.append(f"{key}: listed as `{entry.tag}`, but it need not be: take it off the list")
