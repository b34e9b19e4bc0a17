"""Runs other projects' tests on stock asyncio and with aionest applied, and compares by test id.

    python -m tools.suites anyio sqlalchemy      some; all without a name
    python -m tools.suites --turn                what CI runs: those that once showed a fault, and some others by turns
    python -m tools.suites anyio --only tests/test_taskgroups.py::test_x --show      one test, with what it printed

Exit status 0: nothing new; 1: something is worse with aionest; 2: cannot be run. README.md in this folder tells how it
works. The last line is `N passed, N failed, N skipped`, in suites.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from . import compare, manifest, report, services, supervise
from .fetch import FetchError, Store, digest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = 10  # of new failures; the others by name only


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.suites", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="projects of the manifest; default: all")
    parser.add_argument("--turn", action="store_true", help="a choice by the day of the year")
    parser.add_argument("--budget", type=float, metavar="S", help="start no further suite after so many seconds")
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="default: this interpreter")
    parser.add_argument(
        "--aionest", type=Path, required=True, metavar="DIR", help="folder with the installed package alone"
    )
    parser.add_argument(
        "--store", type=Path, default=ROOT / "build" / "suites", metavar="DIR", help="where all is kept"
    )
    parser.add_argument("--only", nargs="+", metavar="ID", help="node ids, or beginnings of them; no result is kept")
    parser.add_argument(
        "--show", action="store_true", help="the text of each new failure in full, and the end of the output"
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table of results to this page")
    parser.add_argument(
        "--old-stock", action="store_true", help="stock's side from the last run of the same, if there was one"
    )
    parser.add_argument(
        "--prepare", action="store_true", help="only download and install: a later run needs no network"
    )
    parser.add_argument("--list", action="store_true", help="only print what would be run")
    return parser.parse_args(argv)


def chosen(args: argparse.Namespace, known: manifest.Manifest) -> list[manifest.Project]:
    names = args.names or (
        manifest.turn(known, datetime.date.today().timetuple().tm_yday) if args.turn else known.projects
    )
    unknown = [n for n in names if n not in known.projects]
    if unknown:
        raise manifest.ManifestError(f"not in the manifest: {', '.join(unknown)}")
    return [known.projects[n] for n in names]


def filled(text: str, places: dict[str, str]) -> str:
    """Text of the manifest with what is only known now."""
    for name, value in places.items():
        text = text.replace(name, value)
    return text


def site_packages(python: Path) -> Path:
    (found,) = (python.parents[1] / "lib").glob("python*/site-packages")
    return found


class Suite:
    """One project: both sides, the comparison, what is printed of it."""

    def __init__(self, project: manifest.Project, store: Store, args: argparse.Namespace) -> None:
        self.project, self.args = project, args
        source, python = store.source(project), store.environment(project)
        places = {"{source}": str(source), "{site}": str(site_packages(python))}
        self.setup = supervise.Setup(
            python=str(python),
            folder=source / filled(project.where, places),
            args=[filled(a, places) for a in project.args],
            environment={k: filled(v, places) for k, v in project.environment.items()},
            aionest=args.aionest.resolve(),
            everywhere=project.everywhere,
            shim=project.shim,
            test_limit=project.test_limit,
            limit=project.limit,
        )

    def side(self, apply: bool, only: list[str] | None = None) -> supervise.Side:
        with services.started(self.project.services) as environment:
            places = {"{" + name + "}": value for name, value in environment.items()}  # "{SUITES_REDIS_URL}"
            merged = {k: filled(v, places) for k, v in {**environment, **self.setup.environment}.items()}
            arguments = [filled(a, places) for a in self.setup.args]
            setup = dataclasses.replace(self.setup, environment=merged, args=arguments)
            return supervise.run(setup, apply, only)

    def keys(self) -> list[str] | None:
        """What is to be run: None for all."""
        wanted, dropped = self.args.only, self.project.deselect
        if not wanted and not dropped:
            return None
        collected = supervise.collect(self.setup)
        keys = [k for k in collected if not wanted or any(compare.matches(k, p) for p in wanted)]
        unused = [p for p in dropped if not any(compare.matches(k, p) for k in collected)]
        if unused:
            print(f"  deselected, but there is no such test: {', '.join(unused)}")
        return [k for k in keys if not any(compare.matches(k, p) for p in dropped)]

    def stock(self, keys: list[str] | None) -> supervise.Side:
        """Stock's side; it is kept for runs with ``--old-stock`` (what differs is run again on stock in any case)."""
        kept = self.args.store / "stock" / f"{Path(self.setup.python).parents[1].name}.json"
        asked = [self.project.requirement, self.setup.args, dict(self.setup.environment), keys]
        if self.args.old_stock and kept.exists():
            before = json.loads(kept.read_text())
            if before["asked"] == asked:
                return supervise.Side.from_json(before["side"])
        side = self.side(False, keys)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({"asked": asked, "side": side.to_json()}))
        return side

    def again(self, apply: bool, keys: list[str]) -> supervise.Side:
        return self.side(apply, keys)

    def run(self) -> tuple[compare.Verdict, dict[str, Any]]:
        keys = self.keys()
        stock = self.stock(keys)
        _say("stock", stock)
        ours = self.side(True, keys)
        _say("aionest", ours)
        verdict = compare.judge(
            stock, ours, self.project.differs, self.project.allow, self.again, complete=not self.args.only
        )
        self._tell(verdict, stock, ours)
        result = {
            "version": self.project.version,
            "stock": stock.count("pass", "xfail", "xpass"),
            "ours": ours.count("pass", "xfail", "xpass"),
            "skipped": stock.count("skip"),
            "bad_on_stock": [k for k, o in stock.outcomes.items() if o.bad],
            "new": verdict.new,
            "listed": verdict.listed,
            "unsteady": verdict.unsteady,
            "noise": verdict.noise,
            "aionest": digest(self.args.aionest),
        }
        return verdict, result

    def _tell(self, verdict: compare.Verdict, stock: supervise.Side, ours: supervise.Side) -> None:
        for name, found in (("NEW", verdict.new), ("listed", verdict.listed), ("unsteady", verdict.unsteady)):
            for number, (key, how) in enumerate(found.items()):
                print(f"  {name:8} {key}: {how}")
                text = ours.outcomes[key].text if key in ours.outcomes else ""
                if name == "NEW" and text and (self.args.show or number < TEXTS):
                    lines = text.splitlines()
                    print("\n".join(f"      | {line}" for line in (lines if self.args.show else lines[-4:])))
        for text in verdict.noise:
            print(f"  NOISE    {text if self.args.show else text[:300]}")
        for text in verdict.problems:
            print(f"  PROBLEM  {text}")
        bad = [k for k, o in stock.outcomes.items() if o.bad]
        if bad:
            print(f"  fail on stock too: {len(bad)}: {' '.join(bad[:8])}")
        if self.args.show or not stock.collected:
            print("\n".join(f"  stock   : {line}" for line in stock.tail.splitlines()[-25:]))
            print("\n".join(f"  aionest : {line}" for line in ours.tail.splitlines()[-25:]))


