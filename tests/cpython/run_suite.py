"""Runs CPython's own test.test_asyncio, as it is installed, with aionest applied, and compares with stock Python.

    python tests/cpython/run_suite.py --mode apply --compare          what CI runs
    python tests/cpython/run_suite.py --mode stock --modules tasks    one module, as it is

Without --compare the outcomes are only printed. Exit status 0: no failure (with --compare: none that is ours), nothing
lost; 1: else; 2: cannot be run. The last line of the output is `N passed, N failed, N skipped`. README.md in this
folder tells how it works.
"""

import argparse
import concurrent.futures
import dataclasses
import fnmatch
import json
import signal
import sys
import threading
import time
from pathlib import Path

from child import MODES
from supervise import Suite, discover, find_python, run_module, stop
from verdict import Judge, ListError, Verdict, read_list

EXPECTED = Path(__file__).with_name("expected")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=MODES, default="apply", help="apply-close is apply(close_loop=True)")
    parser.add_argument("--compare", action="store_true", help="run failures again and on stock; judge by the list")
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="default: this interpreter")
    parser.add_argument("-j", type=int, default=2, metavar="N", dest="jobs", help="modules at once (default 2)")
    parser.add_argument("--modules", nargs="+", metavar="NAME", help="test_tasks, tasks, or a pattern; default: all")
    parser.add_argument("--suite", default="test.test_asyncio", metavar="PACKAGE")
    parser.add_argument("--timeout", type=float, default=600, metavar="S", help="for a module (default 600)")
    parser.add_argument("--test-timeout", type=float, default=60, metavar="S", help="for a test (default 60)")
    parser.add_argument("--expected", type=Path, default=EXPECTED, metavar="DIR", help="folder of the lists")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every outcome to this file")
    args = parser.parse_args(argv)
    if args.compare and args.mode == "stock":
        parser.error("--compare needs --mode apply or apply-close")
    if args.jobs < 1:
        parser.error("-j must be at least 1")
    return args


def select(modules, patterns):
    """The modules that the patterns name; RuntimeError for a pattern that names none."""
    if not patterns:
        return list(modules)
    chosen = set()
    for pattern in patterns:
        forms = (pattern, f"test_{pattern}")
        hits = [m for m in modules if any(fnmatch.fnmatch(n, f) for n in (m, m.rpartition(".")[2]) for f in forms)]
        if not hits:
            raise RuntimeError(f"no module is called {pattern!r}")
        chosen.update(hits)
    return [m for m in modules if m in chosen]


