"""The manifest: the project's own is sound, and mistakes in one are told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools.suites import manifest, report, services


def write(tmp_path, text):
    path = tmp_path / "manifest.toml"
    path.write_text(text)
    return path


def test_every_entry_of_ours_has_what_it_needs():
    known = manifest.read()
    assert len(known.projects) >= 35
    for project in known.projects.values():
        assert set(project.services) <= services.KNOWN.keys(), project.name
        assert project.test_limit <= project.limit, project.name
        for reason in [*project.deselect.values(), *project.differs.values()]:
            assert len(reason.split()) >= 2, (project.name, reason)


@pytest.mark.parametrize(
    "text, words",
    [
        ('[a]\nversion = "1"\nargz = []', "unknown key 'argz'"),
        ("[a]\nargs = []", "version is missing"),
        ('[a]\nversion = "1"\nargs = "x"', "args must be"),
        ("[common]\nneeds = []", "unknown key 'needs'"),
    ],
)
def test_a_mistake_is_told(tmp_path, text, words):
    with pytest.raises(manifest.ManifestError, match=words):
        manifest.read(write(tmp_path, text))


def test_bounds_on_the_version_of_python():
    project = manifest.Project("a", "1", python=">=3.10,<3.14")
    assert [project.runs_on(v) for v in [(3, 9), (3, 10), (3, 13), (3, 14)]] == [False, True, True, False]


def test_a_turn_has_the_guards_each_day_and_every_quick_one_in_time(tmp_path):
    tables = [
        '[g]\nversion = "1"\nguard = true',
        '[slow]\nversion = "1"',
        '[none]\nversion = "1"\nquick = true\nno_tests = "x"',
    ]
    tables += [f'[q{n}]\nversion = "1"\nquick = true' for n in range(7)]
    known = manifest.read(write(tmp_path, "\n".join(tables)))
    turns = [manifest.turn(known, day, each=3) for day in range(1, 8)]
    assert all(t[0] == "g" and len(set(t)) == 4 for t in turns)
    assert {n for t in turns for n in t} == {"g", *(f"q{n}" for n in range(7))}


def test_the_table_has_a_row_for_each_project(tmp_path):
    known = manifest.read(
        write(
            tmp_path,
            '[ran]\nversion = "2"\ndeselect = { "a" = "needs it" }\n[never]\nversion = "1"\n[none]\nversion = "1"\nno_tests = "no x"',
        )
    )
    result = {
        "version": "2",
        "stock": 9,
        "ours": 8,
        "listed": {"t::a": "asserts it", "t::b": "asserts it"},
        "new": {},
        "noise": [],
        "unsteady": {"t::d": "passed", "t::e": "said once: x"},
    }
    report.save(tmp_path / "r", "3.13", "ran", result)
    report.save(tmp_path / "r", "3.10", "ran", {**result, "listed": {}, "new": {"t::c": "how"}})
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write(page, report.table(known, report.load(tmp_path / "r")))
    text = page.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "project" not in line]
    assert [r.split(" | ")[0] for r in rows] == ["| never", "| none", "| ran", "| ran"]
    assert "not yet run" in rows[0] and "no x" in rows[1]
    assert "**1 new:** `t::c`" in rows[2] and "2 tests: asserts it; 1 unsteady" in rows[3] and "needs it" in rows[3]


def test_rows_of_the_page_stay_where_there_is_no_result_of_the_same(tmp_path):
    known = manifest.read(write(tmp_path, '[ran]\nversion = "2"\n[mcp]\nversion = "1"'))
    result = {"version": "2", "stock": 9, "ours": 9, "listed": {}, "new": {}, "noise": [], "unsteady": {}}
    report.save(tmp_path / "r", "3.13", "ran", result)
    kept = [
        "| ran | 2 | 3.9 | 7 | 7 | none |  |",
        "| ran (a part) | 2 | 3.12 | 5 | 5 | none |  |",
        "| mcp | 1 | 3.13 | 4 | 4 | none |  |",
    ]
    gone = [
        "| ran | 2 | 3.13 | 8 | 8 | none |  |",
        "| ran | 1 | 3.12 | 6 | 6 | none |  |",
        "| ran | 2 | | | | not yet run | |",
    ]
    page = "\n".join([report.BEGIN, *kept, *gone, report.END])
    rows = report.table(known, report.load(tmp_path / "r"), page).splitlines()[2:]
    assert rows == [kept[2], kept[0], kept[1], "| ran | 2 | 3.13 | 9 | 9 | none |  |"]
