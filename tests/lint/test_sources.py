"""Rules of the C sources and of the tree that no compiler checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CORE = ROOT / "src" / "core"
# the one table of levels is that in the engine's own README
ROWS = {
    int(level): [stem.removesuffix(".h") for stem in re.findall(r"`([\w.-]+)`", files)]
    for level, files in re.findall(r"^\| (\d) \| (.*?) \|", (CORE / "README.md").read_text(), re.M)
}
LEVELS = {stem: level for level, stems in ROWS.items() for stem in stems}
C_FILES = sorted([*CORE.glob("*.c"), *CORE.glob("*.h")])
HEADERS = [path for path in C_FILES if path.suffix == ".h"]
# a handle looks at the record of its loop, which holds handles; and what counts calls has to stand before all of them
EXCEPTIONS = {("handle.c", "loop"), ("handle.c", "overrides"), ("compat.h", "faults")}


def included(path):
    return re.findall(r'^#include "([\w-]+)\.h"', path.read_text(), re.M)


def may_include(path, name):
    mine = LEVELS[path.stem]
    if LEVELS[name] < mine or name == path.stem:
        return True
    return LEVELS[name] == mine and (path.suffix == ".c" or name == ROWS[mine][0])


def declared(header):
    """The functions and variables that others get from a header."""
    found = re.findall(r"^(?!typedef\b|static\b|extern\b)(?:\w+[ *]+)+(an_\w+)\(", header, re.M)
    return {*found, *re.findall(r"^extern [^;]*?\b(an_\w+)(?:\)\([^;]*|\[[^;]*)?;", header, re.M)}


def defined(source):
    """Those that a source defines; as clang-format has it, a function's name begins a line."""
    functions = re.findall(r"^(an_\w+)\((?=[^;{]*\)\s*\{)", source, re.M)
    start = r"^(?!typedef\b|static\b|extern\b)\w[\w *]*?"
    variables = re.findall(rf"{start}\b(an_\w+)(?:\[[^]]*\])?\s*[=;]", source, re.M)
    pointers = re.findall(rf"{start}\(\*(an_\w+)\)\([^;]*?\)\s*[=;]", source, re.M)
    return {*functions, *variables, *pointers}


def test_every_source_is_built():
    built = re.findall(r"'(\w+\.c)'", (CORE / "meson.build").read_text())
    assert sorted(built) == sorted(p.name for p in CORE.glob("*.c"))


def test_every_source_has_a_level():
    assert {path.stem for path in C_FILES} == set(LEVELS)


@pytest.mark.parametrize("path", C_FILES, ids=lambda p: p.name)
def test_c_file(path):
    text = path.read_text()
    lines = text.splitlines()
    assert len(lines) <= 600
    assert all(len(line) <= 128 for line in lines)
    assert [n for n in included(path) if not may_include(path, n) and (path.name, n) not in EXCEPTIONS] == []
    if path.name != "fiber.c":
        assert "greenlet.h>" not in text and "PyGreenlet_" not in text
    if path.name != "compat.h":
        assert "PY_VERSION_HEX" not in text and "Py_GIL_DISABLED" not in text
    for name, body in re.findall(r"\n(\w+_dealloc)\(PyObject \*\w+\)\n\{(.*?)\n\}", text, re.S):
        assert "Py_DECREF(tp)" in body, name


def test_each_exception_is_needed():
    for file, name in EXCEPTIONS:
        assert name in included(CORE / file) and not may_include(CORE / file, name), (file, name)


@pytest.mark.parametrize("path", HEADERS, ids=lambda p: p.name)
def test_what_a_header_declares_is_defined_in_its_own_source(path):
    source = path.with_suffix(".c")
    there = defined(path.read_text()) | (defined(source.read_text()) if source.exists() else set())
    assert declared(path.read_text()) - there == set()


def test_declarations_and_definitions_are_told_apart():
    header = """
extern vectorcallfunc an_a;
extern void (*an_b)(an_thread *th);
extern PyMethodDef an_c[];
PyObject *an_d(PyObject *self, int n); /* an_not() */
int an_e(void);
static inline int
an_f(an_loop *rec)
{
    return an_e();
}
typedef int (*an_g)(void);
"""
    assert declared(header) == {"an_a", "an_b", "an_c", "an_d", "an_e"}
    assert defined(header) == {"an_f"}
    source = """
vectorcallfunc an_a = NULL;
void (*an_b)(an_thread *th) = NULL;
PyMethodDef an_c[] = {{NULL}};
static int an_local = 1;
PyObject *
an_d(PyObject *self,
     int n)
{
    return an_e();
}
"""
    assert defined(source) == {"an_a", "an_b", "an_c", "an_d"}
    known = {name for path in HEADERS for name in declared(path.read_text())}
    assert {"an_py_await", "an_batch_call", "an_block_after_wake", "an_st", "an_suspend"} <= known


def test_the_readme_names_what_is_called_upwards():
    pointers = {
        (name, path.name)
        for path in HEADERS
        for name in re.findall(r"^extern (?:vectorcallfunc |.*\(\*)(an_\w+)", path.read_text(), re.M)
    }
    assert pointers == set(re.findall(r"^\| `(an_\w+)` \(`(\w+\.h)`\) \|", (CORE / "README.md").read_text(), re.M))


@pytest.mark.parametrize("path", HEADERS, ids=lambda p: p.name)
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