def _say(name: str, side: supervise.Side) -> None:
    counts = {
        n: side.count(n) for n in ("pass", "fail", "error", "hang", "crash", "lost", "late", "skip", "xfail", "xpass")
    }
    words = ", ".join(f"{n} {k}" for k, n in counts.items() if n)
    restarts = f", {side.children} processes" if side.children > 1 else ""
    print(f"  {name:8} {words or 'nothing'} in {side.seconds:.0f} s{restarts}", flush=True)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        known = manifest.read()
        projects = chosen(args, known)
        if args.list:
            print("\n".join(f"{p.name} {p.version}" for p in projects))
            return 0
        if not (args.aionest / "aionest").is_dir():
            raise manifest.ManifestError(f"--aionest: no package in {args.aionest}")
        store = Store(args.store.resolve(), shutil.which(args.python) or args.python, known.requires)
    except manifest.ManifestError as exc:
        print(f"suites: {exc}", file=sys.stderr)
        return 2
    # so that what was started is ended when a time limit of CI's ends this process
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begin = time.monotonic()
    passed: list[str] = []
    failed: list[str] = []
    skipped: list[str] = []
    for project in projects:
        print(f"== {project.name} {project.version}", flush=True)
        why = project.no_tests
        if not project.runs_on(tuple(map(int, store.version.split(".")))):  # type: ignore[arg-type]
            why = f"not for Python {store.version}"
        if args.budget and time.monotonic() - begin > args.budget:
            why = "no time left"
        if why:
            print(f"  NOT RUN: {why}")
            skipped.append(project.name)
            continue
        try:
            suite = Suite(project, store, args)
            if args.prepare:
                passed.append(project.name)
                continue
            verdict, result = suite.run()
        except (FetchError, services.ServiceMissing) as exc:
            print(f"  NOT RUN: {exc}")
            failed.append(project.name)
            continue
        (passed if verdict.good else failed).append(project.name)
        if not args.only and result["stock"]:
            report.save(args.store / "results", store.version, project.name, result)
    if args.page:
        report.write(args.page, report.table(known, report.load(args.store / "results"), args.page.read_text()))
    if failed:
        print(f"worse with aionest, or not run: {', '.join(failed)}")
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
