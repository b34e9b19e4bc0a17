"""Decides what aionest made worse, test by test.

    new         fails, hangs, crashes, is skipped, lost or missing with aionest, passes on stock: the run fails
    listed      the same, and the manifest says why it may; a listed test that does not differ fails the run too
    unsteady    it differed once; run again it passes with aionest, alone and in the company of its file, or fails on
                stock as well: named, not counted
    noise       a warning, a line in asyncio's log or a leftover of a kind that stock does not show: the run fails

Nothing here starts a process: who wants something run again hands over two functions (Again). Warnings, log lines and
leftovers are compared as kinds, numbers and addresses blanked, over the whole run, as what comes from a finalizer
belongs to no test. Thread: any.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .supervise import BAD, Outcome, Side, plain

# apply, keys -> what that side shows when only these are run
Again = Callable[[bool, list[str]], Side]

_SLOW = re.compile(r"WARNING Executing <.* took [\d.]+ seconds", re.DOTALL)
ENOUGH = 60  # more tests than that are not run again: something is wrong with all of them


@dataclass
class Verdict:
    new: dict[str, str] = field(default_factory=dict)  # key -> how it differs
    listed: dict[str, str] = field(default_factory=dict)  # key -> the manifest's reason
    unsteady: dict[str, str] = field(default_factory=dict)
    noise: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.new or self.noise or self.problems)


def matches(key: str, pattern: str) -> bool:
    """A pattern is a key, the beginning of one (a file, a class, a test without its parameters), or has a `*`."""
    if "*" in pattern:
        return fnmatch.fnmatchcase(key, pattern.replace("[", "[[]"))
    return key == pattern or (key.startswith(pattern) and key[len(pattern)] in ":[/#")


def _first(key: str, patterns: Mapping[str, str]) -> str | None:
    return next((p for p in patterns if matches(key, p)), None)


def worse(stock: Outcome | None, ours: Outcome | None) -> str | None:
    """How ``ours`` is worse than ``stock``; None if it is not."""
    if "late" in (stock and stock.outcome, ours and ours.outcome):
        return None  # judge() tells
    if ours is None:
        return None if stock is None or stock.bad else f"{stock.outcome} on stock, not there with aionest"
    if ours.outcome in BAD:
        # a failure is no more of a hang or a crash than stock's own: those stop more than the test
        if (
            stock is not None
            and stock.bad
            and not (ours.outcome in ("hang", "crash") and stock.outcome in ("fail", "error"))
        ):
            return None
        return f"{stock.outcome if stock else 'not there'} on stock, {ours.outcome} with aionest"
    if stock is not None and ours.outcome == "skip" and stock.outcome in ("pass", "xfail", "xpass"):
        return f"{stock.outcome} on stock, skip with aionest"
    return None


def differing(stock: Mapping[str, Outcome], ours: Mapping[str, Outcome]) -> dict[str, str]:
    found = {}
    for key in dict.fromkeys([*stock, *ours]):
        how = worse(stock.get(key), ours.get(key))
        if how:
            found[key] = how
    return found


def file_of(key: str) -> str:
    return key.split("::")[0]


def _files(keys: list[str], side: Side) -> list[str]:
    files = {file_of(k) for k in keys}
    return [k for k in side.collected if file_of(k) in files]


def confirm(candidates: dict[str, str], side: Side, again: Again, verdict: Verdict) -> None:
    """Runs what differed once more and sorts it into new and unsteady."""
    keys = [k for k in candidates if k in set(side.collected)]
    for key in candidates.keys() - set(keys):  # `:exit`, `:collect`, or gone: nothing can be run again
        verdict.new[key] = candidates[key]
    if len(keys) > ENOUGH:
        verdict.new.update((k, candidates[k]) for k in keys)
        return
    alone = keys
    for asked in ("alone", "with the others of its file"):
        if not alone:
            return
        run = alone if asked == "alone" else _files(alone, side)
        ours = again(True, run).outcomes
        bad = [k for k in alone if k not in ours or ours[k].bad or ours[k].outcome == "skip"]
        alone = [k for k in alone if k not in bad]
        if bad:
            stock = again(False, bad if asked == "alone" else _files(bad, side)).outcomes
            for key in bad:
                how = worse(stock.get(key), ours.get(key))
                if how:
                    verdict.new[key] = how
                else:
                    verdict.unsteady[key] = f"{candidates[key]}; run again {asked}, it fails on stock too"
    for key in alone:
        verdict.unsteady[key] = f"{candidates[key]}; run again, it passes"


def _kinds(side: Side) -> dict[tuple[str, str], str]:
    """What a side said: kind -> the first place and the words."""
    found: dict[tuple[str, str], str] = {}
    for key, category, text in side.warnings:
        # the same warning has a body of its own for each object: a traceback, a repr
        found.setdefault((category, plain(text.strip().split("\n")[0])[:160]), f"{key}: {category}: {text}")
    for where, text in side.logs:
        if _SLOW.match(text):
            continue  # debug mode tells of a step that took long: how busy the machine was
        found.setdefault(("log", plain(text.split("\n")[0])[:100]), f"{where}: logged: {text}")
    return found


def noise(stock: Side, ours: Side) -> dict[tuple[str, str], str]:
    """Kinds of warnings and log lines that only aionest's side has: kind -> an example."""
    before = _kinds(stock)
    return {kind: example for kind, example in _kinds(ours).items() if kind not in before}


