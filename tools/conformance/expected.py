"""The lists of cases: which pass, with their checks, and why the others don't.

    loader 2026-07-28 tools_call          a case, and each of its checks that passes
        tool-add-numbers
    loader default auth/dpop: the reason  a case that does not pass

Contract: reading what ``write`` has written gives the same. Lines that begin with # are for people, and stay at the top.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """One run of the suite."""

    driver: str
    revision: str
    scenario: str

    def __str__(self) -> str:
        return " ".join(self)


@dataclass
class Expected:
    """What a list says."""

    file: Path
    head: list[str] = field(default_factory=list)
    passing: dict[Case, set[str]] = field(default_factory=dict)
    reasons: dict[Case, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Expected:
        made = cls(file)
        checks: set[str] = set()
        for text in file.read_text("utf-8").splitlines() if file.exists() else ():
            if text.startswith("#"):
                made.head.append(text)
            elif text.startswith(" "):
                checks.add(text.strip())
            elif text.strip():
                words, _, reason = text.partition(": ")
                case = Case(*words.split(" "))
                if reason:
                    made.reasons[case] = reason
                else:
                    checks = made.passing[case] = set()
        return made

    @staticmethod
    def lines(case: Case, checks: set[str]) -> str:
        """A case that passes, as it is written."""
        return "".join([f"{case}\n", *(f"    {one}\n" for one in sorted(checks))])

    def add(self, passed: dict[Case, set[str]]) -> None:
        """Add what passes, and write the list."""
        for case, checks in passed.items():
            self.passing[case] = self.passing.get(case, set()) | checks
            self.reasons.pop(case, None)
        parts = [f"{text}\n" for text in self.head]
        for case in sorted({*self.passing, *self.reasons}):
            reason = self.reasons.get(case)
            parts.append(f"{case}: {reason}\n" if reason else self.lines(case, self.passing[case]))
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text("".join(parts), "utf-8")
