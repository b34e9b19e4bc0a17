"""The table of docs/conformance.md, made of the lists: ``python -m tools.conformance.page`` puts it there.

Contract: it says what the lists say and nothing else; a test compares.
"""

from __future__ import annotations

from pathlib import Path

from .expected import Case, Expected

LISTS = Path(__file__).parent / "lists"
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
LINES = ("2", "1")


def _cell(expected: Expected, driver: str, scenario: str, notes: list[str]) -> str:
    """What a driver reaches in a scenario: the checks that pass, by revision, or the number of the note that says why not."""
    found = []
    for case in sorted({*expected.passing, *expected.reasons}):
        if (case.driver, case.scenario) != (driver, scenario):
            continue
        where = "" if case.revision == "default" else f" ({case.revision})"
        if case in expected.passing:
            found.append(f"{len(expected.passing[case])}{where}")
        else:
            reason = expected.reasons[case]
            if reason not in notes:
                notes.append(reason)
            found.append(f"no [{notes.index(reason) + 1}]{where}")
    return ", ".join(found)


def table() -> str:
    """In Markdown."""
    lists = {line: Expected.read(LISTS / f"{line}.txt") for line in LINES}
    cases: set[Case] = {case for one in lists.values() for case in (*one.passing, *one.reasons)}
    notes: list[str] = []
    rows = ["| scenario | loader, SDK 2.x | CLI, SDK 2.x | loader, SDK 1.x | CLI, SDK 1.x |", "|---|---|---|---|---|"]
    for scenario in sorted({case.scenario for case in cases}):
        cells = [_cell(lists[line], driver, scenario, notes) for line in LINES for driver in ("loader", "cli")]
        rows.append(f"| `{scenario}` | {' | '.join(cells)} |")
    sums = []
    for line in LINES:
        one = lists[line]
        mine = {case.scenario for case in one.passing if case.driver == "loader"}
        every = {case.scenario for case in (*one.passing, *one.reasons)}
        sums.append(f"{len(mine)} of {len(every)} scenarios pass on SDK {line}.x")
    reasons = [f"{number}. {reason}" for number, reason in enumerate(notes, 1)]
    return "\n".join([f"{'; '.join(sums)}.\n", *rows, "", *reasons, ""])


def written(text: str) -> str:
    """The page with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