def confirm_noise(said: dict[tuple[str, str], str], side: Side, again: Again, verdict: Verdict) -> list[str]:
    """What is said again where it was said, in the company of its file, and not on stock. When a finalizer runs is a matter of
    chance. What belongs to no test cannot be run again."""
    where = {kind: example.split(": ")[0] for kind, example in said.items()}
    known = set(side.collected)
    keys = [k for k in where.values() if k in known]
    if not keys:
        return list(said.values())
    files = _files(keys, side)
    ours = _kinds(again(True, files))
    stock = _kinds(again(False, files)) if any(k in ours for k in said) else {}
    steady = []
    for kind, example in said.items():
        if where[kind] not in known or (kind in ours and kind not in stock):
            steady.append(example)
        else:
            verdict.unsteady[where[kind]] = f"said once: {example.split(': ', 1)[1][:200]}"
    return steady


def leftovers(stock: Side, ours: Side) -> list[str]:
    """Threads, descriptors and child processes that aionest's side has more of at its end."""
    if not stock.left or not ours.left:
        return []
    found = []
    for what in ("threads", "children"):
        more = Counter(map(plain, ours.left[what])) - Counter(map(plain, stock.left[what]))
        found += [f"left over: {n} more in {what}: {name}" for name, n in more.items()]
    for kind, number in ours.left["descriptors"].items():
        before = stock.left["descriptors"].get(kind, 0)
        if number > before:
            found.append(f"left over: {number} descriptors ({kind}), {before} on stock")
    return found


def _sorted_out(found: dict[str, str], differs: Mapping[str, str], verdict: Verdict) -> tuple[dict[str, str], set[str]]:
    """What differs and is not listed, and the patterns of the list that were of use."""
    if ":collect" in found:  # nothing could be run: one thing, not as many as there are tests
        found = {":collect": found[":collect"]}
    candidates = {}
    used = set()
    for key, how in found.items():
        pattern = _first(key, differs)
        if pattern is None:
            candidates[key] = how
        else:
            used.add(pattern)
            verdict.listed[key] = differs[pattern]
    return candidates, used


def _out_of_date(ours: Side, differs: Mapping[str, str], used: set[str], complete: bool) -> list[str]:
    """What is wrong with the list."""
    found = []
    for pattern in differs:
        there = [k for k in ours.outcomes if matches(k, pattern)]
        if pattern not in used and (there or complete):
            found.append(
                f"{pattern}: listed as different, but "
                + ("it is not: take it off the list" if there else "there is no such test")
            )
    return found


def judge(
    stock: Side, ours: Side, differs: Mapping[str, str], allow: list[str], again: Again, complete: bool = True
) -> Verdict:
    """``complete``: all of the suite was run, so that a listed test that is not there is a mistake in the list."""
    verdict = Verdict()
    candidates, used = _sorted_out(differing(stock.outcomes, ours.outcomes), differs, verdict)
    confirm(candidates, ours, again, verdict)

    # the noise of a test that fails is a part of its failure
    failed = {*verdict.new, *verdict.listed, *verdict.unsteady}
    said = {k: v for k, v in noise(stock, ours).items() if v.split(": ")[0] not in failed}
    said = {k: v for k, v in said.items() if not any(w in v for w in allow)}
    verdict.noise = confirm_noise(said, ours, again, verdict)
    verdict.noise += [t for t in leftovers(stock, ours) if not any(w in t for w in allow)]
    verdict.problems += _out_of_date(ours, differs, used, complete)
    late = dict.fromkeys(k for side in (stock, ours) for k, o in side.outcomes.items() if o.outcome == "late")
    if late:
        verdict.problems.append(f"not compared, the time was up: {len(late)} tests, {next(iter(late))} is one")
    if not any(o.outcome == "pass" for o in stock.outcomes.values()):
        verdict.problems.append("no test passes on stock: nothing is compared")
    return verdict
