"""Rules of the C sources and of the tree that no compiler checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CORE = ROOT / "src" / "core"
# the one table of levels is that in the engine's own README
LEVELS = {
    stem.removesuffix(".h"): int(level)
    for level, files in re.findall(r"^\| (\d) \| (.*?) \|", (CORE / "README.md").read_text(), re.M)
    for stem in re.findall(r"`([\w.-]+)`", files)
}
C_FILES = sorted([*CORE.glob("*.c"), *CORE.glob("*.h")])


def test_every_source_is_built():
    built = re.findall(r"'(\w+\.c)'", (CORE / "meson.build").read_text())
    assert sorted(built) == sorted(p.name for p in CORE.glob("*.c"))


def test_every_source_has_a_level():
    assert {path.stem for path in C_FILES} == set(LEVELS)


@pytest.mark.parametrize("path", C_FILES, ids=lambda p: p.name)
def test_c_file(path):
    text = path.read_text()
    lines = text.splitlines()
    assert len(lines) <= 800
    assert all(len(line) <= 128 for line in lines)
    level = LEVELS[path.stem]
    for name in re.findall(r'#include "([\w-]+)\.h"', text):
        # handles look at their loop's record, and a loop at its thread's: these two pairs know each other
        assert LEVELS[name] <= level or (path.stem, name) in {("handle", "loop"), ("handle", "overrides")}, name
    if path.name != "fiber.c":
        assert "greenlet.h>" not in text and "PyGreenlet_" not in text
    if path.name != "compat.h":
        assert "PY_VERSION_HEX" not in text and "Py_GIL_DISABLED" not in text
    for name, body in re.findall(r"\n(\w+_dealloc)\(PyObject \*\w+\)\n\{(.*?)\n\}", text, re.S):
        assert "Py_DECREF(tp)" in body, name


@pytest.mark.parametrize("path", [p for p in C_FILES if p.suffix == ".h"], ids=lambda p: p.name)
def test_headers_say_their_level_and_thread(path):
    head = path.read_text().split("*/")[0]
    assert f"Level {LEVELS[path.stem]}" in head
    assert "Thread" in head


INVARIANTS = {
    path.name: re.findall(r"^ \*   ([A-Z])(\d)  ", path.read_text(), re.M) for path in C_FILES if path.suffix == ".h"
}


def test_each_header_has_a_letter_of_its_own_for_its_invariants():
    letters = {name: {letter for letter, _ in found} for name, found in INVARIANTS.items() if found}
    assert all(len(of_one) == 1 for of_one in letters.values()), letters
    assert len(letters) == len(set().union(*letters.values())), letters
    assert all([int(n) for _, n in found] == list(range(1, len(found) + 1)) for found in INVARIANTS.values())


def test_what_is_said_of_an_invariant_leads_to_one():
    known = {letter + number for found in INVARIANTS.values() for letter, number in found}
    letters = "".join({name[0] for name in known})
    for path in [*C_FILES, CORE / "README.md", *(ROOT / "docs" / "decisions").glob("*.md")]:
        named = set(re.findall(rf"\b[{letters}][1-9]\b", path.read_text()))
        assert named <= known, f"{path.name}: {sorted(named - known)}"