class Report:
    """Prints as results come; adds up. Called from several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self.passed = self.failed = 0
        self.skipped = self.listed = self.stock = 0
        self.modules = {}

    def add(self, run, verdict):
        with self._lock:
            self.modules[run.module] = (run, verdict)
            passed = len(run.keys("pass", "xfail")) + len(verdict.flaky)
            failed = len(verdict.ours) + len(verdict.problems)
            skipped = len([k for k in run.keys("skip") if k not in verdict.ours]) + (run.skipped is not None)
            self.passed += passed
            self.failed += failed
            self.skipped += skipped
            self.listed += len(verdict.listed)
            self.stock += len(verdict.stock)
            extra = [
                f"{len(found)} {name}"
                for name, found in (
                    ("flaky", verdict.flaky),
                    ("as on stock", verdict.stock),
                    ("listed", verdict.listed),
                )
                if found
            ]
            if run.skipped is not None:
                extra.append(f"as a whole: {run.skipped}")
            if run.children > 1:
                extra.append(f"{run.children} processes")
            line = f"{run.module}: {passed} passed, {failed} failed, {skipped} skipped, {run.seconds:.0f} s"
            print(line + (f" ({', '.join(extra)})" if extra else ""))
            for key, text in verdict.ours.items():
                print(f"  FAILED {key}\n{indent(text)}")
            for text in verdict.problems:
                print(f"  FAILED {text}")
            for key, text in verdict.flaky.items():
                print(f"  flaky: {key}: {last_line(text)}")
            for key, text in verdict.stock.items():
                print(f"  fails on stock too: {key}: {last_line(text)}")
            for key, entry in verdict.listed.items():
                print(f"  listed ({entry.tag}): {key}: {entry.reason}")
            sys.stdout.flush()


def indent(text):
    return "\n".join(f"    {line}" for line in text.splitlines())


def last_line(text):
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def without_comparison(run):
    """All that is bad, as it came."""
    ours = {key: "\n".join(run.outcomes[key].says()) for key in run.bad()}
    return Verdict(ours=ours, problems=list(run.problems))


def what_is_missing(discovered, chosen, expected, report):
    """The last check: whatever the parts did, each module and each test of the discovery has come out."""
    problems = []
    for key in expected:
        if not any(key.startswith(module + ".") for module in discovered):
            problems.append(f"{key}: listed, but there is no such module")
    for module in chosen:
        if module not in report.modules:
            problems.append(f"{module}: was not run")
            continue
        run, _ = report.modules[module]
        missing = set(discovered[module]) - set(run.outcomes)
        if missing and run.skipped is None:
            problems.append(f"{module}: {len(missing)} tests have no outcome, {min(missing)} is one")
    return problems


def write_json(path, args, hello, report):
    modules = {}
    for module, (run, verdict) in sorted(report.modules.items()):
        modules[module] = {**dataclasses.asdict(run), "verdict": dataclasses.asdict(verdict)}
    found = {"python": hello, "suite": args.suite, "mode": args.mode, "compare": args.compare, "modules": modules}
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")


def main(argv=None):
    args = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begin = time.monotonic()
    suite = Suite(find_python(args.python), args.suite, args.test_timeout, args.timeout)
    try:
        hello, found = discover(suite)
        chosen = select(found, args.modules)
        expected = read_list(args.expected / f"{hello['version']}.txt") if args.compare else {}
    except (OSError, RuntimeError, ListError) as exc:
        print(f"run_suite: {exc}", file=sys.stderr)
        return 2
    errors = [f"{name}: {what['error']}" for name, what in found.items() if "error" in what]
    if errors or not found:
        print("run_suite: stock Python cannot load the suite\n" + "\n".join(errors), file=sys.stderr)
        return 2
    discovered = {name: what.get("keys", []) for name, what in found.items()}
    print(
        f"{args.suite}, mode {args.mode}, Python {hello['full'].split()[0]}: "
        f"{len(chosen)} modules, {sum(len(discovered[m]) for m in chosen)} tests",
        flush=True,
    )

    report = Report()
    judge = Judge(suite, args.mode, discovered, expected)

    def do(module):
        if args.compare:
            run = judge.run(module)
            report.add(run, judge.module(run))
        else:
            run = run_module(suite, module, args.mode, discovered[module])
            report.add(run, without_comparison(run))

    # The longest first, so that the last one to end is a short one.
    order = sorted(chosen, key=lambda m: -len(discovered[m]))
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        try:
            futures = [pool.submit(do, module) for module in order]
            # With a limit: a signal that comes just before an endless wait is seen only when that is over.
            while concurrent.futures.wait(futures, 0.5, concurrent.futures.FIRST_EXCEPTION).not_done:
                if any(future.done() and future.exception() for future in futures):
                    break
            for future in futures:
                if future.done():
                    future.result()
        except BaseException:
            stop()
            raise

    problems = what_is_missing(discovered, chosen, expected, report)
    for text in problems:
        print(f"FAILED {text}")
    failed = report.failed + len(problems)
    if args.json:
        write_json(args.json, args, hello, report)
    aside = report.listed + report.stock
    print(f"{time.monotonic() - begin:.0f} s; set aside: {report.listed} listed, {report.stock} fail on stock too")
    print(f"{report.passed} passed, {failed} failed, {report.skipped + aside} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
